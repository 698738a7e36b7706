//! The Terraform module beside the template: what both make has to be the same, down to rights, limits and alarms.

mod hcl;
mod module;
mod template;

use module::{FUNCTIONS, Made, made, variables};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use template::Template;
use updraft_e2e::repository;

/// What the module makes where everything that may be there is.
fn all() -> Vec<Made> {
    made(&[("jwt_issuer", json!("https://issuer")), ("alarm_topic", json!("TOPIC"))])
}

fn of_kind<'a>(all: &'a [Made], kind: &'a str) -> impl Iterator<Item = &'a Made> {
    all.iter().filter(move |made| made.kind == kind)
}

/// One of a kind: by what its address has between brackets, or after the dot.
fn one<'a>(all: &'a [Made], kind: &str, key: &str) -> &'a Value {
    let is = |made: &&Made| {
        made.kind == kind && (made.address.ends_with(&format!("[{key}]")) || made.address.ends_with(&format!(".{key}")))
    };
    let found = all.iter().find(is);
    &found.unwrap_or_else(|| panic!("the module makes no `{kind}` `{key}`")).is
}

fn parsed(text: &Value) -> Value {
    serde_json::from_str(text.as_str().unwrap_or_default()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A value that may stand alone or in a list.
fn listed(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values.clone(),
        Value::Null => Vec::new(),
        other => vec![other.clone()],
    }
}

/// Pairs of an action and what it is allowed on.
fn rights(policy: &Value) -> BTreeSet<(String, String)> {
    let mut pairs = BTreeSet::new();
    for statement in listed(&policy["Statement"]) {
        assert_eq!(statement["Effect"], "Allow", "{statement}");
        for action in listed(&statement["Action"]) {
            for resource in listed(&statement["Resource"]) {
                // A log group's ARN has the end for its streams in CloudFormation, and none in Terraform.
                let resource = resource.as_str().unwrap_or_default().replace("Logs.Arn:*", "Logs.Arn");
                pairs.insert((action.as_str().unwrap_or_default().to_owned(), resource));
            }
        }
    }
    assert!(!pairs.is_empty(), "{policy}");
    pairs
}

#[test]
fn functions_may_do_the_same() {
    let (all, template) = (all(), Template::read());
    for (key, name) in FUNCTIONS {
        let role = template.properties(&format!("{name}Role"));
        let theirs = parsed(&one(&all, "aws_iam_role_policy", key)["policy"]);
        assert_eq!(rights(&theirs), rights(&role["Policies"][0]["PolicyDocument"]), "{name}");
    }
    let role = template.properties("TickRole");
    let theirs = parsed(&one(&all, "aws_iam_role_policy", "tick")["policy"]);
    assert_eq!(rights(&theirs), rights(&role["Policies"][0]["PolicyDocument"]));
    for (key, name) in FUNCTIONS.into_iter().chain([("tick", "Tick")]) {
        let theirs = parsed(&one(&all, "aws_iam_role", key)["assume_role_policy"]);
        assert_eq!(theirs, template.properties(&format!("{name}Role"))["AssumeRolePolicyDocument"], "{name}");
    }
}

#[test]
fn functions_are_the_same() {
    let (all, template) = (all(), Template::read());
    for (key, name) in FUNCTIONS {
        let (ours, theirs) = (template.properties(name), one(&all, "aws_lambda_function", key));
        for (property, attribute) in [
            ("FunctionName", "function_name"),
            ("Runtime", "runtime"),
            ("Handler", "handler"),
            ("Architectures", "architectures"),
            ("MemorySize", "memory_size"),
            ("Role", "role"),
        ] {
            assert_eq!(theirs[attribute], ours[property], "{name}.{property}");
        }
        // Parameters are text in CloudFormation.
        let number = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(number(&theirs["timeout"]), number(&ours["Timeout"]), "{name}.Timeout");
        let said = |of: &Value| {
            let pairs = of.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), number(value)));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let (mut ours, mut theirs) =
            (said(&ours["Environment"]["Variables"]), said(&theirs["environment"]["variables"]));
        // `infra/deploy` knows it, and whoever calls the module says it.
        assert!(ours.remove("UPDRAFT_VERSION").is_some() && theirs.remove("UPDRAFT_VERSION").is_some());
        assert_eq!(theirs, ours, "{name}");
        assert_eq!(one(&all, "aws_lambda_function_recursion_config", key)["recursive_loop"], "Allow");
        assert_eq!(template.properties(name)["RecursiveLoop"], "Allow");
        let group = one(&all, "aws_cloudwatch_log_group", key);
        let logs = template.properties(&format!("{name}Logs"));
        assert_eq!((&group["name"], &group["retention_in_days"]), (&logs["LogGroupName"], &logs["RetentionInDays"]));
    }
    let url = one(&all, "aws_lambda_function_url", "api");
    assert_eq!(url["authorization_type"], template.properties("ApiUrl")["AuthType"]);
    let invoked = template.of_type("AWS::Lambda::EventInvokeConfig");
    let theirs = one(&all, "aws_lambda_function_event_invoke_config", "scheduler");
    assert_eq!(theirs["maximum_event_age_in_seconds"], invoked[0].1["MaximumEventAgeInSeconds"]);
    assert_eq!(theirs["maximum_retry_attempts"], invoked[0].1["MaximumRetryAttempts"]);
}

