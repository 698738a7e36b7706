//! Page documents of mapped tasks.
//!
//! | attribute | |
//! |---|---|
//! | `ep` | epoch |
//! | `op` | 1 while open |
//! | `fi` | the first map index |
//! | `c` | by instance: cells; `t`, `r`, `h`, `n` before the instance: max tries, resumed tries, choices, no return value; `e`, and `:` and a
//! try after it: what is to be told |
//! | `lk`, `rv` | idle looks, revision |
//! | `shard`, `wake_at` | time index |
//!
//! An instance is `<map index - fi>`, and `.<task>` after it where the task is not the unit's first. Cells of 64 ended instances and all
//! that is around them fit into one write unit.

use crate::codec::{corrupt, entries, number, wake, wake_changes, wake_condition};
use crate::item::{Change, Condition, Item, Path, SHARD, Update, Value, WAKE_AT};
use crate::store::Metastore;
use crate::{Error, Items, Outcome, Range, keys};
use updraft_model::{Cell, Chosen, Incarnation, PageChange, PageDoc, PageEffect, PageKey, Resumed, Slot, TaskIndex};

/// What an entry of `c` says of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Cell,
    MaxTries,
    Resumed,
    Choice,
    Silent,
    /// Of this try.
    Effect(u32),
}

fn name(key: &PageKey, first: u32, of: Of, slot: Slot) -> String {
    let letter = match of {
        Of::Cell => "",
        Of::MaxTries => "t",
        Of::Resumed => "r",
        Of::Choice => "h",
        Of::Silent => "n",
        Of::Effect(_) => "e",
    };
    let place = slot.map_index.saturating_sub(first);
    let name =
        if slot.task == key.unit { format!("{letter}{place}") } else { format!("{letter}{place}.{}", slot.task) };
    if let Of::Effect(try_number) = of { format!("{name}:{try_number}") } else { name }
}

fn read_name(key: &PageKey, first: u32, text: &str) -> Result<(Of, Slot), Error> {
    let parse = || {
        let (of, rest) = match text.chars().next()? {
            't' => (Of::MaxTries, text.get(1..)?),
            'r' => (Of::Resumed, text.get(1..)?),
            'h' => (Of::Choice, text.get(1..)?),
            'n' => (Of::Silent, text.get(1..)?),
            'e' => {
                let (instance, try_number) = text.get(1..)?.split_once(':')?;
                (Of::Effect(try_number.parse().ok()?), instance)
            }
            _ => (Of::Cell, text),
        };
        let (place, task) = match rest.split_once('.') {
            Some((place, task)) => (place, TaskIndex(task.parse().ok()?)),
            None => (rest, key.unit),
        };
        Some((of, Slot { map_index: first.checked_add(place.parse().ok()?)?, task }))
    };
    parse().ok_or_else(|| corrupt(format_args!("instance `{text}` of a page")))
}

/// All that a page says of its instances.
fn contents(page: &PageDoc) -> Value {
    let name = |of, slot: &Slot| name(&page.key, page.first, of, *slot);
    let cells = page.cells.iter().map(|(slot, cell)| (name(Of::Cell, slot), Value::S(cell.encode())));
    let tries = page.max_tries.iter().map(|(slot, n)| (name(Of::MaxTries, slot), Value::N(i64::from(*n))));
    let resumes = page.resumes.iter().map(|(slot, r)| (name(Of::Resumed, slot), Value::S(r.encode())));
    let choices = page.choices.iter().map(|(slot, c)| (name(Of::Choice, slot), Value::S(c.encode())));
    let silent = page.silent.iter().map(|slot| (name(Of::Silent, slot), Value::N(1)));
    let effects = page.effects.iter().map(|((slot, n), effect)| (name(Of::Effect(*n), slot), effect_value(effect)));
    Value::M(cells.chain(tries).chain(resumes).chain(choices).chain(silent).chain(effects).collect())
}

fn effect_value(effect: &PageEffect) -> Value {
    Value::S(crate::codec::to_json(effect))
}

/// A page document as an item.
pub fn page_item(page: &PageDoc) -> Item {
    let mut item = Item::from([
        ("ep".to_owned(), Value::N(i64::from(page.epoch))),
        ("op".to_owned(), Value::N(i64::from(page.is_open))),
        ("fi".to_owned(), Value::N(i64::from(page.first))),
        ("c".to_owned(), contents(page)),
        ("lk".to_owned(), Value::N(i64::from(page.looks))),
        ("rv".to_owned(), Value::N(page.revision as i64)),
    ]);
    if let Some(at) = page.wake_at {
        item.insert(SHARD.to_owned(), Value::S(keys::shard(&keys::page(&page.key))));
        item.insert(WAKE_AT.to_owned(), Value::N(at.as_millisecond()));
    }
    item
}

