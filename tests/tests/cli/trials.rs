//! `dags test` and `tasks test`: real processes, no server, nothing kept.

use crate::harness::Place;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A DAG that shows what it was given, one that fails, one that takes long, one that tries twice.
const DAGS: &str = "\
shows:
  schedule: '@daily'
  start_date: 2126-01-01
  params: {region: eu}
  tasks:
    first:
      operator: BashOperator
      bash_command: 'echo it is {{ ds }} in {{ params.region }}; echo 7'
    second:
      operator: BashOperator
      bash_command: 'echo got {{ ti.xcom_pull(task_ids=\"first\") }}'
      dependencies: [first]
fails:
  schedule: null
  tasks:
    weep: {operator: BashOperator, bash_command: 'echo alas; exit 3'}
    after: {operator: EmptyOperator, dependencies: [weep]}
sleeps:
  schedule: null
  tasks:
    long: {operator: BashOperator, bash_command: 'echo $$ begins; sleep 600'}
tries:
  schedule: null
  tasks:
    twice: {operator: BashOperator, bash_command: 'test {{ ti.try_number }} = 2', retries: 1, retry_delay: 0}
";

fn place() -> Place {
    let place = Place::new();
    place.write("dags/all.yaml", DAGS);
    place
}

/// The exit status, standard output and standard error.
fn tried(place: &Place, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = place.output(arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_dag_runs_with_its_log_on_the_terminal_and_leaves_nothing() {
    let place = place();
    let (status, stdout, stderr) =
        tried(&place, &["dags", "test", "shows", "2026-01-05", "--conf", "{\"region\": \"us\"}"]);
    assert_eq!(status, Some(0), "{stderr}");
    for line in ["it is 2026-01-05 in us", "got 7"] {
        assert!(stdout.lines().any(|l| l.ends_with(line)), "`{line}` is missing in\n{stdout}");
    }
    let steps: Vec<&str> = stderr.lines().filter(|line| line.starts_with("***")).collect();
    assert_eq!(steps, ["*** first: running", "*** first: success", "*** second: running", "*** second: success"]);
    assert!(stderr.lines().last().is_some_and(|l| l.starts_with("manual__") && l.ends_with(": success")), "{stderr}");
    let names: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["dags"], "a test leaves nothing behind");
}

#[test]
fn a_run_that_fails_is_exit_code_1() {
    let place = place();
    let output = place.output(&["dags", "test", "fails", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["state"], "failed");
    assert_eq!(found["task_instances"][0]["state"], "failed");
    assert_eq!(found["task_instances"][1]["state"], "upstream_failed");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("alas"), "the log is not among the data: {said}");
}

#[test]
fn tasks_can_be_taken_for_successful() {
    let place = place();
    let (status, _, stderr) = tried(&place, &["dags", "test", "fails", "--mark-success-pattern", "^weep$"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stderr.contains("*** weep: success, without being run"), "{stderr}");
}

#[test]
fn a_try_that_fails_is_tried_again() {
    let place = place();
    let (status, _, stderr) = tried(&place, &["dags", "test", "tries"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stderr.contains("*** twice: running (try 2)"), "{stderr}");
}

#[test]
fn ctrl_c_kills_the_tasks() {
    let place = place();
    let mut child = place
        .command(&["dags", "test", "sleeps"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let begun = lines.find_map(|line| line.unwrap().strip_suffix(" begins").map(str::to_owned)).unwrap();
    let shell = begun.rsplit(' ').next().unwrap().to_owned();
    let alive = || std::path::Path::new("/proc").join(&shell).exists();
    assert!(alive(), "the command's shell is process {shell}");
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("error: the run was interrupted"), "{said}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while alive() {
        assert!(Instant::now() < deadline, "process {shell} lives on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn one_task_runs_whatever_is_above_it() {
    let place = place();
    let (status, stdout, stderr) = tried(&place, &["tasks", "test", "shows", "first", "2026-01-05"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.contains("it is 2026-01-05 in eu"), "{stdout}");
    let (status, stdout, _) = tried(&place, &["tasks", "test", "shows", "second"]);
    assert_eq!((status, stdout.contains("got None")), (Some(0), true), "{stdout}");
    assert_eq!(tried(&place, &["tasks", "test", "fails", "weep"]).0, Some(1));
    let (_, stdout, _) = tried(&place, &["tasks", "test", "shows", "first", "-t", "{\"region\": \"us\"}"]);
    assert!(stdout.contains("in us"), "{stdout}");
    let (status, _, stderr) = tried(&place, &["tasks", "test", "shows", "frist"]);
    assert_eq!(
        (status, stderr.as_str()),
        (Some(1), "error: the task `frist` does not exist\n  hint: did you mean `first`?\n")
    );
}

#[test]
fn what_cannot_be_tested_says_why() {
    let place = place();
    place.write("other/broken.yaml", "a: [\n");
    for (arguments, said) in [
        (&["show"][..], "error: the DAG `show` does not exist\n  hint: did you mean `shows`?\n"),
        (
            &["unlike_any"],
            "declare `fails`, `shows`, `sleeps`, `tries`\n  hint: name another DAG folder with `--dags DIR`",
        ),
        (&["a", "--dags", "other"], "has the errors above"),
        (&["a", "--dags", "nowhere"], "error: there is no DAG folder `nowhere`\n"),
        (&["a", "--dagfile-path", "nowhere.yaml"], "error: there is no file `nowhere.yaml`\n"),
    ] {
        let (status, stdout, stderr) = tried(&place, &[&["dags", "test"], arguments].concat());
        assert_eq!((status, stdout.as_str()), (Some(1), ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

/// A secret that must not be in any log.
const SECRET: &str = "hunter22";

#[test]
fn templates_read_variables_and_connections_and_logs_hide_what_is_secret() {
    let place = Place::new();
    let dag = "\
reads:
  schedule: null
  tasks:
    show:
      operator: BashOperator
      bash_command: >-
        echo region={{ var.value.region }} n={{ var.json.settings.n }} host={{ conn.db.host }} who={{ conn.db.login }}
        key={{ var.value.api_key }} pass={{ conn['d' ~ 'b'].password }}; exit {{ var.value.get('code', 0) }}
";
    place.write("dags/reads.yaml", dag);
    let environment = [
        ("AIRFLOW_VAR_REGION", "eu"),
        ("AIRFLOW_VAR_SETTINGS", r#"{"n": 7}"#),
        ("AIRFLOW_VAR_API_KEY", SECRET),
        ("AIRFLOW_CONN_DB", "postgres://ann:hunter22@there/"),
    ];
    let run = |arguments: &[&str]| {
        let output = place.command(arguments).envs(environment).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let shown = "region=eu n=7 host=there who=ann key=*** pass=***";
    let (status, stdout, stderr) = run(&["dags", "test", "reads"]);
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    assert!(stdout.lines().any(|line| line.ends_with(shown)), "{stdout}");
    let (_, rendered, _) = run(&["tasks", "render", "reads", "show", "2026-01-05"]);
    assert!(rendered.contains("# property: bash_command\n# -----") && rendered.contains(shown), "{rendered}");
    let (_, json, _) = run(&["tasks", "render", "reads", "show", "-o", "json"]);
    assert!(json.contains(shown), "{json}");
    for text in [stdout, stderr, rendered, json] {
        assert!(!text.contains(SECRET), "{text}");
    }
    let (status, stdout, stderr) = tried(&place, &["tasks", "test", "reads", "show"]);
    assert_eq!(status, Some(1));
    assert!(format!("{stdout}{stderr}").contains("`region`"), "{stdout}{stderr}");
}

#[test]
fn a_task_is_rendered_as_its_run_has_it() {
    let place = place();
    let rendered =
        |arguments: &[&str]| place.json(&[&["tasks", "render", "shows"], arguments, &["-o", "json"]].concat());
    let of = |date: &str, region: &str| json!(format!("echo it is {date} in {region}; echo 7"));
    assert_eq!(rendered(&["first", "2026-01-05"])["bash_command"], of("2026-01-05", "eu"));
    drop(crate::server::Server::start(&place));
    let conf = "{\"region\": \"us\"}";
    assert!(place.output(&["dags", "trigger", "shows", "-r", "r1", "-l", "2026-02-01", "-c", conf]).status.success());
    assert_eq!(rendered(&["first", "r1"])["bash_command"], of("2026-02-01", "us"));
    assert_eq!(rendered(&["first", "2026-02-01"])["bash_command"], of("2026-02-01", "us"));
    assert_eq!(rendered(&["first", "2026-03-01"])["bash_command"], of("2026-03-01", "eu"));
    let (status, _, stderr) = tried(&place, &["tasks", "render", "shows", "first", "r2"]);
    assert_eq!(
        (status, stderr.as_str()),
        (Some(1), "error: the run `r2` does not exist\n  hint: did you mean `r1`?\n")
    );
}

/// Variables and connections are those that tasks of a server would find.
#[test]
fn what_a_home_keeps_is_there_and_stays_as_it_is() {
    let place = place();
    let before = json!([{ "conn_id": "c", "conn_type": "http" }]);
    drop(crate::server::Server::start(&place));
    place.run(&["connections", "add", "c", "--conn-type", "http"]);
    assert_eq!(tried(&place, &["dags", "test", "shows"]).0, Some(0));
    assert_eq!(place.json(&["connections", "list", "-o", "json"]), before);
    assert_eq!(place.json(&["dags", "list-runs", "shows", "-o", "json"]), json!([]));
}

/// A server whose home is taken away says so and ends, instead of writing to where nobody looks.
#[test]
fn a_server_ends_when_its_home_is_gone() {
    let place = place();
    let mut server = place
        .command(&["standalone", "--port", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready:") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "the server did not start");
    }
    // In one step: a server that writes on meanwhile could fill a folder that is just being emptied.
    let aside = place.path().join("aside");
    std::fs::rename(place.path().join(".updraft"), &aside).unwrap();
    drop(std::fs::remove_dir_all(aside));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains("was removed or replaced while the server ran"), "{rest}");
}
