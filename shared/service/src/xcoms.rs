//! What attempts leave behind besides their items: XComs of a run, resolved through the attempt that won, since a stale attempt's output is
//! unreachable; and the names under which logs and large values are kept.

use crate::engine::Error;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use updraft_log_store::LogStore;
use updraft_metastore::{Items, Metastore};
use updraft_model::attempt::RETURN_VALUE;
use updraft_model::dag_parts::item_of;
use updraft_model::{Attempt, AttemptKey, Cell, PageDoc, Plan, RunDoc, Slot, TaskIndex, TaskInstanceState, ValueRef};

/// How much of an attempt's XComs its item holds; what comes after goes to the log store, so that no item nears DynamoDB's limit.
pub const INLINE_TOTAL_MAX: usize = 64 * 1024;

/// The key of the attempt whose item holds a task's XComs, if it has ended by an attempt.
pub fn winner(run: &RunDoc, task: TaskIndex) -> Option<AttemptKey> {
    match run.cell(task) {
        Cell::Final { try_number, winner: Some(token), .. } => Some(AttemptKey {
            incarnation: run.facts.incarnation.clone(),
            task,
            map_index: None,
            try_number: *try_number,
            token: token.clone(),
        }),
        _ => None,
    }
}

/// Follows a reference to its value.
pub async fn resolve<L: LogStore>(logs: &L, value: &ValueRef) -> Result<Value, Error> {
    match value {
        ValueRef::Inline(value) => Ok(value.clone()),
        ValueRef::At(uri) => serde_json::from_slice(&text(logs, uri).await?).map_err(|e| no_json(uri, &e)),
    }
}

/// One item of a value: of a long list that is all that is made a value, since each instance of a mapped task reads it for its own item.
pub async fn resolve_item<L: LogStore>(logs: &L, value: &ValueRef, item: u64) -> Result<Value, Error> {
    match value {
        ValueRef::Inline(value) => Ok(item_of(value, item)),
        ValueRef::At(uri) => item_in(&text(logs, uri).await?, item).map_err(|e| no_json(uri, &e)),
    }
}

async fn text<L: LogStore>(logs: &L, uri: &str) -> Result<Vec<u8>, Error> {
    let gone = || Error::Refused(format!("the XCom kept at `{uri}` is gone: it was removed, or has expired"));
    logs.get(uri).await?.ok_or_else(gone)
}

fn no_json(uri: &str, error: &serde_json::Error) -> Error {
    Error::Refused(format!("the XCom kept at `{uri}` is no JSON: {error}"))
}

/// What [`item_of`] finds in a value, found in its text.
fn item_in(text: &[u8], item: u64) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let found = serde::de::Deserializer::deserialize_any(&mut reader, OneItem(item))?;
    reader.end()?;
    Ok(found)
}

/// Reads one item, and passes over all others.
struct OneItem(u64);

