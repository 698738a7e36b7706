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
    AttemptOutcome, Choice, DagDoc, DagId, DagRunState, ExpandInput, Mapping, RunDoc, Task, TaskId, TaskIndex,
    TaskInstanceState, TriggerRule, ValueRef,
};
use updraft_model::attempt::RETURN_VALUE;
use updraft_service::engine::MAX_MAP_LENGTH_DEFAULT;
use updraft_service::runs::Leases;
use updraft_service::views::TaskInstanceView;
use updraft_service::xcoms::map_length;
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
        let is_order_dependent = case["order_dependent"] == true;
        let case: Case = parse(case);
        // What is ready together may end in any order, and each end is decided on at once.
        match runtime.block_on(judge_run(&case, Order::AsQueued)) {
            Verdict::Failed(how) => match runtime.block_on(judge_run(&case, Order::FailuresFirst)) {
                Verdict::Passed => Verdict::Passed,
                // Recorded is one end of several that Airflow itself may come to.
                _ if is_order_dependent => {
                    Verdict::Divergent("the run's end depends on which of several ready tasks ends first")
                }
                _ => Verdict::Failed(how),
            },
            verdict => verdict,
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
    /// What it is expanded over.
    fn mapping(&self) -> Option<Mapping> {
        let input = if let Some(literal) = self.act.get("expand") {
            ExpandInput::Literal(literal.clone())
        } else {
            let task_id = TaskId::trusted(self.act.get("expand_from")?.as_str().expect("a task id"));
            let of = Box::new(ExpandInput::XCom { task_id, key: RETURN_VALUE.to_owned() });
            ExpandInput::Map { of, function: serde_json::Map::new() }
        };
        Some(Mapping { expand: vec![("op_args".to_owned(), input)], ..Mapping::default() })
    }

    fn task(&self, upstream: Vec<TaskIndex>) -> Task {
        Task {
            upstream,
            mapping: self.mapping(),
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

    /// How the attempt of one of its instances ends, given the item.
    fn finished_with(&self, item: Option<&Value>) -> Finished {
        let has = |name: &str| self.act.get(name).and_then(Value::as_array).is_some_and(|of| of.iter().any(|i| Some(i) == item));
        Finished::new(match item {
            // The function of `map` is given what Python finds under a number: in a mapping nothing.
            None => AttemptOutcome::Failed,
            _ if has("fail_on") => AttemptOutcome::Failed,
            _ if has("skip_on") => AttemptOutcome::Skipped,
            _ => return returning(item.cloned()),
        })
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
            Some("none" | "latest_only") => AttemptOutcome::Success,
            Some("ok") => return returning(Some("ok".into())),
            None if self.act.get("return").is_some() => return returning(self.act.get("return").cloned()),
            _ => panic!("a task does something unknown: {}", self.act),
        })
    }
}

/// A success with a return value.
fn returning(value: Option<Value>) -> Finished {
    let xcoms = value.map(|value| (RETURN_VALUE.to_owned(), ValueRef::Inline(value))).into_iter().collect();
    Finished { xcoms, ..Finished::new(AttemptOutcome::Success) }
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
        let acting = self.0.tasks.iter().find(|task| task.id == task_id)?;
        let finished = match work.map_index() {
            Some(map_index) => acting.finished_with(self.item(acting, map_index as usize)),
            None => acting.finished(),
        };
        if finished.outcome != AttemptOutcome::Success {
            return Some(finished);
        }
        let value = finished.xcoms.get(RETURN_VALUE).map(|value| match value {
            ValueRef::Inline(value) => value.clone(),
            ValueRef::At(uri) => panic!("a value at {uri}"),
        });
        // As a real runner does.
        Some(match map_length(&work.version.plan, work.task, value.as_ref(), MAX_MAP_LENGTH_DEFAULT) {
            Ok(map_length) => Finished { map_length, ..finished },
            Err(_) => Finished::new(AttemptOutcome::Failed),
        })
    }
}

impl<'a> Actors<'a> {
    /// The item of an instance: of a literal, or of what the task above returned; the instances of that one are all there.
    fn item(&self, acting: &'a Acting, map_index: usize) -> Option<&'a Value> {
        let above = acting.act.get("expand_from").and_then(Value::as_str);
        let Some(above) = above.and_then(|id| self.0.tasks.iter().find(|task| task.id == id)) else {
            return acting.act.get("expand")?.get(map_index);
        };
        match above.act.get("return") {
            Some(list) => list.get(map_index),
            None => self.item(above, map_index),
        }
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
        // A task is expanded over one above it.
        let above = case.tasks[index_of(id)].act.get("expand_from").and_then(Value::as_str);
        upstream.extend(above.map(|up| TaskIndex(index_of(up) as u32)));
        upstream.sort();
        upstream.dedup();
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
        look(&engine).await;
        // As the recording did: whatever is ready is run to its end, and then whatever is ready by then.
        loop {
            let mut ready = ready_tasks(&engine.queue).await;
            if order == Order::FailuresFirst {
                let outcome = |task: &TaskRef| match task.place {
                    Some(place) => {
                        let acting = &case.tasks[task.task.at()];
                        acting.finished_with(Actors(case).item(acting, place.map_index as usize)).outcome
                    }
                    None => case.tasks[task.task.at()].finished().outcome,
                };
                ready.sort_by_key(|task| {
                    !matches!(outcome(task), AttemptOutcome::Failed | AttemptOutcome::FailedForGood)
                });
            }
            look(&engine).await;
            for task in &ready {
                engine.work(task, &Actors(case), None, || None).await.expect("memory answers");
            }
            if ready.is_empty() {
                break;
            }
        }
        let run = engine.store.run(&incarnation).await.expect("memory answers").expect("the run is there");
        if run.state.is_finished() {
            return compare(&engine, case, &run).await;
        }
    }
    Verdict::Failed(format!("the run does not end within {LOOKS_MAX} looks"))
}

/// Looks where messages say.
async fn look(engine: &Engine<Memory, LocalQueue, System>) {
    for delivery in engine.queue.receive(Lane::Looks, TASKS_MAX, Duration::ZERO).await.expect("the queue is in memory") {
        if let Some(Message::Page { incarnation, unit, page }) = delivery.message {
            engine.look_at_pages(&incarnation, unit, page).await.expect("memory answers");
        }
    }
}

async fn ready_tasks(queue: &LocalQueue) -> Vec<TaskRef> {
    let received = queue.receive(Lane::Tasks, TASKS_MAX, Duration::ZERO).await.expect("the queue is in memory");
    let task = |message| match message {
        Some(Message::Task { incarnation, task, try_number, place, .. }) => Some(TaskRef { incarnation, task, try_number, place, queued_at: None }),
        _ => None,
    };
    received.into_iter().filter_map(|delivery| task(delivery.message)).collect()
}

async fn compare(engine: &Engine<Memory, LocalQueue, System>, case: &Case, run: &RunDoc) -> Verdict {
    let views = engine.task_instances(run).await.expect("memory answers");
    let name = |view: &TaskInstanceView| match view.map_index {
        Some(index) => format!("{}[{index}]", view.task_id),
        None => view.task_id.clone(),
    };
    let states = views.iter().map(|view| (name(view), view.state)).collect();
    let found: (DagRunState, BTreeMap<String, TaskInstanceState>) = (run.state, states);
    let expected = (case.dag_run_state, case.states.clone());
    if found == expected { Verdict::Passed } else { Verdict::Failed(format!("expected {expected:?}, found {found:?}")) }
}
