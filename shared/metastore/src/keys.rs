//! Every key of the table, built here and nowhere else.
//!
//! | item | pk | sk | written |
//! |---|---|---|---|
//! | run document | `R#<incarnation>` | `R` | updatable |
//! | attempt | `R#<incarnation>` | `A#<task, 5 digits>#<try, 4 digits>#<token>` | once |
//! | attempt of a mapped instance | `R#<incarnation>` | `A#<task, 5 digits>#m<map index, 10 digits>#<try, 4 digits>#<token>` | once |
//! | page of a mapped task or group | `R#<incarnation>` | `M#<first task, 5 digits>#<page, 8 digits>` | updatable |
//! | note on a run | `R#<incarnation>` | `C#` | over |
//! | note on a task instance | `R#<incarnation>` | `C#<task, 5 digits>#<map index, or nothing>` | over |
//! | intervention in several runs | `I#<operation>` | `I` | updatable; until it is made |
//! | callback | `R#<incarnation>` | `K#<id>` | updatable |
//! | backfill | `B#<backfill>` | `B` | updatable |
//! | backfill directory | `BACKFILLS` | `<backfill, 20 digits>` | once |
//! | DAG version, by number | `D#<dag id>` | `W#<number, 8 digits>` | over |
//! | event log | `EVENTS` | `<event log id, 20 digits>` | once; until `db clean` |
//! | run index, by name | `D#<dag id>` | `N#<run id>` | once |
//! | run index, by time | `D#<dag id>` | `O#<run_after, micros, 20 digits>#<run id>` | once |
//! | manual run, by logical date | `D#<dag id>` | `L#<logical date, micros, 20 digits>` | once; over where its run is gone |
//! | run index, by logical date | `D#<dag id>` | `S#<logical date, micros, 20 digits>#<run id>` | over; only for DAGs whose tasks depend on earlier runs |
//! | holder document of a pool | `P#<name>` | `P` | updatable |
//! | holder document of `max_active_tis_per_dag` | `T#<dag id>#<task id>` | `T` | updatable |
//! | holder document of `max_active_tasks` of a run with mapped tasks | `R#<incarnation>` | `L` | updatable |
//! | pool directory | `POOLS` | `<name>` | over |
//! | DAG document | `D#<dag id>` | `D` | updatable |
//! | DAG directory | `DAGS` | `<dag id>` | over, at each new version |
//! | DAG version | `V#<version>` | `V` | once |
//! | file record | `FILES` | `<path>` | over, at each change of the file |
//! | import error | `ERRORS` | `<path>` | over; present only while the file is bad |
//! | topic of asset events | `A#<topic>` | `A` | updatable |
//! | event in its topic's order | `A#<topic>` | `E#<number, 16 digits>` | once |
//! | event by its id | `A#<topic>` | `I#<event id>` | once |
//! | run made of a topic's events | `A#<topic>` | `C#<last number, 16 digits>#<dag id>#<run id>` | once |
//! | asset directory | `ASSETS`, of aliases `ALIASES` | `<topic>` | once |
//! | variable | `VARIABLES` | `<key>` | over |
//! | connection | `CONNECTIONS` | `<conn id>` | over |
//! | user | `USERS` | `<name>` | over |
//! | failed logins in a row | `LOGINS` | `<name>` | over; gone with the next login |
//! | favourite DAG | `FAVORITES#<name>` | `<dag id>` | over |
//! | value kept beside a task instance | `R#<incarnation>` | `B#<task, 5 digits>#<map index>#<name>` | over |
//! | value kept beside an asset | `B#<asset's number>` | `B#<name>` | over |
//! | secret of the server's own | `SECRETS` | `<name>` | once |
//! | message to the server of this machine | `MESSAGES` | `<micros, 20 digits>#<process, 10 digits>#<number, 10 digits>` | once; until it is taken |
//!
//! Where history is kept for a while only ([`crate::expiry`]), what is beside a run document, run index items and the event log say from their
//! beginning when they expire, and run documents from their end on.
//!
//! The time index holds run, page, DAG, holder, topic and callback documents, interventions and backfills, by `shard` (of
//! [`SHARDS`]) and `wake_at`.

