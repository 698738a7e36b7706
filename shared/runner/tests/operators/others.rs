//! Operators that have to do with other runs.

use jiff::Timestamp;
use serde_json::{Value, json};
use updraft_model::{DagId, DagRunType, RunDoc};
use updraft_service::Trigger;

use crate::world::World;

/// A DAG `d` with this task, and a DAG `other` that does as its conf says.
async fn world(task: &str) -> World {
    let dag = format!(
        "d: {{schedule: null, tasks: {{a: {{operator: {task}}}}}}}
other:
  schedule: null
  tasks:
    t: {{operator: BashOperator, bash_command: 'test \"{{{{ (dag_run.conf or {{}}).get(\"fail\") }}}}\" = None'}}
    u: {{operator: EmptyOperator, dependencies: [t]}}
"
    );
    World::new(&[("d.yaml", &dag)]).await
}

async fn runs_of(world: &World, dag_id: &str) -> Vec<RunDoc> {
    world.engine.store.list_runs(&DagId::parse(dag_id).unwrap(), 10, None).await.unwrap().items
}

#[tokio::test]
async fn a_run_is_triggered_with_what_the_task_says() {
    let mut world = world("TriggerDagRunOperator, trigger_dag_id: other, conf: {n: '{{ 1 + 1 }}'}").await;
    let ran = world.run().await;
    assert_eq!(ran.states, ["a=success"], "{}", ran.message("a"));
    let runs = runs_of(&world, "other").await;
    assert_eq!(runs.len(), 1);
    let facts = &runs[0].facts;
    assert_eq!((facts.run_type, &facts.conf), (DagRunType::OperatorTriggered, &json!({"n": "2"})));
    assert!(facts.logical_date.is_some() && facts.run_id.starts_with("manual__"), "{facts:?}");
    assert_eq!(ran.xcom("a", "trigger_run_id"), Some(json!(facts.run_id)));
}

#[tokio::test]
async fn the_run_is_named_and_dated_as_asked() {
    for (more, run_id, logical_date) in [
        ("trigger_run_id: mine", "mine", "now"),
        ("logical_date: 2026-01-05", "manual__2026-01-05T00:00:00+00:00", "2026-01-05T00:00:00Z"),
        ("logical_date: '2026-01-{{ 5 + 5 }}', trigger_run_id: x", "x", "2026-01-10T00:00:00Z"),
        ("run_after: 2026-01-07", "manual__2026-01-07T00:00:00+00:00_", "none"),
    ] {
        let mut world = world(&format!("TriggerDagRunOperator, trigger_dag_id: other, {more}")).await;
        let ran = world.run().await;
        assert_eq!(ran.states, ["a=success"], "{more}: {}", ran.message("a"));
        let facts = &runs_of(&world, "other").await[0].facts;
        assert!(facts.run_id.starts_with(run_id), "{more}: {}", facts.run_id);
        match logical_date {
            "now" => assert!(facts.logical_date.is_some()),
            "none" => assert_eq!(facts.logical_date, None),
            date => assert_eq!(facts.logical_date, date.parse::<Timestamp>().ok(), "{more}"),
        }
    }
}

#[tokio::test]
async fn the_run_is_waited_for() {
    for (more, deferrable, state) in [
        ("", false, "success"),
        ("conf: {fail: 1},", false, "failed"),
        ("conf: {fail: 1}, allowed_states: [failed], failed_states: [],", false, "success"),
        ("", true, "success"),
        ("conf: {fail: 1},", true, "failed"),
    ] {
        let task = format!(
            "TriggerDagRunOperator, trigger_dag_id: other, wait_for_completion: true, {more} deferrable: {deferrable}, poke_interval: 30"
        );
        let mut world = world(&task).await;
        // In poke mode the one worker of these tests would wait for what nobody runs.
        world.worker_lives = Some(jiff::SignedDuration::from_mins(10));
        let ran = world.run().await;
        assert_eq!(ran.states, [format!("a={state}")], "{task}: {}", ran.message("a"));
        assert_eq!(runs_of(&world, "other").await.len(), 1, "a try that goes on triggers nothing again");
        assert!(ran.xcom("a", "trigger_run_id").is_some());
    }
}

