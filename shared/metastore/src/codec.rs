//! Documents to items and back, changes to updates. Attribute names are short because every write pays for them; they are
//! persisted and never change their meaning.
//!
//! | run document | | DAG document | |
//! |---|---|---|---|
//! | `f` | facts, JSON | `ve` | current version |
//! | `st` | state | `fi` | file |
//! | `ep` | epoch | `pa` | 1 while paused |
//! | `op` | last operation | `la` | last interval, `start.end` in microseconds |
//! | `ae` | epoch of its active place | `vn` | number of the version |
//! | `cn` | how often it was cleared | `bf` | backfill that goes on |
//! | `vr` | its version, where a clear has changed it | `bt` | how far backfills have come, microseconds |
//! | `sd`, `ed` | start, end in microseconds | `nd` | next due, microseconds |
//! | `c` | cells by task index | `mx` | most active runs |
//! | `mt` | max tries by task index | `ac` | active runs: `<epoch>:<facts, JSON>` |
//! | `rs` | resumed tries by task index | | |
//! | `ch` | choices by task index | | |
//! | `m` | mapped tasks: lengths, expansions, pages | | |
//! | `tk` | writes that took places of `max_active_tasks` | | |
//! | `pa`, `pm` | past met by all; tasks whose past is met | | |
//! | `to` | when it times out, milliseconds | `aq` | topics of its schedule: what it knows of each; absent where it names none |
//! | `da` | when the next deadline is missed, milliseconds | | |
//! | `ar` | how long runs took on average when it was created, by deadline, JSON | | |
//! | `qa` | when it was last cleared, microseconds, where deadlines count from that | | |
//! | `pz` | 1 while its DAG is paused | | |
//! | `in`, `ia` | intervention under way, JSON; where it goes on | | |
//! | `dl` | deleted at, microseconds: a tombstone | | |
//! | `ob` | outbox, JSON by id | `he` | held runs: due, microseconds |
//! | `lk` | idle looks | | |
//! | `rv` | revision | `rv` | revision |
//! | `shard`, `wake_at` | time index | `shard`, `wake_at` | time index |

use crate::expiry::EXPIRES;
use crate::item::{Change, Condition, Item, Key, Path, SHARD, Update, Value, WAKE_AT};
use crate::{Error, keys};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use updraft_model::{
    ActiveRun, BackfillId, Cell, Chosen, DagChange, DagDoc, DagId, DagRunState, DataInterval, Incarnation, Mapped,
    MappedEntry, MappedKey, OperationId, Queued, Resumed, RunChange, RunDoc, RunFacts, TaskIndex, TopicId, VersionId,
};

/// The attribute that holds items which are one JSON text.
pub const JSON: &str = "v";

pub(crate) fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::Corrupt(what.to_string())
}

/// JSON of our own plain data.
pub fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data with text keys always serializes")
}

/// Reads what [`to_json`] wrote.
pub fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text)
        .map_err(|e| corrupt(format_args!("{e} in `{}`", text.chars().take(200).collect::<String>())))
}

/// An item that is one JSON text.
pub fn json_item<T: Serialize>(value: &T) -> Item {
    Item::from([(JSON.to_owned(), Value::S(to_json(value)))])
}

/// Reads what [`json_item`] wrote.
pub fn from_json_item<T: DeserializeOwned>(item: &Item) -> Result<T, Error> {
    from_json(text(item, JSON)?)
}

pub(crate) fn text<'a>(item: &'a Item, name: &str) -> Result<&'a str, Error> {
    match item.get(name) {
        Some(Value::S(text)) => Ok(text),
        _ => Err(corrupt(format_args!("an item without the text `{name}`"))),
    }
}

pub(crate) fn number(item: &Item, name: &str) -> Option<i64> {
    match item.get(name) {
        Some(Value::N(n)) => Some(*n),
        _ => None,
    }
}

fn map<'a>(item: &'a Item, name: &str) -> Result<&'a BTreeMap<String, Value>, Error> {
    match item.get(name) {
        Some(Value::M(map)) => Ok(map),
        _ => Err(corrupt(format_args!("an item without the map `{name}`"))),
    }
}

