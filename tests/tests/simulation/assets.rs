//! Assets in the simulation: DAGs that write some, DAGs that run when some were written, people who tell of others; and what must come of
//! every event.
//!
//! The reference is plain: each success of a task is one event for each asset among its outlets and each alias it speaks of. Each event is
//! taken by its topics once, told to every DAG that asks for one of them and is not paused, and lies among the events of exactly one run of
//! each of these, made when all that the schedule asks for had come.

use crate::actors::Hand;
use crate::monitor::Monitor;
use crate::rng::{Rng, mix};
use crate::scenario;
use crate::world::{MINUTE, Micros, World, instant};
use std::collections::{BTreeMap, BTreeSet};
use updraft_metastore::memory::Memory;
use updraft_metastore::{Item, Metastore, assets as stored};
use updraft_model::asset::Role;
use updraft_model::cell::{End, Wait};
use updraft_model::{
    Asset, AssetCondition, AssetRef, AttemptOutcome, Cell, Dag, DagDoc, DagId, DagRunType, OutletEvent, Queued, RunDoc,
    Task, TaskIndex, Topic, TopicDoc, TopicFacts, TopicId,
};
use updraft_service::assets::EventWish;

const ORDERS: &str = "orders";
const STOCK: &str = "stock";
const ALIAS: &str = "whatever";

/// How long after it was made every DAG has been told of an event, whoever dies meanwhile.
const TOLD_WITHIN: Micros = 15 * MINUTE;

fn name(name: &str) -> AssetRef {
    AssetRef::Name(name.to_owned())
}

fn alias() -> AssetRef {
    AssetRef::Alias { name: ALIAS.to_owned() }
}

/// Whether a world has assets: four of ten. Decided apart from all else, so that worlds without them are what they are without.
fn has_some(seed: u64) -> bool {
    mix(seed ^ 0x000A_55E7) % 10 < 4
}

/// The first DAG of a world with assets writes some, and the second may; those after the first run whenever some were written, beside their
/// schedules.
pub(crate) fn with_assets(seed: u64, number: usize, dag: Dag) -> Dag {
    if !has_some(seed) {
        return dag;
    }
    let looks_back = dag.tasks.iter().any(|task| task.depends_on_past || task.wait_for_downstream);
    let assets = if number == 0 || looks_back { None } else { Some(condition(seed, number)) };
    with_outlets(seed, Dag { assets, ..dag })
}

/// What a DAG of this number waits for. The second writes the stock, so it does not wait for it.
fn condition(seed: u64, number: usize) -> AssetCondition {
    let mut rng = Rng::new(mix(seed ^ 0xC0D1 ^ ((number as u64) << 32)));
    let of = AssetCondition::Of;
    let known = |rng: &mut Rng| of(if rng.chance(3_000) { AssetRef::Uri(ORDERS.to_owned()) } else { name(ORDERS) });
    let other = if number == 1 { of(alias()) } else { of(name(STOCK)) };
    let first = known(&mut rng);
    match rng.index(5) {
        0 | 1 => first,
        2 => AssetCondition::All(vec![first, other]),
        3 => AssetCondition::Any(vec![first, other]),
        _ => AssetCondition::Any(vec![AssetCondition::All(vec![first, other]), of(alias())]),
    }
}

/// Gives the tasks of a DAG what they write: the same to a task of a version as to the one of its name in any other.
pub(crate) fn with_outlets(seed: u64, mut dag: Dag) -> Dag {
    let number = dag.dag_id.as_str().strip_prefix("dag").and_then(|number| number.parse::<u64>().ok()).unwrap_or(9);
    if !has_some(seed) || number > 1 {
        return dag;
    }
    for (index, task) in dag.tasks.iter_mut().enumerate().filter(|(_, task)| task.operator == scenario::BASH) {
        let drawn = mix(seed ^ 0x0007_1E75 ^ (number << 40) ^ index as u64);
        task.outlets = match (number, drawn % 6) {
            (0, 0 | 1) => vec![name(ORDERS)],
            (0, 2) => vec![name(ORDERS), name(STOCK)],
            (0, 3) => vec![alias()],
            (0, 4) => vec![name(ORDERS), alias()],
            (1, 0 | 1) => vec![name(STOCK)],
            _ => Vec::new(),
        };
    }
    dag
}