impl<'de> Visitor<'de> for OneItem {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut found = Value::Null;
        for number in 0.. {
            if number == self.0 {
                let Some(item) = items.next_element()? else { break };
                found = item;
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        // A mapping's entries are counted in the order of its value, and a key may come twice: it is read whole.
        let mut whole = serde_json::Map::new();
        while let Some((key, value)) = entries.next_entry()? {
            whole.insert(key, value);
        }
        Ok(item_of(&Value::Object(whole), self.0))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// The attempts that won, of these tasks, by task.
pub async fn winners<I: Items>(
    store: &Metastore<I>,
    run: &RunDoc,
    tasks: impl IntoIterator<Item = TaskIndex>,
) -> Result<BTreeMap<TaskIndex, Attempt>, Error> {
    let wanted: Vec<AttemptKey> = tasks.into_iter().filter_map(|task| winner(run, task)).collect();
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    Ok(store.attempts(&wanted).await?.into_iter().map(|(key, attempt)| (key.task, attempt)).collect())
}

/// How many attempts are read at once.
const ATTEMPTS_AT_ONCE: usize = 500;

/// The pages of a mapped task that are born, of its run's expansion; empty where it is not expanded.
pub async fn pages_of<I: Items>(
    store: &Metastore<I>,
    plan: &Plan,
    run: &RunDoc,
    task: TaskIndex,
) -> Result<Vec<PageDoc>, Error> {
    let expanded = plan.unit_of(task).and_then(|unit| Some((unit, run.mapped.expansion(unit.unit)?)));
    let Some((unit, expansion)) = expanded else { return Ok(Vec::new()) };
    let pages = 0..unit.pages(expansion.count);
    Ok(store.pages(&run.facts.incarnation, unit.unit, pages).await?)
}

/// Where the winning attempts of a mapped task's instances on a page left their items, by map index.
pub fn winners_on(page: &PageDoc, task: TaskIndex) -> Vec<AttemptKey> {
    let winner = |(slot, cell): (&Slot, &Cell)| match cell {
        Cell::Final { try_number, winner: Some(token), .. } if slot.task == task => {
            Some(crate::pages::instance_key(page, *slot, *try_number, token))
        }
        _ => None,
    };
    page.cells.iter().filter_map(winner).collect()
}

/// What the instances of a mapped task pushed under a key, by map index; with `map_indexes` only these.
pub async fn rows<I: Items>(
    store: &Metastore<I>,
    plan: &Plan,
    run: &RunDoc,
    task: TaskIndex,
    key: &str,
    map_indexes: Option<&[u32]>,
) -> Result<Vec<(u32, ValueRef)>, Error> {
    let mut wanted = Vec::new();
    for page in pages_of(store, plan, run, task).await? {
        let is_wanted =
            |k: &AttemptKey| map_indexes.is_none_or(|only| k.map_index.is_some_and(|index| only.contains(&index)));
        wanted.extend(winners_on(&page, task).into_iter().filter(is_wanted));
    }
    let mut rows = Vec::new();
    for some in wanted.chunks(ATTEMPTS_AT_ONCE) {
        for (found, mut attempt) in store.attempts(some).await? {
            let value = attempt.xcoms.remove(key);
            rows.extend(value.and_then(|value| Some((found.map_index?, value))));
        }
    }
    rows.sort_by_key(|(map_index, _)| *map_index);
    Ok(rows)
}

/// The return value that is the `item`-th among those that a mapped task's instances left.
pub async fn item<I: Items>(
    store: &Metastore<I>,
    plan: &Plan,
    run: &RunDoc,
    task: TaskIndex,
    item: u64,
) -> Result<Option<ValueRef>, Error> {
    let expanded = plan.unit_of(task).and_then(|unit| Some((unit, run.mapped.expansion(unit.unit)?)));
    let Some((unit, expansion)) = expanded else { return Ok(None) };
    let mut left = item;
    for (number, summary) in run.mapped.full(unit.unit, unit.pages(expansion.count)) {
        let values = summary.tallies.get(&task).map_or(0, |tally| u64::from(tally.values));
        if left >= values {
            left -= values;
            continue;
        }
        let key = updraft_model::PageKey { incarnation: run.facts.incarnation.clone(), unit: unit.unit, page: number };
        let Some(page) = store.page(&key).await? else { return Ok(None) };
        let has_value = |k: &AttemptKey| {
            let slot = Slot { map_index: k.map_index.unwrap_or_default(), task };
            let succeeded = page.cell(slot).state() == TaskInstanceState::Success;
            succeeded && !page.silent.contains(&slot)
        };
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let Some(key) = winners_on(&page, task).into_iter().filter(has_value).nth(left) else { return Ok(None) };
        return Ok(store.attempt(&key).await?.and_then(|mut attempt| attempt.xcoms.remove(RETURN_VALUE)));
    }
    Ok(None)
}

/// How many instances can be made of what a task returned, where a task is mapped over it: of a list as many as it has items, of a mapping as
/// many as it has keys. None: nothing is mapped over it, or it is mapped itself, and its values are counted.
///
/// # Errors
/// Why the attempt has failed by it, as in Airflow.
pub fn map_length(plan: &Plan, task: TaskIndex, value: Option<&Value>, most: u32) -> Result<Option<u32>, String> {
    if !plan.is_mapped_over(task) || plan.unit_of(task).is_some() {
        return Ok(None);
    }
    let below: Vec<String> = plan
        .units()
        .iter()
        .filter(|unit| unit.sources.contains(&task))
        .map(|unit| unit.group.clone().unwrap_or_else(|| plan.task(unit.unit).task_id.to_string()))
        .collect();
    let below = below.join("`, `");
    let length = match value {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(entries)) => entries.len(),
        None | Some(Value::Null) => {
            return Err(format!(
                "`{below}` is expanded over what this task returns, but it returned nothing; return a list or a mapping"
            ));
        }
        Some(other) => {
            let kind = match other {
                Value::String(_) => "text",
                Value::Bool(_) => "a truth value",
                _ => "a number",
            };
            return Err(format!(
                "`{below}` is expanded over what this task returns, but it returned {kind}, which has no items to expand over; return a \
                 list or a mapping"
            ));
        }
    };
    if length > most as usize {
        return Err(format!(
            "`{below}` is expanded over what this task returns, but it returned {length} items, and at most {most} may be expanded over; \
             return fewer, or set `{}` to a greater number for every process of the deployment",
            crate::engine::MAX_MAP_LENGTH
        ));
    }
    Ok(Some(length as u32))
}

/// The name of an attempt's log in the log store. Spread over a bounded number of folders, none of which is ever to be removed.
pub fn log_name(attempt: &AttemptKey) -> String {
    format!("logs/{}.log", blob_name(attempt))
}

/// The name of one of an attempt's large values in the log store.
pub fn value_name(attempt: &AttemptKey, number: usize) -> String {
    format!("xcoms/{}-{number}.json", blob_name(attempt))
}

/// The name of what its template fields became, where that is long.
pub fn rendered_name(attempt: &AttemptKey) -> String {
    format!("xcoms/{}-rendered.json", blob_name(attempt))
}

/// What the names of an attempt's log and large values have in common.
pub(crate) fn blob_name(attempt: &AttemptKey) -> String {
    let AttemptKey { incarnation, task, map_index, try_number, token } = attempt;
    let instance = map_index.map(|index| format!(".{index}")).unwrap_or_default();
    let folder: String = incarnation.as_str().chars().take(2).collect();
    format!("{folder}/{incarnation}-{task}{instance}-{try_number}-{token}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_item_of_a_text_is_that_of_its_value() {
        let long: Vec<String> = (0..2000).map(|n| format!("a\u{e9}\"{n}")).collect();
        let values = [
            json!([]),
            json!([1, [2, 3], {"a": [4]}, null, "x", -1.5, true]),
            json!({"b": 1, "a": [2], "c": {"d": 3}}),
            json!(long),
            json!("text"),
            json!(7),
            json!(-7),
            json!(1.5),
            json!(true),
            json!(null),
        ];
        for value in values {
            let text = serde_json::to_vec(&value).unwrap();
            for item in [0, 1, 2, 3, 6, 7, 1999, 2000, u64::MAX] {
                assert_eq!(item_in(&text, item).unwrap(), item_of(&value, item), "item {item} of {value}");
            }
        }
    }

    #[test]
    fn what_is_no_json_is_said_to_be_none() {
        for text in ["[1, 2", "[1] x", "", "[1, oops, 3]", "{\"a\": }"] {
            assert!(item_in(text.as_bytes(), 0).is_err(), "{text}");
        }
    }
}
