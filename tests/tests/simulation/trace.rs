//! What happened, in lines and in numbers.

use crate::rng::hash;
use crate::world::Micros;
use std::collections::VecDeque;

/// How many of the last lines a failure shows.
const SHOWN: usize = 60;

/// What happened, line by line: all of it or the last lines, and a hash of everything.
#[derive(Debug)]
pub(crate) struct Trace {
    keep: bool,
    lines: VecDeque<String>,
    hash: u64,
    count: u64,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        Self { keep, lines: VecDeque::new(), hash: 0, count: 0 }
    }

    pub(crate) fn say(&mut self, now: Micros, who: &str, what: &str) {
        let line = format!("{:>5}.{:06} {who:<12} {what}", now / 1_000_000, now % 1_000_000);
        self.hash = crate::rng::mix(self.hash ^ hash(&line));
        self.count += 1;
        if !self.keep && self.lines.len() == SHOWN {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    pub(crate) fn tail(&self) -> String {
        self.lines.iter().skip(self.lines.len().saturating_sub(SHOWN)).flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    /// A fingerprint of every line.
    pub(crate) fn digest(&self) -> (u64, u64) {
        (self.count, self.hash)
    }
}

macro_rules! stats {
    ($($name:ident),+ $(,)?) => {
        /// How often what happened.
        #[derive(Debug, Clone, Copy, Default)]
        pub(crate) struct Stats {
            $(pub(crate) $name: u64),+
        }

        impl Stats {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }
        }

        impl std::fmt::Display for Stats {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $(writeln!(f, "  {:<22} {:>9}", stringify!($name).replace('_', " "), self.$name)?;)+
                Ok(())
            }
        }
    };
}

stats! {
    runs, runs_succeeded, runs_failed, runs_deadlocked, runs_with_setups, runs_stopped, runs_compared, ends_possible, cells,
    attempts_started, attempts_in_place, attempts_stopped, attempts_died, tries_retried,
    requests, writes_accepted, writes_refused, throttles, unknown_outcomes, landed_late, stale_index_reads,
    kills, jumps, deadlines_reached, pauses, pauses_past_a_lease, renewals, settled_by_item,
    messages, messages_lost, messages_doubled, messages_late,
    questions, answers, answers_refused,
    clears, clears_of_ended_runs, runs_failed_by_hand, clears_by_flags, marks, runs_set_by_hand, backfills, backfills_changed,
    runs_of_backfills, claims_taken_over, dags_paused, runs_paused, new_versions, runs_taken_to_new_versions, triggers, runs_held, tasks_held, slots_waited_for, slots_put_off, maps_at_their_limit,
    runs_with_maps, pages_born, instances_started, instances_died, instances_by_hand, instances_waiting_for_slots,
    events_made, events_from_outside, events_taken, runs_by_events,
    runs_timed_out, starts_looked_back, repeated, refused_by_themselves,
    virtual_minutes,
}
