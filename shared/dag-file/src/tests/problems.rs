//! What is wrong, where, and how it is told.

use super::*;

#[test]
fn every_problem_has_its_place_its_way_of_keys_and_a_hint() {
    let text = "etl:\n  catchup: 'no'\n  shedule: '@daily'\n  tasks:\n    load:\n      operator: BashOperator\n      bash_comand: echo\n      \
                retries: many\n      dependencies: [extrct]\n    extract:\n      operator: EmptyOperator\n      trigger_rule: all_sucess\n";
    let loaded = loaded(text);
    assert!(loaded.dags.is_empty());
    let told: Vec<_> = loaded
        .diagnostics
        .iter()
        .map(|d| (d.line, d.column, d.severity, d.code, d.key_path.as_str(), d.hint.as_deref().unwrap_or("")))
        .collect();
    assert_eq!(
        told,
        [
            (2, 12, Severity::Error, "wrong-type", "etl.catchup", "write `true` or `false` without quotes"),
            (3, 3, Severity::Warning, "unknown-key", "etl.shedule", "did you mean `schedule`?"),
            (
                5,
                5,
                Severity::Error,
                "missing-argument",
                "etl.tasks.load",
                "add `bash_command: ...`, the command, or a file with it"
            ),
            (7, 7, Severity::Error, "unknown-argument", "etl.tasks.load.bash_comand", "did you mean `bash_command`?"),
            (
                8,
                16,
                Severity::Error,
                "wrong-type",
                "etl.tasks.load.retries",
                "write digits without quotes, such as `3`"
            ),
            (9, 22, Severity::Error, "unknown-dependency", "etl.tasks.load.dependencies.0", "did you mean `extract`?"),
            (12, 21, Severity::Error, "unknown-value", "etl.tasks.extract.trigger_rule", "did you mean `all_success`?"),
        ]
    );
    assert!(loaded.diagnostics.iter().all(|d| d.dag_id.as_deref() == Some("etl") && d.file == "sales/etl.yaml"));
    assert_eq!(
        loaded.diagnostics[4].render(text, false),
        "sales/etl.yaml:8:16: error: `retries` must be a whole number, but is the text `many`\n 8 |       retries: many\n   |                ^\n  \
         key: etl.tasks.load.retries\n  hint: write digits without quotes, such as `3`"
    );
}

#[test]
fn an_operator_that_is_not_known_is_told_with_what_was_meant() {
    for (name, meant) in [
        ("BashOperatr", "BashOperator"),
        ("bash", "BashOperator"),
        ("a.b.file", "FileSensor"),
        ("PYTHON", "PythonOperator"),
    ] {
        let found = loaded(&in_dag(&format!("tasks:\n  a: {{operator: {name}}}")));
        let warning = found.diagnostics.iter().find(|d| d.code == "unknown-operator").expect("it is not known");
        assert_eq!(warning.hint.as_deref(), Some(&*format!("did you mean `{meant}`?")), "{name}");
    }
}

#[test]
fn a_cycle_is_told_with_its_way() {
    let tasks = "tasks:\n  a: {operator: EmptyOperator, dependencies: [c]}\n  b: {operator: EmptyOperator, dependencies: [a]}\n  \
                 c: {operator: EmptyOperator, dependencies: [b, free]}\n  free: {operator: EmptyOperator}\n  \
                 below: {operator: EmptyOperator, dependencies: [a]}";
    let found = error(&in_dag(tasks));
    assert_eq!((found.code, found.line, found.key_path.as_str()), ("cycle", 3, "etl.tasks.a"));
    assert_eq!(found.message, "tasks depend on each other in a circle: `a` -> `b` -> `c` -> `a`");
    let own = error(&in_dag("tasks:\n  a: {operator: EmptyOperator, dependencies: [a]}"));
    assert_eq!(own.message, "tasks depend on each other in a circle: `a` -> `a`");
    let two = loaded(&in_dag(
        "tasks:\n  a: {operator: EmptyOperator, dependencies: [b]}\n  b: {operator: EmptyOperator, dependencies: [a]}\n  \
         c: {operator: EmptyOperator, dependencies: [c]}",
    ));
    assert_eq!(places(&two), [(3, 5, "cycle"), (5, 5, "cycle")]);
}

