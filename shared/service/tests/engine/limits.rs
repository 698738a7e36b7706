//! Limits, the past, deletion and clearing, over ports in memory: two DAGs at one pool, waiters, dead holders, runs that wait for runs.

use crate::world::World;
use jiff::Timestamp;
use std::time::Duration;
use updraft_model::{
    Claim, DagId, DagRunState, Generation, HolderChange, HolderId, HolderName, Incarnation, RunDoc, TaskIndex,
    TaskInstanceState,
};
use updraft_service::interventions::{ClearTaskInstances, Picks};
use updraft_service::pools::PoolWish;
use updraft_service::runs::Leases;
use updraft_service::{TaskRef, Trigger};
use updraft_task_queue::{Lane, Message, TaskQueue};

fn pool(name: &str, slots: i64) -> PoolWish {
    PoolWish { name: name.to_owned(), slots, description: "test".to_owned(), include_deferred: false }
}

fn holder(name: &str) -> HolderId {
    HolderId::Pool(name.to_owned())
}

/// Two tasks side by side, in a pool.
fn pooled(dag_id: &str, pool: &str, slots: u32) -> String {
    let task = |n: usize| {
        format!("    t{n}: {{operator: BashOperator, bash_command: 'true', pool: {pool}, pool_slots: {slots}}}\n")
    };
    format!("{dag_id}:\n  schedule: null\n  tasks:\n{}{}", task(0), task(1))
}

pub(crate) async fn world(files: &[(&str, String)]) -> World {
    let world = World::new();
    for (path, text) in files {
        world.write(path, text).await;
    }
    world.engine.ingest_all(&world.folder).await.unwrap();
    assert_eq!(world.engine.store.list_import_errors(10, None).await.unwrap().items, []);
    world
}

impl World {
    /// Follows messages until there are none: looks, and tasks if they may run.
    pub(crate) async fn drain(&self, runs_tasks: bool) {
        loop {
            let looks = self.engine.queue.receive(Lane::Looks, 1, Duration::ZERO).await.unwrap();
            for delivery in &looks {
                let message = delivery.message.clone().expect("a message of ours");
                Box::pin(self.engine.look_where(&message)).await.unwrap();
                self.engine.queue.acknowledge(Lane::Looks, &delivery.receipt).await.unwrap();
            }
            let tasks = if runs_tasks {
                self.engine.queue.receive(Lane::Tasks, 1, Duration::ZERO).await.unwrap()
            } else {
                Vec::new()
            };
            if looks.is_empty() && tasks.is_empty() {
                return;
            }
            for delivery in tasks {
                let Some(Message::Task { incarnation, task, try_number, place, .. }) = delivery.message else {
                    continue;
                };
                self.pool_is_kept("p").await;
                self.run_one(TaskRef { incarnation, task, try_number, place, queued_at: None }).await;
                self.engine.queue.acknowledge(Lane::Tasks, &delivery.receipt).await.unwrap();
                self.pool_is_kept("p").await;
            }
        }
    }

    async fn pool_is_kept(&self, name: &str) {
        let Some(doc) = self.engine.store.holder(&holder(name)).await.unwrap() else { return };
        assert_eq!(doc.used, doc.holders.values().map(|c| i64::from(c.slots)).sum::<i64>());
        assert!(doc.size.is_none_or(|size| size < 0 || doc.used <= size), "{doc:?}");
    }

    pub(crate) async fn run(&self, run: &RunDoc) -> RunDoc {
        self.engine.store.run(&run.facts.incarnation).await.unwrap().unwrap()
    }

    async fn why(&self, run: &RunDoc, task_id: &str) -> Vec<String> {
        let run = self.run(run).await;
        let reasons = self.engine.why_not_running(&run, task_id).await.unwrap();
        reasons.iter().map(ToString::to_string).collect()
    }

    async fn states(&self, run: &RunDoc) -> Vec<TaskInstanceState> {
        let run = self.run(run).await;
        [0, 1].map(|task| run.task_state(TaskIndex(task))).to_vec()
    }

