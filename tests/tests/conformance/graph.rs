//! Ids, duplicates, cycles, orders, task groups: `graph.json`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};
use updraft_model::ids::{check_group_id, check_id};
use jiff::Timestamp;
use updraft_model::dag_parts::item_of;
use updraft_model::{Dag, DagId, DagRunState, ExpandInput, Plan, TaskId, TaskIndex, display::display_order};
use updraft_scheduling::{decide, mapped};

use crate::harness::{Tally, Verdict, judge};
use crate::shapes::{load_dag, load_text, parse, run};

pub(crate) fn judge_file() -> Option<Tally> {
    judge("graph", |case| match case["op"].as_str() {
        Some("id_valid") => judge_id(case),
        Some("graph") => judge_graph(&parse(case)),
        Some("build") => judge_build(case),
        Some("expand_literal") => judge_expansion(case),
        op => Verdict::Unbound(format!("op={op:?}")),
    })
}

/// A task expanded over values of the file: which instances it has, what each is given, and what becomes of the task below.
fn judge_expansion(case: &Value) -> Verdict {
    let list = |value: &Value| match value.as_str().and_then(|text| text.strip_prefix("range(")?.strip_suffix(')')?.parse().ok()) {
        Some(count) => Value::from((0..count).collect::<Vec<u32>>()),
        None => value.clone(),
    };
    let kind = case["kind"].as_str().expect("how it is expanded");
    let argument = match &case["arg"] {
        Value::Object(entries) if kind == "expand" => entries.iter().map(|(name, v)| (name.clone(), list(v))).collect(),
        other => other.clone(),
    };
    let loaded = load_dag(&json!({"tasks": [
        {"task_id": "m", "decorator": "airflow.sdk.task", "python_callable": "m.f", kind: argument, "partial": case["partial"]},
        {"task_id": "down", "operator": "EmptyOperator", "dependencies": ["m"]},
    ]}));
    let dag = match loaded {
        Err(_) if case.get("error").is_some() => return Verdict::Passed,
        Err(why) => return Verdict::Failed(why),
        Ok(_) if case.get("error").is_some() => return Verdict::Failed(format!("expected {}", case["error"])),
        Ok(dag) => dag,
    };
    let plan = Plan::new(dag);
    let run = run();
    let unit = plan.unit_of(TaskIndex(0)).expect("it is mapped");
    let count = mapped::count_of(&plan, &run.mapped, unit).expect("its values are known");
    let decision = decide(&plan, &run, Timestamp::UNIX_EPOCH);
    let expected_count = match &case["map_indexes_at_creation"] {
        Value::String(text) => text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number of instances"),
        indexes => indexes.as_array().expect("a list").iter().filter(|index| **index != -1).count() as u32,
    };
    let expanded = decision.expanded.values().map(|expansion| expansion.count).sum::<u32>();
    let state = decision.end.unwrap_or(DagRunState::Running).to_string();
    let found = (count, expanded, state);
    let expected = (expected_count, expected_count, case["dag_run_state"].as_str().expect("a state").to_owned());
    if found != expected {
        return Verdict::Failed(format!("expected {expected:?}, found {found:?}"));
    }
    let given = |map_index: u32| {
        let items = mapped::items_of(&plan, &run.mapped, unit, map_index).expect("there is such an instance");
        let mut kwargs = serde_json::Map::new();
        let of_names = unit.mapping.expand.iter().map(|(name, input)| (Some(name), input));
        for ((name, input), item) in of_names.chain(unit.mapping.expand_kwargs.iter().map(|i| (None, i))).zip(items) {
            let ExpandInput::Literal(value) = input else { panic!("a value of the file") };
            match (name, item_of(value, item)) {
                (Some(name), item) => drop(kwargs.insert(name.clone(), item)),
                (None, item) => kwargs.extend(item.as_object().expect("arguments").clone()),
            }
        }
        Value::Object(kwargs)
    };
    let found: Vec<Value> = (0..count).map(given).collect();
    let expected: Vec<Value> = match &case["kwargs_by_map_index"] {
        Value::String(text) if text == "a = map index" => (0..count).map(|index| json!({ "a": index })).collect(),
        Value::Array(kwargs) => kwargs.clone(),
        other => return Verdict::Unbound(format!("kwargs_by_map_index={other}")),
    };
    if found == expected { Verdict::Passed } else { Verdict::Failed(format!("expected {expected:?}, found {found:?}")) }
}

