//! What a million tasks and an idle month cost on AWS: requests counted at the ports, multiplied by prices.
//!
//! `cargo run --release -p updraft-bench --bin costs` runs no-op tasks on the in-memory twins and prints README's table. Prices are those of
//! us-east-1 in US dollars, November 2026. Receives and deletes are computed: workers take one message at a time.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::time::Duration;
use updraft_clock::System;
use updraft_dag_file::{LoadOptions, load};
use updraft_metastore::Version;
use updraft_metastore::counting::{Counting, Counts};
use updraft_metastore::keys::SHARDS;
use updraft_metastore::memory::Memory;
use updraft_model::{AttemptOutcome, Dag, DagDoc, DagId, DagRunState};
use updraft_service::{Continuation, Engine, Finished, Runner, Settings, TaskRef, Work};
use updraft_task_queue::counting::{self as queue, Counts as Messages};
use updraft_task_queue::{Lane, LocalQueue, Message, TaskQueue};

/// Dollars for a million: write units (1 KB), strongly consistent read units (4 KB), SQS requests, invocations, PUTs, schedule calls.
const WRITES: f64 = 0.625;
const READS: f64 = 0.125;
const SQS: f64 = 0.40;
const INVOCATIONS: f64 = 0.20;
const PUTS: f64 = 5.0;
const SCHEDULE: f64 = 1.0;
/// Dollars for a gigabyte and a second of Lambda on arm64; x86-64 is a quarter more, and is what the template deploys.
const GB_SECOND: f64 = 0.000_013_333_4 * 1.25;
/// Dollars a month for each mapping that polls an idle queue.
const MAPPING: f64 = 0.26;
const MAPPINGS: f64 = 3.0;

/// What an invocation that does next to nothing is taken to last, and the memory of a worker and of the scheduler.
const INVOCATION: Duration = Duration::from_millis(20);
const WORKER_GB: f64 = 0.5;
const SCHEDULER_GB: f64 = 0.25;

type Counted = Engine<Counting<Memory>, queue::Counting<LocalQueue>, System>;

/// Succeeds at once, with a short log and a short result.
struct Nothing;

impl Runner for Nothing {
    async fn run<S: Future<Output = String> + Send>(&self, _: &Work, _: S) -> Option<Finished> {
        Some(Finished { log: Some("done\n".repeat(20)), ..Finished::new(AttemptOutcome::Success) })
    }
}

/// A DAG whose next run is due, of tasks that each name those before them.
fn dag(upstream: impl IntoIterator<Item = Vec<usize>>) -> Dag {
    let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
    let mut text = format!("etl:\n  schedule: '@daily'\n  catchup: false\n  start_date: {yesterday:.0}\n  tasks:\n");
    for (n, upstream) in upstream.into_iter().enumerate() {
        let before: Vec<String> = upstream.into_iter().map(|up| format!("task_{up}")).collect();
        let _ = writeln!(
            text,
            "    task_{n}: {{operator: BashOperator, bash_command: 'true', dependencies: [{}]}}",
            before.join(", ")
        );
    }
    let mut loaded = load("etl.yaml", text.as_bytes(), &LoadOptions::new(Timestamp::now()));
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.dags.remove(0)
}

fn chain(length: usize) -> Dag {
    dag((0..length).map(|n| n.checked_sub(1).into_iter().collect()))
}

fn fan(width: usize) -> Dag {
    let middle = (0..width).map(|_| vec![0]);
    dag(std::iter::once(vec![]).chain(middle).chain([(1..=width).collect()]))
}

/// The same as [`fan`], its middle one task mapped over so many values.
fn mapped(width: usize) -> Dag {
    let values: Vec<String> = (0..width).map(|n| format!("'echo {n}'")).collect();
    let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
    let text = format!(
        "etl:\n  schedule: '@daily'\n  catchup: false\n  start_date: {yesterday:.0}\n  tasks:\n    first: {{operator: BashOperator, \
         bash_command: 'true'}}\n    middle: {{operator: BashOperator, expand: {{bash_command: [{}]}}, dependencies: [first]}}\n    \
         last: {{operator: BashOperator, bash_command: 'true', dependencies: [middle]}}\n",
        values.join(", ")
    );
    let mut loaded = load("etl.yaml", text.as_bytes(), &LoadOptions::new(Timestamp::now()));
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.dags.remove(0)
}

