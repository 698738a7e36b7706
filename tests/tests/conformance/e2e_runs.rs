//! Whole small runs, through the real engine on a store in memory, with tasks that act as the records say: `e2e_runs.json`.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use updraft_clock::System;
use updraft_metastore::{Outcome, memory::Memory};
use updraft_model::{
    AttemptOutcome, Choice, DagDoc, DagId, DagRunState, RunDoc, Task, TaskId, TaskIndex, TaskInstanceState, TriggerRule,
};
use updraft_service::runs::Leases;
use updraft_service::{Engine, Finished, Runner, Settings, TaskRef, Trigger, Work};
use updraft_task_queue::{Lane, LocalQueue, Message, TaskQueue};

use crate::harness::{Tally, Verdict, judge};
use crate::shapes::{dag, parse};

/// No recorded run needs as many looks.
const LOOKS_MAX: usize = 20;

/// No recorded run has as many tasks.
const TASKS_MAX: usize = 1000;

pub(crate) fn judge_file() -> Option<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be built");
    judge("e2e_runs", |case| {
        if case["order_dependent"] == true {
            return Verdict::OutOfScope("order_dependent".to_owned());
        }
        let case: Case = parse(case);
        match case.tasks.iter().find_map(Acting::out_of_scope) {
            Some(field) => Verdict::OutOfScope(field.to_owned()),
            // What is ready together may end in any order, and each end is decided on at once.
            None => match runtime.block_on(judge_run(&case, Order::AsQueued)) {
                Verdict::Failed(how) => match runtime.block_on(judge_run(&case, Order::FailuresFirst)) {
                    Verdict::Passed => Verdict::Passed,
                    _ => Verdict::Failed(how),
                },
                verdict => verdict,
            },
        }
    })
}

#[derive(Deserialize)]
struct Case {
    tasks: Vec<Acting>,
    edges: Vec<(String, String)>,
    logical_date: Option<Timestamp>,
    dag_run_state: DagRunState,
    states: BTreeMap<String, TaskInstanceState>,
}

/// A task and what it does.
#[derive(Deserialize)]
struct Acting {
    id: String,
    #[serde(rename = "do")]
    act: Value,
    trigger_rule: Option<TriggerRule>,
    kind: Option<String>,
    #[serde(default)]
    on_failure_fail_dagrun: bool,
}

impl Acting {
    /// The field that says a case is about something we do not have.
    fn out_of_scope(&self) -> Option<&'static str> {
        let expands = self.act.get("expand").is_some() || self.act.get("expand_from").is_some();
        if expands { Some("tasks[].do expands: mapping") } else { None }
    }

    fn task(&self, upstream: Vec<TaskIndex>) -> Task {
        Task {
            upstream,
            // `as_teardown` overwrites whatever rule was given.
            trigger_rule: match self.trigger_rule {
                _ if self.kind.as_deref() == Some("teardown") => TriggerRule::AllDoneSetupSuccess,
                rule => rule.unwrap_or(TriggerRule::AllSuccess),
            },
            is_setup: self.kind.as_deref() == Some("setup"),
            is_teardown: self.kind.as_deref() == Some("teardown"),
            on_failure_fail_dagrun: self.on_failure_fail_dagrun,
            ..Task::new(TaskId::trusted(&self.id), "airflow.providers.standard.operators.python.PythonOperator")
        }
    }

    /// How its attempt ends, as the operators of the header end theirs.
    fn finished(&self) -> Finished {
        if let Some(followed) = self.act.get("branch") {
            let followed: Option<Vec<String>> = match followed {
                Value::Null => Some(Vec::new()),
                Value::String(one) => Some(vec![one.clone()]),
                several => Vec::deserialize(several).ok(),
            };
            return match followed {
                Some(followed) => {
                    Finished { choice: Some(Choice::Branch { followed }), ..Finished::new(AttemptOutcome::Success) }
                }
                None => Finished::new(AttemptOutcome::Failed),
            };
        }
        if let Some(condition) = self.act.get("short_circuit") {
            let ignore_downstream_trigger_rules = self.act["ignore_downstream_trigger_rules"] == true;
            let choice = (!is_true(condition)).then_some(Choice::ShortCircuit { ignore_downstream_trigger_rules });
            return Finished { choice, ..Finished::new(AttemptOutcome::Success) };
        }
        Finished::new(match self.act.as_str() {
            Some("fail") => AttemptOutcome::Failed,
            Some("fail_noretry") => AttemptOutcome::FailedForGood,
            Some("skip") => AttemptOutcome::Skipped,
            // A run triggered by hand is the latest by definition.
            Some("ok" | "none" | "latest_only") => AttemptOutcome::Success,
            None if self.act.get("return").is_some() => AttemptOutcome::Success,
            _ => panic!("a task does something unknown: {}", self.act),
        })
    }
}

