//! What the scheduler is called for, told apart by the form of the event.

use serde_json::Value;
use updraft_function::{Record, batch};

/// A reason to wake up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A minute has passed, or somebody asks for a look at what is due.
    Tick {
        /// Whether the bucket is to be listed as well.
        reconcile: bool,
    },
    /// Objects were written or removed: their keys, decoded.
    Uploads(Vec<String>),
    /// Messages of the scheduler's queue.
    Messages(Vec<Record>),
}

/// An event that means nothing here. It is reported as the function's failure, so that whoever sent it, or watches, gets to know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    /// None of the forms.
    #[error(
        "the event is none that the scheduler knows ({0}); it is called by EventBridge Scheduler, by notifications of its bucket, by its \
         SQS queue, or by hand with `{{\"reconcile\": true}}`"
    )]
    Form(String),
    /// A known form with something missing or wrong in it.
    #[error("the event of {from} cannot be read: {why}")]
    Broken {
        /// Where it came from.
        from: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl Event {
    /// Tells what an event means.
    pub(crate) fn parse(event: Value) -> Result<Self, Unknown> {
        match batch::source(&event) {
            Some("aws:sqs") => {
                let broken = |e: serde_json::Error| Unknown::Broken { from: "an SQS queue", why: e.to_string() };
                return batch::records(event).map(Self::Messages).map_err(broken);
            }
            Some("aws:s3") => return keys(&event).map(Self::Uploads),
            Some(other) => return Err(Unknown::Form(format!("its records are of `{other}`"))),
            None => {}
        }
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let reconcile = event.get("reconcile").and_then(Value::as_bool);
        let scheduled = text("detail-type") == Some("Scheduled Event");
        match (reconcile, text("source")) {
            (Some(reconcile), _) => Ok(Self::Tick { reconcile }),
            (None, Some("aws.scheduler" | "aws.events")) if scheduled => Ok(Self::Tick { reconcile: false }),
            (None, Some(other)) => Err(Unknown::Form(format!("its source is `{other}`"))),
            (None, None) => Err(Unknown::Form(match event.as_object() {
                Some(object) => format!("its keys are {:?}", object.keys().collect::<Vec<_>>()),
                None => "it is no JSON object".to_owned(),
            })),
        }
    }
}

/// The keys of a bucket's notification. One that cannot be read is told of, and costs the others nothing: the listing of the bucket finds its file.
fn keys(event: &Value) -> Result<Vec<String>, Unknown> {
    let broken = |why| Unknown::Broken { from: "a bucket", why };
    let records = event["Records"].as_array().ok_or_else(|| broken("`Records` is no list".to_owned()))?;
    let key = |record: &Value| {
        let key = record.pointer("/s3/object/key").and_then(Value::as_str);
        let key = key.ok_or_else(|| broken("a record has no `s3.object.key`".to_owned()))?;
        decoded(key).ok_or_else(|| broken(format!("the key `{key}` is not form-encoded")))
    };
    let (mut keys, mut unreadable) = (Vec::new(), None);
    for record in records {
        match key(record) {
            Ok(key) => keys.push(key),
            Err(error) => {
                tracing::error!(%error, "part of a notification cannot be read; its file is found when the bucket is listed");
                unreadable = Some(error);
            }
        }
    }
    if keys.is_empty() { unreadable.map_or(Ok(keys), Err) } else { Ok(keys) }
}

/// A key as the object has it: notifications have keys as HTML forms send them, a blank as `+` and other bytes as `%` and two
/// hexadecimal digits.
fn decoded(key: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn upload(keys: &[&str]) -> Value {
        let record = |key: &&str| {
            json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "b"}, "object": {"key": key, "size": 1}}})
        };
        json!({ "Records": keys.iter().map(record).collect::<Vec<_>>() })
    }

    #[test]
    fn every_caller_is_known() {
        let record = |id: &str| Record::new(id, "{}");
        for (event, meant) in [
            (
                json!({"version": "0", "id": "d3", "detail-type": "Scheduled Event", "source": "aws.scheduler",
                       "time": "2026-01-01T00:00:00Z", "resources": ["arn:aws:scheduler:..."], "detail": "{}"}),
                Event::Tick { reconcile: false },
            ),
            (
                json!({"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}),
                Event::Tick { reconcile: false },
            ),
            (json!({"reconcile": true}), Event::Tick { reconcile: true }),
            (json!({"reconcile": false}), Event::Tick { reconcile: false }),
            (
                json!({"Records": [{"messageId": "1", "eventSource": "aws:sqs", "body": "{}"},
                                   {"messageId": "2", "eventSource": "aws:sqs", "body": "{}"}]}),
                Event::Messages(vec![record("1"), record("2")]),
            ),
            (upload(&["dags/etl.yaml"]), Event::Uploads(vec!["dags/etl.yaml".to_owned()])),
            (
                upload(&["dags/a+b%2Bc.yaml", "dags/%C3%BCber%25.yml"]),
                Event::Uploads(vec!["dags/a b+c.yaml".to_owned(), "dags/über%.yml".to_owned()]),
            ),
        ] {
            assert_eq!(Event::parse(event.clone()), Ok(meant), "{event}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_read_hides_no_other() {
        let event = upload(&["dags/%zz", "dags/etl.yaml", "dags/%C3"]);
        assert_eq!(Event::parse(event), Ok(Event::Uploads(vec!["dags/etl.yaml".to_owned()])));
    }

    #[test]
    fn what_is_not_known_is_said_clearly() {
        for (event, said) in [
            (json!(null), "no JSON object"),
            (json!([]), "no JSON object"),
            (json!({}), "its keys are []"),
            (json!({"hello": 1}), "its keys are [\"hello\"]"),
            (json!({"reconcile": "yes"}), "its keys are [\"reconcile\"]"),
            (json!({"source": "aws.ec2", "detail-type": "Scheduled Event"}), "its source is `aws.ec2`"),
            (json!({"source": "aws.events", "detail-type": "EC2 Instance State-change"}), "its source is `aws.events`"),
            (json!({"Records": [{"eventSource": "aws:kinesis"}]}), "its records are of `aws:kinesis`"),
            (json!({"Records": [{"eventSource": "aws:sqs", "body": "no id"}]}), "of an SQS queue cannot be read"),
            (json!({"Records": [{"eventSource": "aws:s3"}]}), "has no `s3.object.key`"),
            (upload(&["dags/%zz"]), "`dags/%zz` is not form-encoded"),
            (upload(&["dags/%C3"]), "is not form-encoded"),
            (upload(&["dags/%2"]), "is not form-encoded"),
        ] {
            let error = Event::parse(event.clone()).expect_err("it is not known").to_string();
            assert!(error.contains(said), "{event}: {error}");
        }
    }
}
