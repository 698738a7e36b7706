//! Sensors: poke and reschedule, timeouts, what is softened and what is silenced.

use updraft_clock::Clock as _;

use crate::world::World;

/// A sensor that is done at the third look.
const THIRD: &str =
    "operator: BashSensor, bash_command: 'test $(cat $LOOKS/n | wc -l) -ge 2 || { echo >> $LOOKS/n; exit 1; }'";

fn third(place: &std::path::Path, more: &str) -> String {
    std::fs::create_dir_all(place).unwrap();
    std::fs::write(place.join("n"), "").unwrap();
    format!("a: {{{THIRD}, env: {{LOOKS: '{}', PATH: '/bin:/usr/bin'}}, {more}}}", place.display())
}

#[tokio::test]
async fn a_sensor_that_pokes_keeps_its_worker() {
    let place = tempfile::tempdir().unwrap();
    let mut world = World::of(&third(place.path(), "poke_interval: 30")).await;
    let ran = world.run().await;
    assert_eq!((ran.states, world.attempts), (vec!["a=success".to_owned()], 1));
    assert_eq!(world.clock.waits(), [30_000, 30_000]);
}

#[tokio::test]
async fn a_sensor_that_is_rescheduled_gives_its_worker_back() {
    let place = tempfile::tempdir().unwrap();
    let mut world = World::of(&third(place.path(), "poke_interval: 30, mode: reschedule")).await;
    let run = world.trigger("d", serde_json::Value::Null).await;
    world.engine.look_at_run(&run.facts.incarnation, updraft_service::runs::Leases::Heed).await.unwrap();
    world.work().await;
    let now = world.engine.store.run(&run.facts.incarnation).await.unwrap().unwrap();
    assert_eq!(world.ran(now).await.states, ["a=up_for_reschedule"]);
    let ran = world.finish(run).await;
    assert_eq!((ran.states, world.attempts), (vec!["a=success".to_owned()], 3));
    assert_eq!(world.clock.waits(), Vec::<u64>::new(), "nobody waited in a worker");
}

/// Attempts of a try have the key of the try, in every way in which they may ask for it; the next try has another.
#[tokio::test]
async fn the_idempotency_key_is_one_per_try() {
    let place = tempfile::tempdir().unwrap();
    let keys = place.path().join("keys");
    let told = format!(
        "echo $UPDRAFT_IDEMPOTENCY_KEY {{{{ ti.id }}}} {{{{ ti.task_id }}}}{{{{ ti.try_number }}}} >> {}",
        keys.display()
    );
    let looks = format!("[ $(grep -c a1 {}) = 3 ]", keys.display());
    let tasks = format!(
        "a: {{operator: BashSensor, mode: reschedule, poke_interval: 1, bash_command: '{told}; {looks}'}}\n\
         b: {{operator: BashOperator, retries: 1, retry_delay: 1, dependencies: [a], \
         bash_command: '{told}; [ {{{{ ti.try_number }}}} = 2 ]'}}"
    );
    let mut world = World::of(&tasks).await;
    let ran = world.run().await;
    assert_eq!(ran.states, ["a=success", "b=success"], "{}", ran.log("b"));
    let text = std::fs::read_to_string(&keys).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(rows.iter().map(|row| row[2]).collect::<Vec<_>>(), ["a1", "a1", "a1", "b1", "b2"], "{text}");
    for row in &rows {
        assert_eq!((row[0], row[0].len()), (row[1], 36), "{text}");
        let same = rows.iter().filter(|other| other[0] == row[0]).all(|other| other[2] == row[2]);
        let all = rows.iter().filter(|other| other[2] == row[2]).all(|other| other[0] == row[0]);
        assert!(same && all, "{text}");
    }
}

#[tokio::test]
async fn where_a_worker_must_go_a_poke_is_rescheduled() {
    for interval in ["30", "1", "0.2"] {
        let place = tempfile::tempdir().unwrap();
        let mut world = World::of(&third(place.path(), &format!("poke_interval: {interval}"))).await;
        world.worker_lives = Some(jiff::SignedDuration::from_mins(10));
        let ran = world.run().await;
        assert_eq!((ran.states, world.attempts), (vec!["a=success".to_owned()], 3), "every {interval} s");
        assert_eq!(world.clock.waits(), Vec::<u64>::new(), "nobody waited in a worker");
    }
}