#[test]
fn each_of_these_is_one_error() {
    for (arguments, code) in [
        ("bash_command: echo", "missing-argument"),
        ("operatr: BashOperator", "missing-argument"),
        ("operator: [x]", "wrong-type"),
        ("operator: BashOperator\nbash_command: true", "wrong-type"),
        ("operator: BashOperator\nbash_command: x\nenv: [a]", "wrong-type"),
        ("operator: BashOperator\nbash_command: x\nskip_on_exit_code: [a]", "wrong-type"),
        ("operator: BashOperator\nbash_command: x\nappend_env: '{{ x }}'", "wrong-type"),
        ("operator: BashOperator\nbash_command: {{ ds }}", "unhashable-key"),
        ("operator: BashOperator\nbash_command: x\nenv: {a: {__type__: x.Y}}", "unsupported"),
        ("operator: BashOperator\nbash_command: x\nenv: {a: {__join__: [x, {y: z}]}}", "wrong-type"),
        ("operator: BashOperator\nbash_command: x\nenv: {a: {__join__: x}}", "wrong-type"),
        ("operator: PythonOperator", "missing-argument"),
        ("operator: PythonOperator\npython_callable: f", "wrong-type"),
        ("operator: PythonOperator\npython_callable_name: f", "missing-argument"),
        ("operator: PythonOperator\npython_callable_name: f()\npython_callable_file: f.py", "wrong-type"),
        ("operator: EmptyOperator\nretries: -1", "out-of-range"),
        ("operator: EmptyOperator\nretries: 1.5", "wrong-type"),
        ("operator: EmptyOperator\ndepends_on_past: 1", "wrong-type"),
        ("operator: EmptyOperator\nweight_rule: heavy", "unknown-value"),
        ("operator: EmptyOperator\nexpand: {x: [1]}", "unknown-argument"),
        ("operator: EmptyOperator\npartial: {x: 1}", "unknown-argument"),
        ("operator: BashOperator\nexpand: {bash_command: 1}", "wrong-type"),
        ("operator: BashOperator\nexpand: {bash_command: t2.output}", "unknown-dependency"),
        ("operator: BashOperator\nexpand: {bash_command: [a]}\nbash_command: b", "duplicate-argument"),
        (
            "operator: BashOperator\npartial: {bash_command: a}\nexpand: {env: [a]}\nbash_command: b",
            "duplicate-argument",
        ),
        ("decorator: airflow.sdk.task", "missing-argument"),
        ("decorator: airflow.sdk.task\npython_callable: a.b\nx: +nobody", "unknown-dependency"),
        ("operator: TimeDeltaSensor\ndelta: 5m\nmode: pock", "unknown-value"),
        ("operator: TimeDeltaSensor\ndelta: 5m\nsoft_fail: true\nnever_fail: true", "conflict"),
        ("operator: EmptyOperator\non_failure_callback: [1]", "wrong-type"),
        ("operator: EmptyOperator\non_failure_callback: {x: 1}", "missing-key"),
        ("operator: EmptyOperator\noutlets: [1]", "wrong-type"),
        ("operator: EmptyOperator\noutlets: {file: names.yml, datasets: [a]}", "missing-file"),
        ("operator: EmptyOperator\nvariables_as_arguments: [{variable: a}]", "missing-key"),
        ("operator: EmptyOperator\n1: x", "key-type"),
        ("operator: EmptyOperator\nparams: [1]", "wrong-type"),
        ("operator: EmptyOperator\nparams: {a: .inf}", "out-of-range"),
        ("operator: EmptyOperator\ndependencies: {a: b}", "wrong-type"),
    ] {
        let loaded = loaded(&in_task(arguments));
        let errors: Vec<_> = loaded.diagnostics.iter().filter(|d| d.is_error()).map(|d| d.code).collect();
        if arguments.starts_with("operatr") || arguments.starts_with("bash_command") {
            assert_eq!(errors, ["missing-key"], "{arguments}: {:?}", loaded.diagnostics);
        } else {
            assert_eq!(errors, [code], "{arguments}: {:?}", loaded.diagnostics);
        }
        assert!(loaded.dags.is_empty(), "{arguments}");
    }
}

