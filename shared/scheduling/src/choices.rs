//! What a branch, a short circuit or `latest_only` leaves out.
//!
//! When such a task ends, what it leaves out is skipped, whatever its rule and its state, unless it runs or has ended by itself. What it
//! left out directly stays left out as long as its choice counts: cleared, it is skipped again.

use updraft_model::{Choice, Chosen, LeftOut, Plan, TaskIndex, TaskInstanceState};

/// A branch follows something that its DAG does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the branch follows `{0}`, which is no task of this DAG: `branch_task_ids` must name tasks or groups of the DAG, \
     with the prefixes of the groups they are in"
)]
pub struct UnknownBranch(pub String);

/// What is to be remembered of a choice.
///
/// # Errors
/// [`UnknownBranch`] where it names something that is not in the DAG: the attempt has then failed.
pub fn chosen(plan: &Plan, task: TaskIndex, try_number: u32, choice: &Choice) -> Result<Chosen, UnknownBranch> {
    let left_out = match choice {
        Choice::ShortCircuit { ignore_downstream_trigger_rules: true } => LeftOut::Below,
        Choice::ShortCircuit { ignore_downstream_trigger_rules: false } => LeftOut::DirectlyBelow,
        Choice::LatestOnly => Chosen::bits(plan.downstream(task), |_| true),
        Choice::Branch { followed } => {
            let mut goes_on = std::collections::BTreeSet::new();
            for name in followed {
                let targets = plan.index_of(name).map(|task| vec![task]).or_else(|| plan.group_roots(name));
                for target in targets.ok_or_else(|| UnknownBranch(name.clone()))? {
                    goes_on.insert(target);
                    goes_on.append(&mut plan.descendants(target));
                }
            }
            Chosen::bits(plan.downstream(task), |task| !goes_on.contains(&task))
        }
    };
    Ok(Chosen { try_number, pending: true, left_out })
}

/// Everything that a choice leaves out.
pub fn left_out(plan: &Plan, task: TaskIndex, chosen: &Chosen) -> Vec<TaskIndex> {
    match &chosen.left_out {
        LeftOut::Below => plan.descendants(task).into_iter().filter(|t| !plan.task(*t).is_teardown).collect(),
        LeftOut::DirectlyBelow | LeftOut::These(_) => {
            plan.downstream(task).iter().copied().filter(|below| leaves_out(plan, task, chosen, *below)).collect()
        }
    }
}

/// Whether a choice leaves out a direct downstream.
pub fn leaves_out(plan: &Plan, task: TaskIndex, chosen: &Chosen, below: TaskIndex) -> bool {
    match &chosen.left_out {
        LeftOut::Below | LeftOut::DirectlyBelow => !plan.task(below).is_teardown,
        LeftOut::These(bits) => {
            plan.downstream(task).binary_search(&below).is_ok_and(|place| LeftOut::has(bits, place))
        }
    }
}

/// Whether what is left out is skipped in this state.
pub fn is_overwritten(state: TaskInstanceState) -> bool {
    match state {
        TaskInstanceState::Running
        | TaskInstanceState::Success
        | TaskInstanceState::Failed
        | TaskInstanceState::Skipped => false,
        TaskInstanceState::None
        | TaskInstanceState::Scheduled
        | TaskInstanceState::Queued
        | TaskInstanceState::Restarting
        | TaskInstanceState::UpForRetry
        | TaskInstanceState::UpForReschedule
        | TaskInstanceState::Deferred
        | TaskInstanceState::AwaitingInput
        | TaskInstanceState::UpstreamFailed
        | TaskInstanceState::Removed => true,
    }
}
