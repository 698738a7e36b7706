//! What holds for any text.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Lines from which random files are put together: enough sense to get past the parser.
fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "etl",
        "default",
        "tasks",
        "schedule",
        "start_date",
        "default_args",
        "operator",
        "dependencies",
        "retries",
        "retry_delay",
        "params",
        "bash_command",
        "expand",
        "<<",
        "1",
        "timezone",
        "__type__",
        "tags",
        "t",
        "python_callable_file",
    ]);
    let value = prop::sample::select(vec![
        "",
        "x",
        "[a, b]",
        "{a: b}",
        "&a",
        "*a",
        "'@daily'",
        "2025-01-01",
        "5m",
        "{{ ds }}",
        "BashOperator",
        "EmptyOperator",
        "PythonOperator",
        "null",
        "1:30",
        "!!int x",
        "{__type__: datetime.timedelta, hours: 1}",
        "|",
        "\"",
        "[t]",
        "-1",
        "$A",
        ".nan",
    ]);
    (0usize..5, key, value, any::<bool>()).prop_map(|(depth, key, value, dash)| {
        format!("{}{}{key}: {value}\n", "  ".repeat(depth), if dash { "- " } else { "" })
    })
}

/// Tasks `t0` to `tn` with dependencies among them, any of which may close a cycle.
fn graph() -> impl Strategy<Value = Vec<BTreeSet<usize>>> {
    (1usize..8).prop_flat_map(|n| prop::collection::vec(prop::collection::btree_set(0..n, 0..3), n))
}

fn text_of(upstream: &[BTreeSet<usize>], order: &[usize]) -> String {
    let task = |i: &usize| {
        let names: Vec<String> = upstream[*i].iter().map(|j| format!("t{j}")).collect();
        format!("    t{i}: {{dependencies: [{}], operator: EmptyOperator}}\n", names.join(", "))
    };
    format!("etl:\n  tasks:\n{}", order.iter().map(task).collect::<String>())
}

fn edges(dag: &Dag) -> BTreeSet<(String, String)> {
    let id = |i: usize| dag.tasks[i].task_id.to_string();
    let of = |(i, task): (usize, &Task)| task.upstream.iter().map(|u| (id(u.at()), id(i))).collect::<Vec<_>>();
    dag.tasks.iter().enumerate().flat_map(of).collect()
}

fn check_order(dag: &Dag) {
    for (i, task) in dag.tasks.iter().enumerate() {
        assert!(task.upstream.is_sorted() && task.upstream.iter().all(|u| u.at() < i), "{:?}", task.upstream);
    }
}

fn check(bytes: &[u8]) {
    let mut options = options();
    options.env.insert("A".into(), "b\nc".into());
    let loaded = load("f.yaml", bytes, &options);
    let text = String::from_utf8_lossy(bytes);
    for problem in &loaded.diagnostics {
        assert!(problem.line >= 1 && problem.column >= 1, "{problem:?}");
        assert!(problem.line as usize <= text.lines().count() + 1, "{problem:?}");
        assert!(!problem.render(&text, true).is_empty());
        // No message grows with the file.
        assert!(problem.message.len() < 2000, "{}", problem.message.len());
    }
    for dag in &loaded.dags {
        let id = Some(dag.dag_id.as_str());
        assert!(!loaded.diagnostics.iter().any(|d| d.is_error() && (d.dag_id.is_none() || d.dag_id.as_deref() == id)));
        check_order(dag);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn any_text_is_answered(text in "[ -~\n]{0,200}|\\PC{0,100}") {
        check(text.as_bytes());
    }

    #[test]
    fn any_lines_are_answered(lines in prop::collection::vec(line(), 0..15)) {
        check(lines.concat().as_bytes());
        let inside: Vec<&str> = lines.iter().map(|l| l.trim_start()).collect();
        check(in_task(&inside.concat()).as_bytes());
    }

    #[test]
    fn the_order_of_tasks_and_keys_does_not_change_the_edges(upstream in graph(), seed in any::<u64>()) {
        let forward: Vec<usize> = (0..upstream.len()).collect();
        let mut shuffled = forward.clone();
        shuffled.sort_by_key(|i| (*i as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
        let (one, other) = (loaded(&text_of(&upstream, &forward)), loaded(&text_of(&upstream, &shuffled)));
        prop_assert_eq!(one.dags.len(), other.dags.len());
        let expected: BTreeSet<(String, String)> = upstream
            .iter()
            .enumerate()
            .flat_map(|(i, ups)| ups.iter().map(move |j| (format!("t{j}"), format!("t{i}"))))
            .collect();
        for dag in one.dags.iter().chain(&other.dags) {
            prop_assert_eq!(&edges(dag), &expected);
            check_order(dag);
        }
        let is_cyclic = !forward.iter().fold((forward.clone(), false), |(left, _), _| {
            let next: Vec<usize> = left.iter().copied().filter(|i| upstream[*i].iter().any(|u| left.contains(u))).collect();
            (next, false)
        }).0.is_empty();
        prop_assert_eq!(one.dags.is_empty(), is_cyclic);
    }
}

#[test]
fn ten_thousand_tasks_are_loaded() {
    let task = |i: usize| {
        let upstream = if i == 0 { String::new() } else { format!("t{}, t{}", i - 1, i / 2) };
        format!(
            "    t{i}:\n      operator: BashOperator\n      bash_command: echo {i}\n      dependencies: [{upstream}]\n"
        )
    };
    let dag = dag(&format!("etl:\n  tasks:\n{}", repeated(10_000, task)));
    assert_eq!(dag.tasks.len(), 10_000);
    assert_eq!(dag.tasks[9_999].task_id.as_str(), "t9999");
}
