//! What must hold for the deployed resources whatever becomes of `infra/template.yaml`.
//!
//! The rules look at the template after the SAM transform, because that is what CloudFormation deploys: a property that
//! the transform drops, or a policy that it adds, shows only there. Emulators enforce next to none of them.

use serde_json::Value;
use std::process::Command;

/// Each polls its queue all the time, for some $0.26 a month.
const MAPPINGS_MAX: usize = 3;

/// The template as CloudFormation sees it, made by `infra/render`.
///
/// # Panics
/// If the script fails; its message is on stderr.
pub fn rendered() -> Value {
    let answer = Command::new(super::repository().join("infra/render"))
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("`infra/render` can be started; it needs `python3` in the PATH");
    assert!(answer.status.success(), "`infra/render` failed: {}", answer.status);
    serde_json::from_slice(&answer.stdout).expect("`infra/render` prints JSON")
}

/// Everything that is wrong with the template, each as one sentence that names the resource.
pub fn findings(template: &Value) -> Vec<String> {
    let rules = [recursion, permissions, urls, functions, mappings, queues, buckets, tables, schedules, alarms];
    rules.into_iter().flat_map(|rule| rule(template)).collect()
}

/// The resources of a type, by name.
fn of_type<'a>(template: &'a Value, kind: &str) -> Vec<(&'a str, &'a Value)> {
    let resources = template["Resources"].as_object().into_iter().flatten();
    resources
        .filter(|(_, resource)| resource["Type"] == kind)
        .map(|(name, resource)| (name.as_str(), resource))
        .collect()
}

/// A value that CloudFormation accepts alone or in a list, as a list.
fn listed(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        Value::Null => Vec::new(),
        single => vec![single],
    }
}

/// The resource a `Ref` or an `Fn::GetAtt` points at.
fn target(value: &Value) -> Option<&str> {
    value["Ref"].as_str().or_else(|| value["Fn::GetAtt"][0].as_str())
}

/// The text of a value that is a string or an `Fn::Sub` of one.
fn text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["Fn::Sub"].as_str())
}

/// The policy statements of a role, managed policies aside.
fn statements(role: &Value) -> impl Iterator<Item = &Value> {
    listed(&role["Properties"]["Policies"])
        .into_iter()
        .flat_map(|policy| listed(&policy["PolicyDocument"]["Statement"]))
}

fn actions(statement: &Value) -> impl Iterator<Item = &str> {
    listed(&statement["Action"]).into_iter().filter_map(Value::as_str)
}

/// Lambda stops loops of functions and queues after about 16 hops, unless told that they are meant.
fn recursion(template: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut senders = 0;
    for (name, function) in of_type(template, "AWS::Lambda::Function") {
        let Some(role) = target(&function["Properties"]["Role"]) else {
            found.push(format!("function `{name}` has no role of this template"));
            continue;
        };
        let sends = statements(&template["Resources"][role])
            .flat_map(actions)
            .any(|action| matches!(action, "sqs:SendMessage" | "sqs:*" | "*"));
        senders += usize::from(sends);
        if sends && function["Properties"]["RecursiveLoop"] != "Allow" {
            found.push(format!("function `{name}` may send to a queue, but `RecursiveLoop` is not `Allow`"));
        }
    }
    if senders < 4 {
        found.push(format!("{senders} functions may send to a queue; the scheduler, both workers and the API have to"));
    }
    found
}

/// Every right is to something with a name, and no right is one that nobody wrote down here.
fn permissions(template: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (name, role) in of_type(template, "AWS::IAM::Role") {
        if !role["Properties"]["ManagedPolicyArns"].is_null() {
            found.push(format!("role `{name}` has managed policies, whose rights reach further than its own"));
        }
        for statement in statements(role) {
            if statement["Effect"] != "Allow" {
                continue;
            }
            let shown = statement["Sid"].as_str().unwrap_or("without Sid");
            if statement["NotAction"] != Value::Null || actions(statement).any(|action| action.contains('*')) {
                found.push(format!("role `{name}`, statement `{shown}`: actions are not named one by one"));
            }
            let resources = listed(&statement["Resource"]);
            if resources.is_empty() || resources.into_iter().any(is_unnamed) {
                found.push(format!("role `{name}`, statement `{shown}`: the resource has no name"));
            }
        }
    }
    found
}

/// Whether an ARN covers more than one named thing, or more than one named prefix of a bucket.
fn is_unnamed(resource: &Value) -> bool {
    let Some(arn) = text(resource) else { return target(resource).is_none() };
    // `${Table.Arn}/index/due` stands for an ARN, but holds no colon of its own.
    let thing = arn.splitn(6, ':').last().unwrap_or(arn);
    match thing.split_once('*') {
        None => false,
        // Only what follows a bucket and a prefix in it may be open, and the secrets below a name: `bucket/dags/*`, `secret:airflow/*`.
        Some((before, after)) => {
            let least = if arn.contains(":secret:") { 1 } else { 2 };
            !after.is_empty() || before.matches('/').count() < least || !before.ends_with('/')
        }
    }
}

