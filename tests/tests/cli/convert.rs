//! `updraft dags convert`, with a stand-in for the Python environment: the real one takes minutes and the network to make.

use crate::harness::Place;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

const YAML: &str = "etl:\n  schedule: null\n  tasks:\n    a: {operator: EmptyOperator}\n";

/// A place whose converter writes this YAML and gives this answer, in which `YAML` stands for the YAML's path.
fn place(yaml: &str, answer: &str) -> Place {
    let place = Place::new();
    let python = "cache/updraft/converter-0.1.4/bin/python";
    place.write("yaml", yaml);
    place.write("answer", answer);
    let folder = place.path().display();
    place.write(
        python,
        &format!("#!/bin/sh\ncp {folder}/yaml \"$3/etl.yaml\"\nsed \"s|YAML|$3/etl.yaml|\" {folder}/answer > \"$4\"\n"),
    );
    let path = place.path().join(python);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    place.write("dags/etl.py", "from airflow.sdk import DAG\n");
    place
}

fn convert(place: &Place, arguments: &[&str]) -> Output {
    let mut command = place.command(&[&["dags", "convert", "dags/etl.py"], arguments].concat());
    command.env("XDG_CACHE_HOME", place.path().join("cache")).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_converted_is_checked_and_what_it_lacks_is_listed() {
    let answer = r#"{"refused": null, "dags": [{"dag_id": "etl", "file": "YAML", "notes": ["mind this"],
        "lost": [{"what": "`access_control` of the DAG", "line": 3}, {"what": "the task group `g`", "line": null}]}]}"#;
    let place = place(YAML, answer);
    let done = convert(&place, &[]);
    let expected = "\
converting
note: mind this
lost of the DAG `etl`:
  - `access_control` of the DAG (dags/etl.py:3)
  - the task group `g`
`dags/etl.yaml` has the DAGs etl
1 DAG file: 0 errors, 0 warnings
";
    assert_eq!((done.status.code(), said(&done).as_str()), (Some(0), expected));
    let written = std::fs::read_to_string(place.path().join("dags/etl.yaml")).unwrap();
    assert_eq!(written, format!("# Converted from etl.py.\n{YAML}"));
    // Nobody's file is written over unasked.
    let again = convert(&place, &[]);
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("`--force`"), "{}", said(&again));
    assert_eq!(convert(&place, &["--force"]).status.code(), Some(0));
    let piped = convert(&place, &["--to", "-"]);
    assert_eq!(String::from_utf8_lossy(&piped.stdout), written);
}

#[test]
fn yaml_with_errors_is_written_and_its_errors_are_shown() {
    let place = place(
        "etl:\n  tasks:\n    a: {}\n",
        r#"{"refused": null, "dags": [{"dag_id": "etl", "file": "YAML", "notes": [], "lost": []}]}"#,
    );
    let done = convert(&place, &[]);
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("dags/etl.yaml:4:5: error: "), "{}", said(&done));
    assert!(place.path().join("dags/etl.yaml").exists());
}

#[test]
fn a_refusal_says_why_and_where() {
    let place =
        place(YAML, r#"{"refused": {"reason": "no such thing", "line": 7, "hint": "try another"}, "dags": []}"#);
    let done = convert(&place, &[]);
    let expected = "converting\nerror: `dags/etl.py` was not converted\n  cause: dags/etl.py:7: no such thing\n  hint: try another\n";
    assert_eq!((done.status.code(), said(&done).as_str()), (Some(1), expected));
    assert!(!place.path().join("dags/etl.yaml").exists());
}

#[test]
fn what_is_no_python_file_is_wrong_use() {
    let place = place(YAML, "");
    for (file, why) in [("dags/gone.py", "there is no file"), ("yaml", "is no Python file")] {
        let output = place.output(&["dags", "convert", file]);
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains(why), "{}", said(&output));
    }
}
