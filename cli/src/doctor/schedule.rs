//! The schedule that ticks: whether it calls the scheduler, each minute, and how it is brought back to that.

use super::Finding;
use super::aws::{Ask, Asker};
use super::deployment::unanswered;
use jiff::Timestamp;
use serde_json::{Value, json};

const CHECK: &str = "schedule";

/// What a tick every minute is written as.
const EVERY_MINUTE: &str = "rate(1 minute)";

pub(super) async fn look(asker: &Asker, stack: &str) -> Finding {
    match asker.json("scheduler", Ask::Get(&format!("/schedules/{stack}-tick?groupName={stack}"))).await {
        Err(why) if why.contains(" 404 ") => Finding::wrong(
            CHECK,
            format!(
                "there is no schedule `{stack}-tick` in the group `{stack}`: nothing starts, and nothing is repaired"
            ),
            missing(stack),
        ),
        Err(why) => unanswered(CHECK, why, "scheduler:GetSchedule"),
        Ok(answer) => judged(&answer, stack, asker.region(), Timestamp::now()),
    }
}

/// What a schedule of EventBridge Scheduler is to Updraft.
fn judged(schedule: &Value, stack: &str, region: &str, now: Timestamp) -> Finding {
    let faults = faults(schedule, stack, now);
    if faults.is_empty() {
        Finding::fine(CHECK, "the scheduler is called every minute")
    } else {
        Finding::wrong(CHECK, faults.join("; "), mended(&schedule["Target"], stack, region))
    }
}

fn faults(schedule: &Value, stack: &str, now: Timestamp) -> Vec<String> {
    let mut faults = Vec::new();
    if schedule["State"].as_str().is_some_and(|state| state != "ENABLED") {
        faults.push("the schedule is switched off: nothing starts, and nothing is repaired".to_owned());
    }
    let expression = schedule["ScheduleExpression"].as_str().unwrap_or_default();
    if !every_minute(expression) {
        faults.push(format!(
            "the schedule is `{expression}`, and a tick has to come every minute: runs start as late as it comes, and what was lost is \
             repaired as late"
        ));
    }
    if schedule.pointer("/FlexibleTimeWindow/Mode").and_then(Value::as_str).is_some_and(|mode| mode != "OFF") {
        let minutes = &schedule["FlexibleTimeWindow"]["MaximumWindowInMinutes"];
        faults.push(format!("each tick may come {minutes} minutes late, by the schedule's flexible time window"));
    }
    // Seconds of the epoch, with or without fractions.
    let instant = |key: &str| schedule[key].as_f64().and_then(|seconds| Timestamp::from_second(seconds as i64).ok());
    if let Some(end) = instant("EndDate").filter(|end| *end <= now) {
        faults.push(format!("the schedule ended at {end}"));
    }
    if let Some(start) = instant("StartDate").filter(|start| *start > now) {
        faults.push(format!("the schedule does not begin before {start}"));
    }
    let target = schedule.pointer("/Target/Arn").and_then(Value::as_str).unwrap_or_default();
    // Behind the name there may be a version or an alias.
    let function = target.split_once(":function:").map(|(_, name)| name.split(':').next().unwrap_or_default());
    if function != Some(&format!("{stack}-scheduler")) {
        faults.push(format!("the schedule calls `{target}`, and not the function `{stack}-scheduler`"));
    }
    faults
}

/// Whether an expression of EventBridge Scheduler is due in every minute.
fn every_minute(expression: &str) -> bool {
    let Some((kind, fields)) = expression.trim().strip_suffix(')').and_then(|rest| rest.split_once('(')) else {
        return false;
    };
    let fields: Vec<&str> = fields.split_whitespace().collect();
    match (kind, &fields[..]) {
        ("rate", ["1", unit]) => matches!(*unit, "minute" | "minutes"),
        ("cron", [minute, others @ ..]) => {
            let all = ["*", "*/1", "0/1", "0-59", "0-59/1"].contains(minute);
            all && others.len() == 5 && others.iter().all(|field| ["*", "?"].contains(field))
        }
        _ => false,
    }
}

/// The command that makes of a schedule what the template makes. Deploying again does not: what was changed by hand is not in the template.
fn mended(target: &Value, stack: &str, region: &str) -> String {
    let role = target["RoleArn"].as_str().unwrap_or_default().to_owned();
    let parts: Vec<&str> = role.split(':').collect();
    let (partition, account) = (parts.get(1).copied().unwrap_or("aws"), parts.get(4).copied().unwrap_or("ACCOUNT"));
    let mut target = target.clone();
    target["Arn"] = json!(format!("arn:{partition}:lambda:{region}:{account}:function:{stack}-scheduler"));
    let target = target.to_string().replace('\'', r"'\''");
    format!("{} --target '{target}'", command("update", stack))
}

/// The command that makes a schedule that was deleted.
fn missing(stack: &str) -> String {
    let ask = |what: &str, query: &str| format!("$(aws {what} --query {query} --output text)");
    let function = ask(&format!("lambda get-function --function-name {stack}-scheduler"), "Configuration.FunctionArn");
    let resource =
        format!("cloudformation describe-stack-resource --stack-name {stack} --logical-resource-id TickRole");
    let role = ask(&resource, "StackResourceDetail.PhysicalResourceId");
    let role = ask(&format!("iam get-role --role-name {role}"), "Role.Arn");
    format!(
        "deploy, if nothing was deployed yet; else {} --target \"Arn={function},RoleArn={role}\" (and before it `aws scheduler \
         create-schedule-group --name {stack}`, if that is gone, too), since CloudFormation does not see what was deleted by hand; \
         Terraform does: `terraform apply`",
        command("create", stack)
    )
}

