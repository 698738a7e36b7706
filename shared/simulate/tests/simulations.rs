//! What simulations find, over DAG files.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use updraft_model::Dag;
use updraft_service::Settings;
use updraft_simulate::{DagReport, Error, Guess, Guesses, Report, Wish, simulate};

fn dags(text: &str) -> Vec<Dag> {
    let loaded = updraft_dag_file::load(
        "d.yaml",
        text.as_bytes(),
        &updraft_dag_file::LoadOptions::new(at("2026-01-01T00:00:00Z")),
    );
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    loaded.dags
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn wish(text: &str, days: i64) -> Wish {
    let from = at("2026-03-01T00:00:00Z");
    Wish {
        dags: dags(text),
        from,
        to: from + SignedDuration::from_hours(24 * days) + SignedDuration::from_hours(1),
        parallelism: 32,
        seed: 7,
        guesses: Guesses::default(),
        settings: Settings::default(),
        worker_memory: 512,
    }
}

fn given(seconds: f64, failures: f64) -> Guess {
    Guess { seconds: vec![seconds], failures: Some(failures) }
}

fn of<'a>(report: &'a Report, dag_id: &str) -> &'a DagReport {
    report.dags.iter().find(|dag| dag.dag_id == dag_id).expect("it is reported")
}

const CHAIN: &str = "chain:
  schedule: \"0 6 * * *\"
  start_date: 2020-01-01
  catchup: true
  tasks:
    a: {operator: BashOperator, bash_command: 'true'}
    b: {operator: BashOperator, bash_command: 'true', dependencies: [a]}
    c: {operator: BashOperator, bash_command: 'true', dependencies: [b]}
";

#[test]
fn runs_begin_when_they_are_due_and_take_what_their_tasks_take() {
    let mut wish = wish(CHAIN, 5);
    wish.guesses.given.insert("b".to_owned(), given(600.0, 0.0));
    let report = simulate(&wish).expect("it can be simulated");
    let chain = of(&report, "chain");
    // Six years of runs before the beginning are not made up for.
    assert_eq!((chain.runs, chain.success, chain.failed, chain.unfinished), (5, 5, 0, 0));
    assert!((chain.mean_seconds - 620.0).abs() < 1.0, "{}", chain.mean_seconds);
    assert!(chain.latest_start_seconds < 1.0 && chain.overlaps == 0 && chain.runs_at_once == 1);
    assert_eq!(report.runs[0].run_after, at("2026-03-01T06:00:00Z"));
    assert_eq!(report.tasks_at_once, 1);
    let tries: Vec<_> = chain.tasks.iter().map(|task| (task.task_id.as_str(), task.tries)).collect();
    assert_eq!(tries, [("a", 5), ("b", 5), ("c", 5)]);
    assert!(report.costs.write_units >= 5 * 3 * 2 && report.costs.total > 0.0, "{:?}", report.costs);
}

#[test]
fn the_same_seed_tells_the_same_and_another_another() {
    let mut wish = wish(CHAIN, 20);
    wish.guesses.given.insert(String::new(), given(30.0, 0.4));
    let (one, again) = (simulate(&wish).unwrap(), simulate(&wish).unwrap());
    assert_eq!(one, again);
    assert!(of(&one, "chain").failed > 0 && of(&one, "chain").success > 0);
    wish.seed = 8;
    assert_ne!(simulate(&wish).unwrap(), one);
}

#[test]
fn retries_are_taken_and_what_comes_after_a_failure_is_not_run() {
    let text = CHAIN.replace("'true', dependencies: [a]", "'true', retries: 2, retry_delay: 60, dependencies: [a]");
    let mut wish = wish(&text, 3);
    wish.guesses.given.insert("chain.b".to_owned(), given(10.0, 1.0));
    let report = simulate(&wish).unwrap();
    let chain = of(&report, "chain");
    assert_eq!((chain.failed, chain.success), (3, 0));
    let tries: BTreeMap<_, _> = chain.tasks.iter().map(|t| (t.task_id.as_str(), (t.tries, t.failures))).collect();
    assert_eq!(tries, [("a", (3, 0)), ("b", (9, 9))].into());
    assert!(
        chain.mean_seconds > 10.0 + 30.0 + 120.0 && chain.mean_seconds < 10.0 + 30.0 + 130.0,
        "{}",
        chain.mean_seconds
    );
}