/// The interventions a run remembers, as one text.
fn operations(ids: &[OperationId]) -> Value {
    Value::S(ids.iter().map(OperationId::as_str).collect::<Vec<_>>().join(" "))
}

/// When a run ended.
pub(crate) const END_DATE: &str = "ed";

fn micros(at: Timestamp) -> Value {
    Value::N(at.as_microsecond())
}

fn from_micros(n: i64) -> Result<Timestamp, Error> {
    Timestamp::from_microsecond(n).map_err(corrupt)
}

fn instant(item: &Item, name: &str) -> Result<Option<Timestamp>, Error> {
    number(item, name).map(from_micros).transpose()
}

pub(crate) fn wake(item: &Item) -> Result<Option<Timestamp>, Error> {
    crate::item::wake_of(item).map(|ms| Timestamp::from_millisecond(ms).map_err(corrupt)).transpose()
}

pub(crate) fn set(item: &mut Item, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        item.insert(name.to_owned(), value);
    }
}

pub(crate) fn entries<T>(
    item: &Item,
    name: &str,
    read: impl Fn(&str, &Value) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    map(item, name)?.iter().map(|(k, v)| read(k, v)).collect()
}

fn task_index(key: &str) -> Result<TaskIndex, Error> {
    key.parse().map(TaskIndex).map_err(|_| corrupt(format_args!("task index `{key}`")))
}

/// A run document as an item.
pub fn run_item(run: &RunDoc) -> Item {
    let cells = run.cells.iter().map(|(t, c)| (t.to_string(), Value::S(c.encode()))).collect();
    let tries = run.max_tries.iter().map(|(t, n)| (t.to_string(), Value::N(i64::from(*n)))).collect();
    let resumes = run.resumes.iter().map(|(t, r)| (t.to_string(), Value::S(r.encode()))).collect();
    let choices = run.choices.iter().map(|(t, c)| (t.to_string(), Value::S(c.encode()))).collect();
    let past = run.past_met.iter().map(|t| (t.to_string(), Value::N(1))).collect();
    let outbox = run.outbox.iter().map(|(id, e)| (id.clone(), Value::S(to_json(e)))).collect();
    let mapped = run.mapped.0.iter().map(|(k, e)| (k.encode(), Value::S(e.encode()))).collect();
    let mut item = Item::from([
        ("f".to_owned(), Value::S(to_json(&run.facts))),
        ("st".to_owned(), Value::text(run.state.as_str())),
        ("ep".to_owned(), Value::N(i64::from(run.epoch))),
        ("ae".to_owned(), Value::N(i64::from(run.active_epoch))),
        ("c".to_owned(), Value::M(cells)),
        ("mt".to_owned(), Value::M(tries)),
        ("rs".to_owned(), Value::M(resumes)),
        ("ch".to_owned(), Value::M(choices)),
        ("m".to_owned(), Value::M(mapped)),
        ("pm".to_owned(), Value::M(past)),
        ("ob".to_owned(), Value::M(outbox)),
        ("lk".to_owned(), Value::N(i64::from(run.looks))),
        ("rv".to_owned(), Value::N(run.revision as i64)),
    ]);
    set(&mut item, "tk", (run.takes > 0).then_some(Value::N(run.takes as i64)));
    set(&mut item, "cn", (run.clear_number > 0).then_some(Value::N(i64::from(run.clear_number))));
    set(&mut item, "pa", run.past_met_by_all.then_some(Value::N(1)));
    set(&mut item, "to", run.timeout_at.map(|at| Value::N(at.as_millisecond())));
    set(&mut item, "da", run.deadline_at.map(|at| Value::N(at.as_millisecond())));
    set(&mut item, "ar", (!run.average_runtimes.is_empty()).then(|| Value::S(to_json(&run.average_runtimes))));
    set(&mut item, "qa", run.requeued_at.map(micros));
    set(&mut item, "pz", run.paused.then_some(Value::N(1)));
    set(&mut item, "in", run.intent.as_ref().map(|intent| Value::S(to_json(intent))));
    set(&mut item, "ia", run.intent.as_ref().map(|_| Value::N(i64::from(run.intent_at.0))));
    set(&mut item, "dl", run.deleted_at.map(micros));
    set(&mut item, "op", (!run.operations.is_empty()).then(|| operations(&run.operations)));
    set(&mut item, "sd", run.start_date.map(micros));
    set(&mut item, END_DATE, run.end_date.map(micros));
    if let Some(at) = run.wake_at {
        item.insert(SHARD.to_owned(), Value::S(keys::shard(&keys::run(&run.facts.incarnation))));
        item.insert(WAKE_AT.to_owned(), Value::N(at.as_millisecond()));
    }
    item
}