fn command(verb: &str, stack: &str) -> String {
    format!(
        "aws scheduler {verb}-schedule --name {stack}-tick --group-name {stack} --state ENABLED --schedule-expression '{EVERY_MINUTE}' \
         --flexible-time-window Mode=OFF"
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    /// What the template makes, as EventBridge Scheduler shows it.
    fn deployed() -> Value {
        json!({
            "Name": "prod-tick", "GroupName": "prod", "State": "ENABLED", "ScheduleExpression": "rate(1 minute)",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {"Arn": "arn:aws:lambda:eu-west-1:123456789012:function:prod-scheduler",
                       "RoleArn": "arn:aws:iam::123456789012:role/prod-TickRole-1",
                       "RetryPolicy": {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 1}},
        })
    }

    fn found(change: impl FnOnce(&mut Value)) -> Finding {
        let mut schedule = deployed();
        change(&mut schedule);
        judged(&schedule, "prod", "eu-west-1", "2026-11-28T12:00:00Z".parse().expect("an instant"))
    }

    #[test]
    fn only_every_minute_is_often_enough() {
        for (expression, enough) in [
            ("rate(1 minute)", true),
            ("rate(1 minutes)", true),
            ("cron(* * * * ? *)", true),
            ("cron(0/1 * ? * * *)", true),
            ("rate(1 hour)", false),
            ("rate(2 minutes)", false),
            ("rate(11 minute)", false),
            ("cron(0 * * * ? *)", false),
            ("cron(*/5 * * * ? *)", false),
            ("cron(* 8-17 * * ? *)", false),
            ("cron(* * * * ?)", false),
            ("at(2026-11-28T12:00:00)", false),
            ("", false),
        ] {
            let finding = found(|schedule| schedule["ScheduleExpression"] = json!(expression));
            let verdict = if enough { Verdict::Fine } else { Verdict::Wrong };
            assert_eq!(finding.verdict, verdict, "{expression}: {finding:?}");
            assert!(enough || finding.found.contains(&format!("`{expression}`")), "{finding:?}");
        }
    }

    /// Each in its own words, and all at once.
    #[test]
    fn what_keeps_ticks_away_is_named() {
        type Change = fn(&mut Value);
        let changes: [(Change, &str); 6] = [
            (|s| s["State"] = json!("DISABLED"), "switched off"),
            (
                |s| s["FlexibleTimeWindow"] = json!({"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}),
                "15 minutes late",
            ),
            (|s| s["EndDate"] = json!(1_795_867_199.5), "ended at 2026-11-28T11:59:59Z"),
            (|s| s["StartDate"] = json!(1_795_867_201), "not begin before 2026-11-28T12:00:01Z"),
            (
                |s| s["Target"]["Arn"] = json!("arn:aws:lambda:eu-west-1:123456789012:function:prod-api"),
                "prod-api`, and not",
            ),
            (|s| s["ScheduleExpression"] = json!("rate(1 hour)"), "every minute"),
        ];
        for (change, said) in changes {
            let finding = found(change);
            assert_eq!(finding.verdict, Verdict::Wrong, "{said}");
            assert!(finding.found.contains(said) && !finding.found.contains(';'), "{said}: {}", finding.found);
        }
        let all = found(|schedule| changes.iter().for_each(|(change, _)| change(schedule)));
        assert!(changes.iter().all(|(_, said)| all.found.contains(said)), "{}", all.found);
        let other = found(|s| {
            s["EndDate"] = json!(1_795_867_201);
            s["StartDate"] = json!(1_795_867_199);
            s["Target"]["Arn"] = json!("arn:aws:lambda:eu-west-1:123456789012:function:prod-scheduler:live");
        });
        assert_eq!(other.verdict, Verdict::Fine, "{other:?}");
    }

    /// The advice makes of a schedule what was deployed, with the rest of its target.
    #[test]
    fn the_advice_is_a_command_that_brings_it_back() {
        let finding = found(|schedule| {
            schedule["ScheduleExpression"] = json!("rate(1 hour)");
            schedule["Target"]["Arn"] = json!("arn:aws:lambda:eu-west-1:123456789012:function:else");
            schedule["Target"]["Input"] = json!("it's");
        });
        let advice = finding.advice.expect("what is wrong has advice");
        let (command, target) = advice.split_once(" --target ").expect("a command with a target");
        assert_eq!(
            command,
            "aws scheduler update-schedule --name prod-tick --group-name prod --state ENABLED --schedule-expression 'rate(1 minute)' \
             --flexible-time-window Mode=OFF"
        );
        let quoted = target.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).expect("it is quoted");
        let target: Value = serde_json::from_str(&quoted.replace(r"'\''", "'")).expect("it is JSON");
        let mut expected = deployed()["Target"].clone();
        expected["Input"] = json!("it's");
        assert_eq!(target, expected);
    }
}
