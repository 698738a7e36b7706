//! Whether the roles of functions allow what these do: asked of IAM itself, which knows of boundaries and of an organisation's policies.

use super::Finding;
use super::aws::{Ask, Asker, all_between};
use super::deployment::unanswered;
use serde_json::Value;

/// What a role has to allow, by what it is allowed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Table,
    Index,
    /// Whatever is below this of the bucket.
    Objects(&'static str),
    /// The queue that this variable of the function names.
    Queue(&'static str),
}

const TASKS: On = On::Queue("UPDRAFT_TASK_QUEUE_URL");
const PYTHON: On = On::Queue("UPDRAFT_PYTHON_QUEUE_URL");
const LOOKS: On = On::Queue("UPDRAFT_SCHEDULER_QUEUE_URL");

const READS_AND_WRITES: &[&str] =
    &["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem"];
const POLLS: &[&str] = &["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
const SENDS: &[&str] = &["sqs:SendMessage"];
const GETS: &[&str] = &["s3:GetObject"];
const PUTS: &[&str] = &["s3:PutObject"];

/// What a function has to be allowed, by the end of its name.
fn needs(end: &str) -> Vec<(On, &'static [&'static str])> {
    let queue = |on: On, polled: On| (on, if on == polled { POLLS } else { SENDS });
    let worker = |polled: On| {
        let mut all = vec![
            (On::Table, READS_AND_WRITES),
            (On::Objects("xcoms"), GETS),
            (On::Objects("xcoms"), PUTS),
            (On::Objects("logs"), PUTS),
        ];
        all.extend([TASKS, PYTHON, LOOKS].map(|on| queue(on, polled)));
        all
    };
    match end {
        "worker" => worker(TASKS),
        "python-worker" => [worker(PYTHON), vec![(On::Objects("packages"), GETS)]].concat(),
        _ => {
            let mut all = vec![
                (On::Table, READS_AND_WRITES),
                (On::Table, &["dynamodb:DeleteItem"] as &[_]),
                (On::Index, &["dynamodb:Query"] as &[_]),
            ];
            let polled = if end == "scheduler" { LOOKS } else { On::Table };
            all.push(if end == "scheduler" { (On::Objects("dags"), GETS) } else { (On::Objects("logs"), GETS) });
            all.extend([TASKS, PYTHON, LOOKS].map(|on| queue(on, polled)));
            all
        }
    }
}

/// The ARN of what is allowed, in the account and partition of a role; none where the function does not name it.
fn arn(on: On, role: &str, region: &str, table: &str, variables: &Value) -> Option<String> {
    let mut parts = role.split(':').skip(1);
    let partition = parts.next()?;
    let account = parts.nth(2)?;
    let named = |name: &str| variables[name].as_str().filter(|value| !value.is_empty());
    Some(match on {
        On::Table => format!("arn:{partition}:dynamodb:{region}:{account}:table/{table}"),
        On::Index => format!("arn:{partition}:dynamodb:{region}:{account}:table/{table}/index/due"),
        On::Objects(below) => format!("arn:{partition}:s3:::{}/{below}/any", named("UPDRAFT_BUCKET")?),
        On::Queue(variable) => {
            format!("arn:{partition}:sqs:{region}:{account}:{}", named(variable)?.rsplit('/').next()?)
        }
    })
}

/// Asks whether the role of a function allows what the function does.
pub(super) async fn look(asker: &Asker, end: &str, name: &str, table: &str, configuration: &Value) -> Finding {
    let check = "permissions";
    let role = configuration["Role"].as_str().unwrap_or_default();
    let variables = &configuration["Environment"]["Variables"];
    let mut denied = Vec::new();
    for (on, actions) in needs(end) {
        let Some(arn) = arn(on, role, asker.region(), table, variables) else { continue };
        let mut form = vec![
            ("Action".to_owned(), "SimulatePrincipalPolicy".to_owned()),
            ("Version".to_owned(), "2010-05-08".to_owned()),
            ("PolicySourceArn".to_owned(), role.to_owned()),
            ("ResourceArns.member.1".to_owned(), arn.clone()),
            // The bucket and the queues refuse whoever comes without TLS.
            ("ContextEntries.member.1.ContextKeyName".to_owned(), "aws:SecureTransport".to_owned()),
            ("ContextEntries.member.1.ContextKeyType".to_owned(), "boolean".to_owned()),
            ("ContextEntries.member.1.ContextKeyValues.member.1".to_owned(), "true".to_owned()),
        ];
        form.extend(
            actions.iter().zip(1..).map(|(action, n)| (format!("ActionNames.member.{n}"), (*action).to_owned())),
        );
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        match asker.ask("iam", Ask::Form(&form)).await {
            Err(why) => return unanswered(check, why, "iam:SimulatePrincipalPolicy"),
            Ok(answer) => match refused(&answer.text, actions.len()) {
                Some(refused) => denied.extend(refused.into_iter().map(|action| format!("{action} on {arn}"))),
                None => {
                    return unanswered(
                        check,
                        "`iam` does not say of each action whether it is allowed".to_owned(),
                        "iam:SimulatePrincipalPolicy",
                    );
                }
            },
        }
    }
    if denied.is_empty() {
        return Finding::fine(check, format!("`{name}` may do what it has to"));
    }
    Finding::wrong(
        check,
        format!("`{name}` may not: {}", denied.join(", ")),
        format!(
            "deploy again with `infra/deploy`; if that does not help, a boundary of `{role}` or a policy of the organisation takes it away"
        ),
    )
}

/// The actions that an answer does not call allowed; none where it does not speak of as many as were asked for.
fn refused(answer: &str, asked: usize) -> Option<Vec<String>> {
    let names = all_between(answer, "<EvalActionName>", "</EvalActionName>");
    let decisions = all_between(answer, "<EvalDecision>", "</EvalDecision>");
    let decided = names.into_iter().zip(decisions);
    (decided.len() == asked)
        .then(|| decided.filter(|(_, decision)| decision != "allowed").map(|(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_allowed_is_named_as_aws_does() {
        let role = "arn:aws-cn:iam::123456789012:role/updraft-worker";
        let variables = json!({"UPDRAFT_BUCKET": "b", "UPDRAFT_TASK_QUEUE_URL": "https://sqs.x/123456789012/q", "UPDRAFT_PYTHON_QUEUE_URL": ""});
        let arn = |on| arn(on, role, "cn-north-1", "t", &variables);
        for (on, expected) in [
            (On::Table, Some("arn:aws-cn:dynamodb:cn-north-1:123456789012:table/t")),
            (On::Index, Some("arn:aws-cn:dynamodb:cn-north-1:123456789012:table/t/index/due")),
            (On::Objects("logs"), Some("arn:aws-cn:s3:::b/logs/any")),
            (TASKS, Some("arn:aws-cn:sqs:cn-north-1:123456789012:q")),
            (PYTHON, None),
        ] {
            assert_eq!(arn(on).as_deref(), expected, "{on:?}");
        }
    }

    #[test]
    fn an_answer_tells_what_is_refused() {
        let result = |action: &str, decision: &str| {
            format!(
                "<member><EvalResourceName>r</EvalResourceName><EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision></member>"
            )
        };
        let answer = [result("a:B", "allowed"), result("a:C", "implicitDeny"), result("a:D", "explicitDeny")].concat();
        assert_eq!(refused(&answer, 3), Some(vec!["a:C".to_owned(), "a:D".to_owned()]));
        assert_eq!(refused(&answer, 4), None, "of one it says nothing");
        assert_eq!(refused("<Response/>", 1), None);
    }

    /// Who polls a queue has to be allowed that, and everybody sends to all three.
    #[test]
    fn functions_need_what_they_do() {
        for (end, polled) in
            [("scheduler", Some(LOOKS)), ("worker", Some(TASKS)), ("python-worker", Some(PYTHON)), ("api", None)]
        {
            let needs = needs(end);
            assert!(needs.contains(&(On::Table, READS_AND_WRITES)), "{end}");
            for queue in [TASKS, PYTHON, LOOKS] {
                let actions = needs.iter().find(|(on, _)| *on == queue).expect("all send to it").1;
                assert_eq!(actions, if polled == Some(queue) { POLLS } else { SENDS }, "{end} {queue:?}");
            }
        }
    }
}