#[tokio::test]
async fn a_sensors_time_is_counted_over_all_looks_of_a_try() {
    for mode in ["poke", "reschedule"] {
        for (soft, state) in [(false, "failed"), (true, "skipped")] {
            let task = format!(
                "a: {{operator: BashSensor, bash_command: exit 1, mode: {mode}, poke_interval: 60, timeout: 150, soft_fail: {soft}, retries: 5}}"
            );
            let mut world = World::of(&task).await;
            let ran = world.run().await;
            assert_eq!(ran.states, [format!("a={state}")], "{mode}");
            assert!(ran.message("a").contains("time is over"), "{}", ran.message("a"));
            let attempts = if mode == "poke" { 1 } else { 4 };
            assert_eq!(world.attempts, attempts, "{mode}: looks at 0, 60, 120 and 150 s, and no other try");
        }
    }
}

#[tokio::test]
async fn waits_grow_and_are_bounded() {
    let waits = async |more: &str| {
        let task = format!(
            "a: {{operator: BashSensor, bash_command: exit 1, poke_interval: 10, exponential_backoff: true, {more}}}"
        );
        let mut world = World::of(&task).await;
        world.run().await;
        world.clock.waits()
    };
    let found = waits("timeout: 4000").await;
    for (look, wait) in found.iter().take(6).enumerate() {
        // Airflow's base of the n-th wait is poke_interval * 2^(n - 2), and the wait between once and twice that.
        let base = (10_000.0 * 2_f64.powi(look as i32 - 1)) as u64;
        assert!((base..2 * base).contains(wait), "wait {look} of {found:?}");
    }
    let found = waits("timeout: 4000, max_wait: 25").await;
    assert!(found.iter().all(|wait| *wait <= 25_000) && found.contains(&25_000), "{found:?}");
}

#[tokio::test]
async fn an_exit_code_tells_waiting_from_failing() {
    for (command, more, state, looks) in [
        ("exit 7", "retry_exit_code: 7, timeout: 100", "failed", 3),
        ("exit 8", "retry_exit_code: 7, timeout: 100", "failed", 1),
        ("exit 8", "retry_exit_code: 7, timeout: 100, soft_fail: true", "skipped", 1),
        ("exit 8", "retry_exit_code: 7, timeout: 100, never_fail: true", "skipped", 1),
        ("exit 0", "retry_exit_code: 7", "success", 1),
    ] {
        let place = tempfile::tempdir().unwrap();
        let looks_file = place.path().join("looks");
        let command = format!("echo >> {}; {command}", looks_file.display());
        let ran = World::run_of(&format!("a: {{operator: BashSensor, bash_command: '{command}', {more}}}")).await;
        assert_eq!(ran.states, [format!("a={state}")], "{command} {more}: {}", ran.message("a"));
        assert_eq!(std::fs::read_to_string(looks_file).unwrap().len(), looks, "{command} {more}");
    }
}

#[tokio::test]
async fn a_callable_is_asked_until_it_says_yes() {
    let module = "
import os
from airflow.sdk.bases.sensor import PokeReturnValue
from airflow.exceptions import AirflowSkipException, AirflowFailException

def third(file):
    with open(file, 'a') as f: f.write('x')
    return os.path.getsize(file) >= 3

def with_value(): return PokeReturnValue(is_done=True, xcom_value={'rows': 5})
def never(): return []
def broken(): raise ValueError('no answer')
def skip(): raise AirflowSkipException('not today')
def fail(): raise AirflowFailException('never')
";
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("n");
    for (call, more, state, returned) in [
        (format!("third, op_args: ['{}']", file.display()), "", "success", None),
        ("with_value".to_owned(), "", "success", Some(serde_json::json!({"rows": 5}))),
        ("never".to_owned(), "timeout: 100", "failed", None),
        ("broken".to_owned(), "", "failed", None),
        ("broken".to_owned(), "never_fail: true", "skipped", None),
        ("broken".to_owned(), "silent_fail: true, timeout: 100, soft_fail: true", "skipped", None),
        ("skip".to_owned(), "", "skipped", None),
        ("fail".to_owned(), "", "failed", None),
        ("fail".to_owned(), "soft_fail: true", "skipped", None),
    ] {
        let more = if more.is_empty() { String::new() } else { format!(", {more}") };
        let dag = format!(
            "d: {{schedule: null, tasks: {{a: {{operator: PythonSensor, python_callable: looks.{call}{more}}}}}}}"
        );
        let ran = World::new(&[("d.yaml", &dag), ("looks.py", module)]).await.run().await;
        assert_eq!(ran.states, [format!("a={state}")], "{call} {more}: {}", ran.log("a"));
        assert_eq!(ran.returned("a"), returned, "{call}");
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "xxx");
}