fn judge_id(case: &Value) -> Verdict {
    let accepted = case["accepted"].as_bool().expect("a case says whether the id was accepted");
    let found = match (case["kind"].as_str(), case["value"].as_str()) {
        (Some("dag"), Some(id)) => DagId::parse(id).map(drop).map_err(|error| error.to_string()),
        (Some("task"), Some(id)) => TaskId::parse(id).map(drop).map_err(|error| error.to_string()),
        (Some("group"), Some(id)) => check_group_id(id).map_err(|error| error.to_string()),
        // The header: a task inside a group of 40 characters.
        (Some("task_in_group"), Some(id)) => {
            check_id(&format!("{}.{id}", "g".repeat(40))).map_err(|error| error.to_string())
        }
        // In a file the name of a task in a list may be anything.
        (Some("task"), None) => {
            load_dag(&json!({"tasks": [{"task_id": case["value"], "operator": "EmptyOperator"}]})).map(drop)
        }
        // In a file a DAG's id is the key of a mapping, which in YAML may be anything, too.
        (Some("dag"), None) => {
            let dag = json!({"default_args": {"start_date": "2025-01-01"}, "tasks": {"t": {"operator": "EmptyOperator"}}});
            load_text(&format!("? {}\n: {dag}\n", case["value"])).map(drop)
        }
        (kind, _) => return Verdict::Unbound(format!("kind={kind:?}")),
    };
    match found {
        found if found.is_ok() == accepted => Verdict::Passed,
        Err(_) if case["value"].as_str().is_some_and(|id| id.ends_with('\n')) => {
            Verdict::Divergent("a newline at the end of an id is refused")
        }
        found => Verdict::Failed(format!("{}: found {found:?}", case["value"])),
    }
}

/// A DAG by its edges.
#[derive(Deserialize)]
struct Graph {
    tasks: Vec<String>,
    edges: Vec<(String, String)>,
    acyclic: bool,
    topological_order: Option<Vec<String>>,
    hierarchical_order: Option<Vec<String>>,
    roots: Option<BTreeSet<String>>,
    leaves: Option<BTreeSet<String>>,
}

fn judge_graph(case: &Graph) -> Verdict {
    let task = |id: &String| {
        let upstream: Vec<&String> = case.edges.iter().filter(|(_, down)| down == id).map(|(up, _)| up).collect();
        (id.clone(), json!({"operator": "EmptyOperator", "dependencies": upstream}))
    };
    let tasks: serde_json::Map<String, Value> = case.tasks.iter().map(task).collect();
    let dag = match load_dag(&json!({ "tasks": tasks })) {
        Ok(dag) if case.acyclic => dag,
        Ok(_) => return Verdict::Failed("accepted, but it has a cycle".to_owned()),
        Err(why) if !case.acyclic && why.contains("circle") => return Verdict::Passed,
        Err(_) if case.tasks.is_empty() => return Verdict::Divergent("a DAG without tasks is refused"),
        Err(why) => return Verdict::Failed(format!("refused: {why}")),
    };
    let id = |task: TaskIndex| dag.tasks[task.at()].task_id.to_string();
    let order: Vec<String> = display_order(&dag).into_iter().map(id).collect();
    let plan = Plan::new(dag.clone());
    let by_id: Vec<String> = plan.tasks_by_id().map(id).collect();
    let ends = |is_end: &dyn Fn(TaskIndex) -> bool| plan.tasks().filter(|task| is_end(*task)).map(id).collect();
    let roots: BTreeSet<String> = ends(&|task| plan.upstream(task).is_empty());
    let leaves: BTreeSet<String> = ends(&|task| plan.downstream(task).is_empty());
    let found = (Some(order), Some(by_id), Some(roots), Some(leaves));
    let expected = (
        case.topological_order.clone(),
        case.hierarchical_order.clone(),
        case.roots.clone(),
        case.leaves.clone(),
    );
    if found == expected { Verdict::Passed } else { Verdict::Failed(format!("expected {expected:?}, found {found:?}")) }
}

