//! Callables in interpreters of their own.

use std::process::Command;

use serde_json::json;

use crate::world::{Ran, World};

const MODULE: &str = "
import os, sys

def where():
    return [sys.prefix, sys.base_prefix != sys.prefix]

def variables():
    return {'mine': os.environ.get('MINE'), 'path': 'PATH' in os.environ}

def texts():
    return virtualenv_string_args

def leaves(code):
    sys.exit(code)

def drops(code):
    os._exit(code)

def way():
    return 'b'

def tiny():
    import tiny
    return tiny.NAME

def dates(ds, ti, x):
    return [ds is not None, ti.task_id, x]
";

async fn ran(tasks: &str) -> Ran {
    let indented = tasks.trim_end().replace('\n', "\n    ");
    let dag =
        format!("d:\n  schedule: \"@daily\"\n  start_date: 2026-01-01\n  catchup: false\n  tasks:\n    {indented}\n");
    World::new(&[("d.yaml", &dag), ("work.py", MODULE)]).await.run().await
}

#[tokio::test]
async fn a_task_names_its_interpreter() {
    let python =
        Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().expect("python3 is there");
    let python = String::from_utf8(python.stdout).expect("a path").trim().to_owned();
    let tasks = format!(
        "a: {{operator: ExternalPythonOperator, python: {python}, python_callable: work.dates, op_kwargs: {{x: 5}}}}
v: {{operator: ExternalPythonOperator, python: {python}, python_callable: work.variables, env_vars: {{MINE: '1'}}}}
o: {{operator: ExternalPythonOperator, python: {python}, python_callable: work.variables, env_vars: {{MINE: '2'}}, inherit_env: false}}
t: {{operator: ExternalPythonOperator, python: {python}, python_callable: work.texts, string_args: [x, y]}}
s: {{operator: ExternalPythonOperator, python: {python}, python_callable: work.leaves, op_args: [3], skip_on_exit_code: 3}}
k: {{operator: ExternalPythonOperator, python: {python}, python_callable: work.drops, op_args: [4], skip_on_exit_code: [3, 4]}}
f: {{operator: ExternalPythonOperator, python: {python}, python_callable: work.leaves, op_args: [3]}}
d: {{decorator: task.external_python, python: {python}, python_callable: work.dates, x: +a}}
missing: {{operator: ExternalPythonOperator, python: /no/such/python, python_callable: work.where}}
way: {{operator: BranchExternalPythonOperator, python: {python}, python_callable: work.way}}
b: {{operator: EmptyOperator, dependencies: [way]}}
c: {{operator: EmptyOperator, dependencies: [way]}}
"
    );
    let ran = ran(&tasks).await;
    let mut states = ran.states.clone();
    states.sort();
    let expected = [
        "a=success",
        "b=success",
        "c=skipped",
        "d=success",
        "f=failed",
        "k=skipped",
        "missing=failed",
        "o=success",
        "s=skipped",
        "t=success",
        "v=success",
        "way=success",
    ];
    assert_eq!(states, expected, "{} {} {}", ran.message("a"), ran.message("s"), ran.message("d"));
    assert_eq!(ran.returned("a"), Some(json!([true, "a", 5])));
    assert_eq!(ran.returned("d"), Some(json!([true, "d", [true, "a", 5]])));
    assert_eq!(ran.returned("v"), Some(json!({"mine": "1", "path": true})));
    assert_eq!(ran.returned("o"), Some(json!({"mine": "2", "path": false})));
    assert_eq!(ran.returned("t"), Some(json!(["x", "y"])));
    let said = ran.message("missing");
    assert!(said.contains("/no/such/python") && said.contains("`python`"), "{said}");
}

#[tokio::test]
async fn an_environment_is_made_for_a_task() {
    let place = tempfile::tempdir().expect("a folder");
    let wheel = place.path().join("tiny-1.0-py3-none-any.whl");
    // The smallest package that pip takes, so that no index is needed.
    let make = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    wheel.writestr('tiny.py', 'NAME = \"tiny\"')
    wheel.writestr('tiny-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n')
    wheel.writestr('tiny-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: hand\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('tiny-1.0.dist-info/RECORD', 'tiny.py,,\\ntiny-1.0.dist-info/METADATA,,\\ntiny-1.0.dist-info/WHEEL,,\\ntiny-1.0.dist-info/RECORD,,\\n')
";
    let made = Command::new("python3").args(["-c", make]).arg(&wheel).status().expect("python3 is there");
    assert!(made.success());
    let (wheel, cache) = (wheel.display(), place.path().join("cache it's"));
    let tasks = format!(
        "plain: {{operator: PythonVirtualenvOperator, python_callable: work.where}}
tiny: {{decorator: task.virtualenv, python_callable: work.tiny, requirements: ['{wheel}'], pip_install_options: [--no-index], system_site_packages: false}}
kept: {{operator: PythonVirtualenvOperator, python_callable: work.where, venv_cache_path: \"{cache}\"}}
again: {{operator: PythonVirtualenvOperator, python_callable: work.where, venv_cache_path: \"{cache}\", dependencies: [kept]}}
none: {{operator: PythonVirtualenvOperator, python_callable: work.tiny, requirements: no-such-package-of-anybody, pip_install_options: [--no-index]}}
old: {{operator: PythonVirtualenvOperator, python_callable: work.where, python_version: '2.1'}}
", cache = cache.display()
    );
    let ran = ran(&tasks).await;
    let mut states = ran.states.clone();
    states.sort();
    let expected = ["again=success", "kept=success", "none=failed", "old=failed", "plain=success", "tiny=success"];
    assert_eq!(states, expected, "{} {}", ran.message("plain"), ran.message("tiny"));
    let plain = ran.returned("plain").expect("it returned");
    assert_eq!(plain[1], json!(true));
    assert!(!std::path::Path::new(plain[0].as_str().expect("a path")).exists(), "it goes with its attempt");
    assert_eq!(ran.returned("tiny"), Some(json!("tiny")));
    assert_eq!(ran.returned("kept"), ran.returned("again"));
    assert!(ran.log("kept").contains("-m venv") && !ran.log("again").contains("-m venv"), "{}", ran.log("again"));
    let said = ran.message("none");
    assert!(said.contains("no-such-package-of-anybody") && said.contains("package index"), "{said}");
    assert!(ran.message("old").contains("python2.1"), "{}", ran.message("old"));
}
