//! The Terraform module, evaluated without its provider: what it makes, with every expression worked out.
//!
//! What a resource has only once it is there (its ARN, its URL) is the name of the template's resource that it stands for, so that both
//! can be compared: `TaskQueue.Arn`, and `TaskQueue` for a URL or a name.

use crate::hcl::{Function, Scope, number};
use hcl_edit::parser::parse_body;
use hcl_edit::structure::{Block, Body};
use serde_json::{Map, Value};
use updraft_e2e::repository;

/// Which resource of the template one of the module is.
const NAMES: &[(&str, &str, &str)] = &[
    ("aws_dynamodb_table", "this", "Table"),
    ("aws_s3_bucket", "this", "Bucket"),
    ("aws_sqs_queue", "tasks", "TaskQueue"),
    ("aws_sqs_queue", "python", "PythonQueue"),
    ("aws_sqs_queue", "looks", "SchedulerQueue"),
    ("aws_sqs_queue", "dead_tasks", "TaskDeadLetters"),
    ("aws_sqs_queue", "dead_looks", "SchedulerDeadLetters"),
    ("aws_iam_role", "tick", "TickRole"),
    ("aws_scheduler_schedule_group", "this", "Ticks"),
    ("aws_lambda_function_url", "api", "ApiUrl"),
    ("aws_lambda_permission", "bucket", "BucketMayInvokeScheduler"),
];

/// The functions: their keys in the module, and their names in the template.
pub(crate) const FUNCTIONS: [(&str, &str); 4] =
    [("scheduler", "Scheduler"), ("worker", "Worker"), ("python-worker", "PythonWorker"), ("api", "Api")];

/// A resource that the module makes.
#[derive(Debug)]
pub(crate) struct Made {
    /// `aws_sqs_queue`.
    pub(crate) kind: String,
    /// `aws_sqs_queue.tasks`, with its key where there are several.
    pub(crate) address: String,
    /// Its attributes and blocks.
    pub(crate) is: Value,
}

/// All files of the module as one.
fn body() -> Body {
    let read = |name: &str| {
        let path = repository().join("infra/terraform").join(name);
        let text = std::fs::read_to_string(&path).expect("a file of the module");
        parse_body(&text).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
    };
    ["main.tf", "variables.tf", "outputs.tf"].into_iter().flat_map(read).collect()
}

/// The module's variables with their defaults; null where there is none.
pub(crate) fn variables() -> Map<String, Value> {
    let body = body();
    let default = |block: &Block| {
        let default = block.body.get_attribute("default");
        let value = default.map(|attribute| Scope::default().value(&attribute.value).expect("defaults are constants"));
        (block.labels[0].as_str().to_owned(), value.unwrap_or(Value::Null))
    };
    body.get_blocks("variable").map(default).collect()
}

/// Everything that the module makes where variables have these values, the others their defaults.
pub(crate) fn made(set: &[(&str, Value)]) -> Vec<Made> {
    let body = body();
    let mut scope = scope(set);
    locals(&body, &mut scope);
    let mut made = Vec::new();
    for block in body.get_blocks("resource") {
        let (kind, name) = (block.labels[0].as_str(), block.labels[1].as_str());
        let address = format!("{kind}.{name}");
        let worked = |what: Result<Value, String>| what.unwrap_or_else(|error| panic!("`{address}`: {error}"));
        let of = |key: &str| block.body.get_attribute(key).map(|attribute| worked(scope.value(&attribute.value)));
        let mut make = |address: String, scope: &Scope| {
            made.push(Made { kind: kind.to_owned(), address, is: worked(scope.body(&block.body)) });
        };
        match (of("for_each"), of("count")) {
            (Some(each), _) => {
                let pairs: Vec<(String, Value)> = match each {
                    Value::Object(map) => map.into_iter().collect(),
                    Value::Array(keys) => keys.into_iter().map(|key| (text(&key), key)).collect(),
                    other => panic!("`{address}` is for each of {other}"),
                };
                for (key, value) in pairs {
                    let mut scope = scope.clone();
                    scope.name("each", object([("key", Value::from(key.as_str())), ("value", value)]));
                    make(format!("{address}[{key}]"), &scope);
                }
            }
            (None, Some(count)) if count == 0 => {}
            _ => make(address.clone(), &scope),
        }
    }
    made
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is a text")).to_owned()
}