#[test]
fn what_is_too_slow_overlaps_and_waits() {
    let text = "often:
  schedule: \"*/10 * * * *\"
  start_date: 2026-01-01
  catchup: true
  max_active_runs: 2
  tasks:
    slow: {operator: BashOperator, bash_command: 'true'}
";
    let mut wish = wish(text, 1);
    wish.guesses.given.insert("slow".to_owned(), given(1500.0, 0.0));
    let report = simulate(&wish).unwrap();
    let often = of(&report, "often");
    assert_eq!(often.runs_at_once, 2, "max_active_runs holds");
    assert!(often.overlaps > 20 && often.latest_start_seconds > 3600.0, "{often:?}");
    // With one worker for two DAGs, one waits for the other.
    let mut both = wish.clone();
    both.dags.extend(dags(&text.replace("often", "other")));
    both.parallelism = 1;
    let report = simulate(&both).unwrap();
    assert_eq!(report.tasks_at_once, 1);
    assert!(report.waiting_at_once >= 1);
}

#[test]
fn a_branch_goes_one_way_and_a_timeout_fails() {
    let text = "b:
  schedule: \"@daily\"
  start_date: 2026-01-01
  catchup: true
  tasks:
    way: {operator: BranchPythonOperator, python_callable: m.f}
    left: {operator: BashOperator, bash_command: 'true', dependencies: [way]}
    right: {operator: BashOperator, bash_command: 'true', dependencies: [way]}
t:
  schedule: \"@daily\"
  start_date: 2026-01-01
  catchup: true
  tasks:
    long: {operator: BashOperator, bash_command: 'true', execution_timeout: 5}
";
    let report = simulate(&wish(text, 30)).unwrap();
    let tries: BTreeMap<_, _> = of(&report, "b").tasks.iter().map(|t| (t.task_id.as_str(), t.tries)).collect();
    assert_eq!(tries["left"] + tries["right"], tries["way"]);
    assert!(tries["left"] > 0 && tries["right"] > 0, "{tries:?}");
    assert_eq!((of(&report, "t").success, of(&report, "t").failed > 0), (0, true));
}

#[test]
fn a_wish_that_makes_no_sense_says_why() {
    let mut wish = wish(CHAIN, 1);
    wish.parallelism = 0;
    assert_eq!(simulate(&wish), Err(Error::NoWorkers));
    wish.to = at("2025-01-01T00:00:00Z");
    assert!(simulate(&wish).unwrap_err().to_string().contains("before it begins"));
}

#[test]
fn what_is_due_at_the_very_end_is_not_made_any_more() {
    let text = CHAIN.replace("0 6 * * *", "@daily");
    let mut wish = wish(&text, 3);
    wish.to = at("2026-03-04T00:00:00Z");
    let report = simulate(&wish).expect("it can be simulated");
    let chain = of(&report, "chain");
    assert_eq!((chain.runs, chain.success, chain.unfinished), (3, 3, 0));
    wish.to = wish.from;
    assert_eq!(simulate(&wish), Err(Error::Empty(wish.from)));
}

#[test]
fn what_was_due_before_the_beginning_is_taken_for_done() {
    // The first runs that a deployment would make if it had run all the time.
    for (settings, first) in [
        ("schedule: '0 1 * * *'", "2026-03-01T01:00:00Z"),
        ("schedule: '0 1 * * *'\n  catchup: true", "2026-03-01T01:00:00Z"),
        ("schedule: '@daily'", "2026-03-01T00:00:00Z"),
        (
            "schedule: {__type__: airflow.timetables.interval.CronDataIntervalTimetable, __args__: ['0 1 * * *', UTC]}",
            "2026-03-01T01:00:00Z",
        ),
        (
            "schedule: {__type__: airflow.timetables.interval.CronDataIntervalTimetable, __args__: ['0 1 * * *', UTC]}\n  catchup: true",
            "2026-03-01T01:00:00Z",
        ),
    ] {
        let text = format!(
            "d:\n  {settings}\n  start_date: 2026-01-01\n  tasks: {{t: {{operator: BashOperator, bash_command: x}}}}\n"
        );
        let report = simulate(&wish(&text, 2)).expect("it can be simulated");
        let due = report.runs.iter().map(|run| run.run_after).min();
        assert_eq!(due, Some(at(first)), "{settings}");
    }
    let once =
        "d:\n  schedule: '@once'\n  start_date: 2026-01-01\n  tasks: {t: {operator: BashOperator, bash_command: x}}\n";
    assert_eq!(simulate(&wish(once, 2)).expect("it can be simulated").runs.len(), 0);
}
