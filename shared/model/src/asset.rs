//! Assets as they change: topics, the events on them, and what a consumer has seen of each.
//!
//! A *topic* is what a schedule can wait for: an asset by its name, an alias, or a URI. Each topic numbers its events from 1, in the order in
//! which it took them. A consumer keeps two numbers for each topic that its schedule names: up to which event it was told, and up to which it
//! has made runs. So what it owes is a range, however many events that are, and an event that is told twice, or late, or after it was
//! consumed, changes nothing (ARCHITECTURE.md, rule D2).

use crate::dag_parts::{Asset, AssetCondition, AssetRef};
use crate::ids::{DagId, Incarnation, TopicId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};
use std::collections::{BTreeMap, BTreeSet};

/// The largest `extra` of an event, in bytes of JSON: it lies in the topic's document while the event is its last.
pub const EXTRA_BYTES_MAX: usize = 16 * 1024;

/// What events are told under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// The asset of this name.
    Asset(String),
    /// The alias of this name.
    Alias(String),
    /// Whatever asset has this URI.
    Uri(String),
}

impl Topic {
    /// What a schedule's reference waits for.
    pub fn of(reference: &AssetRef) -> Self {
        match reference {
            AssetRef::Asset(asset) => Self::Asset(asset.name.clone()),
            AssetRef::Name(name) => Self::Asset(name.clone()),
            AssetRef::Alias { name } => Self::Alias(name.clone()),
            AssetRef::Uri(uri) => Self::Uri(uri.clone()),
        }
    }

    /// Its name or URI.
    pub fn name(&self) -> &str {
        match self {
            Self::Asset(name) | Self::Alias(name) | Self::Uri(name) => name,
        }
    }

    /// Its identity, which follows from its kind and name: a letter and 13 digits of a hash, which as a number is exact in JSON.
    pub fn id(&self) -> TopicId {
        let letter = match self {
            Self::Asset(_) => 'a',
            Self::Alias(_) => 'l',
            Self::Uri(_) => 'u',
        };
        TopicId::trusted(format!("{letter}{:013x}", short_hash(&format!("{letter}:{}", self.name()))))
    }
}

/// The first 52 bits of a text's SHA-1.
fn short_hash(text: &str) -> u64 {
    let digest = Sha1::digest(text.as_bytes());
    digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte)) >> 12
}

impl TopicId {
    /// As Airflow's API has it: a number.
    pub fn number(&self) -> u64 {
        self.as_str().get(1..).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
    }

    /// The asset of this number.
    pub fn of_asset(number: u64) -> Self {
        Self::trusted(format!("a{number:013x}"))
    }

    /// The alias of this number.
    pub fn of_alias(number: u64) -> Self {
        Self::trusted(format!("l{number:013x}"))
    }
}

/// Where an event comes from, where a task made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSource {
    /// The DAG.
    pub dag_id: DagId,
    /// The run.
    pub run_id: String,
    /// The run's document.
    pub incarnation: Incarnation,
    /// The task.
    pub task_id: String,
    /// Which of a mapped task's instances; -1 of one that is not mapped.
    pub map_index: i64,
}

/// That an asset has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssetEvent {
    /// Follows from what caused it (ARCHITECTURE.md, rule D1): the same event is taken once, however often it is told.
    pub id: String,
    /// The asset's name.
    pub name: String,
    /// The asset's URI.
    pub uri: String,
    /// The asset's group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// What was said about the change.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// The task that made it; none: somebody outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<EventSource>,
    /// The aliases through which it was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// When.
    pub timestamp: Timestamp,
}

impl AssetEvent {
    /// As Airflow's API has it: a number.
    pub fn number(&self) -> u64 {
        short_hash(&self.id)
    }

    /// The topics it is told under beside its asset's own: an alias or a URI is one only where somebody has asked for it.
    pub fn other_topics(&self) -> impl Iterator<Item = Topic> + '_ {
        self.aliases.iter().cloned().map(Topic::Alias).chain([Topic::Uri(self.uri.clone())])
    }
}

/// An event in its topic's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered {
    /// Its place, from 1.
    pub number: u64,
    /// The event.
    pub event: AssetEvent,
}

/// How somebody has to do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A DAG whose schedule waits for it, by its id.
    Consumer,
    /// A task that writes it, as `<dag id> <task id>`.
    Producer,
    /// A task that reads it, likewise.
    Reader,
    /// An alias through which it was updated, by its name; of an alias, an asset.
    Alias,
}

