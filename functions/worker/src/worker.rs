//! What a batch of messages leads to. Everything is settled before it is answered: after the answer, a function stands still.

use crate::budget::Budget;
use crate::packages::Packages;
use jiff::Timestamp;
use lambda_runtime::LambdaEvent;
use serde_json::Value;
use std::sync::Arc;
use std::time::Instant;
use updraft_clock::{Clock, System};
use updraft_dag_store_s3::S3DagStore;
use updraft_function::cost::Used;
use updraft_function::{BatchAnswer, Error, Record, batch, traces};
use updraft_log_store_s3::S3LogStore;
use updraft_metastore_dynamodb::DynamoDb;
use updraft_model::WorkerKind;
use updraft_runner::ProcessRunner;
use updraft_service::engine::METRICS;
use updraft_service::{Engine, TaskRef};
use updraft_task_queue::Message;
use updraft_task_queue_sqs::{Sqs, parse_body};

/// The engine, and what runs attempts.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Use cases on the deployment's table and queues.
    pub(crate) engine: Arc<Engine<DynamoDb, Sqs, System>>,
    /// Runs attempts as processes of this function.
    pub(crate) runner: ProcessRunner<DynamoDb, Sqs, S3LogStore, System>,
    /// What this function can run.
    pub(crate) kind: WorkerKind,
    /// What its Python tasks import beside their own files; none where there is no Python.
    pub(crate) packages: Option<Packages<S3DagStore, S3LogStore>>,
}

impl Worker {
    /// Runs what a batch of messages names, one after the other, and in place what becomes ready by it.
    ///
    /// # Errors
    /// If the event is no batch of messages.
    pub(crate) async fn handle(&self, event: LambdaEvent<Value>) -> Result<BatchAnswer, Error> {
        let (before, begun) = (self.used(), Instant::now());
        let answer = Box::pin(self.settle(event)).await;
        self.used().since(before).with_a_batch().tell(begun.elapsed());
        traces::flush().await;
        answer
    }

    /// What this process has used so far.
    fn used(&self) -> Used {
        let consumed = self.engine.store.items().consumed();
        let (write_units, read_units) = (consumed.write_units, consumed.read_units);
        Used { write_units, read_units, requests: self.engine.queue.requests() }
    }

    async fn settle(&self, event: LambdaEvent<Value>) -> Result<BatchAnswer, Error> {
        let (event, context) = event.into_parts();
        let budget = Budget::new(self.engine.clock.now(), Timestamp::try_from(context.deadline())?);
        let records = batch::records(event).map_err(|error| {
            tracing::error!(%error, "an event is no batch of messages");
            format!("the event is no batch of SQS messages, and nothing else is for workers: {error}")
        })?;
        if let Some(packages) = &self.packages
            && let Err(error) = packages.refresh().await
        {
            tracing::error!(%error, "extra packages could not be looked at; tasks find those of before");
        }
        let mut answer = BatchAnswer::default();
        for record in &records {
            if let Some(Message::Callback { key, .. }) = parse_body(&record.body) {
                // A failure is made up for by the look at the callback, in the time index.
                if let Err(error) = Box::pin(self.engine.call(&key, &self.runner, Some(budget.leases_end()))).await {
                    tracing::error!(?key, %error, "a callback was not called, or its end not written; it is looked at again");
                }
                continue;
            }
            let Some(task) = task(record) else {
                tracing::error!(id = record.id, body = record.body, "a message names no task; it is dropped");
                continue;
            };
            if let Some(sent) = record.sent_at_ms() {
                let waited = self.engine.clock.now().as_millisecond() - sent;
                tracing::debug!(target: METRICS, incarnation = %task.incarnation, queue_delay_ms = waited.max(0));
            }
            if !Box::pin(self.work(&task, budget)).await {
                answer.again(record);
            }
        }
        Ok(answer)
    }

    /// Whether a task's message is done with.
    async fn work(&self, task: &TaskRef, budget: Budget) -> bool {
        if budget.for_attempt(self.engine.clock.now()).is_none() {
            tracing::warn!(?task, "too little time is left to begin a task; its message comes again");
            return false;
        }
        let may_continue = || budget.continuation(self.engine.clock.now(), self.kind);
        match self.engine.work(task, &self.runner, Some(budget.leases_end()), may_continue).await {
            Ok(worked) => {
                tracing::info!(incarnation = %task.incarnation, attempts = worked.attempts, "worked");
                true
            }
            Err(error) => {
                tracing::error!(?task, %error, "an attempt was not begun, or its end not written; the message comes again");
                false
            }
        }
    }
}

/// The task that a message names; none where it names none.
fn task(record: &Record) -> Option<TaskRef> {
    match parse_body(&record.body)? {
        Message::Task { incarnation, task, try_number, place, .. } => Some(TaskRef {
            incarnation,
            task,
            try_number,
            place,
            queued_at: record.sent_at_ms().and_then(|at| Timestamp::from_millisecond(at).ok()),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_where_they_are_looked_for() {
        assert_eq!(updraft_function::metrics::TARGET, METRICS);
        assert_eq!(updraft_function::traces::TARGET, updraft_service::spans::TRACES);
    }

    #[test]
    fn only_messages_that_name_a_task_are_work() {
        let named = |body: &str| task(&Record::new("1", body));
        let body = r#"{"look_at":"task","dag_id":"d","incarnation":"i1","task":3,"try_number":2,"priority":1}"#;
        let found = named(body).expect("it names a task");
        assert_eq!((found.incarnation.as_str(), found.try_number, found.queued_at), ("i1", 2, None));
        let sent =
            serde_json::json!({"messageId": "1", "body": body, "attributes": {"SentTimestamp": "1764345600123"}});
        let sent = task(&serde_json::from_value(sent).unwrap()).expect("it names a task");
        assert_eq!(sent.queued_at.map(Timestamp::as_millisecond), Some(1_764_345_600_123));
        assert_eq!(serde_json::to_value(found.task).unwrap(), 3);
        for body in [
            "",
            "not JSON",
            "{}",
            "null",
            r#"{"look_at":"run","incarnation":"i1"}"#,
            r#"{"look_at":"dag","dag_id":"d"}"#,
            r#"{"look_at":"task","dag_id":"d"}"#,
            r#"{"look_at":"task","dag_id":"d","incarnation":"i1","task":-1,"try_number":2,"priority":1}"#,
        ] {
            assert_eq!(named(body), None, "{body}");
        }
    }
}
