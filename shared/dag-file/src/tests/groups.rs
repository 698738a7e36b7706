//! Task groups, and edges between them.

use super::*;
use std::collections::BTreeSet;

pub(super) fn edges(dag: &Dag) -> BTreeSet<String> {
    let name = |i: usize| dag.tasks[i].task_id.as_str();
    let of = |(i, task): (usize, &Task)| {
        task.upstream.iter().map(|u| format!("{} {}", name(u.at()), name(i))).collect::<Vec<_>>()
    };
    dag.tasks.iter().enumerate().flat_map(of).collect()
}

/// A DAG with these groups, and empty tasks of which each line gives the name and other keys.
pub(super) fn grouped(groups: &str, tasks: &[(&str, &str)]) -> Dag {
    let task = |i: usize| format!("    {}: {{operator: EmptyOperator{}}}\n", tasks[i].0, tasks[i].1);
    let tasks = repeated(tasks.len(), task);
    dag(&format!("etl:\n  task_groups: {groups}\n  tasks:\n{tasks}"))
}

#[test]
fn ids_begin_with_the_groups_unless_one_says_no() {
    let dag = grouped(
        "{inner: {parent_group_name: outer}, outer: {tooltip: T}, bare: {prefix_group_id: false, parent_group_name: outer}}",
        &[
            ("a", ", task_group_name: outer"),
            ("b", ", task_group_name: inner"),
            ("c", ", task_group_name: bare"),
            ("d", ""),
        ],
    );
    let tasks: Vec<(&str, Option<&str>)> = dag.tasks.iter().map(|t| (t.task_id.as_str(), t.group.as_deref())).collect();
    assert_eq!(
        tasks,
        [("outer.a", Some("outer")), ("outer.inner.b", Some("outer.inner")), ("c", Some("outer.bare")), ("d", None)]
    );
    let groups: Vec<(&str, Option<&str>, &str)> =
        dag.groups.iter().map(|g| (g.group_id.as_str(), g.parent.as_deref(), g.tooltip.as_str())).collect();
    assert_eq!(groups, [("outer", None, "T"), ("outer.inner", Some("outer"), ""), ("outer.bare", Some("outer"), "")]);
}

#[test]
fn groups_may_be_a_list_and_may_be_empty() {
    let dag = grouped("[{group_name: g, tooltip: x}, {group_name: h}]", &[("a", ", task_group_name: g")]);
    assert_eq!(dag.tasks[0].task_id.as_str(), "g.a");
    assert_eq!(dag.groups.len(), 2);
    assert!(dag_with("task_groups: {}").groups.is_empty() && dag_with("task_groups: null").groups.is_empty());
}

#[test]
fn a_dependency_on_a_group_waits_for_its_last_tasks_and_one_of_a_group_holds_back_its_first() {
    let dag = grouped(
        "{g: {dependencies: [start]}, h: {dependencies: [g]}}",
        &[
            ("start", ""),
            ("g1", ", task_group_name: g"),
            ("g2", ", task_group_name: g, dependencies: [g1]"),
            ("g3", ", task_group_name: g"),
            ("h1", ", task_group_name: h"),
            ("h2", ", task_group_name: h, dependencies: [h1]"),
            ("end", ", dependencies: [h, start]"),
        ],
    );
    let expected =
        ["start g.g1", "start g.g3", "g.g1 g.g2", "g.g2 h.h1", "g.g3 h.h1", "h.h1 h.h2", "h.h2 end", "start end"];
    assert_eq!(edges(&dag), expected.map(str::to_owned).into());
}

#[test]
fn edges_between_inner_groups_count_for_the_outer_ones_whatever_the_order() {
    for order in [["a", "b", "outer"], ["outer", "b", "a"], ["b", "outer", "a"]] {
        let of = |name: &str| match name {
            "a" => "a: {parent_group_name: outer}",
            "b" => "b: {parent_group_name: outer, dependencies: [a]}",
            _ => "outer: {dependencies: [first]}",
        };
        let groups = format!("{{{}}}", order.map(of).join(", "));
        let dag = grouped(
            &groups,
            &[
                ("last", ", dependencies: [outer]"),
                ("x", ", task_group_name: a"),
                ("y", ", task_group_name: b"),
                ("first", ""),
            ],
        );
        let expected = ["first outer.a.x", "outer.a.x outer.b.y", "outer.b.y last"];
        assert_eq!(edges(&dag), expected.map(str::to_owned).into(), "{groups}");
    }
}

#[test]
fn tasks_are_named_by_their_short_names_or_by_their_ids() {
    for name in ["a", "g.a"] {
        let dag = grouped("{g: {}}", &[("a", ", task_group_name: g"), ("b", &format!(", dependencies: [{name}]"))]);
        assert_eq!(edges(&dag), ["g.a b".to_owned()].into());
    }
}

#[test]
fn default_arguments_of_groups_come_over_those_around_them() {
    let dag = dag_with(
        "default_args: {retries: 1, owner: dag, bash_command: all}\n\
         task_groups:\n  o: {default_args: {owner: outer, retry_delay: 10}}\n  i: {parent_group_name: o, default_args: {owner: inner, bash_command: some}}\n\
         tasks:\n  a: {operator: BashOperator, task_group_name: i}\n  b: {operator: BashOperator, task_group_name: o}\n  \
         c: {operator: BashOperator}\n  d: {operator: BashOperator, task_group_name: i, owner: own}",
    );
    let of = |task: &Task| {
        (task.owner.clone(), task.retries, task.retry_delay.as_secs(), task.arguments["bash_command"].clone())
    };
    let [a, b, c, d] = &dag.tasks[..] else { panic!() };
    assert_eq!(of(a), ("inner".into(), 1, 10, "some".into()));
    assert_eq!(of(b), ("outer".into(), 1, 10, "all".into()));
    assert_eq!(of(c), ("dag".into(), 1, 300, "all".into()));
    assert_eq!(of(d), ("own".into(), 1, 10, "some".into()));
}

#[test]
fn dependencies_through_groups_that_come_round_are_found() {
    let text = "etl:\n  task_groups: {g: {dependencies: [b]}}\n  tasks:\n    a: {operator: EmptyOperator, task_group_name: g}\n    \
                b: {operator: EmptyOperator, dependencies: [g]}\n";
    let found = error(text);
    assert_eq!((found.code, found.line), ("cycle", 4));
    assert!(found.message.contains("`g.a` -> `b` -> `g.a`"), "{}", found.message);
}

#[test]
fn edges_between_large_groups_are_bounded() {
    let tasks = repeated(4_000, |i| {
        format!("    t{i}: {{operator: EmptyOperator, task_group_name: {}}}\n", if i % 2 == 0 { "g" } else { "h" })
    });
    let found = error(&format!("etl:\n  task_groups: {{g: {{}}, h: {{dependencies: [g]}}}}\n  tasks:\n{tasks}"));
    assert_eq!(found.code, "too-large");
}
