//! The cell: the state of one task instance inside its run's document.
//!
//! Written as 2 to 30 bytes of text, so that a run of 130 tasks stays near one DynamoDB write unit:
//!
//! ```text
//! h<try>[.<resume>[.<turn>]]      scheduled            (ready, held by a limit; resume: how often the try went on before; turn: how often
//!                                                       it gave slots back unused)
//! q<try>                          queued
//! r<try>.<token>.<lease>.<start>  running
//! k<try>.<token>.<lease>.<start>  restarting
//! w<try>.<due>                    up_for_retry
//! e<try>.<due>                    up_for_reschedule
//! d<try>.<due>                    deferred
//! i<try>.<due>                    awaiting_input
//! s|f|x|u|v<try>[.<token>][!<token>.<lease>.<start>]
//!                                 success | failed | skipped | upstream_failed | removed; the winning attempt's token, and,
//!                                 where a running attempt was marked, the attempt that still has to let go
//! ```
//!
//! Instants are milliseconds since the epoch in base 36. An absent cell is "no state yet", try 0; `n<try>` is no state with tries used (after a clear).
//!
//! Who may write what (each arrow is one conditional write on the run document):
//!
//! ```text
//! none, scheduled, up_for_retry, ... --decide--> queued | skipped | upstream_failed | success (empty operators)
//! queued(n)            --claim-->    running(n, fresh token, lease)
//! running(n, t, _)     --renew-->    running(n, t, later lease)             condition: running and own token
//! running(n, t, _)     --finish-->   final | up_for_retry                    condition: running and own token
//! running(n, t, l)     --sweep-->    by the attempt's item, else retry/fail   condition: the exact cell, lease included
//! running(n, t, l)     --clear-->    restarting(n, t, l)                      epoch + 1
//! running(n, t, l)     --mark-->     final + leaving(t, l)                    epoch + 1
//! restarting(n, t, l)  --acknowledge or lease expiry--> none(n)
//! ```

use crate::ids::Token;
use crate::states::TaskInstanceState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Who holds a running cell, until when, and since when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease {
    /// The attempt's fencing token.
    pub token: Token,
    /// After this instant the sweep may settle the attempt. Millisecond precision.
    pub until: Timestamp,
    /// When the attempt was claimed. Millisecond precision.
    pub since: Timestamp,
}

/// The state of one task instance, with what belongs to that state and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Cell {
    /// No state yet, and no try used: what an absent cell means.
    #[default]
    None,
    /// No state, after `try_number` tries (cleared).
    Cleared {
        /// Tries used so far.
        try_number: u32,
    },
    /// Ready, held by a limit.
    Scheduled {
        /// The try it will run as.
        try_number: u32,
        /// How often that try went on before. Slots are held by try and resume, and a grant of those of an earlier attempt that
        /// comes late must find another cell (ARCHITECTURE.md, rule B2).
        resume: u32,
        /// How often it gave slots back that it had no place in its run for (rule B7).
        turn: u32,
    },
    /// Ready; a message is or will be on its way.
    Queued {
        /// The try it will run as.
        try_number: u32,
    },
    /// Held by a worker.
    Running {
        /// The try that runs.
        try_number: u32,
        /// Who holds it.
        lease: Lease,
    },
    /// Cleared while running: the attempt still has to let go.
    Restarting {
        /// The try that ran.
        try_number: u32,
        /// Who still holds it.
        lease: Lease,
    },
    /// Waiting, without a worker.
    Waiting {
        /// What it waits for.
        wait: Wait,
        /// The try that waits (retry: the one that failed).
        try_number: u32,
        /// When it is due. Millisecond precision.
        due: Timestamp,
    },
    /// Ended.
    Final {
        /// How.
        end: End,
        /// Tries used.
        try_number: u32,
        /// The attempt whose item holds dates, XComs and log; none where nothing ran.
        winner: Option<Token>,
        /// A marked attempt that has not yet let go.
        leaving: Option<Lease>,
    },
}

