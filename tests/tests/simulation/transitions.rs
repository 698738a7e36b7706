//! Which cell may become which (the table of `updraft_model::cell`), held against what was stored and what ran.

use crate::model::{Shape, Stand};
use crate::monitor::Monitor;
use crate::world::{MINUTE, Micros, World, instant, micros};
use jiff::Timestamp;
use updraft_metastore::{codec, keys};
use updraft_model::cell::{End, Wait};
use updraft_model::{Attempt, AttemptKey, AttemptOutcome, Cell, Lease, Plan, RunDoc, TaskIndex};

/// A change of a cell, with everything it is judged by.
pub(crate) struct Seen<'a> {
    pub(crate) world: &'a World,
    /// Who wrote.
    pub(crate) process: usize,
    pub(crate) before: &'a RunDoc,
    pub(crate) after: &'a RunDoc,
    pub(crate) plan: &'a Plan,
    pub(crate) task: TaskIndex,
    /// Whether the write was an intervention.
    pub(crate) bumped: bool,
}

/// What a change was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Other,
    Renewed,
    SettledByItem,
    PutOff,
    /// This try's attempt died and left nothing.
    Died(u32),
}

/// Judges a change.
pub(crate) fn check(seen: &Seen<'_>) -> Result<Kind, String> {
    let (from, to) = (seen.before.cell(seen.task), seen.after.cell(seen.task));
    if to.try_number() < from.try_number() {
        return Err("tries were taken back".to_owned());
    }
    if seen.bumped && seen.is_intervention(from, to) {
        return Ok(Kind::Other);
    }
    if seen.plan.unit_of(seen.task).is_some() {
        return seen
            .world
            .check_mapped((seen.before, seen.after), seen.plan, seen.task, from, to)
            .map(|()| Kind::Other);
    }
    match from {
        Cell::None | Cell::Cleared { .. } => seen.decided(from.try_number(), None, to),
        // The same try goes on: as a decision sees it, it has not been used yet.
        Cell::Waiting { wait: Wait::Reschedule, due, try_number } => seen.resumed(*try_number, *due, to),
        Cell::Waiting { wait: Wait::Input, due, try_number } => seen.answered(*try_number, *due, to),
        Cell::Waiting { due, .. } => seen.decided(from.try_number(), Some(*due), to),
        Cell::Queued { try_number } => match to {
            Cell::Running { try_number: n, lease } if n == try_number => seen.claimed(*n, lease),
            // An instance above was given another end by hand, of which the run is told by a write of its own.
            Cell::Final { end: End::Skipped | End::UpstreamFailed, winner: None, .. }
                if seen.after.epoch > 0 && !seen.plan.units().is_empty() =>
            {
                Ok(Kind::Other)
            }
            // What was above it when it was queued has been cleared, and ended otherwise: the look for a stuck run asks every rule again.
            Cell::Final { end: End::Skipped | End::UpstreamFailed, winner: None, leaving: None, .. }
                if seen.after.epoch > 0 =>
            {
                seen.decided(*try_number, None, to)
            }
            _ => Err("a queued try is claimed, and nothing else".to_owned()),
        },
        Cell::Scheduled { try_number, resume, turn } => match to {
            // Put off, since it held slots that it had no place to use (rule B7), or that its DAG's being paused keeps it from using (P1).
            Cell::Scheduled { try_number: n, resume: r, turn: later }
                if (n, r, *later) == (try_number, resume, turn + 1)
                    && (seen.plan.max_active_tasks().is_some() || seen.after.paused) =>
            {
                Ok(Kind::PutOff)
            }
            Cell::Queued { try_number: n } if n == try_number => Ok(Kind::Other),
            Cell::Running { try_number: n, lease } if n == try_number => seen.fresh(lease),
            Cell::Final { end: End::Skipped | End::UpstreamFailed, winner: None, .. } if seen.after.epoch > 0 => {
                Ok(Kind::Other)
            }
            _ => Err("a scheduled try is queued, and nothing else".to_owned()),
        },
        Cell::Running { try_number, lease } => seen.settled(*try_number, lease, to),
        // By rule, since an upstream that was cleared too ended otherwise: it still has to let go.
        Cell::Restarting { try_number, lease } if to.holder() == Some(lease) => match to {
            Cell::Final { end: End::Skipped | End::UpstreamFailed, try_number: n, winner: None, .. }
                if n == try_number =>
            {
                Ok(Kind::Other)
            }
            _ => Err("a restarting attempt was kept otherwise".to_owned()),
        },
        Cell::Restarting { try_number, lease } => {
            seen.has_left(lease)?;
            seen.decided_or_cleared(*try_number, to)
        }
        Cell::Final { end, try_number, winner, leaving: Some(lease) } => {
            seen.has_left(lease)?;
            let left = Cell::Final { end: *end, try_number: *try_number, winner: winner.clone(), leaving: None };
            if *to == left { Ok(Kind::Other) } else { Err("what has ended may only let go".to_owned()) }
        }
        Cell::Final { .. } => Err("what has ended stays".to_owned()),
    }
}