use crate::item::Key;
use crate::notes::Noted;
use crate::state_store::Scope;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use updraft_model::{
    AttemptKey, BackfillId, CallbackKey, DagId, HolderId, Incarnation, OperationId, PageKey, TaskId, TaskIndex, Token,
    Topic, TopicId, VersionId,
};

/// How many partitions the time index is spread over. Persisted: changing it needs both old and new to be read.
pub const SHARDS: u8 = 4;

fn key(pk: impl Into<String>, sk: impl Into<String>) -> Key {
    Key { pk: pk.into(), sk: sk.into() }
}

/// A run document.
pub fn run(incarnation: &Incarnation) -> Key {
    key(format!("R#{incarnation}"), "R")
}

/// Whether a key is that of a run document.
pub(crate) fn is_run(key: &Key) -> bool {
    key.pk.starts_with("R#") && key.sk == "R"
}

/// Whether a key is that of something that only tells of a run, or of what somebody did: nothing that goes on needs it for long.
pub(crate) fn is_history(key: &Key) -> bool {
    let beside_run = key.pk.starts_with("R#") && key.sk != "R";
    let in_index = key.pk.starts_with("D#") && ["N#", RUNS_BY_TIME, "L#", "S#"].iter().any(|of| key.sk.starts_with(of));
    beside_run || in_index || key.pk == EVENT_LOG
}

/// An attempt item.
pub fn attempt(k: &AttemptKey) -> Key {
    let of_task = k.map_index.map_or_else(|| attempts_of_task(k.task), |index| attempts_of_instance(k.task, index));
    key(format!("R#{}", k.incarnation), format!("{of_task}{:04}#{}", k.try_number, k.token))
}

/// What the sort keys of all attempts of a mapped instance begin with.
pub fn attempts_of_instance(task: TaskIndex, map_index: u32) -> String {
    format!("{}m{map_index:010}#", attempts_of_task(task))
}

/// A sort key that comes before all attempts of a mapped instance, and after those of the instances before it.
pub fn before_instance(task: TaskIndex, map_index: u32) -> String {
    format!("{}m{map_index:010}", attempts_of_task(task))
}

/// A page of a mapped task.
pub fn page(k: &PageKey) -> Key {
    key(format!("R#{}", k.incarnation), format!("{PAGES}{:05}#{:08}", k.unit.0, k.page))
}

/// What the sort keys of all pages of a run begin with.
pub const PAGES: &str = "M#";

/// What the sort keys of all attempts of a task begin with.
pub fn attempts_of_task(task: TaskIndex) -> String {
    format!("A#{:05}#", task.0)
}

/// A sort key that comes before all attempts of a task, and after those of the tasks before it.
pub fn before_task(task: TaskIndex) -> String {
    format!("{ATTEMPTS}{:05}", task.0)
}

/// What the sort keys of all attempts of a run begin with.
pub const ATTEMPTS: &str = "A#";

/// The task, map index, try and token of an attempt's sort key.
pub fn read_attempt(sk: &str) -> Option<(TaskIndex, Option<u32>, u32, Token)> {
    let (task, rest) = sk.strip_prefix(ATTEMPTS)?.split_once('#')?;
    let (map_index, rest) = match rest.strip_prefix('m') {
        Some(rest) => {
            let (index, rest) = rest.split_once('#')?;
            (Some(index.parse().ok()?), rest)
        }
        None => (None, rest),
    };
    let (try_number, token) = rest.split_once('#')?;
    Some((TaskIndex(task.parse().ok()?), map_index, try_number.parse().ok()?, Token::trusted(token)))
}

/// A note on a run or a task instance.
pub fn note(incarnation: &Incarnation, noted: Noted) -> Key {
    let sk = match noted {
        Noted::Run => NOTES.to_owned(),
        Noted::Task(task, None) => format!("{NOTES}{:05}#", task.0),
        Noted::Task(task, Some(map_index)) => format!("{NOTES}{:05}#{map_index}", task.0),
    };
    key(format!("R#{incarnation}"), sk)
}

/// What the sort keys of all notes of a run begin with.
pub const NOTES: &str = "C#";

/// What a note of this sort key is on.
pub fn read_note(sk: &str) -> Option<Noted> {
    let rest = sk.strip_prefix(NOTES)?;
    let Some((task, map_index)) = rest.split_once('#') else { return rest.is_empty().then_some(Noted::Run) };
    let map_index = if map_index.is_empty() { None } else { Some(map_index.parse().ok()?) };
    Some(Noted::Task(TaskIndex(task.parse().ok()?), map_index))
}

