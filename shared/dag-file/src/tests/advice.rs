//! Advice on what loads: each row is what a person writes, and what they are told.

use super::*;

/// What is told of a DAG with these lines: severity, code, and the hint.
fn told(settings: &str) -> Vec<(Severity, &'static str, String)> {
    let found = loaded(&in_dag(settings));
    found.diagnostics.into_iter().map(|d| (d.severity, d.code, d.hint.unwrap_or_default())).collect()
}

#[test]
fn of_an_older_and_a_newer_name_one_counts_and_the_other_is_named() {
    let task = "operator: EmptyOperator";
    for (settings, wins) in [
        ("concurrency: 4\nmax_active_tasks: 5\ntasks: {}", "concurrency"),
        ("dagrun_timeout: 4\ndagrun_timeout_sec: 5\ntasks: {}", "dagrun_timeout"),
        ("fail_fast: true\nfail_stop: false\ntasks: {}", "fail_fast"),
        ("schedule: '@daily'\nschedule_interval: '@hourly'\ntasks: {}", "schedule"),
        ("default_args: {retry_delay: 4, retry_delay_sec: 5}\ntasks: {}", "retry_delay"),
        ("task_groups: {g: {default_args: {retry_delay: 4, retry_delay_sec: 5}}}\ntasks: {}", "retry_delay"),
        (&format!("tasks: {{t: {{{task}, retry_delay: 4, retry_delay_sec: 5}}}}"), "retry_delay"),
    ] {
        let found = loaded(&in_dag(settings));
        let ignored: Vec<&str> =
            found.diagnostics.iter().filter(|d| d.code == "ignored-key").map(|d| &*d.message).collect();
        assert_eq!(ignored.len(), 1, "{settings}");
        assert!(ignored[0].ends_with(&format!("`{wins}` says the same, and wins")), "{settings}: {}", ignored[0]);
    }
    let dag = dag_with(
        "concurrency: 4\nmax_active_tasks: 5\ntasks: {t: {operator: EmptyOperator, retry_delay: 4, retry_delay_sec: 5}}",
    );
    assert_eq!((dag.max_active_tasks, dag.tasks[0].retry_delay.as_secs()), (Some(4), 4));
}

#[test]
fn the_word_none_is_no_value_of_an_argument_that_may_be_absent() {
    let task = dag(&in_task(
        "operator: BashOperator\nbash_command: None\nenv: None\nappend_env: None\ncwd: None\nskip_on_exit_code: None",
    ))
    .tasks
    .remove(0);
    assert_eq!(task.arguments.keys().collect::<Vec<_>>(), ["bash_command"]);
    let task =
        dag(&in_task("operator: HttpOperator\nendpoint: None\nheaders: None\nextra_options: None")).tasks.remove(0);
    assert!(task.arguments.is_empty(), "{:?}", task.arguments);
}

#[test]
fn schedules_that_surprise_are_told() {
    for (schedule, code) in [
        ("0 0 30 2 *", Some("never-due")),
        ("0 0 1 1 * 0 2020", Some("never-due")),
        ("0 0 1W * FRI", None),
        ("0 0 13 * FRI#2", Some("surprising-schedule")),
        ("0 0 29 2 *", None),
        ("0 0 1 1 *", None),
        ("*/5 * * * *", None),
    ] {
        let codes: Vec<&str> = told(&format!("schedule: '{schedule}'\ntasks: {{}}")).iter().map(|t| t.1).collect();
        match code {
            Some(code) => assert_eq!(codes, [code], "{schedule}"),
            None => assert!(!codes.contains(&"never-due"), "{schedule}: {codes:?}"),
        }
    }
    let old = told("timetable: {callable: my.Timetable, params: {a: 1}}\ntasks: {}");
    assert!(old.iter().any(|t| t.2.contains("{__type__: my.Timetable, ...}")), "{old:?}");
}

