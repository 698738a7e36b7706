//! Limits that slots are taken of: pools, `max_active_tis_per_dag`, and `max_active_tasks` of runs with mapped tasks. Takes slots for what is
//! scheduled, queues what holds them, gives them back.

use crate::engine::{Engine, Error, ROUNDS_MAX, Version};
use crate::page_limits::Holding;
use crate::readable::aside;
use std::collections::{BTreeMap, BTreeSet};
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::{Cell, Claim, Generation, HolderDoc, HolderId, HolderName, Plan, RunDoc, TaskIndex};
use updraft_scheduling::attention::LOOK_EVERY;
use updraft_scheduling::holders::{self, Turn};
use updraft_scheduling::step;
use updraft_task_queue::{Message, Outgoing, TaskQueue};

/// A task instance that asks for slots: of which limits, with which claim, and where the limit has its size from the DAG's file, with that.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) name: HolderName,
    pub(crate) needs: Vec<(HolderId, Claim, Option<i64>)>,
}

/// What a run, or a page, gives back and asks for, of one limit.
#[derive(Debug, Default)]
struct Business {
    /// And whether the task instance has deferred: some pools let it keep its slots.
    give_back: Vec<(HolderName, Generation, bool)>,
    wishes: Vec<(HolderName, Claim)>,
    /// Whether those that ask may be queued once they have these slots: how many of them is what their run has places for.
    is_last: bool,
    places: usize,
    size: Option<i64>,
    /// Whether those that ask are instances on one page.
    on_page: bool,
}

/// How the task instances of a run, or of a page, stand that are under limits beyond the run.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) has: BTreeSet<(HolderId, HolderName)>,
    pub(crate) waits: BTreeSet<(HolderId, HolderName)>,
    pub(crate) is_crowded: bool,
}

impl Standing {
    fn has(&self, holder: &HolderId, asker: &Asker) -> bool {
        self.has.contains(&(holder.clone(), asker.name.clone()))
    }

    /// Whether one that asked has all that it takes.
    pub(crate) fn has_all(&self, asker: &Asker) -> bool {
        asker.needs.iter().all(|(holder, ..)| self.has(holder, asker))
    }

    /// Those that are to ask in the other order: who keeps what it cannot use, and whoever asks the same in the same order, since one after
    /// the other would come to that (rule B9).
    pub(crate) fn put_off<T: Copy>(&self, all: &[T], askers: &[Asker]) -> Vec<T> {
        let order = |asker: &Asker| asker.needs.iter().map(|(holder, ..)| holder.clone()).collect::<Vec<_>>();
        let is_in_the_way = |asker: &&Asker| {
            holders::is_in_the_way(asker.needs.iter().map(|(holder, ..)| (holder, self.has(holder, asker))))
        };
        let orders: BTreeSet<Vec<HolderId>> = askers.iter().filter(is_in_the_way).map(order).collect();
        self.which(all, askers, |standing, asker| !standing.has_all(asker) && orders.contains(&order(asker)))
    }

    /// Those of whom something is true; each is given with what it asked.
    pub(crate) fn which<T: Copy>(&self, all: &[T], askers: &[Asker], is_so: impl Fn(&Self, &Asker) -> bool) -> Vec<T> {
        all.iter().zip(askers).filter(|(_, asker)| is_so(self, asker)).map(|(one, _)| *one).collect()
    }
}

/// Where those that ask stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// In their run's document, which has so many places for them.
    InRun(usize),
    /// On one page.
    OnPage,
}