#[test]
fn queues_and_what_polls_them_are_the_same() {
    let (all, template) = (all(), Template::read());
    let queues = [
        ("tasks", "TaskQueue"),
        ("python", "PythonQueue"),
        ("looks", "SchedulerQueue"),
        ("dead_tasks", "TaskDeadLetters"),
        ("dead_looks", "SchedulerDeadLetters"),
    ];
    assert_eq!(template.of_type("AWS::SQS::Queue").len(), queues.len());
    for (key, name) in queues {
        let (ours, theirs) = (template.properties(name), one(&all, "aws_sqs_queue", key));
        assert_eq!(theirs["sqs_managed_sse_enabled"], ours["SqsManagedSseEnabled"], "{name}");
        assert_eq!(theirs["visibility_timeout_seconds"], ours["VisibilityTimeout"], "{name}");
        assert_eq!(theirs["message_retention_seconds"], ours["MessageRetentionPeriod"], "{name}");
        let redrive = if theirs["redrive_policy"].is_null() { Value::Null } else { parsed(&theirs["redrive_policy"]) };
        assert_eq!(redrive, ours["RedrivePolicy"], "{name}");
        let policy = parsed(&one(&all, "aws_sqs_queue_policy", key)["policy"]);
        let denied = &policy["Statement"][0];
        let ours = &template.properties("QueuePolicy")["PolicyDocument"]["Statement"][0];
        assert_eq!((&denied["Effect"], &denied["Condition"]), (&ours["Effect"], &ours["Condition"]));
        assert!(listed(&ours["Resource"]).contains(&denied["Resource"]), "{denied} {ours}");
    }
    let mapping = |batch: &Value, answers: &Value, most: &Value| json!([batch, answers, most]);
    let ours: BTreeMap<String, Value> = template
        .of_type("AWS::Lambda::EventSourceMapping")
        .into_iter()
        .map(|(_, is)| {
            let most = &is["ScalingConfig"]["MaximumConcurrency"];
            let queue = is["EventSourceArn"].as_str().unwrap_or_default().to_owned();
            (queue, mapping(&is["BatchSize"], &is["FunctionResponseTypes"], most))
        })
        .collect();
    let theirs: BTreeMap<String, Value> = of_kind(&all, "aws_lambda_event_source_mapping")
        .map(|Made { is, .. }| {
            let most = &is["scaling_config"]["maximum_concurrency"];
            let queue = is["event_source_arn"].as_str().unwrap_or_default().to_owned();
            (queue, mapping(&is["batch_size"], &is["function_response_types"], most))
        })
        .collect();
    assert_eq!(theirs, ours);
}