/// What a waiting cell waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// The next try.
    Retry,
    /// A sensor's next look.
    Reschedule,
    /// An outside event.
    Deferred,
    /// A person's answer.
    Input,
}

/// The ends of a task instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Ended well.
    Success,
    /// Ended badly.
    Failed,
    /// Not run.
    Skipped,
    /// Not run, an upstream failed.
    UpstreamFailed,
    /// Gone from the DAG.
    Removed,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Success, Self::Failed, Self::Skipped, Self::UpstreamFailed, Self::Removed];

    /// The end as a state.
    pub fn state(self) -> TaskInstanceState {
        match self {
            Self::Success => TaskInstanceState::Success,
            Self::Failed => TaskInstanceState::Failed,
            Self::Skipped => TaskInstanceState::Skipped,
            Self::UpstreamFailed => TaskInstanceState::UpstreamFailed,
            Self::Removed => TaskInstanceState::Removed,
        }
    }
}

/// A text that is no cell: the store holds something this version did not write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no cell of a run document")]
pub struct NotACell(pub String);

impl Cell {
    /// The state of the task instance.
    pub fn state(&self) -> TaskInstanceState {
        match self {
            Self::None | Self::Cleared { .. } => TaskInstanceState::None,
            Self::Scheduled { .. } => TaskInstanceState::Scheduled,
            Self::Queued { .. } => TaskInstanceState::Queued,
            Self::Running { .. } => TaskInstanceState::Running,
            Self::Restarting { .. } => TaskInstanceState::Restarting,
            Self::Waiting { wait: Wait::Retry, .. } => TaskInstanceState::UpForRetry,
            Self::Waiting { wait: Wait::Reschedule, .. } => TaskInstanceState::UpForReschedule,
            Self::Waiting { wait: Wait::Deferred, .. } => TaskInstanceState::Deferred,
            Self::Waiting { wait: Wait::Input, .. } => TaskInstanceState::AwaitingInput,
            Self::Final { end, .. } => end.state(),
        }
    }

    /// Tries used or in use: Airflow's `try_number`.
    pub fn try_number(&self) -> u32 {
        match self {
            Self::None => 0,
            Self::Cleared { try_number }
            | Self::Scheduled { try_number, .. }
            | Self::Queued { try_number }
            | Self::Running { try_number, .. }
            | Self::Restarting { try_number, .. }
            | Self::Waiting { try_number, .. }
            | Self::Final { try_number, .. } => *try_number,
        }
    }