/// A run after its dealings with limits.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) run: RunDoc,
    /// Whether something is ready that no limit knows of: only the run's own looks will ask again.
    pub(crate) asks_again: bool,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Gives back what a run held at `base` and holds no more, asks for what it needs now, and queues what has it. None: the run is gone.
    pub(crate) async fn hold(
        &self,
        version: &Version,
        base: Option<&RunDoc>,
        mut run: RunDoc,
    ) -> Result<Option<Held>, Error> {
        if !version.plan.has_holders() {
            return Ok(Some(Held { run, asks_again: false }));
        }
        let mut before = base.cloned();
        // Who is known to hold slots, and was not queued yet.
        let mut holding: BTreeSet<TaskIndex> = BTreeSet::new();
        for _ in 0..ROUNDS_MAX {
            let places = step::free_places(&version.plan, &run);
            let wanting = step::wanting(&version.plan, &run);
            let returns =
                before.as_ref().map_or_else(Vec::new, |before| holders::given_back(&version.plan, before, &run));
            let askers: Vec<Asker> = wanting.iter().map(|task| asker(&version.plan, &run, *task)).collect();
            let standing = self.deal(returns, &askers, Asking::InRun(places)).await?;
            holding.extend(standing.has.iter().map(|(_, name)| name.task));
            let granted: Vec<TaskIndex> =
                standing.which(&wanting, &askers, Standing::has_all).into_iter().take(places).collect();
            let is_full = granted.len() == places;
            // Rule B7: nobody keeps slots that it has no place in its run to use.
            let is_idle = |task: &TaskIndex| is_full && holding.contains(task) && !granted.contains(task);
            let mut idle: Vec<TaskIndex> = wanting.iter().copied().filter(is_idle).collect();
            if run.paused {
                // Paused since it took them: nobody else is to wait for that.
                idle.extend(holding.iter().filter(|task| matches!(run.cell(**task), Cell::Scheduled { .. })));
            }
            idle.extend(standing.put_off(&wanting, &askers));
            let known = |task: &TaskIndex| standing.waits.iter().any(|(_, name)| name.task == *task);
            let step = step::grant_and_put_off(&version.plan, &run, &granted, &idle, self.clock.now());
            if step.change.cells.is_empty() {
                let asks_again = !is_full && (standing.is_crowded || wanting.iter().any(|task| !known(task)));
                return Ok(Some(Held { run, asks_again }));
            }
            match self.store.update_run(&run.facts.incarnation, &step.change).await? {
                Outcome::Updated(image) => {
                    self.after(version, &step, &image).await;
                    holding.clear();
                    before = Some(std::mem::replace(&mut run, image));
                }
                // Taken to another version meanwhile: its next look asks by that one.
                Outcome::Refused(Some(image)) if image.facts.version != version.id => {
                    return Ok(Some(Held { run: image, asks_again: true }));
                }
                // What was taken for a cell that is no more is given back in the next round.
                Outcome::Refused(Some(image)) => before = Some(std::mem::replace(&mut run, image)),
                Outcome::Refused(None) => return Ok(None),
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }

    /// One turn with each limit that a run, or a page, has business with: those of single tasks first, then the pools, then the run's own; for
    /// those that ask the run's own first, that one before.
    pub(crate) async fn deal(
        &self,
        mut returns: Vec<holders::Return>,
        askers: &[Asker],
        asking: Asking,
    ) -> Result<Standing, Error> {
        let mut standing = Standing::default();
        let mut places = if let Asking::InRun(places) = asking { places } else { usize::MAX };
        let is_run_first = |asker: &Asker| stage_of(&asker.needs, 0) == Some(Stage::RunFirst);
        let stage_of_returns = if askers.iter().any(is_run_first) { Stage::RunFirst } else { Stage::Run };
        for stage in [Stage::RunFirst, Stage::Task, Stage::Pool, Stage::Run] {
            let mut business: BTreeMap<HolderId, Business> = BTreeMap::new();
            // The limits in the order of who asks.
            let mut order: Vec<HolderId> = Vec::new();
            returns.retain(|(holder, back)| {
                let is_now = stage
                    == match holder {
                        HolderId::Task(..) => Stage::Task,
                        HolderId::Pool(_) => Stage::Pool,
                        HolderId::Run(_) => stage_of_returns,
                    };
                if is_now {
                    order.push(holder.clone());
                    business.entry(holder.clone()).or_default().give_back.push(back.clone());
                }
                !is_now
            });
            for Asker { name, needs } in askers.iter().filter(|_| places > 0) {
                let has = |holder: &HolderId| standing.has.contains(&(holder.clone(), name.clone()));
                let Some(at) = (0..needs.len()).find(|at| stage_of(needs, *at) == Some(stage)) else { continue };
                if !needs[..at].iter().all(|(holder, ..)| has(holder)) {
                    continue;
                }
                let (holder, claim, size) = &needs[at];
                order.push(holder.clone());
                let entry = business.entry(holder.clone()).or_default();
                entry.size = *size;
                entry.is_last = at + 1 == needs.len();
                entry.wishes.push((name.clone(), claim.clone()));
            }
            for holder in order {
                let Some(mut business) = business.remove(&holder) else { continue };
                business.on_page = asking == Asking::OnPage;
                business.places = if business.is_last { places } else { usize::MAX };
                let turn = self.turn(&holder, &business).await?;
                if business.is_last && places != usize::MAX {
                    places -= turn.has.len().min(places);
                }
                standing.is_crowded |= turn.is_crowded;
                standing.has.extend(turn.has.iter().map(|name| (holder.clone(), name.clone())));
                standing.waits.extend(turn.waits.iter().map(|name| (holder.clone(), name.clone())));
                // They ask again, so that somebody knows that there is more to be done for them.
                let displaced = turn.displaced.into_iter().map(|name| name.incarnation).collect::<BTreeSet<_>>();
                let hint = |incarnation| Outgoing::now(Message::Run { incarnation });
                self.send(displaced.into_iter().map(hint).collect()).await;
                Box::pin(self.queue_promoted(&holder, turn.promoted)).await?;
            }
        }
        Ok(standing)
    }

    /// Makes a turn with one limit. A limit that was never asked before is put first; a pool that nobody has made is known to be wanted, so
    /// that whoever makes it finds who waits.
    async fn turn(&self, holder: &HolderId, business: &Business) -> Result<Turn, Error> {
        let mut doc = match self.store.holder(holder).await? {
            Some(doc) => doc,
            None if business.wishes.is_empty() => return Ok(Turn::default()),
            None => {
                let size = self.size_at_first(holder, business.size);
                match self.store.put_holder(&HolderDoc::new(holder.clone(), size)).await? {
                    Outcome::Updated(doc) | Outcome::Refused(Some(doc)) => doc,
                    Outcome::Refused(None) => return Err(Error::Contention(holder.to_string())),
                }
            }
        };
        for _ in 0..ROUNDS_MAX {
            if let Some(size) = business.size
                && doc.size != Some(size)
            {
                // A new version of the DAG says another number.
                doc = self.resize(&doc, Some(size)).await?;
            }
            let returns = business.give_back.iter().filter(|(_, _, deferred)| !(*deferred && doc.include_deferred));
            let returns: Vec<_> = returns.map(|(name, generation, _)| (name.clone(), *generation)).collect();
            let wishes = business.wishes.clone();
            let wishes = if business.on_page { holders::asking_on_page(&doc, wishes) } else { wishes };
            let wishes = holders::asking(wishes);
            let turn = holders::turn_within(&doc, &returns, &wishes, business.places, self.clock.now());
            if turn.change.is_nothing() {
                return Ok(turn);
            }
            match self.store.update_holder(holder, &turn.change).await? {
                Outcome::Updated(_) => return Ok(turn),
                Outcome::Refused(Some(image)) => doc = image,
                Outcome::Refused(None) => return Err(Error::Contention(holder.to_string())),
            }
        }
        Err(Error::Contention(holder.to_string()))
    }

    fn size_at_first(&self, holder: &HolderId, by_dag: Option<i64>) -> Option<i64> {
        match holder {
            HolderId::Pool(name) if name == updraft_model::dag_parts::POOL_DEFAULT => self.settings.default_pool_slots,
            HolderId::Pool(_) => None,
            HolderId::Task(..) | HolderId::Run(_) => by_dag,
        }
    }

    /// Whether the last slots that one of these needs are those it holds here: it is to be queued, and looked after until it is.
    async fn is_any_to_be_queued(
        &self,
        holder: &HolderId,
        ready: &[(HolderName, Claim)],
        standing: &Holding,
    ) -> Result<bool, Error> {
        for (name, claim) in ready {
            let Some(run) = standing.runs.get(&name.incarnation) else { continue };
            let Some(version) = aside(self.version(&run.facts.version).await)? else { continue };
            let plan = &version.plan;
            let is_last = plan.holders(name.task, &name.incarnation).last() == Some(holder);
            if claim.is_last || is_last || plan.slots_of_run().is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) async fn resize(&self, doc: &HolderDoc, size: Option<i64>) -> Result<HolderDoc, Error> {
        let change = updraft_model::HolderChange { size: Some(size), ..updraft_model::HolderChange::default() };
        match self.store.update_holder(&doc.id, &change).await? {
            Outcome::Updated(doc) | Outcome::Refused(Some(doc)) => Ok(doc),
            Outcome::Refused(None) => Err(Error::Contention(doc.id.to_string())),
        }
    }

    /// Queues who waited and holds its slots now, in whichever run. A process that dies before leaves it to the limit's own look.
    async fn queue_promoted(&self, holder: &HolderId, promoted: Vec<(HolderName, Claim)>) -> Result<(), Error> {
        let mut messages = Vec::new();
        for (name, claim) in promoted {
            // One whose run cannot be read keeps its slots, and nobody else from what is theirs.
            messages.extend(aside(self.queue_one_promoted(holder, name, claim).await)?.unwrap_or_default());
        }
        self.send(messages).await;
        Ok(())
    }

    /// Queues one that waited and holds its slots now. Returns whom to tell.
    async fn queue_one_promoted(
        &self,
        holder: &HolderId,
        name: HolderName,
        claim: Claim,
    ) -> Result<Vec<Outgoing>, Error> {
        let to_holder = || Message::Holder { holder: holder.clone() };
        if name.map_index.is_some() {
            return self.queue_promoted_instance(holder, &name, &claim).await;
        }
        if !claim.is_last {
            let is_put_off = self.put_off(&name, &claim).await?;
            let to_run = || Message::Run { incarnation: name.incarnation.clone() };
            return Ok(vec![Outgoing::now(if is_put_off { to_holder() } else { to_run() })]);
        }
        let try_number = claim.generation.try_number;
        let look_at = self.clock.now().saturating_add(LOOK_EVERY).ok();
        let change = step::promote(name.task, claim.generation, look_at);
        let message = match self.store.update_run(&name.incarnation, &change).await? {
            Outcome::Updated(run) => {
                let version = self.version(&run.facts.version).await?;
                Message::Task {
                    dag_id: run.facts.dag_id.clone(),
                    incarnation: name.incarnation,
                    task: name.task,
                    try_number,
                    priority: claim.priority,
                    place: None,
                    worker: version.plan.task(name.task).worker_kind(),
                }
            }
            // Its DAG is paused: others may have the slots meanwhile (rule P1).
            Outcome::Refused(Some(run)) if run.paused && self.put_off(&name, &claim).await? => to_holder(),
            // A run that is no more, or that has gone on: the slots go to the next (rule B2).
            Outcome::Refused(image) if !holders::is_alive(&claim, image.as_ref(), name.task, |_| false) => to_holder(),
            Outcome::Refused(_) => Message::Run { incarnation: name.incarnation },
        };
        Ok(vec![Outgoing::now(message)])
    }

    /// Puts off who was given slots while its run has no place for it (rule B7), or is paused (rule P1). True: it holds them no more, and somebody is to give them
    /// to others.
    async fn put_off(&self, name: &HolderName, claim: &Claim) -> Result<bool, Error> {
        let Some(mut run) = self.store.run(&name.incarnation).await? else { return Ok(true) };
        for _ in 0..ROUNDS_MAX {
            let version = self.version(&run.facts.version).await?;
            if !holders::is_alive(claim, Some(&run), name.task, |_| false) {
                return Ok(true);
            }
            let may_go_on = !run.paused && step::free_places(&version.plan, &run) > 0;
            if may_go_on || !matches!(run.cell(name.task), Cell::Scheduled { .. }) {
                return Ok(false);
            }
            let step = step::grant_and_put_off(&version.plan, &run, &[], &[name.task], self.clock.now());
            match self.store.update_run(&name.incarnation, &step.change).await? {
                Outcome::Updated(_) | Outcome::Refused(None) => return Ok(true),
                Outcome::Refused(Some(image)) => run = image,
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }

    /// Looks at a limit: frees what the dead hold, hands out what is free, and queues who holds its slots and was not queued. Harmless at any
    /// time, any number at once.
    pub async fn look_at_holder(&self, holder: &HolderId) -> Result<(), Error> {
        for _ in 0..ROUNDS_MAX {
            let Some(doc) = self.store.holder(holder).await? else { return Ok(()) };
            let standing = self.holding(doc.holders.keys()).await?;
            let is_dead = |(name, claim): &(&HolderName, &Claim)| !standing.is_alive(&doc, name, claim);
            let dead: Vec<(HolderName, Generation)> =
                doc.holders.iter().filter(is_dead).map(|(name, claim)| (name.clone(), claim.generation)).collect();
            let turn = holders::turn(&doc, &dead, &[], self.clock.now());
            if !turn.change.is_nothing() {
                match self.store.update_holder(holder, &turn.change).await? {
                    Outcome::Updated(_) => self.queue_promoted(holder, turn.promoted).await?,
                    Outcome::Refused(_) => {}
                }
                continue;
            }
            // Rule B6: who was promoted by a process that died then is queued now.
            let is_ready = |name: &HolderName| matches!(standing.cell(name), Some(Cell::Scheduled { .. }));
            let ready: Vec<(HolderName, Claim)> =
                doc.holders.iter().filter(|(name, _)| is_ready(name)).map(|(n, c)| (n.clone(), c.clone())).collect();
            let found = self.is_any_to_be_queued(holder, &ready, &standing).await?;
            self.queue_promoted(holder, ready).await?;
            self.store.update_holder(holder, &holders::rearm(&doc, found, self.clock.now())).await?;
            return Ok(());
        }
        Err(Error::Contention(holder.to_string()))
    }
}

/// What a scheduled task of a run asks for.
fn asker(plan: &Plan, run: &RunDoc, task: TaskIndex) -> Asker {
    let turn = holders::generation(run, task).turn;
    let need = |holder: HolderId| {
        let (claim, size) = (holders::claim(plan, run, task, &holder), holders::size_of(plan, task, &holder));
        (holder, claim, size)
    };
    Asker {
        name: HolderName::of_task(run.facts.incarnation.clone(), task),
        needs: holders::in_turn(plan.holders(task, &run.facts.incarnation), turn).into_iter().map(need).collect(),
    }
}

/// When a limit is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The run's own, by those that ask it first.
    RunFirst,
    /// That of a task.
    Task,
    /// A pool.
    Pool,
    /// The run's own, by all others.
    Run,
}

/// When the limit is asked that stands there among those of a task instance.
fn stage_of(needs: &[(HolderId, Claim, Option<i64>)], at: usize) -> Option<Stage> {
    Some(match needs.get(at)?.0 {
        HolderId::Run(_) if at == 0 && needs.len() > 1 => Stage::RunFirst,
        HolderId::Run(_) => Stage::Run,
        HolderId::Task(..) => Stage::Task,
        HolderId::Pool(_) => Stage::Pool,
    })
}
