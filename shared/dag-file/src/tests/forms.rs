//! Defaults of folders, schedules by assets, mapped tasks, callbacks, and older forms.

use super::*;
use serde_json::{Value as Json, json};
use updraft_model::{AssetCondition, AssetRef, CallbackKind, ExpandInput, SensorMode};

fn with_files(text: &str, files: &[(&str, &str)]) -> Loaded {
    let mut options = options();
    options.files.extend(files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())));
    load("team/sales/etl.yaml", text.as_bytes(), &options)
}

fn codes(loaded: &Loaded) -> Vec<&str> {
    loaded.diagnostics.iter().map(|d| d.code).collect()
}

#[test]
fn defaults_of_folders_apply_the_nearest_first_and_a_default_block_before_them() {
    let loaded = with_files(
        "default: {default_args: {retries: 3}, max_active_runs: 1}\netl:\n  tasks: {t: {operator: EmptyOperator}}\nown:\n  tags: [own]\n  description: mine\n",
        &[
            (
                "defaults.yml",
                "default_args: {owner: root, retries: 1, retry_delay: 10}\ntags: [z, root]\ndescription: root\nmax_active_runs: 9",
            ),
            ("team/defaults.yaml", "default_args: {owner: team}\ntags: [a]\ndescription: team"),
            ("team/sales/x/defaults.yml", "description: below"),
            ("other/defaults.yml", "description: elsewhere"),
        ],
    );
    assert_eq!(loaded.diagnostics, []);
    let [etl, own] = &loaded.dags[..] else { panic!() };
    let task = &etl.tasks[0];
    assert_eq!((task.owner.as_str(), task.retries, task.retry_delay.as_secs()), ("team", 3, 10));
    assert_eq!((etl.description.as_deref(), etl.max_active_runs), (Some("team"), Some(1)));
    assert_eq!(etl.tags, ["a", "root", "z"]);
    assert_eq!((own.description.as_deref(), &own.tags[..]), (Some("mine"), &["own".to_owned()][..]));
    assert_eq!(loaded.references, ["defaults.yml", "team/defaults.yaml"]);
    assert!(load("team/defaults.yml", b"default_args: {owner: x}", &options()).diagnostics.is_empty());
}

#[test]
fn of_two_files_of_defaults_in_a_folder_both_count_the_first_named_before_the_other() {
    let loaded = with_files(
        "etl: {schedule: null}\n",
        &[
            ("team/sales/defaults.yml", "description: yml"),
            ("team/sales/defaults.yaml", "description: yaml\ndoc_md: x"),
        ],
    );
    let dag = &loaded.dags[0];
    assert_eq!((dag.description.as_deref(), dag.doc_md.as_deref()), (Some("yml"), None));
    assert_eq!(loaded.references, ["team/sales/defaults.yml"]);
}

#[test]
fn a_problem_in_a_file_of_defaults_is_shown_where_it_is() {
    let text = "etl:\n  tasks: {t: {operator: EmptyOperator}}\n";
    let of = |defaults: &str| {
        let loaded = with_files(text, &[("defaults.yml", defaults)]);
        let shown = loaded.diagnostics.iter().map(|d| (d.file.clone(), d.line, d.column, d.code)).collect::<Vec<_>>();
        (loaded.dags.len(), shown)
    };
    let at = |line, column, code| vec![("defaults.yml".to_owned(), line, column, code)];
    assert_eq!(of("default_args:\n  retries: many"), (0, at(2, 12, "wrong-type")));
    assert_eq!(of("default_args: {"), (0, at(1, 15, "yaml-syntax")));
    assert_eq!(of("- a"), (0, at(1, 1, "not-a-mapping")));
    assert_eq!(of("defualt_args: {}"), (1, at(1, 1, "unknown-key")));
}

