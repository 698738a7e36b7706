//! When all is quiet: did everything end, and as a plain sequential scheduler could have ended it?

use crate::maps;
use crate::model::{Reference, Stand, TASKS_MAX};
use crate::monitor::Monitor;
use crate::scenario;
use crate::world::{Event, World, instant};
use std::collections::BTreeSet;
use updraft_model::run_id::{self, Ending};
use updraft_model::{Cell, DagRunState, DagRunType, Plan, RunDoc, TaskIndex};
use updraft_scheduling::step::FAIL_FAST;

impl World {
    /// What is still going on, if anything.
    pub(crate) fn restless(&self) -> Option<String> {
        let open = self.monitor.runs.values().find(|r| !r.state.is_finished() || r.wake_at.is_some());
        if let Some(run) = open {
            return Some(format!(
                "run {} is {} and wants attention: {:?}",
                run.facts.incarnation, run.state, run.cells
            ));
        }
        if let Some(operation) = self.monitor.interventions.first() {
            return Some(format!("the intervention {operation} is not made"));
        }
        let is_open = |b: &&updraft_model::Backfill| b.completed_at.is_none() || !b.active.is_empty();
        if let Some(backfill) = self.monitor.backfills.values().find(is_open) {
            return Some(format!("a backfill goes on: {backfill:?}"));
        }
        let dag = self.monitor.dags.values().find(|d| {
            d.paused
                || d.backfill
                    .as_ref()
                    .is_some_and(|id| self.monitor.backfills.get(id).is_some_and(|b| b.completed_at.is_none()))
                || !d.active.is_empty()
                || !d.held.is_empty()
                || d.next_due.is_some()
                || d.wake_at.is_some()
        });
        if let Some(dag) = dag {
            return Some(format!("{} still wants attention: {dag:?}", dag.dag_id));
        }
        if let Some(holder) = self.monitor.holders.values().find(|h| !h.waiters.is_empty() || h.wake_at.is_some()) {
            return Some(format!("{} still wants attention: {holder:?}", holder.id));
        }
        if let Some(page) = self.monitor.pages.values().find(|page| page.wake_at.is_some()) {
            return Some(format!("a page still wants attention: {page:?}"));
        }
        if let Some(topic) = self.restless_topic() {
            return Some(topic);
        }
        if !self.lanes.is_empty() {
            return Some("messages are on their way".to_owned());
        }
        let lands = self.events.values().any(|e| matches!(e, Event::Land(op) if self.ops.contains_key(op)));
        lands.then(|| "writes are on their way".to_owned())
    }

    /// Judges how everything ended.
    pub(crate) fn judge(&mut self) {
        let runs: Vec<RunDoc> = self.monitor.runs.values().cloned().collect();
        for run in &runs {
            let plan = self.monitor.plans[&run.facts.version].clone();
            self.stats.runs += 1;
            self.stats.cells += run.cells.len() as u64;
            self.stats.runs_succeeded += u64::from(run.state == DagRunState::Success);
            self.stats.runs_failed += u64::from(run.state == DagRunState::Failed);
            if !run.outbox.is_empty() || run.end_date.is_none() {
                self.violate(format!("6: run {} ended without what belongs to an end", run.facts.incarnation));
            }
            self.stats.runs_of_backfills += u64::from(run.facts.origin.backfill.is_some());
            let by_hand = self.monitor.by_hand.contains(&run.facts.incarnation);
            // What the engine itself intervenes by has one meaning; what people do may come at any time.
            let by_people = run.operations.iter().any(|id| !id.as_str().starts_with(FAIL_FAST));
            self.stats.runs_stopped += u64::from(run.epoch > 0 && !by_people);
            if let Err(why) = self.pages_are_still(run) {
                self.violate(format!("E: run {} of {}: {why}", run.facts.incarnation, run.facts.dag_id));
            }
            if let Err(why) = if by_people { Self::is_whole(run, &plan, by_hand) } else { self.compare(run, &plan) } {
                self.violate(format!("4: run {} of {}: {why}", run.facts.incarnation, run.facts.dag_id));
            }
        }
        if let Err(why) = self.timetables_were_kept(&runs).and_then(|()| self.events_made_their_runs(&runs)) {
            self.violate(why);
        }
    }