/// An item as a run document.
pub fn run_doc(item: &Item) -> Result<RunDoc, Error> {
    let small = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let state: DagRunState = text(item, "st")?.parse().map_err(corrupt)?;
    let cell = |k: &str, v: &Value| match v {
        Value::S(text) => Ok((task_index(k)?, Cell::decode(text).map_err(corrupt)?)),
        _ => Err(corrupt(format_args!("cell {k}"))),
    };
    let tries = |k: &str, v: &Value| match v {
        Value::N(n) => Ok((task_index(k)?, small(Some(*n)))),
        _ => Err(corrupt(format_args!("max tries {k}"))),
    };
    let resumed = |k: &str, v: &Value| match v {
        Value::S(text) => Ok((task_index(k)?, Resumed::decode(text).map_err(corrupt)?)),
        _ => Err(corrupt(format_args!("resumed try {k}"))),
    };
    let chosen = |k: &str, v: &Value| match v {
        Value::S(text) => Ok((task_index(k)?, Chosen::decode(text).map_err(corrupt)?)),
        _ => Err(corrupt(format_args!("choice {k}"))),
    };
    let mapped = |k: &str, v: &Value| {
        let read = || {
            let key = MappedKey::decode(k)?;
            let Value::S(text) = v else { return None };
            Some((key, MappedEntry::decode(&key, text)?))
        };
        read().ok_or_else(|| corrupt(format_args!("what is said of mapped tasks under `{k}`")))
    };
    let effect = |k: &str, v: &Value| match v {
        Value::S(text) => Ok((k.to_owned(), from_json(text)?)),
        _ => Err(corrupt(format_args!("outbox entry {k}"))),
    };
    let mut facts: RunFacts = from_json(text(item, "f")?)?;
    if let Ok(version) = text(item, "vr") {
        facts.version = VersionId::trusted(version);
    }
    Ok(RunDoc {
        facts,
        state,
        epoch: small(number(item, "ep")),
        operations: text(item, "op")
            .map_or_else(|_| Vec::new(), |ids| ids.split(' ').map(OperationId::trusted).collect()),
        clear_number: small(number(item, "cn")),
        active_epoch: small(number(item, "ae")),
        start_date: instant(item, "sd")?,
        end_date: instant(item, END_DATE)?,
        cells: entries(item, "c", cell)?.into_iter().collect(),
        max_tries: entries(item, "mt", tries)?.into_iter().collect(),
        resumes: entries(item, "rs", resumed)?.into_iter().collect(),
        choices: entries(item, "ch", chosen)?.into_iter().collect(),
        // Runs of earlier releases have none.
        mapped: match item.get("m") {
            Some(_) => Mapped(entries(item, "m", mapped)?.into_iter().collect()),
            None => Mapped::default(),
        },
        takes: number(item, "tk").unwrap_or(0) as u64,
        past_met: entries(item, "pm", |k, _| task_index(k))?.into_iter().collect(),
        past_met_by_all: number(item, "pa") == Some(1),
        timeout_at: number(item, "to").map(|ms| Timestamp::from_millisecond(ms).map_err(corrupt)).transpose()?,
        paused: number(item, "pz") == Some(1),
        deadline_at: number(item, "da").map(|ms| Timestamp::from_millisecond(ms).map_err(corrupt)).transpose()?,
        average_runtimes: text(item, "ar").ok().map(from_json).transpose()?.unwrap_or_default(),
        requeued_at: instant(item, "qa")?,
        intent: text(item, "in").ok().map(from_json).transpose()?,
        intent_at: TaskIndex(small(number(item, "ia"))),
        deleted_at: instant(item, "dl")?,
        outbox: entries(item, "ob", effect)?.into_iter().collect(),
        wake_at: wake(item)?,
        looks: small(number(item, "lk")),
        revision: number(item, "rv").unwrap_or(0) as u64,
    })
}