#[test]
fn each_of_these_is_one_error_of_the_dag() {
    for (settings, code) in [
        ("tags: one", "wrong-type"),
        ("max_active_runs: 0", "out-of-range"),
        ("default_args: [1]", "wrong-type"),
        ("tasks: {a b: {operator: EmptyOperator}}", "bad-id"),
        ("tasks: {on: {operator: EmptyOperator}}", "key-type"),
        ("tasks: {a: null}", "wrong-type"),
        ("tasks: 1", "wrong-type"),
        ("tasks: [{operator: EmptyOperator}]", "missing-key"),
        ("tasks: [{task_id: a, operator: EmptyOperator}, {task_id: a, operator: EmptyOperator}]", "duplicate-id"),
        ("timetable: {__type__: x}", "unsupported"),
        ("task_groups: {g: {}}\ntasks: {a: {operator: EmptyOperator, task_group_name: g, dependencies: [g]}}", "cycle"),
        ("task_groups: {g: {dependencies: [g]}}", "cycle"),
        ("task_groups: {g: {}}\ntasks: {a: {operator: EmptyOperator, task_group_name: h}}", "unknown-group"),
        ("task_groups: {g: {parent_group_name: h}}", "unknown-group"),
        ("task_groups: {g: {parent_group_name: h}, h: {parent_group_name: g}}", "cycle"),
        ("task_groups: {g: {tooltp: x}}", "unknown-key"),
        ("task_groups: {a b: {}}", "bad-id"),
        ("task_groups: [{tooltip: x}]", "missing-key"),
        ("task_groups: {g: {}}\ntasks: {g: {operator: EmptyOperator}}", "duplicate-id"),
        ("user_defined_macros: {m: {f: no path}}", "wrong-type"),
    ] {
        assert_eq!(error(&in_dag(settings)).code, code, "{settings}");
    }
}

#[test]
fn what_is_accepted_without_effect_is_told_where_it_matters() {
    let text = in_task(
        "operator: EmptyOperator\nqueue: big\npool_slots: 1\npool: default_pool\nemail: a@b.c\non_failure_callback: a.b\non_retry_callback_name: x\n\
         outlets: []\ntask_id: other\ntask_group_name: g\nretry_delay_sec: 5\ntrigger_rule: dummy\nretries: '2'",
    );
    let loaded = loaded(&text);
    assert_eq!(loaded.dags[0].tasks[0].retries, 2);
    let told: Vec<_> = loaded.diagnostics.iter().map(|d| (d.line, d.code)).collect();
    assert_eq!(
        told,
        [
            (5, "ignored-key"),
            (12, "ignored-key"),
            (13, "ignored-key"),
            (14, "old-key"),
            (15, "old-value"),
            (16, "not-a-number")
        ]
    );
    let dag = loaded_warnings(
        "dag_id: x\nschedule_interval: '@daily'\nfrobnicate: 1\ndefault_args: {retires: 1}\ntimezone: Asia/Tokyo\nvars: &x {}",
    );
    assert_eq!(dag, ["ignored-key", "old-key", "unknown-key", "unknown-key", "ignored-key"]);
}

fn loaded_warnings(settings: &str) -> Vec<&'static str> {
    let loaded = loaded(&in_dag(settings));
    assert_eq!(loaded.dags.len(), 1, "{:?}", loaded.diagnostics);
    loaded.diagnostics.iter().map(|d| d.code).collect()
}

#[test]
fn one_bad_dag_never_hides_the_others() {
    for bad in [
        "bad: 1",
        "bad: {retries: 2}",
        "bad: {schedule: 5}",
        "'b d': {schedule: null}",
        "1: {schedule: null}",
        "bad: {tasks: {t: {operator: EmptyOperator, doc_md: {{ x }}}}}",
        "bad: {tasks: {t: {operator: EmptyOperator, dependencies: [t]}}}",
        "bad: !unknown {schedule: null}",
    ] {
        let loaded = loaded(&format!("good: {{schedule: null}}\n{bad}\nlast: {{schedule: null}}\n"));
        let ids: Vec<&str> = loaded.dags.iter().map(|d| d.dag_id.as_str()).collect();
        assert_eq!(ids, ["good", "last"], "{bad}: {:?}", loaded.diagnostics);
        assert!(loaded.has_errors(), "{bad}");
        assert!(loaded.diagnostics.iter().all(|d| d.line == 2), "{bad}: {:?}", loaded.diagnostics);
    }
}

#[test]
fn a_value_that_was_refused_reaches_nobody_through_an_alias() {
    let loaded = loaded("a: &x {schedule: !no x}\nb: *x\nc: {schedule: null}\n");
    let ids: Vec<&str> = loaded.dags.iter().map(|d| d.dag_id.as_str()).collect();
    assert_eq!(ids, ["c"]);
    assert_eq!(places(&loaded), [(1, 22, "unknown-tag"), (2, 1, "broken-value")]);
}

