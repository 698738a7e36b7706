//! What runs on AWS: functions, their mappings, the schedule, queues, alarms, backups, the clock.

use super::Finding;
use super::aws::{Ask, Asker, all_between, date};
use super::{permissions, schedule};
use crate::failure::Failure;
use crate::settings::{PYTHON_QUEUE_URL, SCHEDULER_QUEUE_URL, TASK_QUEUE_URL};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The functions of a deployment, by the ends of their names, and whether one polls a queue.
const FUNCTIONS: [(&str, bool); 4] = [("scheduler", true), ("worker", true), ("python-worker", true), ("api", false)];

/// How far clocks may be apart before leases and signatures suffer.
const APART_MOST_SECONDS: i64 = 5;

/// Executions that mappings must leave to everything else in the account.
const SPARE_EXECUTIONS: i64 = 10;

/// Looks a deployment over. Its stack has the table's name.
pub(super) async fn look(stack: &str) -> Result<Vec<Finding>, Failure> {
    let settings = updraft_metastore_dynamodb::settings().await?;
    let asker = Asker::new(&settings).await?;
    let mut findings = vec![clock(&asker).await, backups(&asker, stack).await];
    let mut concurrency = 0;
    for (end, polls) in FUNCTIONS {
        let name = format!("{stack}-{end}");
        let (finding, configuration) = function(&asker, &name).await;
        findings.push(finding);
        if let Some(configuration) = &configuration {
            findings.push(permissions::look(&asker, end, &name, stack, configuration).await);
        }
        findings.push(recursion(&asker, &name).await);
        if polls {
            let (finding, most) = mapping(&asker, &name).await;
            findings.push(finding);
            concurrency += most;
        }
    }
    findings.push(room(&asker, concurrency).await);
    findings.push(schedule::look(&asker, stack).await);
    findings.push(alarms(&asker, stack).await);
    findings.extend(dead_letters(&asker).await);
    Ok(findings)
}

pub(super) fn unanswered(check: &'static str, why: String, action: &str) -> Finding {
    Finding::unsure(check, why, format!("allow whoever asks `{action}`, if the answer says that access is denied"))
}

async fn clock(asker: &Asker) -> Finding {
    let action = "dynamodb:ListTables";
    match asker.ask("dynamodb", Ask::Json("DynamoDB_20120810.ListTables", &json!({"Limit": 1}))).await {
        Err(why) => unanswered("clock", why, action),
        Ok(answer) => match date(&answer) {
            None => Finding::unsure("clock", "AWS did not say its time", "compare the clock by hand"),
            Some(theirs) => {
                let apart = Timestamp::now().duration_since(theirs).as_secs().abs();
                if apart <= APART_MOST_SECONDS {
                    Finding::fine("clock", format!("within {} s of AWS's", apart.max(1)))
                } else {
                    let advice =
                        "set this machine's clock (NTP): what is triggered or cleared from here is dated by it";
                    Finding::wrong("clock", format!("{apart} s apart from AWS's"), advice)
                }
            }
        },
    }
}

async fn backups(asker: &Asker, table: &str) -> Finding {
    let body = json!({ "TableName": table });
    match asker.json("dynamodb", Ask::Json("DynamoDB_20120810.DescribeContinuousBackups", &body)).await {
        Err(why) => unanswered("backups", why, "dynamodb:DescribeContinuousBackups"),
        Ok(answer) => {
            let path = "/ContinuousBackupsDescription/PointInTimeRecoveryDescription/PointInTimeRecoveryStatus";
            match answer.pointer(path).and_then(Value::as_str) {
                Some("ENABLED") => {
                    Finding::fine("backups", "the table can be brought back to any second of the last 35 days")
                }
                other => Finding::wrong(
                    "backups",
                    format!("point-in-time recovery is {}", other.unwrap_or("not told")),
                    format!(
                        "aws dynamodb update-continuous-backups --table-name {table} --point-in-time-recovery-specification \
                         PointInTimeRecoveryEnabled=true"
                    ),
                ),
            }
        }
    }
}