    pub(crate) async fn trigger_at(&self, dag_id: &str, date: &str) -> RunDoc {
        let trigger = Trigger {
            dag_id: DagId::trusted(dag_id),
            run_id: Some(format!("at_{date}")),
            logical_date: Some(date.parse::<Timestamp>().unwrap()),
            conf: serde_json::Value::Null,
        };
        let run = self.engine.trigger(trigger).await.unwrap();
        self.drain(false).await;
        self.run(&run).await
    }
}

use TaskInstanceState::{None as Nothing, Queued, Scheduled, Success};

#[tokio::test]
async fn a_pool_of_one_slot_serves_two_dags_one_after_the_other() {
    let world = world(&[("a.yaml", pooled("a", "p", 1)), ("b.yaml", pooled("b", "p", 1))]).await;
    world.engine.set_pool(&pool("p", 1)).await.unwrap();
    let a = Box::pin(world.trigger_at("a", "2026-01-01T00:00:00Z")).await;
    let b = Box::pin(world.trigger_at("b", "2026-01-02T00:00:00Z")).await;
    assert_eq!(world.states(&a).await, [Queued, Scheduled]);
    assert_eq!(world.states(&b).await, [Scheduled, Scheduled]);
    let shown = world.engine.pool("p").await.unwrap();
    assert_eq!((shown.queued_slots, shown.scheduled_slots, shown.open_slots), (1, 3, Some(0)));
    let said = world.why(&b, "t0").await;
    assert_eq!(said, ["the pool `p` has 0 free of 1 slots; 1 go before it"]);
    world.drain(true).await;
    for run in [&a, &b] {
        assert_eq!(world.run(run).await.state, DagRunState::Success);
    }
    let doc = world.engine.store.holder(&holder("p")).await.unwrap().unwrap();
    assert!(doc.holders.is_empty() && doc.waiters.is_empty() && doc.used == 0, "{doc:?}");
    world.engine.look_at_holder(&holder("p")).await.unwrap();
    assert_eq!(world.engine.store.holder(&holder("p")).await.unwrap().unwrap().wake_at, None, "nobody waits");
}

#[tokio::test]
async fn who_waits_for_a_pool_that_is_not_there_gets_going_when_it_is() {
    let world = world(&[("a.yaml", pooled("a", "p", 1))]).await;
    let run = Box::pin(world.trigger("a")).await;
    assert_eq!(world.engine.missing_pools(&DagId::trusted("a")).await.unwrap(), ["p"]);
    world.drain(true).await;
    assert_eq!(world.states(&run).await, [Scheduled, Scheduled]);
    assert_eq!(world.why(&run, "t0").await, ["the pool `p` does not exist; make it with `pools set`"]);
    for slots in [0, 2] {
        world.engine.set_pool(&pool("p", slots)).await.unwrap();
        world.drain(true).await;
        let expected = if slots == 0 { Scheduled } else { Success };
        assert_eq!(world.states(&run).await, [expected, expected]);
    }
    assert_eq!(world.engine.missing_pools(&DagId::trusted("a")).await.unwrap(), Vec::<String>::new());
    world.engine.delete_pool("p").await.unwrap();
    assert!(world.engine.pool("p").await.is_err());
}

#[tokio::test]
async fn who_needs_more_slots_than_there_are_waits_and_holds_up_nobody() {
    let world = world(&[("big.yaml", pooled("big", "p", 5)), ("a.yaml", pooled("a", "p", 1))]).await;
    world.engine.set_pool(&pool("p", 1)).await.unwrap();
    let big = Box::pin(world.trigger("big")).await;
    let small = Box::pin(world.trigger("a")).await;
    world.drain(true).await;
    assert_eq!(world.states(&big).await, [Scheduled, Scheduled]);
    assert_eq!(world.states(&small).await, [Success, Success]);
    world.engine.set_pool(&pool("p", -1)).await.unwrap();
    world.drain(true).await;
    assert_eq!(world.states(&big).await, [Success, Success]);
}