    /// A run in which nobody intervened: one of the ends that the reference finds.
    fn compare(&mut self, run: &RunDoc, plan: &Plan) -> Result<(), String> {
        let id = &run.facts.incarnation;
        let died = &self.monitor.died;
        let end = |t: TaskIndex, index: Option<u32>| {
            let died = |try_number| died.contains(&((id.clone(), t, index), try_number));
            scenario::end(self.seed, id, (t, index), plan.task(t).retries, died)
        };
        let parts = maps::parts(self.seed, run, plan, |t| end(t, None));
        let ends: Vec<(Stand, u32)> = parts
            .iter()
            .map(|part| if part.is_empty { (Stand::Skipped, 0) } else { end(part.task, part.map_index) })
            .collect();
        let stands: Vec<Stand> = ends.iter().map(|(stand, _)| *stand).collect();
        let possible = Reference::new(plan, &parts, &stands).ends();
        let cells: Vec<Cell> = parts.iter().map(|part| self.cell_of_part(run, part)).collect();
        let mut tasks = [Stand::Nothing; TASKS_MAX];
        for (task, cell) in cells.iter().enumerate() {
            tasks[task] = Monitor::stand(cell);
        }
        self.stats.runs_with_maps += u64::from(parts.iter().any(|part| part.map_index.is_some()));
        let failed = run.state == DagRunState::Failed;
        self.stats.runs_compared += 1;
        self.stats.ends_possible += possible.len() as u64;
        self.stats.runs_with_setups += u64::from(plan.dag.tasks.iter().any(|task| task.is_setup));
        self.stats.runs_deadlocked += u64::from(tasks[..parts.len()].contains(&Stand::Nothing));
        if !possible.contains(&(tasks, failed)) {
            return Err(format!("ended {} as {tasks:?}; possible is only {possible:?}", run.state));
        }
        // What ran took exactly the tries it had to.
        for ((part, cell), (_, tries)) in parts.iter().zip(&cells).zip(&ends) {
            let task = part.task;
            let ran = matches!(cell, updraft_model::Cell::Final { winner: Some(_), .. });
            self.stats.tries_retried += u64::from(ran) * u64::from(tries.saturating_sub(1));
            if ran && cell.try_number() != *tries {
                return Err(format!("task {task} took {} tries, not {tries}", cell.try_number()));
            }
        }
        Ok(())
    }

    /// A run in which somebody intervened: whole, and its state what its leaves say, unless it was failed by hand or is stuck.
    fn is_whole(run: &RunDoc, plan: &Plan, by_hand: bool) -> Result<(), String> {
        let stands = Monitor::stands(run, plan);
        if stands.contains(&Stand::Active) {
            return Err(format!("ended with tasks under way: {stands:?}"));
        }
        let bad = plan.leaves().iter().any(|t| !matches!(stands[t.at()], Stand::Success | Stand::Skipped));
        if run.state == DagRunState::Success && bad && !by_hand {
            Err(format!("succeeded as {stands:?}"))
        } else {
            Ok(())
        }
    }

    /// With catchup every minute has its run; without it none has two.
    fn timetables_were_kept(&self, runs: &[RunDoc]) -> Result<(), String> {
        for dag in self.monitor.dags.values() {
            let of_dag = || runs.iter().filter(|r| r.facts.dag_id == dag.dag_id);
            let names: BTreeSet<&str> = of_dag().map(|r| r.facts.run_id.as_str()).collect();
            if names.len() != of_dag().count() {
                return Err(format!("two runs of {} have one name", dag.dag_id));
            }
            let mut dates: Vec<_> = of_dag().filter_map(|r| r.facts.logical_date).collect();
            let all = dates.len();
            dates.sort();
            dates.dedup();
            if dates.len() != all {
                return Err(format!("two runs of {} have one logical date", dag.dag_id));
            }
            let Some(version) = &dag.version else { continue };
            let definition = &self.monitor.plans[version].dag;
            if !definition.catchup {
                continue;
            }
            let (mut last, mut missing) = (None, Vec::new());
            let restriction = definition.time_restriction();
            while let Ok(Some(next)) =
                definition.timetable.next_dagrun_info(last.as_ref(), &restriction, instant(self.latest()))
            {
                let name = run_id::generate(DagRunType::Scheduled, next.run_after, Ending::None);
                let has_run = next.logical_date.is_some_and(|date| dates.binary_search(&date).is_ok());
                if !has_run && !names.contains(name.as_str()) {
                    missing.push(name);
                }
                last = next.data_interval;
            }
            if !missing.is_empty() {
                return Err(format!("runs of {} were left out: {missing:?}", dag.dag_id));
            }
        }
        Ok(())
    }
}