#[test]
fn errors_in_the_default_block_concern_every_dag() {
    let loaded = loaded("default: {tags: {{ x }}}\na: {schedule: null}\n");
    assert!(loaded.dags.is_empty());
    assert_eq!(loaded.diagnostics[0].dag_id, None);
}

#[test]
fn files_of_other_tools_are_not_half_loaded() {
    for text in [
        "dag: {schedule: null}\ntasks:\n  - {id: x}\n",
        "schedule: '@daily'\ntasks: {a: {operator: EmptyOperator}}\n",
        "- a\n",
        "text\n",
        "id: x\nnamespace: y\ntasks: []\n",
        "default_args: {start_date: 2025-01-01, owner: a}\n",
        "schedule: {timetable: x}\n",
    ] {
        let loaded = loaded(text);
        assert!(loaded.dags.is_empty() && loaded.has_errors(), "{text}");
    }
    assert_eq!(error("schedule: '@daily'\n").code, "misplaced-key");
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    let of = |bytes: &[u8]| {
        let loaded = load("f.yaml", bytes, &options());
        assert!(loaded.dags.is_empty());
        (loaded.diagnostics[0].line, loaded.diagnostics[0].column, loaded.diagnostics[0].code)
    };
    assert_eq!(of(b"a: {}\nb: \xff\n"), (2, 4, "not-utf8"));
    assert_eq!(of("a: {}\nb: 'x\u{1}'\n".as_bytes()), (2, 6, "control-character"));
    assert_eq!(of(b"\xff\xfea\0"), (1, 1, "not-utf8"));
    assert_eq!(of(&vec![b'#'; FILE_BYTES_MAX + 1]), (1, 1, "too-large"));
}

#[test]
fn defaults_that_would_be_copied_too_often_are_refused() {
    let big = "x".repeat(1_000_000);
    let tasks = repeated(500, |i| format!("    t{i}: {{operator: BashOperator}}\n"));
    for default in [format!("params: {{a: {big}}}"), format!("bash_command: {big}")] {
        let text = format!("etl:\n  default_args: {{{default}}}\n  tasks:\n{tasks}");
        let loaded = loaded(&text);
        assert!(loaded.dags.is_empty());
        assert!(loaded.diagnostics.iter().any(|d| d.code == "too-large"), "{:?}", loaded.diagnostics.first());
    }
    let dags = repeated(500, |i| format!("d{i}: {{tags: []}}\n"));
    let loaded = loaded(&format!("default: {{description: {big}}}\n{dags}"));
    assert!(loaded.diagnostics.iter().any(|d| d.code == "too-large"));
}

#[test]
fn a_thousand_problems_are_shown_and_the_rest_is_counted() {
    let tasks = repeated(1500, |i| format!("    t{i}: {{operator: EmptyOperator, wrong: 1}}\n"));
    let loaded = loaded(&format!("etl:\n  tasks:\n{tasks}"));
    assert_eq!(loaded.diagnostics.len(), 1001);
    let last = loaded.diagnostics.last().unwrap();
    assert_eq!((last.message.as_str(), last.severity), ("500 more problems are not shown", Severity::Error));
}

#[test]
fn a_dag_with_very_many_problems_does_not_hide_those_of_another() {
    let tasks = |count| repeated(count, |i| format!("    t{i}: {{operator: EmptyOperator, wrong: 1}}\n"));
    let loaded = loaded(&format!("many:\n  tasks:\n{}few:\n  tasks:\n{}", tasks(1500), tasks(2)));
    let of = |id: &str| loaded.diagnostics.iter().filter(|d| d.dag_id.as_deref() == Some(id)).count();
    assert_eq!((of("many"), of("few")), (1000, 2));
}

#[test]
fn what_cannot_run_and_what_has_another_name_now_is_told() {
    let told = |name: &str| {
        let found = loaded(&in_task(&format!("operator: {name}\nquery: x\nbash_command: x")));
        let of_name = |d: &Diagnostic| matches!(d.code, "operator-not-run" | "old-class-path");
        found.diagnostics.into_iter().filter(of_name).map(|d| (d.code, d.hint.unwrap_or_default())).collect::<Vec<_>>()
    };
    assert_eq!(told("AthenaOperator")[0].0, "operator-not-run");
    let now = "write `airflow.providers.standard.operators.bash.BashOperator`".to_owned();
    assert_eq!(told("airflow.operators.bash_operator.BashOperator"), [("old-class-path", now)]);
    for current in ["BashOperator", "airflow.providers.standard.operators.bash.BashOperator", "DateTimeSensorAsync"] {
        assert_eq!(told(current), [], "{current}");
    }
}