/// What a recorded description means as a DAG file; none: nobody has said, or a file cannot say it: there a name is given to one task
/// only, and nothing is called twice.
fn described(description: &str) -> Option<Value> {
    let task = |id: &str, more: Value| {
        let mut task = json!({"task_id": id, "operator": "EmptyOperator"});
        task.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        task
    };
    let plain = |id: &str| task(id, json!({}));
    let inside = |id: &str, group: &str| task(id, json!({"task_group_name": group}));
    let after = |id: &str, up: &[&str]| task(id, json!({"dependencies": up}));
    let group = |name: &str, more: Value| {
        let mut group = json!({"group_name": name});
        group.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        group
    };
    let bare = |name: &str| group(name, json!({}));
    let nested = |outer: Value, inner: Value| {
        let mut inner = inner;
        inner["parent_group_name"] = json!("g");
        json!({"task_groups": [group("g", outer), group("h", inner)], "tasks": [inside("a", "h")]})
    };
    Some(match description {
        "same task id twice" => json!({"tasks": [plain("a"), plain("a")]}),
        "same group id twice" => json!({"task_groups": [bare("g"), bare("g")], "tasks": [inside("a", "g")]}),
        "group and task same id" => json!({"task_groups": [bare("g")], "tasks": [plain("g"), inside("a", "g")]}),
        "group g with task a, then task 'g.a'" => {
            json!({"task_groups": [bare("g")], "tasks": [inside("a", "g"), plain("g.a")]})
        }
        "unprefixed group" => {
            json!({"task_groups": [group("g", json!({"prefix_group_id": false}))], "tasks": [inside("a", "g")]})
        }
        "nested groups" => nested(json!({}), json!({})),
        "nested, inner unprefixed" => nested(json!({}), json!({"prefix_group_id": false})),
        "nested, outer unprefixed" => nested(json!({"prefix_group_id": false}), json!({})),
        "x >> empty group >> y" => json!({
            "task_groups": [group("g", json!({"dependencies": ["x"]}))],
            "tasks": [plain("x"), after("y", &["g"])],
        }),
        "a << [b,c]" => json!({"tasks": [after("a", &["b", "c"]), plain("b"), plain("c")]}),
        "chain(a,[b,c],[d,e],f)" => json!({"tasks": [
            plain("a"), after("b", &["a"]), after("c", &["a"]), after("d", &["b"]), after("e", &["c"]), after("f", &["d", "e"]),
        ]}),
        "cross_downstream([a,b],[c,d])" => {
            json!({"tasks": [plain("a"), plain("b"), after("c", &["a", "b"]), after("d", &["a", "b"])]})
        }
        // A label is for pictures only, and a group without a name is the DAG itself: neither has a key.
        "a >> Label >> b" => json!({"tasks": [plain("a"), after("b", &["a"])]}),
        "TaskGroup(None)" => json!({"tasks": [plain("a")]}),
        "a >> a" => json!({"tasks": [after("a", &["a"])]}),
        "group default_args" => json!({
            "task_groups": [group("g", json!({"default_args": {"retries": 2}}))],
            "tasks": [inside("a", "g")],
        }),
        "group id 200 chars + task 50 chars (total 251)" => {
            let name = "g".repeat(200);
            json!({"task_groups": [bare(&name)], "tasks": [inside(&"a".repeat(50), &name)]})
        }
        _ => return None,
    })
}

fn judge_build(case: &Value) -> Verdict {
    let description = case["description"].as_str().expect("a description");
    let Some(file) = described(description) else {
        return Verdict::Unbound(format!("description: {description}"));
    };
    match (load_dag(&file), case["accepted"].as_bool().expect("a case says whether it was accepted")) {
        (Err(_), false) => Verdict::Passed,
        (Ok(_), false) => Verdict::Failed("accepted, but Airflow refuses it".to_owned()),
        (Err(why), true) if why.contains("circle") && is_cyclic(&case["edges"]) => {
            Verdict::Divergent("a cycle is refused where the file is read, as Airflow's parser does, not before")
        }
        (Err(why), true) => Verdict::Failed(format!("refused: {why}")),
        (Ok(dag), true) => compare_build(case, &dag),
    }
}

/// Whether a task depends on itself.
fn is_cyclic(edges: &Value) -> bool {
    edges.as_array().into_iter().flatten().any(|edge| edge[0] == edge[1])
}

fn compare_build(case: &Value, dag: &Dag) -> Verdict {
    let id = |task: TaskIndex| dag.tasks[task.at()].task_id.to_string();
    let tasks: BTreeSet<String> = dag.tasks.iter().map(|task| task.task_id.to_string()).collect();
    let groups: BTreeSet<String> = dag.groups.iter().map(|group| group.group_id.clone()).collect();
    let edges: BTreeSet<(String, String)> = dag
        .tasks
        .iter()
        .flat_map(|task| task.upstream.iter().map(|up| (id(*up), task.task_id.to_string())))
        .collect();
    let found = (tasks, groups, edges);
    let expected = (parse(&case["task_ids"]), parse(&case["groups"]), parse(&case["edges"]));
    if found == expected { Verdict::Passed } else { Verdict::Failed(format!("expected {expected:?}, found {found:?}")) }
}
