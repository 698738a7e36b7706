//! Mapped tasks as the run document knows them: how many instances there are, and how their pages stand.
//!
//! What is expanded together is a *unit*: a mapped task alone, or a mapped group with all tasks inside. Its instances live in page
//! documents ([`crate::page`]); the run document keeps a number until pages are born, and a summary of each page once that is full.

use crate::cell::End;
use crate::ids::TaskIndex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many cells a page holds at most, unless one instance of a group alone has more.
pub const PAGE_CELLS: u32 = 64;

/// How many pages of a unit that are not full exist at once. More instances than these pages hold are no more than a number.
pub const PAGES_OPEN_MAX: u32 = 32;

/// The same of a unit whose instances take slots of limits beyond the run: each page keeps some in line, and everybody who writes such a limit
/// writes the whole line.
pub const PAGES_OPEN_HELD_MAX: u32 = 4;

/// One instance of a unit, and the page it lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The unit, by its first task.
    pub unit: TaskIndex,
    /// The page.
    pub page: u32,
    /// The instance: Airflow's `map_index`.
    pub map_index: u32,
}

/// What a unit has been expanded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expansion {
    /// How many instances it has.
    pub count: u32,
    /// The run's epoch when it was expanded, or closed as a whole since.
    pub epoch: u32,
}

/// How the instances of one task on a full page have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// In success.
    pub success: u32,
    /// In failed.
    pub failed: u32,
    /// In skipped.
    pub skipped: u32,
    /// In upstream_failed.
    pub upstream_failed: u32,
    /// In removed.
    pub removed: u32,
    /// How many have left a return value.
    pub values: u32,
}

impl Tally {
    /// Counts an end.
    pub fn add(&mut self, end: End, has_value: bool) {
        match end {
            End::Success => self.success += 1,
            End::Failed => self.failed += 1,
            End::Skipped => self.skipped += 1,
            End::UpstreamFailed => self.upstream_failed += 1,
            End::Removed => self.removed += 1,
        }
        self.values += u32::from(has_value);
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            success: self.success + other.success,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
            upstream_failed: self.upstream_failed + other.upstream_failed,
            removed: self.removed + other.removed,
            values: self.values + other.values,
        }
    }

    /// How many instances it counts.
    pub fn total(self) -> u32 {
        self.success + self.failed + self.skipped + self.upstream_failed + self.removed
    }

    /// The end that stands for all of them: the worst there is.
    pub fn end(self) -> End {
        match self {
            Self { failed: 1.., .. } => End::Failed,
            Self { upstream_failed: 1.., .. } => End::UpstreamFailed,
            Self { success: 1.., .. } => End::Success,
            Self { skipped: 1.., .. } => End::Skipped,
            _ => End::Removed,
        }
    }

    fn encode(self) -> String {
        let numbers = [
            ('s', self.success),
            ('f', self.failed),
            ('x', self.skipped),
            ('u', self.upstream_failed),
            ('v', self.removed),
            ('r', self.values),
        ];
        let told: Vec<String> =
            numbers.iter().filter(|(_, n)| *n > 0).map(|(letter, n)| format!("{letter}{n}")).collect();
        told.concat()
    }

    fn decode(text: &str) -> Option<Self> {
        let mut tally = Self::default();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            rest = rest.get(1..)?;
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let number: u32 = rest.get(..digits)?.parse().ok()?;
            rest = rest.get(digits..)?;
            *match letter {
                's' => &mut tally.success,
                'f' => &mut tally.failed,
                'x' => &mut tally.skipped,
                'u' => &mut tally.upstream_failed,
                'v' => &mut tally.removed,
                'r' => &mut tally.values,
                _ => return None,
            } = number;
        }
        Some(tally)
    }
}

/// A full page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The epoch of the page.
    pub epoch: u32,
    /// By task.
    pub tallies: BTreeMap<TaskIndex, Tally>,
}