/// What browsers ask before they have a token: the page, its scripts, and where to log in.
const OPEN_ROUTES: [&str; 4] = ["GET /", "GET /assets/{name}", "GET /favicon.svg", "GET /auth/issuer"];

/// Whoever reaches a function by a URL has been checked by AWS.
fn urls(template: &Value) -> Vec<String> {
    let urls = of_type(template, "AWS::Lambda::Url");
    let open = urls.iter().filter(|(_, url)| url["Properties"]["AuthType"] != "AWS_IAM");
    let mut found: Vec<String> = open.map(|(name, _)| format!("anybody may call `{name}`")).collect();
    if urls.is_empty() {
        found.push("the API has no URL".to_owned());
    }
    for (name, route) in of_type(template, "AWS::ApiGatewayV2::Route") {
        let properties = &route["Properties"];
        if OPEN_ROUTES.iter().any(|key| properties["RouteKey"] == *key) {
            continue;
        }
        let authorizer = target(&properties["AuthorizerId"]).unwrap_or_default();
        let checks = &template["Resources"][authorizer]["Properties"];
        if properties["AuthorizationType"] != "JWT" || target(&checks["JwtConfiguration"]["Issuer"]).is_none() {
            found.push(format!("anybody may take the route `{name}`"));
        }
    }
    for (name, stage) in of_type(template, "AWS::ApiGatewayV2::Stage") {
        if stage["Properties"]["DefaultRouteSettings"]["ThrottlingRateLimit"].is_null() {
            found.push(format!("stage `{name}` has no bound of its own on requests"));
        }
    }
    // Without an issuer there is no gateway, and nothing of it.
    for (name, resource) in template["Resources"].as_object().into_iter().flatten() {
        let of_gateway = resource["Type"].as_str().is_some_and(|kind| kind.starts_with("AWS::ApiGatewayV2::"));
        if of_gateway && resource["Condition"] != "HasJwtIssuer" {
            found.push(format!("`{name}` is made without an issuer too"));
        }
    }
    found
}

/// Who reads variables and connections: workers for tasks, the API for people.
const READERS: [&str; 3] = ["Worker", "PythonWorker", "Api"];

fn functions(template: &Value) -> Vec<String> {
    let mut found = Vec::new();
    // One parameter says which processor, since one command builds all of them.
    let native = template["Parameters"]["Architecture"]["Default"] == "x86_64";
    for (name, function) in of_type(template, "AWS::Lambda::Function") {
        let properties = &function["Properties"];
        let as_built = native && properties["Architectures"] == serde_json::json!([{"Ref": "Architecture"}]);
        if !runs_a_binary(properties) || !as_built {
            found.push(format!("function `{name}` is not one that a native x86_64 binary runs on"));
        }
        for variable in [
            "UPDRAFT_TABLE",
            "UPDRAFT_BUCKET",
            "UPDRAFT_TASK_QUEUE_URL",
            "UPDRAFT_PYTHON_QUEUE_URL",
            "UPDRAFT_SCHEDULER_QUEUE_URL",
            "UPDRAFT_HISTORY_DAYS",
            "RUST_LOG",
        ] {
            if properties["Environment"]["Variables"][variable].is_null() {
                found.push(format!("function `{name}` is not given `{variable}`"));
            }
        }
        for variable in ["UPDRAFT_SECRETS_BACKEND", "UPDRAFT_SECRETS_BACKEND_KWARGS", "UPDRAFT_FERNET_KEY_SECRET"] {
            if READERS.contains(&name) && properties["Environment"]["Variables"][variable].is_null() {
                found.push(format!("function `{name}` reads variables and connections, and is not given `{variable}`"));
            }
        }
        let group = target(&properties["LoggingConfig"]["LogGroup"]).unwrap_or_default();
        if template["Resources"][group]["Properties"]["RetentionInDays"].is_null() {
            found.push(format!("function `{name}` writes logs that are kept for ever"));
        }
    }
    found
}

/// Whether Lambda starts the binary: by itself, or in the place of the interpreter that it would start.
fn runs_a_binary(properties: &Value) -> bool {
    properties["Runtime"] == "provided.al2023"
        || target(&properties["Runtime"]) == Some("PythonRuntime")
            && properties["Environment"]["Variables"]["AWS_LAMBDA_EXEC_WRAPPER"] == "/var/task/bootstrap"
            && properties["Environment"]["Variables"]["UPDRAFT_WORKER"] == "python"
}

