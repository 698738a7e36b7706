//! Giving task instances and runs a state by hand, as Airflow's PATCH requests do.

use super::instances::told;
use super::runs::{Planned, check_note};
use super::selection::{Affected, Picked, Picks, Reach, Reader};
use crate::engine::{Engine, Error, Version};
use crate::mapped_views::no_such_instance;
use std::collections::{BTreeMap, BTreeSet};
use updraft_clock::Clock;
use updraft_metastore::Items;
use updraft_model::cell::End;
use updraft_model::{Act, DagId, DagRunState, Intent, Plan, RunDoc, TaskIndex, TaskInstanceState};
use updraft_scheduling::step;
use updraft_task_queue::TaskQueue;

/// Which task instances get which end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchTaskInstances {
    /// Of this run.
    pub run_id: String,
    /// And of the runs of earlier logical dates.
    pub include_past: bool,
    /// And of the runs of later logical dates.
    pub include_future: bool,
    /// Which tasks.
    pub picks: Picks,
    /// And everything above them.
    pub include_upstream: bool,
    /// And everything below them, teardowns apart.
    pub include_downstream: bool,
    /// Their end: success, failed or skipped.
    pub new_state: End,
    /// Noted on each that was picked.
    pub note: Option<String>,
}

impl PatchTaskInstances {
    /// These tasks of a run, and nothing else.
    pub fn new(run_id: impl Into<String>, picks: Picks, new_state: End) -> Self {
        Self {
            run_id: run_id.into(),
            include_past: false,
            include_future: false,
            picks,
            include_upstream: false,
            include_downstream: false,
            new_state,
            note: None,
        }
    }

    /// What is done to a run of this plan: the picked tasks and their relatives get the end, and what has failed below them runs again.
    fn intent(&self, plan: &Plan, picked: &BTreeSet<TaskIndex>) -> Intent {
        let mut tasks = picked.clone();
        let mut below = picked.clone();
        for task in picked {
            if self.include_upstream {
                tasks.append(&mut plan.ancestors(*task));
            }
            let mut descendants = plan.descendants(*task);
            if self.include_downstream {
                tasks.extend(descendants.iter().filter(|task| !plan.task(**task).is_teardown));
            }
            below.append(&mut descendants);
        }
        below.append(&mut plan.setups_and_teardowns(&below));
        below.retain(|task| !picked.contains(task));
        Intent { resume: below.into_iter().collect(), ..Intent::new(Act::Mark(self.new_state), tasks) }
    }
}

