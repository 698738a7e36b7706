//! Page documents: the instances of mapped tasks, at most [`crate::mapped::PAGE_CELLS`] a page.
//!
//! A page's key is its run, its unit and its number, *without* the epoch, which is a field (ARCHITECTURE.md, rule E1). What one instance
//! of a mapped group decides lies on one page, as what a run decides lies in one document.

use crate::cell::Cell;
use crate::choice::Chosen;
use crate::ids::{Incarnation, TaskIndex, Token};
use crate::run::{Resumed, TryEnd};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageKey {
    /// The run.
    pub incarnation: Incarnation,
    /// The unit, by its first task.
    pub unit: TaskIndex,
    /// Its number, from 0.
    pub page: u32,
}

/// One task instance of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// Airflow's `map_index`.
    pub map_index: u32,
    /// The task.
    pub task: TaskIndex,
}

/// A page document, as one read or one write returns it.
#[derive(Debug, Clone, PartialEq)]
pub struct PageDoc {
    /// Which.
    pub key: PageKey,
    /// The epoch of the run for which it was born or closed.
    pub epoch: u32,
    /// Whether its instances run. A closed page waits for the birth that its run owes it.
    pub is_open: bool,
    /// The first `map_index` it holds.
    pub first: u32,
    /// Cells; all that the page will ever decide are there from its birth.
    pub cells: BTreeMap<Slot, Cell>,
    /// Where a clear changed it: the tries an instance may use, less one.
    pub max_tries: BTreeMap<Slot, u32>,
    /// Tries that went on with another attempt.
    pub resumes: BTreeMap<Slot, Resumed>,
    /// Choices that branches have made.
    pub choices: BTreeMap<Slot, Chosen>,
    /// Instances that ended in success and left no return value.
    pub silent: BTreeSet<Slot>,
    /// What ended tries have to tell and have not told yet, by instance and try: asset events, callbacks.
    pub effects: BTreeMap<(Slot, u32), PageEffect>,
    /// In the time index at this instant; none: out of it.
    pub wake_at: Option<Timestamp>,
    /// Looks in a row that found nothing to do.
    pub looks: u32,
    /// Grows with every write.
    pub revision: u64,
}

/// The end of an instance's try, to be told: as [`crate::OutboxEntry::Try`] in a run document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageEffect {
    /// The attempt that ended the try.
    #[serde(rename = "t")]
    pub token: Token,
    /// How.
    #[serde(rename = "e")]
    pub end: TryEnd,
}

impl PageDoc {
    /// A page without instances.
    pub fn new(key: PageKey, epoch: u32, first: u32) -> Self {
        Self {
            key,
            epoch,
            is_open: true,
            first,
            cells: BTreeMap::new(),
            max_tries: BTreeMap::new(),
            resumes: BTreeMap::new(),
            choices: BTreeMap::new(),
            silent: BTreeSet::new(),
            effects: BTreeMap::new(),
            wake_at: None,
            looks: 0,
            revision: 0,
        }
    }

    /// The cell of an instance; absent is [`Cell::None`].
    pub fn cell(&self, slot: Slot) -> &Cell {
        static NONE: Cell = Cell::None;
        self.cells.get(&slot).unwrap_or(&NONE)
    }

    /// Whether all its instances have ended.
    pub fn is_full(&self) -> bool {
        self.is_open && self.cells.values().all(Cell::is_final)
    }

    /// What is known of the earlier attempts of the cell's try.
    pub fn resumed(&self, slot: Slot) -> Option<&Resumed> {
        self.resumes.get(&slot).filter(|r| r.try_number == self.cell(slot).try_number())
    }
}

/// The attempt a condition asks for: running (or restarting) with this token, whatever its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageHeld {
    /// The instance.
    pub slot: Slot,
    /// The try.
    pub try_number: u32,
    /// The fencing token.
    pub token: Token,
}