/// The changes that place an item in the time index, or take it out.
#[expect(clippy::option_option, reason = "as in the change: unchanged, in the index, or out of it")]
pub(crate) fn wake_changes(key: &Key, wake_at: Option<Option<Timestamp>>, changes: &mut Vec<Change>) {
    match wake_at {
        None => {}
        Some(Some(at)) => {
            changes.push(Change::Set(Path::Top(SHARD), Value::S(keys::shard(key))));
            changes.push(Change::Set(Path::Top(WAKE_AT), Value::N(at.as_millisecond())));
        }
        Some(None) => {
            changes.push(Change::Remove(Path::Top(SHARD)));
            changes.push(Change::Remove(Path::Top(WAKE_AT)));
        }
    }
}

/// That an item is in the time index exactly here, or out of it.
pub(crate) fn wake_condition(wake_at: Option<Timestamp>) -> Condition {
    match wake_at {
        Some(at) => Condition::Equals(Path::Top(WAKE_AT), Value::N(at.as_millisecond())),
        None => Condition::Absent(Path::Top(WAKE_AT)),
    }
}

/// A change of a run document as an update of its item.
pub fn run_update(incarnation: &Incarnation, change: &RunChange) -> Update {
    let key = keys::run(incarnation);
    let cell_path = |t: &TaskIndex| Path::Entry("c", t.to_string());
    let mut conditions = Vec::new();
    conditions.extend(change.if_epoch.map(|e| Condition::Equals(Path::Top("ep"), Value::N(i64::from(e)))));
    conditions.extend(change.if_state.map(|s| Condition::Equals(Path::Top("st"), Value::text(s.as_str()))));
    conditions.extend(change.if_cells.iter().map(|(task, cell)| match cell {
        Cell::None => Condition::Absent(cell_path(task)),
        _ => Condition::Equals(cell_path(task), Value::S(cell.encode())),
    }));
    let running = change.if_running.as_ref().map(|h| (h.task, Cell::running_prefix(h.try_number, &h.token)));
    let restarting = change.if_restarting.as_ref().map(|h| (h.task, Cell::restarting_prefix(h.try_number, &h.token)));
    conditions
        .extend(running.into_iter().chain(restarting).map(|(t, prefix)| Condition::BeginsWith(cell_path(&t), prefix)));
    conditions.extend(change.if_revision.map(|r| Condition::Equals(Path::Top("rv"), Value::N(r as i64))));
    conditions.extend(change.if_wake_at_most.map(|at| Condition::AtMost(Path::Top(WAKE_AT), at.as_millisecond())));
    conditions.extend(change.if_wake_at.map(wake_condition));
    conditions.extend(change.if_takes.map(|t| match t {
        0 => Condition::Absent(Path::Top("tk")),
        t => Condition::Equals(Path::Top("tk"), Value::N(t as i64)),
    }));
    conditions.extend(change.if_paused.map(|paused| {
        if paused { Condition::Equals(Path::Top("pz"), Value::N(1)) } else { Condition::Absent(Path::Top("pz")) }
    }));
    conditions.extend(change.if_mapped.iter().map(|(key, entry)| match entry {
        Some(entry) => Condition::Equals(Path::Entry("m", key.encode()), Value::S(entry.encode())),
        None => Condition::Absent(Path::Entry("m", key.encode())),
    }));
    conditions.extend(change.if_intent_at.map(|at| match at {
        None => Condition::Absent(Path::Top("ia")),
        Some(at) => Condition::Equals(Path::Top("ia"), Value::N(i64::from(at.0))),
    }));

    let mut changes = vec![Change::Add("rv", 1)];
    if let Some(at) = change.deleted_at {
        tombstone(change, at, &mut changes);
        wake_changes(&key, change.wake_at, &mut changes);
        return Update { key, conditions, changes };
    }
    changes.extend(change.cells.iter().map(|(task, cell)| match cell {
        Cell::None => Change::Remove(cell_path(task)),
        _ => Change::Set(cell_path(task), Value::S(cell.encode())),
    }));
    changes.extend(change.mapped.iter().map(|(key, entry)| match entry {
        Some(entry) => Change::Set(Path::Entry("m", key.encode()), Value::S(entry.encode())),
        None => Change::Remove(Path::Entry("m", key.encode())),
    }));
    changes.extend(
        change.max_tries.iter().map(|(t, n)| Change::Set(Path::Entry("mt", t.to_string()), Value::N(i64::from(*n)))),
    );
    changes.extend(
        change.resumes.iter().map(|(t, r)| Change::Set(Path::Entry("rs", t.to_string()), Value::S(r.encode()))),
    );
    changes.extend(change.choices.iter().map(|(t, chosen)| match chosen {
        Some(chosen) => Change::Set(Path::Entry("ch", t.to_string()), Value::S(chosen.encode())),
        None => Change::Remove(Path::Entry("ch", t.to_string())),
    }));
    changes.extend(change.takes.map(|t| Change::Set(Path::Top("tk"), Value::N(t as i64))));
    let past_path = |t: &TaskIndex| Path::Entry("pm", t.to_string());
    let unmet = |t: &TaskIndex| change.past_unmet.contains(t);
    changes.extend(change.past_met.iter().filter(|t| !unmet(t)).map(|t| Change::Set(past_path(t), Value::N(1))));
    changes.extend(change.past_unmet.iter().map(|t| Change::Remove(past_path(t))));
    changes.extend(
        change
            .past_met_by_all
            .map(|all| if all { Change::Set(Path::Top("pa"), Value::N(1)) } else { Change::Remove(Path::Top("pa")) }),
    );
    changes.extend(change.timeout_at.map(|at| match at {
        Some(at) => Change::Set(Path::Top("to"), Value::N(at.as_millisecond())),
        None => Change::Remove(Path::Top("to")),
    }));
    changes.extend(change.deadline_at.map(|at| match at {
        Some(at) => Change::Set(Path::Top("da"), Value::N(at.as_millisecond())),
        None => Change::Remove(Path::Top("da")),
    }));
    changes.extend(change.requeued_at.map(|at| Change::Set(Path::Top("qa"), micros(at))));
    changes.extend(change.paused.map(|paused| {
        if paused { Change::Set(Path::Top("pz"), Value::N(1)) } else { Change::Remove(Path::Top("pz")) }
    }));
    match &change.intent {
        None => changes.extend(change.intent_at.map(|at| Change::Set(Path::Top("ia"), Value::N(i64::from(at.0))))),
        Some(None) => changes.extend(["in", "ia"].map(|name| Change::Remove(Path::Top(name)))),
        Some(Some(intent)) => {
            let at = change.intent_at.unwrap_or(TaskIndex(0));
            changes.push(Change::Set(Path::Top("in"), Value::S(to_json(intent))));
            changes.push(Change::Set(Path::Top("ia"), Value::N(i64::from(at.0))));
        }
    }
    changes.extend(change.state.map(|s| Change::Set(Path::Top("st"), Value::text(s.as_str()))));
    if let Some((epoch, acted)) = &change.epoch {
        changes.push(Change::Set(Path::Top("ep"), Value::N(i64::from(*epoch))));
        changes.push(Change::Set(Path::Top("op"), operations(acted)));
    }
    changes.extend(change.clear_number.map(|n| Change::Set(Path::Top("cn"), Value::N(i64::from(n)))));
    if let Some(facts) = &change.facts {
        changes.push(Change::Set(Path::Top("f"), Value::S(to_json(facts))));
        changes.extend(change.version.is_none().then_some(Change::Remove(Path::Top("vr"))));
    }
    changes.extend(change.version.as_ref().map(|v| Change::Set(Path::Top("vr"), Value::text(v.as_str()))));
    changes.extend(change.active_epoch.map(|e| Change::Set(Path::Top("ae"), Value::N(i64::from(e)))));
    changes.extend(change.start_date.map(|at| Change::Set(Path::Top("sd"), micros(at))));
    changes.extend(change.end_date.map(|at| match at {
        Some(at) => Change::Set(Path::Top(END_DATE), micros(at)),
        None => Change::Remove(Path::Top(END_DATE)),
    }));
    // What has begun again must not expire, whoever let it.
    changes.extend(change.end_date.is_some_and(|at| at.is_none()).then_some(Change::Remove(Path::Top(EXPIRES))));
    changes.extend(change.looks.map(|n| Change::Set(Path::Top("lk"), Value::N(i64::from(n)))));
    changes.extend(
        change.outbox_put.iter().map(|(id, e)| Change::Set(Path::Entry("ob", id.clone()), Value::S(to_json(e)))),
    );
    changes.extend(change.outbox_remove.iter().map(|id| Change::Remove(Path::Entry("ob", id.clone()))));
    wake_changes(&key, change.wake_at, &mut changes);
    Update { key, conditions, changes }
}

