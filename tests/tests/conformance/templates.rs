//! Template fields: the text that Airflow's worker renders, or the kind of its exception.

use serde_json::{Map, Value, json};
use updraft_templates::{
    Context, DagFacts, ErrorKind, Options, PreviousRun, Renderer, TaskFacts, Undefined, XComNeeds, XComs,
};

use crate::harness::{Tally, Verdict, judge_cases, load};

/// Answers that differ, by case id.
const DIVERGENT: &[(&str, &[&str])] = &[
    (
        "`ti` and `dag_run` print shortly, not as pydantic's list of fields",
        &[
            "tpl-513aebcb505a",
            "tpl-dd81b8aee97b",
            "tpl-6a298c113778",
            "tpl-c777ef311818",
            "tpl-610b794284bb",
            "tpl-10851fc0e16d",
            "tpl-99cad6eee0b3",
            "tpl-3f5cd474f9aa",
        ],
    ),
    ("task instances have no UUID", &["tpl-60f90223938a", "tpl-7be75033e37a", "tpl-28a221c4bd3c", "tpl-73bfd0e108fe"]),
    (
        "not built yet: these macros",
        &[
            "tpl-50c02e8efec1",
            "tpl-33639b589437",
            "tpl-77c457160127",
            "tpl-ec4c9c420cf9",
            "tpl-92ad432d9795",
            "tpl-c6fcdf663238",
            "tpl-278c84b466e7",
            "tpl-7d2841272e76",
            "tpl-cf8cedb1ba38",
            "tpl-255b7508a3a7",
            "tpl-c24f3f11c570",
            "tpl-a29a1ad567e0",
            "tpl-203e4e27f8b2",
        ],
    ),
    ("nothing is random: a task rendered twice gives the same text", &["tpl-c83387971124", "tpl-075f9d2f966e"]),
    (
        "a DAG file holds no Python, so no user-defined macros and filters",
        &[
            "tpl-5e6738450778",
            "tpl-2364ab7cc604",
            "tpl-6c19f71ea1e9",
            "tpl-117f0b535180",
            "tpl-a7fdc15e67e6",
            "tpl-9a9de0f846a9",
            "tpl-9110a25dde4a",
        ],
    ),
    ("not built yet: XComs of other DAGs", &["tpl-2bb44bf8c048"]),
    ("not built yet: lists that a template changes", &["tpl-03c2c9371114", "tpl-ee012bd6790b"]),
    (
        "not built yet: rare corners of jinja2",
        &[
            "tpl-bb93976b5723",
            "tpl-423d45effe90",
            "tpl-b1d76f95ee0b",
            "tpl-7ee513e07888",
            "tpl-df8ea8488f44",
            "tpl-ab35c12fa464",
        ],
    ),
    ("DebugUndefined shows itself only where it is printed directly", &["tpl-8cc1dde0833d"]),
];

pub(crate) fn judge_file() -> Option<Tally> {
    let recorded = load("templates")?;
    let world = &recorded.header["world"];
    let renderer = Renderer::new();
    Some(judge_cases("templates", &recorded.cases, |case| judge(&renderer, world, case)))
}

fn judge(renderer: &Renderer, world: &Value, case: &Value) -> Verdict {
    if let Some(field) = out_of_scope(case) {
        return Verdict::OutOfScope(field);
    }
    let id = case["id"].as_str().expect("a case has an id");
    let options = Options { undefined: undefined(case["undefined"].as_str()) };
    let context = context(world, case["context"].as_str().expect("a case has a context"));
    let ours = renderer
        .xcom_needs(&case["template"], &context.task_id)
        .and_then(|needs| renderer.render(&case["template"], &context, &fetched(world, &needs), &options));
    let as_recorded = match (&ours, case.get("result"), case["error"].as_str()) {
        (Ok(rendered), Some(result), _) => *rendered == plain(result),
        (Err(error), _, Some(class)) => error.kind == kind(class),
        _ => false,
    };
    let divergent = DIVERGENT.iter().find(|(_, ids)| ids.contains(&id));
    match (as_recorded, divergent) {
        (true, None) => Verdict::Passed,
        (false, Some((reason, _))) => Verdict::Divergent(reason),
        (true, Some((reason, _))) => Verdict::Failed(format!("agrees by now, so it is not divergent: {reason}")),
        (false, None) => {
            let recorded = case.get("result").unwrap_or(&case["error"]);
            Verdict::Failed(format!(
                "{} in `{}`: recorded {recorded}, ours {ours:?}",
                case["template"], case["context"]
            ))
        }
    }
}

/// The field that says a case is about something we do not have.
fn out_of_scope(case: &Value) -> Option<String> {
    if case["group"] == "var_conn" {
        return Some("group var_conn".to_owned());
    }
    if case["native"] == true {
        return Some("native".to_owned());
    }
    if case.get("jinja_environment_kwargs").is_some() {
        return Some("jinja_environment_kwargs".to_owned());
    }
    // A DAG file holds JSON's values only.
    let python = case["template"].as_str().is_some_and(|template| template.starts_with("PY:"));
    python.then(|| "template PY:".to_owned())
}

