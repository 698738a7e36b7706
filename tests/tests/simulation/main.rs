//! The seeded simulation: the real engine in a world where everything that can go wrong does, and what must hold all the same.
//!
//! Workers, schedulers and people are processes of one virtual world with one clock, a store with DynamoDB's grain and a queue with
//! SQS's manners. Every request of theirs is a point where another may go on, where the process may die or pause, and where the answer
//! may get lost. One number, the seed, decides everything. After each accepted write the design's invariants are checked
//! ([`monitor`], [`transitions`]); when the faults have stopped and all is quiet, every end is compared with what a plain sequential
//! scheduler could have come to ([`model`], [`verdict`]).
//!
//! - `cargo test -p updraft-tests --test simulation` runs five thousand seeds.
//! - `UPDRAFT_SIM_SEED=7` repeats one and prints what happened in it.
//! - `UPDRAFT_SIM_SEEDS=0..20000` runs others.

mod actors;
mod adapter;
mod assets;
mod faults;
mod maps;
mod model;
mod monitor;
mod queue;
mod rng;
mod runner;
mod scenario;
mod sim;
mod store;
mod trace;
mod transitions;
mod verdict;
mod world;

use faults::Mutation;
use sim::{Report, Wish};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use trace::Stats;

/// The seeds of the test command.
const SEEDS: Range<u64> = 0..5_000;

/// Those of the requests of the DynamoDB adapter.
const ADAPTER_SEEDS: Range<u64> = 0..400;

/// Those in which the clock jumps.
const JUMP_SEEDS: Range<u64> = 0..300;

/// How many seeds may pass before a guard that was taken away is missed.
const MUTATION_SEEDS: Range<u64> = 0..3_000;

fn wish(seed: u64) -> Wish {
    Wish { seed, mutation: None, keep_trace: false, adapter: false, jumps: false }
}

/// Runs seeds on all processors, and stops at the first violation. Reports what it counted, and the violation of the lowest seed seen.
fn run_all(seeds: Range<u64>, like: Wish) -> (Stats, Option<Report>) {
    let next = AtomicU64::new(seeds.start);
    let found = AtomicBool::new(false);
    let results = Mutex::new((Stats::default(), None::<Report>));
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !found.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let report = sim::run(Wish { seed, ..like });
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.0.add(&report.stats);
                    if report.violation.is_some() {
                        found.store(true, Ordering::Relaxed);
                        if results.1.as_ref().is_none_or(|r| r.seed > report.seed) {
                            results.1 = Some(report);
                        }
                    }
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// What is said of a violation; `test`: a part of the name of the test that repeats it.
fn failure(report: &Report, test: &str) -> String {
    format!(
        "seed {}: {}\n\nits last lines:\n{}\nrepeat it with\n    UPDRAFT_SIM_SEED={} cargo test -p updraft-tests --test simulation \
         -- --nocapture {test}\n",
        report.seed,
        report.violation.as_deref().unwrap_or("no violation"),
        report.tail,
        report.seed
    )
}

/// Runs these seeds and tells what was counted in them, or fails with the first violation; none where the environment asks for one seed, whose
/// whole trace is printed instead. `test`: a part of the test's name.
#[expect(clippy::print_stdout, reason = "a test's own words, shown under --nocapture")]
fn explore(test: &str, seeds: Range<u64>, like: Wish) -> Option<Stats> {
    if let Ok(text) = std::env::var("UPDRAFT_SIM_SEED") {
        let seed = text.parse().unwrap_or_else(|_| panic!("`UPDRAFT_SIM_SEED` is `{text}`, no number"));
        let report = sim::run(Wish { seed, keep_trace: true, ..like });
        println!("{}\n{}", report.text, report.stats);
        assert!(report.violation.is_none(), "{}", failure(&report, test));
        return None;
    }
    let begun = std::time::Instant::now();
    let (stats, violation) = run_all(seeds.clone(), like);
    println!("{} seeds in {:.1} s:\n{stats}", seeds.end - seeds.start, begun.elapsed().as_secs_f64());
    if let Some(report) = violation {
        panic!("{}", failure(&report, test));
    }
    Some(stats)
}

/// The seeds to run: those that the environment names, else the usual ones.
fn seeds(usual: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("UPDRAFT_SIM_SEEDS") else { return usual };
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or_else(|| panic!("`UPDRAFT_SIM_SEEDS` is `{text}`; write it like 0..20000"))
}

#[test]
fn whatever_goes_wrong_every_run_ends_as_it_could_have() {
    explore("whatever", seeds(SEEDS), wish(0));
}

/// The same worlds asked as the DynamoDB adapter asks: writes are repeated by the SDK and may be refused by their own first attempt, the time
/// index is read shard by shard and ranges page by page while others write, and any of these may fail.
#[test]
fn the_dynamodb_adapters_requests_come_to_the_same_ends() {
    let Some(stats) = explore("dynamodb", seeds(ADAPTER_SEEDS), Wish { adapter: true, ..wish(0) }) else { return };
    assert!(stats.repeated > 1_000 && stats.refused_by_themselves > 200, "next to nothing was repeated:\n{stats}");
}

/// The clock by which all go is put forward and back while they work: leases end early or late, and what is due is due earlier or later;
/// every run still ends as it could have, once, and no attempt holds what another holds.
#[test]
fn a_clock_that_jumps_makes_nothing_twice_and_nothing_stuck() {
    let Some(stats) = explore("clock", seeds(JUMP_SEEDS), Wish { jumps: true, ..wish(0) }) else { return };
    assert!(stats.jumps > 500 && stats.attempts_died > 100, "next to nothing jumped:\n{stats}");
}

/// The same seed gives the same world, to the letter.
#[test]
fn a_seed_says_everything() {
    let mut lines = 0;
    for seed in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89] {
        let [first, second] = [0, 1].map(|_| sim::run(Wish { keep_trace: true, ..wish(seed) }));
        lines += first.digest.0;
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert!(first.text == second.text, "seed {seed}");
    }
    assert!(lines > 1_000, "{lines} lines: next to nothing happened");
}