/// The slots of a process that died after it had taken them, and of a run that is gone, come free by the look that a waiter has arranged.
#[tokio::test]
async fn the_slots_of_the_dead_come_free() {
    let world = world(&[("a.yaml", pooled("a", "p", 1))]).await;
    world.engine.set_pool(&pool("p", 1)).await.unwrap();
    world.drain(false).await;
    let claim = Claim {
        generation: Generation { try_number: 1, resume: 0, turn: 0 },
        slots: 1,
        priority: 0,
        since: Timestamp::UNIX_EPOCH,
        is_last: true,
    };
    let name = HolderName::of_task(Incarnation::trusted("gone"), TaskIndex(0));
    let taken = HolderChange { hold: vec![(name, claim)], used: 1, ..HolderChange::default() };
    world.engine.store.update_holder(&holder("p"), &taken).await.unwrap();
    let run = Box::pin(world.trigger("a")).await;
    world.drain(true).await;
    assert_eq!(world.states(&run).await, [Scheduled, Scheduled]);
    assert_eq!(world.engine.pool("p").await.unwrap().open_slots, Some(1), "what the dead hold is not shown as held");
    let doc = world.engine.store.holder(&holder("p")).await.unwrap().unwrap();
    assert!(doc.wake_at.is_some(), "whoever waits has the pool looked at");
    world.engine.look_at_holder(&holder("p")).await.unwrap();
    world.drain(true).await;
    assert_eq!(world.states(&run).await, [Success, Success]);
}

#[tokio::test]
async fn a_deleted_run_gives_back_what_it_held_and_does_not_come_back() {
    let world = world(&[("a.yaml", pooled("a", "p", 1)), ("b.yaml", pooled("b", "p", 1))]).await;
    world.engine.set_pool(&pool("p", 1)).await.unwrap();
    let (a, b) = (Box::pin(world.trigger("a")).await, Box::pin(world.trigger("b")).await);
    world.drain(false).await;
    world.engine.delete_run(&a.facts.dag_id, &a.facts.run_id).await.unwrap();
    assert!(world.engine.store.run(&a.facts.incarnation).await.unwrap().is_none());
    assert!(world.engine.run_named(&a.facts.dag_id, &a.facts.run_id).await.is_err());
    assert_eq!(world.engine.store.list_runs(&a.facts.dag_id, 9, None).await.unwrap().items, []);
    world.drain(true).await;
    assert_eq!(world.run(&b).await.state, DagRunState::Success);
    Box::pin(world.engine.look_at_dag(&a.facts.dag_id)).await.unwrap();
    let dag = world.engine.store.dag(&a.facts.dag_id).await.unwrap().unwrap();
    assert!(dag.active.is_empty() && dag.held.is_empty(), "{dag:?}");
    Box::pin(world.engine.look_at_run(&a.facts.incarnation, Leases::Heed)).await.unwrap();
    assert!(world.engine.store.run(&a.facts.incarnation).await.unwrap().is_none());
    assert_eq!(Box::pin(world.engine.delete_dag(&b.facts.dag_id)).await.unwrap(), 1);
    assert!(world.engine.store.dag(&b.facts.dag_id).await.unwrap().is_none());
}

#[tokio::test]
async fn one_instance_of_a_task_runs_at_a_time_over_all_runs() {
    let text = "a:\n  schedule: null\n  tasks:\n    t0: {operator: BashOperator, bash_command: 'true', \
                max_active_tis_per_dag: 1}\n    t1: {operator: BashOperator, bash_command: 'true'}\n";
    let world = world(&[("a.yaml", text.to_owned())]).await;
    let first = world.trigger_at("a", "2025-01-01T00:00:00Z").await;
    let second = world.trigger_at("a", "2025-01-02T00:00:00Z").await;
    assert_eq!(world.states(&first).await, [Queued, Queued]);
    assert_eq!(world.states(&second).await, [Scheduled, Queued]);
    world.drain(true).await;
    assert_eq!(world.states(&second).await, [Success, Success]);
}

pub(crate) fn past(dag_id: &str, more: &str) -> String {
    format!(
        "{dag_id}:\n  schedule: null\n  tasks:\n    t0: {{operator: BashOperator, bash_command: 'true', {more}}}\n    \
         t1: {{operator: BashOperator, bash_command: 'true', dependencies: [t0]}}\n"
    )
}

