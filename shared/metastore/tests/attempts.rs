//! Attempts of a task, of its mapped instances, and of some of these.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use jiff::Timestamp;
use updraft_metastore::Metastore;
use updraft_metastore::memory::Memory;
use updraft_model::{Attempt, AttemptKey, AttemptOutcome, Incarnation, TaskIndex, Token};

fn key(task: u32, map_index: Option<u32>, try_number: u32) -> AttemptKey {
    let token = Token::trusted("t");
    AttemptKey { incarnation: Incarnation::trusted("r"), task: TaskIndex(task), map_index, try_number, token }
}

/// A run whose second task was tried forty times before it had 1,200 instances, of which each third was tried twice.
async fn store() -> Metastore<Memory> {
    let store = Metastore::new(Memory::default());
    let attempt = Attempt::new(AttemptOutcome::Failed, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    let own = (1..=40).map(|number| key(1, None, number));
    let instances =
        (0..1200).flat_map(|index| (1..=if index % 3 == 0 { 2 } else { 1 }).map(move |n| key(1, Some(index), n)));
    let others = [key(0, None, 1), key(0, Some(7), 1), key(2, None, 1), key(2, Some(7), 1)];
    for key in own.chain(instances).chain(others) {
        store.put_attempt(&key, &attempt).await.unwrap();
    }
    store
}

#[tokio::test]
async fn those_of_the_task_itself_are_told_from_those_of_its_instances() {
    let (store, run) = (store().await, Incarnation::trusted("r"));
    let own = store.attempts_of_whole(&run, TaskIndex(1)).await.unwrap();
    let expected: Vec<_> = (1..=40).map(|number| key(1, None, number)).collect();
    assert_eq!(own.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), expected);
    assert_eq!(store.attempts_of_whole(&run, TaskIndex(3)).await.unwrap(), []);
}

#[tokio::test]
async fn those_of_some_instances_are_a_part_of_all() {
    let (store, run) = (store().await, Incarnation::trusted("r"));
    let all = store.attempts_of(&run, Some(TaskIndex(1))).await.unwrap();
    assert_eq!(all.len(), 40 + 1200 + 400);
    for wanted in [0..1, 0..100, 99..101, 600..1200, 0..1200, 1199..5000, 7..7, 2000..3000] {
        let found = store.attempts_of_instances(&run, TaskIndex(1), wanted.clone()).await.unwrap();
        let part = all.iter().filter(|(key, _)| key.map_index.is_some_and(|index| wanted.contains(&index)));
        assert_eq!(found, part.cloned().collect::<Vec<_>>(), "{wanted:?}");
    }
}

#[tokio::test]
async fn those_of_some_tasks_are_a_part_of_all() {
    let (store, run) = (store().await, Incarnation::trusted("r"));
    let all = store.attempts_of(&run, None).await.unwrap();
    for wanted in [0..1, 0..3, 1..2, 2..3, 2..500, 1..1, 3..9] {
        let found = store.readable_attempts_of_tasks(&run, wanted.clone()).await.unwrap().items;
        let part = all.iter().filter(|(key, _)| wanted.contains(&key.task.0));
        assert_eq!(found, part.cloned().collect::<Vec<_>>(), "{wanted:?}");
    }
}

#[tokio::test]
async fn parts_put_together_are_all() {
    let (store, run) = (store().await, Incarnation::trusted("r"));
    let all = store.attempts_of(&run, None).await.unwrap();
    for limit in [1, 7, 822, 1644, 5000] {
        let (mut found, mut page) = (Vec::new(), None);
        loop {
            let part = store.attempts_page(&run, limit, page).await.unwrap();
            assert!(part.items.len() <= limit);
            found.extend(part.items);
            page = part.next;
            if page.is_none() {
                break;
            }
        }
        assert_eq!(found, all, "{limit}");
    }
}