#[test]
fn a_key_of_tasks_in_a_dag_is_told_where_it_belongs() {
    let hints = told("retries: 3\nretry: 3\ntasks: {}");
    assert_eq!(
        hints.iter().map(|t| &*t.2).collect::<Vec<_>>(),
        [
            "tasks have `retries`: write it below `default_args`, for all of them, or in a task",
            "did you mean `retries`? That is a key of tasks: write it below `default_args`",
        ]
    );
}

#[test]
fn a_queue_that_there_is_not_is_told() {
    for (queue, codes) in [("python", vec![]), ("default", vec![]), ("None", vec![]), ("gpu", vec!["ignored-key"])] {
        let found = told(&format!("default_args: {{queue: {queue}}}\ntasks: {{t: {{operator: EmptyOperator}}}}"));
        assert_eq!(found.iter().map(|t| t.1).collect::<Vec<_>>(), codes, "{queue}");
    }
}

#[test]
fn a_task_with_an_error_is_not_told_to_be_missing() {
    let found = error(&in_dag("tasks:\n  a:\n  b: {operator: EmptyOperator, dependencies: [a]}"));
    assert_eq!((found.code, &*found.key_path), ("wrong-type", "etl.tasks.a"));
}

#[test]
fn no_base_of_operators_is_suggested() {
    let hints = told("tasks: {t: {operator: NopeOperator}}");
    assert!(!hints[0].2.contains("Base"), "{hints:?}");
}

/// What holds for tasks holds for their instances.
#[test]
fn nothing_is_said_of_mapped_tasks_with_limits_callbacks_and_outlets() {
    let found = loaded(&in_task(
        "operator: BashOperator\nexpand: {bash_command: [a, b]}\npool: p\nmax_active_tis_per_dag: 1\nmax_active_tis_per_dagrun: 1\n\
         on_failure_callback: m.f\noutlets: [s3://a/b]",
    ));
    assert_eq!(places(&found), []);
}

#[test]
fn a_dependency_by_id_is_told_the_name() {
    let text = "etl:\n  task_groups:\n    outer: {}\n    inner: {parent_group_name: outer}\n  tasks:\n    \
                a: {operator: EmptyOperator, task_group_name: inner}\n    b: {operator: EmptyOperator, dependencies: [inner.a]}\n";
    assert_eq!(error(text).hint.as_deref(), Some("did you mean `a`? Tasks are named without the groups around them"));
}

#[test]
fn what_looks_at_other_dags_is_checked_when_it_is_read() {
    for (arguments, code, hint) in [
        ("external_dag_id: b\nallowed_states: [sucess]", "unknown-value", "did you mean `success`?"),
        (
            "external_dag_id: b\nallowed_states: [skipped]",
            "unknown-value",
            "known are queued, running, success, failed",
        ),
        ("external_dag_id: b\nexternal_task_id: x\nexternal_task_ids: [y]", "not-possible", "remove one of the two"),
        (
            "external_dag_id: b\nexternal_task_id: x\nallowed_states: [success]\nfailed_states: [success]",
            "not-possible",
            "a state can mean one thing only: remove one of them",
        ),
        ("external_dag_id: b\nexecution_delta: 1h\nexecution_date_fn: m.f", "not-possible", "remove one of the two"),
    ] {
        let found = error(&in_task(&format!("operator: ExternalTaskSensor\n{arguments}")));
        assert_eq!((found.code, found.hint.as_deref()), (code, Some(hint)), "{arguments}");
    }
    let found = error(&in_task("operator: TriggerDagRunOperator\ntrigger_dag_id: b\nallowed_states: [sucess]"));
    assert_eq!(found.hint.as_deref(), Some("did you mean `success`?"));
    // A state of tasks, where tasks are meant; what says nothing; both lists of a triggered run.
    for arguments in [
        "operator: ExternalTaskSensor\nexternal_dag_id: b\nexternal_task_id: x\nallowed_states: [success, skipped]",
        "operator: ExternalTaskSensor\nexternal_dag_id: b\nexternal_task_id: x\nexternal_task_ids: None",
        "operator: TriggerDagRunOperator\ntrigger_dag_id: b\nallowed_states: [success, failed]\nfailed_states: [failed]",
    ] {
        dag(&in_task(arguments));
    }
}
