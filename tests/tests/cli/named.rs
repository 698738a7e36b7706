//! Variables and connections: kept, shown, hidden, exchanged.

use crate::harness::Place;
use crate::server::left;
use serde_json::json;

/// A secret that must never be where it was not asked for.
const SECRET: &str = "hunter22";

/// Runs a command with these names in its environment.
fn with_environment(place: &Place, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = place.command(arguments).envs(environment.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_variable_is_kept_shown_and_removed() {
    let place = left();
    let kept = "exit 0\n--- stdout\n--- stderr\nthe variable `region` was kept\n";
    assert_eq!(place.run(&["variables", "set", "region", "eu", "--description", "where"]), kept);
    assert_eq!(place.run(&["variables", "set", "db_password", SECRET]), kept.replace("region", "db_password"));
    assert_eq!(place.run(&["variables", "get", "region"]), "exit 0\n--- stdout\neu\n--- stderr\n");
    for (arguments, expected) in [
        (&["variables", "list", "-o", "json"][..], json!([{"key": "db_password"}, {"key": "region"}])),
        (
            &["variables", "list", "--show-values", "-o", "json"],
            json!([
                {"key": "db_password", "val": SECRET, "description": null},
                {"key": "region", "val": "eu", "description": "where"},
            ]),
        ),
        (
            &["variables", "list", "--show-values", "--hide-sensitive", "-o", "json"],
            json!([
                {"key": "db_password", "val": "***", "description": null},
                {"key": "region", "val": "***", "description": "where"},
            ]),
        ),
    ] {
        assert_eq!(place.json(arguments), expected, "{arguments:?}");
    }
    assert_eq!(
        place.run(&["variables", "delete", "regoin"]),
        "exit 1\n--- stdout\n--- stderr\nerror: the variable `regoin` does not exist\n  hint: did you mean `region`?\n"
    );
    assert_eq!(
        place.run(&["variables", "delete", "region"]),
        "exit 0\n--- stdout\n--- stderr\nthe variable `region` was removed\n"
    );
    let gone = place.run(&["variables", "get", "region"]);
    assert!(
        gone.starts_with("exit 1\n--- stdout\n--- stderr\nerror: the variable `region` does not exist\n"),
        "{gone}"
    );
    assert_eq!(place.run(&["variables", "get", "region", "--default", "us"]), "exit 0\n--- stdout\nus\n--- stderr\n");
}

#[test]
fn the_environment_goes_before_what_was_kept() {
    let place = left();
    place.run(&["variables", "set", "region", "eu"]);
    place.run(&["connections", "add", "db", "--conn-uri", "http://here"]);
    let environment = [("AIRFLOW_VAR_REGION", "us"), ("AIRFLOW_CONN_DB", r#"{"conn_type": "http", "host": "there"}"#)];
    let (status, stdout, _) = with_environment(&place, &["variables", "get", "region"], &environment);
    assert_eq!((status, stdout.as_str()), (Some(0), "us\n"));
    let (_, stdout, _) = with_environment(&place, &["connections", "get", "db", "-o", "json"], &environment);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stdout).unwrap()[0]["host"], "there");
    let (_, _, stderr) = with_environment(&place, &["variables", "set", "region", "x"], &environment);
    assert!(stderr.starts_with("note: the environment has `AIRFLOW_VAR_REGION`, which goes before"), "{stderr}");
    let broken = [("AIRFLOW_CONN_DB", "http://u:hunter22@h:many")];
    let (status, stdout, stderr) = with_environment(&place, &["connections", "get", "db"], &broken);
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("AIRFLOW_CONN_DB") && stderr.contains("the port is no number"), "{stderr}");
    assert!(!stderr.contains(SECRET), "{stderr}");
}

#[test]
fn json_is_json_only_where_asked_for() {
    let place = left();
    place.run(&["variables", "set", "settings", r#"{"a": [1]}"#]);
    assert_eq!(place.run(&["variables", "get", "settings"]), "exit 0\n--- stdout\n{\"a\": [1]}\n--- stderr\n");
    assert_eq!(place.json(&["variables", "get", "settings", "--json"]), json!({"a": [1]}));
    place.run(&["variables", "set", "text", "hunter22", "--json"]);
    assert_eq!(place.run(&["variables", "get", "text"]), "exit 0\n--- stdout\n\"hunter22\"\n--- stderr\n");
    place.run(&["variables", "set", "text", "hunter22"]);
    let said = place.run(&["variables", "get", "text", "--json"]);
    assert!(said.contains("error: the value of the variable `text` is no JSON"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}

#[test]
fn a_connection_is_kept_shown_and_removed() {
    let place = left();
    let added =
        place.run(&["connections", "add", "db", "--conn-uri", "postgresql://ann:hunter22@h:5432/d?token=hunter22"]);
    let expected = "exit 0\n--- stdout\nconn_id  conn_type  host  login  port  extra\ndb       postgres   h     ann    5432  ***\n\
                    --- stderr\nthe connection `db` was kept\n";
    assert_eq!(added, expected);
    let names = json!([{"conn_id": "db", "conn_type": "postgres"}]);
    assert_eq!(place.json(&["connections", "list", "-o", "json"]), names);
    for arguments in
        [&["connections", "list", "--show-values", "--hide-sensitive", "-o", "json"][..], &["connections", "list"]]
    {
        let said = place.run(arguments);
        assert!(!said.contains(SECRET), "{said}");
    }
    let shown = place.json(&["connections", "get", "db", "-o", "json"]);
    let expected = json!([{
        "conn_id": "db", "conn_type": "postgres", "description": null, "host": "h", "schema": "d", "login": "ann", "password": SECRET,
        "port": 5432, "is_encrypted": false, "is_extra_encrypted": false, "extra_dejson": {"token": SECRET},
        "get_uri": "postgres://ann:hunter22@h:5432/d?token=hunter22",
    }]);
    assert_eq!(shown, expected);
    let again = place.run(&["connections", "add", "db", "--conn-type", "http"]);
    assert!(
        again.starts_with("exit 1\n--- stdout\n--- stderr\nerror: there is a connection `db` already\n"),
        "{again}"
    );
    let tested = place.run(&["connections", "test", "db"]);
    assert!(
        tested.starts_with("exit 1\n--- stdout\n--- stderr\nerror: the connection `db` was found, but not tested\n"),
        "{tested}"
    );
    assert_eq!(
        place.run(&["connections", "delete", "db"]),
        "exit 0\n--- stdout\n--- stderr\nthe connection `db` was removed\n"
    );
    assert_eq!(place.json(&["connections", "list", "-o", "json"]), json!([]));
}

/// What is wrong with a connection is said without its password.
#[test]
fn a_connection_that_is_none_is_refused() {
    let place = left();
    for (arguments, status, said) in [
        (&["c"][..], 2, "--conn-type <TYPE>"),
        (&["c", "--conn-uri", "http://h", "--conn-host", "h"], 2, "cannot be used with"),
        (&["c", "--conn-type", "http", "--conn-port", "many"], 2, "invalid digit"),
        (&["c", "--conn-uri", "hunter22"], 1, "there is no `://`"),
        (&["c", "--conn-uri", "http://u:hunter22@h:x"], 1, "the port is no number"),
        (&["c", "--conn-json", "hunter22"], 1, "it is no JSON (line 1"),
        (&["c", "--conn-json", r#"{"conn_type": "x", "pasword": "hunter22"}"#], 1, "`pasword` is no field"),
        (&["c", "--conn-json", r#"{"host": "h"}"#], 1, "has no conn_type"),
        (&["c", "--conn-type", "http", "--conn-extra", "hunter22"], 1, "is no JSON object"),
        (&["c c", "--conn-type", "http"], 1, "may only have letters"),
    ] {
        let output = place.output(&[&["connections", "add"], arguments].concat());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said) && output.stdout.is_empty(), "{arguments:?}: {stderr}");
        assert!(!stderr.contains(SECRET), "{stderr}");
    }
    assert_eq!(place.json(&["connections", "list", "-o", "json"]), json!([]));
}

#[test]
fn what_is_exported_is_imported_elsewhere() {
    let (from, to) = (left(), left());
    from.run(&["variables", "set", "a", "{\"value\": 1}", "--description", "x"]);
    from.run(&["variables", "set", "b", "text"]);
    from.run(&["connections", "add", "c", "--conn-uri", "http://https://u:p%2Fw@h:80/s?__extra__=%7B%22n%22%3A+1%7D"]);
    from.run(&["connections", "add", "d", "--conn-json", r#"{"conn_type": "aws", "extra": {"region_name": "eu"}}"#]);
    let all = |place: &Place| {
        (
            place.json(&["variables", "list", "--show-values", "-o", "json"]),
            place.json(&["connections", "list", "--show-values", "-o", "json"]),
        )
    };
    let path = |name: &str| from.path().join(name).display().to_string();
    let exported = from.run(&["variables", "export", "v.json"]);
    assert_eq!(
        exported,
        "exit 0\n--- stdout\n--- stderr\nwrote 2 variables; the file holds their values as they are\n"
    );
    assert_eq!(
        to.run(&["variables", "import", &path("v.json")]),
        "exit 0\n--- stdout\n--- stderr\nkept 2 of 2 variables\n"
    );
    for name in ["c.json", "c.yaml", "c.env"] {
        from.run(&["connections", "export", name]);
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(from.path().join(name)).unwrap());
        assert_eq!(mode & 0o777, 0o600, "an export holds passwords");
        to.run(&["connections", "import", "--overwrite", &path(name)]);
        let mut expected = all(&from);
        if name == "c.env" {
            // A URI tells an empty host from none as little as Airflow's does.
            for key in ["host", "schema"] {
                expected.1[1][key] = json!("");
            }
        }
        assert_eq!(all(&to), expected, "{name}");
    }
    let refused = to.run(&["variables", "import", &path("v.json"), "--action-on-existing-key", "fail"]);
    assert!(refused.contains("cause: there are variables `a`, `b` already"), "{refused}");
    let skipped = to.run(&["connections", "import", &path("c.json")]);
    assert!(
        skipped.contains("skipped `d`: it is there already; `--overwrite` writes over it\nkept 1 of 2"),
        "{skipped}"
    );
}

#[test]
fn a_file_with_a_mistake_changes_nothing() {
    let place = left();
    place.write("typo.json", r#"{"a": {"conn_type": "http"}, "b": {"conn_tipe": "hunter22"}}"#);
    place.write("half.json", r#"{"a": "hunter22"#);
    place.write("list.yaml", "- hunter22\n");
    place.write("a.txt", "hunter22");
    place.write("a.env", "hunter22\n");
    for (file, said) in [
        ("typo.json", "`conn_tipe` is no field of a connection"),
        ("half.json", "it is no JSON: line 1, column"),
        ("list.yaml", "it must be a mapping"),
        ("a.txt", "its name does not tell what it is"),
        ("a.env", "line 1 has no `=`"),
        ("none.json", "No such file"),
    ] {
        let output = place.output(&["connections", "import", file]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{file}: {stderr}");
        assert!(stderr.contains(said) && !stderr.contains(SECRET), "{file}: {stderr}");
    }
    assert_eq!(place.json(&["connections", "list", "-o", "json"]), json!([]));
}