/// Takes a guard away, and expects to see it missed.
#[expect(clippy::print_stdout, reason = "a test's own words, shown under --nocapture")]
fn is_missed(mutation: Mutation) {
    let (stats, violation) = run_all(MUTATION_SEEDS, Wish { mutation: Some(mutation), ..wish(0) });
    let Some(report) = violation else { panic!("{mutation:?} was not noticed in {MUTATION_SEEDS:?}:\n{stats}") };
    println!("{mutation:?}: seed {}: {}", report.seed, report.violation.unwrap_or_default());
}

#[test]
fn without_the_token_condition_it_goes_wrong() {
    is_missed(Mutation::NoToken);
}

#[test]
fn without_the_epoch_condition_it_goes_wrong() {
    is_missed(Mutation::NoEpoch);
}

#[test]
fn without_the_lease_in_the_sweeps_condition_it_goes_wrong() {
    is_missed(Mutation::NoLease);
}

#[test]
fn with_messages_before_state_it_goes_wrong() {
    is_missed(Mutation::MessageBeforeState);
}

#[test]
fn with_the_queue_as_the_only_copy_it_goes_wrong() {
    is_missed(Mutation::QueueOnly);
}

#[test]
fn without_the_sweep_it_goes_wrong() {
    is_missed(Mutation::NoSweep);
}

#[test]
fn without_the_revision_condition_it_goes_wrong() {
    is_missed(Mutation::NoRevision);
}

#[test]
fn without_the_limit_on_active_runs_it_goes_wrong() {
    is_missed(Mutation::NoRunLimit);
}

#[test]
fn without_the_limit_on_tasks_it_goes_wrong() {
    is_missed(Mutation::NoTaskLimit);
}

#[test]
fn without_the_limit_on_slots_it_goes_wrong() {
    is_missed(Mutation::NoSlotLimit);
}

#[test]
fn without_the_limit_on_instances_it_goes_wrong() {
    is_missed(Mutation::NoInstanceLimit);
}

#[test]
fn without_the_count_of_a_topic_it_goes_wrong() {
    is_missed(Mutation::NoEventCount);
}

#[test]
fn without_asking_what_a_dag_knows_of_events_it_goes_wrong() {
    is_missed(Mutation::NoQueue);
}

#[test]
fn without_asking_whether_a_run_is_paused_it_goes_wrong() {
    is_missed(Mutation::NoPause);
}

#[test]
fn without_the_epoch_of_a_place_it_goes_wrong() {
    is_missed(Mutation::NoPlaceEpoch);
}
