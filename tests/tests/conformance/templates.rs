//! Template fields: the text that Airflow's worker renders, or the kind of its exception.

use serde_json::{Map, Value};
use updraft_model::Connection;
use updraft_templates::{
    Context, DagFacts, ErrorKind, Native, Options, PreviousRun, Renderer, Syntax, TaskFacts, TemplateError, Undefined,
    Wanted, XComNeeds, XComs,
};

use crate::harness::{Tally, Verdict, judge_cases, load};

/// Why our answer to a template may differ.
fn divergence(case: &Value, ours: &Result<Native, TemplateError>) -> Option<&'static str> {
    let template = case["template"].to_string();
    let unsupported = matches!(ours, Err(TemplateError { kind: ErrorKind::Unsupported, .. }));
    let reasons = [
        (template.starts_with("\"PY:"), "the value of a field is what JSON can hold, not a Python object"),
        (
            ["my_macro", "my_const", "shout"].iter().any(|name| template.contains(name)),
            "a DAG file holds no Python, so no user-defined macros and filters",
        ),
        (unsupported && template.contains("xcom_pull"), "XComs of other DAGs and runs are refused with a message"),
        (unsupported && template.contains("macros.yaml"), "`macros.yaml` is refused with a message"),
        (unsupported && template.contains("ds_format_locale"), "names of days and months are there in English only"),
        (case["native"] == true && template.contains(".__"), "the sandbox holds for native templates, too"),
        (template.contains("{{ self }}"), "`self` prints as the engine has it"),
        (template.contains("lipsum"), "`lipsum` does not exist, so another error is raised"),
    ];
    reasons.into_iter().find_map(|(applies, reason)| applies.then_some(reason))
}

pub(crate) fn judge_file() -> Option<Tally> {
    let recorded = load("templates")?;
    let world = &recorded.header["world"];
    let renderer = Renderer::new();
    Some(judge_cases("templates", &recorded.cases, |case| judge(&renderer, world, case)))
}

fn judge(renderer: &Renderer, world: &Value, case: &Value) -> Verdict {
    let options = options(case);
    let context = context(world, case["context"].as_str().expect("a case has a context"));
    let ours = render(renderer, world, &case["template"], context, &options);
    let as_recorded = match (&ours, case.get("result"), case["error"].as_str()) {
        (Ok(rendered), Some(result), _) => is_recorded(rendered, result),
        (Err(error), _, Some(class)) => kinds(class).contains(&error.kind),
        _ => false,
    };
    match divergence(case, &ours) {
        _ if as_recorded => Verdict::Passed,
        Some(reason) => Verdict::Divergent(reason),
        None => {
            let recorded = case.get("result").unwrap_or(&case["error"]);
            let (template, context) = (&case["template"], &case["context"]);
            Verdict::Failed(format!("{template} in `{context}`: recorded {recorded}, ours {ours:?}"))
        }
    }
}

/// Renders as a caller does: what the templates name is fetched before, what they compute is fetched when they ask.
fn render(
    renderer: &Renderer,
    world: &Value,
    field: &Value,
    mut context: Context,
    options: &Options,
) -> Result<Native, TemplateError> {
    let needs = renderer.needs(field, &context.task_id, &options.syntax)?;
    let wanted = needs.variables.into_iter().map(Wanted::Variable);
    wanted.chain(needs.connections.into_iter().map(Wanted::Connection)).for_each(|what| fetch(world, &mut context, what));
    let xcoms = fetched(world, &needs.xcoms);
    loop {
        match renderer.render_field(field, &context, &xcoms, options) {
            Err(TemplateError { wanted: Some(what), .. }) => fetch(world, &mut context, what),
            done => return done,
        }
    }
}

fn fetch(world: &Value, context: &mut Context, what: Wanted) {
    match what {
        Wanted::Variable(key) => {
            let text = world["variables"][&key].as_str().map(str::to_owned);
            context.stored.note_variable(key, text);
        }
        Wanted::Connection(conn_id) => {
            let connection = world["connections"].get(&conn_id);
            let connection = connection.map(|value| Connection::from_value(&conn_id, value).expect("a connection"));
            context.stored.note_connection(conn_id, connection);
        }
    }
}

fn options(case: &Value) -> Options {
    let kwargs = case["jinja_environment_kwargs"].as_object().cloned().unwrap_or_default();
    Options {
        undefined: undefined(case["undefined"].as_str()),
        native: case["native"] == true,
        tagged: false,
        syntax: Syntax::from_kwargs(&kwargs).unwrap_or_else(|error| panic!("{error}")),
    }
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

/// The kinds of error that a Python exception is to us.
fn kinds(class: &str) -> &'static [ErrorKind] {
    match class {
        "UndefinedError" => &[ErrorKind::Undefined],
        "TemplateSyntaxError" | "TemplateAssertionError" => &[ErrorKind::Syntax],
        "SecurityError" => &[ErrorKind::Security],
        "TemplateNotFound" => &[ErrorKind::NotFound],
        "AirflowNotFoundException" => &[ErrorKind::Missing],
        // A variable that is not there, or whose text is not JSON.
        "AirflowRuntimeError" => &[ErrorKind::Missing, ErrorKind::Evaluation],
        _ => &[ErrorKind::Evaluation],
    }
}

/// Whether a value is the recorded one, which is JSON, or `__type__` and what JSON cannot hold.
fn is_recorded(ours: &Native, recorded: &Value) -> bool {
    let same = |ours: &[Native], recorded: &Value| {
        let recorded = recorded.as_array().expect("items");
        ours.len() == recorded.len() && ours.iter().zip(recorded).all(|(ours, recorded)| is_recorded(ours, recorded))
    };
    let class = recorded["__type__"].as_str();
    let text = recorded["str"].as_str().unwrap_or_default();
    match ours {
        Native::None => recorded.is_null(),
        Native::Bool(ours) => recorded.as_bool() == Some(*ours),
        Native::Int(ours) => recorded.as_i64().map(i128::from) == Some(*ours),
        Native::Float(ours) => class == Some("float") && text.parse() == Ok(*ours),
        Native::Text(ours) => recorded.as_str() == Some(ours),
        Native::Bytes(ours) => class == Some("bytes") && text == format!("b'{}'", ours.escape_ascii()),
        Native::List(ours) => recorded.is_array() && same(ours, recorded),
        Native::Tuple(ours) => class == Some("tuple") && same(ours, &recorded["items"]),
        Native::Set(ours) => class == Some("set") && same(ours, &recorded["items"]),
        Native::Dict(ours) if class == Some("dict") => {
            let pairs: Vec<Native> = ours.iter().map(|(key, value)| Native::List(vec![key.clone(), value.clone()])).collect();
            same(&pairs, &recorded["items"])
        }
        Native::Dict(ours) => recorded.as_object().is_some_and(|recorded| {
            let value_of = |key: &Native| if let Native::Text(key) = key { recorded.get(key) } else { None };
            let is_same = |(key, value)| value_of(key).is_some_and(|recorded| is_recorded(value, recorded));
            class.is_none() && ours.len() == recorded.len() && ours.iter().map(|(key, value)| (key, value)).all(is_same)
        }),
        Native::Object { class: ours, text: shown } => class == Some(ours) && text == shown,
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
        ti_id: text(&task["ti_id"]).expect("an id"),
        // The header does not tell it, the recorded texts do.
        dag_version_id: "00000000-0000-0000-0000-000000000008".to_owned(),
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
