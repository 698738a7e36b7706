//! Setups, teardowns, and `fail_fast`.

use super::groups::{edges, grouped};
use super::*;
use updraft_model::TriggerRule;

#[test]
fn tasks_are_setups_and_teardowns_as_they_say() {
    let dag = dag(&in_dag(
        "tasks:\n  make: {operator: EmptyOperator, is_setup: true}\n  work: {operator: EmptyOperator, dependencies: [make]}\n  \
         remove: {operator: EmptyOperator, is_teardown: true, on_failure_fail_dagrun: yes, dependencies: [make, work]}\n  \
         plain: {operator: EmptyOperator, is_setup: null, is_teardown: false}",
    ));
    let of = |task: &Task| (task.is_setup, task.is_teardown, task.on_failure_fail_dagrun, task.trigger_rule);
    let found: Vec<_> = dag.tasks.iter().map(|task| (task.task_id.as_str(), of(task))).collect();
    let plain = (false, false, false, TriggerRule::AllSuccess);
    assert_eq!(
        found,
        [
            ("make", (true, false, false, TriggerRule::AllSuccess)),
            ("work", plain),
            ("remove", (false, true, true, TriggerRule::AllDoneSetupSuccess)),
            ("plain", plain),
        ]
    );
}

#[test]
fn a_teardown_has_one_trigger_rule_whatever_it_is_given() {
    for rule in TriggerRule::ALL {
        let loaded = loaded(&in_task(&format!("operator: EmptyOperator\nis_teardown: true\ntrigger_rule: {rule}")));
        assert_eq!(loaded.dags[0].tasks[0].trigger_rule, TriggerRule::AllDoneSetupSuccess);
        assert_eq!(loaded.diagnostics.len(), usize::from(*rule != TriggerRule::AllDoneSetupSuccess), "{rule}");
    }
    // What default arguments say is said of all tasks, so it is no mistake.
    let text =
        in_dag("default_args: {trigger_rule: all_done}\ntasks: {a: {operator: EmptyOperator, is_teardown: true}}");
    let loaded = loaded(&text);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    assert_eq!(loaded.dags[0].tasks[0].trigger_rule, TriggerRule::AllDoneSetupSuccess);
}

#[test]
fn what_contradicts_itself_is_refused_where_it_stands() {
    let both = error(&in_task("operator: EmptyOperator\nis_setup: true\nis_teardown: true"));
    assert_eq!(both.code, "setup-teardown");
    assert!(both.key_path.ends_with(".is_teardown"), "{}", both.key_path);
    let none = error(&in_task("operator: EmptyOperator\non_failure_fail_dagrun: true"));
    assert_eq!(none.code, "setup-teardown");
    assert!(none.message.contains("is none"), "{}", none.message);
    let lent = loaded(&in_dag("default_args: {is_setup: true}\ntasks: {a: {operator: EmptyOperator}}"));
    assert!(!lent.dags[0].tasks[0].is_setup);
    assert_eq!(lent.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), ["ignored-key"]);
}

#[test]
fn what_is_right_below_a_setup_waits_for_its_success() {
    let with = |rule: TriggerRule, more: &str| {
        in_dag(&format!(
            "tasks:\n  make: {{operator: EmptyOperator, is_setup: true}}\n  work: {{operator: EmptyOperator, dependencies: [make], \
             trigger_rule: {rule}{more}}}\n  below: {{operator: EmptyOperator, dependencies: [work], trigger_rule: {rule}}}"
        ))
    };
    for rule in TriggerRule::ALL {
        assert!(
            with(*rule, ", is_teardown: true").contains("work")
                && loaded(&with(*rule, ", is_teardown: true")).dags.len() == 1
        );
        if *rule == TriggerRule::AllSuccess {
            assert_eq!(loaded(&with(*rule, "")).dags.len(), 1);
            continue;
        }
        let found = error(&with(*rule, ""));
        assert_eq!((found.code, found.key_path.as_str()), ("trigger-rule", "etl.tasks.work.trigger_rule"), "{rule}");
        assert!(found.message.contains("`work`") && found.message.contains("`make`"), "{}", found.message);
    }
    // A rule that the task has from elsewhere is told of the task.
    let lent = error(&in_dag(
        "default_args: {trigger_rule: all_done}\ntasks:\n  make: {operator: EmptyOperator, is_setup: true}\n  \
         work: {operator: EmptyOperator, dependencies: [make]}",
    ));
    assert_eq!((lent.code, lent.key_path.as_str()), ("trigger-rule", "etl.tasks.work"));
}

#[test]
fn a_group_with_a_teardown_is_waited_for_up_to_its_work() {
    let tasks = [
        ("make", ", task_group_name: g, is_setup: true"),
        ("work", ", task_group_name: g, dependencies: [make]"),
        ("remove", ", task_group_name: g, is_teardown: true, dependencies: [make, work]"),
        ("after", ", dependencies: [g]"),
    ];
    let expected = ["g.make g.work", "g.make g.remove", "g.work g.remove", "g.work after"];
    assert_eq!(edges(&grouped("{g: {}}", &tasks)), expected.map(str::to_owned).into());
    // Two teardowns in a row, and work that goes on elsewhere inside: that is waited for by itself.
    let tasks = [
        ("work", ", task_group_name: g"),
        ("more", ", task_group_name: g, dependencies: [work]"),
        ("first", ", task_group_name: g, is_teardown: true, dependencies: [work]"),
        ("second", ", task_group_name: g, is_teardown: true, dependencies: [first]"),
        ("after", ", dependencies: [g]"),
    ];
    let expected = ["g.work g.more", "g.work g.first", "g.first g.second", "g.more after"];
    assert_eq!(edges(&grouped("{g: {}}", &tasks)), expected.map(str::to_owned).into());
    // Nothing but setup and teardown: there is nothing to wait for.
    let tasks = [
        ("make", ", task_group_name: g, is_setup: true"),
        ("remove", ", task_group_name: g, is_teardown: true, dependencies: [make]"),
        ("after", ", dependencies: [g]"),
    ];
    assert_eq!(edges(&grouped("{g: {}}", &tasks)), ["g.make g.remove".to_owned()].into());
}

#[test]
fn with_fail_fast_every_task_runs_by_all_success() {
    for rule in TriggerRule::ALL {
        let text = in_dag(&format!("fail_fast: true\ntasks: {{a: {{operator: EmptyOperator, trigger_rule: {rule}}}}}"));
        if matches!(rule, TriggerRule::AllSuccess | TriggerRule::AllDoneSetupSuccess) {
            assert_eq!(loaded(&text).dags.len(), 1);
        } else {
            let found = error(&text);
            assert_eq!((found.code, found.key_path.as_str()), ("trigger-rule", "etl.tasks.a.trigger_rule"));
        }
    }
    let teardown = "fail_fast: true\ntasks: {a: {operator: EmptyOperator, trigger_rule: all_done, is_teardown: true}}";
    assert_eq!(loaded(&in_dag(teardown)).dags.len(), 1);
}
