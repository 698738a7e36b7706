//! Rules D2 and D3: two events on one topic, noted in outboxes, delivered by two processes that die, and a consumer that makes runs of them.
//! What a topic takes, what a consumer is told, and how it consumes is decided by `TopicChange`, `Queued` and
//! `updraft_scheduling::places::create_triggered`, as the product does.

use crate::documents::{NOW, facts};
use crate::explore::{Label, Protocol, Steps, breaks, holds};
use std::fmt;
use std::hash::{Hash, Hasher};
use updraft_model::asset::{Queued, Topic, TopicFacts};
use updraft_model::{AssetEvent, AssetRef, DagChange, DagDoc, DagId, TopicChange, TopicDoc, VersionId};
use updraft_scheduling::places;

const AGENTS: [&str; 2] = ["process 0", "process 1"];

/// How many events there are.
const EVENTS: usize = 2;

fn topic() -> TopicDoc {
    TopicDoc::new(TopicFacts::of(&AssetRef::Name("a".to_owned()), NOW))
}

fn event(number: usize) -> AssetEvent {
    AssetEvent {
        id: number.to_string(),
        name: "a".to_owned(),
        uri: "a".to_owned(),
        group: String::new(),
        extra: serde_json::Map::new(),
        source: None,
        aliases: Vec::new(),
        timestamp: NOW,
    }
}

/// A topic as somebody read it: how many events it has taken, and which is the last.
type TopicImage = (u64, Option<usize>);

fn document(image: TopicImage) -> TopicDoc {
    TopicDoc { taken: image.0, last: image.1.map(event), ..topic() }
}

fn image(topic: &TopicDoc) -> TopicImage {
    (topic.taken, topic.last.as_ref().map(|event| event.id.parse().expect("a number")))
}

/// The consumer's document.
#[derive(Clone, PartialEq)]
struct Consumer(DagDoc);

impl Consumer {
    fn queued(&self) -> Queued {
        self.0.queue[&Topic::Asset("a".to_owned()).id()]
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} active", self.queued().encode(), self.0.active.len())
    }
}

impl Hash for Consumer {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.queued().encode().hash(hasher);
        self.0.active.keys().for_each(|run| run.hash(hasher));
        self.0.wake_at.hash(hasher);
    }
}

/// Where a process stands. Each is about to do what it is called; the first number is the event it delivers.
#[derive(Debug, Clone, PartialEq, Hash)]
enum Agent {
    Idle,
    ReadsTopic(usize),
    /// It read the topic.
    AsksById(usize, TopicImage),
    /// It read the topic, and the last event's items are not known to be there.
    PutsLast(usize, TopicImage),
    Takes(usize, TopicImage),
    PutsItems(usize, u64),
    ReadsConsumer(usize, u64),
    Tells(usize, u64, Consumer),
    StrikesOut(usize),
    /// It read the consumer.
    MakesRun(Consumer),
    /// Without the rule: the run is there, and the events are to be taken out of the queue.
    Consumes(Consumer),
}

#[derive(Debug, Clone, PartialEq, Hash)]
struct State {
    topic: TopicImage,
    /// The events by their ids: their numbers.
    items: [Option<u64>; EVENTS],
    /// Which event has a number.
    numbered: Vec<usize>,
    /// Whether an event is noted in its run's outbox.
    noted: [bool; EVENTS],
    consumer: Consumer,
    /// How often the event of each number made a run.
    made: [u8; 4],
    agents: [Agent; 2],
    crashes: u8,
    /// A word to the consumer whose answer was lost, and that lands late.
    late: Option<(u64, Consumer)>,
    lost: u8,
    wrong: Option<&'static str>,
}

/// The rule that a model does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// D2: whoever takes the next event sees to the last one's items first.
    Help,
    /// D2: a topic takes an event only if it has taken no other since it was read.
    Count,
    /// D2: a consumer keeps what it has consumed, and is told of nothing again.
    Told,
    /// D2: a run is made and its events are taken out of the queue by one write.
    OneWrite,
    /// D2: a run takes what was seen, and only that.
    Seen,
    /// D3: an event is struck out only once it was delivered.
    StrikeOutLast,
}

struct Effects {
    crashes: u8,
    lost: u8,
    without: Without,
}

