//! Operators that are one process.

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_command_ends_as_its_exit_code_says() {
    for (task, state, message) in [
        ("bash_command: 'true'", "success", ""),
        ("bash_command: exit 99", "skipped", "99"),
        ("bash_command: exit 3", "failed", "3"),
        ("{bash_command: exit 3, skip_on_exit_code: 3}", "skipped", "3"),
        ("{bash_command: exit 4, skip_on_exit_code: [3, 4]}", "skipped", "4"),
        ("{bash_command: sleep 60, execution_timeout: 0.2}", "failed", "timeout"),
        ("{bash_command: 'true', cwd: /no/such/folder}", "failed", "/no/such/folder"),
    ] {
        let task = task.trim_matches(['{', '}']);
        let ran = World::run_of(&format!("a: {{operator: BashOperator, {task}}}")).await;
        assert_eq!(ran.states, [format!("a={state}")], "{task}: {}", ran.log("a"));
        assert!(ran.message("a").contains(message), "{task}: {}", ran.message("a"));
    }
}

/// Where workers end by themselves, what is sure to outlive them is not begun, and no retry helps. Elsewhere it runs.
#[tokio::test]
async fn what_outlives_every_function_fails_at_its_start_with_advice() {
    let task = "a: {operator: BashOperator, bash_command: echo ran, execution_timeout: 901, retries: 3}";
    let mut world = World::of(task).await;
    world.worker_lives = Some(jiff::SignedDuration::from_mins(15));
    let ran = world.run().await;
    assert_eq!((ran.states[0].as_str(), world.attempts), ("a=failed", 1));
    for part in ["`execution_timeout` is 901 s", "900 s at most", "updraft standalone"] {
        assert!(ran.message("a").contains(part), "{}", ran.message("a"));
    }
    assert!(!ran.log("a").contains("ran\n"), "{}", ran.log("a"));
    assert_eq!(World::run_of(task).await.states, ["a=success"]);

    let mut world = World::of(&task.replace("901", "900")).await;
    world.worker_lives = Some(jiff::SignedDuration::from_mins(15));
    assert_eq!(world.run().await.states, ["a=success"]);
}

#[tokio::test]
async fn a_command_without_a_timeout_ends_with_its_worker_as_a_timeout() {
    let mut world = World::of("a: {operator: BashOperator, bash_command: 'echo begun; sleep 60'}").await;
    world.worker_lives = Some(updraft_runner::WIND_UP + jiff::SignedDuration::from_secs(1));
    let ran = world.run().await;
    assert_eq!(ran.states, ["a=failed"]);
    assert!(ran.message("a").starts_with("timeout: the worker's time was over"), "{}", ran.message("a"));
    assert!(ran.log("a").contains("INFO - begun\n"), "{}", ran.log("a"));
}

#[tokio::test]
async fn a_command_is_rendered_and_returns_its_last_line() {
    let tasks = "a:
  operator: BashOperator
  bash_command: echo first; echo {{ params.n }} $NAME
  env: {NAME: '{{ task.task_id }}', PATH: /bin:/usr/bin}
  params: {n: 5}
b: {operator: BashOperator, bash_command: 'echo {{ ti.xcom_pull(task_ids=\"a\") }}!', dependencies: [a]}
c: {operator: BashOperator, bash_command: echo x, do_xcom_push: false}
";
    let ran = World::run_of(tasks).await;
    assert_eq!(ran.returned("a"), Some(json!("5 a")));
    assert_eq!(ran.returned("b"), Some(json!("5 a!")));
    assert_eq!((ran.states[2].as_str(), ran.returned("c")), ("c=success", None));
    assert!(ran.log("a").contains("INFO - first\n"), "{}", ran.log("a"));
}

