//! How an invocation's time is shared out.
//!
//! ```text
//! begun                        last second of an attempt           leases end    end: Lambda stops the process
//!   |---- attempts ------------------------|---- WIND_UP, 8 s ----------|---- 2 s ----|
//! ```
//!
//! An attempt that is still running when the winding up begins is ended and recorded as failed, so that it is retried by its rules at
//! once, with an invocation's whole time before it. If even that does not come about, its lease ends before the process does, and the
//! sweep settles it.

use jiff::{SignedDuration, Timestamp};
use updraft_model::WorkerKind;
use updraft_runner::WIND_UP;
use updraft_service::{Continuation, TimeoutMost};

/// How long before an invocation's end its leases end: more than clocks differ, and enough to answer in. Nobody then takes an attempt
/// for alive whose process is gone.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(2);

/// An attempt that could not have this long is not begun here.
const ATTEMPT_LEAST: SignedDuration = SignedDuration::from_secs(5);

/// How long after its beginning an invocation goes on with tasks of which nobody knows how long they take.
const UNLIMITED_WITHIN: SignedDuration = SignedDuration::from_secs(30);

/// The time of one invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    begun: Timestamp,
    end: Timestamp,
}

impl Budget {
    /// An invocation that began now and is stopped at `end`.
    pub(crate) fn new(begun: Timestamp, end: Timestamp) -> Self {
        Self { begun, end }
    }

    /// When its leases end.
    pub(crate) fn leases_end(self) -> Timestamp {
        self.end.saturating_sub(LEASE_MARGIN).unwrap_or(self.end)
    }

    /// What an attempt that begins now has at most; none where that is too little to begin one.
    pub(crate) fn for_attempt(self, now: Timestamp) -> Option<SignedDuration> {
        let left = self.leases_end().duration_since(now) - WIND_UP;
        (left >= ATTEMPT_LEAST).then_some(left)
    }

    /// What may be continued with in place. Nothing is known here of what waits in the queue, so priorities do not matter: SQS has
    /// none, and enough workers run.
    pub(crate) fn continuation(self, now: Timestamp, worker: WorkerKind) -> Option<Continuation> {
        let most = self.for_attempt(now)?;
        let passed = now.duration_since(self.begun);
        // Where invocations are short, 30 s may be most of one: then at least as much must be left as has passed.
        let unlimited = passed < UNLIMITED_WITHIN && passed <= most;
        Some(Continuation {
            priority_least: None,
            timeout_most: Some(TimeoutMost { most, unlimited }),
            worker: Some(worker),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    #[test]
    fn leases_never_outlast_the_invocation_and_attempts_never_the_leases() {
        for length in [30, 60, 900] {
            let budget = Budget::new(at(0), at(length));
            assert!(budget.leases_end() < at(length));
            for second in 0..length {
                let Some(most) = budget.for_attempt(at(second)) else { continue };
                assert!(at(second) + most + WIND_UP <= budget.leases_end(), "{length} {second}");
                assert!(most >= ATTEMPT_LEAST);
            }
            assert_eq!(budget.for_attempt(at(length - 14)), None);
            assert!(budget.for_attempt(at(length - 15)).is_some());
        }
    }

    #[test]
    fn what_is_continued_with_fits_into_what_is_left() {
        let long = Budget::new(at(0), at(900));
        let short = Budget::new(at(0), at(30));
        let most = |seconds, unlimited| Some(TimeoutMost { most: SignedDuration::from_secs(seconds), unlimited });
        for (budget, second, expected) in [
            (long, 0, most(890, true)),
            (long, 29, most(861, true)),
            (long, 30, most(860, false)),
            (long, 885, most(5, false)),
            (long, 886, None),
            (short, 0, most(20, true)),
            (short, 10, most(10, true)),
            (short, 11, most(9, false)),
            (short, 16, None),
        ] {
            let continuation = budget.continuation(at(second), WorkerKind::Plain);
            assert_eq!(continuation.and_then(|c| c.timeout_most), expected, "{budget:?} at {second}");
            assert_eq!(continuation.is_some(), expected.is_some());
        }
    }
}