/// What a try that succeeded says of the assets that it wrote.
pub(crate) fn said(task: &Task, outcome: AttemptOutcome) -> Vec<OutletEvent> {
    let speaks = outcome == AttemptOutcome::Success && task.outlets.contains(&alias());
    let event =
        OutletEvent { asset: Asset::of_uri(ORDERS), alias: Some(ALIAS.to_owned()), extra: serde_json::Map::new() };
    if speaks { vec![event] } else { Vec::new() }
}

/// The topics of the events of a task's success, event by event.
fn events(task: &Task) -> Vec<Vec<TopicId>> {
    let plain = |reference: &AssetRef| match reference {
        AssetRef::Alias { .. } => Vec::new(),
        AssetRef::Name(name) => with_uri(name),
        other => unreachable!("no task of a scenario writes {other:?}"),
    };
    let direct = task.outlets.iter().filter(|outlet| **outlet != alias()).map(plain);
    let through = task.outlets.iter().filter(|outlet| **outlet == alias());
    let through = through.map(|_| with_uri(ORDERS).into_iter().chain([Topic::of(&alias()).id()]).collect());
    direct.chain(through).collect()
}

/// The topics of an asset, whose URI is its name here.
fn with_uri(name: &str) -> Vec<TopicId> {
    [Topic::Asset(name.to_owned()), Topic::Uri(name.to_owned())].iter().map(Topic::id).collect()
}

/// A topic as it was last written, and the events it has taken, in order.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) doc: TopicDoc,
    events: Vec<(String, Micros)>,
}

/// What was seen of events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) topics: BTreeMap<TopicId, Seen>,
    /// Those that happened, with the topics they belong to.
    made: BTreeMap<String, Vec<TopicId>>,
    /// Those that somebody outside has tried to tell of, and got no answer.
    tried: BTreeSet<String>,
    /// When a DAG was paused, from when until when; no end: it still is.
    paused: BTreeMap<DagId, Vec<(Micros, Option<Micros>)>>,
}

/// Puts the topics that DAGs name into the store, as their files would, and enters these with them.
pub(crate) fn found(world: &mut World, store: &Metastore<std::sync::Arc<Memory>>, dag: &Dag, document: &mut DagDoc) {
    if !has_some(world.seed) {
        return;
    }
    let mut put = |reference: &AssetRef, role: Option<&DagId>| {
        let mut facts = TopicFacts::of(reference, instant(0));
        if matches!(facts.topic, Topic::Asset(_)) {
            facts.topic.name().clone_into(&mut facts.uri);
        }
        let id = facts.topic.id();
        let seen = world.monitor.events.topics.entry(id.clone()).or_insert_with(|| {
            let doc = TopicDoc::new(facts);
            crate::store::at_once(store.put_topic(&doc)).expect("memory does not fail");
            Seen { doc, events: Vec::new() }
        });
        if let Some(dag_id) = role {
            let join = vec![(Role::Consumer, dag_id.to_string(), instant(0))];
            let change = updraft_model::TopicChange { join, ..updraft_model::TopicChange::default() };
            seen.doc = change.apply(&seen.doc);
            crate::store::at_once(store.update_topic(&id, &change)).expect("memory does not fail");
        }
        id
    };
    for known in [ORDERS, STOCK] {
        put(&name(known), None);
    }
    for reference in dag.assets.iter().flat_map(AssetCondition::references) {
        let id = put(reference, Some(&dag.dag_id));
        document.queue.insert(id, Queued::from_here(0));
    }
}