/// Python's truth.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}

/// Ends every attempt as its task is said to.
struct Actors<'a>(&'a Case);

impl Runner for Actors<'_> {
    async fn run<S: Future<Output = String> + Send>(&self, work: &Work, _: S) -> Option<Finished> {
        let task_id = work.definition().task_id.as_str();
        self.0.tasks.iter().find(|task| task.id == task_id).map(Acting::finished)
    }
}

/// In which order tasks end that are ready at the same time. Airflow's recording looked at them together, when all had ended; what a failure
/// decides comes before what a skip decides then.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    AsQueued,
    FailuresFirst,
}

async fn judge_run(case: &Case, order: Order) -> Verdict {
    let index_of = |id: &str| case.tasks.iter().position(|task| task.id == id).expect("an edge joins tasks");
    let upstream = |id: &str| {
        let mut upstream: Vec<TaskIndex> =
            case.edges.iter().filter(|(_, down)| down == id).map(|(up, _)| TaskIndex(index_of(up) as u32)).collect();
        upstream.sort();
        upstream
    };
    let dag = dag(case.tasks.iter().map(|task| task.task(upstream(&task.id))).collect());
    let engine = Engine::new(Memory::default(), LocalQueue::default(), System, Settings::default());
    let version = updraft_metastore::store::Version { dag, files: BTreeMap::new() };
    let mut doc = DagDoc::new(DagId::trusted("d"), "d.yaml".to_owned(), false);
    doc.version = Some(engine.store.put_version(&version).await.expect("memory answers"));
    assert!(matches!(engine.store.put_dag(&doc).await, Ok(Outcome::Updated(_))), "the store is new");
    let trigger = Trigger { dag_id: doc.dag_id, run_id: None, logical_date: case.logical_date, conf: Value::Null };
    let incarnation = engine.trigger(trigger).await.expect("the DAG is there").facts.incarnation;
    for _ in 0..LOOKS_MAX {
        engine.look_at_run(&incarnation, Leases::Heed).await.expect("memory answers");
        // As the recording did: whatever is ready is run to its end, and then whatever is ready by then.
        loop {
            let mut ready = ready_tasks(&engine.queue).await;
            if order == Order::FailuresFirst {
                let outcome = |task: &TaskRef| case.tasks[task.task.at()].finished().outcome;
                ready.sort_by_key(|task| {
                    !matches!(outcome(task), AttemptOutcome::Failed | AttemptOutcome::FailedForGood)
                });
            }
            for task in &ready {
                engine.work(task, &Actors(case), None, || None).await.expect("memory answers");
            }
            if ready.is_empty() {
                break;
            }
        }
        let run = engine.store.run(&incarnation).await.expect("memory answers").expect("the run is there");
        if run.state.is_finished() {
            return compare(case, &run);
        }
    }
    Verdict::Failed(format!("the run does not end within {LOOKS_MAX} looks"))
}

async fn ready_tasks(queue: &LocalQueue) -> Vec<TaskRef> {
    let received = queue.receive(Lane::Tasks, TASKS_MAX, Duration::ZERO).await.expect("the queue is in memory");
    let task = |message| match message {
        Some(Message::Task { incarnation, task, try_number, .. }) => Some(TaskRef { incarnation, task, try_number }),
        _ => None,
    };
    received.into_iter().filter_map(|delivery| task(delivery.message)).collect()
}

fn compare(case: &Case, run: &RunDoc) -> Verdict {
    let state = |place: usize| run.task_state(TaskIndex(place as u32));
    let states = case.tasks.iter().enumerate().map(|(place, task)| (task.id.clone(), state(place))).collect();
    let found: (DagRunState, BTreeMap<String, TaskInstanceState>) = (run.state, states);
    let expected = (case.dag_run_state, case.states.clone());
    if found == expected { Verdict::Passed } else { Verdict::Failed(format!("expected {expected:?}, found {found:?}")) }
}