/// What the run document keeps of mapped tasks, by name. Each is an entry of its own, so that late writes add and never take back
/// (ARCHITECTURE.md, rule E4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MappedKey {
    /// How many instances can be made of what a task returned.
    Length(TaskIndex),
    /// What a unit was expanded to.
    Expansion(TaskIndex),
    /// How many instances a unit had at most before it was cleared as a whole. Those of them that it has no more are removed.
    Before(TaskIndex),
    /// The epoch of one page of a unit, where it is later than the expansion's.
    Epoch(TaskIndex, u32),
    /// A full page of a unit.
    Summary(TaskIndex, u32),
    /// That some instance of a task on a page that is not full has ended like this.
    Sign {
        /// The unit.
        unit: TaskIndex,
        /// The page.
        page: u32,
        /// The task.
        task: TaskIndex,
        /// How.
        end: End,
    },
}

impl MappedKey {
    /// The text by which the entry is stored.
    pub fn encode(&self) -> String {
        match self {
            Self::Length(task) => format!("l{task}"),
            Self::Expansion(unit) => format!("x{unit}"),
            Self::Before(unit) => format!("b{unit}"),
            Self::Epoch(unit, page) => format!("e{unit}.{page}"),
            Self::Summary(unit, page) => format!("p{unit}.{page}"),
            Self::Sign { unit, page, task, end } => {
                let letter = match end {
                    End::Success => 's',
                    End::Failed => 'f',
                    End::Skipped => 'x',
                    End::UpstreamFailed => 'u',
                    End::Removed => 'v',
                };
                format!("g{unit}.{page}.{task}.{letter}")
            }
        }
    }

    /// Reads what [`MappedKey::encode`] wrote.
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.get(1..)?.split('.');
        let mut number = || parts.next()?.parse::<u32>().ok();
        let first = TaskIndex(number()?);
        match text.chars().next()? {
            'l' => Some(Self::Length(first)),
            'x' => Some(Self::Expansion(first)),
            'b' => Some(Self::Before(first)),
            'e' => Some(Self::Epoch(first, number()?)),
            'p' => Some(Self::Summary(first, number()?)),
            'g' => {
                let (page, task) = (number()?, TaskIndex(number()?));
                let end = match parts.next()? {
                    "s" => End::Success,
                    "f" => End::Failed,
                    "x" => End::Skipped,
                    "u" => End::UpstreamFailed,
                    "v" => End::Removed,
                    _ => return None,
                };
                Some(Self::Sign { unit: first, page, task, end })
            }
            _ => None,
        }
    }
}

/// What stands under a [`MappedKey`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MappedEntry {
    /// A length, how many instances there were, or the epoch of a page or a sign.
    Number(u32),
    /// Of a unit.
    Expansion(Expansion),
    /// Of a page.
    Summary(Summary),
}

impl MappedEntry {
    /// The text in which the entry is stored.
    pub fn encode(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Expansion(Expansion { count, epoch }) => format!("{count}.{epoch}"),
            Self::Summary(Summary { epoch, tallies }) => {
                let tallies: Vec<String> = tallies.iter().map(|(task, t)| format!("{task}{}", t.encode())).collect();
                format!("{epoch}={}", tallies.join(";"))
            }
        }
    }

    /// Reads what [`MappedEntry::encode`] wrote under this key.
    pub fn decode(key: &MappedKey, text: &str) -> Option<Self> {
        match key {
            MappedKey::Length(_) | MappedKey::Before(_) | MappedKey::Epoch(..) | MappedKey::Sign { .. } => {
                text.parse().ok().map(Self::Number)
            }
            MappedKey::Expansion(_) => {
                let (count, epoch) = text.split_once('.')?;
                Some(Self::Expansion(Expansion { count: count.parse().ok()?, epoch: epoch.parse().ok()? }))
            }
            MappedKey::Summary(..) => {
                let (epoch, tallies) = text.split_once('=')?;
                let tally = |text: &str| {
                    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
                    let (task, tally) = text.split_at_checked(digits)?;
                    Some((TaskIndex(task.parse().ok()?), Tally::decode(tally)?))
                };
                let tallies = tallies.split(';').filter(|t| !t.is_empty()).map(tally).collect::<Option<_>>()?;
                Some(Self::Summary(Summary { epoch: epoch.parse().ok()?, tallies }))
            }
        }
    }
}