#[tokio::test]
async fn a_task_waits_for_itself_in_the_run_before() {
    let world = world(&[("a.yaml", past("a", "depends_on_past: true"))]).await;
    let first = world.trigger_at("a", "2025-01-01T00:00:00Z").await;
    let second = world.trigger_at("a", "2025-01-02T00:00:00Z").await;
    assert_eq!(world.states(&first).await, [Queued, Nothing], "the first is free to go");
    assert_eq!(world.states(&second).await, [Nothing, Nothing]);
    let said = world.why(&second, "t0").await.join("; ");
    assert!(said.contains("`t0` is queued in the run before, `at_2025-01-01T00:00:00Z`"), "{said}");
    assert_eq!(world.why(&second, "t1").await, ["trigger rule `all_success` waits for `t0` (none)"]);
    // A run of an earlier date that comes later is the run before all the same.
    let earlier = world.trigger_at("a", "2024-12-31T00:00:00Z").await;
    assert_eq!(world.states(&earlier).await, [Queued, Nothing]);
    world.drain(true).await;
    for run in [&first, &second, &earlier] {
        assert_eq!(world.states(run).await, [Success, Success]);
    }
    // Cleared while the one before has failed, it waits; cleared itself and done again, it goes on.
    world.engine.mark(&first.facts.incarnation, &[TaskIndex(0)], updraft_model::cell::End::Failed).await.unwrap();
    world.engine.clear(&second.facts.incarnation, &[TaskIndex(0)]).await.unwrap();
    world.drain(true).await;
    assert_eq!(world.states(&second).await, [Nothing, Success]);
    world.engine.clear(&first.facts.incarnation, &[TaskIndex(0)]).await.unwrap();
    world.drain(true).await;
    assert_eq!(world.states(&second).await, [Success, Success]);
}

#[tokio::test]
async fn wait_for_downstream_waits_for_what_is_below_too() {
    let world = world(&[("a.yaml", past("a", "wait_for_downstream: true"))]).await;
    let first = world.trigger_at("a", "2025-01-01T00:00:00Z").await;
    let second = world.trigger_at("a", "2025-01-02T00:00:00Z").await;
    world.engine.mark(&first.facts.incarnation, &[TaskIndex(0)], updraft_model::cell::End::Success).await.unwrap();
    world.drain(false).await;
    assert_eq!(world.states(&first).await, [Success, Queued]);
    assert_eq!(world.states(&second).await, [Nothing, Nothing]);
    world.drain(true).await;
    assert_eq!(world.states(&second).await, [Success, Success]);
}

#[tokio::test]
async fn a_selection_is_cleared_as_it_was_shown() {
    let world = world(&[("a.yaml", past("a", "retries: 0"))]).await;
    let first = world.trigger_at("a", "2025-01-01T00:00:00Z").await;
    let second = world.trigger_at("a", "2025-01-02T00:00:00Z").await;
    world.drain(true).await;
    let dag_id = DagId::trusted("a");
    let start_date = Some("2025-01-02T00:00:00Z".parse::<Timestamp>().unwrap());
    let of_t0 = ClearTaskInstances {
        start_date,
        picks: Picks::of(["t0"]),
        include_downstream: true,
        ..ClearTaskInstances::default()
    };
    let clear = |request, dry_run| Box::pin(world.engine.clear_task_instances(&dag_id, request, dry_run));
    let shown = clear(&of_t0, true).await.unwrap();
    assert_eq!(shown.iter().map(|s| s.task_id.as_str()).collect::<Vec<_>>(), ["t0", "t1"]);
    assert!(shown.iter().all(|s| s.run_id == second.facts.run_id && s.state == Success));
    assert_eq!(world.run(&second).await.state, DagRunState::Success, "showing changes nothing");
    assert_eq!(clear(&of_t0, false).await.unwrap(), shown);
    assert_eq!(world.run(&second).await.state, DagRunState::Queued);
    assert_eq!(world.run(&first).await.state, DagRunState::Success);
    world.drain(true).await;
    assert_eq!(world.run(&second).await.cell(TaskIndex(0)).try_number(), 2);
    let failed = ClearTaskInstances { only_failed: true, ..ClearTaskInstances::default() };
    assert_eq!(clear(&failed, true).await.unwrap(), []);
    let unknown = ClearTaskInstances { picks: Picks::of(["t9"]), ..ClearTaskInstances::default() };
    assert!(clear(&unknown, true).await.unwrap_err().to_string().contains("`t9`"));
    let both = ClearTaskInstances { only_failed: true, only_running: true, ..ClearTaskInstances::default() };
    assert!(clear(&both, true).await.is_err());
}