/// What makes a tombstone of a run document: all it held goes, and nothing that a process may still know holds any more.
fn tombstone(change: &RunChange, at: Timestamp, changes: &mut Vec<Change>) {
    changes.extend(
        ["c", "m", "mt", "rs", "ch", "pm", "ob"].map(|map| Change::Set(Path::Top(map), Value::M(BTreeMap::new()))),
    );
    changes.extend(
        ["tk", "pa", "pz", "qa", "to", "da", "ar", "in", "ia", "sd", END_DATE, "cn"]
            .map(|name| Change::Remove(Path::Top(name))),
    );
    changes.extend(["ae", "lk"].map(|name| Change::Set(Path::Top(name), Value::N(0))));
    changes.push(Change::Set(Path::Top("dl"), micros(at)));
    changes.extend(change.state.map(|s| Change::Set(Path::Top("st"), Value::text(s.as_str()))));
    if let Some((epoch, acted)) = &change.epoch {
        changes.push(Change::Set(Path::Top("ep"), Value::N(i64::from(*epoch))));
        changes.push(Change::Set(Path::Top("op"), operations(acted)));
    }
}

fn interval_text(interval: &DataInterval) -> String {
    format!("{}.{}", interval.start.as_microsecond(), interval.end.as_microsecond())
}

