//! Where a run, its workers, its sweeps and its user stand.

use crate::documents::{Image, attempt_of, lease, queued_run};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use updraft_model::{AttemptOutcome, Cell, Held, Lease, RunChange, TaskIndex, Token};
use updraft_scheduling::step::{Ended, Step};

/// What may still befall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    /// Processes that die.
    pub(crate) crashes: u8,
    /// Leases that end while their attempt lives: its process was paused.
    pub(crate) pauses: u8,
    /// Attempts that fail by themselves.
    pub(crate) failures: u8,
    /// Attempts that look again later.
    pub(crate) reschedules: u8,
    /// Clears, each by a user of its own.
    pub(crate) clears: u8,
    /// Runs failed by hand.
    pub(crate) marks: u8,
    /// Writes of attempts whose answer is lost, and which land later or never.
    pub(crate) lost: u8,
    /// Interventions whose answer is lost.
    pub(crate) lost_interventions: u8,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Outcome {
    Success,
    Failed,
    /// A sensor that looks again later: the same try, another attempt.
    Rescheduled,
}

impl Outcome {
    /// As the product has it.
    pub(crate) fn ended(self, end_date: Timestamp) -> Ended {
        let outcome = match self {
            Self::Success => AttemptOutcome::Success,
            Self::Failed => AttemptOutcome::Failed,
            Self::Rescheduled => AttemptOutcome::Rescheduled { until: end_date + SignedDuration::from_millis(1) },
        };
        Ended::new(outcome, end_date)
    }
}

/// An attempt in the hands of its worker.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct Attempt {
    pub(crate) task: TaskIndex,
    pub(crate) try_number: u32,
    pub(crate) token: u8,
    /// Which attempt of its try it is.
    pub(crate) resumed: u32,
    /// How often its worker knows its lease to have been renewed.
    pub(crate) level: u8,
    /// The run as its claim returned it.
    pub(crate) image: Image,
}

impl Attempt {
    pub(crate) fn held(&self) -> Held {
        Held { task: self.task, try_number: self.try_number, token: Token::trusted(format!("t{}", self.token)) }
    }

    pub(crate) fn lease(&self) -> Lease {
        lease(self.token, self.level)
    }
}

/// A step whose answer was lost or refused.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tried(pub(crate) Arc<Step>);

impl Hash for Tried {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for (task, cell) in &self.0.change.cells {
            (task, cell.encode()).hash(hasher);
        }
    }
}

/// Where a worker stands.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) enum Worker {
    Idle,
    /// Its claim was accepted; nothing was started.
    Claimed(Attempt),
    /// Its processes run.
    Lives(Attempt),
    /// They have ended or were killed, and left this; the item is not put yet.
    Ended(Attempt, Outcome),
    /// The item is put.
    Finishes {
        attempt: Attempt,
        outcome: Outcome,
        /// The run as it was last seen.
        seen: Image,
        /// The token of the attempt it would go on with.
        next: u8,
        /// What it wrote without an answer or in vain, and what that was decided on.
        tried: Option<(Tried, Image)>,
    },
    /// Its attempt was killed. Whatever holds the cell for it is to be let go.
    LetsGo(Attempt, Option<Image>),
    /// Its write was accepted, and returned this image: what it decides beyond is written too, then the next attempt goes on.
    CatchesUp {
        base: Image,
        step: Tried,
        image: Image,
        then: Option<Attempt>,
    },
}

/// Where a sweep stands.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) enum Sweep {
    Idle,
    /// It read the run.
    Read(Image),
    /// It read what the expired attempts left.
    Knows(Image, Vec<(TaskIndex, Option<Outcome>)>),
}

/// What a user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    Clear,
    Fail,
}

/// Where a user stands.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) enum User {
    Idle,
    /// About to read the run: the operation may have landed before.
    Wants(Act, u8),
    /// Read it.
    Decides(Act, u8, Image),
}

/// A write on its way, whose sender has no answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Late {
    /// On the run document.
    Run(Arc<RunChange>),
    /// An attempt item: task, try, token, outcome.
    Item(Item),
}

/// An attempt item.
pub(crate) type Item = (TaskIndex, u32, u8, Outcome);

impl Hash for Late {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match self {
            Self::Item(item) => item.hash(hasher),
            Self::Run(change) => {
                (change.if_epoch, change.state, change.epoch.is_some()).hash(hasher);
                for (task, cell) in change.if_cells.iter().chain(&change.cells) {
                    (task, cell.encode()).hash(hasher);
                }
            }
        }
    }
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct State {
    pub(crate) run: Image,
    pub(crate) items: BTreeSet<Item>,
    /// Leases that are over.
    pub(crate) over: BTreeSet<(u8, u8)>,
    pub(crate) workers: [Worker; 2],
    pub(crate) sweeps: Vec<Sweep>,
    pub(crate) users: Vec<User>,
    pub(crate) late: Option<Late>,
    pub(crate) budget: Budget,
    /// Tokens drawn so far.
    pub(crate) drawn: u8,
    /// Operations drawn so far.
    pub(crate) operations: u8,
    /// Tries that were started.
    pub(crate) started: BTreeSet<(TaskIndex, u32, u32)>,
    /// Attempts whose results were cleared.
    pub(crate) cleared: BTreeSet<u8>,
    /// Interventions that took effect.
    pub(crate) acted: BTreeSet<String>,
    pub(crate) wrong: Option<&'static str>,
}

impl State {
    pub(crate) fn new(budget: Budget, sweeps: usize, users: usize) -> Self {
        Self {
            run: Image::new(queued_run("r")),
            items: BTreeSet::new(),
            over: BTreeSet::new(),
            workers: [Worker::Idle, Worker::Idle],
            sweeps: vec![Sweep::Idle; sweeps],
            users: vec![User::Idle; users],
            late: None,
            budget,
            drawn: 0,
            operations: 0,
            started: BTreeSet::new(),
            cleared: BTreeSet::new(),
            acted: BTreeSet::new(),
            wrong: None,
        }
    }

    /// Whether the lease by which this cell is held is over.
    pub(crate) fn is_over(&self, cell: &Cell) -> bool {
        cell.holder().is_some_and(|lease| self.over.contains(&attempt_of(lease)))
    }

    /// The attempts whose processes run, or whose worker is still about to write for them.
    pub(crate) fn present(&self) -> impl Iterator<Item = &Attempt> {
        self.workers.iter().filter_map(|worker| match worker {
            Worker::Idle | Worker::CatchesUp { then: None, .. } => None,
            Worker::Claimed(attempt)
            | Worker::Lives(attempt)
            | Worker::Ended(attempt, _)
            | Worker::Finishes { attempt, .. }
            | Worker::LetsGo(attempt, _)
            | Worker::CatchesUp { then: Some(attempt), .. } => Some(attempt),
        })
    }

    pub(crate) fn is_wrong(&mut self, what: &'static str) {
        self.wrong = self.wrong.or(Some(what));
    }

    /// An attempt's processes start.
    pub(crate) fn attempt_starts(&mut self, worker: usize, attempt: &Attempt) {
        let beside = self.workers.iter().enumerate().any(|(other, at)| match at {
            Worker::Lives(other_attempt) => {
                other != worker
                    && other_attempt.task == attempt.task
                    && !self.over.contains(&(other_attempt.token, other_attempt.level))
            }
            _ => false,
        });
        if beside {
            self.is_wrong("two attempts of one task live at once");
        }
        if !self.started.insert((attempt.task, attempt.try_number, attempt.resumed)) {
            self.is_wrong("one try was started twice");
        }
        self.workers[worker] = Worker::Lives(attempt.clone());
    }
}
