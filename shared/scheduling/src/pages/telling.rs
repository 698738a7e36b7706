//! What a page tells its run: how its instances have ended, and what tasks outside wait for.

use super::{newly_failed, waits};
use crate::decide::by_rule;
use crate::mapped;
use crate::step::{Scope, Step, stop_others, with_decision};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use updraft_model::cell::End;
use updraft_model::{
    Cell, DagRunState, MappedEntry, MappedKey, PageDoc, PageKey, Plan, RunChange, RunDoc, Slot, Summary, Tally,
    TaskIndex, TriggerRule, Unit,
};

/// The summary of a full page as a write on the run document, with all it decides there. None: the page is not full, or not of the epoch
/// that the run has for it: then it is no news (ARCHITECTURE.md, rule E4).
pub fn sum_up(plan: &Plan, run: &RunDoc, page: &PageDoc, now: Timestamp) -> Option<Step> {
    let PageKey { unit, page: number, .. } = page.key;
    if !page.is_full() || run.mapped.epoch(unit, number) != Some(page.epoch) {
        return None;
    }
    if run.mapped.summary(unit, number).is_some() || waits(plan, run) {
        return None;
    }
    let mut tallies: BTreeMap<TaskIndex, Tally> = BTreeMap::new();
    for (slot, cell) in &page.cells {
        let Cell::Final { end, winner, .. } = cell else { continue };
        let has_value = *end == End::Success && winner.is_some() && !page.silent.contains(slot);
        // What is beyond the instances that the unit has counts for nothing.
        let counts = run.mapped.expansion(unit).is_some_and(|expansion| slot.map_index < expansion.count);
        if counts {
            tallies.entry(slot.task).or_default().add(*end, has_value && plan.is_mapped_over(slot.task));
        }
    }
    let summary = Summary { epoch: page.epoch, tallies };
    let entry = (MappedKey::Summary(unit, number), MappedEntry::Summary(summary));
    Some(tell(plan, run, page, vec![entry], now))
}

/// What a page that is not full tells its run: the first failure, success or skip that a task below can act on, and that the run has not
/// been told by another page. None: nothing.
pub fn signal(plan: &Plan, run: &RunDoc, page: &PageDoc, now: Timestamp) -> Option<Step> {
    let PageKey { unit, page: number, .. } = page.key;
    let of = plan.unit_of(unit)?;
    if page.is_full() || waits(plan, run) || run.mapped.epoch(unit, number) != Some(page.epoch) {
        return None;
    }
    let mut entries = Vec::new();
    for task in &of.members {
        let wanted = wanted_signs(plan, of, *task);
        if wanted.is_empty() {
            continue;
        }
        let known = mapped::tally(&run.mapped, of, *task);
        let signs: BTreeSet<End> = run.mapped.signs(unit, *task).collect();
        for end in wanted {
            let is_known = signs.contains(&end)
                || match end {
                    End::Success => known.success > 0,
                    End::Failed => known.failed > 0,
                    End::Skipped => known.skipped > 0,
                    End::UpstreamFailed => known.upstream_failed > 0,
                    End::Removed => known.removed > 0,
                };
            let has = |(slot, cell): (&Slot, &Cell)| {
                slot.task == *task && matches!(cell, Cell::Final { end: is, .. } if *is == end)
            };
            if !is_known && page.cells.iter().any(has) {
                let key = MappedKey::Sign { unit, page: number, task: *task, end };
                entries.push((key, MappedEntry::Number(page.epoch)));
            }
        }
    }
    (!entries.is_empty()).then(|| tell(plan, run, page, entries, now))
}

/// Whether a task of this unit may have something to tell before its page is full: so that who finishes need not ask the run.
pub fn may_signal(plan: &Plan, unit: TaskIndex, task: TaskIndex, end: End) -> bool {
    plan.unit_of(unit).is_some_and(|unit| wanted_signs(plan, unit, task).contains(&end))
}

/// The ends of single instances that the rules of tasks below can act on, before all have ended.
fn wanted_signs(plan: &Plan, unit: &Unit, task: TaskIndex) -> Vec<End> {
    // The first failure stops all others.
    let mut wanted: BTreeSet<End> = plan.dag.fail_fast.then_some(End::Failed).into_iter().collect();
    for below in plan.downstream(task).iter().filter(|below| !unit.members.contains(below)) {
        let bad = [End::Failed, End::UpstreamFailed];
        let ends: &[End] = match plan.task(*below).trigger_rule {
            TriggerRule::AllSuccess => &[End::Failed, End::UpstreamFailed, End::Skipped],
            TriggerRule::AllFailed => &[End::Success, End::Skipped],
            TriggerRule::AllDoneMinOneSuccess | TriggerRule::NoneSkipped => &[End::Skipped],
            TriggerRule::OneSuccess => &[End::Success],
            TriggerRule::OneFailed | TriggerRule::NoneFailed | TriggerRule::NoneFailedMinOneSuccess => &bad,
            TriggerRule::OneDone => &[End::Success, End::Failed],
            TriggerRule::AllSkipped => &[End::Success, End::Failed, End::UpstreamFailed],
            TriggerRule::AllDone | TriggerRule::AllDoneSetupSuccess | TriggerRule::Always => &[],
        };
        wanted.extend(ends.iter().copied());
    }
    wanted.into_iter().collect()
}

/// A write of entries on the run document, on condition that the page's epoch is still the one that the run has for it.
fn tell(plan: &Plan, run: &RunDoc, page: &PageDoc, entries: Vec<(MappedKey, MappedEntry)>, now: Timestamp) -> Step {
    let PageKey { unit, page: number, .. } = page.key;
    let unchanged = |key: MappedKey| (key, run.mapped.0.get(&key).cloned());
    let change = RunChange {
        if_mapped: vec![unchanged(MappedKey::Expansion(unit)), unchanged(MappedKey::Epoch(unit, number))],
        mapped: entries.into_iter().map(|(key, entry)| (key, Some(entry))).collect(),
        // A page that is owed may have been forgotten by who died: the run is looked at soon.
        looks: (run.looks > 0).then_some(0),
        ..RunChange::default()
    };
    let around = plan.unit_of(unit).map_or_else(Vec::new, |unit| unit.members.clone());
    let failed = newly_failed(plan, run, &change);
    let who = format!("{unit}.{number}.{}", page.epoch);
    if run.state == DagRunState::Running
        && let Some(step) = stop_others(plan, run, &failed, &who, &change, now)
    {
        return step;
    }
    let mut change = change;
    if run.state != DagRunState::Running && run.intent.is_none() {
        // Of a run that has ended nothing is decided; what a marked instance makes of its task is known all the same.
        let after = change.apply(run).mapped;
        for task in around.iter().filter(|task| !run.cell(**task).is_final()) {
            let Some(unit) = plan.unit_of(*task).filter(|unit| mapped::is_complete(&after, unit)) else { continue };
            change.if_epoch = Some(run.epoch);
            change.if_cells.push((*task, run.cell(*task).clone()));
            let end = mapped::tally(&after, unit, *task).end();
            change.cells.push((*task, by_rule(run.cell(*task), end)));
        }
    }
    with_decision(plan, run, change, Scope::Around(around), now, None)
}
