//! The rules, each of which can be taken away.

use updraft_model::{Cell, Held, RunChange, RunDoc};

/// A rule that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Without {
    /// A1: a finish asks for its own token.
    FinishToken,
    /// A1: a finish asks for its cell to be running.
    FinishRunning,
    /// A1: the sweep asks for the lease it read.
    SweepLease,
    /// A2: what was cleared is not settled by its item.
    RestartingNoItem,
    /// A2: its worker lets go only after the kill.
    KillBeforeLettingGo,
    /// A2: the end of its lease lets go too.
    RestartingExpiry,
    /// A3: what was marked keeps who is leaving.
    Leaving,
    /// A4: items are found by token.
    ItemByToken,
    /// A5: clears and marks ask for the cells they change.
    ExactCells,
    /// What rests on an image asks for its epoch.
    Epoch,
    /// An attempt whose lease ended before it began renews first.
    LeaseAtStart,
    /// A renewal asks for the lease it replaces.
    RenewedLease,
    /// What the returned image decides beyond is written.
    CatchUp,
    /// Somebody sweeps.
    Sweep,
    /// F1: an intervention finds itself done.
    OperationId,
    /// F1: the ids of earlier interventions are kept beside the last one's.
    EarlierIds,
    /// F1: an intervention asks for the epoch it saw.
    InterventionEpoch,
}

impl Without {
    /// A change as it is without the rule. `run`: the document it is about to be written to.
    pub(crate) fn weaken(self, change: &RunChange) -> RunChange {
        let mut change = change.clone();
        let swept = change.if_running.is_none() && change.epoch.is_none();
        match self {
            Self::FinishToken => change.if_running = None,
            Self::SweepLease if swept => {
                for (task, cell) in std::mem::take(&mut change.if_cells) {
                    match cell {
                        Cell::Running { try_number, lease } => {
                            change.if_running = Some(Held { task, try_number, token: lease.token });
                        }
                        cell => change.if_cells.push((task, cell)),
                    }
                }
            }
            Self::RenewedLease if swept && change.cells.iter().all(|(_, c)| matches!(c, Cell::Running { .. })) => {
                for (task, cell) in std::mem::take(&mut change.if_cells) {
                    match cell {
                        Cell::Running { try_number, lease } => {
                            change.if_running = Some(Held { task, try_number, token: lease.token });
                        }
                        cell => change.if_cells.push((task, cell)),
                    }
                }
            }
            Self::Leaving => {
                for (_, cell) in &mut change.cells {
                    if let Cell::Final { leaving, .. } = cell {
                        *leaving = None;
                    }
                }
            }
            Self::ExactCells if change.epoch.is_some() => change.if_cells.clear(),
            Self::Epoch if change.epoch.is_none() => change.if_epoch = None,
            Self::InterventionEpoch if change.epoch.is_some() => {
                change.if_epoch = None;
                change.if_state = None;
                change.if_cells.clear();
            }
            _ => {}
        }
        change
    }

    /// Whether a change that is refused is accepted without the rule.
    pub(crate) fn accepts(self, change: &RunChange, run: &RunDoc) -> bool {
        match (self, &change.if_running) {
            (Self::FinishRunning, Some(held)) => {
                let restarting = RunChange { if_running: None, if_restarting: Some(held.clone()), ..change.clone() };
                restarting.holds(run)
            }
            _ => false,
        }
    }
}