async fn function(asker: &Asker, name: &str) -> (Finding, Option<Value>) {
    let check = "function";
    let answer = match asker.json("lambda", Ask::Get(&format!("/2015-03-31/functions/{name}/configuration"))).await {
        Err(why) if why.contains(" 404 ") => {
            let advice = "deploy with `infra/deploy --stack`, the table's name; what was deleted by hand CloudFormation makes anew once the \
                          stack is deleted (bucket and table stay) and deployed again";
            return (Finding::wrong(check, format!("`{name}` does not exist"), advice), None);
        }
        Err(why) => return (unanswered(check, why, "lambda:GetFunctionConfiguration"), None),
        Ok(answer) => answer,
    };
    let state = answer["State"].as_str().unwrap_or("Active");
    let ours = env!("CARGO_PKG_VERSION");
    let theirs = answer.pointer("/Environment/Variables/UPDRAFT_VERSION").and_then(Value::as_str);
    let finding = match (state, theirs) {
        ("Active" | "Inactive", Some(theirs)) if theirs == ours => {
            Finding::fine(check, format!("`{name}` is of version {ours}"))
        }
        ("Active" | "Inactive", theirs) => Finding::unsure(
            check,
            format!("`{name}` is of version {}, this program of {ours}", theirs.unwrap_or("unknown")),
            "deploy the version of this program, or use the program of that version; versions next to each other work together",
        ),
        (state, _) => {
            let why = answer["StateReason"].as_str().unwrap_or("no reason given");
            Finding::wrong(check, format!("`{name}` is {state}: {why}"), "deploy again with `infra/deploy`")
        }
    };
    (finding, Some(answer))
}

async fn recursion(asker: &Asker, name: &str) -> Finding {
    let check = "recursion";
    match asker.json("lambda", Ask::Get(&format!("/2024-08-31/functions/{name}/recursion-config"))).await {
        Err(why) => unanswered(check, why, "lambda:GetFunctionRecursionConfig"),
        Ok(answer) if answer["RecursiveLoop"] == "Allow" => {
            Finding::fine(check, format!("`{name}` may send to its own queue"))
        }
        Ok(_) => Finding::wrong(
            check,
            format!("Lambda stops loops of `{name}`, and a run is such a loop: it would end after some 16 tasks"),
            format!("aws lambda put-function-recursion-config --function-name {name} --recursive-loop Allow"),
        ),
    }
}

/// The mapping of a queue to a function, and how many executions it takes at most.
async fn mapping(asker: &Asker, name: &str) -> (Finding, i64) {
    let check = "mapping";
    let path = format!("/2015-03-31/event-source-mappings?FunctionName={name}");
    let answer = match asker.json("lambda", Ask::Get(&path)).await {
        Err(why) => return (unanswered(check, why, "lambda:ListEventSourceMappings"), 0),
        Ok(answer) => answer,
    };
    let Some(mapping) = answer.pointer("/EventSourceMappings/0") else {
        let advice = format!(
            "aws lambda create-event-source-mapping --function-name {name} --event-source-arn ARN_OF_ITS_QUEUE --batch-size {} \
             --function-response-types ReportBatchItemFailures --scaling-config MaximumConcurrency=10, or delete the stack (bucket and \
             table stay) and deploy it again: CloudFormation does not see what was deleted by hand",
            if name.ends_with("worker") { 1 } else { 10 }
        );
        return (Finding::wrong(check, format!("no queue feeds `{name}`"), advice), 0);
    };
    let most = mapping.pointer("/ScalingConfig/MaximumConcurrency").and_then(Value::as_i64).unwrap_or(0);
    let finding = match mapping["State"].as_str() {
        Some("Enabled" | "Enabling" | "Updating") | None => {
            Finding::fine(check, format!("`{name}` runs {most} times at once at most"))
        }
        Some(state) => Finding::wrong(
            check,
            format!("the queue of `{name}` is {state}"),
            format!(
                "aws lambda update-event-source-mapping --enabled --uuid {}",
                mapping["UUID"].as_str().unwrap_or("UUID")
            ),
        ),
    };
    (finding, most)
}

/// Whether mappings leave room in the account for the scheduler's ticks, and for others.
async fn room(asker: &Asker, most: i64) -> Finding {
    let check = "concurrency";
    match asker.json("lambda", Ask::Get("/2016-08-19/account-settings")).await {
        Err(why) => unanswered(check, why, "lambda:GetAccountSettings"),
        Ok(answer) => {
            let limit = answer.pointer("/AccountLimit/ConcurrentExecutions").and_then(Value::as_i64).unwrap_or(0);
            if most + SPARE_EXECUTIONS <= limit {
                Finding::fine(check, format!("{most} of the account's {limit} executions at most"))
            } else {
                Finding::wrong(
                    check,
                    format!("mappings may take {most} executions, and the account has {limit}"),
                    "deploy with a lower `WorkerConcurrency` and `PythonWorkerConcurrency`, or ask AWS for a higher limit (Service \
                     Quotas, Lambda, concurrent executions): what repairs runs must always find room",
                )
            }
        }
    }
}

