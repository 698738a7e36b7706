//! What every [`TaskQueue`] promises, one promise a function. Each adapter runs all of them by `queue_suite!(make)`, on a queue of
//! its own.

#![expect(clippy::unwrap_used, reason = "a promise that is broken is to panic: these are the bodies of tests")]

use crate::{Delivery, Lane, Message, Outgoing, TaskQueue};
use std::time::{Duration, Instant};
use updraft_model::{DagId, Incarnation, Place, TaskIndex, WorkerKind};

fn task(n: u32) -> Message {
    Message::Task {
        dag_id: DagId::trusted("suite.dag"),
        incarnation: Incarnation::trusted("abc123"),
        task: TaskIndex(n),
        try_number: 3,
        priority: 1,
        place: Some(Place { unit: TaskIndex(n), page: 1, map_index: 70 }),
        worker: WorkerKind::Plain,
    }
}

fn run(name: &str) -> Message {
    Message::Run { incarnation: Incarnation::trusted(name) }
}

/// Receives and acknowledges until `count` messages came or ten seconds passed.
async fn collect<Q: TaskQueue>(queue: &Q, lane: Lane, count: usize) -> Vec<Message> {
    let begun = Instant::now();
    let mut found = Vec::new();
    while found.len() < count && begun.elapsed() < Duration::from_secs(10) {
        for Delivery { message, receipt, .. } in queue.receive(lane, 10, Duration::from_secs(1)).await.unwrap() {
            found.extend(message);
            queue.acknowledge(lane, &receipt).await.unwrap();
        }
    }
    found.sort();
    found
}

/// Everything sent at once arrives, beyond any batch limit, each in its lane.
pub async fn everything_arrives_in_its_lane<Q: TaskQueue>(queue: &Q) {
    let tasks: Vec<Message> = (0..23).map(task).collect();
    let mut sent: Vec<Outgoing> = tasks.iter().cloned().map(Outgoing::now).collect();
    sent.push(Outgoing::now(run("r1")));
    sent.push(Outgoing::now(Message::Dag { dag_id: DagId::trusted("d") }));
    queue.send(&sent).await.unwrap();
    assert_eq!(collect(queue, Lane::Tasks, 23).await, tasks);
    assert_eq!(collect(queue, Lane::Looks, 2).await, [run("r1"), Message::Dag { dag_id: DagId::trusted("d") }]);
}

/// A delayed message does not come early, and comes.
pub async fn a_delay_holds_a_message_back<Q: TaskQueue>(queue: &Q) {
    let begun = Instant::now();
    let delay = Duration::from_secs(2);
    queue.send(&[Outgoing { message: run("late"), delay }, Outgoing::now(run("now"))]).await.unwrap();
    assert_eq!(collect(queue, Lane::Looks, 1).await, [run("now")]);
    assert_eq!(collect(queue, Lane::Looks, 1).await, [run("late")]);
    // Queues count in whole seconds on their own clock; half a second of slack.
    assert!(begun.elapsed() >= Duration::from_millis(1500), "came after {:?}", begun.elapsed());
}

/// What was acknowledged does not come again; an empty queue answers empty after the wait.
pub async fn acknowledged_messages_stay_away<Q: TaskQueue>(queue: &Q) {
    queue.send(&[Outgoing::now(task(1))]).await.unwrap();
    assert_eq!(collect(queue, Lane::Tasks, 1).await, [task(1)]);
    assert_eq!(queue.receive(Lane::Tasks, 10, Duration::from_millis(200)).await.unwrap(), []);
    assert_eq!(queue.receive(Lane::Looks, 10, Duration::ZERO).await.unwrap(), []);
}

/// Sending nothing is fine.
pub async fn sending_nothing_is_fine<Q: TaskQueue>(queue: &Q) {
    queue.send(&[]).await.unwrap();
}

/// One test per promise for the queue that `$make` gives: an expression evaluated in an async context for each test.
#[macro_export]
macro_rules! queue_suite {
    ($make:expr) => {
        $crate::queue_suite!(@each $make;
            everything_arrives_in_its_lane, a_delay_holds_a_message_back, acknowledged_messages_stay_away, sending_nothing_is_fine
        );
    };
    (@each $make:expr; $($promise:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let queue = $make;
                $crate::suite::$promise(&queue).await;
            }
        )+
    };
}
