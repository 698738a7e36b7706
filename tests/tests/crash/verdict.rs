//! What must have come of a run whose process was killed.

use crate::dags::Case;
use crate::process::journal;
use crate::reference::{Part, Reference, Stand, TASKS_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use updraft_metastore::Metastore;
use updraft_metastore_embedded::Embedded;
use updraft_model::cell::End;
use updraft_model::{AttemptKey, AttemptOutcome, Cell, DagId, DagRunState, Plan, RunDoc, TaskIndex};

/// An attempt as the journal has it: task, try and token.
type Attempt = (u32, u32, String);

/// What the journal tells.
struct Journal {
    started: Vec<Attempt>,
    /// Started, and not known to have ended.
    cut_off: BTreeSet<Attempt>,
}

fn read(folder: &Path) -> Journal {
    let text = std::fs::read_to_string(journal(folder)).unwrap_or_default();
    let mut seen = Journal { started: Vec::new(), cut_off: BTreeSet::new() };
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, task, try_number, token, _] = words[..] else { continue };
        let number = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
        let attempt = (number(task), number(try_number), token.to_owned());
        if what == "start" {
            seen.started.push(attempt.clone());
            seen.cut_off.insert(attempt);
        } else {
            seen.cut_off.remove(&attempt);
        }
    }
    seen
}

/// Judges the end. `died`: the first process was killed; else it lived to the end and nothing may differ from the plan.
pub(crate) fn judge(case: Case, folder: &Path, died: bool) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let journal = read(folder);
    let mut tries = BTreeMap::new();
    for (task, try_number, token) in &journal.started {
        if let Some(earlier) = tries.insert((*task, *try_number), token) {
            return Err(format!("try {try_number} of task {task} was started twice, as {earlier} and {token}"));
        }
    }
    runtime.block_on(async {
        let items = Embedded::open(&folder.join("metastore.db")).map_err(|error| error.to_string())?;
        let store = Metastore::new(items);
        let dag_id = DagId::trusted(case.name());
        let runs = store.list_runs(&dag_id, 10, None).await.map_err(|error| error.to_string())?.items;
        match &runs[..] {
            [] if died && journal.started.is_empty() => Ok(()),
            [run] => {
                let plan = Plan::new(case.dag());
                winners_left_items(&store, run, &plan).await?;
                is_an_end(case, &plan, run, &journal, died)
            }
            other => Err(format!("{} runs, {} attempts started", other.len(), journal.started.len())),
        }
    })
}

/// Each attempt that a cell names as its result has an item that says the same.
async fn winners_left_items(store: &Metastore<Embedded>, run: &RunDoc, plan: &Plan) -> Result<(), String> {
    for task in plan.tasks() {
        let Cell::Final { end, try_number, winner: Some(token), .. } = run.cell(task) else { continue };
        let key = AttemptKey {
            incarnation: run.facts.incarnation.clone(),
            task,
            map_index: None,
            try_number: *try_number,
            token: token.clone(),
        };
        let item = store.attempt(&key).await.map_err(|error| error.to_string())?;
        let fits = item.is_some_and(|item| match end {
            End::Success => item.outcome == AttemptOutcome::Success,
            End::Skipped => item.outcome == AttemptOutcome::Skipped,
            _ => matches!(item.outcome, AttemptOutcome::Failed | AttemptOutcome::FailedForGood),
        });
        if !fits {
            return Err(format!("task {task} is {end:?} by {token}, which left no such item"));
        }
    }
    Ok(())
}

fn stand(cell: &Cell) -> Stand {
    match cell {
        Cell::Final { end: End::Success, .. } => Stand::Success,
        Cell::Final { end: End::Failed, .. } => Stand::Failed,
        Cell::Final { end: End::Skipped, .. } => Stand::Skipped,
        Cell::Final { end: End::UpstreamFailed, .. } => Stand::UpstreamFailed,
        Cell::None => Stand::Nothing,
        _ => Stand::Active,
    }
}

/// Whether the run's end is one that some order of its tasks' ends comes to. A task may end otherwise than planned only where the kill
/// cost it its last try.
fn is_an_end(case: Case, plan: &Plan, run: &RunDoc, journal: &Journal, died: bool) -> Result<(), String> {
    let planned = |task: TaskIndex| {
        let tries = plan.task(task).retries + 1;
        let last = (1..=tries).map(|n| case.outcome(task, n)).find(|o| *o != AttemptOutcome::Failed);
        match last.unwrap_or(AttemptOutcome::Failed) {
            AttemptOutcome::Success => Stand::Success,
            AttemptOutcome::Skipped => Stand::Skipped,
            _ => Stand::Failed,
        }
    };
    let may_die = |task: TaskIndex| died && plan.task(task).retries == 0 && stand(run.cell(task)) == Stand::Failed;
    let ends: Vec<Stand> = plan.tasks().map(|t| if may_die(t) { Stand::Failed } else { planned(t) }).collect();
    let deaths = plan.tasks().filter(|t| may_die(*t) && planned(*t) != Stand::Failed).count();
    // Two workers, one death: no more than two attempts can have been cut off.
    if deaths > 2 || journal.cut_off.len() > 2 {
        return Err(format!("{deaths} tasks were lost, {} attempts cut off", journal.cut_off.len()));
    }
    let mut tasks = [Stand::Nothing; TASKS_MAX];
    for task in plan.tasks() {
        tasks[task.at()] = stand(run.cell(task));
    }
    let came_to = (tasks, run.state == DagRunState::Failed);
    let parts: Vec<Part> = plan.tasks().map(|task| Part { task, map_index: None, is_empty: false }).collect();
    let possible = Reference::new(plan, &parts, &ends).ends();
    if possible.contains(&came_to) {
        Ok(())
    } else {
        Err(format!("the run came to {came_to:?}; possible are {possible:?}"))
    }
}