impl Seen<'_> {
    fn now(&self) -> Timestamp {
        instant(self.world.latest())
    }

    /// Cleared or marked, with the attempt that held it kept in mind.
    fn is_intervention(&self, from: &Cell, to: &Cell) -> bool {
        match (from.holder(), to) {
            (Some(held), Cell::Restarting { try_number, lease }) => held == lease && *try_number == from.try_number(),
            // Ended by hand, by the rule over what was ended by hand, or gone from the DAG. What had ended keeps what it left behind.
            (held, Cell::Final { end: _, try_number, winner, leaving })
                if leaving.as_ref() == held
                    && *try_number == from.try_number()
                    && winner.as_ref()
                        == if let Cell::Final { winner, .. } = from { winner.as_ref() } else { None } =>
            {
                true
            }
            // Cleared, and what follows from that in the same write.
            (None, _) => self.decided_or_cleared(from.try_number(), to).is_ok(),
            (Some(_), _) => false,
        }
    }

    fn decided_or_cleared(&self, tries: u32, to: &Cell) -> Result<Kind, String> {
        match to {
            Cell::None if tries == 0 => Ok(Kind::Other),
            Cell::Cleared { try_number } if *try_number == tries => Ok(Kind::Other),
            _ => self.decided(tries, None, to),
        }
    }

    /// What may become of a task instance nobody holds.
    fn decided(&self, tries: u32, due: Option<Timestamp>, to: &Cell) -> Result<Kind, String> {
        let stands = Monitor::stands(self.after, self.plan);
        let upstream: Vec<Stand> = self.plan.upstream(self.task).iter().map(|u| stands[u.at()]).collect();
        let says = Shape::new(self.plan).says(self.task.at(), &stands);
        // Of instances a run knows what it has been told: whether it decided rightly is seen when it has ended.
        let has_maps = !self.plan.units().is_empty();
        let ready = (says == Some(Stand::Active) || has_maps) && due.is_none_or(|due| due <= self.now());
        let empty = self.plan.task(self.task).operator.ends_with("EmptyOperator");
        match to {
            Cell::Scheduled { .. } if !self.plan.is_limited(self.task) => Err("no limit holds it".to_owned()),
            Cell::Queued { .. } | Cell::Running { .. } if self.plan.is_held_elsewhere(self.task) => {
                Err("queued without having been scheduled".to_owned())
            }
            Cell::Scheduled { try_number, .. } | Cell::Queued { try_number } | Cell::Running { try_number, .. }
                if *try_number == tries + 1 =>
            {
                if !ready || empty {
                    return Err(format!("the rule says {says:?} of {upstream:?}; due {due:?}; empty {empty}"));
                }
                if let Cell::Running { lease, .. } = to { self.fresh(lease) } else { Ok(Kind::Other) }
            }
            Cell::Final { end, try_number, winner: None, leaving: None } => match end {
                End::Success if empty && ready && *try_number == tries + 1 => Ok(Kind::Other),
                End::Skipped | End::UpstreamFailed if has_maps && *try_number == tries => Ok(Kind::Other),
                End::Skipped if says == Some(Stand::Skipped) && *try_number == tries => Ok(Kind::Other),
                // Two upstreams settled so close that either may have been seen first.
                End::Skipped if *try_number == tries && upstream.contains(&Stand::Skipped) => Ok(Kind::Other),
                // The same of a setup further up that is skipped by the very write in which an upstream fails.
                End::UpstreamFailed
                    if *try_number == tries
                        && !self.plan.indirect_setups(self.task).is_empty()
                        && upstream.iter().any(|s| matches!(s, Stand::Failed | Stand::UpstreamFailed)) =>
                {
                    Ok(Kind::Other)
                }
                End::UpstreamFailed if says == Some(Stand::UpstreamFailed) && *try_number == tries => Ok(Kind::Other),
                // A setup further up that settles in the very write in which an upstream does: the rule alone may have spoken first.
                End::Skipped
                    if *try_number == tries && self.says_before_its_setups(&stands) == Some(Stand::Skipped) =>
                {
                    Ok(Kind::Other)
                }
                _ => Err(format!("the rule says {says:?} of {upstream:?}")),
            },
            _ => Err("nobody held it".to_owned()),
        }
    }

    /// What the rule says while the setups further up stand as they did before this write.
    fn says_before_its_setups(&self, stands: &[Stand]) -> Option<Stand> {
        let before = Monitor::stands(self.before, self.plan);
        let mut mixed = stands.to_vec();
        for setup in self.plan.indirect_setups(self.task) {
            mixed[setup.at()] = before[setup.at()];
        }
        Shape::new(self.plan).says(self.task.at(), &mixed)
    }

    /// What may become of a sensor that waits: the same try goes on, or a rule ends it.
    fn resumed(&self, try_number: u32, due: Timestamp, to: &Cell) -> Result<Kind, String> {
        match to {
            Cell::Scheduled { .. } | Cell::Queued { .. } | Cell::Running { .. } => {
                self.decided(try_number.saturating_sub(1), Some(due), to)
            }
            to => self.decided(try_number, Some(due), to),
        }
    }

    /// What may become of a try that has asked people: the end that its answer's item says, put by whoever writes it.
    fn answered(&self, try_number: u32, due: Timestamp, to: &Cell) -> Result<Kind, String> {
        let Cell::Final { winner: Some(token), .. } = to else {
            // A rejected try is tried again; nothing in the cell says by which answer.
            return self.retried(try_number, due.min(self.before.facts.queued_at), to).map(|()| Kind::Other);
        };
        let lease = Lease { token: token.clone(), until: due, since: due };
        self.fresh(&lease)?;
        let (item, _) = self.item(try_number, &lease).ok_or("ended by an answer that nobody has put")?;
        let response = item.hitl.as_ref().and_then(|detail| detail.response.as_ref()).ok_or("an answer without one")?;
        if response.responded_by_user.is_none() && due > self.now() {
            return Err("timed out before its time".to_owned());
        }
        self.settled_as(try_number, &lease, item.outcome, item.end_date, to).map(|()| Kind::Other)
    }

    /// A claim holds with a token that this process drew and never used.
    fn fresh(&self, lease: &Lease) -> Result<Kind, String> {
        let monitor = &self.world.monitor;
        if monitor.drawer(&lease.token) != Some(self.process) || monitor.started.contains_key(&lease.token) {
            return Err("the token of a claim is not fresh".to_owned());
        }
        Ok(Kind::Other)
    }

    /// A claim of what is queued; or one that was carried twice, the second time when its attempt had given its worker back and the try was
    /// queued again. Nobody runs that one: when its lease is over its item settles it, as it did before (rule A6).
    fn claimed(&self, try_number: u32, lease: &Lease) -> Result<Kind, String> {
        let has_given_back = self.item(try_number, lease).is_some_and(|(item, _)| item.outcome.goes_on());
        let is_own = self.world.monitor.drawer(&lease.token) == Some(self.process);
        if is_own && has_given_back && !self.world.monitor.lives(&lease.token) {
            return Ok(Kind::Other);
        }
        self.fresh(lease)
    }

    /// An attempt that no longer holds is known to be gone, or its lease is over.
    fn has_left(&self, lease: &Lease) -> Result<(), String> {
        let may_live = self.world.monitor.lives(&lease.token) && lease.until >= instant(self.world.clock());
        if may_live { Err("the attempt that has to let go still lives".to_owned()) } else { Ok(()) }
    }

    /// An attempt's item, and when it was written.
    fn item(&self, try_number: u32, lease: &Lease) -> Option<(Attempt, Micros)> {
        let key = keys::attempt(&AttemptKey {
            incarnation: self.after.facts.incarnation.clone(),
            task: self.task,
            map_index: None,
            try_number,
            token: lease.token.clone(),
        });
        let item = self.world.ground.memory.lock().get(&key).cloned()?;
        Some((codec::from_json_item(&item).expect("an attempt's item"), self.world.monitor.item_written(&key)?))
    }

    /// What may become of a running attempt without an intervention.
    fn settled(&self, try_number: u32, lease: &Lease, to: &Cell) -> Result<Kind, String> {
        match to {
            Cell::Running { try_number: n, lease: renewed } if *n == try_number && renewed.token == lease.token => {
                return if renewed.since == lease.since { Ok(Kind::Renewed) } else { Err("a new start".to_owned()) };
            }
            // By rule, after an upstream was cleared and ended otherwise.
            Cell::Final { end: End::Skipped | End::UpstreamFailed, winner: None, leaving: Some(held), .. } => {
                let legal = held == lease && self.after.epoch > 0;
                return if legal { Ok(Kind::Other) } else { Err("an end by rule over a running attempt".to_owned()) };
            }
            _ => {}
        }
        let is_own = self.world.monitor.drawer(&lease.token) == Some(self.process);
        let is_over = lease.until < self.now();
        if !is_own && !is_over {
            return Err("settled by another while its lease lasts".to_owned());
        }
        // A sweep that found no item may be overtaken by it: then the attempt counts as dead although it came to an end, as a zombie
        // does in Airflow. Only a write on its way can be overtaken, so the item must be young.
        let item = self.item(try_number, lease);
        let overtaken = !is_own
            && self.world.now - item.as_ref().map_or(self.world.now, |(_, at)| *at) < 6 * MINUTE
            && self.settled_as(try_number, lease, AttemptOutcome::Failed, lease.until, to).is_ok();
        let item = item.map(|(item, _)| item);
        let fits = |item: &Attempt| self.settled_as(try_number, lease, item.outcome, item.end_date, to).is_ok();
        let (outcome, end_date, kind) = match item.filter(|item| fits(item) || !overtaken) {
            Some(item) if is_own => (item.outcome, item.end_date, Kind::Other),
            Some(item) => (item.outcome, item.end_date, Kind::SettledByItem),
            None if is_over => {
                self.died_of_something(lease)?;
                (AttemptOutcome::Failed, lease.until, Kind::Died(try_number))
            }
            None => return Err("settled without an item while its lease lasts".to_owned()),
        };
        self.settled_as(try_number, lease, outcome, end_date, to).map(|()| kind)
    }

    /// Whether an attempt that ended like this may leave its cell like that.
    fn settled_as(
        &self,
        try_number: u32,
        lease: &Lease,
        outcome: AttemptOutcome,
        end_date: Timestamp,
        to: &Cell,
    ) -> Result<(), String> {
        let task = self.plan.task(self.task);
        let tries_most = self.before.max_tries.get(&self.task).copied().unwrap_or(task.retries);
        // What would go on is skipped by the very write in which another task fails under `fail_fast`.
        let stopped = Cell::Final { end: End::Skipped, try_number, winner: None, leaving: None };
        let is_stopped = self.bumped && self.plan.dag.fail_fast && *to == stopped;
        let wanted = match outcome {
            AttemptOutcome::Success => End::Success,
            AttemptOutcome::Skipped => End::Skipped,
            AttemptOutcome::Failed if is_stopped && try_number <= tries_most => return Ok(()),
            outcome if is_stopped && outcome.goes_on() => return Ok(()),
            AttemptOutcome::Failed if try_number <= tries_most => {
                return self.retried(try_number, end_date, to);
            }
            AttemptOutcome::Failed | AttemptOutcome::FailedForGood => End::Failed,
            AttemptOutcome::Rescheduled { until } => {
                let resumed = self.after.resumes.get(&self.task);
                if resumed.is_none_or(|r| r.try_number != try_number || r.last != lease.token) {
                    return Err("the attempt before is not remembered".to_owned());
                }
                return match to {
                    Cell::Waiting { wait: Wait::Reschedule, try_number: n, due }
                        if *n == try_number && *due >= until =>
                    {
                        Ok(())
                    }
                    to => self.resumed(try_number, until, to).map(|_| ()),
                };
            }
            AttemptOutcome::AwaitingInput { until } => {
                let resumed = self.after.resumes.get(&self.task);
                if resumed.is_none_or(|r| r.try_number != try_number || r.last != lease.token) {
                    return Err("the question is not remembered".to_owned());
                }
                return match to {
                    Cell::Waiting { wait: Wait::Input, try_number: n, due } if *n == try_number && *due >= until => {
                        Ok(())
                    }
                    _ => Err("asks people, and does not wait for them".to_owned()),
                };
            }
            AttemptOutcome::Deferred { .. } => return Err("no task of a scenario is deferred".to_owned()),
        };
        let winner = Some(lease.token.clone());
        if *to == (Cell::Final { end: wanted, try_number, winner, leaving: None }) {
            Ok(())
        } else {
            Err(format!("the attempt ended in {outcome:?}"))
        }
    }

    fn retried(&self, try_number: u32, end_date: Timestamp, to: &Cell) -> Result<(), String> {
        let earliest = end_date + self.plan.task(self.task).retry_delay;
        match to {
            Cell::Waiting { wait: Wait::Retry, try_number: n, due } if *n == try_number => {
                if *due + self.world.grace() >= earliest { Ok(()) } else { Err(format!("due before {earliest}")) }
            }
            to => self.decided(try_number, Some(earliest), to).map(|_| ()),
        }
    }

    /// A dead attempt has a cause: its process died, paused or had an error since the claim. Without faults nothing dies.
    fn died_of_something(&self, lease: &Lease) -> Result<(), String> {
        let process = self.world.monitor.drawer(&lease.token).ok_or("nobody drew its token")?;
        let since = micros(lease.since);
        if self.world.processes[process].disturbed.iter().any(|at| *at >= since) {
            Ok(())
        } else {
            Err("taken for dead although nothing happened to its process".to_owned())
        }
    }
}
