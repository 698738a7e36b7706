//! What the metastore remembers of earlier runs.

use crate::guess::{Guess, Guesses, seconds};
use std::collections::BTreeMap;
use updraft_clock::Clock;
use updraft_metastore::Items;
use updraft_model::{AttemptOutcome, DagId};
use updraft_service::{Engine, Error};
use updraft_task_queue::TaskQueue;

/// Durations and failures of each task in the latest runs of each DAG. A DAG that is not known has none.
///
/// # Errors
/// When the metastore cannot be read.
pub async fn history<I: Items, Q: TaskQueue, C: Clock>(
    engine: &Engine<I, Q, C>,
    dags: &[DagId],
    runs: usize,
    guesses: &mut Guesses,
) -> Result<usize, Error> {
    let mut found = 0;
    for dag_id in dags {
        if runs == 0 {
            break;
        }
        let names = engine.store.list_run_names(dag_id, runs, None).await?;
        let mut tries: BTreeMap<String, (Vec<f64>, u32, u32)> = BTreeMap::new();
        for name in names.items {
            let Some(run) = engine.store.run(&name.incarnation).await? else { continue };
            let Ok(version) = engine.version(&run.facts.version).await else { continue };
            found += 1;
            for (key, attempt) in engine.store.attempts_of(&name.incarnation, None).await? {
                if attempt.outcome.goes_on() || key.task.0 as usize >= version.plan.dag.tasks.len() {
                    continue;
                }
                let task_id = version.plan.task(key.task).task_id.to_string();
                let (lengths, all, failed) = tries.entry(task_id).or_default();
                *all += 1;
                if matches!(attempt.outcome, AttemptOutcome::Failed | AttemptOutcome::FailedForGood) {
                    *failed += 1;
                } else {
                    lengths.push(seconds(attempt.end_date.duration_since(attempt.start_date)).max(0.0));
                }
            }
        }
        for (task_id, (lengths, all, failed)) in tries {
            let failures = Some(f64::from(failed) / f64::from(all.max(1)));
            guesses.seen.insert((dag_id.to_string(), task_id), Guess { seconds: lengths, failures });
        }
    }
    Ok(found)
}
