//! Tasks that ask people.

use super::*;

#[test]
fn what_people_cannot_be_asked_is_refused_where_it_stands() {
    for (task, key, says) in [
        ("operator: HITLOperator\nsubject: s\noptions: []", "options", "cannot be empty"),
        ("operator: HITLOperator\nsubject: s\noptions: [a]\ndefaults: b", "defaults", "`b`"),
        ("operator: HITLOperator\nsubject: s\noptions: [a, b]\ndefaults: [a, b]", "defaults", "one only"),
        ("operator: ApprovalOperator\nsubject: s\ndefaults: approve", "defaults", "`approve`"),
        ("operator: HITLEntryOperator\nsubject: s\ndefaults: Ok", "defaults", "`Ok`"),
        ("operator: HITLBranchOperator\nsubject: s\noptions: [a]\noptions_mapping: {b: t}", "options_mapping", "`b`"),
        ("operator: HITLBranchOperator\nsubject: s\noptions: [a]\noptions_mapping: {a: 1}", "options_mapping", "`a`"),
        ("operator: HITLOperator\nsubject: s\noptions: [a]\nparams: {_options: 1}", "params", "`_options`"),
        ("operator: ApprovalOperator\nsubject: s\noptions: [a]", "options", "options"),
    ] {
        let found = error(&in_task(task));
        assert!(found.message.contains(says), "{task}: {}", found.message);
        assert!(found.key_path.contains(key), "{task}: {}", found.key_path);
    }
}

#[test]
fn what_people_can_be_asked_is_kept_with_its_form() {
    let task = task_with(
        "operator: HITLOperator\nsubject: s\noptions: [a, b]\nmultiple: true\ndefaults: [a, b]\nresponse_timeout: 5m\n\
         params: {n: {__type__: airflow.sdk.Param, default: 1, type: integer}, plain: x}",
    );
    assert_eq!(task.arguments["response_timeout"], 300.0);
    assert_eq!((&task.params["n"], &task.params["plain"]), (&1.into(), &"x".into()));
    assert_eq!(task.param_schemas["n"]["type"], "integer");
    let loaded = loaded(&in_task("operator: ApprovalOperator\nsubject: s\nnotifiers: [a.b]"));
    assert_eq!(loaded.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), ["ignored-key"]);
}
