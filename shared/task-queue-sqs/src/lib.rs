//! The task queue on SQS: a standard queue for each lane, and where it is named one more for the tasks that want Python.
//!
//! A message's body is the JSON of [`Message`], so a Lambda function reads its event with [`parse_body`]. Messages of task
//! instances carry their DAG as the message group: on a standard queue that makes SQS share deliveries out fairly between
//! groups, and orders nothing.

mod fault;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Builder;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use fault::describe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use updraft_model::WorkerKind;
use updraft_task_queue::{DELAY_MAX, Delivery, Error, Lane, Message, Outgoing, TaskQueue};

/// Messages in one request; SQS takes and gives no more.
const BATCH_MAX: usize = 10;
/// The longest wait for a message in one request; SQS knows no longer one.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Characters of a message group; SQS takes no more.
const GROUP_CHARS_MAX: usize = 128;
/// How long one attempt at a request may take: longer than the longest wait for a message.
const ATTEMPT_MAX: Duration = Duration::from_secs(30);
/// How often the messages that SQS could not take are sent again, each time after twice the wait.
const RESENDS_MAX: u32 = 3;
/// The wait before the first of these.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// The SQS queues of a deployment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sqs {
    client: Client,
    tasks: String,
    /// Where the tasks go that want Python; none: to the others.
    python: Option<String>,
    looks: String,
    /// Requests so far, clones included.
    requests: Arc<AtomicU64>,
}

impl Sqs {
    /// The queues at these URLs: task instances, for workers, and runs and DAGs to look at, for the scheduler. Nothing is sent
    /// yet.
    pub fn new(settings: &SdkConfig, tasks_url: impl Into<String>, looks_url: impl Into<String>) -> Self {
        let ours = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_MAX).build();
        let timeouts = match settings.timeout_config() {
            Some(theirs) => theirs.to_builder().take_unset_from(ours.to_builder()).build(),
            None => ours,
        };
        let client = Client::from_conf(Builder::from(settings).timeout_config(timeouts).build());
        Self { client, tasks: tasks_url.into(), python: None, looks: looks_url.into(), requests: Arc::default() }
    }

    /// The same, with a queue of their own for tasks and callbacks that want a worker with Python.
    #[must_use]
    pub fn with_python(self, url: Option<String>) -> Self {
        Self { python: url, ..self }
    }

    /// How many requests this process has made so far, clones included: each is billed, whatever it carries.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn requested(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// The queue that is received from for a lane.
    fn url(&self, lane: Lane) -> &str {
        match lane {
            Lane::Tasks => &self.tasks,
            Lane::Looks => &self.looks,
        }
    }

    /// The queue that a message is sent to.
    fn url_for(&self, message: &Message) -> &str {
        match message.worker() {
            WorkerKind::Python => self.python.as_deref().unwrap_or(&self.tasks),
            WorkerKind::Plain => self.url(message.lane()),
        }
    }

    /// Sends at most [`BATCH_MAX`] messages of one lane. SQS may take a part of them.
    async fn send_batch(&self, url: &str, batch: &[&Outgoing]) -> Result<(), Error> {
        let mut left = entries(batch)?;
        for resend in 0.. {
            let request = self.client.send_message_batch().queue_url(url).set_entries(Some(left.clone()));
            self.requested();
            let answer = request.send().await.map_err(|e| describe("send to", url, &e))?;
            let Some(first) = answer.failed.first() else { return Ok(()) };
            let by_us = answer.failed.iter().any(|failed| failed.sender_fault);
            if by_us || resend == RESENDS_MAX {
                return Err(Error(format!(
                    "`{url}` did not take {} of {} messages, the first because of {}: {}",
                    answer.failed.len(),
                    batch.len(),
                    first.code,
                    first.message.as_deref().unwrap_or("no message")
                )));
            }
            left.retain(|entry| answer.failed.iter().any(|failed| failed.id == entry.id));
            tokio::time::sleep(BACKOFF_FIRST * 2u32.pow(resend)).await;
        }
        Ok(())
    }
}

/// A batch as SQS has it.
fn entries(batch: &[&Outgoing]) -> Result<Vec<SendMessageBatchRequestEntry>, Error> {
    let entry = |(place, outgoing): (usize, &&Outgoing)| {
        let body =
            serde_json::to_string(&outgoing.message).map_err(|e| Error(format!("could not write a message: {e}")))?;
        SendMessageBatchRequestEntry::builder()
            .id(place.to_string())
            .message_body(body)
            .delay_seconds(delay_seconds(outgoing.delay))
            .set_message_group_id(group(&outgoing.message))
            .build()
            .map_err(|e| Error(format!("could not build a message: {e}")))
    };
    batch.iter().enumerate().map(entry).collect()
}

/// Whole seconds, rounded up: a message that comes too early is looked at for nothing, and not sent again.
fn delay_seconds(delay: Duration) -> i32 {
    let delay = delay.min(DELAY_MAX);
    delay.as_secs() as i32 + i32::from(delay.subsec_nanos() > 0)
}

/// The group of a message, where it has one. SQS takes ASCII letters, digits and punctuation, and DAG ids may be longer and have
/// other letters. Two that become one only share their turn.
fn group(message: &Message) -> Option<String> {
    let Message::Task { dag_id, .. } = message else { return None };
    let plain = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    Some(dag_id.as_str().chars().take(GROUP_CHARS_MAX).map(plain).collect())
}

/// Reads a message's body; none where it is no message of ours, or of a later version.
pub fn parse_body(body: &str) -> Option<Message> {
    serde_json::from_str(body).ok()
}

impl TaskQueue for Sqs {
    /// One SendMessageBatch for every ten messages to a queue, and more where SQS takes only a part.
    async fn send(&self, messages: &[Outgoing]) -> Result<(), Error> {
        let queues = [Some(&self.tasks), self.python.as_ref(), Some(&self.looks)];
        for url in queues.into_iter().flatten() {
            let to: Vec<&Outgoing> =
                messages.iter().filter(|outgoing| self.url_for(&outgoing.message) == url).collect();
            for batch in to.chunks(BATCH_MAX) {
                self.send_batch(url, batch).await?;
            }
        }
        Ok(())
    }

    /// One ReceiveMessage: at most ten messages, and a wait of at most 20 seconds, counted in whole ones.
    async fn receive(&self, lane: Lane, max: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let max = max.min(BATCH_MAX) as i32;
        if max == 0 {
            return Ok(Vec::new());
        }
        let url = self.url(lane);
        let request = self.client.receive_message().queue_url(url).max_number_of_messages(max);
        let request = request.wait_time_seconds(wait.min(WAIT_MAX).as_secs() as i32);
        self.requested();
        let answer = request.send().await.map_err(|e| describe("receive from", url, &e))?;
        // One without a receipt could not be acknowledged; it comes again.
        let delivery = |message: aws_sdk_sqs::types::Message| {
            let receipt = message.receipt_handle?;
            Some(Delivery { message: message.body.as_deref().and_then(parse_body), receipt, waited: None })
        };
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(delivery).collect())
    }

    /// One DeleteMessage.
    async fn acknowledge(&self, lane: Lane, receipt: &str) -> Result<(), Error> {
        let url = self.url(lane);
        let request = self.client.delete_message().queue_url(url).receipt_handle(receipt);
        self.requested();
        request.send().await.map_err(|e| describe("acknowledge to", url, &e))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
