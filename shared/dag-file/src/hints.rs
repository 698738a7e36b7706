//! What to do about a problem whose place says nothing better: every message has a hint.

/// The usual way out of a problem with this code.
pub(crate) fn usual(code: &str) -> &'static str {
    match code {
        "bad-id" => "use letters, digits, `_`, `-` and `.` only, 250 at most",
        "duplicate-id" => "give one of the two another name",
        "cycle" => "remove one of these dependencies, so that something can begin",
        "unknown-dependency" => "name a task or a group of this DAG",
        "unknown-group" => "add it to `task_groups`, or name one that is there",
        "too-deep" => "nest less deeply; names and anchors of their own make files flat",
        "too-large" => "cut it into several DAGs or files",
        "out-of-range" => "write a value within the bound",
        "missing-key" | "missing-argument" => "add it; `updraft dags schema` knows what belongs here",
        "unknown-timezone" => "write a name of the IANA database, such as `Europe/Berlin` or `UTC`",
        "schedule" => "write a cron expression such as `0 3 * * *`, a preset such as `@daily`, or `null`",
        "surprising-schedule" => "`updraft dags next-execution -n 5` shows what it comes to",
        "ignored-key" => "it does no harm; remove it to be rid of this warning",
        "broken-value" => "mend the error that is told of that value first",
        "yaml-value" => "put it in quotes if it is meant as text",
        "control-character" => "remove it; an editor that shows invisible characters finds it",
        "unknown-operator" => {
            "`updraft dags schema` lists the known ones; a BashOperator or a PythonOperator can often do the same meanwhile"
        }
        "bad-asset" => "write a URI such as `s3://bucket/key`, or `{__type__: airflow.sdk.Asset, name: orders}`",
        "bad-params" => "give the param another name",
        _ => "`updraft dags schema` knows what may stand here",
    }
}
