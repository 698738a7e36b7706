//! Mapped tasks as decisions see them: how a unit stands in the run document, and what its instances count for.

use crate::trigger_rules::Upstreams;
use updraft_model::cell::End;
use updraft_model::mapped::{PAGES_OPEN_HELD_MAX, PAGES_OPEN_MAX};
use updraft_model::{Cell, Mapped, Plan, Tally, TaskIndex, TaskInstanceState, Unit};

/// The state of a task: of a mapped one that is expanded and has not ended, `running`.
pub fn state(plan: &Plan, mapped: &Mapped, cell: &Cell, task: TaskIndex) -> TaskInstanceState {
    if !cell.is_final() && is_expanded(plan, mapped, task) { TaskInstanceState::Running } else { cell.state() }
}

/// Whether a task is mapped and its unit has been expanded.
pub fn is_expanded(plan: &Plan, mapped: &Mapped, task: TaskIndex) -> bool {
    plan.unit_of(task).is_some_and(|unit| mapped.expansion(unit.unit).is_some())
}

/// How the instances of a task on full pages have ended.
pub fn tally(mapped: &Mapped, unit: &Unit, task: TaskIndex) -> Tally {
    let Some(expansion) = mapped.expansion(unit.unit) else { return Tally::default() };
    let full = mapped.full(unit.unit, unit.pages(expansion.count));
    full.filter_map(|(_, summary)| summary.tallies.get(&task).copied()).fold(Tally::default(), Tally::plus)
}

/// Whether all pages of a unit are full.
pub fn is_complete(mapped: &Mapped, unit: &Unit) -> bool {
    mapped.expansion(unit.unit).is_some_and(|expansion| {
        let pages = unit.pages(expansion.count);
        mapped.full(unit.unit, pages).count() == pages as usize
    })
}

/// Counts a task among the upstreams of another: the instances of a mapped one count one by one. Of pages that are not full only as much
/// counts as the run has been told.
pub fn count(plan: &Plan, mapped: &Mapped, cell: &Cell, task: TaskIndex, upstreams: &mut Upstreams) {
    let is_setup = plan.task(task).is_setup;
    let expanded = plan.unit_of(task).and_then(|unit| Some((unit, mapped.expansion(unit.unit)?)));
    let Some((unit, expansion)) = expanded else { return upstreams.add(cell.state(), is_setup) };
    let tally = tally(mapped, unit, task);
    if cell.is_final() && tally.total() == 0 {
        // It had ended when the group around it was expanded.
        return upstreams.add(cell.state(), is_setup);
    }
    let open = expansion.count.saturating_sub(tally.total());
    let ends = [
        (TaskInstanceState::Success, tally.success),
        (TaskInstanceState::Failed, tally.failed),
        (TaskInstanceState::Skipped, tally.skipped),
        (TaskInstanceState::UpstreamFailed, tally.upstream_failed),
        (TaskInstanceState::Removed, tally.removed),
    ];
    for (state, number) in ends {
        upstreams.add_many(state, number as usize, is_setup);
    }
    let mut signs: Vec<End> = mapped.signs(unit.unit, task).collect();
    signs.truncate(open as usize);
    for end in &signs {
        upstreams.add(end.state(), is_setup);
    }
    // Where all instances were given an end by hand, pages that have not told of it yet have it all the same: else what waits for them would
    // be taken for stuck.
    let rest = if cell.is_final() { cell.state() } else { TaskInstanceState::None };
    upstreams.add_many(rest, open as usize - signs.len(), is_setup);
    // As in Airflow, those that a later expansion has no more are there, removed; but not before the others have ended: an instance below would
    // be removed for every one of them that still runs.
    let is_over = cell.is_final() || is_complete(mapped, unit);
    let gone = if is_over { TaskInstanceState::Removed } else { TaskInstanceState::None };
    upstreams.add_many(gone, mapped.fallen_away(unit.unit) as usize, is_setup);
}

/// How many instances can be made of what a task returned; of a mapped one, of what all of its instances returned.
pub fn length(plan: &Plan, mapped: &Mapped, task: TaskIndex) -> Option<u32> {
    match plan.unit_of(task) {
        Some(unit) => mapped.expansion(unit.unit).map(|_| tally(mapped, unit, task).values),
        None => mapped.length(task),
    }
}

/// How many instances a unit has, as far as the values it is expanded over are known.
pub fn count_of(plan: &Plan, mapped: &Mapped, unit: &Unit) -> Option<u32> {
    unit.mapping.count(&|task_id| length(plan, mapped, plan.index_of(task_id.as_str())?))
}

/// Which item of each input makes an instance.
pub fn items_of(plan: &Plan, mapped: &Mapped, unit: &Unit, map_index: u32) -> Option<Vec<u64>> {
    unit.mapping.items(map_index, &|task_id| length(plan, mapped, plan.index_of(task_id.as_str())?))
}

/// The pages that may exist now: those that are full, and some more. Under a limit of instances only as many more as it fills, so that what
/// is under way on all of them is within it.
pub fn pages_allowed(plan: &Plan, mapped: &Mapped, unit: &Unit) -> u32 {
    let Some(expansion) = mapped.expansion(unit.unit) else { return 0 };
    let pages = unit.pages(expansion.count);
    if let Some(most) = plan.pages_most(unit) {
        let open = (0..pages).filter(|page| mapped.summary(unit.unit, *page).is_none());
        return open.take(most as usize).last().map_or(pages, |page| page + 1);
    }
    let full = mapped.full(unit.unit, pages).count();
    pages.min(u32::try_from(full).unwrap_or(u32::MAX).saturating_add(pages_open_most(plan, unit)))
}

/// How many pages of a unit that are not full exist at once.
pub fn pages_open_most(plan: &Plan, unit: &Unit) -> u32 {
    if unit.members.iter().any(|task| plan.is_held_elsewhere(*task)) { PAGES_OPEN_HELD_MAX } else { PAGES_OPEN_MAX }
}

/// The pages that exist, or are to be born, and are not full.
pub fn open_pages(plan: &Plan, mapped: &Mapped, unit: &Unit) -> Vec<u32> {
    (0..pages_allowed(plan, mapped, unit)).filter(|page| mapped.summary(unit.unit, *page).is_none()).collect()
}
