//! Mapped tasks with the values that their instances are given, on a server, with functions that Python runs: `mapping.json`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::{Tally, Verdict, judge_cases, load};
use crate::place::Place;
use crate::shapes::parse;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// The functions that the header of the file tells of, and those that make what others are expanded over.
const FUNCTIONS: &str = "\
from airflow.exceptions import AirflowSkipException


def given(value):
    return value


def items(count):
    return list(range(count))


def mo() -> dict:
    return {'u': [1, 2]}


def show(x):
    return x


def show2(x, y):
    return [x, y]


def total(xs):
    return sorted(xs)


def skip2(x):
    if x == 2:
        raise AirflowSkipException
    return x


def fail2(x):
    if x == 2:
        raise ValueError(x)
    return x


def raise_on_2(x):
    if x == 2:
        raise ValueError(x)
    return x


def none_for_2(x):
    return None if x == 2 else x


def plus_1(x):
    return x + 1
";

#[derive(Deserialize)]
struct Case {
    description: String,
    /// The DAG could not even be made.
    error: Option<String>,
    #[serde(default)]
    dag_run_state: String,
    #[serde(default)]
    states: BTreeMap<String, String>,
    #[serde(default)]
    return_values: BTreeMap<String, Value>,
}

pub(crate) fn judge_file() -> Option<Tally> {
    let recorded = load("mapping")?;
    let place = Place::new();
    let mut bound = Vec::new();
    for (number, case) in recorded.cases.iter().enumerate() {
        let case: Case = parse(case);
        let Some(dag) = dag(&case) else { continue };
        let name = format!("case_{number}");
        place.write(&format!("dags/{name}.yaml"), &json!({ &name: dag }).to_string());
        bound.push((name, case));
    }
    place.write("dags/functions.py", FUNCTIONS);
    let _server = Server::start(&place);
    let errors = place.output(&["dags", "list-import-errors", "--output", "json"]);
    let errors = String::from_utf8_lossy(&errors.stdout).into_owned();
    let is_refused = |name: &str| errors.contains(&format!("{name}.yaml"));
    let mut runs = BTreeMap::new();
    for (name, _) in bound.iter().filter(|(name, case)| case.error.is_none() && !is_refused(name)) {
        let triggered = place.json(&["dags", "trigger", name, "--output", "json"]);
        runs.insert(name.clone(), triggered[0]["dag_run_id"].as_str().expect("a run has an id").to_owned());
    }
    let number_of = |case: &Value| recorded.cases.iter().position(|other| other["id"] == case["id"]).expect("one of these");
    Some(judge_cases("mapping", &recorded.cases, |case| {
        let name = format!("case_{}", number_of(case));
        let Some((_, case)) = bound.iter().find(|(bound, _)| *bound == name) else {
            return Verdict::Unbound(case["description"].as_str().unwrap_or_default().to_owned());
        };
        match (&case.error, runs.get(&name)) {
            (Some(_), None) if is_refused(&name) => Verdict::Passed,
            (Some(error), _) => Verdict::Failed(format!("it is not refused; Airflow says {error}")),
            (None, None) => Verdict::Failed(format!("it is refused: {errors}")),
            (None, Some(run)) => compare(&place, &name, run, case),
        }
    }))
}