#[tokio::test]
async fn sensors_of_time_look_when_it_has_come() {
    let now = jiff::Timestamp::now();
    let later = now + jiff::SignedDuration::from_hours(30);
    for (operator, waited_least, waited_most) in [
        (format!("DateTimeSensor, target_time: '{later}'"), 29.9, 30.1),
        ("DateTimeSensor, target_time: 2020-01-01".to_owned(), 0.0, 0.0),
        ("WaitSensor, time_to_wait: 90".to_owned(), 1.49, 1.51),
        ("TimeDeltaSensor, delta: 2 hours".to_owned(), 1.9, 2.1),
        ("TimeDeltaSensor, delta: '{{ 60 * 2 }}'".to_owned(), 1.9, 2.1),
        ("TimeSensor, target_time: '00:00'".to_owned(), 0.0, 0.0),
    ] {
        for mode in ["poke", "reschedule"] {
            let mut world = World::of(&format!("a: {{operator: {operator}, mode: {mode}}}")).await;
            let before = jiff::Timestamp::now();
            let ran = world.run().await;
            assert_eq!(ran.states, ["a=success"], "{operator}: {}", ran.message("a"));
            let leapt = world.clock.now().duration_since(before).as_secs_f64() / 3600.0;
            assert!((waited_least..=waited_most + 0.01).contains(&leapt), "{operator} {mode}: {leapt} hours");
            assert!(world.attempts <= 2 && world.clock.waits().len() <= 1, "{operator} {mode}: one look too many");
        }
    }
}

#[tokio::test]
async fn a_day_of_the_week_comes_at_midnight() {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let day_after_tomorrow = today.weekday().next().next();
    let mut world =
        World::of(&format!("a: {{operator: DayOfWeekSensor, week_day: {day_after_tomorrow:?}, mode: reschedule}}"))
            .await;
    let ran = world.run().await;
    assert_eq!((ran.states, world.attempts), (vec!["a=success".to_owned()], 3));
    let ran = World::run_of(&format!("a: {{operator: DayOfWeekSensor, week_day: '{:?}'}}", today.weekday())).await;
    assert_eq!(ran.states, ["a=success"]);
}

#[tokio::test]
async fn a_file_is_waited_for() {
    let place = tempfile::tempdir().unwrap();
    let mut world = World::of(&format!(
        "a: {{operator: FileSensor, filepath: '{}/**/*.csv', recursive: true, mode: reschedule, timeout: 1000}}",
        place.path().display()
    ))
    .await;
    let run = world.trigger("d", serde_json::Value::Null).await;
    world.engine.look_at_run(&run.facts.incarnation, updraft_service::runs::Leases::Heed).await.unwrap();
    world.work().await;
    assert_eq!(world.attempts, 1);
    std::fs::create_dir_all(place.path().join("in/deep")).unwrap();
    std::fs::write(place.path().join("in/deep/a.csv"), "x").unwrap();
    let ran = world.finish(run).await;
    assert_eq!((ran.states, world.attempts), (vec!["a=success".to_owned()], 2));

    let ran = World::run_of("a: {operator: FileSensor, filepath: x, fs_conn_id: nobody}").await;
    assert_eq!(ran.states, ["a=failed"]);
    assert!(ran.message("a").contains("`nobody`"), "{}", ran.message("a"));
}

#[tokio::test]
async fn a_connection_says_where_relative_paths_begin() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("there.csv"), "x").unwrap();
    let mut world = World::of("a: {operator: FileSensor, filepath: there.csv, fs_conn_id: here}").await;
    let extra = serde_json::json!({"path": place.path().to_str().unwrap()}).to_string();
    let connection = updraft_model::Connection {
        conn_id: "here".to_owned(),
        conn_type: "fs".to_owned(),
        extra: Some(extra),
        ..Default::default()
    };
    world.engine.store.put_connection(&connection).await.unwrap();
    assert_eq!(world.run().await.states, ["a=success"]);
}

#[tokio::test]
async fn an_execution_timeout_ends_a_sensor_between_its_looks_too() {
    let place = tempfile::tempdir().unwrap();
    let task = third(place.path(), "execution_timeout: 0.3, poke_interval: 0.1");
    let slow = task.replace("exit 1;", "sleep 60;");
    let ran = World::run_of(&slow).await;
    assert_eq!(ran.states, ["a=failed"]);
    assert!(ran.message("a").contains("timeout"), "{}", ran.message("a"));
}
