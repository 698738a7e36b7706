//! The rendered template keeps its rules, and each rule bites: every one is broken once, and has to be named.

use serde_json::{Value, json};
use updraft_e2e::template::{findings, rendered};

#[test]
fn the_rendered_template_keeps_every_rule() {
    assert_eq!(findings(&rendered()), Vec::<String>::new());
}

/// What to break, by its path in the rendered template; what to put there; a part of the finding that must follow.
fn breakages() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/Resources/Scheduler/Properties/RecursiveLoop", json!("Terminate"), "function `Scheduler` may send"),
        ("/Resources/Worker/Properties/RecursiveLoop", Value::Null, "function `Worker` may send"),
        ("/Resources/WorkerRole/Properties/Policies", json!([]), "3 functions may send"),
        ("/Resources/Worker/Properties/Role", json!("arn:aws:iam::1:role/any"), "`Worker` has no role"),
        (
            "/Resources/WorkerRole/Properties/ManagedPolicyArns",
            json!(["arn:aws:iam::aws:policy/X"]),
            "managed policies",
        ),
        ("/Resources/WorkerRole/Properties/Policies/0/PolicyDocument/Statement/0/Resource", json!("*"), "has no name"),
        (
            "/Resources/WorkerRole/Properties/Policies/0/PolicyDocument/Statement/0/Resource",
            json!({"Fn::Sub": "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/*"}),
            "has no name",
        ),
        (
            "/Resources/WorkerRole/Properties/Policies/0/PolicyDocument/Statement/2/Resource",
            json!([{"Fn::Sub": "arn:${AWS::Partition}:s3:::${BucketName}/*"}]),
            "statement `ReadObjects`: the resource has no name",
        ),
        (
            "/Resources/SchedulerRole/Properties/Policies/0/PolicyDocument/Statement/0/Action",
            json!("dynamodb:*"),
            "statement `State`: actions are not named",
        ),
        ("/Resources/ApiUrl/Properties/AuthType", json!("NONE"), "anybody may call `ApiUrl`"),
        ("/Resources/ApiUrl/Type", json!("AWS::Lambda::Alias"), "the API has no URL"),
        (
            "/Resources/TokenRoute/Properties/AuthorizationType",
            json!("NONE"),
            "anybody may take the route `TokenRoute`",
        ),
        (
            "/Resources/TokenAuthorizer/Properties/JwtConfiguration/Issuer",
            json!("https://x"),
            "anybody may take the route",
        ),
        ("/Resources/PageRoute/Properties/RouteKey", json!("GET /{any+}"), "anybody may take the route"),
        ("/Resources/TokenStage/Properties/DefaultRouteSettings", Value::Null, "no bound of its own"),
        ("/Resources/TokenApi/Condition", Value::Null, "`TokenApi` is made without an issuer"),
        (
            "/Resources/Api/Properties/Environment/Variables/UPDRAFT_FERNET_KEY_SECRET",
            Value::Null,
            "function `Api` reads variables and connections, and is not given `UPDRAFT_FERNET_KEY_SECRET`",
        ),
        ("/Resources/Worker/Properties/Runtime", json!("provided.al2"), "native x86_64"),
        ("/Resources/Api/Properties/Architectures", json!(["arm64"]), "native x86_64"),
        ("/Parameters/Architecture/Default", json!("arm64"), "native x86_64"),
        ("/Resources/PythonWorker/Properties/Environment/Variables/UPDRAFT_WORKER", Value::Null, "native x86_64"),
        (
            "/Resources/PythonWorker/Properties/Environment/Variables/AWS_LAMBDA_EXEC_WRAPPER",
            json!("/opt/wrapper"),
            "native x86_64",
        ),
        ("/Resources/PythonWorkerTasks/Properties/BatchSize", json!(2), "take its batch along"),
        ("/Resources/Fourth", json!({"Type": "AWS::Lambda::EventSourceMapping"}), "4 mappings poll"),
        ("/Resources/PythonQueue/Properties/VisibilityTimeout", json!(30), "queue `PythonQueue` takes messages back"),
        ("/Resources/Worker/Properties/Environment/Variables/UPDRAFT_TABLE", Value::Null, "not given `UPDRAFT_TABLE`"),
        ("/Resources/WorkerLogs/Properties/RetentionInDays", Value::Null, "kept for ever"),
        ("/Resources/WorkerTasks/Properties/FunctionResponseTypes", json!([]), "whole batch back"),
        ("/Resources/WorkerTasks/Properties/ScalingConfig", Value::Null, "whole concurrency"),
        ("/Resources/WorkerTasks/Properties/BatchSize", json!(10), "take its batch along"),
        (
            "/Resources/SchedulerQueue/Properties/VisibilityTimeout",
            json!(60),
            "queue `SchedulerQueue` takes messages back",
        ),
        ("/Resources/TaskQueue/Properties/VisibilityTimeout", json!(30), "queue `TaskQueue` takes messages back"),
        ("/Mappings/WorkerTimeouts/300/Visibility", json!(300), "queue `TaskQueue` takes messages back"),
        ("/Resources/TaskQueue/Properties/SqsManagedSseEnabled", json!(false), "queue `TaskQueue` is not encrypted"),
        ("/Resources/TaskQueue/Properties/RedrivePolicy", Value::Null, "queue `TaskQueue` has no dead-letter"),
        ("/Resources/QueuePolicy/Properties/PolicyDocument/Statement/0/Resource", json!([]), "without TLS"),
        ("/Resources/Bucket/Properties/BucketEncryption", Value::Null, "bucket `Bucket` is not encrypted"),
        (
            "/Resources/Bucket/Properties/PublicAccessBlockConfiguration/BlockPublicPolicy",
            json!(false),
            "become public",
        ),
        ("/Resources/BucketPolicy/Properties/PolicyDocument/Statement/0/Condition", Value::Null, "without TLS"),
        (
            "/Resources/Bucket/Properties/NotificationConfiguration/LambdaConfigurations/0/Filter",
            Value::Null,
            "wake themselves",
        ),
        ("/Resources/Bucket/Properties/NotificationConfiguration/LambdaConfigurations", json!([]), "does not notify"),
        ("/Resources/Bucket/DeletionPolicy", json!("Delete"), "`Bucket` holds state"),
        ("/Resources/Table/UpdateReplacePolicy", Value::Null, "`Table` holds state"),
        ("/Resources/Table/Properties/BillingMode", json!("PROVISIONED"), "costs money"),
        ("/Resources/Table/Properties/PointInTimeRecoverySpecification", Value::Null, "earlier point in time"),
        (
            "/Resources/Table/Properties/TimeToLiveSpecification/AttributeName",
            json!("expiry"),
            "keeps what has expired",
        ),
        ("/Resources/Table/Properties/SSESpecification", json!({"SSEEnabled": false}), "encryption off"),
        ("/Resources/SchedulerTick/Properties/ScheduleExpression", json!("rate(5 minutes)"), "every minute"),
        ("/Resources/SchedulerTick/Properties/GroupName", Value::Null, "its calls cannot be counted"),
        ("/Resources/TaskDeadLettersAlarm/Properties/Dimensions", json!([]), "of `TaskDeadLetters`"),
        ("/Resources/TaskQueueAgeAlarm/Properties/MetricName", json!("NumberOfMessagesSent"), "of `TaskQueue`"),
        ("/Resources/WorkerErrorsAlarm/Type", json!("AWS::CloudWatch::CompositeAlarm"), "`Errors` of `Worker`"),
        ("/Resources/SchedulerThrottlesAlarm/Properties/MetricName", json!("Errors"), "`Throttles` of `Scheduler`"),
        ("/Resources/TickAlarm/Properties/TreatMissingData", json!("notBreaching"), "silence for the wrong thing"),
        ("/Resources/TickAlarm/Properties/AlarmActions", Value::Null, "tells nobody"),
        ("/Resources/TickAlarm/Properties/AlarmDescription", json!(""), "does not say what it means"),
    ]
}

#[test]
fn every_rule_names_what_breaks_it() {
    let whole = rendered();
    for (path, replacement, expected) in breakages() {
        let mut broken = whole.clone();
        let (parent, field) = path.rsplit_once('/').expect("a path has a parent");
        let parent = broken.pointer_mut(parent).unwrap_or_else(|| panic!("`{path}` is in the rendered template"));
        parent[field] = replacement;
        let found = findings(&broken);
        assert!(
            found.iter().any(|one| one.contains(expected)),
            "breaking `{path}` should be `{expected}`, found {found:?}"
        );
    }
}