#[tokio::test]
async fn a_run_that_is_there_already_fails_skips_or_is_cleared() {
    for (more, state, attempts) in [
        ("retries: 3", "failed", 1),
        ("skip_when_already_exists: true", "skipped", 1),
        ("reset_dag_run: true", "success", 1),
    ] {
        for wish in ["trigger_run_id: there", "logical_date: 2026-01-05"] {
            let mut world = world(&format!("TriggerDagRunOperator, trigger_dag_id: other, {wish}, {more}")).await;
            let there = Trigger {
                dag_id: DagId::parse("other").unwrap(),
                run_id: Some("there".to_owned()),
                logical_date: "2026-01-05T00:00:00Z".parse().ok(),
                conf: Value::Null,
            };
            let there = world.engine.trigger(there).await.unwrap();
            world.finish(there.clone()).await;
            world.attempts = 0;
            let ran = world.run().await;
            assert_eq!(ran.states, [format!("a={state}")], "{wish} {more}: {}", ran.message("a"));
            assert_eq!(runs_of(&world, "other").await.len(), 1, "{wish} {more}");
            let now = world.engine.store.run(&there.facts.incarnation).await.unwrap().unwrap();
            assert_eq!(now.epoch > 0, more.starts_with("reset"), "{wish} {more}");
            assert!(world.attempts >= attempts && (state != "failed" || world.attempts == 1));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_triggered_is_said() {
    for (task, said) in [
        ("TriggerDagRunOperator, trigger_dag_id: othr", "`othr`"),
        ("TriggerDagRunOperator, trigger_dag_id: other, conf: '{{ 1 }} x'", "`conf`"),
        ("TriggerDagRunOperator, trigger_dag_id: other, logical_date: '{{ 1 }}'", "`logical_date`"),
        // The loader looks at what tasks say themselves; the rest is seen when they run.
        (
            "TriggerDagRunOperator, trigger_dag_id: other}}, default_args: {allowed_states: [done], params: {x: 1",
            "`done`",
        ),
    ] {
        let ran = world(task).await.run().await;
        assert_eq!(ran.states, ["a=failed"], "{task}");
        assert!(ran.message("a").contains(said), "{task}: {}", ran.message("a"));
    }
    let mut world = world("TriggerDagRunOperator, trigger_dag_id: other, fail_when_dag_is_paused: true").await;
    world.engine.set_paused(&DagId::parse("other").unwrap(), true).await.unwrap();
    let ran = world.run().await;
    assert!(ran.message("a").contains("paused"), "{}", ran.message("a"));
}

/// Runs `d` at noon while `other` has run at noon, or `earlier` by some hours.
async fn after_other(sensor: &str, fail: bool) -> crate::world::Ran {
    let module = "
from datetime import timedelta
def hour_before(logical_date): return logical_date - timedelta(hours=1)
def both(logical_date): return [logical_date, logical_date - timedelta(hours=1)]
";
    let dag = format!(
        "d: {{schedule: null, tasks: {{a: {{operator: ExternalTaskSensor, external_dag_id: other, timeout: 200, {sensor}}}}}}}
other:
  schedule: null
  task_groups: {{g: {{}}}}
  tasks:
    t: {{operator: BashOperator, bash_command: 'test \"{{{{ (dag_run.conf or {{}}).get(\"fail\") }}}}\" = None'}}
    u: {{operator: EmptyOperator, dependencies: [t], trigger_rule: all_done}}
    v: {{operator: EmptyOperator, task_group_name: g}}
"
    );
    let mut world = World::new(&[("d.yaml", &dag), ("dates.py", module)]).await;
    let trigger = |dag_id: &str, at: &str, conf: Value| Trigger {
        dag_id: DagId::parse(dag_id).unwrap(),
        run_id: None,
        logical_date: at.parse().ok(),
        conf,
    };
    let conf = if fail { json!({"fail": 1}) } else { Value::Null };
    for at in ["2026-01-05T12:00:00Z", "2026-01-05T11:00:00Z"] {
        let other = world.engine.trigger(trigger("other", at, conf.clone())).await.unwrap();
        world.finish(other).await;
    }
    let run = world.engine.trigger(trigger("d", "2026-01-05T12:00:00Z", Value::Null)).await.unwrap();
    world.finish(run).await
}

#[tokio::test]
async fn other_dags_are_waited_for() {
    for (sensor, fail, state, said) in [
        ("poke_interval: 60", false, "success", ""),
        ("external_task_id: t", false, "success", ""),
        ("external_task_ids: [t, u]", false, "success", ""),
        ("external_task_group_id: g", false, "success", ""),
        ("external_task_id: t, execution_delta: 1 hours", false, "success", ""),
        ("external_task_id: t, execution_delta: 2 hours", false, "failed", "time is over"),
        ("external_task_id: t, execution_date_fn: dates.hour_before", false, "success", ""),
        ("external_task_id: t, execution_date_fn: dates.both, mode: reschedule", false, "success", ""),
        ("external_task_id: t", true, "failed", "time is over"),
        ("external_task_id: t, failed_states: [failed]", true, "failed", "`t` of the external DAG `other` failed"),
        ("external_task_id: t, failed_states: [failed], soft_fail: true", true, "skipped", "failed"),
        ("external_task_id: t, skipped_states: [failed]", true, "skipped", "to skip on"),
        ("external_task_id: t, allowed_states: [failed]", true, "success", ""),
        ("external_task_id: nobody, check_existence: true", false, "failed", "no task `nobody`"),
        ("external_task_group_id: nobody, check_existence: true", false, "failed", "no task group `nobody`"),
        ("external_task_id: t, failed_states: [success]", false, "failed", "twice"),
        // The loader looks at what tasks say themselves; the rest is seen when they run.
        (
            "external_task_id: t}}, default_args: {external_task_group_id: g, params: {x: 1",
            false,
            "failed",
            "only one of",
        ),
        ("external_task_id: t}}, default_args: {allowed_states: [done], params: {x: 1", false, "failed", "`done`"),
    ] {
        let ran = after_other(sensor, fail).await;
        assert_eq!(ran.states, [format!("a={state}")], "{sensor} {fail}: {}\n{}", ran.message("a"), ran.log("a"));
        assert!(ran.message("a").contains(said), "{sensor}: {}", ran.message("a"));
    }
}