/// An item as a page document.
pub fn page_doc(key: &PageKey, item: &Item) -> Result<PageDoc, Error> {
    let small = |name: &str| number(item, name).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let mut page = PageDoc::new(key.clone(), small("ep"), small("fi"));
    page.is_open = number(item, "op") == Some(1);
    let read = entries(item, "c", |text, value| Ok((read_name(key, page.first, text)?, value.clone())))?;
    for ((of, slot), value) in read {
        match (of, value) {
            (Of::Cell, Value::S(text)) => drop(page.cells.insert(slot, Cell::decode(&text).map_err(corrupt)?)),
            (Of::MaxTries, Value::N(n)) => drop(page.max_tries.insert(slot, u32::try_from(n).unwrap_or(0))),
            (Of::Resumed, Value::S(text)) => drop(page.resumes.insert(slot, Resumed::decode(&text).map_err(corrupt)?)),
            (Of::Choice, Value::S(text)) => drop(page.choices.insert(slot, Chosen::decode(&text).map_err(corrupt)?)),
            (Of::Silent, _) => drop(page.silent.insert(slot)),
            (Of::Effect(try_number), Value::S(text)) => {
                let effect =
                    serde_json::from_str(&text).map_err(|e| corrupt(format_args!("an effect of a page: {e}")))?;
                page.effects.insert((slot, try_number), effect);
            }
            _ => return Err(corrupt(format_args!("what a page says of {slot:?}"))),
        }
    }
    page.wake_at = wake(item)?;
    page.looks = small("lk");
    page.revision = number(item, "rv").unwrap_or(0) as u64;
    Ok(page)
}

/// A change of a page document as an update of its item. `first` is the page's first map index: it never changes.
pub fn page_update(page: &PageKey, first: u32, change: &PageChange) -> Update {
    let key = keys::page(page);
    let path = |of, slot: &Slot| Path::Entry("c", name(page, first, of, *slot));
    let mut conditions = Vec::new();
    if let Some(epoch) = change.if_open_at {
        conditions.push(Condition::Equals(Path::Top("op"), Value::N(1)));
        conditions.push(Condition::Equals(Path::Top("ep"), Value::N(i64::from(epoch))));
    }
    conditions.extend(change.if_cells.iter().map(|(slot, cell)| match cell {
        Cell::None => Condition::Absent(path(Of::Cell, slot)),
        _ => Condition::Equals(path(Of::Cell, slot), Value::S(cell.encode())),
    }));
    let running = change.if_running.as_ref().map(|h| (h.slot, Cell::running_prefix(h.try_number, &h.token)));
    let restarting = change.if_restarting.as_ref().map(|h| (h.slot, Cell::restarting_prefix(h.try_number, &h.token)));
    conditions
        .extend(running.into_iter().chain(restarting).map(|(slot, p)| Condition::BeginsWith(path(Of::Cell, &slot), p)));
    conditions.extend(change.if_revision.map(|r| Condition::Equals(Path::Top("rv"), Value::N(r as i64))));
    conditions.extend(change.if_wake_at_most.map(|at| Condition::AtMost(Path::Top(WAKE_AT), at.as_millisecond())));
    conditions.extend(change.if_wake_at.map(wake_condition));

    let mut changes = vec![Change::Add("rv", 1)];
    if let Some((epoch, is_open)) = change.epoch {
        changes.push(Change::Set(Path::Top("ep"), Value::N(i64::from(epoch))));
        changes.push(Change::Set(Path::Top("op"), Value::N(i64::from(is_open))));
    }
    changes.extend(change.whole.iter().map(|whole| Change::Set(Path::Top("c"), contents(whole))));
    changes.extend(change.cells.iter().map(|(slot, cell)| match cell {
        Cell::None => Change::Remove(path(Of::Cell, slot)),
        _ => Change::Set(path(Of::Cell, slot), Value::S(cell.encode())),
    }));
    changes.extend(
        change.max_tries.iter().map(|(slot, n)| Change::Set(path(Of::MaxTries, slot), Value::N(i64::from(*n)))),
    );
    changes.extend(change.resumes.iter().map(|(slot, r)| Change::Set(path(Of::Resumed, slot), Value::S(r.encode()))));
    changes.extend(change.choices.iter().map(|(slot, chosen)| match chosen {
        Some(chosen) => Change::Set(path(Of::Choice, slot), Value::S(chosen.encode())),
        None => Change::Remove(path(Of::Choice, slot)),
    }));
    changes.extend(change.silent.iter().map(|(slot, is_silent)| {
        if *is_silent {
            Change::Set(path(Of::Silent, slot), Value::N(1))
        } else {
            Change::Remove(path(Of::Silent, slot))
        }
    }));
    changes.extend(change.effects.iter().map(|((slot, try_number), effect)| {
        let path = path(Of::Effect(*try_number), slot);
        effect
            .as_ref()
            .map_or_else(|| Change::Remove(path.clone()), |effect| Change::Set(path.clone(), effect_value(effect)))
    }));
    changes.extend(change.looks.map(|n| Change::Set(Path::Top("lk"), Value::N(i64::from(n)))));
    wake_changes(&key, change.wake_at, &mut changes);
    Update { key, conditions, changes }
}