/// Works the locals out, each once those are known that it needs.
fn locals(body: &Body, scope: &mut Scope) {
    let mut left: Vec<_> = body.get_blocks("locals").flat_map(|block| block.body.attributes()).collect();
    let mut known = Map::new();
    while !left.is_empty() {
        let before = left.len();
        let mut why = String::new();
        left.retain(|local| match scope.value(&local.value) {
            Ok(value) => {
                known.insert(local.key.to_string(), value);
                false
            }
            Err(error) => {
                why = format!("`local.{}`: {error}", local.key.as_str());
                true
            }
        });
        scope.name("local", Value::Object(known.clone()));
        assert!(left.len() < before, "{why}");
    }
}

/// What expressions may name: variables, data, resources, functions.
fn scope(set: &[(&str, Value)]) -> Scope {
    let mut scope = Scope::with(TERRAFORM);
    let mut variables = variables();
    variables.extend(
        [("bucket", "BUCKET"), ("zips", "zips"), ("name", "STACK")]
            .map(|(name, value)| (name.to_owned(), value.into())),
    );
    variables.extend(set.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    scope.name("var", Value::Object(variables));
    let this = |key: &str, value: &str| object([("this", object([(key, value.into())]))]);
    let data = object([
        ("aws_caller_identity", this("account_id", "ACCOUNT")),
        ("aws_region", this("name", "REGION")),
        ("aws_partition", this("partition", "aws")),
    ]);
    scope.name("data", data);
    let mut kinds: Map<String, Value> = Map::new();
    let mut stand = |kind: &str, name: &str, value: Value| {
        kinds.entry(kind).or_insert_with(|| object([]))[name] = value;
    };
    for (kind, name, of) in NAMES {
        stand(kind, name, stands_for(of));
    }
    let each = |end: &str| object(FUNCTIONS.map(|(key, of)| (key, stands_for(&format!("{of}{end}")))));
    for (kind, end) in [
        ("aws_lambda_function", ""),
        ("aws_iam_role", "Role"),
        ("aws_cloudwatch_log_group", "Logs"),
        ("aws_iam_role_policy", "Policy"),
    ] {
        stand(kind, "this", each(end));
    }
    let gateway = [
        ("aws_apigatewayv2_api", "TokenApi"),
        ("aws_apigatewayv2_authorizer", "TokenAuthorizer"),
        ("aws_apigatewayv2_integration", "TokenIntegration"),
        ("aws_cloudwatch_log_group", "TokenApiLogs"),
    ];
    for (kind, of) in gateway {
        stand(kind, "tokens", Value::Array(vec![stands_for(of)]));
    }
    for (kind, names) in kinds {
        scope.name(&kind, names);
    }
    scope
}

fn object<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// A resource that is there.
fn stands_for(name: &str) -> Value {
    let named = |key| (key, Value::from(name));
    let [id, name_, url, function, address, endpoint] =
        ["id", "name", "url", "function_name", "function_url", "api_endpoint"].map(named);
    let arn = ("arn", format!("{name}.Arn").into());
    object([id, name_, url, function, address, endpoint, arn, ("execution_arn", format!("{name}.Execution").into())])
}

/// The functions of Terraform that the module calls.
const TERRAFORM: &[(&str, Function)] = &[
    ("toset", |args| Ok(args[0].clone())),
    ("tostring", |args| Ok(args[0].as_str().map_or_else(|| args[0].to_string(), str::to_owned).into())),
    ("lower", |args| Ok(args[0].as_str().ok_or("no text")?.to_lowercase().into())),
    ("floor", |args| number(args[0].as_f64().ok_or("no number")?.floor())),
    ("filebase64sha256", |args| Ok(args[0].clone())),
    ("jsonencode", |args| serde_json::to_string(&args[0]).map(Value::from).map_err(|error| error.to_string())),
    ("coalesce", |args| args.iter().find(|arg| !arg.is_null()).cloned().ok_or_else(|| "nothing is set".to_owned())),
    ("concat", |args| Ok(args.iter().filter_map(Value::as_array).flatten().cloned().collect())),
    ("merge", |args| {
        let pairs = args.iter().filter_map(Value::as_object).flatten();
        Ok(Value::Object(pairs.map(|(key, value)| (key.clone(), value.clone())).collect()))
    }),
    ("setproduct", |args| {
        let (one, other) = (args[0].as_array().ok_or("no list")?, args[1].as_array().ok_or("no list")?);
        Ok(one.iter().flat_map(|a| other.iter().map(move |b| Value::from_iter([a.clone(), b.clone()]))).collect())
    }),
];