    /// Whether the task instance has ended.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Final { .. })
    }

    /// Whether it counts under `max_active_tasks`: queued or running. As in Airflow, an attempt that has to let go does not count, cleared or
    /// marked: what was marked while it ran and is cleared then would take a place that may be another's by now.
    pub fn takes_a_place(&self) -> bool {
        matches!(self, Self::Queued { .. } | Self::Running { .. })
    }

    /// The attempt that holds or still has to leave this cell, if any.
    pub fn holder(&self) -> Option<&Lease> {
        match self {
            Self::Running { lease, .. } | Self::Restarting { lease, .. } => Some(lease),
            Self::Final { leaving, .. } => leaving.as_ref(),
            Self::None | Self::Cleared { .. } | Self::Scheduled { .. } | Self::Queued { .. } | Self::Waiting { .. } => {
                None
            }
        }
    }

    /// An end reached without an attempt: a skip, an upstream failure, an empty operator.
    pub fn ended(end: End, try_number: u32) -> Self {
        Self::Final { end, try_number, winner: None, leaving: None }
    }

    /// The beginning of the text of a running cell held by `token` in `try_number`, whatever its lease: what a finish and a
    /// renewal are conditioned on (ARCHITECTURE.md, rule A1).
    pub fn running_prefix(try_number: u32, token: &Token) -> String {
        format!("r{try_number}.{token}.")
    }

    /// The same for a restarting cell: what an acknowledgement is conditioned on (ARCHITECTURE.md, rule A2).
    pub fn restarting_prefix(try_number: u32, token: &Token) -> String {
        format!("k{try_number}.{token}.")
    }

    /// The text stored in the run document. [`Cell::None`] is never stored; its text is empty.
    pub fn encode(&self) -> String {
        let held = |lease: &Lease| format!("{}.{}.{}", lease.token, base36(lease.until), base36(lease.since));
        match self {
            Self::None => String::new(),
            Self::Cleared { try_number } => format!("n{try_number}"),
            Self::Scheduled { try_number, resume: 0, turn: 0 } => format!("h{try_number}"),
            Self::Scheduled { try_number, resume, turn: 0 } => format!("h{try_number}.{resume}"),
            Self::Scheduled { try_number, resume, turn } => format!("h{try_number}.{resume}.{turn}"),
            Self::Queued { try_number } => format!("q{try_number}"),
            Self::Running { try_number, lease } => format!("r{try_number}.{}", held(lease)),
            Self::Restarting { try_number, lease } => format!("k{try_number}.{}", held(lease)),
            Self::Waiting { wait, try_number, due } => {
                let letter = match wait {
                    Wait::Retry => 'w',
                    Wait::Reschedule => 'e',
                    Wait::Deferred => 'd',
                    Wait::Input => 'i',
                };
                format!("{letter}{try_number}.{}", base36(*due))
            }
            Self::Final { end, try_number, winner, leaving } => {
                let letter = match end {
                    End::Success => 's',
                    End::Failed => 'f',
                    End::Skipped => 'x',
                    End::UpstreamFailed => 'u',
                    End::Removed => 'v',
                };
                let winner = winner.as_ref().map(|t| format!(".{t}")).unwrap_or_default();
                let leaving = leaving.as_ref().map(|l| format!("!{}", held(l))).unwrap_or_default();
                format!("{letter}{try_number}{winner}{leaving}")
            }
        }
    }

    /// Reads what [`Cell::encode`] wrote.
    ///
    /// # Errors
    /// [`NotACell`] for any other text.
    pub fn decode(text: &str) -> Result<Self, NotACell> {
        Self::decode_inner(text).ok_or_else(|| NotACell(text.to_owned()))
    }

    fn decode_inner(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::None);
        }
        let letter = text.chars().next()?;
        let rest = text.get(1..)?;
        let (body, leaving) = match rest.split_once('!') {
            Some((body, leaving)) => (body, Some(leaving)),
            None => (rest, None),
        };
        let (number, tail) = match body.split_once('.') {
            Some((number, tail)) => (number, Some(tail)),
            None => (body, None),
        };
        let try_number: u32 = number.parse().ok()?;
        let waiting = |wait| Some(Self::Waiting { wait, try_number, due: from_base36(tail?)? });
        let ended = |end| {
            let leaving = match leaving {
                Some(text) => Some(decode_lease(text)?),
                None => None,
            };
            Some(Self::Final { end, try_number, winner: tail.map(Token::trusted), leaving })
        };
        if leaving.is_some() && !matches!(letter, 's' | 'f' | 'x' | 'u' | 'v') {
            return None;
        }
        match (letter, tail) {
            ('n', None) => Some(Self::Cleared { try_number }),
            ('h', None) => Some(Self::Scheduled { try_number, resume: 0, turn: 0 }),
            ('h', Some(tail)) => {
                let (resume, turn) = tail.split_once('.').unwrap_or((tail, "0"));
                Some(Self::Scheduled { try_number, resume: resume.parse().ok()?, turn: turn.parse().ok()? })
            }
            ('q', None) => Some(Self::Queued { try_number }),
            ('r', Some(tail)) => Some(Self::Running { try_number, lease: decode_lease(tail)? }),
            ('k', Some(tail)) => Some(Self::Restarting { try_number, lease: decode_lease(tail)? }),
            ('w', _) => waiting(Wait::Retry),
            ('e', _) => waiting(Wait::Reschedule),
            ('d', _) => waiting(Wait::Deferred),
            ('i', _) => waiting(Wait::Input),
            ('s', _) => ended(End::Success),
            ('f', _) => ended(End::Failed),
            ('x', _) => ended(End::Skipped),
            ('u', _) => ended(End::UpstreamFailed),
            ('v', _) => ended(End::Removed),
            _ => None,
        }
    }
}