impl World {
    /// A topic is written: it takes one event at a time, each once, and none that did not happen.
    pub(crate) fn observe_topic(&mut self, process: usize, id: &TopicId, item: Option<&Item>) {
        let Some(item) = item else { return };
        let doc = stored::topic_doc(id, item).expect("the engine writes what it reads");
        self.say(process, &format!("topic {id} has taken {}", doc.taken));
        let now = self.now;
        let seen = self.monitor.events.topics.entry(id.clone());
        let seen = seen.or_insert_with(|| Seen { doc: doc.clone(), events: Vec::new() });
        let before = seen.events.len() as u64;
        let last = doc.last.as_ref().map(|event| event.id.clone()).filter(|_| doc.taken == before + 1);
        let is_again = last.as_ref().is_some_and(|id| seen.events.iter().any(|(there, _)| there == id));
        seen.events.extend(last.clone().map(|id| (id, now)));
        let taken = (seen.events.len() as u64, doc.taken);
        seen.doc = doc;
        if is_again || taken.0 != taken.1 {
            self.violate(format!("D2: topic {id} took {last:?} after {before} events, and counts {}", taken.1));
        }
        let events = &self.monitor.events;
        let unknown = last.filter(|id| !events.made.contains_key(id) && !events.tried.contains(id));
        if let Some(event) = unknown {
            self.violate(format!("D1: topic {id} took {event}, which never happened"));
        }
        self.stats.events_taken += taken.0 - before;
    }

    /// A task instance succeeds by its own attempt: its events have happened.
    pub(crate) fn observe_success(
        &mut self,
        run: &RunDoc,
        (task, map_index): (TaskIndex, Option<u32>),
        (from, to): (&Cell, &Cell),
    ) {
        let is_own = matches!(from, Cell::Running { .. } | Cell::Waiting { wait: Wait::Input, .. });
        let Cell::Final { end: End::Success, try_number, winner: Some(token), .. } = to else { return };
        let plan = self.monitor.plans.get(&run.facts.version).filter(|_| is_own);
        let Some(plan) = plan else { return };
        let (incarnation, index) = (&run.facts.incarnation, map_index.map_or(-1, i64::from));
        // Whoever answers a question says nothing of assets.
        let most = if matches!(from, Cell::Waiting { .. }) {
            plan.task(task).outlets.iter().filter(|outlet| **outlet != alias()).count()
        } else {
            usize::MAX
        };
        for (number, topics) in events(plan.task(task)).into_iter().take(most).enumerate() {
            let id = format!("{incarnation}.{task}.{index}.{try_number}.{token}.{number}");
            self.stats.events_made += 1;
            self.monitor.events.made.insert(id, topics);
        }
    }

    /// What a DAG knows of events only grows: it is told while it is not paused, and what it makes a run of is all it was told of.
    pub(crate) fn observe_queue(&mut self, before: Option<&DagDoc>, after: &DagDoc) {
        let now = self.now;
        let pauses = self.monitor.events.paused.entry(after.dag_id.clone()).or_default();
        match (before.is_some_and(|before| before.paused), after.paused) {
            (false, true) => pauses.push((now, None)),
            (true, false) => {
                if let Some((_, until)) = pauses.last_mut() {
                    *until = Some(now);
                }
            }
            _ => {}
        }
        let Some(before) = before else { return };
        let mut wrong = Vec::new();
        for (topic, was) in &before.queue {
            let Some(is) = after.queue.get(topic) else { continue };
            if is.told < was.told || is.taken < was.taken || is.taken > was.told.max(was.taken) {
                wrong.push(format!("{topic} went from {} to {}", was.encode(), is.encode()));
            }
            if is.told > was.told && before.paused {
                wrong.push(format!("it was told of {topic} while it is paused"));
            }
            // What came between the look and the write is left to the next run; of what it takes it takes all.
            if is.taken > was.taken && is.taken != was.told {
                wrong.push(format!("of {topic} it left some to the next run: {} became {}", was.encode(), is.encode()));
            }
        }
        if let Some(wrong) = wrong.first() {
            self.violate(format!("D2: {}: {wrong}", after.dag_id));
        }
    }

    /// What topics still want, if anything.
    pub(crate) fn restless_topic(&self) -> Option<String> {
        let topic = self.monitor.events.topics.values().find(|seen| seen.doc.wake_at.is_some())?;
        Some(format!("a topic still wants attention: {:?}", topic.doc))
    }