/// What is known of a topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicFacts {
    /// What it is.
    pub topic: Topic,
    /// Of an asset: its URI. Empty until somebody has said it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uri: String,
    /// Its group; Airflow's default is `asset`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// What else was said about it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// When it was first heard of.
    pub created_at: Timestamp,
    /// When this was last changed.
    pub updated_at: Timestamp,
}

impl TopicFacts {
    /// What a reference says about its topic.
    pub fn of(reference: &AssetRef, now: Timestamp) -> Self {
        let bare = Self {
            topic: Topic::of(reference),
            uri: String::new(),
            group: String::new(),
            extra: Map::new(),
            created_at: now,
            updated_at: now,
        };
        match reference {
            AssetRef::Asset(Asset { uri, group, extra, .. }) => {
                Self { uri: uri.clone(), group: group.clone(), extra: extra.clone(), ..bare }
            }
            AssetRef::Name(_) | AssetRef::Alias { .. } | AssetRef::Uri(_) => bare,
        }
    }
}

/// A topic's document.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicDoc {
    /// Its identity.
    pub id: TopicId,
    /// What is known of it.
    pub facts: TopicFacts,
    /// Who has to do with it, and since when.
    pub roles: BTreeMap<(Role, String), Timestamp>,
    /// How many events it has taken.
    pub taken: u64,
    /// The last of them, whose own item is put only after: whoever takes the next one first sees to that.
    pub last: Option<AssetEvent>,
    /// In the time index at this instant, where an event that no run's outbox remembers is yet to be told. Millisecond precision.
    pub wake_at: Option<Timestamp>,
    /// Grows with every write.
    pub revision: u64,
}

impl TopicDoc {
    /// A topic nobody has asked for yet.
    pub fn new(facts: TopicFacts) -> Self {
        let id = facts.topic.id();
        Self { id, facts, roles: BTreeMap::new(), taken: 0, last: None, wake_at: None, revision: 0 }
    }

    /// Those in a role, with since when.
    pub fn those(&self, role: Role) -> impl Iterator<Item = (&str, Timestamp)> {
        self.roles.iter().filter(move |((is, _), _)| *is == role).map(|((_, name), since)| (name.as_str(), *since))
    }

    /// The DAGs that wait for it.
    pub fn consumers(&self) -> Vec<DagId> {
        self.those(Role::Consumer).map(|(dag_id, _)| DagId::trusted(dag_id)).collect()
    }
}

/// One conditional update of a topic's document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TopicChange {
    /// Condition: it has taken so many events.
    pub if_taken: Option<u64>,
    /// The next event; needs [`TopicChange::if_taken`].
    pub take: Option<AssetEvent>,
    /// What is known of it now.
    pub facts: Option<TopicFacts>,
    /// Who comes to have to do with it.
    pub join: Vec<(Role, String, Timestamp)>,
    /// Who has no more.
    pub leave: Vec<(Role, String)>,
    /// The new place in the time index; `Some(None)` leaves it.
    pub wake_at: Option<Option<Timestamp>>,
}

impl TopicChange {
    /// Whether the conditions hold for this image.
    pub fn holds(&self, topic: &TopicDoc) -> bool {
        self.if_taken.is_none_or(|taken| taken == topic.taken)
    }

    /// The image after this change, conditions unchecked.
    pub fn apply(&self, topic: &TopicDoc) -> TopicDoc {
        let mut topic = topic.clone();
        if let Some(event) = &self.take {
            topic.taken = self.if_taken.unwrap_or(topic.taken) + 1;
            topic.last = Some(event.clone());
        }
        if let Some(facts) = &self.facts {
            topic.facts.clone_from(facts);
        }
        topic.roles.extend(self.join.iter().map(|(role, name, since)| ((*role, name.clone()), *since)));
        topic.roles.retain(|(role, name), _| !self.leave.iter().any(|(r, n)| r == role && n == name));
        topic.wake_at = self.wake_at.unwrap_or(topic.wake_at);
        topic.revision += 1;
        topic
    }
}

/// What a consumer knows of a topic that its schedule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// The last event it was told of.
    pub told: u64,
    /// The last event it has made a run for, or that came before it asked.
    pub taken: u64,
    /// When it was told of the first of those between: Airflow's `created_at` of a queued event.
    pub since: Option<Timestamp>,
    /// When the last of those between came.
    pub until: Option<Timestamp>,
}

impl Queued {
    /// As it is when a schedule first names a topic that has taken so many events.
    pub fn from_here(taken: u64) -> Self {
        Self { told: taken, taken, since: None, until: None }
    }