/// One conditional update of a page document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PageChange {
    /// Condition: the page's epoch, and that it is open.
    pub if_open_at: Option<u32>,
    /// Condition: these exact cells.
    pub if_cells: Vec<(Slot, Cell)>,
    /// Condition: this attempt holds its cell, running.
    pub if_running: Option<PageHeld>,
    /// Condition: this attempt holds its cell, restarting.
    pub if_restarting: Option<PageHeld>,
    /// Condition: nothing was written since.
    pub if_revision: Option<u64>,
    /// Condition: in the time index no later than this.
    pub if_wake_at_most: Option<Timestamp>,
    /// Condition: in the time index exactly here.
    pub if_wake_at: Option<Option<Timestamp>>,
    /// The new epoch, and whether the page is open.
    pub epoch: Option<(u32, bool)>,
    /// All that is said of instances is replaced by what this page says of them: where more changes than an update may name.
    pub whole: Option<Box<PageDoc>>,
    /// Cells to write; [`Cell::None`] removes.
    pub cells: Vec<(Slot, Cell)>,
    /// Tries an instance may use, less one.
    pub max_tries: Vec<(Slot, u32)>,
    /// Tries that go on with another attempt.
    pub resumes: Vec<(Slot, Resumed)>,
    /// Choices that were made; none takes an older one back.
    pub choices: Vec<(Slot, Option<Chosen>)>,
    /// Whether instances have left no return value.
    pub silent: Vec<(Slot, bool)>,
    /// What is to be told of instances and tries; none strikes it out.
    pub effects: Vec<((Slot, u32), Option<PageEffect>)>,
    /// The new place in the time index; `Some(None)` leaves it.
    pub wake_at: Option<Option<Timestamp>>,
    /// Looks in a row that found nothing to do.
    pub looks: Option<u32>,
}

impl PageChange {
    /// Whether the conditions hold for this image.
    pub fn holds(&self, page: &PageDoc) -> bool {
        let held = |h: &PageHeld, prefix: String| page.cell(h.slot).encode().starts_with(&prefix);
        self.if_open_at.is_none_or(|epoch| page.is_open && page.epoch == epoch)
            && self.if_cells.iter().all(|(slot, cell)| page.cell(*slot) == cell)
            && self.if_running.as_ref().is_none_or(|h| held(h, Cell::running_prefix(h.try_number, &h.token)))
            && self.if_restarting.as_ref().is_none_or(|h| held(h, Cell::restarting_prefix(h.try_number, &h.token)))
            && self.if_revision.is_none_or(|r| r == page.revision)
            && self.if_wake_at_most.is_none_or(|most| page.wake_at.is_some_and(|at| at <= most))
            && self.if_wake_at.is_none_or(|at| at == page.wake_at)
    }

    /// The image after this change, conditions unchecked.
    pub fn apply(&self, page: &PageDoc) -> PageDoc {
        let mut page = page.clone();
        if let Some((epoch, is_open)) = self.epoch {
            (page.epoch, page.is_open) = (epoch, is_open);
        }
        if let Some(whole) = &self.whole {
            let PageDoc { cells, max_tries, resumes, choices, silent, effects, .. } = (**whole).clone();
            page = PageDoc { cells, max_tries, resumes, choices, silent, effects, ..page };
        }
        for (slot, cell) in &self.cells {
            match cell {
                Cell::None => page.cells.remove(slot),
                _ => page.cells.insert(*slot, cell.clone()),
            };
        }
        page.max_tries.extend(self.max_tries.iter().copied());
        page.resumes.extend(self.resumes.iter().cloned());
        for (slot, chosen) in &self.choices {
            match chosen {
                None => page.choices.remove(slot),
                Some(chosen) => page.choices.insert(*slot, chosen.clone()),
            };
        }
        for (slot, is_silent) in &self.silent {
            if *is_silent {
                page.silent.insert(*slot);
            } else {
                page.silent.remove(slot);
            }
        }
        for (of, effect) in &self.effects {
            match effect {
                None => page.effects.remove(of),
                Some(effect) => page.effects.insert(*of, effect.clone()),
            };
        }
        page.wake_at = self.wake_at.unwrap_or(page.wake_at);
        page.looks = self.looks.unwrap_or(page.looks);
        page.revision += 1;
        page
    }
}