/// Queues behind functions: single failures are told apart, and no message comes back while it is being worked on.
fn mappings(template: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mappings = of_type(template, "AWS::Lambda::EventSourceMapping");
    if mappings.len() > MAPPINGS_MAX {
        found
            .push(format!("{} mappings poll their queues, idle or not; at most {MAPPINGS_MAX} should", mappings.len()));
    }
    for (name, mapping) in mappings {
        let properties = &mapping["Properties"];
        if properties["FunctionResponseTypes"] != serde_json::json!(["ReportBatchItemFailures"]) {
            found.push(format!("mapping `{name}`: one failure would bring the whole batch back"));
        }
        if properties["ScalingConfig"]["MaximumConcurrency"].is_null() {
            found.push(format!("mapping `{name}` could take the account's whole concurrency"));
        }
        let function = target(&properties["FunctionName"]).unwrap_or_default();
        if function.ends_with("Worker") && properties["BatchSize"] != 1 {
            found.push(format!("mapping `{name}`: a task that takes the worker down would take its batch along"));
        }
        let queue = target(&properties["EventSourceArn"]).unwrap_or_default();
        let visibility = &template["Resources"][queue]["Properties"]["VisibilityTimeout"];
        let timeout = &template["Resources"][function]["Properties"]["Timeout"];
        if !outlasts(template, visibility, timeout) {
            found.push(format!("queue `{queue}` takes messages back before function `{function}` has timed out"));
        }
    }
    found
}

/// Whether the visibility is longer than the timeout, for every value that the timeout's parameter allows.
fn outlasts(template: &Value, visibility: &Value, timeout: &Value) -> bool {
    if let (Some(visibility), Some(timeout)) = (visibility.as_u64(), timeout.as_u64()) {
        return visibility > timeout;
    }
    let lookup = &visibility["Fn::FindInMap"];
    let (Some(table), Some(parameter), Some(field)) = (lookup[0].as_str(), target(&lookup[1]), lookup[2].as_str())
    else {
        return false;
    };
    let allowed = listed(&template["Parameters"][parameter]["AllowedValues"]);
    target(timeout) == Some(parameter)
        && !allowed.is_empty()
        && allowed.into_iter().all(|value| {
            let Some(timeout) = value.as_str() else { return false };
            let visibility = template["Mappings"][table][timeout][field].as_u64();
            matches!((visibility, timeout.parse::<u64>()), (Some(visibility), Ok(timeout)) if visibility > timeout)
        })
}

fn queues(template: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let queues = of_type(template, "AWS::SQS::Queue");
    let dead_letters: Vec<_> = queues
        .iter()
        .filter_map(|(_, queue)| target(&queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]))
        .collect();
    for (name, queue) in &queues {
        let properties = &queue["Properties"];
        if properties["SqsManagedSseEnabled"] != true {
            found.push(format!("queue `{name}` is not encrypted"));
        }
        if properties["RedrivePolicy"].is_null() && !dead_letters.contains(name) {
            found.push(format!("queue `{name}` has no dead-letter queue"));
        }
        let policies = of_type(template, "AWS::SQS::QueuePolicy");
        if !policies.iter().any(|(_, policy)| refuses_plain_text(policy, &[name])) {
            found.push(format!("queue `{name}` can be reached without TLS"));
        }
    }
    found
}

fn buckets(template: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (name, bucket) in of_type(template, "AWS::S3::Bucket") {
        let properties = &bucket["Properties"];
        let rule = &properties["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
        if rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"].is_null() {
            found.push(format!("bucket `{name}` is not encrypted"));
        }
        for block in ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"] {
            if properties["PublicAccessBlockConfiguration"][block] != true {
                found.push(format!("bucket `{name}` can become public: `{block}` is not set"));
            }
        }
        let own = properties["BucketName"]["Ref"].as_str().unwrap_or(name);
        let arn = format!("arn:${{AWS::Partition}}:s3:::${{{own}}}");
        let policies = of_type(template, "AWS::S3::BucketPolicy");
        if !policies.iter().any(|(_, policy)| refuses_plain_text(policy, &[&arn, &format!("{arn}/*")])) {
            found.push(format!("bucket `{name}` can be reached without TLS"));
        }
        let notified = listed(&properties["NotificationConfiguration"]["LambdaConfigurations"]);
        for notification in &notified {
            let filter = &notification["Filter"]["S3Key"]["Rules"];
            if filter != &serde_json::json!([{"Name": "prefix", "Value": "dags/"}]) {
                found.push(format!("bucket `{name}` notifies of more than `dags/`, so the functions wake themselves"));
            }
        }
        let created = notified.iter().any(|one| one["Event"] == "s3:ObjectCreated:*");
        let removed = notified.iter().any(|one| one["Event"] == "s3:ObjectRemoved:*");
        if !(created && removed) {
            found.push(format!("bucket `{name}` does not notify of both uploads and removals"));
        }
        found.extend(is_kept(name, bucket));
    }
    found
}