fn undefined(mode: Option<&str>) -> Undefined {
    match mode {
        None | Some("strict") => Undefined::Strict,
        Some("default") => Undefined::Default,
        Some("debug") => Undefined::Debug,
        Some("chainable") => Undefined::Chainable,
        Some(other) => panic!("unknown mode `{other}`"),
    }
}

/// The kind of error that a Python exception is to us.
fn kind(class: &str) -> ErrorKind {
    match class {
        "UndefinedError" => ErrorKind::Undefined,
        "TemplateSyntaxError" | "TemplateAssertionError" => ErrorKind::Syntax,
        "SecurityError" => ErrorKind::Security,
        "TemplateNotFound" => ErrorKind::NotFound,
        _ => ErrorKind::Evaluation,
    }
}

/// A recorded value without the notation for what JSON cannot hold.
fn plain(recorded: &Value) -> Value {
    match recorded {
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(entries) if entries.get("__type__") == Some(&json!("float")) => {
            entries["str"].as_str().expect("a float has a text").parse::<f64>().map(Value::from).expect("a float")
        }
        Value::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

fn context(world: &Value, name: &str) -> Context {
    let run = &world["contexts"][name];
    // The header says that two contexts have no previous run, but the recorded answers show this one in all of them.
    let previous = &world["contexts"]["daily"]["prev"];
    let (dag, task) = (&world["dag"], &world["task"]);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let instant = |value: &Value| value.as_str().map(|time| time.parse().expect("a recorded time is RFC 3339"));
    let interval = |of: &Value| instant(&of["data_interval_start"]).zip(instant(&of["data_interval_end"]));
    Context {
        dag_id: text(&dag["dag_id"]).expect("a DAG id"),
        task_id: "grp.me".to_owned(),
        run_id: text(&run["run_id"]).expect("a run id"),
        run_type: text(&run["run_type"]).expect("a run type"),
        logical_date: instant(&run["logical_date"]),
        data_interval: interval(run),
        run_after: instant(&run["run_after"]).expect("a time"),
        run_start_date: instant(&task["dag_run_start_date"]),
        task_start_date: instant(&task["ti_start_date"]),
        partition_key: text(&run["partition_key"]),
        partition_date: instant(&run["partition_date"]),
        try_number: run["try_number"].as_u64().and_then(|number| u32::try_from(number).ok()).expect("a number"),
        max_tries: task["max_tries"].as_u64().and_then(|number| u32::try_from(number).ok()).expect("a number"),
        map_index: run["map_index"].as_i64().and_then(|number| i32::try_from(number).ok()).expect("a number"),
        hostname: text(&task["hostname"]).expect("a host name"),
        params: params(&[&dag["params"], &task["params"], &run["conf"]]),
        conf: run["conf"].clone(),
        dag: DagFacts {
            description: text(&dag["description"]),
            tags: dag["tags"].as_array().into_iter().flatten().filter_map(text).collect(),
            start_date: instant(&dag["start_date"]),
            ..DagFacts::default()
        },
        task: TaskFacts { owner: text(&task["owner"]).expect("an owner"), ..TaskFacts::default() },
        previous_success: Some(PreviousRun {
            data_interval: interval(previous),
            start_date: instant(&previous["start_date"]),
            end_date: instant(&previous["end_date"]),
        }),
        now: instant(&world["now"]).expect("a time"),
        ..Context::default()
    }
}

/// Later ones win.
fn params(layers: &[&Value]) -> Value {
    let mut all = Map::new();
    for layer in layers {
        all.extend(layer.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    }
    Value::Object(all)
}

/// What the template says it needs, as a caller would fetch it; a render that asks for more fails.
fn fetched(world: &Value, needs: &XComNeeds) -> XComs {
    let mut xcoms = XComs::new();
    for (task_id, key) in &needs.pulls {
        xcoms.mark_fetched(task_id, key);
    }
    for entry in world["xcom_values"].as_array().expect("a list") {
        let (task_id, key) = (entry["task_id"].as_str().expect("a text"), entry["key"].as_str().expect("a text"));
        if needs.dynamic {
            xcoms.mark_complete(task_id);
        } else if !needs.pulls.contains(&(task_id.to_owned(), key.to_owned())) {
            continue;
        }
        let values = entry["values_by_map_index"].as_array().expect("a list");
        for (index, value) in values.iter().enumerate() {
            // One value is that of a task that is not mapped.
            let index = if values.len() == 1 { -1 } else { i32::try_from(index).expect("few values") };
            xcoms.insert(task_id, key, index, value.clone());
        }
    }
    xcoms
}