/// What the words of a case's description mean as a DAG; none: nobody has told us.
fn dag(case: &Case) -> Option<Value> {
    let words = case.description.as_str();
    let mut tasks = serde_json::Map::new();
    let mut groups = serde_json::Map::new();
    for name in ["a", "b"] {
        if let Some(task) = source(case, name) {
            tasks.insert(name.to_owned(), task);
        }
    }
    let task = |function: &str, more: Value| {
        let mut task = json!({
            "decorator": "airflow.sdk.task",
            "python_callable_name": function,
            "python_callable_file": "functions.py",
        });
        let more = more.as_object().expect("arguments").clone();
        task.as_object_mut().expect("a mapping").extend(more);
        task
    };
    let mapped = |function: &str, input: Value| task(function, json!({"expand": {"x": input}}));
    if words.starts_with("@task_group g{p->q}.expand(x=a) then total(g)") {
        groups.insert("g".to_owned(), json!({"expand": {"x": "a.output"}}));
        tasks.insert("p".to_owned(), task("show", json!({"x": "+x", "task_group_name": "g"})));
        tasks.insert("q".to_owned(), task("show", json!({"x": "+p", "task_group_name": "g"})));
        tasks.insert("total".to_owned(), task("total", json!({"xs": "+q"})));
    } else if words == "show(expand show(expand a))" {
        tasks.insert("s1".to_owned(), mapped("show", json!("a.output")));
        tasks.insert("s2".to_owned(), mapped("show", json!("s1.output")));
    } else if let Some(rest) = words.strip_prefix("total(") {
        let (inner, rule) = rest.split_once(".expand(x=a)) trigger ")?;
        tasks.insert(inner.to_owned(), mapped(inner, json!("a.output")));
        tasks.insert("total".to_owned(), task("total", json!({"xs": format!("+{inner}"), "trigger_rule": rule})));
    } else if let Some(rest) = words.strip_prefix("show(") {
        let (rule, rest) = rest.split_once(").expand(x=")?;
        let inner = rest.strip_suffix(".expand(x=a))")?;
        tasks.insert(inner.to_owned(), mapped(inner, json!("a.output")));
        let show = json!({"expand": {"x": format!("{inner}.output")}, "trigger_rule": rule});
        tasks.insert("show".to_owned(), task("show", show));
    } else if words.starts_with("a.") {
        tasks.insert("show".to_owned(), mapped("show", methods(words)?));
    } else {
        let (function, rest) = words.split_once(".expand")?;
        let more = if rest.starts_with("_kwargs(a)") {
            json!({"expand_kwargs": "a.output"})
        } else {
            json!({"expand": arguments(rest)?})
        };
        if words.contains("mo()") {
            tasks.insert("mo".to_owned(), task("mo", json!({"multiple_outputs": true})));
        }
        tasks.insert(function.to_owned(), task(function, more));
    }
    let mut dag = json!({"schedule": null, "default_args": {"retries": 0}, "tasks": tasks});
    if !groups.is_empty() {
        dag["task_groups"] = groups.into();
    }
    Some(dag)
}

/// The task that returns what others are expanded over: what was recorded that it returned, else what the description says it would.
fn source(case: &Case, name: &str) -> Option<Value> {
    let words = case.description.as_str();
    let (function, argument, value) = if let Some(value) = case.return_values.get(name) {
        ("given", "value", value.clone())
    } else if let Some((_, rest)) = words.split_once(&format!("len({name})=")) {
        ("items", "count", serde_json::from_str(rest.split(' ').next()?).ok()?)
    } else if let Some((_, rest)) = words.split_once(&format!(") {name}=")) {
        ("given", "value", serde_json::from_str(&rest.replace('\'', "\"")).ok()?)
    } else if words.starts_with(&format!("{name}.")) || words.contains(&format!(".zip({name})")) {
        // Nothing was recorded of a DAG that could not be made; what its tasks would return is as good as anything.
        ("given", "value", json!([1, 2]))
    } else {
        return None;
    };
    Some(json!({
        "decorator": "airflow.sdk.task",
        "python_callable_name": function,
        "python_callable_file": "functions.py",
        argument: value,
    }))
}

/// `(x=a,y=['p','q'])`
fn arguments(text: &str) -> Option<Value> {
    let inside = text.strip_prefix('(')?.split(')').next().filter(|_| !text.contains("mo()")).unwrap_or("x=mo()['u']");
    let mut found = serde_json::Map::new();
    let mut rest = inside;
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=')?;
        let end = if value.starts_with('[') { value.find(']')? + 1 } else { value.find(',').unwrap_or(value.len()) };
        let input = match &value[..end] {
            "a" | "b" => json!(format!("{}.output", &value[..end])),
            "mo()['u']" => json!("+mo['u']"),
            literal => serde_json::from_str(&literal.replace('\'', "\"")).ok()?,
        };
        found.insert(name.to_owned(), input);
        rest = value[end..].trim_start_matches(',');
    }
    Some(found.into())
}