#[test]
fn an_argument_by_another_tools_name_is_told_with_ours() {
    for (name, hint) in [
        ("retry", "did you mean `retries`?"),
        ("depends_on", "did you mean `dependencies`?"),
        ("command", "did you mean `bash_command`?"),
        ("task_group", "did you mean `task_group_name`?"),
        ("provide_context", "remove it: callables always get the context that they name"),
    ] {
        let found = error(&in_task(&format!("operator: BashOperator\nbash_command: x\n{name}: 1")));
        assert_eq!((found.code, found.hint.as_deref()), ("unknown-argument", Some(hint)), "{name}");
    }
    let found = error(&in_task("operator: EmptyOperator\nzzzzzzzzz: 1"));
    assert!(found.hint.is_some_and(|hint| hint.starts_with("it takes nothing of its own")));
    let empty = error(&in_task("operator: null"));
    assert_eq!(empty.hint.as_deref(), Some("add one, e.g. `operator: BashOperator`"));
}

/// Each of these once took time with the square of its size, or would have; in a debug build they then ran for minutes.
#[test]
fn much_of_one_thing_takes_no_more_than_its_share() {
    let of = |text: String| loaded(&text).diagnostics.len();
    assert_eq!(of(format!("etl: {{tags: [{}]}}\n", repeated(50_000, |i| format!("t{i},")))), 0);
    let owned = |i| format!("    t{i}: {{operator: EmptyOperator, owner: o{i}}}\n");
    assert_eq!(of(format!("etl:\n  tasks:\n{}", repeated(5_000, owned))), 0);
    let unknown = |i| format!("    t{i}: {{operator: EmptyOperator, dependencies: [u{i}]}}\n");
    assert_eq!(of(format!("etl:\n  tasks:\n{}", repeated(5_000, unknown))), 1001);
    let mut options = options();
    options.env.insert("A".into(), "x".into());
    let text = format!("etl: {{description: '{}'}}\n", "${A".repeat(1_000_000));
    assert_eq!(load("f.yaml", text.as_bytes(), &options).dags.len(), 1);
}

#[test]
fn a_mapping_has_no_more_keys_than_a_dag_could_need() {
    let keys = |count: usize| load("f.yaml", repeated(count, |i| format!("{i:x}:\n")).as_bytes(), &options());
    let refused = keys(100_001);
    assert_eq!(places(&refused), [(100_001, 1, "too-large")]);
    assert_eq!(keys(100).diagnostics.len(), 100);
}

#[test]
fn groups_and_their_defaults_are_bounded() {
    let groups = repeated(3_000, |i| format!("    g{i}: {{default_args: {{a{i}: {i}}}}}\n"));
    let arguments = repeated(3_000, |i| format!("    b{i}: {i}\n"));
    let loaded = loaded(&format!("etl:\n  default_args:\n{arguments}  task_groups:\n{groups}"));
    assert!(loaded.diagnostics.iter().any(|d| d.code == "too-large"));
    let chain = repeated(60, |i| format!("    g{}: {{parent_group_name: g{i}}}\n", i + 1));
    let found = error(&format!("etl:\n  task_groups:\n    g0: {{}}\n{chain}"));
    assert_eq!(found.code, "too-deep");
}

#[test]
fn what_is_kept_but_not_acted_on_is_told() {
    let task = "operator: EmptyOperator\nqueue: big\nrun_as_user: ann\non_retry_callback: a.b\ninlets: [s3://a]";
    let codes: Vec<_> = loaded(&in_task(task)).diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["ignored-key"; 2]);
    assert!(loaded_warnings("fail_fast: true\non_failure_callback: a.b").is_empty());
    assert!(loaded_warnings("fail_fast: false\non_failure_callback: null").is_empty());
    let acted_on = "operator: EmptyOperator\nqueue: default\npool: small\npool_slots: 2\ndepends_on_past: true\nmax_active_tis_per_dag: 1";
    assert!(loaded(&in_task(acted_on)).diagnostics.is_empty());
}
