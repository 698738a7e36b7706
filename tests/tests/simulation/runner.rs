//! Attempts as the simulation runs them: they take their time, heed a stop, and are counted.

use crate::maps;
use crate::scenario;
use crate::world::{MILLI, SECOND, Shared};
use std::future::Future;
use updraft_model::AttemptOutcome;
use updraft_service::{Finished, Runner, Work};

/// Runs attempts in one process.
#[derive(Debug, Clone)]
pub(crate) struct SimRunner {
    pub(crate) world: Shared,
    pub(crate) process: usize,
}

impl Runner for SimRunner {
    async fn run<S: Future<Output = String> + Send>(&self, work: &Work, stop: S) -> Option<Finished> {
        let (run, token) = (work.run.facts.incarnation.clone(), work.lease.token.clone());
        let (who, plan) = ((work.task, work.map_index()), &work.version.plan);
        let (length, to_kill, seed) = {
            let mut world = self.world.lock();
            world.attempt_starts(self.process, work);
            let to_kill = world.rng.range(MILLI, 8 * SECOND);
            let length = scenario::duration(world.seed, &run, who, work.try_number);
            world.trouble_during(self.process, length);
            (length, to_kill, world.seed)
        };
        tokio::select! {
            biased;
            why = stop => {
                // Killing takes a while, and only then is the attempt gone.
                self.world.sleep(to_kill).await;
                let mut world = self.world.lock();
                world.say(self.process, &format!("stopped {token}: {why}"));
                world.stats.attempts_stopped += 1;
                world.monitor.attempt_is_over(&token);
                return Some(Finished { is_killed: true, ..Finished::new(AttemptOutcome::Failed) });
            }
            () = self.world.sleep(length) => {}
        }
        let mut world = self.world.lock();
        let resume = work.resumed().map_or(0, |resumed| resumed.count);
        // Instances of mapped tasks ask nobody, and what others are expanded over is no answer.
        let may_ask = who.1.is_none() && !plan.is_mapped_over(work.task);
        let question = scenario::question(seed, &run, who, work.try_number, world.clock()).filter(|_| may_ask);
        let outcome = scenario::attempt(seed, &run, who, work.try_number, resume, world.clock());
        world.say(self.process, &format!("ran {token}: {outcome:?}"));
        world.monitor.attempt_is_over(&token);
        if let (false, Some((detail, until))) = (outcome.goes_on(), question) {
            world.say(self.process, &format!("asks {token}: {:?} until {until}", detail.defaults));
            world.stats.questions += 1;
            return Some(Finished { hitl: Some(detail), ..Finished::new(AttemptOutcome::AwaitingInput { until }) });
        }
        let returns = outcome == AttemptOutcome::Success && plan.is_mapped_over(work.task);
        let outlet_events = crate::assets::said(plan.task(work.task), outcome);
        let map_length = returns.then(|| maps::length(seed, &run, plan, work.task, work.try_number));
        Some(Finished { map_length, outlet_events, ..Finished::new(outcome) })
    }
}
