//! Messages as an event source mapping hands them over, and the answer that tells done ones from those that shall come again.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One message of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Record {
    /// By which the answer names it.
    #[serde(rename = "messageId")]
    pub id: String,
    /// What was sent.
    pub body: String,
    /// What the queue knows of it.
    #[serde(default)]
    attributes: Attributes,
}

/// What a queue knows of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Attributes {
    #[serde(rename = "SentTimestamp")]
    sent: Option<String>,
}

impl Record {
    /// A message as it is before any queue has had it.
    pub fn new(id: impl Into<String>, body: impl Into<String>) -> Self {
        Self { id: id.into(), body: body.into(), attributes: Attributes::default() }
    }

    /// When it was sent, in milliseconds since 1970; none where the queue does not say.
    pub fn sent_at_ms(&self) -> Option<i64> {
        self.attributes.sent.as_ref()?.parse().ok()
    }
}

/// Which messages of a batch shall come again; all others are done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BatchAnswer {
    #[serde(rename = "batchItemFailures")]
    again: Vec<Again>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Again {
    #[serde(rename = "itemIdentifier")]
    id: String,
}

impl BatchAnswer {
    /// Lets a message come again, after the queue's visibility timeout.
    pub fn again(&mut self, record: &Record) {
        self.again.push(Again { id: record.id.clone() });
    }
}

/// The service that an event's records come from; none where the event has no records.
pub fn source(event: &Value) -> Option<&str> {
    event.pointer("/Records/0/eventSource")?.as_str()
}

/// The messages of an SQS event.
///
/// # Errors
/// If the event has another form; then nothing can be told apart, and all of it comes again.
pub fn records(event: Value) -> Result<Vec<Record>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Batch {
        #[serde(rename = "Records")]
        records: Vec<Record>,
    }
    Ok(serde_json::from_value::<Batch>(event)?.records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_batch_is_read_whatever_else_stands_in_it() {
        let event = json!({"Records": [
            {"messageId": "1", "eventSource": "aws:sqs", "body": "{}", "attributes": {"SentTimestamp": "0"}},
            {"messageId": "2", "eventSource": "aws:sqs", "body": "no JSON at all \u{1F980}"},
        ]});
        assert_eq!(source(&event), Some("aws:sqs"));
        let read = records(event).unwrap();
        assert_eq!(read.iter().map(Record::sent_at_ms).collect::<Vec<_>>(), [Some(0), None]);
        assert_eq!(
            read.iter().map(|r| (&*r.id, &*r.body)).collect::<Vec<_>>(),
            [("1", "{}"), ("2", "no JSON at all \u{1F980}")]
        );
    }

    #[test]
    fn other_events_are_no_batches() {
        for event in [json!(null), json!({}), json!({"Records": [{"body": "no id"}]}), json!({"Records": {}})] {
            assert!(records(event).is_err());
        }
        assert_eq!(source(&json!({"source": "aws.scheduler"})), None);
    }

    #[test]
    fn the_answer_names_what_shall_come_again() {
        let mut answer = BatchAnswer::default();
        assert_eq!(serde_json::to_value(&answer).unwrap(), json!({"batchItemFailures": []}));
        answer.again(&Record::new("2", ""));
        assert_eq!(serde_json::to_value(&answer).unwrap(), json!({"batchItemFailures": [{"itemIdentifier": "2"}]}));
    }
}