impl Effects {
    fn new(crashes: u8, lost: u8) -> Self {
        Self { crashes, lost, without: Without::Nothing }
    }

    fn without(self, without: Without) -> Self {
        Self { without, ..self }
    }

    fn write_topic(&self, state: &mut State, change: &TopicChange) -> bool {
        let topic = document(state.topic);
        let holds = change.holds(&topic) || self.without == Without::Count;
        if holds {
            state.topic = image(&change.apply(&topic));
        }
        holds
    }

    fn tell(&self, consumer: &Consumer, number: u64) -> Option<DagChange> {
        let known = consumer.queued();
        let told = match self.without {
            // A queue that only says that something waits.
            Without::Told => Some(Queued { told: known.told.max(number), taken: number - 1, ..known }),
            _ => known.tell(number, NOW),
        }?;
        let id = Topic::Asset("a".to_owned()).id();
        Some(DagChange { if_queue: vec![(id.clone(), known)], queue_put: vec![(id, told)], ..DagChange::default() })
    }

    fn write_consumer(state: &mut State, change: &DagChange) -> bool {
        let holds = change.holds(&state.consumer.0);
        if holds {
            state.consumer = Consumer(change.apply(&state.consumer.0));
        }
        holds
    }

    /// What a process does next.
    fn act(&self, state: &State, number: usize) -> (Label, State) {
        let mut next = state.clone();
        let who = AGENTS[number];
        let (does, then) = match state.agents[number].clone() {
            Agent::Idle => unreachable!("an idle process does nothing by itself"),
            Agent::ReadsTopic(event) => ("reads the topic", Agent::AsksById(event, state.topic)),
            Agent::AsksById(event, (taken, last)) => {
                let then = if last == Some(event) {
                    Agent::PutsItems(event, taken)
                } else if let Some(number) = state.items[event] {
                    Agent::ReadsConsumer(event, number)
                } else if last.is_some_and(|last| state.items[last].is_none()) && self.without != Without::Help {
                    Agent::PutsLast(event, (taken, last))
                } else {
                    Agent::Takes(event, (taken, last))
                };
                ("asks for the event by its id", then)
            }
            Agent::PutsLast(event, (taken, last)) => {
                let last = last.expect("there is one");
                next.items[last] = next.items[last].or(Some(taken));
                ("puts the last event's items", Agent::Takes(event, (taken, Some(last))))
            }
            Agent::Takes(number, seen) => {
                let change =
                    TopicChange { if_taken: Some(seen.0), take: Some(event(number)), ..TopicChange::default() };
                if self.write_topic(&mut next, &change) {
                    if next.numbered.contains(&number) {
                        next.wrong = Some("an event was taken twice");
                    }
                    next.numbered.push(number);
                }
                ("takes the event", Agent::ReadsTopic(number))
            }
            Agent::PutsItems(event, number) => {
                next.items[event] = next.items[event].or(Some(number));
                ("puts the event's items", Agent::ReadsConsumer(event, number))
            }
            Agent::ReadsConsumer(event, number) => {
                ("reads the consumer", Agent::Tells(event, number, state.consumer.clone()))
            }
            Agent::Tells(event, number, seen) => {
                let then = match self.tell(&seen, number) {
                    None => Agent::StrikesOut(event),
                    Some(change) if Self::write_consumer(&mut next, &change) => {
                        if next.lost > 0 && next.late.is_none() {
                            next.lost -= 1;
                            next.late = Some((number, seen));
                        }
                        Agent::StrikesOut(event)
                    }
                    Some(_) => Agent::ReadsConsumer(event, number),
                };
                ("tells the consumer", then)
            }
            Agent::StrikesOut(event) => {
                next.noted[event] = false;
                ("strikes the event out", Agent::Idle)
            }
            Agent::MakesRun(seen) => ("makes a run", self.make_run(&mut next, &seen)),
            Agent::Consumes(seen) => {
                let id = Topic::Asset("a".to_owned()).id();
                let change = DagChange { queue_put: vec![(id, seen.queued().consume())], ..DagChange::default() };
                Self::write_consumer(&mut next, &change);
                ("takes the events out of the queue", Agent::Idle)
            }
        };
        next.agents[number] = then;
        ((who, does), next)
    }