impl<I: Items> Metastore<I> {
    /// Reads a page.
    pub async fn page(&self, key: &PageKey) -> Result<Option<PageDoc>, Error> {
        self.items().get(&keys::page(key)).await?.map(|item| page_doc(key, &item)).transpose()
    }

    /// Reads many pages of a unit; absent ones are left out; in the order of their numbers.
    pub async fn pages(
        &self,
        incarnation: &Incarnation,
        unit: TaskIndex,
        pages: impl IntoIterator<Item = u32>,
    ) -> Result<Vec<PageDoc>, Error> {
        self.readable_pages(incarnation, unit, pages).await?.whole()
    }

    /// Puts a page unless it exists.
    pub async fn put_page(&self, page: &PageDoc) -> Result<Outcome<PageDoc>, Error> {
        let outcome = self.items().put_new(&keys::page(&page.key), &page_item(page)).await?;
        outcome.try_map(|item| page_doc(&page.key, &item))
    }

    /// Changes a page. `first` is its first map index.
    pub async fn update_page(&self, key: &PageKey, first: u32, change: &PageChange) -> Result<Outcome<PageDoc>, Error> {
        let outcome = self.items().update(&page_update(key, first, change)).await?;
        outcome.try_map(|item| page_doc(key, &item))
    }

    /// Removes a page.
    pub async fn delete_page(&self, key: &PageKey) -> Result<(), Error> {
        self.items().delete(&keys::page(key), &[]).await.map(|_| ())
    }

