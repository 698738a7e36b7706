//! What needs no metastore, and what is said where there is none.

use crate::harness::Place;
use crate::server::{ETL, SAD};
use std::io::Read;
use std::process::Stdio;

/// A file with one mistake of each kind that the linter has to find by other means.
const BAD: &str = "\
late:
  schedule: '@fortnightly'
  start_date: 2026-01-01
  tasks:
    a:
      operator: airflow.providers.standard.operators.bash.BashOperator
      bash_command: echo 1
      dependencies: [b]
calls:
  schedule: null
  start_date: 2026-01-01
  tasks:
    call:
      operator: airflow.providers.standard.operators.python.PythonOperator
      python_callable_name: run
      python_callable_file: helpers/gone.py
etl:
  schedule: null
  start_date: 2026-01-01
  tasks:
    a:
      operator: airflow.providers.standard.operators.empty.EmptyOperator
";

const NO_HOME: &str = "\
exit 1
--- stdout
--- stderr
error: there is no metastore in `./.updraft`
  cause: the file `./.updraft/metastore.db` does not exist
  hint: `updraft standalone` makes one and runs the DAG files in `./dags`; where there is one already, name it with \
`--metastore file:HOME` or `UPDRAFT_METASTORE`
";

#[test]
fn without_a_metastore_every_command_says_how_to_get_one_and_leaves_no_trace() {
    let place = Place::new();
    for arguments in [
        &["dags", "list"][..],
        &["dags", "show", "etl"],
        &["dags", "trigger", "etl"],
        &["dags", "pause", "etl"],
        &["dags", "unpause", "etl"],
        &["dags", "list-runs", "etl"],
        &["dags", "list-import-errors"],
        &["tasks", "list", "etl"],
        &["tasks", "states-for-dag-run", "etl", "r"],
        &["tasks", "logs", "etl", "r", "a"],
        &["xcom", "list", "etl", "r"],
        &["xcom", "get", "etl", "r", "a"],
    ] {
        assert_eq!(place.run(arguments), NO_HOME, "{arguments:?}");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "looking left something behind");
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_is_meant() {
    let place = Place::new();
    for (arguments, said) in [
        (&["dags", "lst"][..], "unrecognized subcommand 'lst'"),
        (&["dags", "list", "--output", "xml"], "[possible values: table, json, yaml, plain]"),
        (&["dags", "list", "--columns", "dag_id,nope"], "invalid value 'nope'"),
        (&["dags", "list", "--metastore", "postgres://x"], "`postgres` is no known kind of metastore; use `file:HOME`"),
        (&["dags", "list", "--metastore", "dynamodb://a b"], "`a b` is no name of a DynamoDB table"),
        (&["dags", "trigger", "etl", "--conf", "{no"], "this is no JSON"),
        (&["dags", "trigger", "etl", "--conf", "[1]"], "it must be a JSON object"),
        (&["dags", "trigger", "etl", "--logical-date", "soon"], "this is no date; write `2026-01-31`"),
        (&["dags", "trigger", "a/b"], "only letters, digits"),
        (&["dags", "list-runs", "etl", "--state", "done"], "known are queued, running, success, failed"),
        (&["dags", "list-runs", "etl", "--limit", "0"], "0 is not in 1.."),
        (&["tasks", "logs", "etl", "r"], "<TASK_ID>"),
        (&["dags", "show"], "<DAG_ID>"),
        (&[], "Usage: updraft"),
    ] {
        let output = place.output(arguments);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
    }
}

#[test]
fn the_version_is_data() {
    let place = Place::new();
    assert_eq!(place.run(&["version"]), "exit 0\n--- stdout\n0.1.0\n--- stderr\n");
    assert_eq!(place.json(&["version", "-o", "json"]), serde_json::json!({ "version": "0.1.0" }));
    let help = place.output(&["--help"]);
    assert!(help.status.success() && help.stderr.is_empty() && !help.stdout.is_empty());
}

#[test]
fn the_linter_shows_each_problem_at_its_place() {
    let place = Place::new();
    place.write("dags/bad.yaml", BAD);
    place.write("dags/etl.yaml", ETL);
    place.write("dags/notes.txt", "no DAG file");
    let expected = "\
exit 1
--- stdout
dags/bad.yaml:2:13: error: `@fortnightly` is no known preset; use a cron expression, or one of `@hourly`, `@daily`, `@midnight`, \
`@weekly`, `@monthly`, `@quarterly` (in lower case), `@yearly`, `@annually`
 2 |   schedule: '@fortnightly'
   |             ^
  key: late.schedule
  hint: write a cron expression such as `0 3 * * *`, a preset such as `@daily`, or `null`
dags/bad.yaml:8:22: error: the task `a` depends on `b`, which does not exist
 8 |       dependencies: [b]
   |                      ^
  key: late.tasks.a.dependencies.0
  hint: name a task or a group of this DAG
dags/bad.yaml:16:29: error: there is no file `helpers/gone.py` in the DAG folder, which task `call` names
 16 |       python_callable_file: helpers/gone.py
    |                             ^
  key: calls.tasks.call.python_callable_file
  hint: put it there, or mend the path: it counts from the folder of the DAG file

dags/etl.yaml:1:1: error: the DAG `etl` is already declared by `dags/bad.yaml`
 1 | etl:
   | ^
  key: etl
  hint: give one of them another id
--- stderr
2 DAG files: 4 errors in 2 files, 0 warnings
";
    assert_eq!(place.run(&["dags", "lint"]), expected);
}

#[test]
fn the_linter_shows_a_problem_of_defaults_in_their_file() {
    let place = Place::new();
    place.write("dags/x/defaults.yml", "default_args:\n  retries: two\n");
    place.write("dags/x/etl.yaml", ETL);
    let expected = "\
exit 1
--- stdout
dags/x/defaults.yml:2:12: error: `retries` must be a whole number, but is the text `two`
 2 |   retries: two
   |            ^
  key: etl.default_args.retries
  hint: write digits without quotes, such as `3`
--- stderr
1 DAG file: 1 error, 0 warnings
";
    assert_eq!(place.run(&["dags", "lint", "dags"]), expected);
}

#[test]
fn the_linters_json_has_a_place_a_code_and_a_way_of_keys() {
    let place = Place::new();
    place.write("bad.yaml", BAD);
    let output = place.output(&["dags", "lint", "bad.yaml", "--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), 3, "{found:#?}");
    assert_eq!(
        found[1],
        serde_json::json!({
            "file": "bad.yaml",
            "line": 8,
            "column": 22,
            "severity": "error",
            "dag_id": "late",
            "key_path": "late.tasks.a.dependencies.0",
            "code": "unknown-dependency",
            "message": "the task `a` depends on `b`, which does not exist",
            "hint": "name a task or a group of this DAG",
        })
    );
    assert_eq!(found[2]["code"], "missing-file");
    assert_eq!(found[2]["key_path"], "calls.tasks.call.python_callable_file");
}

#[test]
fn a_sound_folder_lints_to_nothing_on_standard_output() {
    let place = Place::new();
    place.write("dags/deep/etl.yaml", ETL);
    place.write("dags/sad.yml", SAD);
    let expected = "exit 0\n--- stdout\n--- stderr\n2 DAG files: 0 errors, 0 warnings\n";
    assert_eq!(place.run(&["dags", "lint", "dags"]), expected);
    assert_eq!(
        place.run(&["dags", "lint", "nowhere"]),
        "exit 2\n--- stdout\n--- stderr\nerror: there is no file or folder `nowhere`\n"
    );
    let beside = place.run(&["dags", "lint", "nowhere", "dags"]);
    assert_eq!(
        beside,
        "exit 2\n--- stdout\n--- stderr\n2 DAG files: 0 errors, 0 warnings\nerror: there is no file or folder `nowhere`\n",
        "what is there is looked at all the same"
    );
    let expected = "exit 0\n--- stdout\n[]\n--- stderr\n1 DAG file: 0 errors, 0 warnings\n";
    assert_eq!(place.run(&["dags", "lint", "dags/sad.yml", "-o", "yaml"]), expected);
}

#[test]
fn the_linter_reads_what_a_server_would_read_and_looks_into_templates() {
    let place = Place::new();
    place.write("dags/.airflowignore", "old/\n");
    place.write("dags/old/bad.yaml", "nonsense");
    place.write("dags/team/scripts/run.sh", "echo {{ ds }}\necho {% if %}\n");
    place.write("dags/etl.py", "from airflow.sdk import DAG\n");
    place.write(
        "dags/team/t.yaml",
        "t:
  schedule: null
  tasks:
    a:
      operator: BashOperator
      bash_command: |
        echo {{ ds }}
        echo {{ ds | upcase }}
    b: {operator: BashOperator, bash_command: scripts/run.sh}
    c: {operator: BashOperator, bash_command: bash scripts/gone.sh}
    d: {operator: BashOperator, bash_command: '{{ ', env: {A: '{{ }}', B: '{{ }}'}}
",
    );
    let said = place.run(&["dags", "lint", "dags"]);
    let expected = "\
exit 1
--- stdout
dags/etl.py:1:1: warning: this Python DAG file is not loaded: DAGs are declared in YAML here
  hint: `updraft dags convert dags/etl.py` makes YAML of it where it can; if it is no DAG file, name it in `.airflowignore`

dags/team/t.yaml:8:9: error: `bash_command` is no valid template, and task `a` would fail: there is no filter `upcase`
 8 |         echo {{ ds | upcase }}
   |         ^
";
    assert!(said.starts_with(expected), "{said}");
    for part in [
        "dags/team/scripts/run.sh:2:1: error: `bash_command` is no valid template, and task `b` would fail: syntax error",
        "dags/team/t.yaml:10:47: warning: `bash scripts/gone.sh` names a template file by its ending, and there is no \
         `team/bash scripts/gone.sh`: task `c` will fail",
        "add a blank at its end",
        "dags/team/t.yaml:11:63: error: `env` is no valid template, and task `d` would fail",
        "  also 1 time in this line\n",
        "1 DAG file: 5 errors in 1 file, 2 warnings\n",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    assert!(!said.contains("nonsense"), "{said}");
    // What is only warned about fails where that is asked for.
    place.write("warned.py", "from airflow.sdk import DAG\n");
    assert_eq!(place.output(&["dags", "lint", "warned.py"]).status.code(), Some(0));
    assert_eq!(place.output(&["dags", "lint", "warned.py", "--strict"]).status.code(), Some(1));
    place.write("notes.txt", "");
    assert_eq!(place.output(&["dags", "lint", "notes.txt"]).status.code(), Some(2));
}

#[test]
fn a_file_shows_its_tasks_without_a_metastore() {
    let place = Place::new();
    place.write("etl.yaml", ETL);
    let expected = "\
exit 0
--- stdout
etl  (schedule: None, timezone: UTC, file: etl.yaml)
Loads orders
○   extract    BashOperator
├─┐
○ │ transform  BashOperator
└─┤
  ○ load       EmptyOperator
--- stderr
";
    assert_eq!(place.run(&["dags", "show", "--file", "etl.yaml"]), expected);
    let shown = place.json(&["dags", "show", "--file", "etl.yaml", "--output", "json"]);
    let dag = &shown[0];
    assert_eq!(dag["dag_id"], "etl");
    assert_eq!(dag["timetable_summary"], "None");
    assert_eq!(dag["start_date"], "2026-01-01T00:00:00.000000+00:00");
    assert_eq!(dag["params"], serde_json::json!({ "region": "eu" }));
    assert_eq!(dag["edges"].as_array().unwrap().len(), 3);
    assert_eq!(dag["edges"][0], serde_json::json!({ "source_id": "extract", "target_id": "transform" }));
    let task = &dag["tasks"][2];
    assert_eq!(task["task_id"], "load");
    assert_eq!(task["upstream_task_ids"], serde_json::json!(["extract", "transform"]));
    assert_eq!(task["retry_delay"], 300);
    let wrong =
        "exit 1\n--- stdout\n--- stderr\nerror: the file `etl.yaml` gives no DAG `elt`\n  hint: did you mean `etl`?\n";
    assert_eq!(place.run(&["dags", "show", "elt", "--file", "etl.yaml"]), wrong);
}

#[test]
fn a_file_shows_everything_that_was_understood() {
    let place = Place::new();
    place.write(
        "g.yaml",
        "g:
  schedule: '0 6 * * *'
  start_date: 2026-01-01
  default_args: {retries: 2}
  task_groups: {inner: {tooltip: two tasks}}
  tasks:
    a: {operator: BashOperator, bash_command: echo}
    b: {operator: BashOperator, bash_command: echo, task_group_name: inner, dependencies: [a], pool: small}
    c: {operator: EmptyOperator, task_group_name: inner, dependencies: [a], trigger_rule: all_done}
    d: {operator: EmptyOperator, dependencies: [b, c]}
",
    );
    let shown = place.json(&["dags", "show", "--file", "g.yaml", "--output", "json"]);
    let dag = &shown[0];
    assert_eq!(dag["timetable_class"], "CronTriggerTimetable");
    assert_eq!(dag["task_groups"][0]["group_id"], "inner");
    assert_eq!((&dag["roots"], &dag["leaves"]), (&serde_json::json!(["a"]), &serde_json::json!(["d"])));
    assert_eq!(dag["default_args"]["retries"], 2);
    let task = dag["tasks"].as_array().unwrap().iter().find(|t| t["task_id"] == "inner.b").unwrap();
    for (key, value) in [
        ("task_group", serde_json::json!("inner")),
        ("pool", serde_json::json!("small")),
        ("retries", serde_json::json!(2)),
        ("is_mapped", serde_json::json!(false)),
        ("execution_timeout", serde_json::json!(null)),
        ("template_fields", serde_json::json!(["bash_command", "env", "cwd"])),
    ] {
        assert_eq!(task[key], value, "{key}");
    }
    let drawn = "\
g  (schedule: 0 6 * * *, timezone: UTC, file: g.yaml)
group inner: two tasks
○   a        BashOperator
├─┐
○ │ inner.b  BashOperator, in inner
│ ○ inner.c  EmptyOperator, all_done, in inner
├─┘
○   d        EmptyOperator
";
    let output = place.output(&["dags", "show", "--file", "g.yaml"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), drawn);
}

#[test]
fn the_schema_is_json_whatever_the_format() {
    let place = Place::new();
    let schema = place.json(&["dags", "schema"]);
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["$defs"]["task"]["allOf"].as_array().unwrap().len() > 200);
}

#[test]
fn what_has_errors_is_not_uploaded() {
    let place = Place::new();
    place.write("src/bad.yaml", BAD);
    place.write("src/good.yaml", SAD);
    let said = place.run(&["dags", "upload", "src", "--dags", "dags"]);
    assert!(said.starts_with("exit 1\n--- stdout\n--- stderr\nsrc/bad.yaml:2:13: error:"), "{said}");
    assert!(said.ends_with("error: nothing was uploaded\n  cause: the files have the errors above\n"), "{said}");
    assert!(!place.path().join("dags").exists());
}

#[test]
fn a_file_is_uploaded_with_what_it_names() {
    let place = Place::new();
    let calls = BAD.lines().skip(8).take(8).collect::<Vec<_>>().join("\n");
    place.write("src/calls.yaml", &calls);
    place.write("src/helpers/gone.py", "def run(): pass\n");
    place.write("src/other.txt", "stays here");
    let expected = "\
exit 0
--- stdout
filepath         size  location
helpers/gone.py  16    dags
calls.yaml       218   dags
--- stderr
";
    assert_eq!(place.run(&["dags", "upload", "src/calls.yaml", "--dags", "dags"]), expected);
    let copied = |name: &str| std::fs::read_to_string(place.path().join("dags").join(name)).ok();
    assert_eq!(copied("helpers/gone.py").as_deref(), Some("def run(): pass\n"));
    assert_eq!(copied("calls.yaml"), Some(calls));
    assert_eq!(copied("other.txt"), None);
    let nowhere = place.run(&["dags", "upload", "src"]);
    assert!(
        nowhere.starts_with("exit 1\n--- stdout\n--- stderr\nerror: it is not known where to upload to\n  hint: "),
        "{nowhere}"
    );
}

/// A reader that goes away (`| head`) is no failure: the pipe is closed before the output can fit into it.
#[test]
fn a_closed_pipe_is_no_failure() {
    let place = Place::new();
    let many: String = (0..3000).map(|n| SAD.replacen("sad:", &format!("sad_{n}:"), 1)).collect();
    place.write("many.yaml", &many);
    let mut child = place
        .command(&["dags", "show", "--file", "many.yaml", "--output", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(first, *b"[");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn colours_are_for_terminals_unless_they_are_forced_and_no_color_wins() {
    let place = Place::new();
    place.write("bad.yaml", BAD);
    let escapes = |variables: &[(&str, &str)]| {
        let mut command = place.command(&["dags", "lint", "bad.yaml", "--output", "table"]);
        command.env("TERM", "xterm-256color").envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        output.stdout.contains(&0x1b) || output.stderr.contains(&0x1b)
    };
    assert!(!escapes(&[]), "pipes take no colours");
    assert!(escapes(&[("CLICOLOR_FORCE", "1")]));
    assert!(!escapes(&[("NO_COLOR", "1")]));
    assert!(!escapes(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]));
}
