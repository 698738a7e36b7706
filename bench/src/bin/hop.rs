//! The hop: from the end of one task to the start of the next in a chain, every commit on disk.
//!
//! `cargo run --release -p updraft-bench --bin hop -- [FOLDER]` runs chains of tasks that do nothing through the engine, the embedded
//! store and the queue of the standalone server, in a folder of the disk to be measured (the working folder if none is named). A hop is
//! the time between the return of one task's runner and the call of the next one's: the attempt's record, its finish with all that
//! follows from it, and the claim of the next.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use updraft_bench::{Figures, machine, synchronisation, table};
use updraft_clock::System;
use updraft_metastore::Version;
use updraft_metastore_embedded::Embedded;
use updraft_model::{AttemptOutcome, Dag, DagDoc, DagId, DagRunState, Incarnation, Task, TaskId, TaskIndex};
use updraft_service::runs::Leases;
use updraft_service::trigger::Trigger;
use updraft_service::work::Finished;
use updraft_service::{Continuation, Engine, Runner, Settings, TaskRef, Work};
use updraft_task_queue::{Lane, LocalQueue, Message, TaskQueue};

const BASH: &str = "airflow.providers.standard.operators.bash.BashOperator";

/// Tasks of a chain.
const TASKS: usize = 100;

/// Chains, one after the other.
const RUNS: usize = 10;

type Local = Engine<Arc<Embedded>, Arc<LocalQueue>, System>;

/// Does nothing, and notes when.
#[derive(Default)]
struct Nothing {
    /// When each attempt began and ended.
    seen: Mutex<Vec<(Instant, Instant)>>,
}

impl Runner for Nothing {
    async fn run<S: Future<Output = String> + Send>(&self, _: &Work, _: S) -> Option<Finished> {
        let begun = Instant::now();
        let finished = Finished::new(AttemptOutcome::Success);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push((begun, Instant::now()));
        Some(finished)
    }
}

fn main() -> ExitCode {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(bench(&folder)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(folder: &std::path::Path) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let machine = machine();
    let disk = synchronisation(folder).map_err(|e| text(&e))?;
    let home = tempfile::tempdir_in(folder).map_err(|e| text(&e))?;
    let mut rows = Vec::new();
    for in_place in [true, false] {
        let items = Embedded::open(&home.path().join(format!("{in_place}.db"))).map_err(|e| text(&e))?;
        let engine = Engine::new(Arc::new(items), Arc::new(LocalQueue::default()), System, Settings::default());
        let hops = hops(&engine, in_place).await.map_err(|e| text(&e))?;
        let what = if in_place { "hop, the next task run in place" } else { "hop, by the queue and another worker" };
        rows.push((what, format!("{} ({} hops)", hops.line(), hops.count())));
    }
    rows.push(("one synchronisation of that disk", disk.line()));
    table(&format!("Chains of {TASKS} tasks on {machine}, in {}", folder.display()), &rows);
    Ok(())
}

/// A chain of tasks, in as many documents as it takes.
async fn found(engine: &Local) -> Result<DagId, updraft_service::Error> {
    let task = |index: usize| Task {
        upstream: index.checked_sub(1).map(|up| TaskIndex(up as u32)).into_iter().collect(),
        ..Task::new(TaskId::trusted(format!("t{index}")), BASH)
    };
    let dag = serde_json::json!({
        "dag_id": "chain",
        "file": "chain.yaml",
        "timetable": updraft_model::Timetable::Null,
        "timezone": "UTC",
        "catchup": false,
        "tasks": (0..TASKS).map(task).collect::<Vec<_>>(),
    });
    let dag: Dag = serde_json::from_value(dag).expect("a DAG with all it needs");
    let mut document = DagDoc::new(dag.dag_id.clone(), dag.file.clone(), false);
    let version = Version { dag, files: std::collections::BTreeMap::new() };
    document.version = Some(engine.store.put_version(&version).await?);
    engine.store.put_dag(&document).await?;
    Ok(document.dag_id)
}

async fn hops(engine: &Local, in_place: bool) -> Result<Figures, updraft_service::Error> {
    let dag_id = found(engine).await?;
    let runner = Nothing::default();
    for _ in 0..RUNS {
        let trigger =
            Trigger { dag_id: dag_id.clone(), run_id: None, logical_date: None, conf: serde_json::Value::Null };
        let run = engine.trigger(trigger).await?.facts.incarnation;
        engine.look_at_run(&run, Leases::Heed).await?;
        let deadline = Instant::now() + Duration::from_mins(2);
        tokio::select! {
            () = worker(engine, &runner, in_place) => {}
            () = worker(engine, &runner, in_place) => {}
            ended = ended(engine, &run, deadline) => ended?,
        }
    }
    let seen = runner.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    // From the end of each to the start of the next of the same chain.
    let pairs = seen.chunks(TASKS).flat_map(|chain| chain.windows(2));
    Ok(Figures::new(pairs.map(|pair| (pair[1].0 - pair[0].1).as_secs_f64() * 1000.0).collect()))
}

/// A worker as the standalone server has it.
async fn worker(engine: &Local, runner: &Nothing, in_place: bool) {
    loop {
        let received = engine.queue.receive(Lane::Tasks, 1, Duration::from_mins(1)).await;
        for delivery in received.into_iter().flatten() {
            let Some(Message::Task { incarnation, task, try_number, place, .. }) = delivery.message else { continue };
            let task = TaskRef { incarnation, task, try_number, place, queued_at: None };
            let may_continue = || in_place.then(Continuation::default);
            if let Err(error) = engine.work(&task, runner, None, may_continue).await {
                anstream::eprintln!("an attempt was left to the sweep: {error}");
            }
        }
    }
}

/// Waits for a run's end.
async fn ended(engine: &Local, run: &Incarnation, deadline: Instant) -> Result<(), updraft_service::Error> {
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        match engine.store.run(run).await? {
            Some(run) if run.state == DagRunState::Success => return Ok(()),
            Some(run) if run.state.is_finished() || Instant::now() > deadline => {
                return Err(updraft_service::Error::Refused(format!(
                    "the chain did not end well: it is {}",
                    run.state
                )));
            }
            _ => {}
        }
    }
}
