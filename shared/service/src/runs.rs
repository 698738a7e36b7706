//! Looking at a run: start it, settle what died, decide what is undecided, deliver what is owed, send again what may be lost.

use crate::engine::{Engine, Error, ROUNDS_MAX, Version};
use crate::{figures, spans};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::Occasion;
use updraft_model::{
    Attempt, AttemptKey, AttemptOutcome, Cell, DagDoc, DagRunState, Incarnation, OutboxEntry, RunDoc, RunName,
    TaskIndex, Token, TryEnd,
};
use updraft_scheduling::step::{self, Ended, Expired, Step, Waits};
use updraft_scheduling::{attention, deadlines, places};
use updraft_task_queue::{Message, Outgoing, TaskQueue};

/// A version that was read before, or the one that a run has by now.
pub(crate) enum Current<'v> {
    Same(&'v Version),
    Other(Arc<Version>),
}

impl AsRef<Version> for Current<'_> {
    fn as_ref(&self) -> &Version {
        match self {
            Self::Same(version) => version,
            Self::Other(version) => version,
        }
    }
}

/// How a look takes attempts that hold a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leases {
    /// By their leases.
    Heed,
    /// All are dead: this process is the only server of its store, and has just started.
    AllDead,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Looks at a run: whatever could have been missed is made up for. Harmless at any time, any number at once.
    pub async fn look_at_run(&self, incarnation: &Incarnation, leases: Leases) -> Result<(), Error> {
        let Some(mut run) = self.store.run_or_tombstone(incarnation).await? else {
            self.attended.tell(incarnation, None);
            return Ok(());
        };
        self.attended.tell(incarnation, Some(&run));
        if run.deleted_at.is_some() {
            return self.forget_deleted(&run).await;
        }
        if run.state == DagRunState::Queued && run.intent.is_none() {
            // Re-armed first: if starting it fails half way, somebody looks again.
            if let Outcome::Updated(image) =
                self.store.update_run(incarnation, &step::rearm(&run, Waits::ForItself, self.clock.now())).await?
            {
                run = image;
            }
            if run.deadline_at.is_some() {
                let version = self.version(&run.facts.version).await?;
                let Some(image) = self.miss_deadlines(&version, run).await? else { return Ok(()) };
                run = image;
            }
            if !run.outbox.is_empty() {
                Box::pin(self.deliver(run)).await?;
                let Some(image) = self.store.run(incarnation).await? else { return Ok(()) };
                run = image;
            }
            // Set back to queued while it ran: what its workers left behind is settled, and gives its slots back.
            if run.cells.values().any(|cell| cell.holder().is_some()) {
                let version = self.version(&run.facts.version).await?;
                let base = run.clone();
                let Some((swept, _)) = Box::pin(self.sweep(&version, run, leases)).await? else { return Ok(()) };
                let Some((image, _)) = Box::pin(self.follow(&version, Some(&base), swept)).await? else {
                    return Ok(());
                };
                run = image;
            }
            return Box::pin(self.start_run(run)).await;
        }
        let is_news = run.looks == 0;
        let Some(run) = Box::pin(self.heed_pause(run)).await? else { return Ok(()) };
        let version = self.version(&run.facts.version).await?;
        let Some(run) = self.miss_deadlines(&version, run).await? else { return Ok(()) };
        let Some(run) = Box::pin(self.carry_on(&version, run)).await? else { return Ok(()) };
        let base = run.clone();
        let swept = Box::pin(self.sweep(&version, run, leases)).await?;
        let Some((run, sent)) = swept else { return Ok(()) };
        let Some(run) = Box::pin(self.time_out_questions(&version, run)).await? else { return Ok(()) };
        // A failure may have begun an intervention.
        let Some(run) = Box::pin(self.carry_on(&version, run)).await? else { return Ok(()) };
        let Some((run, waits)) = Box::pin(self.follow(&version, Some(&base), run)).await? else { return Ok(()) };
        if run.outbox.is_empty() && attention::needed(&run, self.clock.now()).is_none() {
            // Found in the index with nothing left to do: an attempt that was cleared without its run has let go.
            if run.wake_at.is_some() {
                self.store.update_run(incarnation, &step::rearm(&run, waits, self.clock.now())).await?;
            }
            return Ok(());
        }
        // Re-armed before messages go out again. Refused means somebody wrote meanwhile: the wake-up stays where it is, and the
        // next tick looks again.
        if run.state != DagRunState::Queued || !run.outbox.is_empty() {
            self.store.update_run(incarnation, &step::rearm(&run, waits, self.clock.now())).await?;
        }
        for (unit, _) in run.mapped.expanded() {
            if let Some(unit) = version.plan.unit_of(unit) {
                self.bear(&version, &run, unit, true).await?;
            }
        }
        if run.state == DagRunState::Running {
            if is_news && !run.paused {
                // Whoever unpaused it may have died before its pages were told.
                self.send(Self::all_page_messages(&version.plan, &run)).await;
            }
            let again = run.cells.iter().filter(|(t, c)| matches!(c, Cell::Queued { .. }) && !sent.contains(t));
            let again = again.map(|(task, cell)| (*task, cell.try_number()));
            self.send(Self::task_messages(&version.plan, &run, again)).await;
        }
        if run.outbox.is_empty() { Ok(()) } else { self.deliver(run).await }
    }

    /// A run, after a look at whether its DAG is paused, which it may not have been told: it came to be, or was started, while somebody told the
    /// others; who told it was overtaken by who tells it otherwise; it is one of a cancelled backfill, which nothing lists. Asked by the first
    /// look after anything has happened, and by each while it is paused. None: the run is gone.
    async fn heed_pause(&self, run: RunDoc) -> Result<Option<RunDoc>, Error> {
        let may_not_know = run.paused || run.looks == 0 || run.facts.origin.backfill.is_some();
        if run.state != DagRunState::Running || !may_not_know {
            return Ok(Some(run));
        }
        let incarnation = run.facts.incarnation.clone();
        match self.store.dag(&run.facts.dag_id).await? {
            Some(dag) if dag.paused != run.paused => {
                self.tell_paused(&dag, [run]).await?;
                Ok(self.store.run(&incarnation).await?)
            }
            _ => Ok(Some(run)),
        }
    }

    /// Notes the deadlines that a run has missed, and tells of them. None: the run is gone.
    async fn miss_deadlines(&self, version: &Version, mut run: RunDoc) -> Result<Option<RunDoc>, Error> {
        for _ in 0..ROUNDS_MAX {
            let Some(change) = deadlines::missed(&version.plan, &run, self.clock.now()) else { return Ok(Some(run)) };
            match self.store.update_run(&run.facts.incarnation, &change).await? {
                Outcome::Updated(image) => {
                    self.deliver(image.clone()).await?;
                    return Ok(self.store.run(&image.facts.incarnation).await?);
                }
                Outcome::Refused(Some(image)) => run = image,
                Outcome::Refused(None) => return Ok(None),
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }

    /// The version of a run, which a clear may have taken to another one since `version` was read.
    pub(crate) async fn current<'v>(&self, version: &'v Version, run: &RunDoc) -> Result<Current<'v>, Error> {
        if run.facts.version == version.id {
            return Ok(Current::Same(version));
        }
        Ok(Current::Other(self.version(&run.facts.version).await?))
    }

    /// Settles expired attempts and decides what follows, until nothing does. Returns the run and the tasks whose messages went
    /// out, or none where the run is gone.
    async fn sweep(
        &self,
        version: &Version,
        mut run: RunDoc,
        leases: Leases,
    ) -> Result<Option<(RunDoc, BTreeSet<TaskIndex>)>, Error> {
        let mut sent = BTreeSet::new();
        let mut all_dead = leases == Leases::AllDead;
        // Only refusals count: each accepted write settles something, and of that there is an end.
        let mut refused = 0;
        while refused < ROUNDS_MAX {
            let now = self.clock.now();
            let version = self.current(version, &run).await?;
            let version = version.as_ref();
            let expired = self.expired(&run, all_dead).await?;
            let step = step::sweep(&version.plan, &run, &expired, now);
            if step.is_nothing() {
                return Ok(Some((run, sent)));
            }
            match self.store.update_run(&run.facts.incarnation, &step.change).await? {
                Outcome::Updated(image) => {
                    self.after(version, &step, &image).await;
                    self.bury(version, &image, &expired).await;
                    sent.extend(step.queued);
                    // The dead are settled once; who claims from now on lives.
                    all_dead = false;
                    run = image;
                }
                Outcome::Refused(Some(image)) => {
                    refused += 1;
                    run = image;
                }
                Outcome::Refused(None) => return Ok(None),
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }

    /// Leaves an item for each attempt that died without one, so that people see the try. Only once its cell has been settled: an item
    /// before that would settle it, and the attempt may yet thaw and put its own.
    async fn bury(&self, version: &Version, run: &RunDoc, settled: &[Expired]) {
        for Expired { cell, task, left } in settled {
            let (Cell::Running { try_number, lease }, None) = (cell, left) else { continue };
            let key = AttemptKey {
                incarnation: run.facts.incarnation.clone(),
                task: *task,
                map_index: None,
                try_number: *try_number,
                token: lease.token.clone(),
            };
            let attempt = Attempt {
                message: Some("its worker died, or did not renew its lease in time".to_owned()),
                ..Attempt::new(AttemptOutcome::Failed, lease.since, self.clock.now())
            };
            spans::attempt(version, run, &key, &attempt);
            if let Err(error) = self.store.put_attempt(&key, &attempt).await {
                tracing::warn!(%error, "an attempt that died is not recorded");
            }
        }
    }

    /// The cells whose leases are over, with what their attempts left.
    async fn expired(&self, run: &RunDoc, all: bool) -> Result<Vec<Expired>, Error> {
        let cells = step::expired(run, self.clock.now(), all);
        let key = |task: TaskIndex, cell: &Cell| match cell {
            Cell::Running { try_number, lease } => Some(AttemptKey {
                incarnation: run.facts.incarnation.clone(),
                task,
                map_index: None,
                try_number: *try_number,
                token: lease.token.clone(),
            }),
            _ => None,
        };
        let wanted: Vec<AttemptKey> = cells.iter().filter_map(|(t, c)| key(*t, c)).collect();
        let left = if wanted.is_empty() { Vec::new() } else { self.left_behind(&wanted).await? };
        let found = |task: TaskIndex, cell: &Cell| {
            let wanted = key(task, cell)?;
            let (_, attempt) = left.iter().find(|(k, _)| *k == wanted)?;
            Some(Ended::from(attempt))
        };
        Ok(cells.into_iter().map(|(task, cell)| Expired { left: found(task, &cell), cell, task }).collect())
    }

    /// What follows an accepted step: messages for what it queued, and a look at what waits when it is due.
    pub(crate) async fn after(&self, version: &Version, step: &Step, image: &RunDoc) {
        if step.change.epoch.is_some() {
            self.attended.tell(&image.facts.incarnation, Some(image));
        }
        let mut messages = Self::task_messages(&version.plan, image, step.tries_queued());
        let now = self.clock.now();
        for (_, cell) in &step.change.cells {
            if let Cell::Waiting { due, .. } = cell {
                let delay = std::time::Duration::try_from(due.duration_since(now)).unwrap_or_default();
                if delay <= updraft_task_queue::DELAY_MAX {
                    let message = Message::Run { incarnation: image.facts.incarnation.clone() };
                    messages.push(Outgoing { message, delay });
                }
            }
        }
        let ended: Vec<TaskIndex> =
            step.change.cells.iter().filter(|(_, cell)| cell.is_final()).map(|(task, _)| *task).collect();
        messages.extend(Self::page_messages(&version.plan, image, &ended));
        self.send(messages).await;
        self.bear_first(version, image, &step.expanded).await;
    }

    /// Makes what an intervention has left to be made, and ends a run whose time is over. None: the run is gone.
    pub(crate) async fn carry_on(&self, version: &Version, mut run: RunDoc) -> Result<Option<RunDoc>, Error> {
        // Only refusals count: each accepted write gets on, and there is an end.
        let mut refused = 0;
        while refused < ROUNDS_MAX {
            if run.intent.as_ref().is_some_and(|intent| intent.pages) {
                match Box::pin(self.close_pages(version, run)).await? {
                    Some(image) => run = image,
                    None => return Ok(None),
                }
                continue;
            }
            let now = self.clock.now();
            let version = self.current(version, &run).await?;
            let version = version.as_ref();
            let next = step::proceed(&version.plan, &run, now).or_else(|| step::time_out(&version.plan, &run, now));
            let Some(next) = next else { return Ok(Some(run)) };
            match self.store.update_run(&run.facts.incarnation, &next.change).await? {
                Outcome::Updated(image) => {
                    self.after(version, &next, &image).await;
                    match Box::pin(self.follow(version, Some(&run), image)).await? {
                        Some((after, _)) => run = after,
                        None => return Ok(None),
                    }
                }
                Outcome::Refused(Some(image)) => {
                    refused += 1;
                    run = image;
                }
                Outcome::Refused(None) => return Ok(None),
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }

    /// What follows beyond a run's own document: what the runs before let go, what limits beyond it give and get back, and a word to
    /// the runs after. `base` is the image before whatever was written. None: the run is gone.
    pub(crate) async fn follow(
        &self,
        version: &Version,
        base: Option<&RunDoc>,
        run: RunDoc,
    ) -> Result<Option<(RunDoc, Waits)>, Error> {
        let version = self.current(version, &run).await?;
        let version = version.as_ref();
        self.tell_runs_after(version, base, &run).await;
        let Some(met) = Box::pin(self.meet_past(version, run)).await? else { return Ok(None) };
        let Some(held) = Box::pin(self.hold(version, base, met.run)).await? else { return Ok(None) };
        let waits = if met.waits || held.asks_again { Waits::ForOthers } else { Waits::ForItself };
        Ok(Some((held.run, waits)))
    }

    /// Decides what the image that a step's write returned decides beyond that step, which was decided on `base`, and delivers what is owed.
    pub(crate) async fn settle(
        &self,
        version: &Version,
        base: &RunDoc,
        step: &Step,
        after: &RunDoc,
    ) -> Result<(), Error> {
        let first = base;
        if after.intent.is_some() {
            // A failure stops more than one write may change: the rest is made at once, rather than by the next look.
            let made = Box::pin(self.carry_on(version, after.clone())).await?;
            return match made {
                Some(run) if !run.outbox.is_empty() => self.deliver(run).await,
                _ => Ok(()),
            };
        }
        let (mut base, mut step, mut run) = (Cow::Borrowed(base), Cow::Borrowed(step), Cow::Borrowed(after));
        // Only refusals count, as in the sweep: a run of many tasks takes more writes than that.
        let mut refused = 0;
        while refused < ROUNDS_MAX {
            let version = self.current(version, &run).await?;
            let version = version.as_ref();
            let all_is_said = step.says_all(&run);
            let next = (!all_is_said).then(|| step::catch_up(&version.plan, &base, &step, &run, self.clock.now()));
            let Some(next) = next.filter(|next| !next.is_nothing()) else {
                if version.plan.has_past() || version.plan.has_holders() {
                    let followed = Box::pin(self.follow(version, Some(first), run.into_owned())).await?;
                    let Some((image, _)) = followed else { return Ok(()) };
                    run = Cow::Owned(image);
                }
                return if run.outbox.is_empty() { Ok(()) } else { self.deliver(run.into_owned()).await };
            };
            match self.store.update_run(&run.facts.incarnation, &next.change).await? {
                Outcome::Updated(image) => {
                    self.after(version, &next, &image).await;
                    base = std::mem::replace(&mut run, Cow::Owned(image));
                    step = Cow::Owned(next);
                }
                Outcome::Refused(Some(image)) => {
                    refused += 1;
                    run = Cow::Owned(image);
                }
                Outcome::Refused(None) => return Ok(()),
            }
        }
        Err(Error::Contention(run.facts.run_id.clone()))
    }

    /// Delivers a run's effects, idempotently, and strikes them out.
    pub(crate) async fn deliver(&self, mut run: RunDoc) -> Result<(), Error> {
        let incarnation = run.facts.incarnation.clone();
        // One that cannot be delivered keeps no other: it stays, and the next look tries again.
        let mut failed: BTreeMap<String, Error> = BTreeMap::new();
        for _ in 0..ROUNDS_MAX {
            let next = run.outbox.iter().find(|(id, _)| !failed.contains_key(*id));
            let Some((id, entry)) = next.map(|(id, entry)| (id.clone(), entry.clone())) else {
                return failed.into_values().next().map_or(Ok(()), Err);
            };
            if let Err(error) = self.deliver_one(&run, &entry).await {
                failed.insert(id, error);
                continue;
            }
            match self.store.update_run(&incarnation, &step::strike_out(&run, &id, self.clock.now())).await? {
                Outcome::Updated(image) | Outcome::Refused(Some(image)) => run = image,
                Outcome::Refused(None) => return Ok(()),
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }

    async fn deliver_one(&self, run: &RunDoc, entry: &OutboxEntry) -> Result<(), Error> {
        match entry {
            OutboxEntry::Leave { epoch } => {
                spans::run(run);
                self.pause_after_failures(run).await?;
                self.leave(run, *epoch).await
            }
            OutboxEntry::Try { task, try_number, token, end } => {
                self.deliver_try(run, *task, None, *try_number, token, *end).await
            }
            OutboxEntry::Ended { epoch, success, reason } => {
                let (epoch, success, reason) = (*epoch, *success, *reason);
                self.put_callbacks(run, &Occasion::Ended { epoch, success, reason }).await
            }
            OutboxEntry::Deadline { number } => self.put_callbacks(run, &Occasion::Deadline { number: *number }).await,
        }
    }

    /// Tells of a try's end: its asset events, and the callbacks of that end.
    pub(crate) async fn deliver_try(
        &self,
        run: &RunDoc,
        task: TaskIndex,
        map_index: Option<u32>,
        try_number: u32,
        token: &Token,
        end: TryEnd,
    ) -> Result<(), Error> {
        if end == TryEnd::Success {
            Box::pin(self.tell_outlets(run, task, map_index, try_number, token)).await?;
        }
        self.put_callbacks(run, &Occasion::Try { task, map_index, try_number, token: token.clone(), end }).await
    }

    /// Pauses a DAG whose last runs have all failed, where it says so (`max_consecutive_failed_dag_runs`). Before the end is struck out, so
    /// that a crash cannot forget it.
    async fn pause_after_failures(&self, run: &RunDoc) -> Result<(), Error> {
        if run.state != DagRunState::Failed {
            return Ok(());
        }
        let most = self.version(&run.facts.version).await?.plan.dag.max_consecutive_failed_dag_runs as usize;
        if most == 0 {
            return Ok(());
        }
        let dag_id = &run.facts.dag_id;
        let last = self.store.list_runs(dag_id, most, None).await?.items;
        if last.len() == most && last.iter().all(|run| run.state == DagRunState::Failed) {
            tracing::warn!(%dag_id, most, "the last runs have all failed: the DAG is paused");
            self.set_paused(dag_id, true).await?;
        }
        Ok(())
    }

    /// Gives back a run's place among its DAG's active runs. Refused means it does not hold it (any more).
    async fn leave(&self, run: &RunDoc, epoch: u32) -> Result<(), Error> {
        if let Some(id) = &run.facts.origin.backfill {
            // Its place is the backfill's, which finds it ended.
            self.send(vec![Outgoing::now(Message::Backfill { id: id.clone() })]).await;
            return Ok(());
        }
        let outcome = self.store.update_dag(&run.facts.dag_id, &places::leave(&run.facts.incarnation, epoch)).await?;
        if let Outcome::Updated(dag) = outcome {
            self.send(Self::room_messages(&dag, self.clock.now())).await;
            // What asset events ask for may have waited for this place. Not among the messages above, which a look at the DAG sends too:
            // where they do not yet ask for anything, it would send itself from look to look.
            if dag.queue.values().any(|queued| queued.is_waiting()) {
                self.send(vec![Outgoing::now(Message::Dag { dag_id: dag.dag_id })]).await;
            }
        }
        Ok(())
    }

    /// Who is to be looked at when a place has come free.
    pub(crate) fn room_messages(dag: &DagDoc, now: jiff::Timestamp) -> Vec<Outgoing> {
        if dag.paused || !dag.has_room() {
            return Vec::new();
        }
        let free = dag.max_active_runs as usize - dag.active.len();
        let mut held: Vec<_> = dag.held.iter().map(|(run, since)| (*since, run.clone())).collect();
        held.sort();
        let mut messages: Vec<Outgoing> =
            held.into_iter().take(free).map(|(_, incarnation)| Outgoing::now(Message::Run { incarnation })).collect();
        if dag.next_due.is_some_and(|due| due <= now) {
            messages.push(Outgoing::now(Message::Dag { dag_id: dag.dag_id.clone() }));
        }
        messages
    }

    /// Starts a queued run: its name, its place among the active runs, then the run itself. Each part is idempotent, so it may be
    /// taken up by anybody after a crash. A run whose DAG is paused, or has no place for another, stays queued.
    async fn start_run(&self, mut run: RunDoc) -> Result<(), Error> {
        let incarnation = run.facts.incarnation.clone();
        let dag_id = run.facts.dag_id.clone();
        let name = RunName {
            run_id: run.facts.run_id.clone(),
            incarnation: incarnation.clone(),
            run_after: run.facts.run_after,
        };
        match self.store.put_run_name(&dag_id, &name).await? {
            Outcome::Refused(Some(taken)) if taken.incarnation != incarnation => {
                tracing::warn!(%dag_id, run_id = name.run_id, "a run of this name exists; the later one is discarded");
                self.store.discard_run(&run).await?;
                return Ok(());
            }
            Outcome::Updated(_) | Outcome::Refused(_) => {}
        }
        self.store.put_run_order(&dag_id, &name).await?;
        for _ in 0..ROUNDS_MAX {
            if run.state != DagRunState::Queued {
                return Ok(());
            }
            if !self.take_place(&run).await? {
                return Ok(());
            }
            let version = self.version(&run.facts.version).await?;
            self.date_run(&version, &run.facts).await?;
            let step = step::start(&version.plan, &run, self.clock.now());
            match self.store.update_run(&incarnation, &step.change).await? {
                Outcome::Updated(image) => {
                    figures::started(&image, self.clock.now());
                    self.after(&version, &step, &image).await;
                    self.send(Self::open_page_messages(&version.plan, &image)).await;
                    return self.settle(&version, &run, &step, &image).await;
                }
                Outcome::Refused(Some(image)) => {
                    let ours = image.state == DagRunState::Running && image.active_epoch == run.epoch;
                    if ours {
                        return Ok(());
                    }
                    if image.state.is_finished() {
                        self.leave(&run, run.epoch).await?;
                        return Ok(());
                    }
                    run = image;
                }
                Outcome::Refused(None) => {
                    self.leave(&run, run.epoch).await?;
                    return Ok(());
                }
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }

    /// Takes a place among the active runs for the run's epoch; where there is none, notes that the run waits. True: it has one.
    async fn take_place(&self, run: &RunDoc) -> Result<bool, Error> {
        if let Some(backfill) = &run.facts.origin.backfill {
            return self.may_start(run, backfill).await;
        }
        let dag_id = &run.facts.dag_id;
        let Some(mut dag) = self.store.dag(dag_id).await? else {
            return Err(self.no_such_dag(dag_id).await);
        };
        for _ in 0..ROUNDS_MAX {
            let (change, waits) = match places::take(&dag, run, self.clock.now()) {
                places::Take::Has => return Ok(true),
                places::Take::Waits => return Ok(false),
                places::Take::Write(change) => (change, false),
                places::Take::Wait(change) => (change, true),
            };
            match self.store.update_dag(dag_id, &change).await? {
                // Looked at once more: a place may have come free between the look and the note.
                Outcome::Updated(image) if waits && !image.paused && image.has_room() => dag = image,
                Outcome::Updated(_) => return Ok(!waits),
                Outcome::Refused(Some(image)) => dag = image,
                Outcome::Refused(None) => return Err(self.no_such_dag(dag_id).await),
            }
        }
        Err(Error::Contention(dag_id.to_string()))
    }
}
