//! What holds for any text.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use updraft_model::TriggerRule;

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

pub(super) fn check(bytes: &[u8]) {
    let mut options = options();
    options.env.insert("A".into(), "b\nc".into());
    let loaded = load("f.yaml", bytes, &options);
    let text = String::from_utf8_lossy(bytes);
    for problem in &loaded.diagnostics {
        assert!(problem.line >= 1 && problem.column >= 1, "{problem:?}");
        assert!(problem.line as usize <= text.lines().count() + 1, "{problem:?}");
        assert!(!problem.render(&text, true).is_empty());
        assert!(problem.hint.as_ref().is_some_and(|hint| !hint.is_empty()), "{problem:?}");
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

/// A DAG as the model has it, made of parts that a file can say.
fn model() -> impl Strategy<Value = Dag> {
    let task = (
        prop::sample::select(vec!["ann", "bob", "true", "1", "null", "a: b", "é\n#"]),
        0u32..5,
        0i64..100_000,
        prop::sample::select(TriggerRule::ALL.to_vec()),
        prop::option::of(1i64..10_000),
        "[ -~]{0,12}",
        any::<bool>(),
        0u32..4,
    );
    let dag = (graph(), prop::collection::vec(task, 8), any::<bool>(), prop::option::of(1u32..9), "[ -~\n]{0,20}");
    dag.prop_map(|(upstream, tasks, catchup, max_active_runs, description)| {
        let groups = ["g", "h"];
        let made = upstream.iter().zip(tasks).enumerate().map(|(i, (ups, task))| {
            let (owner, retries, delay, trigger_rule, timeout, command, depends_on_past, group) = task;
            // Upstreams of a higher number would close circles.
            let before = ups.iter().filter(|up| **up < i).map(|up| updraft_model::TaskIndex(*up as u32));
            let group = groups.get(group as usize).map(|g| (*g).to_owned());
            let id = group.as_ref().map_or_else(|| format!("t{i}"), |g| format!("{g}.t{i}"));
            let mut arguments = serde_json::Map::new();
            arguments.insert("bash_command".to_owned(), command.into());
            Task {
                owner: owner.to_owned(),
                retries,
                retry_delay: jiff::SignedDuration::from_millis(delay),
                trigger_rule,
                execution_timeout: timeout.map(jiff::SignedDuration::from_secs),
                depends_on_past,
                upstream: before.collect(),
                group,
                arguments,
                ..Task::new(
                    updraft_model::TaskId::trusted(id),
                    "airflow.providers.standard.operators.bash.BashOperator",
                )
            }
        });
        let made: Vec<Task> = made.collect();
        Dag {
            catchup,
            max_active_runs,
            description: Some(description),
            ..Dag::new(updraft_model::DagId::trusted("etl"), made)
        }
    })
}

/// A DAG as a file, its keys and tasks in an order drawn from `seed`. JSON is YAML, but for characters beyond ASCII.
fn rendered(dag: &Dag, seed: u64) -> String {
    let short = |task: &Task| task.task_id.as_str().rsplit('.').next().unwrap_or_default().to_owned();
    let mut tasks: Vec<(String, serde_json::Value)> = dag
        .tasks
        .iter()
        .map(|task| {
            let upstream: Vec<String> = task.upstream.iter().map(|u| short(&dag.tasks[u.at()])).collect();
            let value = serde_json::json!({
                "operator": task.operator, "dependencies": upstream, "owner": task.owner, "retries": task.retries,
                "retry_delay": task.retry_delay.as_secs_f64(), "trigger_rule": task.trigger_rule.as_str(),
                "execution_timeout": task.execution_timeout.map(|t| format!("{}s", t.as_secs())),
                "depends_on_past": task.depends_on_past, "task_group_name": task.group,
                "bash_command": task.arguments["bash_command"],
            });
            (short(task), value)
        })
        .collect();
    let place =
        |name: &str| name.bytes().fold(seed | 1, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()).rotate_left(7));
    tasks.sort_by_key(|(name, _)| place(name));
    let tasks: Vec<String> = tasks.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let mut keys = [
        format!("tasks: {{{}}}", tasks.join(", ")),
        "task_groups: {g: {}, h: {}}".to_owned(),
        format!("catchup: {}", dag.catchup),
        format!("max_active_runs: {}", dag.max_active_runs.map_or_else(|| "null".to_owned(), |n| n.to_string())),
        format!("description: {}", serde_json::json!(dag.description)),
    ];
    keys.sort_by_key(|key| place(key));
    format!("etl:\n  {}\n", keys.join("\n  "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_what_is_read_in_any_order(model in model(), seed in any::<u64>()) {
        let text = rendered(&model, seed);
        let read = dag(&text);
        prop_assert_eq!(edges(&read), edges(&model));
        check_order(&read);
        prop_assert_eq!((read.catchup, read.max_active_runs, &read.description), (model.catchup, model.max_active_runs, &model.description));
        for task in &model.tasks {
            let found = &read.tasks[read.index_of(task.task_id.as_str()).expect("every task is read").at()];
            let as_written = Task { upstream: task.upstream.clone(), ..found.clone() };
            prop_assert_eq!(&as_written, task);
        }
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