#[test]
fn tasks_of_a_default_block_are_merged_by_id_whatever_the_form() {
    let mapping = |id: &str, rest: &str| format!("{{{id}: {{{rest}}}}}");
    let list = |id: &str, rest: &str| format!("[{{task_id: {id}, {rest}}}]");
    for below in [mapping("t", "operator: BashOperator, retries: 4"), list("t", "operator: BashOperator, retries: 4")] {
        for own in [mapping("t", "bash_command: ls"), list("t", "bash_command: ls")] {
            let dag = dag(&format!("default: {{tasks: {below}}}\netl: {{tasks: {own}}}\n"));
            assert_eq!((dag.tasks.len(), dag.tasks[0].retries), (1, 4), "{below} {own}");
            assert_eq!(dag.tasks[0].arguments["bash_command"], "ls");
        }
    }
}

fn condition(dag: &Dag) -> String {
    fn shown(condition: &AssetCondition) -> String {
        let joined =
            |parts: &[AssetCondition], by: &str| format!("({})", parts.iter().map(shown).collect::<Vec<_>>().join(by));
        match condition {
            AssetCondition::Of(AssetRef::Asset(asset)) if asset.name != asset.uri => {
                format!("{}={}", asset.name, asset.uri)
            }
            AssetCondition::Of(AssetRef::Asset(asset)) => asset.uri.clone(),
            AssetCondition::Of(AssetRef::Alias { name }) => format!("alias:{name}"),
            AssetCondition::Of(AssetRef::Name(name)) => format!("name:{name}"),
            AssetCondition::Of(AssetRef::Uri(uri)) => format!("uri:{uri}"),
            AssetCondition::All(parts) => joined(parts, " & "),
            AssetCondition::Any(parts) => joined(parts, " | "),
        }
    }
    dag.assets.as_ref().map_or_else(|| "none".to_owned(), shown)
}

#[test]
fn schedules_by_assets_are_read_in_every_spelling() {
    for (schedule, expected) in [
        ("[s3://a, '', s3://b]", "(s3://a & s3://b)"),
        ("{__type__: builtins.list, items: [s3://a]}", "(s3://a)"),
        ("{__type__: airflow.sdk.Asset, uri: s3://a, name: n, extra: {k: v}}", "n=s3://a"),
        ("{__type__: airflow.sdk.Asset, __args__: [n]}", "n"),
        ("{__type__: airflow.sdk.Asset, __args__: [n, s3://a]}", "n=s3://a"),
        ("{__type__: airflow.datasets.Dataset, uri: s3://a}", "s3://a"),
        ("[{__type__: airflow.sdk.AssetAlias, name: x}, {__type__: airflow.sdk.Asset.ref, name: y}]", "error"),
        ("{__type__: airflow.sdk.AssetAlias, name: x}", "alias:x"),
        ("{__or__: [{__and__: [a, b]}, c]}", "((a & b) | c)"),
        ("{__or__: [{__type__: airflow.sdk.Asset, uri: a}, b, c]}", "(a | b | c)"),
        ("{or: [{and: [a, b]}, {__type__: airflow.sdk.Asset, uri: c}]}", "((a & b) | c)"),
        ("!or [!and [a, b], c]", "((a & b) | c)"),
        ("{datasets: '(a & b) | c'}", "((a & b) | c)"),
        ("{datasets: a | b & c}", "(a | (b & c))"),
        ("{datasets: [a, b]}", "(a & b)"),
        ("{datasets: !or [a, b]}", "(a | b)"),
        ("{__type__: airflow.sdk.AssetAny, __args__: [a, b]}", "(a | b)"),
    ] {
        if expected == "error" {
            assert_eq!(error(&in_dag(&format!("schedule: {schedule}"))).code, "unsupported", "{schedule}");
            continue;
        }
        let dag = dag_with(&format!("schedule: {schedule}"));
        assert_eq!(condition(&dag), expected, "{schedule}");
        assert_eq!((dag.timetable_class(), dag.schedule_summary().as_str()), ("AssetTriggeredTimetable", "Asset"));
    }
}