#[test]
fn the_table_and_the_bucket_are_the_same() {
    let (all, template) = (all(), Template::read());
    let (ours, theirs) = (template.properties("Table"), one(&all, "aws_dynamodb_table", "this"));
    assert_eq!((&theirs["name"], &theirs["billing_mode"]), (&ours["TableName"], &ours["BillingMode"]));
    let keys = |of: &Value| json!([of["hash_key"], of["range_key"]]);
    let names = |of: &Value| json!([of["KeySchema"][0]["AttributeName"], of["KeySchema"][1]["AttributeName"]]);
    assert_eq!(keys(theirs), names(ours));
    let (index, theirs_index) = (&ours["GlobalSecondaryIndexes"][0], &theirs["global_secondary_index"]);
    assert_eq!(keys(theirs_index), names(index));
    assert_eq!(
        (&theirs_index["name"], &theirs_index["projection_type"]),
        (&index["IndexName"], &index["Projection"]["ProjectionType"])
    );
    let attributes: BTreeSet<(String, String)> = listed(&theirs["attribute"])
        .iter()
        .map(|of| {
            (of["name"].as_str().unwrap_or_default().to_owned(), of["type"].as_str().unwrap_or_default().to_owned())
        })
        .collect();
    let named = listed(&ours["AttributeDefinitions"]);
    let named = named.iter().map(|of| {
        (
            of["AttributeName"].as_str().unwrap_or_default().to_owned(),
            of["AttributeType"].as_str().unwrap_or_default().to_owned(),
        )
    });
    assert_eq!(attributes, named.collect());
    assert_eq!(
        theirs["point_in_time_recovery"]["enabled"],
        ours["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
    );
    assert_eq!(theirs["ttl"]["attribute_name"], ours["TimeToLiveSpecification"]["AttributeName"]);

    let bucket = template.properties("Bucket");
    let open = one(&all, "aws_s3_bucket_public_access_block", "this");
    for (attribute, property) in [
        ("block_public_acls", "BlockPublicAcls"),
        ("block_public_policy", "BlockPublicPolicy"),
        ("ignore_public_acls", "IgnorePublicAcls"),
        ("restrict_public_buckets", "RestrictPublicBuckets"),
    ] {
        assert_eq!(
            (&open[attribute], &bucket["PublicAccessBlockConfiguration"][property]),
            (&json!(true), &json!(true))
        );
    }
    let encrypted = &one(&all, "aws_s3_bucket_server_side_encryption_configuration", "this")["rule"]["apply_server_side_encryption_by_default"];
    let ours = &bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"];
    assert_eq!(encrypted["sse_algorithm"], ours["SSEAlgorithm"]);
    let policy = parsed(&one(&all, "aws_s3_bucket_policy", "this")["policy"]);
    assert_eq!(policy, template.properties("BucketPolicy")["PolicyDocument"]);
    let told = &one(&all, "aws_s3_bucket_notification", "this")["lambda_function"];
    let ours = listed(&bucket["NotificationConfiguration"]["LambdaConfigurations"]);
    assert_eq!(told["events"], ours.iter().map(|of| of["Event"].clone()).collect::<Value>());
    for of in &ours {
        let rule = &of["Filter"]["S3Key"]["Rules"][0];
        assert_eq!((&told["filter_prefix"], &told["lambda_function_arn"]), (&rule["Value"], &of["Function"]));
    }
}

/// Everything about an alarm but its name and its text.
fn alarms(of: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut alarms: Vec<String> = of.into_iter().map(|alarm| alarm.to_string()).collect();
    alarms.sort();
    alarms
}

#[test]
fn alarms_are_the_same() {
    let (all, template) = (all(), Template::read());
    let ours = template.of_type("AWS::CloudWatch::Alarm").into_iter().map(|(_, is)| {
        let dimension = &is["Dimensions"][0];
        let (name, value) = (dimension["Name"].clone(), dimension["Value"].clone());
        json!([
            is["Namespace"],
            is["MetricName"],
            name,
            value,
            is["Statistic"],
            is["Period"],
            is["DatapointsToAlarm"],
            is["EvaluationPeriods"],
            is["Threshold"],
            is["ComparisonOperator"],
            is["TreatMissingData"],
            is["AlarmActions"],
            is["OKActions"],
        ])
    });
    let theirs = of_kind(&all, "aws_cloudwatch_metric_alarm").map(|Made { is, .. }| {
        let (name, value) = is["dimensions"].as_object().into_iter().flatten().next().expect("it watches something");
        json!([
            is["namespace"],
            is["metric_name"],
            name,
            value,
            is["statistic"],
            is["period"],
            is["datapoints_to_alarm"],
            is["evaluation_periods"],
            is["threshold"],
            is["comparison_operator"],
            is["treat_missing_data"],
            is["alarm_actions"],
            is["ok_actions"],
        ])
    });
    let (ours, theirs) = (alarms(ours), alarms(theirs));
    assert_eq!(ours.len(), 14, "{ours:#?}");
    assert_eq!(theirs, ours);
    let none = made(&[("alarms", json!(false)), ("dashboard", json!(false))]);
    assert!(
        none.iter().all(|made| !made.kind.starts_with("aws_cloudwatch_metric") && !made.kind.contains("dashboard"))
    );
}

/// The lines of a dashboard: namespace, metric, and what it is of. The template refers to the resources that the module names.
fn lines(body: &Value, template: &Template) -> BTreeSet<String> {
    let widgets = listed(&body["widgets"]);
    let lines = widgets.iter().flat_map(|widget| listed(&widget["properties"]["metrics"]));
    let named = |word: &Value| word.as_str().map(|word| template.name_of(word).unwrap_or(word).to_owned());
    lines.map(|line| listed(&line).iter().filter_map(named).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn dashboards_show_the_same() {
    let (all, template) = (all(), Template::read());
    let ours = lines(&parsed(&template.properties("Overview")["DashboardBody"]), &template);
    let theirs = lines(&parsed(&one(&all, "aws_cloudwatch_dashboard", "this")["dashboard_body"]), &template);
    assert!(ours.len() > 20, "{ours:?}");
    assert_eq!(theirs, ours);
}

#[test]
fn the_schedule_and_the_gateway_are_the_same() {
    let (all, template) = (all(), Template::read());
    let (_, ours) = template.of_type("AWS::Scheduler::Schedule").remove(0);
    let theirs = one(&all, "aws_scheduler_schedule", "tick");
    assert_eq!((&theirs["name"], &theirs["schedule_expression"]), (&ours["Name"], &ours["ScheduleExpression"]));
    assert_eq!(theirs["flexible_time_window"]["mode"], ours["FlexibleTimeWindow"]["Mode"]);
    let (target, theirs) = (&ours["Target"], &theirs["target"]);
    assert_eq!((&theirs["arn"], &theirs["role_arn"]), (&target["Arn"], &target["RoleArn"]));
    let again = &theirs["retry_policy"];
    assert_eq!(again["maximum_event_age_in_seconds"], target["RetryPolicy"]["MaximumEventAgeInSeconds"]);
    assert_eq!(again["maximum_retry_attempts"], target["RetryPolicy"]["MaximumRetryAttempts"]);

    let stage = one(&all, "aws_apigatewayv2_stage", "tokens");
    let ours = template.properties("TokenStage");
    assert_eq!(
        stage["default_route_settings"]["throttling_burst_limit"],
        ours["DefaultRouteSettings"]["ThrottlingBurstLimit"]
    );
    assert_eq!(
        stage["default_route_settings"]["throttling_rate_limit"],
        ours["DefaultRouteSettings"]["ThrottlingRateLimit"]
    );
    let log = &stage["access_log_settings"];
    assert_eq!(log["destination_arn"], ours["AccessLogSettings"]["DestinationArn"]);
    assert_eq!(parsed(&log["format"]), parsed(&ours["AccessLogSettings"]["Format"]));
    let group = one(&all, "aws_cloudwatch_log_group", "tokens");
    assert_eq!(group["name"], template.properties("TokenApiLogs")["LogGroupName"]);
    let (asks, ours) = (one(&all, "aws_apigatewayv2_authorizer", "tokens"), template.properties("TokenAuthorizer"));
    assert_eq!(
        (&asks["authorizer_type"], &asks["identity_sources"]),
        (&ours["AuthorizerType"], &ours["IdentitySource"])
    );
    assert_eq!(asks["jwt_configuration"], json!({"issuer": "https://issuer", "audience": ["updraft"]}));
    let (route, ours) = (one(&all, "aws_apigatewayv2_route", "tokens"), template.properties("TokenRoute"));
    assert_eq!((&route["route_key"], &route["authorization_type"]), (&ours["RouteKey"], &ours["AuthorizationType"]));
    let gateway = made(&[]).into_iter().filter(|made| made.kind.starts_with("aws_apigateway")).count();
    assert_eq!(gateway, 0, "there is none without an issuer");
}

/// What can be said of a deployment is the same, and so is what is taken for granted.
#[test]
fn parameters_are_the_same() {
    let (template, variables) = (Template::read(), variables());
    let snake = |name: &str| {
        let mut snake = String::new();
        for c in name.chars() {
            if c.is_ascii_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        }
        snake
    };
    // The zips come from a folder instead of a bucket, and what is not asked for is null.
    let other = ["ArtifactsBucket", "SchedulerKey", "WorkerKey", "ApiKey", "BucketName", "Version"];
    let mut known: BTreeSet<String> = ["name", "zips", "bucket", "release"].map(str::to_owned).into();
    for (name, parameter) in template.parameters().iter().filter(|(name, _)| !other.contains(&name.as_str())) {
        let variable = variables.get(&snake(name)).unwrap_or_else(|| panic!("the module has no `{}`", snake(name)));
        let said = |text: String| if text == "null" { String::new() } else { text };
        let default = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let theirs = said(variable.as_str().map_or_else(|| variable.to_string(), str::to_owned));
        assert_eq!(theirs, default(&parameter["Default"]), "{name}");
        known.insert(snake(name));
    }
    assert_eq!(variables.keys().cloned().collect::<BTreeSet<_>>(), known, "the module has variables of its own");
}

/// What Terraform says of a folder.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// It is not on the path.
    Nothing(String),
    /// It has read the files and found nothing amiss. What they ask of resources it cannot know without the provider, which cannot be fetched.
    Read(String),
    /// It knows the provider, and is content.
    Valid,
    /// It is not content.
    Wrong(String),
}

fn asked(folder: &Path) -> Said {
    let data = std::env::temp_dir().join(format!("updraft-terraform-data-{}", std::process::id()));
    let terraform = |arguments: &[&str]| {
        let run = Command::new("terraform")
            .args(arguments)
            .arg("-no-color")
            .env("TF_DATA_DIR", &data)
            .current_dir(folder)
            .output();
        run.map(|output| {
            let said = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8_lossy(&said).into_owned())
        })
    };
    let said = match terraform(&["init", "-backend=false", "-input=false"]) {
        Err(why) => Said::Nothing(why.to_string()),
        Ok((false, said)) if said.contains("Failed to query available provider packages") => Said::Read(said),
        Ok((false, said)) => Said::Wrong(said),
        Ok((true, _)) => match terraform(&["validate"]).expect("it has started before") {
            (true, _) => Said::Valid,
            (false, said) => Said::Wrong(said),
        },
    };
    // Not there, where it has not started.
    let _ = std::fs::remove_dir_all(data);
    said
}

/// Where Terraform is on the path. Without its provider it finds no more than what is wrong with any file; it must find that.
#[test]
fn the_module_is_valid() {
    let module = repository().join("infra/terraform");
    // Past the test's own output, which nobody sees where it passes.
    let tell = |text: String| std::io::stderr().write_all(text.as_bytes()).expect("standard error takes it");
    let folder = std::env::temp_dir().join(format!("updraft-terraform-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    // Copies, since it writes beside what it reads.
    let with = |change: fn(&str) -> String| {
        for file in std::fs::read_dir(&module).expect("the module is there").flatten() {
            if file.path().extension().is_some_and(|end| end == "tf") {
                let text = std::fs::read_to_string(file.path()).expect("a file of the module");
                std::fs::write(folder.join(file.file_name()), change(&text)).expect("a copy of it");
            }
        }
        asked(&folder)
    };
    match with(str::to_owned) {
        Said::Nothing(why) => {
            tell(format!("the Terraform module is not asked about: `terraform` does not start ({why})\n"));
            return;
        }
        Said::Read(why) => {
            tell(format!("the Terraform module is read but not validated: its provider cannot be fetched\n{why}"));
        }
        Said::Valid => (),
        Said::Wrong(said) => panic!("{said}"),
    }
    let breakages: [fn(&str) -> String; 4] = [
        |text| text.replacen("name ", "name = ", 1),
        |text| text.replace("resource \"aws_s3_bucket\" \"this\"", "resource \"aws_s3_bucket\""),
        |text| text.replace("variable \"zips\"", "variable \"name\""),
        |text| text.replace("locals {", "local {"),
    ];
    for (number, change) in breakages.into_iter().enumerate() {
        let said = with(change);
        assert!(matches!(said, Said::Wrong(_)), "breakage {number} is not found: {said:?}");
    }
    std::fs::remove_dir_all(folder).expect("the copy can be removed");
}