/// `a.zip(b, fillvalue=0)`, `a.map(+1).zip(b).map(list)` and so on, from the left.
fn methods(words: &str) -> Option<Value> {
    let mut input = json!("a.output");
    let mut rest = words.strip_prefix("a.")?;
    loop {
        let (method, after) = rest.split_once('(')?;
        let (argument, after) = after.split_once(')')?;
        let function = |name: &str| json!({"map": &input, "python_callable_name": name, "python_callable_file": "functions.py"});
        input = match (method, argument) {
            ("zip", "b") => json!({"zip": [input, "b.output"]}),
            ("zip", "b, fillvalue=0") => json!({"zip": [input, "b.output"], "fillvalue": 0}),
            ("concat", "b") => json!({"concat": [input, "b.output"]}),
            ("map", "raise on 2") => function("raise_on_2"),
            ("map", "None for 2") => function("none_for_2"),
            ("map", "+1") => function("plus_1"),
            ("map", "list") => json!({"map": input, "python_callable": "builtins.list"}),
            _ => return None,
        };
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None => return Some(input),
        }
    }
}

fn compare(place: &Place, dag_id: &str, run: &str, case: &Case) -> Verdict {
    let begun = Instant::now();
    let state = loop {
        let runs = place.json(&["dags", "list-runs", dag_id, "--output", "json"]);
        let state = runs[0]["state"].as_str().unwrap_or_default().to_owned();
        if matches!(state.as_str(), "success" | "failed") {
            break state;
        }
        if begun.elapsed() > PATIENCE {
            return Verdict::Failed(format!("the run does not end in {PATIENCE:?}; it is {state}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let rows = |arguments: &[&str]| place.json(arguments).as_array().expect("a list").clone();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let name = |row: &Value| match row.get("map_index").map(text).as_deref() {
        None | Some("-1") => text(&row["task_id"]),
        Some(index) => format!("{}[{index}]", text(&row["task_id"])),
    };
    let states = rows(&["tasks", "states-for-dag-run", dag_id, run, "--output", "json"]);
    let states: BTreeMap<String, String> = states.iter().map(|row| (name(row), text(&row["state"]))).collect();
    let values = rows(&["xcom", "list", dag_id, run, "--output", "json"]);
    let values = values.iter().filter(|row| row["key"] == "return_value");
    let values: BTreeMap<String, Value> = values.map(|row| (name(row), row["value"].clone())).collect();
    let expected_values: BTreeMap<String, Value> =
        case.return_values.iter().map(|(name, value)| (name.clone(), untagged(value))).collect();
    let found = (&state, &states, &values);
    let expected = (&case.dag_run_state, &case.states, &expected_values);
    if found == expected { Verdict::Passed } else { Verdict::Failed(format!("expected {expected:?}, found {found:?}")) }
}

/// What Airflow keeps of a tuple has a tag; here, as in any JSON, it is a list.
fn untagged(value: &Value) -> Value {
    match value {
        Value::Object(map) if map.get("__classname__") == Some(&json!("builtins.tuple")) => untagged(&map["__data__"]),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), untagged(value))).collect(),
        Value::Array(items) => items.iter().map(untagged).collect(),
        other => other.clone(),
    }
}

/// A server in the place. Dropping it kills it.
struct Server(Child);

impl Server {
    /// Starts one and waits until it is ready, which it is once it has read all files.
    fn start(place: &Place) -> Self {
        let mut command = place.command(&["standalone", "--port", "0"]);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the binary starts");
        let mut errors = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let said: Vec<String> = errors.by_ref().take_while(|line| !line.contains("ready: ")).collect();
        assert!(child.try_wait().is_ok_and(|ended| ended.is_none()), "the server ended: {said:#?}");
        // Reads to the end, so that the server never waits for a full pipe.
        std::thread::spawn(move || errors.for_each(drop));
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