/// Costs: a task in a pool costs two writes on the pool and one more on its run, and a read of the pool for each.
#[tokio::test]
async fn a_task_in_a_pool_costs_three_writes_more() {
    let world = world(&[("a.yaml", pooled("a", "p", 1))]).await;
    world.engine.set_pool(&pool("p", 9)).await.unwrap();
    let before = world.engine.store.items().counts();
    let run = Box::pin(world.trigger("a")).await;
    world.drain(true).await;
    assert_eq!(world.run(&run).await.state, DagRunState::Success);
    let cost = world.engine.store.items().counts().since(before);
    // The name of the run, which whoever starts it claims once more, is the one that is refused.
    assert!(cost.refused == 1 && cost.write_units <= 23, "{cost:?}");
}

/// A DAG that may run one task at a time: its first task is in the pool `p`, its second in `q`, its third in none.
fn one_at_a_time() -> String {
    let task = |n: usize, more: &str| {
        format!("    t{n}: {{operator: BashOperator, bash_command: 'true', weight_rule: absolute, {more}}}\n")
    };
    let first = task(0, "pool: p, priority_weight: 9");
    let (second, third) = (task(1, "pool: q, priority_weight: 5"), task(2, "priority_weight: 1"));
    format!("a:\n  schedule: null\n  max_active_tasks: 1\n  tasks:\n{first}{second}{third}")
}

impl World {
    async fn three_states(&self, run: &RunDoc) -> [TaskInstanceState; 3] {
        let run = self.run(run).await;
        [0, 1, 2].map(|task| run.task_state(TaskIndex(task)))
    }
}

/// No starvation beyond Airflow's: who waits for a full pool keeps no place in its run, and keeps no slots while its run has no place.
#[tokio::test]
async fn who_waits_for_a_full_pool_holds_up_nobody_else() {
    let world =
        world(&[("a.yaml", one_at_a_time()), ("b.yaml", pooled("b", "p", 1)), ("c.yaml", pooled("c", "p", 1))]).await;
    for name in ["p", "q"] {
        world.engine.set_pool(&pool(name, 1)).await.unwrap();
    }
    let b = Box::pin(world.trigger("b")).await;
    world.drain(false).await;
    let a = Box::pin(world.trigger("a")).await;
    world.drain(false).await;
    assert_eq!(world.three_states(&a).await, [Scheduled, Queued, Scheduled], "the next in order that has slots");
    // The slot of `p` comes free, and is given to who waits for it, whose run has no place: it goes on to others.
    let both = [TaskIndex(0), TaskIndex(1)];
    world.engine.mark(&b.facts.incarnation, &both, updraft_model::cell::End::Success).await.unwrap();
    world.drain(false).await;
    assert_eq!(world.three_states(&a).await, [Scheduled, Queued, Scheduled]);
    let doc = world.engine.store.holder(&holder("p")).await.unwrap().unwrap();
    assert!(doc.holders.is_empty() && doc.used == 0, "{doc:?}");
    let c = Box::pin(world.trigger("c")).await;
    world.drain(false).await;
    assert_eq!(world.states(&c).await, [Queued, Scheduled]);
    world.drain(true).await;
    assert_eq!(world.three_states(&a).await, [Success, Success, Success]);
    assert_eq!(world.states(&c).await, [Success, Success]);
    assert_eq!(world.run(&a).await.cell(TaskIndex(0)).try_number(), 1, "asking again uses up no try");
}