/// A backfill.
pub fn backfill(id: &BackfillId) -> Key {
    key(format!("B#{id}"), "B")
}

/// An entry of the backfill directory.
pub fn backfill_entry(id: &BackfillId) -> Key {
    key(BACKFILLS, format!("{:0>20}", id.as_str()))
}

/// The partition of the backfill directory.
pub const BACKFILLS: &str = "BACKFILLS";

/// A DAG version, by its number.
pub fn dag_version(dag_id: &DagId, number: u32) -> Key {
    key(format!("D#{dag_id}"), format!("{VERSIONS}{number:08}"))
}

/// What the sort keys of DAG versions by number begin with.
pub const VERSIONS: &str = "W#";

/// An entry of the event log.
pub fn event_log(event_log_id: i64) -> Key {
    key(EVENT_LOG, format!("{event_log_id:020}"))
}

/// The partition of the event log.
pub const EVENT_LOG: &str = "EVENTS";

/// A message that a command leaves for the server of its machine; `process` and `number` tell apart what is left at one instant.
pub fn message(left_at: Timestamp, process: u32, number: u32) -> Key {
    message_of(&format!("{:020}#{process:010}#{number:010}", left_at.as_microsecond()))
}

/// The message of this sort key.
pub fn message_of(sk: &str) -> Key {
    key(MESSAGES, sk.to_owned())
}

/// The partition of messages to the server of this machine.
pub const MESSAGES: &str = "MESSAGES";

/// An intervention in several runs.
pub fn intervention(operation: &OperationId) -> Key {
    key(format!("I#{operation}"), "I")
}

/// A callback's document.
pub fn callback(callback: &CallbackKey) -> Key {
    key(format!("R#{}", callback.incarnation), format!("{CALLBACKS}{}", callback.id))
}

/// What the sort keys of a run's callbacks begin with.
pub const CALLBACKS: &str = "K#";

/// A run index item, by name.
pub fn run_name(dag_id: &DagId, run_id: &str) -> Key {
    key(format!("D#{dag_id}"), format!("N#{run_id}"))
}

/// A run index item, by time.
pub fn run_order(dag_id: &DagId, run_after: Timestamp, run_id: &str) -> Key {
    key(format!("D#{dag_id}"), format!("{RUNS_BY_TIME}{}#{run_id}", in_order(run_after)))
}

/// The claim of a manual run on its logical date.
pub fn run_date(dag_id: &DagId, logical_date: Timestamp) -> Key {
    key(format!("D#{dag_id}"), format!("L#{}", in_order(logical_date)))
}

/// An instant to the microsecond, in digits that order as instants do, those before 1970 too.
fn in_order(at: Timestamp) -> String {
    format!("{:020}", at.as_microsecond().saturating_add(1 << 60))
}

/// What the sort keys of run index items by time begin with.
pub const RUNS_BY_TIME: &str = "O#";

/// A run index item, by logical date.
pub fn run_in_sequence(dag_id: &DagId, logical_date: Timestamp, run_id: &str) -> Key {
    key(format!("D#{dag_id}"), format!("{}#{run_id}", runs_of_date(logical_date)))
}

/// What the sort keys of run index items of a logical date begin with.
pub fn runs_of_date(logical_date: Timestamp) -> String {
    let micros = logical_date.as_microsecond().saturating_add(1 << 60);
    format!("{RUNS_BY_DATE}{micros:020}")
}

/// What the sort keys of run index items by logical date begin with.
pub const RUNS_BY_DATE: &str = "S#";

/// A holder document.
pub fn holder(id: &HolderId) -> Key {
    match id {
        HolderId::Pool(name) => key(format!("P#{name}"), "P"),
        HolderId::Task(dag_id, task_id) => key(format!("T#{dag_id}#{task_id}"), "T"),
        HolderId::Run(incarnation) => key(run(incarnation).pk, "L"),
    }
}

/// An entry of the pool directory.
pub fn pool_entry(name: &str) -> Key {
    key(POOLS, name)
}

/// The partition of the pool directory.
pub const POOLS: &str = "POOLS";

/// A DAG document.
pub fn dag(dag_id: &DagId) -> Key {
    key(format!("D#{dag_id}"), "D")
}

