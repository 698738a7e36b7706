//! What each event leads to. Everything is settled before an event is answered: after its answer, a function stands still.

use crate::event::Event;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::time::Instant;
use updraft_clock::{Clock, System};
use updraft_dag_store_s3::S3DagStore;
use updraft_function::cost::Used;
use updraft_function::{BatchAnswer, Error, Record, batch, traces};
use updraft_metastore_dynamodb::DynamoDb;
use updraft_service::Engine;
use updraft_service::ingest::Ingested;
use updraft_task_queue::Message;
use updraft_task_queue_sqs::{Sqs, parse_body};

/// The bucket is listed by the ticks of these minutes of an hour: the multiples. It costs one request for every 1,000 files, and
/// makes up for notifications that were lost.
const RECONCILE_EVERY_MINUTES: i8 = 10;

/// The engine, and the DAG folder it takes files from.
#[derive(Debug)]
pub(crate) struct Scheduler {
    /// Use cases on the deployment's table and queues.
    pub(crate) engine: Engine<DynamoDb, Sqs, System>,
    /// The bucket's DAG files.
    pub(crate) dags: S3DagStore,
}

impl Scheduler {
    /// Does what an event asks for. An error has Lambda call again: twice for a tick or a notification, and by the queue's rules
    /// for messages.
    pub(crate) async fn handle(&self, payload: Value) -> Result<Value, Error> {
        let (before, begun) = (self.used(), Instant::now());
        let is_batch = batch::source(&payload) == Some("aws:sqs");
        let answer = Box::pin(self.settle(payload)).await;
        let used = self.used().since(before);
        (if is_batch { used.with_a_batch() } else { used }).tell(begun.elapsed());
        traces::flush().await;
        answer
    }

    /// What this process has used so far.
    fn used(&self) -> Used {
        let consumed = self.engine.store.items().consumed();
        let (write_units, read_units) = (consumed.write_units, consumed.read_units);
        Used { write_units, read_units, requests: self.engine.queue.requests() }
    }

    async fn settle(&self, payload: Value) -> Result<Value, Error> {
        let event =
            Event::parse(payload).inspect_err(|error| tracing::error!(%error, "an event was not understood"))?;
        match event {
            Event::Tick { reconcile } => {
                let reconcile = reconcile || reconciles_at(self.engine.clock.now());
                Box::pin(self.tick(reconcile)).await?;
                Ok(Value::Null)
            }
            Event::Uploads(keys) => {
                Box::pin(self.take_in(&keys)).await?;
                Ok(Value::Null)
            }
            Event::Messages(records) => Ok(serde_json::to_value(Box::pin(self.look(&records)).await)?),
        }
    }

    /// Looks at what is due, sends ahead what will be, and on some minutes lists the bucket. Neither keeps the other from being
    /// done.
    async fn tick(&self, reconcile: bool) -> Result<(), Error> {
        let ticked = Box::pin(self.engine.tick_ahead()).await;
        if let Ok(ticked) = &ticked {
            let (looked_at, sent_ahead, failed) = (ticked.looked_at, ticked.sent_ahead, ticked.failed);
            tracing::info!(looked_at, sent_ahead, failed, "ticked");
        }
        if reconcile {
            taken_in(&Box::pin(self.engine.ingest_all(&self.dags)).await?)?;
        }
        ticked?;
        Ok(())
    }

    /// Reads files that were uploaded or removed.
    async fn take_in(&self, keys: &[String]) -> Result<(), Error> {
        let paths: Vec<String> = keys.iter().filter_map(|key| self.dags.path_of(key)).map(str::to_owned).collect();
        if paths.is_empty() {
            tracing::info!(?keys, "no file of the DAG folder is among these objects");
            return Ok(());
        }
        taken_in(&Box::pin(self.engine.ingest_changed(&self.dags, &paths)).await?)
    }

    /// Looks at the runs and DAGs that messages name. One that fails comes again; one that says nothing never will say more, so it
    /// is done with.
    async fn look(&self, records: &[Record]) -> BatchAnswer {
        let mut answer = BatchAnswer::default();
        for record in records {
            let looked = match parse_body(&record.body) {
                Some(Message::Task { .. } | Message::Callback { .. }) | None => {
                    tracing::error!(
                        id = record.id,
                        body = record.body,
                        "a message names no run and no DAG; it is dropped"
                    );
                    Ok(())
                }
                Some(message) => Box::pin(self.engine.look_where(&message)).await,
            };
            if let Err(error) = looked {
                tracing::error!(id = record.id, body = record.body, %error, "a look failed; its message comes again");
                answer.again(record);
            }
        }
        answer
    }
}

/// Whether the tick of this instant lists the bucket.
fn reconciles_at(now: Timestamp) -> bool {
    now.to_zoned(TimeZone::UTC).minute() % RECONCILE_EVERY_MINUTES == 0
}

/// Says what came of reading files; an error where one has to be read again.
fn taken_in(ingested: &Ingested) -> Result<(), Error> {
    let Ingested { parsed, unchanged, removed, failed, python, postponed } = ingested;
    tracing::info!(?parsed, unchanged, ?removed, ?failed, ?python, ?postponed, "took in DAG files");
    if postponed.is_empty() {
        return Ok(());
    }
    Err(format!("these files could not be taken in, and are tried again: `{}`", postponed.join("`, `")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_listed_by_every_tenth_tick() {
        let tick = |minute: i64| Timestamp::from_second(1_767_225_600 + minute * 60 + 37).unwrap();
        let reconciling: Vec<i64> = (0..60).filter(|minute| reconciles_at(tick(*minute))).collect();
        assert_eq!(reconciling, [0, 10, 20, 30, 40, 50]);
    }

    #[test]
    fn files_that_have_to_be_read_again_are_an_error() {
        let bad = Ingested { parsed: vec!["a".into()], failed: vec!["a".into()], ..Ingested::default() };
        assert!(taken_in(&bad).is_ok(), "an import error is the file's own business");
        let postponed = Ingested { postponed: vec!["a.yaml".into(), "b.yaml".into()], ..Ingested::default() };
        assert!(taken_in(&postponed).unwrap_err().to_string().contains("`a.yaml`, `b.yaml`"));
    }
}