async fn alarms(asker: &Asker, stack: &str) -> Finding {
    let check = "alarms";
    let form = format!("Action=DescribeAlarms&Version=2010-08-01&AlarmNamePrefix={stack}-&StateValue=ALARM");
    match asker.ask("monitoring", Ask::Form(&form)).await {
        Err(why) => unanswered(check, why, "cloudwatch:DescribeAlarms"),
        Ok(answer) => match all_between(&answer.text, "<AlarmName>", "</AlarmName>") {
            none if none.is_empty() => quiet(asker, stack).await,
            raised => Finding::wrong(
                check,
                format!("raised: {}", raised.join(", ")),
                "infra/README.md tells what each means and wants",
            ),
        },
    }
}

/// Whether there are alarms at all, and whether anybody is told of them.
async fn quiet(asker: &Asker, stack: &str) -> Finding {
    let check = "alarms";
    let form = format!("Action=DescribeAlarms&Version=2010-08-01&AlarmNamePrefix={stack}-");
    let answer = match asker.ask("monitoring", Ask::Form(&form)).await {
        Err(why) => return unanswered(check, why, "cloudwatch:DescribeAlarms"),
        Ok(answer) => answer.text,
    };
    let count = all_between(&answer, "<AlarmName>", "</AlarmName>").len();
    let told =
        all_between(&answer, "<AlarmActions>", "</AlarmActions>").iter().any(|actions| actions.contains("<member>"));
    match (count, told) {
        (0, _) => Finding::unsure(check, "there are none", "deploy with the parameter `Alarms=true`"),
        (_, true) => Finding::fine(check, format!("none of {count} is raised")),
        (_, false) => Finding::unsure(
            check,
            format!("none of {count} is raised, and none of them would tell anybody"),
            "deploy with the parameter `AlarmTopic`, the ARN of an SNS topic",
        ),
    }
}

/// The dead letters of the queues that the environment names.
async fn dead_letters(asker: &Asker) -> Vec<Finding> {
    let check = "dead letters";
    let named = [TASK_QUEUE_URL, PYTHON_QUEUE_URL, SCHEDULER_QUEUE_URL];
    let urls = named.iter().filter_map(|name| std::env::var(name).ok()).filter(|url| !url.is_empty());
    let mut dead = BTreeSet::new();
    let mut findings = Vec::new();
    for url in urls {
        match attributes(asker, &url).await {
            Err(why) if why.contains("queue does not exist") => findings.push(Finding::wrong(
                "queue",
                format!("`{url}` does not exist: what is sent to it is lost, and sent again by sweeps"),
                "delete the stack (bucket and table stay), deploy it again with `--save-as`, then `updraft db requeue`: CloudFormation does \
                 not see what was deleted by hand",
            )),
            Err(why) => findings.push(unanswered(check, why, "sqs:GetQueueAttributes")),
            Ok(answer) => {
                let policy = answer["RedrivePolicy"].as_str().unwrap_or_default();
                let policy: Value = serde_json::from_str(policy).unwrap_or_default();
                let name = policy["deadLetterTargetArn"].as_str().and_then(|arn| arn.rsplit(':').next());
                let Some((name, (before, _))) = name.zip(url.rsplit_once('/')) else { continue };
                dead.insert(format!("{before}/{name}"));
            }
        }
    }
    if dead.is_empty() && findings.is_empty() {
        let advice = format!("set {}, or use a profile that `infra/deploy --save-as` keeps", named.join(", "));
        findings.push(Finding::unsure(check, "no queue is named, so none was looked into", advice));
    }
    for url in dead {
        findings.push(match attributes(asker, &url).await {
            Err(why) => unanswered(check, why, "sqs:GetQueueAttributes"),
            Ok(answer) => match answer["ApproximateNumberOfMessages"].as_str() {
                None | Some("0") => Finding::fine(check, format!("none in `{url}`")),
                Some(many) => Finding::wrong(
                    check,
                    format!("{many} in `{url}`"),
                    "read one, and the function's log of that time; then purge the queue: runs go on by the sweep",
                ),
            },
        });
    }
    findings
}

async fn attributes(asker: &Asker, url: &str) -> Result<Value, String> {
    let body = json!({"QueueUrl": url, "AttributeNames": ["All"]});
    let answer = asker.json("sqs", Ask::Json("AmazonSQS.GetQueueAttributes", &body)).await?;
    Ok(answer["Attributes"].clone())
}
