//! What sound files come to.

use super::*;
use serde_json::json;
use updraft_model::{TaskIndex, TriggerRule, WeightRule};

#[test]
fn a_small_file_loads_without_a_word() {
    let loaded = loaded(
        "etl:\n  schedule: '@daily'\n  start_date: 2025-01-01\n  tasks:\n    b: {operator: EmptyOperator, dependencies: [a]}\n    \
         a: {operator: BashOperator, bash_command: echo}\n",
    );
    assert_eq!(loaded.diagnostics, []);
    let dag = &loaded.dags[0];
    assert_eq!((dag.dag_id.as_str(), dag.file.as_str(), dag.timezone.as_str()), ("etl", "sales/etl.yaml", "UTC"));
    assert_eq!(dag.timetable.describe(), "0 0 * * *");
    let ids: Vec<&str> = dag.tasks.iter().map(|t| t.task_id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(dag.tasks[0].operator, "airflow.providers.standard.operators.bash.BashOperator");
    assert_eq!(dag.tasks[0].arguments["bash_command"], "echo");
    assert_eq!(dag.tasks[1].upstream, [TaskIndex(0)]);
}

#[test]
fn all_settings_of_a_dag_arrive() {
    let dag = dag_with(
        "description: d\ndag_display_name: D\ndoc_md: '# m'\ntags: [x, y, x]\ncatchup: true\nmax_active_runs: 3\nmax_active_tasks: 4\n\
         is_paused_upon_creation: true\ndagrun_timeout: 2h\nfail_fast: yes\nrender_template_as_native_obj: true\n\
         params: {n: 1, d: 2025-01-31, p: {__type__: airflow.sdk.definitions.param.Param, default: [1], type: array}}\n\
         default_args: {owner: ann}\ntasks:\n  a: {operator: EmptyOperator}\n  b: {operator: EmptyOperator, owner: bob}",
    );
    assert_eq!(dag.description.as_deref(), Some("d"));
    assert_eq!(dag.dag_display_name.as_deref(), Some("D"));
    assert_eq!(dag.doc_md.as_deref(), Some("# m"));
    assert_eq!(dag.tags, ["x", "y"]);
    assert_eq!(dag.owners, ["ann", "bob"]);
    assert!(dag.catchup && dag.fail_fast && dag.render_template_as_native_obj);
    assert_eq!((dag.max_active_runs, dag.max_active_tasks), (Some(3), Some(4)));
    assert_eq!(dag.is_paused_upon_creation, Some(true));
    assert_eq!(dag.dagrun_timeout.map(|d| d.as_secs()), Some(7200));
    assert_eq!(serde_json::Value::Object(dag.params), json!({"n": 1, "d": "2025-01-31", "p": [1]}));
}

#[test]
fn a_dag_that_says_nothing_has_airflows_defaults() {
    let dag = dag("etl: {}\n");
    assert_eq!(dag.timetable, updraft_timetables::Timetable::Null);
    assert!(!dag.catchup && dag.tasks.is_empty() && dag.tags.is_empty());
    assert_eq!((dag.max_active_runs, dag.start_date, dag.is_paused_upon_creation), (None, None, None));
}

#[test]
fn concurrency_is_the_older_name_and_wins() {
    assert_eq!(dag_with("concurrency: 2\nmax_active_tasks: 5").max_active_tasks, Some(2));
}

#[test]
fn all_common_arguments_of_a_task_arrive() {
    let task = task_with(
        "owner: ann\nretries: 3\nretry_delay: 30\nretry_exponential_backoff: true\nmax_retry_delay: 1h\nexecution_timeout: 5m\n\
         trigger_rule: all_done\npriority_weight: 99999999999\nweight_rule: absolute\ndepends_on_past: true\nwait_for_downstream: true\n\
         do_xcom_push: false\nparams: {a: b}\nmax_active_tis_per_dag: 2\nmax_active_tis_per_dagrun: 3\ndoc_md: m",
    );
    assert_eq!((task.owner.as_str(), task.retries, task.retry_delay.as_secs()), ("ann", 3, 30));
    assert!((task.retry_exponential_backoff - 2.0).abs() < f64::EPSILON);
    assert_eq!(task.max_retry_delay.map(|d| d.as_secs()), Some(3600));
    assert_eq!(task.execution_timeout.map(|d| d.as_secs()), Some(300));
    assert_eq!((task.trigger_rule, task.priority_weight), (TriggerRule::AllDone, i32::MAX));
    assert_eq!(task.weight_rule, WeightRule::Absolute);
    assert!(task.depends_on_past && task.wait_for_downstream && !task.do_xcom_push);
    assert_eq!(task.params["a"], "b");
    assert_eq!((task.max_active_tis_per_dag, task.max_active_tis_per_dagrun), (Some(2), Some(3)));
    assert_eq!(task.doc_md.as_deref(), Some("m"));
}

#[test]
fn default_args_fill_in_what_a_task_does_not_say() {
    let dag = dag_with(
        "default_args: {retries: 2, execution_timeout: 60, bash_command: echo, unknown: 1, cwd: /tmp}\ntasks:\n  \
         a: {operator: BashOperator}\n  b: {operator: BashOperator, retries: 0, execution_timeout: null, bash_command: ls}\n  \
         c: {operator: EmptyOperator}",
    );
    let [a, b, c] = &dag.tasks[..] else { panic!() };
    assert_eq!((a.retries, a.execution_timeout.map(|d| d.as_secs())), (2, Some(60)));
    assert_eq!(serde_json::Value::Object(a.arguments.clone()), json!({"bash_command": "echo", "cwd": "/tmp"}));
    assert_eq!((b.retries, b.execution_timeout), (0, None));
    assert_eq!(b.arguments["bash_command"], "ls");
    assert!(c.arguments.is_empty());
}

#[test]
fn the_default_block_is_merged_into_every_dag() {
    let loaded = loaded(
        "default:\n  default_args: {owner: ann, retries: 1}\n  tags: [all]\n  tasks:\n    first: {operator: EmptyOperator}\n\
         one:\n  default_args: {retries: 2}\n  tasks:\n    second: {operator: EmptyOperator, dependencies: [first]}\n\
         two:\n  tags: [own]\n",
    );
    assert_eq!(loaded.diagnostics, []);
    let [one, two] = &loaded.dags[..] else { panic!() };
    let ids: Vec<&str> = one.tasks.iter().map(|t| t.task_id.as_str()).collect();
    assert_eq!(ids, ["first", "second"]);
    assert_eq!((one.tasks[1].owner.as_str(), one.tasks[1].retries), ("ann", 2));
    assert_eq!((&one.tags[..], &two.tags[..]), (&["all".to_owned()][..], &["own".to_owned()][..]));
    assert_eq!(two.tasks[0].retries, 1);
}

#[test]
fn tasks_may_be_a_list() {
    let dag = dag_with(
        "tasks:\n- {task_id: b, operator: EmptyOperator, dependencies: [a]}\n- {task_id: a, operator: EmptyOperator}",
    );
    let ids: Vec<&str> = dag.tasks.iter().map(|t| t.task_id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[test]
fn tasks_are_ordered_by_dependencies_and_else_as_in_the_file() {
    let dag = dag_with(
        "tasks:\n  d: {operator: EmptyOperator, dependencies: [c, a, c]}\n  c: {operator: EmptyOperator}\n  \
         b: {operator: EmptyOperator}\n  a: {operator: EmptyOperator, dependencies: [b]}",
    );
    let ids: Vec<&str> = dag.tasks.iter().map(|t| t.task_id.as_str()).collect();
    assert_eq!(ids, ["c", "b", "a", "d"]);
    assert_eq!(dag.tasks[3].upstream, [TaskIndex(0), TaskIndex(2)]);
}

#[test]
fn operators_are_known_by_every_path_and_unknown_ones_keep_name_and_arguments() {
    for name in ["airflow.operators.bash_operator.BashOperator", "BashOperator"] {
        let task = dag(&in_task(&format!("operator: {name}\nbash_command: x"))).tasks.remove(0);
        assert_eq!(task.operator, "airflow.providers.standard.operators.bash.BashOperator");
    }
    let loaded = loaded(&in_task(
        "operator: x.y.BsahOperator\nretries: 1\nquery: {a: [1]}\nwait: {__type__: datetime.timedelta, days: 1}",
    ));
    assert_eq!(places(&loaded), [(4, 17, "unknown-operator")]);
    assert_eq!(loaded.diagnostics[0].hint.as_deref(), Some("did you mean `BashOperator`?"));
    let task = &loaded.dags[0].tasks[0];
    assert_eq!((task.operator.as_str(), task.retries), ("x.y.BsahOperator", 1));
    assert_eq!(
        serde_json::Value::Object(task.arguments.clone()),
        json!({"query": {"a": [1]}, "wait": {"__type__": "datetime.timedelta", "seconds": 86400}})
    );
}

#[test]
fn a_python_callable_is_a_dotted_path_or_a_file_beside_the_dag() {
    let task = dag(&in_task("operator: PythonOperator\npython_callable: my.mod.f\nop_args: [1]")).tasks.remove(0);
    assert_eq!(task.arguments["python_callable"], "my.mod.f");
    let options = LoadOptions { dags_folder: Some("/srv/dags/".into()), ..options() };
    for (file, expected) in [
        ("lib/f.py", Ok("sales/lib/f.py")),
        ("./f.py", Ok("sales/f.py")),
        ("../shared/f.py", Ok("shared/f.py")),
        ("/srv/dags/x/f.py", Ok("x/f.py")),
        ("../../f.py", Err("bad-path")),
        ("/srv/dagsx/f.py", Err("bad-path")),
        ("/srv/dags/../f.py", Err("bad-path")),
        ("$HOME/f.py", Err("bad-path")),
    ] {
        let text = in_task(&format!("operator: PythonOperator\npython_callable_name: f\npython_callable_file: {file}"));
        let loaded = load("sales/etl.yaml", text.as_bytes(), &options);
        match expected {
            Ok(path) => {
                assert_eq!(loaded.references, [path], "{file}");
                assert_eq!(loaded.dags[0].tasks[0].arguments["python_callable_file"], path);
            }
            Err(code) => assert_eq!(loaded.diagnostics[0].code, code, "{file}"),
        }
    }
}

#[test]
fn variables_are_put_in_before_reading_and_places_stay_the_users() {
    let mut options = options();
    options.env.insert("N".into(), "3".into());
    options.env.insert("LONG_NAME".into(), "x".into());
    let text =
        "etl:\n  tasks:\n    t: {owner: ${LONG_NAME}$N, retries: $N, operator: EmptyOperator, typo: $UNSET $5}\n";
    let loaded = load("f.yaml", text.as_bytes(), &options);
    let column = text.lines().nth(2).unwrap().find("typo").unwrap() as u32 + 1;
    assert_eq!(places(&loaded), [(3, column, "unknown-argument")]);
    let sound = load("f.yaml", text.replace(", typo: $UNSET $5", ", doc_md: $UNSET $5").as_bytes(), &options);
    let task = &sound.dags[0].tasks[0];
    assert_eq!((task.owner.as_str(), task.retries, task.doc_md.as_deref()), ("x3", 3, Some("$UNSET $5")));
}

#[test]
fn files_without_dags_are_no_problem() {
    for text in ["", "# nothing\n", "default: {tags: [a]}\n", "\u{feff}"] {
        let loaded = loaded(text);
        assert!(loaded.dags.is_empty() && loaded.diagnostics.is_empty(), "{text}: {:?}", loaded.diagnostics);
    }
}
