//! What goes wrong, how often; and guards that are taken away to see that they are missed.

use crate::rng::{Rng, mix};
use crate::world::{Event, MINUTE, Micros, SECOND, World};
use updraft_metastore::{Change, Condition, Path, Update, Value};

/// A clock that was never set, and then was.
const DAY: Micros = 24 * 60 * MINUTE;

/// How often what goes wrong: chances in ten thousand, per request or per message.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// The process dies somewhere between this request and its answer.
    pub(crate) kill: u32,
    /// The process stops for a while and then goes on as if nothing had been.
    pub(crate) pause: u32,
    /// Refused for load: nothing was done.
    pub(crate) throttle: u32,
    /// No answer; done, done later, or not done.
    pub(crate) unknown: u32,
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    pub(crate) late: u32,
    /// How far the time index may lag behind.
    pub(crate) index_lag: Micros,
    /// How often a request without an answer is sent again by whoever carries it, before who asked is told. Above 0 requests are those of the
    /// DynamoDB adapter.
    pub(crate) repeats: u32,
}

impl Faults {
    /// The same behind the DynamoDB adapter, whose SDK tries three times: as many failures still come through.
    pub(crate) fn behind_an_adapter(self) -> Self {
        Self { throttle: 4 * self.throttle, unknown: 4 * self.unknown, repeats: 2, ..self }
    }

    /// One seed in eight has no faults at all, so that nothing is excused by them; the others from light to heavy.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let weight = [0, 1, 1, 2, 2, 3, 4, 6][rng.index(8)];
        let mut some = |most: u32| if rng.chance(7_000) { most * weight / 3 } else { 0 };
        Self {
            kill: some(60),
            pause: some(40),
            throttle: some(150),
            unknown: some(150),
            lost: some(1_200),
            doubled: some(800),
            late: some(800),
            index_lag: if weight == 0 { 0 } else { 5 * SECOND },
            repeats: 0,
        }
    }

    /// How long a pause lasts: some are shorter than a lease, some longer.
    pub(crate) fn pause_length(rng: &mut Rng) -> Micros {
        if rng.chance(5_000) { rng.range(SECOND, MINUTE) } else { rng.range(MINUTE, 6 * MINUTE) }
    }

    /// How much later than its answer's absence a write with unknown outcome lands.
    pub(crate) fn lateness(rng: &mut Rng) -> Micros {
        if rng.chance(7_000) { rng.range(0, 2 * SECOND) } else { rng.range(0, 5 * MINUTE) }
    }
}

impl World {
    /// Puts the clock forward and back a few times, by a second as a time server does, and by minutes as no server should; in one seed of ten
    /// by a day, and mostly back again.
    pub(crate) fn jumps(&mut self, window: Micros) {
        let mut rng = Rng::new(mix(self.seed) ^ 0xc10c);
        if rng.chance(1_000) {
            let at = rng.range(0, window);
            self.at(at, Event::Jump(DAY));
            if rng.chance(7_000) {
                self.at(rng.range(at, window), Event::Jump(-DAY));
            }
        }
        for _ in 0..=rng.index(4) {
            let (at, most) = (rng.range(0, window), [2 * SECOND, MINUTE, 10 * MINUTE, 40 * MINUTE][rng.index(4)]);
            self.at(at, Event::Jump(rng.range(-most, most)));
        }
    }
}

/// A guard that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Finish, renewal and acknowledgement no longer ask for their own token.
    NoToken,
    /// Nothing asks for the epoch.
    NoEpoch,
    /// The sweep asks for the attempt, and no longer for the lease it read.
    NoLease,
    /// Writes that queue tasks are answered, and their messages sent, before they are made.
    MessageBeforeState,
    /// A message is sent once and never again: it is the only copy.
    QueueOnly,
    /// The time index gives no runs.
    NoSweep,
    /// A later wake-up is written whatever was written meanwhile.
    NoRevision,
    /// Nothing asks how many runs are active.
    NoRunLimit,
    /// A place among the active runs is given back whatever epoch holds it.
    NoPlaceEpoch,
    /// Nothing asks whether others have taken places of `max_active_tasks` since.
    NoTaskLimit,
    /// Nothing asks what others hold of a pool.
    NoSlotLimit,
    /// Nothing asks what others hold of `max_active_tasks` of a run with mapped tasks.
    NoInstanceLimit,
    /// Nothing asks how many events a topic has taken.
    NoEventCount,
    /// Nothing asks what a DAG knows of events.
    NoQueue,
    /// Nothing asks whether a run's DAG has been paused since.
    NoPause,
}

impl Mutation {
    /// The update as the mutated store takes it.
    pub(crate) fn weaken(self, update: &Update) -> Update {
        let mut update = update.clone();
        match self {
            Self::NoToken => update.conditions.retain(|c| !matches!(c, Condition::BeginsWith(Path::Entry("c", _), _))),
            Self::NoEpoch => update.conditions.retain(|c| !matches!(c, Condition::Equals(Path::Top("ep"), _))),
            Self::NoLease => {
                for condition in &mut update.conditions {
                    if let Condition::Equals(Path::Entry("c", task), Value::S(cell)) = condition
                        && cell.starts_with('r')
                        && let Some((attempt, _)) = cell.match_indices('.').nth(1).map(|(at, _)| cell.split_at(at))
                    {
                        *condition = Condition::BeginsWith(Path::Entry("c", task.clone()), attempt.to_owned());
                    }
                }
            }
            Self::NoRevision => update.conditions.retain(|c| !matches!(c, Condition::Equals(Path::Top("rv"), _))),
            Self::NoRunLimit => update.conditions.retain(|c| !matches!(c, Condition::FewerThan("ac", _))),
            Self::NoPlaceEpoch => {
                for condition in &mut update.conditions {
                    if let Condition::BeginsWith(Path::Entry("ac", _), epoch) = condition {
                        epoch.clear();
                    }
                }
            }
            Self::NoTaskLimit => update
                .conditions
                .retain(|c| !matches!(c, Condition::Equals(Path::Top("tk"), _) | Condition::Absent(Path::Top("tk")))),
            Self::NoSlotLimit if matches!(update.key.sk.as_str(), "P" | "T") => update.conditions.retain(|c| {
                !matches!(c, Condition::AtMost(Path::Top("us"), _) | Condition::Equals(Path::Top("rv"), _))
            }),
            Self::NoInstanceLimit if update.key.sk == "L" => update.conditions.retain(|c| {
                !matches!(c, Condition::AtMost(Path::Top("us"), _) | Condition::Equals(Path::Top("rv"), _))
            }),
            Self::NoEventCount => update.conditions.retain(|c| !matches!(c, Condition::Equals(Path::Top("sq"), _))),
            Self::NoQueue => update.conditions.retain(|c| !matches!(c, Condition::Equals(Path::Entry("aq", _), _))),
            Self::NoPause => update
                .conditions
                .retain(|c| !matches!(c, Condition::Equals(Path::Top("pz"), _) | Condition::Absent(Path::Top("pz")))),
            Self::NoInstanceLimit | Self::NoSlotLimit | Self::MessageBeforeState | Self::QueueOnly | Self::NoSweep => {}
        }
        update
    }
}

/// Whether an update queues a task.
pub(crate) fn queues(update: &Update) -> bool {
    update
        .changes
        .iter()
        .any(|change| matches!(change, Change::Set(Path::Entry("c", _), Value::S(cell)) if cell.starts_with('q')))
}