/// A view has them wherever they lie.
#[tokio::test]
async fn template_fields_that_are_long_together_lie_beside_the_item() {
    let tasks = "short: {operator: BashOperator, bash_command: \"true {{ 'x' * 4000 }}\"}
long:
  operator: BashOperator
  bash_command: true {{ 'x' * 4050 }}
  env: {A: \"{{ 'y' * 4080 }}\", B: '{{ ds }}', PATH: /bin:/usr/bin}
  cwd: \"{{ '/tmp' }}\"
";
    let mut world = World::of(tasks).await;
    let run = world.trigger("d", serde_json::Value::Null).await;
    let ran = world.finish(run.clone()).await;
    assert_eq!(ran.states, ["short=success", "long=success"]);
    let (short, long) = (&ran.attempts["short"], &ran.attempts["long"]);
    assert!(short.rendered_uri.is_none() && short.rendered["bash_command"].as_str().unwrap().len() == 4005);
    assert!(long.rendered_uri.is_some() && long.rendered.is_empty(), "{long:?}");
    let run = world.engine.store.run(&run.facts.incarnation).await.unwrap().unwrap();
    for view in world.engine.task_instances(&run).await.unwrap() {
        let whole = view.whole(&world.runner.logs).await.unwrap();
        let fields = whole.rendered.as_ref().unwrap();
        assert!(fields["bash_command"].as_str().unwrap().len() > 4000, "{fields:?}");
        assert_eq!(fields.get("cwd").is_some(), view.task_id == "long", "{fields:?}");
    }
}

/// With an object beside it the item is as small as one of a task without template fields, and the whole run costs as many write units.
#[tokio::test]
async fn template_fields_that_lie_beside_the_item_cost_no_write_units() {
    let mut costs = Vec::new();
    // Not the command, whose beginning is in the log.
    for (y, folder) in [("'y'", "'/tmp'"), ("'y' * 4200", "'/tmp' + '/.' * 2040")] {
        let tasks = format!(
            "a:\n  operator: BashOperator\n  bash_command: exit 0\n  env: {{A: \"{{{{ {y} }}}}\"}}\n  cwd: \"{{{{ {folder} }}}}\"\n"
        );
        let mut world = World::of(&tasks).await;
        let before = world.engine.store.items().counts();
        let ran = world.run().await;
        assert_eq!(ran.states, ["a=success"], "{}", ran.log("a"));
        assert_eq!(ran.attempts["a"].rendered_uri.is_some(), y != "'y'");
        let cost = world.engine.store.items().counts().since(before);
        costs.push((cost.write_units, cost.index_write_units, cost.puts, cost.updates));
    }
    assert_eq!(costs[1], costs[0]);
}

/// A log of up to 8 KB costs no object: it lies in the attempt's item, which is written anyway.
#[tokio::test]
async fn short_logs_lie_in_the_item_and_long_ones_beside_it() {
    let tasks = "short:
  operator: BashOperator
  bash_command: head -c 7000 /dev/zero | tr '\\0' x
  do_xcom_push: false
long:
  operator: BashOperator
  bash_command: head -c 9000 /dev/zero | tr '\\0' x
  do_xcom_push: false
";
    let ran = World::run_of(tasks).await;
    assert_eq!(ran.states, ["short=success", "long=success"]);
    let lies = |task: &str| (ran.attempts[task].log.is_some(), ran.attempts[task].log_uri.is_some());
    assert_eq!((lies("short"), lies("long")), ((true, false), (false, true)));
    assert!(ran.log("short").contains(&"x".repeat(7000)) && ran.log("long").contains(&"x".repeat(9000)));
}

#[tokio::test]
async fn a_callable_is_called_with_its_arguments() {
    let module = "
from airflow.exceptions import AirflowSkipException, AirflowFailException

def add(a, b=0, *, params, ti):
    ti.xcom_push('seen', ti.task_id)
    return a + b + params['n']

def skip():
    raise AirflowSkipException('not today')

def fail():
    raise AirflowFailException('never')
";
    let dag = "d:
  schedule: null
  tasks:
    a: {operator: PythonOperator, python_callable: work.add, op_args: [1], op_kwargs: {b: 2}, params: {n: 4}}
    s: {operator: PythonOperator, python_callable: work.skip}
    f: {operator: PythonOperator, python_callable: work.fail, retries: 3}
    m: {operator: PythonOperator, python_callable: work.missing}
";
    let mut world = World::new(&[("d.yaml", dag), ("work.py", module)]).await;
    let ran = world.run().await;
    assert_eq!(ran.states, ["a=success", "s=skipped", "f=failed", "m=failed"]);
    assert_eq!((ran.returned("a"), ran.xcom("a", "seen")), (Some(json!(7)), Some(json!("a"))));
    assert!(ran.message("s").contains("not today") && ran.message("f").contains("never"));
    assert!(ran.message("m").contains("missing"), "{}", ran.message("m"));
    assert_eq!(world.attempts, 4, "what failed for good is not tried again");
}

#[tokio::test]
async fn what_cannot_run_says_what_can() {
    for (task, said) in [
        ("operator: my.own.Operator", "my.own.Operator"),
        ("{operator: AthenaOperator, query: select 1}", "`AthenaOperator` is known but not run by this version"),
    ] {
        let task = task.trim_matches(['{', '}']);
        let mut world = World::of(&format!("a: {{{task}, retries: 2}}")).await;
        let ran = world.run().await;
        assert_eq!(ran.states, ["a=failed"]);
        assert!(ran.message("a").contains(said) && ran.message("a").contains("BashOperator"), "{}", ran.message("a"));
        assert!(ran.log("a").contains(said), "{}", ran.log("a"));
        assert_eq!(world.attempts, 1, "another try would be no better");
    }
}

#[tokio::test]
async fn a_template_that_cannot_be_rendered_fails_the_task() {
    let ran = World::run_of("a: {operator: BashOperator, bash_command: 'echo {{ nobody }}'}").await;
    assert_eq!(ran.states, ["a=failed"]);
    assert!(ran.message("a").contains("nobody"), "{}", ran.message("a"));
}

#[tokio::test]
async fn smooth_and_marks_do_nothing() {
    let tasks = "a: {operator: SmoothOperator}
b: {operator: ExternalTaskMarker, external_dag_id: other, external_task_id: t, dependencies: [a]}
c: {operator: EmptyOperator, dependencies: [b]}
";
    assert_eq!(World::run_of(tasks).await.states, ["a=success", "b=success", "c=success"]);
}

/// With native values a callable is given the objects that its templates name.
#[tokio::test]
async fn a_callable_is_given_native_values_and_dates() {
    let callable = "def kinds(**kwargs):\n    names = ('when', 'many', 'number', 'text', 'span', 'pair', 'set', 'odd')\n    \
                    return [[type(kwargs[n]).__name__, str(kwargs[n])] for n in names] + [kwargs['when'].utcoffset().total_seconds()]\n";
    let dag = "d:
  schedule: null
  render_template_as_native_obj: true
  tasks:
    a:
      operator: PythonOperator
      python_callable_name: kinds
      python_callable_file: f.py
      op_kwargs:
        when: '{{ dag_run.run_after }}'
        many: '{{ [1, dag_run.run_after.date()] }}'
        number: '{{ 1 + 1 }}'
        text: '{{ dag_run.run_after }} and more'
        span: '{{ macros.timedelta(days=-1, milliseconds=20) }}'
        pair: '{{ (1, macros.timedelta(hours=1)) }}'
        set: '{1, 2}'
        odd: \"{{ {'__type': 'set', '__var': 170141183460469231731687303715884105727} }}\"
";
    let mut world = World::new(&[("d.yaml", dag), ("f.py", callable)]).await;
    let run = world.trigger("d", serde_json::Value::Null).await;
    let after = run.facts.run_after;
    let ran = world.finish(run).await;
    assert_eq!(ran.states, ["a=success"], "{}", ran.log("a"));
    let returned = ran.returned("a").expect("it returned something");
    assert_eq!((returned[0][0].as_str(), returned[8].as_f64()), (Some("datetime"), Some(0.0)), "{returned}");
    let date = after.to_zoned(jiff::tz::TimeZone::UTC).date();
    let (year, month, day) = (date.year(), date.month(), date.day());
    assert_eq!(returned[1], json!(["list", format!("[1, datetime.date({year}, {month}, {day})]")]), "{returned}");
    assert_eq!(returned[2], json!(["int", "2"]));
    assert_eq!(returned[3][0], "str");
    assert_eq!(returned[4], json!(["timedelta", "-1 day, 0:00:00.020000"]));
    assert_eq!(returned[5], json!(["tuple", "(1, datetime.timedelta(seconds=3600))"]));
    assert_eq!(returned[6], json!(["set", "{1, 2}"]));
    assert_eq!(returned[7], json!(["dict", "{'__type': 'set', '__var': 170141183460469231731687303715884105727}"]));
}