    /// Every event that happened was taken by its topics, and made the runs that Airflow would have made of it.
    pub(crate) fn events_made_their_runs(&mut self, runs: &[RunDoc]) -> Result<(), String> {
        let events = &self.monitor.events;
        for (event, topics) in &events.made {
            let missing = topics
                .iter()
                .filter_map(|topic| events.topics.get(topic))
                .find(|seen| !seen.events.iter().any(|(there, _)| there == event));
            if let Some(seen) = missing {
                return Err(format!("D3: the event {event} was never taken by {:?}", seen.doc.facts.topic));
            }
        }
        let mut made = 0;
        for dag in self.monitor.dags.values() {
            let Some(condition) = dag.version.as_ref().and_then(|v| self.monitor.plans[v].dag.assets.clone()) else {
                continue;
            };
            let of_dag =
                || runs.iter().filter(|run| run.facts.dag_id == dag.dag_id && !run.facts.asset_events.is_empty());
            for run in of_dag() {
                made += 1;
                let has =
                    |topic: &TopicId| run.facts.asset_events.get(topic).is_some_and(|(after, up_to)| up_to > after);
                if !condition.holds(&has) || run.facts.run_type != DagRunType::AssetTriggered {
                    return Err(format!("D2: {} was made of {:?}", run.facts.run_id, run.facts.asset_events));
                }
            }
            for topic in condition.topics() {
                self.monitor.all_consumed(dag, &topic, of_dag())?;
            }
            let waits = |topic: &TopicId| dag.queue.get(topic).is_some_and(|queued| queued.is_waiting());
            if condition.holds(&waits) {
                return Err(format!(
                    "D2: {} was told of all it waits for, and made no run: {:?}",
                    dag.dag_id, dag.queue
                ));
            }
        }
        self.stats.runs_by_events += made;
        Ok(())
    }
}

impl Monitor {
    /// The runs of a DAG have taken the events of a topic one after the other, none left out and none twice, up to what it knows; and what it
    /// was not told of came while it was paused.
    fn all_consumed<'a>(
        &self,
        dag: &DagDoc,
        topic: &TopicId,
        runs: impl Iterator<Item = &'a RunDoc>,
    ) -> Result<(), String> {
        let known = dag.queue.get(topic).copied().unwrap_or(Queued::from_here(0));
        let mut ranges: Vec<(u64, u64)> = runs.filter_map(|run| run.facts.asset_events.get(topic).copied()).collect();
        ranges.sort_unstable();
        let follows = |last: u64, (after, up_to): &(u64, u64)| (*after == last && up_to > after).then_some(*up_to);
        if ranges.iter().try_fold(0, follows) != Some(known.taken) {
            return Err(format!("D2: {} made runs of {ranges:?} of {topic}, and knows {}", dag.dag_id, known.encode()));
        }
        let events = self.events.topics.get(topic).map_or(&[][..], |seen| &seen.events);
        let pauses = self.events.paused.get(&dag.dag_id).map_or(&[][..], Vec::as_slice);
        // Who was to tell of it may have died, so that whoever tells of it next finds the DAG paused.
        let was_paused = |at: Micros| {
            let covers = |(from, until): &(Micros, Option<Micros>)| {
                at + TOLD_WITHIN >= *from && until.is_none_or(|until| at <= until)
            };
            pauses.iter().any(covers)
        };
        let untold = events.iter().skip(usize::try_from(known.told).unwrap_or(usize::MAX));
        let lost = untold.clone().find(|(_, at)| !was_paused(*at));
        match lost {
            Some((event, _)) => {
                Err(format!("D3: {} was never told of {event} in {topic}: {}", dag.dag_id, known.encode()))
            }
            None => Ok(()),
        }
    }
}

impl Hand {
    /// Tells of an event from outside.
    pub(crate) async fn tell_of_event(&self, number: usize) -> Result<(), updraft_service::Error> {
        let (wish, id) = {
            let mut world = self.world.lock();
            let asset = *world.rng.pick(&[ORDERS, STOCK]);
            let request = format!("{}-{number}", self.process);
            let id = format!("outside.{request}");
            world.monitor.events.tried.insert(id.clone());
            let asset_id = Topic::Asset(asset.to_owned()).id().number();
            (EventWish { asset_id, extra: serde_json::Map::new(), request: Some(request) }, (id, asset))
        };
        self.engine.create_asset_event(&wish).await?;
        let mut world = self.world.lock();
        world.stats.events_from_outside += 1;
        world.monitor.events.made.insert(id.0, with_uri(id.1));
        Ok(())
    }

    pub(crate) fn has_assets(&self) -> bool {
        has_some(self.world.lock().seed)
    }
}
