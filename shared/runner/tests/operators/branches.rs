//! Operators that choose what goes on.

use serde_json::json;

use crate::world::World;

const MODULE: &str = "
def one(): return 'left'
def both(): return ['left', 'right']
def group(): return 'g'
def nothing(): return None
def number(): return 5
def unknown(): return 'nowhere'
def yes(): return {'rows': 3}
def no(): return 0
";

async fn states(operator: &str) -> (Vec<String>, String) {
    let dag = format!(
        "d:
  schedule: null
  tasks:
    choose: {{{operator}}}
    left: {{operator: EmptyOperator, dependencies: [choose]}}
    right: {{operator: EmptyOperator, dependencies: [choose]}}
    join: {{operator: EmptyOperator, dependencies: [left, right], trigger_rule: none_failed_min_one_success}}
"
    );
    let ran = World::new(&[("d.yaml", &dag), ("choices.py", MODULE)]).await.run().await;
    let short = ran.states.iter().map(|s| s.split('=').nth(1).unwrap().to_owned()).collect();
    (short, ran.message("choose"))
}

#[tokio::test]
async fn a_callable_says_what_to_follow() {
    for (function, expected) in [
        ("one", ["success", "success", "skipped", "success"]),
        ("both", ["success", "success", "success", "success"]),
        ("nothing", ["success", "skipped", "skipped", "skipped"]),
        ("number", ["failed", "upstream_failed", "upstream_failed", "upstream_failed"]),
        ("unknown", ["failed", "upstream_failed", "upstream_failed", "upstream_failed"]),
    ] {
        let (found, message) =
            states(&format!("operator: BranchPythonOperator, python_callable: choices.{function}")).await;
        assert_eq!(found, expected, "{function}: {message}");
        assert_eq!(function == "unknown", message.contains("nowhere"), "{function}: {message}");
    }
}

#[tokio::test]
async fn a_short_circuit_goes_on_or_skips() {
    let all = ", ignore_downstream_trigger_rules: true";
    let direct = ", ignore_downstream_trigger_rules: false";
    for (function, how, expected) in [
        ("yes", "", ["success", "success", "success", "success"]),
        ("no", "", ["success", "skipped", "skipped", "skipped"]),
        ("no", all, ["success", "skipped", "skipped", "skipped"]),
        ("no", direct, ["success", "skipped", "skipped", "skipped"]),
    ] {
        let operator = format!("operator: ShortCircuitOperator, python_callable: choices.{function}{how}");
        assert_eq!(states(&operator).await.0, expected, "{operator}");
    }
    // What is not directly downstream goes by its own rule, if that is asked for.
    for (ignore, last) in [(true, "skipped"), (false, "success")] {
        let dag = format!(
            "d:
  schedule: null
  tasks:
    choose: {{operator: ShortCircuitOperator, python_callable: choices.no, ignore_downstream_trigger_rules: {ignore}}}
    next: {{operator: EmptyOperator, dependencies: [choose]}}
    last: {{operator: EmptyOperator, dependencies: [next], trigger_rule: all_done}}
"
        );
        let ran = World::new(&[("d.yaml", &dag), ("choices.py", MODULE)]).await.run().await;
        assert_eq!(ran.states, ["choose=success", "next=skipped", &format!("last={last}")], "{ignore}");
        assert_eq!(ran.returned("choose"), Some(json!(0)));
    }
}

#[tokio::test]
async fn the_clock_says_what_to_follow() {
    let branches = "follow_task_ids_if_true: left, follow_task_ids_if_false: [right]";
    let left = ["success", "success", "skipped", "success"];
    let right = ["success", "skipped", "success", "success"];
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let day = |weekday: jiff::civil::Weekday| format!("{weekday:?}");
    let tomorrow = day(today.weekday().next());
    for (operator, expected) in [
        (format!("operator: BranchDayOfWeekOperator, week_day: {}", day(today.weekday())), left),
        (format!("operator: BranchDayOfWeekOperator, week_day: [{tomorrow}]"), right),
        ("operator: BranchDateTimeOperator, target_lower: 2020-01-01, target_upper: null".to_owned(), left),
        ("operator: BranchDateTimeOperator, target_lower: null, target_upper: '2020-01-01 00:00:00'".to_owned(), right),
        ("operator: BranchDateTimeOperator, target_lower: '00:00', target_upper: '23:59:59.9'".to_owned(), left),
    ] {
        let (found, message) = states(&format!("{operator}, {branches}")).await;
        assert_eq!(found, expected, "{operator}: {message}");
    }
    let (found, message) = states(&format!("operator: BranchDayOfWeekOperator, week_day: Someday, {branches}")).await;
    assert_eq!(found[0], "failed");
    assert!(message.contains("Someday"), "{message}");
}

#[tokio::test]
async fn a_run_by_hand_is_always_the_latest() {
    let (found, message) = states("operator: LatestOnlyOperator").await;
    assert_eq!(found, ["success", "success", "success", "success"], "{message}");
}

#[tokio::test]
async fn only_the_latest_scheduled_run_goes_on() {
    let dag = "d:
  schedule: '0 0 1 1 *'
  start_date: 2020-01-01
  catchup: true
  max_active_runs: 100
  tasks:
    choose: {operator: LatestOnlyOperator}
    next: {operator: EmptyOperator, dependencies: [choose]}
";
    let mut world = World::new(&[("d.yaml", dag)]).await;
    world.engine.tick().await.unwrap();
    for _ in 0..20 {
        world.work().await;
        world.engine.tick().await.unwrap();
    }
    let dag_id = updraft_model::DagId::parse("d").unwrap();
    let runs = world.engine.store.list_runs(&dag_id, 100, None).await.unwrap().items;
    assert!(runs.len() > 5, "{runs:?}");
    let mut skipped = 0;
    for run in &runs {
        let ran = world.ran(run.clone()).await;
        let last = runs.iter().all(|other| other.facts.run_after <= run.facts.run_after);
        let expected = if last { "next=success" } else { "next=skipped" };
        assert_eq!(ran.states[1], expected, "{}: {}", run.facts.run_id, ran.log("choose"));
        skipped += usize::from(!last);
    }
    assert_eq!(skipped, runs.len() - 1);
}