/// What the run document keeps of mapped tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapped(pub BTreeMap<MappedKey, MappedEntry>);

impl Mapped {
    /// How many instances can be made of what a task returned, once it has.
    pub fn length(&self, task: TaskIndex) -> Option<u32> {
        self.number(&MappedKey::Length(task))
    }

    /// What a unit was expanded to.
    pub fn expansion(&self, unit: TaskIndex) -> Option<Expansion> {
        match self.0.get(&MappedKey::Expansion(unit)) {
            Some(MappedEntry::Expansion(expansion)) => Some(*expansion),
            _ => None,
        }
    }

    /// How many instances a unit had at most before it was cleared as a whole; none where it was not.
    pub fn before(&self, unit: TaskIndex) -> u32 {
        self.number(&MappedKey::Before(unit)).unwrap_or(0)
    }

    /// How many instances of a unit are beyond those that it has since it was expanded anew: removed.
    pub fn fallen_away(&self, unit: TaskIndex) -> u32 {
        self.expansion(unit).map_or(0, |expansion| self.before(unit).saturating_sub(expansion.count))
    }

    /// The units that are expanded.
    pub fn expanded(&self) -> impl Iterator<Item = (TaskIndex, Expansion)> + '_ {
        let from = MappedKey::Expansion(TaskIndex(0));
        let to = MappedKey::Expansion(TaskIndex(u32::MAX));
        self.0.range(from..=to).filter_map(|(key, entry)| match (key, entry) {
            (MappedKey::Expansion(unit), MappedEntry::Expansion(expansion)) => Some((*unit, *expansion)),
            _ => None,
        })
    }

    /// Whether a task is the first of a unit that is expanded.
    pub fn has_instances(&self, task: TaskIndex) -> bool {
        self.expansion(task).is_some()
    }

    /// The epoch that a page of an expanded unit is to have.
    pub fn epoch(&self, unit: TaskIndex, page: u32) -> Option<u32> {
        let of_unit = self.expansion(unit)?.epoch;
        Some(self.number(&MappedKey::Epoch(unit, page)).map_or(of_unit, |own| own.max(of_unit)))
    }

    /// A page's summary, if it is full.
    pub fn summary(&self, unit: TaskIndex, page: u32) -> Option<&Summary> {
        let epoch = self.epoch(unit, page)?;
        match self.0.get(&MappedKey::Summary(unit, page)) {
            Some(MappedEntry::Summary(summary)) if summary.epoch == epoch => Some(summary),
            _ => None,
        }
    }

    /// The full pages of a unit, of so many.
    pub fn full(&self, unit: TaskIndex, pages: u32) -> impl Iterator<Item = (u32, &Summary)> + '_ {
        let range = MappedKey::Summary(unit, 0)..=MappedKey::Summary(unit, pages.saturating_sub(1));
        let has_pages = pages > 0;
        self.0.range(range).take_while(move |_| has_pages).filter_map(move |(key, _)| match key {
            MappedKey::Summary(unit, page) => Some((*page, self.summary(*unit, *page)?)),
            _ => None,
        })
    }

    /// What is known of the ends of a task's instances on pages that are not full.
    pub fn signs(&self, unit: TaskIndex, task: TaskIndex) -> impl Iterator<Item = End> + '_ {
        let from = MappedKey::Sign { unit, page: 0, task: TaskIndex(0), end: End::Success };
        let to = MappedKey::Sign { unit, page: u32::MAX, task: TaskIndex(u32::MAX), end: End::Removed };
        self.0.range(from..=to).filter_map(move |(key, entry)| match (key, entry) {
            (MappedKey::Sign { unit, page, task: of, end }, MappedEntry::Number(epoch)) => {
                let counts =
                    *of == task && self.epoch(*unit, *page) == Some(*epoch) && self.summary(*unit, *page).is_none();
                counts.then_some(*end)
            }
            _ => None,
        })
    }

    fn number(&self, key: &MappedKey) -> Option<u32> {
        match self.0.get(key) {
            Some(MappedEntry::Number(number)) => Some(*number),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn end() -> impl Strategy<Value = End> {
        prop_oneof![
            Just(End::Success),
            Just(End::Failed),
            Just(End::Skipped),
            Just(End::UpstreamFailed),
            Just(End::Removed)
        ]
    }

    fn entry() -> impl Strategy<Value = (MappedKey, MappedEntry)> {
        let task = || (0u32..300).prop_map(TaskIndex);
        let tally = proptest::collection::vec((end(), any::<bool>()), 0..9).prop_map(|ends| {
            let mut tally = Tally::default();
            for (end, has_value) in ends {
                tally.add(end, has_value);
            }
            tally
        });
        prop_oneof![
            (task(), any::<u32>()).prop_map(|(t, n)| (MappedKey::Length(t), MappedEntry::Number(n))),
            (task(), any::<u32>()).prop_map(|(t, n)| (MappedKey::Before(t), MappedEntry::Number(n))),
            (task(), any::<u32>(), any::<u32>()).prop_map(|(t, count, epoch)| (
                MappedKey::Expansion(t),
                MappedEntry::Expansion(Expansion { count, epoch })
            )),
            (task(), any::<u32>(), any::<u32>()).prop_map(|(t, p, n)| (MappedKey::Epoch(t, p), MappedEntry::Number(n))),
            (task(), any::<u32>(), any::<u32>(), proptest::collection::btree_map(task(), tally, 0..4)).prop_map(
                |(t, p, epoch, tallies)| (MappedKey::Summary(t, p), MappedEntry::Summary(Summary { epoch, tallies }))
            ),
            (task(), any::<u32>(), task(), end(), any::<u32>()).prop_map(|(unit, page, task, end, n)| (
                MappedKey::Sign { unit, page, task, end },
                MappedEntry::Number(n)
            )),
        ]
    }

    proptest! {
        #[test]
        fn an_entry_is_read_back((key, entry) in entry()) {
            prop_assert_eq!(MappedKey::decode(&key.encode()), Some(key));
            prop_assert_eq!(MappedEntry::decode(&key, &entry.encode()), Some(entry));
        }

        #[test]
        fn no_text_panics(name in "[lxbepg]?\\PC{0,8}", text in "\\PC{0,12}") {
            if let Some(key) = MappedKey::decode(&name) {
                let _ = MappedEntry::decode(&key, &text);
            }
        }
    }

    #[test]
    fn what_is_of_another_epoch_does_not_count() {
        let unit = TaskIndex(1);
        let summary = |epoch| MappedEntry::Summary(Summary { epoch, tallies: BTreeMap::new() });
        let sign = MappedKey::Sign { unit, page: 1, task: unit, end: End::Failed };
        let mut mapped = Mapped(BTreeMap::from([
            (MappedKey::Expansion(unit), MappedEntry::Expansion(Expansion { count: 200, epoch: 1 })),
            (MappedKey::Summary(unit, 0), summary(1)),
            (MappedKey::Summary(unit, 1), summary(0)),
            (MappedKey::Summary(unit, 2), summary(1)),
            (sign, MappedEntry::Number(1)),
        ]));
        let full = |mapped: &Mapped| mapped.full(unit, 4).map(|(page, _)| page).collect::<Vec<_>>();
        assert_eq!(full(&mapped), [0, 2]);
        assert_eq!(mapped.signs(unit, unit).collect::<Vec<_>>(), [End::Failed]);
        for page in [1, 2] {
            mapped.0.insert(MappedKey::Epoch(unit, page), MappedEntry::Number(2));
        }
        assert_eq!(full(&mapped), [0]);
        assert_eq!(mapped.signs(unit, unit).count(), 0);
        assert_eq!((mapped.epoch(unit, 0), mapped.epoch(unit, 1)), (Some(1), Some(2)));
    }
}