    /// Removes all pages of a run.
    pub async fn delete_pages(&self, incarnation: &Incarnation) -> Result<(), Error> {
        let pk = keys::run(incarnation).pk;
        let range =
            Range { pk: pk.clone(), prefix: keys::PAGES.to_owned(), after: None, descending: false, limit: 200 };
        loop {
            let found = self.items().query(&range).await?;
            for (sk, _) in &found {
                self.items().delete(&crate::Key { pk: pk.clone(), sk: sk.clone() }, &[]).await?;
            }
            if found.len() < range.limit {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use updraft_model::cell::{End, Lease};
    use updraft_model::{LeftOut, PageHeld, Token, TryEnd};

    fn at() -> impl Strategy<Value = jiff::Timestamp> {
        (0i64..4_000_000_000_000).prop_map(|ms| jiff::Timestamp::from_millisecond(ms).unwrap())
    }

    fn lease() -> impl Strategy<Value = Lease> {
        ("[ab]", at(), at()).prop_map(|(token, until, since)| Lease { token: Token::trusted(token), until, since })
    }

    fn slot() -> impl Strategy<Value = Slot> {
        (60u32..64, 3u32..5).prop_map(|(map_index, task)| Slot { map_index, task: TaskIndex(task) })
    }

    fn cell() -> impl Strategy<Value = Cell> {
        let n = 0u32..3;
        prop_oneof![
            n.clone().prop_map(|try_number| Cell::Cleared { try_number }),
            n.clone().prop_map(|try_number| Cell::Queued { try_number }),
            (n.clone(), lease()).prop_map(|(try_number, lease)| Cell::Running { try_number, lease }),
            (n.clone(), lease()).prop_map(|(try_number, lease)| Cell::Restarting { try_number, lease }),
            n.prop_map(|n| Cell::ended(End::Success, n)),
        ]
    }

    fn resumed() -> impl Strategy<Value = Resumed> {
        (0u32..3, 0u32..9, lease()).prop_map(|(try_number, count, l)| Resumed {
            try_number,
            count,
            first_start: l.since,
            last: l.token,
        })
    }

    fn chosen() -> impl Strategy<Value = Chosen> {
        (0u32..3, any::<bool>()).prop_map(|(try_number, pending)| Chosen {
            try_number,
            pending,
            left_out: LeftOut::Below,
        })
    }

    fn some<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = BTreeMap<Slot, T>> {
        proptest::collection::btree_map(slot(), value, 0..4)
    }

    fn effects() -> impl Strategy<Value = BTreeMap<(Slot, u32), PageEffect>> {
        let end = prop_oneof![Just(TryEnd::Success), Just(TryEnd::Failed)];
        let effect = ("[ab]", end).prop_map(|(token, end)| PageEffect { token: Token::trusted(token), end });
        proptest::collection::btree_map((slot(), 0u32..4), effect, 0..4)
    }

    fn page() -> impl Strategy<Value = PageDoc> {
        let kept = (some(cell()), some(0u32..5), some(resumed()), some(chosen()), some(Just(())), effects());
        (kept, 0u32..3, any::<bool>(), proptest::option::of(at()), 0u64..3).prop_map(
            |((cells, max_tries, resumes, choices, silent, effects), epoch, is_open, wake_at, revision)| PageDoc {
                is_open,
                cells,
                max_tries,
                resumes,
                choices,
                silent: silent.into_keys().collect(),
                effects,
                wake_at,
                looks: epoch,
                revision,
                ..PageDoc::new(
                    PageKey { incarnation: Incarnation::trusted("abc"), unit: TaskIndex(3), page: 15 },
                    epoch,
                    60,
                )
            },
        )
    }

    fn change() -> impl Strategy<Value = PageChange> {
        let held = || {
            let held = (slot(), 0u32..3, "[ab]");
            held.prop_map(|(slot, try_number, token)| PageHeld { slot, try_number, token: Token::trusted(token) })
        };
        let conditions = (
            proptest::option::weighted(0.3, 0u32..3),
            proptest::collection::btree_map(slot(), cell(), 0..2),
            proptest::option::weighted(0.2, held()),
            proptest::option::weighted(0.2, held()),
            proptest::option::weighted(0.2, 0u64..3),
            proptest::option::weighted(0.2, at()),
            proptest::option::weighted(0.2, proptest::option::of(at())),
        );
        let cells = prop_oneof![Just(Cell::None), cell()];
        let changes = (
            proptest::option::of((0u32..4, any::<bool>())),
            some(cells),
            some(0u32..5),
            some(resumed()),
            some(proptest::option::of(chosen())),
            some(any::<bool>()),
            effects(),
            proptest::option::of(proptest::option::of(at())),
            proptest::option::of(0u32..4),
        );
        (conditions, changes, proptest::option::weighted(0.2, page()))
            .prop_map(|(c, w, whole)| PageChange {
                // An update names no path and one inside of it together.
                whole: whole.map(Box::new),
                if_open_at: c.0,
                if_cells: c.1.into_iter().collect(),
                if_running: c.2,
                if_restarting: c.3,
                if_revision: c.4,
                if_wake_at_most: c.5,
                if_wake_at: c.6,
                epoch: w.0,
                cells: w.1.into_iter().collect(),
                max_tries: w.2.into_iter().collect(),
                resumes: w.3.into_iter().collect(),
                choices: w.4.into_iter().collect(),
                silent: w.5.into_iter().collect(),
                // Every other one is struck out.
                effects: w.6.into_iter().map(|(of, e)| (of, (of.1 % 2 == 0).then_some(e))).collect(),
                wake_at: w.7,
                looks: w.8,
            })
            .prop_map(|change| match change.whole {
                Some(_) => PageChange {
                    cells: Vec::new(),
                    max_tries: Vec::new(),
                    resumes: Vec::new(),
                    choices: Vec::new(),
                    silent: Vec::new(),
                    effects: Vec::new(),
                    ..change
                },
                None => change,
            })
    }

    proptest! {
        #[test]
        fn a_page_is_read_back(page in page()) {
            prop_assert_eq!(page_doc(&page.key, &page_item(&page)), Ok(page.clone()));
            prop_assert_eq!(keys::document(&keys::page(&page.key)), Some(keys::Document::Page(page.key)));
        }

        #[test]
        fn a_change_means_the_same_on_the_item(page in page(), change in change()) {
            let outcome = page_update(&page.key, page.first, &change).run(Some(&page_item(&page)));
            let outcome = outcome.try_map(|item| page_doc(&page.key, &item)).unwrap();
            let expected = if change.holds(&page) {
                Outcome::Updated(change.apply(&page))
            } else {
                Outcome::Refused(Some(page))
            };
            prop_assert_eq!(outcome, expected);
        }
    }

    #[test]
    fn a_page_of_ended_instances_takes_one_write_unit() {
        let key = PageKey { incarnation: Incarnation::trusted("x".repeat(20)), unit: TaskIndex(12), page: 1_500 };
        let mut page = PageDoc::new(key, 3, 96_000);
        for map_index in 96_000..96_064 {
            let winner = Some(Token::trusted("abcdefgh"));
            let cell = Cell::Final { end: End::Success, try_number: 1, winner, leaving: None };
            page.cells.insert(Slot { map_index, task: TaskIndex(12) }, cell);
        }
        (page.wake_at, page.revision) = (Some(jiff::Timestamp::MAX), 300);
        let bytes = crate::item::size(&keys::page(&page.key), &page_item(&page));
        assert!(bytes <= 1024, "{bytes}");
    }
}
