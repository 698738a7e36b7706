//! Attempts as they are imagined: they take their time, and end as the seed says.

use crate::guess::Guesses;
use crate::world::{Draw, Shared};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use updraft_clock::Clock;
use updraft_model::attempt::RETURN_VALUE;
use updraft_model::{AttemptOutcome, Choice, ValueRef};
use updraft_operators::Runner as Kind;
use updraft_service::{Finished, Runner, Work};

/// How many instances are made of what a task returned.
const MAP_LENGTH: u32 = 3;

/// What came of the tries of one task.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) tries: u64,
    pub(crate) failures: u64,
    pub(crate) seconds: f64,
}

/// What the attempts told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// By DAG and task.
    pub(crate) tasks: BTreeMap<(String, String), Tally>,
    /// How many run now, and how many did at most.
    running: u64,
    pub(crate) running_most: u64,
}

#[derive(Debug)]
pub(crate) struct Imagined {
    pub(crate) world: Shared,
    pub(crate) seed: u64,
    pub(crate) guesses: Guesses,
    pub(crate) told: Arc<Mutex<Told>>,
}

impl Imagined {
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the attempt goes: its length, and its end.
    fn fate(&self, work: &Work) -> (Duration, Finished) {
        let (dag_id, task) = (work.dag_id().as_str(), work.definition());
        let task_id = task.task_id.as_str();
        let index = work.key().map_index.map(|index| index.to_string()).unwrap_or_default();
        let numbers = [u64::from(work.try_number), work.resumed().map_or(0, |resumed| resumed.count.into())];
        let mut draw = Draw::of(self.seed, &[dag_id, &work.run.facts.run_id, task_id, &index], &numbers);
        let length = self.guesses.duration(dag_id, task_id, &mut draw);
        let fails = self.guesses.fails(dag_id, task_id, &mut draw);
        let limit = task.execution_timeout.and_then(|timeout| Duration::try_from(timeout).ok());
        if let Some(limit) = limit.filter(|limit| length > *limit) {
            let message = format!("it takes {} s, and may take {} s", length.as_secs_f64(), limit.as_secs_f64());
            return (limit, Finished { message: Some(message), ..Finished::new(AttemptOutcome::Failed) });
        }
        if fails {
            let message = Some("drawn to fail".to_owned());
            return (length, Finished { message, ..Finished::new(AttemptOutcome::Failed) });
        }
        let mut finished = Finished { choice: Self::choice(work, &mut draw), ..Finished::new(AttemptOutcome::Success) };
        if work.version.plan.is_mapped_over(work.task) {
            finished.xcoms.insert(RETURN_VALUE.to_owned(), ValueRef::Inline(MAP_LENGTH.into()));
            finished.map_length = Some(MAP_LENGTH);
        }
        (length, finished)
    }

    /// What a branch follows: one of its ways, drawn. Short circuits go on.
    fn choice(work: &Work, draw: &mut Draw) -> Option<Choice> {
        let operator = updraft_operators::find(&work.definition().operator)?;
        let branches = matches!(
            operator.runner,
            Kind::BranchPython | Kind::BranchPythonEnvironment | Kind::BranchDayOfWeek | Kind::BranchDateTime
        );
        if !branches {
            return None;
        }
        let dag = &work.version.plan.dag;
        let ways =
            dag.tasks.iter().filter(|task| task.upstream.contains(&work.task)).map(|task| task.task_id.to_string());
        let ways: Vec<String> = ways.collect();
        let followed = if ways.is_empty() { ways } else { vec![ways[draw.below(ways.len())].clone()] };
        Some(Choice::Branch { followed })
    }
}

impl Runner for Imagined {
    async fn run<S: Future<Output = String> + Send>(&self, work: &Work, stop: S) -> Option<Finished> {
        let (length, finished) = self.fate(work);
        {
            let mut told = self.told();
            told.running += 1;
            told.running_most = told.running_most.max(told.running);
        }
        let ended = tokio::select! {
            biased;
            _ = stop => None,
            () = self.world.sleep(length) => Some(finished),
        };
        let mut told = self.told();
        told.running -= 1;
        let name = (work.dag_id().to_string(), work.definition().task_id.to_string());
        let tally = told.tasks.entry(name).or_default();
        tally.tries += 1;
        tally.seconds += length.as_secs_f64();
        tally.failures += u64::from(ended.as_ref().is_some_and(|ended| ended.outcome == AttemptOutcome::Failed));
        ended
    }
}