    /// Whether there is anything to make a run for.
    pub fn is_waiting(self) -> bool {
        self.told > self.taken
    }

    /// After it is told of an event. None where it knows already.
    pub fn tell(self, number: u64, at: Timestamp) -> Option<Self> {
        (number > self.told).then(|| Self {
            told: number,
            since: self.since.or(Some(at)),
            until: Some(self.until.map_or(at, |until| until.max(at))),
            ..self
        })
    }

    /// After a run was made for all it was told of.
    pub fn consume(self) -> Self {
        Self::from_here(self.told)
    }

    /// The text stored in the DAG document: `<told>.<taken>`, and `.<since>.<until>` in microseconds while something waits.
    pub fn encode(self) -> String {
        match (self.since, self.until) {
            (Some(since), Some(until)) => {
                format!("{}.{}.{}.{}", self.told, self.taken, since.as_microsecond(), until.as_microsecond())
            }
            _ => format!("{}.{}", self.told, self.taken),
        }
    }

    /// Reads what [`Queued::encode`] wrote.
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse::<i64>().ok());
        let mut number = || parts.next().flatten();
        let (told, taken) = (number()?, number()?);
        let mut instant = || number().and_then(|micros| Timestamp::from_microsecond(micros).ok());
        let (since, until) = (instant(), instant());
        Some(Self { told: u64::try_from(told).ok()?, taken: u64::try_from(taken).ok()?, since, until })
    }
}

impl AssetCondition {
    /// The topics it names.
    pub fn topics(&self) -> BTreeSet<TopicId> {
        let mut found = BTreeSet::new();
        self.each(&mut |reference| {
            found.insert(Topic::of(reference).id());
        });
        found
    }

    /// All references in it, in the order in which they are written.
    pub fn references(&self) -> Vec<&AssetRef> {
        let mut found = Vec::new();
        self.collect(&mut found);
        found
    }

    fn collect<'a>(&'a self, found: &mut Vec<&'a AssetRef>) {
        match self {
            Self::Of(reference) => found.push(reference),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.collect(found)),
        }
    }

    fn each(&self, visit: &mut impl FnMut(&AssetRef)) {
        match self {
            Self::Of(reference) => visit(reference),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.each(visit)),
        }
    }

    /// Whether it holds, where `waiting` says of which topics there are events to make a run for.
    pub fn holds(&self, waiting: &impl Fn(&TopicId) -> bool) -> bool {
        match self {
            Self::Of(reference) => waiting(&Topic::of(reference).id()),
            Self::All(parts) => parts.iter().all(|part| part.holds(waiting)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(waiting)),
        }
    }
}

/// An event that a task made beside, or instead of, the plain ones of its outlets: what it said about one of them, or an asset it tied to
/// an alias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutletEvent {
    /// The asset.
    pub asset: Asset,
    /// The alias through which it was updated; none: it is an outlet itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// What was said about the change.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// The events of a try that succeeded, in order: one for each asset among its outlets with what was said about it, then those of aliases:
