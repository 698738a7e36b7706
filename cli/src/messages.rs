//! What commands leave for the server of their home: where to look.
//!
//! A command decides by itself what a clear, a mark or a larger pool sets off, and its process ends with it. What it would send lies in the metastore
//! until the server takes it, which is as soon as it sees that another process has written. Where no server runs, the next one takes it. As
//! anywhere, messages are hints: none of them is the only copy of a fact.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use updraft_metastore::{Error, Item, Items, Range, Value, keys};
use updraft_metastore_embedded::Embedded;
use updraft_task_queue::{Message, Outgoing};

/// How many are read at once.
const PAGE: usize = 500;

/// The name of the one attribute of a message's item.
const CONTENT: &str = "content";

/// What is left, as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Left {
    message: Message,
    #[serde(default)]
    delay_ms: u64,
}

/// The messages that lie in a home's metastore.
#[derive(Debug, Clone)]
pub(crate) struct Messages(Arc<Embedded>);

impl Messages {
    /// Those of this store.
    pub(crate) fn new(items: Arc<Embedded>) -> Self {
        Self(items)
    }

    /// Leaves messages for the server.
    pub(crate) async fn leave(&self, messages: &[Outgoing]) -> Result<(), Error> {
        /// Tells messages of one process and one microsecond apart.
        static LEFT: AtomicU32 = AtomicU32::new(0);
        for outgoing in messages {
            let delay_ms = u64::try_from(outgoing.delay.as_millis()).unwrap_or(u64::MAX);
            let left = Left { message: outgoing.message.clone(), delay_ms };
            let content = serde_json::to_string(&left).map_err(|error| Error::Corrupt(error.to_string()))?;
            let number = LEFT.fetch_add(1, Ordering::Relaxed);
            let key = keys::message(Timestamp::now(), std::process::id(), number);
            self.0.put(&key, &Item::from([(CONTENT.to_owned(), Value::S(content))])).await?;
        }
        Ok(())
    }

    /// Takes what was left, the oldest first.
    pub(crate) async fn take(&self) -> Result<Vec<Outgoing>, Error> {
        let mut taken = Vec::new();
        loop {
            let range = Range {
                pk: keys::MESSAGES.to_owned(),
                prefix: String::new(),
                after: None,
                descending: false,
                limit: PAGE,
            };
            let found = self.0.query(&range).await?;
            let is_last = found.len() < PAGE;
            for (sk, item) in found {
                self.0.delete(&keys::message_of(&sk), &[]).await?;
                let Some(Value::S(content)) = item.get(CONTENT) else {
                    tracing::warn!(?item, "a message without content is passed over");
                    continue;
                };
                match serde_json::from_str::<Left>(content) {
                    Ok(Left { message, delay_ms }) => {
                        taken.push(Outgoing { message, delay: Duration::from_millis(delay_ms) });
                    }
                    Err(error) => {
                        tracing::warn!(%error, content, "a message that is none of this version's is passed over");
                    }
                }
            }
            if is_last {
                return Ok(taken);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft_model::DagId;

    #[tokio::test]
    async fn a_server_takes_what_commands_left_once_and_in_order() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("metastore.db");
        let (server, command) = (Embedded::open(&file).unwrap(), Embedded::open(&file).unwrap());
        let (server, command) = (Messages::new(Arc::new(server)), Messages::new(Arc::new(command)));
        let messages: Vec<Outgoing> = (0..PAGE + 3)
            .map(|number| Outgoing {
                message: Message::Dag { dag_id: DagId::parse(&format!("d{number}")).unwrap() },
                delay: Duration::from_millis(number as u64),
            })
            .collect();
        command.leave(&messages).await.unwrap();
        assert_eq!(server.take().await.unwrap(), messages);
        assert_eq!(server.take().await.unwrap(), []);
    }
}
