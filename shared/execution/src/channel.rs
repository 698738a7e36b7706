//! The conversation with a Python process over its channel: one JSON value per line, in both directions.
//!
//! The greeting says what to call. Then the process may `pull` and `push` XComs, ask for a `variable` or a `connection`,
//! have values masked (`mask`), and at the end says that it is `done`. Pushes are messages of their
//! own, so those made before a crash or a timeout are not lost.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use updraft_model::variable::texts_to_mask;
use updraft_model::{Connection, OutletEvent, Topic};

use crate::masks::Masks;
use crate::output::DRAIN_PAUSE;
use crate::ports::{LookupError, Lookups};

/// How long one value may be as JSON. The process checks it first, with a message that is of use.
pub(crate) const VALUE_BYTES: usize = 16 * 1024 * 1024;
/// How long a line may be: a value and what is around it.
const LINE_BYTES: usize = VALUE_BYTES + 64 * 1024;

/// What the process said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) pushed: Vec<(String, Value)>,
    pub(crate) done: Option<Done>,
    /// What was wrong with what it said last, after which it was not listened to.
    pub(crate) fault: Option<String>,
}

/// The end of a callable, as the process tells it.
#[derive(Debug, Deserialize)]
pub(crate) struct Done {
    pub(crate) status: Status,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) value: Value,
    #[serde(default)]
    pub(crate) not_json: Option<String>,
    #[serde(default)]
    pub(crate) truthy: Option<bool>,
    #[serde(default)]
    pub(crate) poke: bool,
    #[serde(default)]
    pub(crate) until: Option<Timestamp>,
    /// What the callable gave to `sys.exit`, if it ended that way.
    #[serde(default)]
    pub(crate) exit_code: Option<i32>,
    /// Whether the callable is annotated to return a mapping, where that was asked.
    #[serde(default)]
    pub(crate) multiple_outputs: bool,
    /// What was said about the assets that the task writes.
    #[serde(default)]
    pub(crate) outlet_events: Vec<OutletEvent>,
    /// What the callable put into its context, where that was asked.
    #[serde(default)]
    pub(crate) context: serde_json::Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Success,
    Skipped,
    Failed,
    /// `AirflowFailException`: no further try.
    FailedForGood,
    /// `AirflowRescheduleException`: once more, later.
    Rescheduled,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Message {
    Push {
        key: String,
        value: Value,
    },
    Pull {
        task_ids: Vec<String>,
        key: String,
        #[serde(default)]
        map_indexes: Option<Vec<i64>>,
    },
    Variable {
        key: String,
    },
    Connection {
        conn_id: String,
    },
    AssetEvents {
        kind: String,
        name: String,
    },
    Mask {
        values: Vec<String>,
    },
    Done(Done),
}

/// Talks until the process is done or gone.
pub(crate) async fn converse(
    channel: Option<UnixStream>,
    greeting: Option<String>,
    lookups: &impl Lookups,
    masks: &Masks,
    mut ended: watch::Receiver<bool>,
) -> Said {
    let mut said = Said::default();
    let (Some(channel), Some(greeting)) = (channel, greeting) else { return said };
    let (reader, mut writer) = channel.into_split();
    let mut reader = BufReader::new(reader);
    tokio::select! {
        sent = send(&mut writer, &greeting) => if sent.is_none() { return said; },
        _ = ended.wait_for(|ended| *ended) => return said,
    }
    while said.done.is_none() {
        let line = match line(&mut reader, &mut ended).await {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(fault) => {
                said.fault = Some(fault);
                break;
            }
        };
        match serde_json::from_slice(&line) {
            Ok(Message::Push { key, value }) => {
                // A later push replaces an earlier one, as in Airflow.
                said.pushed.retain(|(pushed, _)| *pushed != key);
                said.pushed.push((key, value));
            }
            Ok(Message::Done(done)) => said.done = Some(done),
            Ok(question) => {
                let answered = async {
                    let answer = answer(question, lookups, masks).await;
                    send(&mut writer, &answer.to_string()).await
                };
                tokio::select! {
                    sent = answered => if sent.is_none() { break; },
                    _ = ended.wait_for(|ended| *ended) => {}
                }
            }
            Err(error) => {
                said.fault = Some(format!("the Python process sent a message that is none: {error}"));
                break;
            }
        }
    }
    said
}

/// What the process is told. A secret is masked before the process learns it, so that it cannot reach the log sooner.
async fn answer(question: Message, lookups: &impl Lookups, masks: &Masks) -> Value {
    let answered = match question {
        Message::Pull { task_ids, key, map_indexes: None } => pull(lookups, task_ids, key).await,
        Message::Pull { task_ids, key, map_indexes: Some(map_indexes) } => {
            lookups.pull_instances(task_ids, map_indexes, key).await.map(|rows| json!({ "rows": rows }))
        }
        Message::Variable { key } => lookups.variable(key.clone()).await.map(|value| {
            masks.add(value.iter().flat_map(|text| texts_to_mask(&key, text)));
            json!({ "value": value })
        }),
        Message::Connection { conn_id } => lookups.connection(conn_id).await.map(|found| {
            masks.add(found.iter().flat_map(Connection::texts_to_mask));
            json!({ "value": found })
        }),
        Message::AssetEvents { kind, name } => {
            let topic = if kind == "alias" { Topic::Alias(name) } else { Topic::Asset(name) };
            lookups.asset_events(topic).await.map(|found| json!({ "value": found }))
        }
        Message::Mask { values } => {
            masks.add(values);
            Ok(json!({}))
        }
        Message::Push { .. } | Message::Done(_) => Err(LookupError("a statement is not to be answered".to_owned())),
    };
    answered.unwrap_or_else(|error| json!({ "error": error.to_string() }))
}

async fn pull(lookups: &impl Lookups, task_ids: Vec<String>, key: String) -> Result<Value, LookupError> {
    let asked = task_ids.len();
    let values = lookups.pull(task_ids, key).await?;
    if values.len() != asked {
        return Err(LookupError(format!("{} XComs were found for {asked} task ids", values.len())));
    }
    // An array of none or one per task id, so that a stored null differs from nothing.
    Ok(json!({ "values": values.into_iter().map(Vec::from_iter).collect::<Vec<_>>() }))
}

/// Nothing if the process does not listen any more.
async fn send(writer: &mut (impl AsyncWrite + Unpin), line: &str) -> Option<()> {
    writer.write_all(line.as_bytes()).await.ok()?;
    writer.write_all(b"\n").await.ok()
}

/// The next line, without its end; nothing at the end of the conversation.
async fn line(
    reader: &mut (impl AsyncBufRead + Unpin),
    ended: &mut watch::Receiver<bool>,
) -> Result<Option<Vec<u8>>, String> {
    let mut line = Vec::new();
    loop {
        // Once all processes have ended, what they sent is in the socket's buffer, and only that.
        let chunk = if *ended.borrow() {
            let chunk = tokio::time::timeout(DRAIN_PAUSE, reader.fill_buf()).await;
            chunk.ok().and_then(Result::ok)
        } else {
            tokio::select! {
                biased;
                chunk = reader.fill_buf() => chunk.ok(),
                _ = ended.changed() => continue,
            }
        };
        let Some(chunk) = chunk.filter(|chunk| !chunk.is_empty()) else { return Ok(None) };
        let end = chunk.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&chunk[..end.unwrap_or(chunk.len())]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        reader.consume(used);
        if line.len() > LINE_BYTES {
            return Err(format!("the Python process sent a message of more than {LINE_BYTES} bytes"));
        }
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}