fn interval(text: &str) -> Result<DataInterval, Error> {
    let parse = |part: &str| part.parse().map_err(corrupt).and_then(from_micros);
    let (start, end) = text.split_once('.').ok_or_else(|| corrupt(format_args!("interval `{text}`")))?;
    Ok(DataInterval { start: parse(start)?, end: parse(end)? })
}

fn active_text(active: &ActiveRun) -> String {
    format!("{}:{}", active.epoch, active.facts.as_ref().map(to_json).unwrap_or_default())
}

fn active(text: &str) -> Result<ActiveRun, Error> {
    let (epoch, facts) = text.split_once(':').ok_or_else(|| corrupt(format_args!("active run `{text}`")))?;
    Ok(ActiveRun {
        epoch: epoch.parse().map_err(corrupt)?,
        facts: if facts.is_empty() { None } else { Some(from_json(facts)?) },
    })
}

/// A DAG document as an item.
pub fn dag_item(dag: &DagDoc) -> Item {
    let runs = dag.active.iter().map(|(r, a)| (r.to_string(), Value::S(active_text(a)))).collect();
    let held = dag.held.iter().map(|(r, at)| (r.to_string(), micros(*at))).collect();
    let mut item = Item::from([
        ("fi".to_owned(), Value::text(&dag.file)),
        ("pa".to_owned(), Value::N(i64::from(dag.paused))),
        ("mx".to_owned(), Value::N(i64::from(dag.max_active_runs))),
        ("ac".to_owned(), Value::M(runs)),
        ("he".to_owned(), Value::M(held)),
        ("rv".to_owned(), Value::N(dag.revision as i64)),
    ]);
    set(&mut item, "vn", (dag.version_number > 0).then_some(Value::N(i64::from(dag.version_number))));
    set(&mut item, "bf", dag.backfill.as_ref().map(|b| Value::text(b.as_str())));
    set(&mut item, "bt", dag.backfilled_to.map(micros));
    set(&mut item, "ve", dag.version.as_ref().map(|v| Value::text(v.as_str())));
    set(&mut item, "la", dag.last.as_ref().map(|l| Value::S(interval_text(l))));
    set(&mut item, "nd", dag.next_due.map(micros));
    set(&mut item, "aq", (!dag.queue.is_empty()).then(|| queue(&dag.queue)));
    if let Some(at) = dag.wake_at {
        item.insert(SHARD.to_owned(), Value::S(keys::shard(&keys::dag(&dag.dag_id))));
        item.insert(WAKE_AT.to_owned(), Value::N(at.as_millisecond()));
    }
    item
}