/// What a scheduled run of these tasks costs, from the look that makes it to its end.
async fn run(dag: Dag, in_place: bool) -> (Counts, Messages) {
    let settings = Settings::default();
    let engine: Counted = Engine::new(Counting::new(Memory::default()), queue::Counting::default(), System, settings);
    let dag_id = DagId::trusted("etl");
    let file = "etl.yaml".to_owned();
    let id = engine.store.put_version(&Version { dag, files: BTreeMap::new() }).await.expect("memory takes it");
    // Each process reads a version once, however many runs of it there are.
    engine.version(&id).await.expect("it is there");
    let mut document = DagDoc::new(dag_id.clone(), file, false);
    (document.version, document.wake_at) = (Some(id), Some(Timestamp::now()));
    engine.store.put_dag(&document).await.expect("memory takes it");
    let before = (engine.store.items().counts(), engine.queue.counts());
    engine.look_at_dag(&dag_id).await.expect("memory answers");
    loop {
        let task = receive(&engine, Lane::Tasks).await;
        let Some(message) = (if task.is_some() { task } else { receive(&engine, Lane::Looks).await }) else { break };
        match message {
            Message::Task { incarnation, task, try_number, place, .. } => {
                let task = TaskRef { incarnation, task, try_number, place, queued_at: None };
                let may_continue = || in_place.then(Continuation::default);
                engine.work(&task, &Nothing, None, may_continue).await.expect("memory answers");
            }
            Message::Page { incarnation, unit, page } => {
                engine.look_at_pages(&incarnation, unit, page).await.expect("memory answers");
            }
            // Of runs, DAGs and limits nothing waits here.
            _ => {}
        }
    }
    let runs = engine.store.list_runs(&dag_id, 2, None).await.expect("memory answers").items;
    assert!(runs.len() == 1 && runs[0].state == DagRunState::Success, "{runs:?}");
    let after = (engine.store.items().counts(), engine.queue.counts());
    (after.0.since(before.0), after.1.since(before.1))
}

async fn receive(engine: &Counted, lane: Lane) -> Option<Message> {
    engine.queue.receive(lane, 1, Duration::ZERO).await.ok()?.pop()?.message
}

fn lambda(invocations: f64, gigabytes: f64) -> f64 {
    invocations * (INVOCATIONS / 1e6 + INVOCATION.as_secs_f64() * gigabytes * GB_SECOND)
}

/// A line of the table: what a million tasks cost in runs of this shape.
fn line(what: &str, count: usize, (items, messages): (Counts, Messages)) -> String {
    let runs = 1e6 / count as f64;
    let each = |counted: f64| counted / count as f64;
    let requests = messages.requests(1.0, 1.0);
    let reads = items.gets + items.batch_gets + items.queries;
    let writes = items.total_write_units() as f64;
    let dynamodb = runs * (writes * WRITES + reads as f64 * READS) / 1e6;
    let sqs = runs * requests * SQS / 1e6;
    // A task that is run in place prolongs an invocation instead of making one.
    let invocations = messages.tasks + messages.looks;
    let lambda = runs * lambda(invocations as f64, WORKER_GB)
        + (1e6 - runs * messages.tasks as f64).max(0.0) * INVOCATION.as_secs_f64() * WORKER_GB * GB_SECOND;
    let (writes, requests, sum) = (each(writes), each(requests), dynamodb + sqs + lambda);
    let reads = each(reads as f64);
    format!(
        "| {what} | {writes:.2} | {reads:.2} | {requests:.2} | {dynamodb:.2} | {sqs:.2} | {lambda:.2} | **{sum:.2}** |"
    )
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    anstream::println!(
        "| a million no-op tasks in | write units a task | reads a task | SQS requests a task | DynamoDB $ | SQS $ | Lambda $ | sum $ |"
    );
    anstream::println!("|---|---|---|---|---|---|---|---|");
    for (what, count, dag, in_place) in [
        ("chains of 100, in place", 100, chain(100), true),
        ("chains of 100, each task sent", 100, chain(100), false),
        ("1-500-1", 502, fan(500), true),
        ("1-500-1, mapped", 502, mapped(500), true),
        ("runs of ten, in place", 10, chain(10), true),
        ("runs of ten, each task sent", 10, chain(10), false),
        ("runs of one", 1, chain(1), true),
    ] {
        anstream::println!("{}", line(what, count, run(dag, in_place).await));
    }
    let ticks = 30.0 * 24.0 * 60.0;
    // Of each shard the index is asked once; an eventually consistent query costs half a unit at the least.
    let index = ticks * f64::from(SHARDS) * 0.5 * READS / 1e6;
    let listing = ticks / 10.0 * PUTS / 1e6;
    let polls = MAPPING * MAPPINGS;
    let calls = ticks * SCHEDULE / 1e6 + lambda(ticks, SCHEDULER_GB);
    let sum = index + listing + polls + calls;
    anstream::println!(
        "\nAn idle month costs ${sum:.2}: {MAPPINGS} mappings that poll ${polls:.2}, {ticks:.0} ticks ${calls:.2}, their queries ${index:.2}, \
         listings of the bucket ${listing:.2}."
    );
}