/// What a run gets by hand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunPatch {
    /// Its state: success, failed or queued.
    pub state: Option<DagRunState>,
    /// A note; an empty one takes the note back.
    pub note: Option<String>,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Gives task instances an end and says which those are that had another, latest run first; `dry_run`: only says which. What has
    /// failed below them is cleared, so that it runs again.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a DAG, run, task or group that is not there; [`Error::Refused`] for the past or future of a run without a
    /// logical date; [`Error::Conflict`] where all have that end already; [`Error::Invalid`] for an end that nobody may give.
    pub async fn patch_task_instances(
        &self,
        dag_id: &DagId,
        request: &PatchTaskInstances,
        dry_run: bool,
    ) -> Result<Vec<Affected>, Error> {
        let (planned, affected) = self.plan_patch(dag_id, request).await?;
        if affected.is_empty() && !dry_run {
            return Err(Error::Conflict(format!(
                "{} of the run `{}` of `{dag_id}` is already in the state {}; nothing was changed",
                named(&request.picks),
                request.run_id,
                request.new_state.state()
            )));
        }
        if !dry_run {
            self.carry_out_noted(dag_id, &planned, request.note.as_deref()).await?;
        }
        Ok(affected)
    }

    /// What [`Engine::patch_task_instances`] would do, run by run, the latest first, and the task instances that have another state.
    /// [`Engine::carry_out`] does it.
    ///
    /// # Errors
    /// As [`Engine::patch_task_instances`], but for the conflict.
    pub async fn plan_patch(
        &self,
        dag_id: &DagId,
        request: &PatchTaskInstances,
    ) -> Result<(Vec<Planned>, Vec<Affected>), Error> {
        if !matches!(request.new_state, End::Success | End::Failed | End::Skipped) {
            return Err(Error::Invalid(format!(
                "a task instance cannot be set to {}; give success, failed or skipped",
                request.new_state.state()
            )));
        }
        check_note(request.note.as_deref().unwrap_or_default())?;
        let reach = Reach { past: request.include_past, future: request.include_future };
        let mut reader = Reader::default();
        let (mut planned, mut affected) = (Vec::new(), Vec::new());
        let runs = self.runs_from(dag_id, &request.run_id, reach).await?;
        let named = runs.iter().find(|(run, _)| run.facts.run_id == request.run_id).cloned();
        for (run, version) in runs {
            let (picked, only) = reader.picked(&version.plan, &request.picks);
            let request_intent = request.intent(&version.plan, &picked);
            let PlannedMark { intent, changed, tasks, instances } =
                self.plan_mark(&version, &run, request, request_intent, (picked, only)).await?;
            let after = step::acted(&version.plan, &run, &intent, self.clock.now());
            let changes = after.cells != run.cells || !changed.is_empty() || !intent.instances.is_empty();
            affected.extend(changed);
            if changes {
                planned.push(Planned {
                    run,
                    version,
                    tasks,
                    instances,
                    intent,
                    prevent_running_task: false,
                    run_on_latest_version: false,
                });
            }
        }
        reader.check(&request.picks)?;
        // Only where nothing else is to be said: looking for instances costs reads.
        if let (true, Some((run, version))) = (affected.is_empty(), named) {
            self.check_instances(&version, &run, &request.picks).await?;
        }
        Ok((planned, affected))
    }

    /// That the run has the picked instances.
    async fn check_instances(&self, version: &Version, run: &RunDoc, picks: &Picks) -> Result<(), Error> {
        for pick in picks.tasks.iter().flatten() {
            let (Some(task), Some(map_index)) = (version.plan.index_of(&pick.task_id), pick.map_index) else {
                continue;
            };
            let there = self.instances_there(version, run, task).await?.unwrap_or_default();
            if !there.iter().any(|instance| instance.map_index == map_index) {
                return Err(no_such_instance(map_index, there.len()));
            }
        }
        Ok(())
    }

    /// What a mark comes to in one run: of mapped tasks that are expanded, in their instances.
    async fn plan_mark(
        &self,
        version: &Version,
        run: &RunDoc,
        request: &PatchTaskInstances,
        intent: Intent,
        (mut picked, mut only): Picked,
    ) -> Result<PlannedMark, Error> {
        // What is related to another one that is picked is meant as a whole.
        let mut related: BTreeSet<TaskIndex> = BTreeSet::new();
        for task in &picked {
            let (above, below) = (version.plan.ancestors(*task), version.plan.descendants(*task));
            related.extend(above.into_iter().filter(|_| request.include_upstream));
            related.extend(below.into_iter().filter(|_| request.include_downstream));
        }
        only.retain(|task, _| !related.contains(task));
        let mut tasks: BTreeSet<TaskIndex> = intent.tasks.from(TaskIndex(0)).collect();
        let all = tasks.clone();
        let narrowed = self.narrow(version, run, &mut tasks, &only, |_| true).await?;
        let differs = |state: TaskInstanceState| state != request.new_state.state();
        let mut changed = told(version, run, tasks.iter().copied(), &narrowed.instances);
        changed.retain(|affected| differs(affected.state));
        // Of what is mapped below, the instances that have failed run again.
        let mut below: BTreeSet<TaskIndex> = intent.resume.from(TaskIndex(0)).collect();
        let failed = |state| matches!(state, TaskInstanceState::Failed | TaskInstanceState::UpstreamFailed);
        let mut mapped: BTreeSet<TaskIndex> = below.difference(&tasks).copied().collect();
        mapped.retain(|task| {
            let unit = version.plan.unit_of(*task);
            unit.is_some_and(|unit| run.mapped.expansion(unit.unit).is_some())
        });
        below.retain(|task| !mapped.contains(task));
        let again = self.narrow(version, run, &mut mapped, &BTreeMap::new(), failed).await?;
        below.append(&mut mapped);
        let gone: BTreeSet<TaskIndex> = all.difference(&tasks).copied().collect();
        picked.retain(|task| !gone.contains(task));
        let intent = Intent {
            tasks: tasks.iter().copied().collect(),
            resume: below.into_iter().collect(),
            ..again.limit(narrowed.limit(intent))
        };
        let instances = narrowed.instances;
        Ok(PlannedMark { intent, changed, tasks: picked, instances })
    }

    /// Gives a run a state, a note, or both. Success and failed: what runs gets that end, what else has not ended is skipped, and teardowns
    /// are left to run; while one is to run, so is the run. Queued: the run is started anew, its task instances stay as they are.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a DAG or run that is not there; [`Error::Invalid`] for a state that nobody may give.
    pub async fn patch_dag_run(&self, dag_id: &DagId, run_id: &str, patch: &RunPatch) -> Result<RunDoc, Error> {
        check_note(patch.note.as_deref().unwrap_or_default())?;
        let mut run = self.run_named(dag_id, run_id).await?;
        let act = match patch.state {
            None => None,
            Some(DagRunState::Success) => Some(Act::Cancel(End::Success)),
            Some(DagRunState::Failed) => Some(Act::Cancel(End::Failed)),
            Some(DagRunState::Queued) => Some(Act::Requeue),
            Some(DagRunState::Running) => {
                return Err(Error::Invalid(
                    "a run cannot be set to running; give success, failed or queued (a queued run starts by itself)"
                        .to_owned(),
                ));
            }
        };
        if let Some(act) = act {
            let intent = self.plan_run_patch(&run, act).await?;
            run = self.act_on_run(&run, &intent).await?;
        }
        if let Some(note) = &patch.note {
            self.note_run(&run, note).await?;
        }
        Ok(run)
    }

    /// What giving a run another state does to its task instances. Of a mapped task of which an instance is under way all get its end.
    ///
    /// # Errors
    /// [`Error::Metastore`] where its pages cannot be read.
    pub async fn plan_run_patch(&self, run: &RunDoc, act: Act) -> Result<Intent, Error> {
        if act == Act::Requeue {
            return Ok(Intent::new(act, []));
        }
        let version = self.version(&run.facts.version).await?;
        Ok(Intent {
            under_way: Box::pin(self.instances_under_way(run)).await?,
            ..Intent::new(act, version.plan.tasks())
        })
    }

    async fn act_on_run(&self, run: &RunDoc, intent: &Intent) -> Result<RunDoc, Error> {
        let operation = self.new_operation();
        self.intervene(&run.facts.incarnation, &operation, None, |version, run| {
            let now = self.clock.now();
            let all = version.plan.tasks().filter(|_| intent.act != Act::Requeue);
            let intent = Intent { tasks: all.collect(), ..intent.clone() };
            let after = step::acted(&version.plan, run, &intent, now);
            let changes = after.state != run.state || after.cells != run.cells;
            Ok(changes.then(|| step::intervene_with(&version.plan, run, &intent, &operation, now)))
        })
        .await
    }
}

/// What a mark comes to in one run.
struct PlannedMark {
    intent: Intent,
    /// Task instances that had another state.
    changed: Vec<Affected>,
    /// Those that were picked.
    tasks: BTreeSet<TaskIndex>,
    instances: super::Instances,
}

fn named(picks: &Picks) -> String {
    let tasks = picks.tasks.iter().flatten().map(|pick| match pick.map_index {
        Some(map_index) => format!("the task `{}` [{map_index}]", pick.task_id),
        None => format!("the task `{}`", pick.task_id),
    });
    let groups = picks.task_group_ids.iter().map(|id| format!("the task group `{id}`"));
    let all: Vec<String> = tasks.chain(groups).collect();
    if all.is_empty() { "every task".to_owned() } else { all.join(", ") }
}