fn queue(queue: &BTreeMap<TopicId, Queued>) -> Value {
    Value::M(queue.iter().map(|(topic, queued)| (topic.to_string(), Value::S(queued.encode()))).collect())
}

fn queued(topic: &str, value: &Value) -> Result<(TopicId, Queued), Error> {
    let queued = match value {
        Value::S(text) => Queued::decode(text),
        _ => None,
    };
    queued.map(|queued| (TopicId::trusted(topic), queued)).ok_or_else(|| corrupt(format_args!("queue entry {topic}")))
}

/// An item as a DAG document.
pub fn dag_doc(dag_id: &DagId, item: &Item) -> Result<DagDoc, Error> {
    let run = |k: &str, v: &Value| match v {
        Value::S(text) => Ok((Incarnation::trusted(k), active(text)?)),
        _ => Err(corrupt(format_args!("active run {k}"))),
    };
    let held = |k: &str, v: &Value| match v {
        Value::N(n) => Ok((Incarnation::trusted(k), from_micros(*n)?)),
        _ => Err(corrupt(format_args!("held run {k}"))),
    };
    Ok(DagDoc {
        dag_id: dag_id.clone(),
        version: text(item, "ve").ok().map(VersionId::trusted),
        version_number: number(item, "vn").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        backfill: text(item, "bf").ok().map(BackfillId::trusted),
        backfilled_to: instant(item, "bt")?,
        file: text(item, "fi")?.to_owned(),
        paused: number(item, "pa") == Some(1),
        last: text(item, "la").ok().map(interval).transpose()?,
        next_due: instant(item, "nd")?,
        max_active_runs: number(item, "mx").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        active: entries(item, "ac", run)?.into_iter().collect(),
        held: entries(item, "he", held)?.into_iter().collect(),
        queue: match item.get("aq") {
            None => BTreeMap::new(),
            Some(_) => entries(item, "aq", queued)?.into_iter().collect(),
        },
        wake_at: wake(item)?,
        revision: number(item, "rv").unwrap_or(0) as u64,
    })
}