/// An entry of the DAG directory.
pub fn dag_entry(dag_id: &DagId) -> Key {
    key(DAGS, dag_id.as_str())
}

/// The partition of the DAG directory.
pub const DAGS: &str = "DAGS";

/// A DAG version.
pub fn version(version: &VersionId) -> Key {
    key(format!("V#{version}"), "V")
}

/// A file record.
pub fn file(path: &str) -> Key {
    key(FILES, path)
}

/// The partition of file records.
pub const FILES: &str = "FILES";

/// An import error.
pub fn import_error(path: &str) -> Key {
    key(ERRORS, path)
}

/// The partition of import errors.
pub const ERRORS: &str = "ERRORS";

/// A topic's document.
pub fn topic(id: &TopicId) -> Key {
    key(format!("A#{id}"), "A")
}

/// An event in its topic's order.
pub fn event(id: &TopicId, number: u64) -> Key {
    key(format!("A#{id}"), format!("{EVENTS}{number:016}"))
}

/// What the sort keys of a topic's events begin with.
pub const EVENTS: &str = "E#";

/// The number in an event's sort key.
pub fn read_event(sk: &str) -> Option<u64> {
    sk.strip_prefix(EVENTS)?.parse().ok()
}

/// An event by its id.
pub fn event_id(id: &TopicId, event: &str) -> Key {
    key(format!("A#{id}"), format!("I#{event}"))
}

/// A run made of a topic's events up to a number.
pub fn consumed(id: &TopicId, last: u64, dag_id: &DagId, run_id: &str) -> Key {
    key(format!("A#{id}"), format!("{}#{dag_id}#{run_id}", consumed_at(last)))
}

/// What the sort keys of runs made of a topic's events up to a number begin with.
pub fn consumed_at(last: u64) -> String {
    format!("{CONSUMED}{last:016}")
}

/// What the sort keys of runs made of a topic's events begin with.
pub const CONSUMED: &str = "C#";

/// An entry of the directory of assets, or of aliases.
pub fn topic_entry(topic: &Topic) -> Key {
    key(if matches!(topic, Topic::Alias(_)) { ALIASES } else { ASSETS }, topic.id().as_str())
}

/// The partition of the asset directory.
pub const ASSETS: &str = "ASSETS";

/// The partition of the directory of aliases.
pub const ALIASES: &str = "ALIASES";

/// A variable.
pub fn variable(name: &str) -> Key {
    key(VARIABLES, name)
}

/// The partition of variables.
pub const VARIABLES: &str = "VARIABLES";

/// A connection.
pub fn connection(conn_id: &str) -> Key {
    key(CONNECTIONS, conn_id)
}

/// The partition of connections.
pub const CONNECTIONS: &str = "CONNECTIONS";

/// A user.
pub fn user(username: &str) -> Key {
    key(USERS, username)
}

/// The partition of users.
pub const USERS: &str = "USERS";

/// The failed logins of a user.
pub fn failed_logins(username: &str) -> Key {
    key("LOGINS", username)
}

/// A favourite DAG of a user.
pub fn favorite(username: &str, dag_id: &DagId) -> Key {
    key(favorites(username), dag_id.as_str())
}

/// The partition of a user's favourites.
pub fn favorites(username: &str) -> String {
    format!("FAVORITES#{username}")
}

/// A value of a state store.
pub fn kept_value(scope: &Scope, name: &str) -> Key {
    match scope {
        Scope::Task(incarnation, task, map_index) => {
            key(format!("R#{incarnation}"), format!("{}{map_index}#{name}", kept_values_of(Some(*task))))
        }
        Scope::Asset(id) => key(format!("B#{id}"), format!("B#{name}")),
    }
}

/// What the sort keys of all kept values of a run, or of one of its tasks, begin with.
pub fn kept_values_of(task: Option<TaskIndex>) -> String {
    task.map_or_else(|| "B#".to_owned(), |task| format!("B#{:05}#", task.0))
}

/// A secret that the server drew for itself.
pub fn secret(name: &str) -> Key {
    key("SECRETS", name)
}