fn decode_lease(text: &str) -> Option<Lease> {
    let mut parts = text.split('.');
    let lease = Lease {
        token: Token::trusted(parts.next().filter(|t| !t.is_empty())?),
        until: from_base36(parts.next()?)?,
        since: from_base36(parts.next()?)?,
    };
    parts.next().is_none().then_some(lease)
}

impl From<Cell> for String {
    fn from(cell: Cell) -> Self {
        cell.encode()
    }
}

impl TryFrom<String> for Cell {
    type Error = NotACell;

    fn try_from(text: String) -> Result<Self, NotACell> {
        Self::decode(&text)
    }
}

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Milliseconds since the epoch in base 36; instants before 1970 are written as the epoch, since no lease or due time lies
/// there.
fn base36(at: Timestamp) -> String {
    let mut left = u64::try_from(at.as_millisecond()).unwrap_or(0);
    let mut digits = Vec::with_capacity(9);
    loop {
        digits.push(DIGITS[(left % 36) as usize]);
        left /= 36;
        if left == 0 {
            break;
        }
    }
    digits.iter().rev().map(|d| *d as char).collect()
}

fn from_base36(text: &str) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::from_str_radix(text, 36).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lease() -> impl Strategy<Value = Lease> {
        ("[a-z0-9]{8}", 0i64..4_000_000_000_000, 0i64..4_000_000_000_000).prop_map(|(token, until, since)| Lease {
            token: Token::trusted(token),
            until: Timestamp::from_millisecond(until).unwrap(),
            since: Timestamp::from_millisecond(since).unwrap(),
        })
    }

    fn cell() -> impl Strategy<Value = Cell> {
        let n = 0u32..10_000;
        let wait = prop_oneof![Just(Wait::Retry), Just(Wait::Reschedule), Just(Wait::Deferred), Just(Wait::Input)];
        let end = prop_oneof![
            Just(End::Success),
            Just(End::Failed),
            Just(End::Skipped),
            Just(End::UpstreamFailed),
            Just(End::Removed)
        ];
        prop_oneof![
            Just(Cell::None),
            n.clone().prop_map(|try_number| Cell::Cleared { try_number }),
            (n.clone(), 0u32..3, 0u32..3).prop_map(|(try_number, resume, turn)| Cell::Scheduled {
                try_number,
                resume,
                turn
            }),
            n.clone().prop_map(|try_number| Cell::Queued { try_number }),
            (n.clone(), lease()).prop_map(|(try_number, lease)| Cell::Running { try_number, lease }),
            (n.clone(), lease()).prop_map(|(try_number, lease)| Cell::Restarting { try_number, lease }),
            (wait, n.clone(), lease()).prop_map(|(wait, try_number, l)| Cell::Waiting {
                wait,
                try_number,
                due: l.until
            }),
            (end, n, proptest::option::of("[a-z0-9]{8}"), proptest::option::of(lease())).prop_map(
                |(end, try_number, winner, leaving)| Cell::Final {
                    end,
                    try_number,
                    winner: winner.map(Token::trusted),
                    leaving
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(cell in cell()) {
            prop_assert_eq!(Cell::decode(&cell.encode()), Ok(cell));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = Cell::decode(&text);
        }

        #[test]
        fn a_prefix_matches_its_own_attempt_only(a in lease(), b in lease(), n in 1u32..20, m in 1u32..200) {
            let text = Cell::Running { try_number: n, lease: a.clone() }.encode();
            prop_assert_eq!(
                text.starts_with(&Cell::running_prefix(m, &b.token)),
                n == m && a.token == b.token
            );
        }
    }

    #[test]
    fn a_settled_cell_stays_small() {
        let cell =
            Cell::Final { end: End::Success, try_number: 1, winner: Some(Token::trusted("0a1b2c3d")), leaving: None };
        assert_eq!(cell.encode(), "s1.0a1b2c3d");
    }
}