/// A change of a DAG document as an update of its item.
pub fn dag_update(dag_id: &DagId, change: &DagChange) -> Update {
    let key = keys::dag(dag_id);
    let active_path = |run: &Incarnation| Path::Entry("ac", run.to_string());
    let mut conditions = Vec::new();
    conditions.extend(change.if_version.as_ref().map(|v| match v {
        Some(v) => Condition::Equals(Path::Top("ve"), Value::text(v.as_str())),
        None => Condition::Absent(Path::Top("ve")),
    }));
    conditions.extend(change.if_backfilled_to.map(|to| match to {
        Some(to) => Condition::Equals(Path::Top("bt"), micros(to)),
        None => Condition::Absent(Path::Top("bt")),
    }));
    conditions.extend(change.if_backfill.as_ref().map(|b| match b {
        Some(b) => Condition::Equals(Path::Top("bf"), Value::text(b.as_str())),
        None => Condition::Absent(Path::Top("bf")),
    }));
    conditions.extend(change.if_paused.map(|p| Condition::Equals(Path::Top("pa"), Value::N(i64::from(p)))));
    conditions.extend(change.if_last.as_ref().map(|l| match l {
        Some(l) => Condition::Equals(Path::Top("la"), Value::S(interval_text(l))),
        None => Condition::Absent(Path::Top("la")),
    }));
    conditions.extend(change.if_active_fewer_than.map(|n| Condition::FewerThan("ac", n as usize)));
    conditions.extend(
        change.if_active.as_ref().map(|(run, epoch)| Condition::BeginsWith(active_path(run), format!("{epoch}:"))),
    );
    conditions.extend(change.if_not_active.as_ref().map(|run| Condition::Absent(active_path(run))));
    let queue_path = |topic: &TopicId| Path::Entry("aq", topic.to_string());
    conditions.extend(change.if_queue.iter().map(|(t, q)| Condition::Equals(queue_path(t), Value::S(q.encode()))));
    conditions.extend(change.if_wake_at.map(wake_condition));
    conditions.extend(change.if_revision.map(|r| Condition::Equals(Path::Top("rv"), Value::N(r as i64))));

    let mut changes = vec![Change::Add("rv", 1)];
    changes.extend(change.version.as_ref().map(|v| match v {
        Some(v) => Change::Set(Path::Top("ve"), Value::text(v.as_str())),
        None => Change::Remove(Path::Top("ve")),
    }));
    changes.extend(change.version_number.map(|n| Change::Set(Path::Top("vn"), Value::N(i64::from(n)))));
    changes.extend(change.backfill.as_ref().map(|b| match b {
        Some(b) => Change::Set(Path::Top("bf"), Value::text(b.as_str())),
        None => Change::Remove(Path::Top("bf")),
    }));
    changes.extend(change.backfilled_to.map(|at| Change::Set(Path::Top("bt"), micros(at))));
    changes.extend(change.file.as_ref().map(|f| Change::Set(Path::Top("fi"), Value::text(f))));
    changes.extend(change.paused.map(|p| Change::Set(Path::Top("pa"), Value::N(i64::from(p)))));
    changes.extend(change.last.as_ref().map(|l| Change::Set(Path::Top("la"), Value::S(interval_text(l)))));
    changes.extend(change.next_due.map(|at| match at {
        Some(at) => Change::Set(Path::Top("nd"), micros(at)),
        None => Change::Remove(Path::Top("nd")),
    }));
    changes.extend(change.max_active_runs.map(|n| Change::Set(Path::Top("mx"), Value::N(i64::from(n)))));
    changes.extend(change.active_put.iter().map(|(r, a)| Change::Set(active_path(r), Value::S(active_text(a)))));
    changes.extend(change.active_remove.iter().map(|r| Change::Remove(active_path(r))));
    changes.extend(change.held_put.iter().map(|(r, at)| Change::Set(Path::Entry("he", r.to_string()), micros(*at))));
    changes.extend(change.held_remove.iter().map(|r| Change::Remove(Path::Entry("he", r.to_string()))));
    match &change.queue_all {
        None => changes.extend(change.queue_put.iter().map(|(t, q)| Change::Set(queue_path(t), Value::S(q.encode())))),
        Some(all) if all.is_empty() => changes.push(Change::Remove(Path::Top("aq"))),
        Some(all) => changes.push(Change::Set(Path::Top("aq"), queue(all))),
    }
    wake_changes(&key, change.wake_at, &mut changes);
    Update { key, conditions, changes }
}

#[cfg(test)]
mod tests;