#[test]
fn assets_may_go_with_times_and_may_be_named_in_a_file() {
    let cron = "{__type__: airflow.timetables.trigger.CronTriggerTimetable, cron: 0 1 * * 5, timezone: UTC}";
    for schedule in [
        format!("{{datasets: a & b, timetable: {cron}}}"),
        format!(
            "{{__type__: airflow.timetables.assets.AssetOrTimeSchedule, timetable: {cron}, assets: {{__and__: [a, b]}}}}"
        ),
    ] {
        let dag = dag_with(&format!("schedule: {schedule}"));
        assert_eq!(
            (dag.timetable_class(), dag.schedule_summary().as_str()),
            ("AssetOrTimeSchedule", "Asset or 0 1 * * 5")
        );
        assert_eq!(condition(&dag), "(a & b)");
    }
    let text = "etl:\n  schedule: {file: names.yml, datasets: one | two}\n  tasks:\n    t: {operator: EmptyOperator, outlets: {file: names.yml, datasets: [two]}}\n";
    let names = "datasets:\n- {name: one, uri: s3://1}\n- {name: two, uri: s3://2}\n";
    let loaded = with_files(text, &[("team/sales/names.yml", names)]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    assert_eq!(condition(&loaded.dags[0]), "(s3://1 | s3://2)");
    assert!(matches!(&loaded.dags[0].tasks[0].outlets[..], [AssetRef::Asset(asset)] if asset.uri == "s3://2"));
    assert_eq!(loaded.references, ["team/sales/names.yml"]);
    let missing = with_files(text, &[]);
    assert_eq!((missing.wanted, missing.dags.len()), (vec!["team/sales/names.yml".to_owned()], 0));
    let unknown = with_files(text, &[("team/sales/names.yml", "datasets: [{name: ones, uri: x}]")]);
    assert_eq!(codes(&unknown).iter().filter(|c| **c == "unknown-asset").count(), 2);
}

#[test]
fn schedules_may_be_durations_eventbridges_or_old_keys() {
    for (settings, shown) in [
        ("schedule: 5m", "0:05:00"),
        ("schedule: PT2H", "2:00:00"),
        ("schedule: rate(5 minutes)", "0:05:00"),
        ("schedule: cron(0 12 ? * 2-6 *)", "0 12 * * 1-5"),
        ("schedule_interval: '@daily'", "0 0 * * *"),
        (
            "timetable: {__type__: airflow.timetables.trigger.CronTriggerTimetable, cron: '@daily', timezone: UTC}",
            "0 0 * * *",
        ),
        ("schedule: {__type__: airflow.timetables.simple.OnceTimetable}", "@once"),
        (
            "schedule: {__type__: airflow.timetables.events.EventsTimetable, event_dates: [2026-01-01, 2026-02-01]}",
            "2 events",
        ),
    ] {
        assert_eq!(dag_with(settings).timetable.describe(), shown, "{settings}");
    }
}

#[test]
fn mapped_tasks_keep_what_they_are_expanded_over() {
    let loaded = loaded(
        "etl:\n  tasks:\n    a: {decorator: airflow.sdk.task, python_callable: m.f}\n    \
         b: {decorator: airflow.decorators.task, python_callable: m.g, expand: {x: +a, y: [1, 2]}, partial: {label: z}}\n    \
         c: {operator: BashOperator, expand: {bash_command: a.output, env: XcomArg(b)}, partial: {cwd: /tmp}}\n    \
         d: {decorator: airflow.sdk.task.branch, python_callable: m.h, x: \"+a['k']\", n: 2, multiple_outputs: true}\n",
    );
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let [a, b, c, d] = &loaded.dags[0].tasks[..] else { panic!() };
    let xcom =
        |task: &str| ExpandInput::XCom { task_id: updraft_model::TaskId::trusted(task), key: "return_value".into() };
    assert_eq!(a.operator, "airflow.providers.standard.decorators.python._PythonDecoratedOperator");
    assert_eq!((a.decorator.as_deref(), a.mapping.is_some()), (Some("airflow.sdk.task"), false));
    let mapping = b.mapping.as_ref().unwrap();
    assert_eq!(mapping.expand, [("x".to_owned(), xcom("a")), ("y".to_owned(), ExpandInput::Literal(json!([1, 2])))]);
    assert_eq!(mapping.partial, ["label"]);
    assert_eq!(b.arguments["op_kwargs"], json!({"label": "z"}));
    assert_eq!(b.upstream, [updraft_model::TaskIndex(0)]);
    assert_eq!(c.mapping.as_ref().unwrap().expand[1], ("env".to_owned(), xcom("b")));
    assert_eq!((c.arguments["cwd"].clone(), c.upstream.len()), (json!("/tmp"), 2));
    assert_eq!(
        d.arguments["op_kwargs"],
        json!({"n": 2, "x": {"__type__": "airflow.sdk.XComArg", "task_id": "a", "key": "k"}})
    );
    assert!(d.operator.ends_with("_BranchPythonDecoratedOperator") && d.multiple_outputs);
    assert_eq!(d.upstream.as_slice(), &[updraft_model::TaskIndex(0)][..]);
    // Whoever says nothing is asked when it returns; whoever says so, or is no decorated function, is not.
    let asked: Vec<bool> = loaded.dags[0].tasks.iter().map(|t| t.multiple_outputs_as_annotated).collect();
    assert_eq!(asked, [true, true, false, false]);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
}

#[test]
fn tasks_of_defaults_are_merged_by_id_whatever_their_form() {
    let loaded = with_files(
        "default:\n  tasks: [{task_id: b, retries: 3}]\netl:\n  tasks: [{task_id: a, bash_command: echo own}]\n",
        &[
            ("defaults.yml", "tasks:\n  a: {operator: BashOperator, bash_command: echo far, retries: 1}\n"),
            (
                "team/defaults.yml",
                "tasks: [{task_id: a, retries: 2}, {task_id: b, operator: EmptyOperator, retries: 1}]\n",
            ),
        ],
    );
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let tasks = &loaded.dags[0].tasks;
    let mut found: Vec<_> =
        tasks.iter().map(|t| (t.task_id.as_str(), t.retries, t.arguments.get("bash_command"))).collect();
    found.sort_by_key(|task| task.0);
    assert_eq!(found, [("a", 2, Some(&json!("echo own"))), ("b", 3, None)]);
}

#[test]
fn variables_are_taken_when_the_file_is_read_where_they_are_set() {
    let mut options = options();
    // Whatever case the file has it in: in the environment it is `AIRFLOW_VAR_CMD`.
    options.variables.insert("CMD".into(), "echo set".into());
    let text = in_task(
        "operator: BashOperator\nbash_command: echo as written\ncwd: /tmp\nvariables_as_arguments: [{variable: cmd, attribute: bash_command}, {variable: dir, attribute: cwd}]",
    );
    let loaded = load("f.yaml", text.as_bytes(), &options);
    assert_eq!(codes(&loaded), ["unset-variable"]);
    let arguments = &loaded.dags[0].tasks[0].arguments;
    assert_eq!((&arguments["bash_command"], &arguments["cwd"]), (&json!("echo set"), &json!("/tmp")));
    assert!(arguments.get("variables_as_arguments").is_none());
}

#[test]
fn callbacks_are_kept_in_every_spelling() {
    let task = task_with(
        "on_failure_callback: a.b\non_success_callback: {callback: c.D, text: hi}\non_retry_callback: [e.f, {callback: g.h, n: 1}]\n\
         on_execute_callback_name: fn\non_execute_callback_file: cb.py\non_skipped_callback: null",
    );
    let of = |kind| serde_json::to_value(task.callbacks.get(&kind)).unwrap();
    assert_eq!(of(CallbackKind::Failure), json!([{"callback": "a.b"}]));
    assert_eq!(of(CallbackKind::Success), json!([{"callback": "c.D", "arguments": {"text": "hi"}}]));
    assert_eq!(of(CallbackKind::Retry), json!([{"callback": "e.f"}, {"callback": "g.h", "arguments": {"n": 1}}]));
    assert_eq!(of(CallbackKind::Execute), json!([{"callback": "fn", "file": "sales/cb.py"}]));
    assert_eq!(of(CallbackKind::Skipped), Json::Null);
    assert!(task.has_effects);
    let dag = dag_with(
        "on_failure_callback: a.b\ndefault_args: {on_failure_callback: d.e}\ntasks:\n  t: {operator: EmptyOperator}\n  u: {operator: EmptyOperator, on_failure_callback: null}",
    );
    assert_eq!(dag.callbacks[&CallbackKind::Failure][0].callback, "a.b");
    assert_eq!(dag.tasks[0].callbacks[&CallbackKind::Failure][0].callback, "d.e");
    assert!(dag.tasks[1].callbacks.is_empty());
}

#[test]
fn sensors_have_their_settings_by_themselves_or_by_default() {
    let dag = dag_with(
        "default_args: {poke_interval: 10, timeout: 1h, mode: reschedule}\ntasks:\n  s: {operator: TimeDeltaSensor, delta: 5m, timeout: 2h, exponential_backoff: true, max_wait: 90}\n  \
         b: {operator: BashOperator, bash_command: x}",
    );
    let sensor = dag.tasks[0].sensor.as_ref().unwrap();
    assert_eq!(
        (sensor.mode, sensor.poke_interval.as_secs(), sensor.timeout.as_secs()),
        (SensorMode::Reschedule, 10, 7200)
    );
    assert_eq!((sensor.exponential_backoff, sensor.max_wait.map(|w| w.as_secs())), (true, Some(90)));
    assert!(dag.tasks[0].arguments.get("timeout").is_none() && dag.tasks[1].sensor.is_none());
}

#[test]
fn typed_values_are_read_from_a_closed_registry() {
    let dag = dag_with(
        "params:\n  p: {__type__: airflow.sdk.definitions.param.Param, default: 5, type: integer, minimum: 1}\n  q: plain\n  r: {__type__: airflow.sdk.Param, __args__: [x, 'a text'], enum: [x, y]}\n  \
         s: {__type__: airflow.sdk.Param, type: string}\n  v: {__type__: airflow.sdk.Param}\n\
         tasks:\n  t: {operator: EksClusterStateSensor, cluster_name: c, target_state: {__type__: airflow.providers.amazon.aws.hooks.eks.ClusterStates, __args__: [ACTIVE]}}\n  \
         u:\n    operator: PythonOperator\n    python_callable: m.f\n    op_kwargs:\n      d: {__type__: datetime.timedelta, minutes: 1}\n      o: {__type__: my.Class, __args__: [1]}\n      \
         j: {__join__: [a, 1, yes, null, 1.5]}\n      b: !!binary aGVsbG8=\n      l: {__type__: builtins.list, items: [1, 2]}\n",
    );
    assert_eq!(Json::Object(dag.params), json!({"p": 5, "q": "plain", "r": "x"}));
    assert_eq!(
        Json::Object(dag.param_schemas),
        json!({"p": {"type": "integer", "minimum": 1}, "r": {"description": "a text", "enum": ["x", "y"]}, "s": {"type": "string"}, "v": {}})
    );
    assert_eq!(dag.tasks[0].arguments["target_state"], "ACTIVE");
    assert_eq!(
        dag.tasks[1].arguments["op_kwargs"],
        json!({
            "d": {"__type__": "datetime.timedelta", "seconds": 60},
            "o": {"__type__": "my.Class", "__args__": [1]},
            "j": "a1TrueNone1.5",
            "b": {"__type__": "builtins.bytes", "base64": "aGVsbG8="},
            "l": [1, 2],
        })
    );
}

#[test]
fn old_tags_are_read_with_a_warning() {
    let found = loaded(&in_task("operator: BashOperator\nbash_command: !join [echo, ' ', hi]"));
    assert_eq!(codes(&found), ["old-tag"]);
    assert_eq!(found.dags[0].tasks[0].arguments["bash_command"], "echo hi");
    let found = loaded(&in_task("operator: PythonOperator\npython_callable: !!python/name:my_module.my_func"));
    assert_eq!(found.dags[0].tasks[0].arguments["python_callable"], "my_module.my_func");
}

#[test]
fn settings_of_templates_and_documentation_are_kept() {
    let text = "etl:\n  doc_md_file_path: about.md\n  template_searchpath: [../sql, .]\n  user_defined_macros: {m: {f: lib.f}, n: 1}\n  max_consecutive_failed_dag_runs: 3\n  owner_links: {ann: mailto:a@b.c}\n";
    let loaded = with_files(text, &[("team/sales/about.md", "# About")]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let dag = &loaded.dags[0];
    assert_eq!(dag.doc_md.as_deref(), Some("# About"));
    assert_eq!(dag.templates.searchpath, ["team/sql", "team/sales"]);
    assert_eq!(Json::Object(dag.templates.macros.clone()), json!({"m": {"f": "lib.f"}, "n": 1}));
    assert_eq!((dag.max_consecutive_failed_dag_runs, dag.owner_links["ann"].as_str()), (3, "mailto:a@b.c"));
    let missing = with_files(text, &[]);
    assert_eq!((missing.dags.len(), &missing.wanted[..]), (1, &["team/sales/about.md".to_owned()][..]));
}

#[test]
fn a_warning_about_a_default_is_told_once_for_all_dags() {
    let loaded = loaded("default: {concurency: 2}\na: {schedule: null}\nb: {schedule: null}\n");
    assert_eq!((codes(&loaded), loaded.dags.len()), (vec!["unknown-key"], 2));
}

#[test]
fn a_deadline_counts_from_an_average_in_each_spelling() {
    let with = |reference: &str| {
        format!(
            "deadline: {{reference: {reference}, interval: 60, callback: {{bash_command: 'true'}}}}\ntasks: {{t: {{operator: EmptyOperator}}}}"
        )
    };
    for (reference, max_runs, min_runs) in [
        ("AVERAGE_RUNTIME", 10, 10),
        ("airflow.sdk.DeadlineReference.AVERAGE_RUNTIME", 10, 10),
        ("{AVERAGE_RUNTIME: }", 10, 10),
        ("{AVERAGE_RUNTIME: {max_runs: 5, min_runs: 2}}", 5, 2),
        ("{AVERAGE_RUNTIME: {max_runs: 0, min_runs: 2}}", 10, 2),
        ("{__type__: airflow.sdk.DeadlineReference.AVERAGE_RUNTIME, max_runs: 5}", 5, 5),
        ("{__type__: airflow.sdk.DeadlineReference.AVERAGE_RUNTIME, __args__: [7, 3]}", 7, 3),
    ] {
        let dag = dag_with(&with(reference));
        let expected = updraft_model::DeadlineReference::AverageRuntime { max_runs, min_runs };
        assert_eq!(dag.deadlines[0].reference, expected, "{reference}");
    }
    for (reference, code) in [
        ("{AVERAGE_RUNTIME: {min_runs: 0}}", "out-of-range"),
        ("{AVERAGE_RUNTIME: {max_runs: 101}}", "out-of-range"),
        ("{AVERAGE_RUNTIME: 5}", "wrong-type"),
        ("{AVERAGE_RUNTIMES: {}}", "unsupported"),
    ] {
        assert_eq!(error(&in_dag(&with(reference))).code, code, "{reference}");
    }
}