/// Whether a resource policy denies everything over plain HTTP, to all of the named resources.
fn refuses_plain_text(policy: &Value, resources: &[&str]) -> bool {
    listed(&policy["Properties"]["PolicyDocument"]["Statement"]).into_iter().any(|statement| {
        let covered: Vec<_> =
            listed(&statement["Resource"]).into_iter().filter_map(|one| text(one).or_else(|| target(one))).collect();
        statement["Effect"] == "Deny"
            && statement["Principal"] == "*"
            && actions(statement).any(|action| action.ends_with(":*"))
            && statement["Condition"]["Bool"]["aws:SecureTransport"] == "false"
            && resources.iter().all(|resource| covered.contains(resource))
    })
}

fn tables(template: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (name, table) in of_type(template, "AWS::DynamoDB::Table") {
        let properties = &table["Properties"];
        if properties["BillingMode"] != "PAY_PER_REQUEST" {
            found.push(format!("table `{name}` costs money while nothing happens"));
        }
        if properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] != true {
            found.push(format!("table `{name}` cannot be brought back to an earlier point in time"));
        }
        let expiry = &properties["TimeToLiveSpecification"];
        if expiry["AttributeName"] != "expires" || expiry["Enabled"] != true {
            found.push(format!("table `{name}` keeps what has expired"));
        }
        if properties["SSESpecification"]["SSEEnabled"] == false {
            found.push(format!("table `{name}` turns its own encryption off"));
        }
        found.extend(is_kept(name, table));
    }
    found
}

/// State outlives its stack.
fn is_kept(name: &str, resource: &Value) -> Option<String> {
    let kept = resource["DeletionPolicy"] == "Retain" && resource["UpdateReplacePolicy"] == "Retain";
    (!kept).then(|| format!("`{name}` holds state, but goes with its stack or with a change that replaces it"))
}

fn schedules(template: &Value) -> Vec<String> {
    let schedules = of_type(template, "AWS::Scheduler::Schedule");
    let ticks = schedules.iter().any(|(_, schedule)| {
        let properties = &schedule["Properties"];
        properties["ScheduleExpression"] == "rate(1 minute)"
            && target(&properties["Target"]["Arn"]) == Some("Scheduler")
    });
    if ticks { Vec::new() } else { vec!["nothing ticks the scheduler every minute".to_owned()] }
}

/// What would stop runs unseen raises an alarm, and every alarm says what it means and tells whoever wants to know.
fn alarms(template: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let alarms = of_type(template, "AWS::CloudWatch::Alarm");
    let watched = |metric: &str, target_name: &str| {
        alarms.iter().any(|(_, alarm)| {
            let properties = &alarm["Properties"];
            let dimension = &properties["Dimensions"][0]["Value"];
            properties["MetricName"] == metric && target(dimension) == Some(target_name)
        })
    };
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for (name, queue) in of_type(template, "AWS::SQS::Queue") {
        let dead_letters = queue["Properties"]["RedrivePolicy"].is_null();
        let metric = if dead_letters { "ApproximateNumberOfMessagesVisible" } else { "ApproximateAgeOfOldestMessage" };
        wanted.push((metric, name));
    }
    for (name, _) in of_type(template, "AWS::Lambda::Function") {
        wanted.extend([("Errors", name), ("Throttles", name)]);
    }
    for (name, _) in of_type(template, "AWS::Scheduler::ScheduleGroup") {
        wanted.push(("InvocationAttemptCount", name));
    }
    for (metric, name) in wanted.into_iter().filter(|(metric, name)| !watched(metric, name)) {
        found.push(format!("nothing watches `{metric}` of `{name}`"));
    }
    for (name, schedule) in of_type(template, "AWS::Scheduler::Schedule") {
        if target(&schedule["Properties"]["GroupName"]).is_none() {
            found.push(format!("schedule `{name}` is in no group of its own, so its calls cannot be counted"));
        }
    }
    for (name, alarm) in &alarms {
        let properties = &alarm["Properties"];
        if properties["AlarmDescription"].as_str().is_none_or(str::is_empty) {
            found.push(format!("alarm `{name}` does not say what it means"));
        }
        if properties["AlarmActions"].is_null() {
            found.push(format!("alarm `{name}` tells nobody"));
        }
        // Silence is good news of a queue or a function, and the worst of the tick.
        let silence =
            if properties["ComparisonOperator"] == "LessThanThreshold" { "breaching" } else { "notBreaching" };
        if properties["TreatMissingData"] != silence {
            found.push(format!("alarm `{name}` takes silence for the wrong thing"));
        }
    }
    found
}