/// What a key in the time index stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A run document.
    Run(Incarnation),
    /// A page of a mapped task.
    Page(PageKey),
    /// A DAG document.
    Dag(DagId),
    /// A holder document.
    Holder(HolderId),
    /// A topic's document.
    Topic(TopicId),
    /// An intervention in several runs.
    Intervention(OperationId),
    /// A callback's document.
    Callback(CallbackKey),
    /// A backfill.
    Backfill(BackfillId),
}

/// Reads a key of the time index.
pub fn document(key: &Key) -> Option<Document> {
    match (key.pk.split_once('#')?, key.sk.as_str()) {
        (("R", id), "R") => Some(Document::Run(Incarnation::trusted(id))),
        (("R", id), "L") => Some(Document::Holder(HolderId::Run(Incarnation::trusted(id)))),
        (("R", id), sk) if sk.starts_with(CALLBACKS) => {
            let id = Incarnation::trusted(id);
            Some(Document::Callback(CallbackKey { incarnation: id, id: sk.strip_prefix(CALLBACKS)?.to_owned() }))
        }
        (("R", id), sk) => {
            let (unit, page) = sk.strip_prefix(PAGES)?.split_once('#')?;
            let unit = TaskIndex(unit.parse().ok()?);
            Some(Document::Page(PageKey { incarnation: Incarnation::trusted(id), unit, page: page.parse().ok()? }))
        }
        (("D", id), "D") => Some(Document::Dag(DagId::trusted(id))),
        (("A", id), "A") => Some(Document::Topic(TopicId::trusted(id))),
        (("B", id), "B") => Some(Document::Backfill(BackfillId::trusted(id))),
        (("I", id), "I") => Some(Document::Intervention(OperationId::trusted(id))),
        (("P", name), "P") => Some(Document::Holder(HolderId::Pool(name.to_owned()))),
        (("T", id), "T") => {
            let (dag_id, task_id) = id.split_once('#')?;
            Some(Document::Holder(HolderId::Task(DagId::trusted(dag_id), TaskId::trusted(task_id))))
        }
        _ => None,
    }
}

/// The shard of an item in the time index.
pub fn shard(key: &Key) -> String {
    let digest = Sha256::digest(key.pk.as_bytes());
    shard_name(digest[0] % SHARDS)
}

/// The name of a shard.
pub fn shard_name(shard: u8) -> String {
    format!("w{shard}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_read_back(id in "[a-zA-Z0-9_.-]{1,40}", task in 0u32..99_999, n in 0u32..9_999, index in proptest::option::of(any::<u32>()), token in "[a-z0-9]{8}") {
            prop_assert_eq!(document(&run(&Incarnation::trusted(&id))), Some(Document::Run(Incarnation::trusted(&id))));
            let operation = OperationId::trusted(&id);
            let of_backfill = BackfillId::trusted(&id);
            prop_assert_eq!(document(&backfill(&of_backfill)), Some(Document::Backfill(of_backfill)));
            prop_assert_eq!(document(&intervention(&operation)), Some(Document::Intervention(operation)));
            for noted in [Noted::Run, Noted::Task(TaskIndex(task), None), Noted::Task(TaskIndex(task), Some(n))] {
                prop_assert_eq!(read_note(&note(&Incarnation::trusted(&id), noted).sk), Some(noted));
            }
            let callback_key = CallbackKey { incarnation: Incarnation::trusted(&id), id: format!("try.{task}.{n}.{token}.0") };
            prop_assert_eq!(document(&callback(&callback_key)), Some(Document::Callback(callback_key)));
            prop_assert_eq!(document(&dag(&DagId::trusted(&id))), Some(Document::Dag(DagId::trusted(&id))));
            let attempt = attempt(&AttemptKey {
                incarnation: Incarnation::trusted(&id), task: TaskIndex(task), map_index: index, try_number: n, token: Token::trusted(&token),
            });
            prop_assert_eq!(read_attempt(&attempt.sk), Some((TaskIndex(task), index, n, Token::trusted(&token))));
            prop_assert_eq!(document(&attempt), None);
        }

        #[test]
        fn runs_order_by_time(a in -10_000_000_000_000i64..10_000_000_000_000, b in -10_000_000_000_000i64..10_000_000_000_000) {
            let at = |micros| run_order(&DagId::trusted("d"), Timestamp::from_microsecond(micros).unwrap(), "r").sk;
            prop_assert_eq!(at(a).cmp(&at(b)), a.cmp(&b));
        }
    }
}