/// one for each asset and extra, with all the aliases it came through.
pub fn outlet_events(outlets: &[AssetRef], said: &[OutletEvent]) -> Vec<(AssetRef, Vec<String>, Map<String, Value>)> {
    let same = |reference: &AssetRef, asset: &Asset| match reference {
        AssetRef::Asset(own) => own.name == asset.name,
        AssetRef::Name(name) => *name == asset.name,
        AssetRef::Uri(uri) => *uri == asset.uri,
        AssetRef::Alias { .. } => false,
    };
    let mut events: Vec<(AssetRef, Vec<String>, Map<String, Value>)> = Vec::new();
    for outlet in outlets.iter().filter(|outlet| !matches!(outlet, AssetRef::Alias { .. })) {
        if events.iter().any(|(there, ..)| there == outlet) {
            continue;
        }
        let about = said.iter().rev().find(|event| event.alias.is_none() && same(outlet, &event.asset));
        events.push((outlet.clone(), Vec::new(), about.map(|event| event.extra.clone()).unwrap_or_default()));
    }
    let plain = events.len();
    for event in said {
        let Some(alias) = &event.alias else { continue };
        let declared = |outlet: &AssetRef| matches!(outlet, AssetRef::Alias { name } if name == alias);
        if !outlets.iter().any(declared) {
            continue;
        }
        let there = events[plain..].iter_mut().find(|(reference, _, extra)| {
            matches!(reference, AssetRef::Asset(asset) if asset.name == event.asset.name) && *extra == event.extra
        });
        match there {
            Some((_, aliases, _)) if aliases.contains(alias) => {}
            Some((_, aliases, _)) => aliases.push(alias.clone()),
            None => {
                events.push((AssetRef::Asset(event.asset.clone()), vec![alias.clone()], event.extra.clone()));
            }
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_microsecond(micros).unwrap()
    }

    proptest! {
        #[test]
        fn what_a_consumer_knows_is_read_back(told in 0u64..99, taken in 0u64..99, times in proptest::option::of((0i64..1_000_000_000, 0i64..1_000_000_000))) {
            let queued = Queued { told, taken, since: times.map(|t| at(t.0)), until: times.map(|t| at(t.1)) };
            prop_assert_eq!(Queued::decode(&queued.encode()), Some(queued));
        }

        /// Whatever the order in which events are told, however often, and whenever it consumes: each is in one range, and none in two.
        #[test]
        fn each_event_is_consumed_once(told in proptest::collection::vec((1u64..12, any::<bool>()), 0..40)) {
            let mut queued = Queued::from_here(0);
            let mut consumed = Vec::new();
            for (number, consume) in told {
                queued = queued.tell(number, at(number as i64)).unwrap_or(queued);
                if consume && queued.is_waiting() {
                    consumed.extend(queued.taken + 1..=queued.told);
                    queued = queued.consume();
                }
            }
            consumed.extend(queued.taken + 1..=queued.told);
            prop_assert_eq!(consumed, (1..=queued.told).collect::<Vec<_>>());
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let _ = Queued::decode(&text);
        }
    }

    fn of(name: &str) -> AssetCondition {
        AssetCondition::Of(AssetRef::Name(name.to_owned()))
    }

    #[test]
    fn conditions_hold_as_airflow_evaluates_them() {
        let condition = AssetCondition::Any(vec![AssetCondition::All(vec![of("a"), of("b")]), of("c")]);
        let table = [
            (vec![], false),
            (vec!["a"], false),
            (vec!["b"], false),
            (vec!["a", "b"], true),
            (vec!["c"], true),
            (vec!["a", "c"], true),
        ];
        for (waiting, expected) in table {
            let ids: Vec<TopicId> = waiting.iter().map(|name| Topic::Asset((*name).to_owned()).id()).collect();
            assert_eq!(condition.holds(&|id| ids.contains(id)), expected, "{waiting:?}");
        }
        assert_eq!(condition.topics().len(), 3);
    }

    #[test]
    fn names_aliases_and_uris_are_topics_apart() {
        let ids = [Topic::Asset("x".into()), Topic::Alias("x".into()), Topic::Uri("x".into())].map(|topic| topic.id());
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(TopicId::of_asset(ids[0].number()), ids[0]);
        assert!(ids.iter().all(|id| id.number() < 1 << 53));
    }

    #[test]
    fn a_try_makes_an_event_for_each_outlet_and_for_what_it_tied_to_aliases() {
        let asset = |uri: &str| Asset::of_uri(uri);
        let outlets = [
            AssetRef::Asset(asset("s3://a")),
            AssetRef::Alias { name: "l".into() },
            AssetRef::Asset(asset("s3://a")),
            AssetRef::Alias { name: "m".into() },
        ];
        let extra = |n: i64| json!({"n": n}).as_object().unwrap().clone();
        let said = |uri: &str, alias: Option<&str>, n: i64| OutletEvent {
            asset: asset(uri),
            alias: alias.map(str::to_owned),
            extra: extra(n),
        };
        let events = outlet_events(
            &outlets,
            &[
                said("s3://a", None, 1),
                said("s3://b", Some("l"), 2),
                said("s3://b", Some("m"), 2),
                said("s3://b", Some("m"), 3),
                said("s3://c", Some("not declared"), 4),
                said("s3://d", None, 5),
            ],
        );
        let events: Vec<(String, Vec<String>, Map<String, Value>)> = events
            .into_iter()
            .map(|(reference, aliases, extra)| (Topic::of(&reference).name().to_owned(), aliases, extra))
            .collect();
        let texts = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            events,
            [
                ("s3://a".to_owned(), texts(&[]), extra(1)),
                ("s3://b".to_owned(), texts(&["l", "m"]), extra(2)),
                ("s3://b".to_owned(), texts(&["m"]), extra(3)),
            ]
        );
        assert_eq!(outlet_events(&outlets, &[]).len(), 1);
    }
}