    fn make_run(&self, next: &mut State, seen: &Consumer) -> Agent {
        let queued = seen.queued();
        let id = Topic::Asset("a".to_owned()).id();
        let run = facts(&format!("{}-{}", queued.taken, queued.told));
        let mut change = places::create_triggered(&seen.0, &run, &[(id, queued)], NOW);
        // What else it asks for is the business of rules C.
        (change.if_wake_at, change.wake_at) = (None, None);
        if self.without == Without::Seen {
            change.if_queue.clear();
        }
        let two_writes = self.without == Without::OneWrite;
        if two_writes {
            change.queue_put.clear();
        }
        if !Self::write_consumer(next, &change) {
            return Agent::Idle;
        }
        for number in queued.taken + 1..=queued.told {
            let made = &mut next.made[number as usize];
            *made += 1;
            if *made > 1 {
                next.wrong = Some("an event made two runs");
            }
        }
        if two_writes { Agent::Consumes(seen.clone()) } else { Agent::Idle }
    }
}

impl Protocol for Effects {
    type State = State;

    fn begin(&self) -> State {
        let mut dag = DagDoc::new(DagId::trusted("d"), "d.yaml".to_owned(), false);
        dag.version = Some(VersionId::trusted("v"));
        dag.queue.insert(Topic::Asset("a".to_owned()).id(), Queued::from_here(0));
        State {
            topic: (0, None),
            items: [None; EVENTS],
            numbered: Vec::new(),
            noted: [true; EVENTS],
            consumer: Consumer(dag),
            made: [0; 4],
            agents: [Agent::Idle, Agent::Idle],
            crashes: self.crashes,
            late: None,
            lost: self.lost,
            wrong: None,
        }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        for (number, agent) in state.agents.iter().enumerate() {
            if *agent != Agent::Idle {
                steps.push(self.act(state, number));
                if state.crashes > 0 {
                    let mut next = state.clone();
                    next.crashes -= 1;
                    next.agents[number] = Agent::Idle;
                    steps.push(((AGENTS[number], "dies"), next));
                }
                continue;
            }
            for event in (0..EVENTS).filter(|event| state.noted[*event]) {
                let mut next = state.clone();
                next.agents[number] = Agent::ReadsTopic(event);
                if self.without == Without::StrikeOutLast {
                    next.noted[event] = false;
                }
                steps.push(((AGENTS[number], "finds an event in an outbox"), next));
            }
            if state.consumer.queued().is_waiting() {
                let mut next = state.clone();
                next.agents[number] = Agent::MakesRun(state.consumer.clone());
                steps.push(((AGENTS[number], "reads the consumer to make a run"), next));
            }
        }
        if let Some((number, seen)) = &state.late {
            let mut next = state.clone();
            next.late = None;
            // Whoever sent it tries again on what it finds, as it does not know that it was taken.
            if let Some(change) = self.tell(seen, *number)
                && !Self::write_consumer(&mut next, &change)
                && let Some(change) = self.tell(&state.consumer, *number)
            {
                Self::write_consumer(&mut next, &change);
            }
            steps.push((("a late word", "reaches the consumer"), next));
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        state.wrong
    }

    fn is_over(&self, state: &State) -> bool {
        let delivered = state.noted.iter().all(|noted| !noted) && !state.consumer.queued().is_waiting();
        let idle = state.agents.iter().all(|agent| *agent == Agent::Idle);
        let each_once = state.made[1..=EVENTS].iter().all(|made| *made == 1);
        delivered && idle && state.topic.0 == EVENTS as u64 && each_once
    }
}

#[test]
fn effects_hold() {
    holds("effects: crash", Effects::new(1, 0));
    holds("effects: two crashes, late word", Effects::new(2, 1));
}

#[test]
fn each_rule_is_missed() {
    let effects = |crashes, lost, rule| breaks(rule, Effects::new(crashes, lost).without(rule));
    effects(1, 0, Without::Help);
    effects(0, 0, Without::Count);
    effects(0, 1, Without::Told);
    effects(1, 0, Without::OneWrite);
    effects(0, 0, Without::Seen);
    effects(1, 0, Without::StrikeOutLast);
}
