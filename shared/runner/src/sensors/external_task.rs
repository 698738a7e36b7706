//! ExternalTaskSensor: waits for a run, tasks or a task group of another DAG.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use updraft_execution::PythonCall;
use updraft_model::{DagId, RunDoc};
use updraft_service::engine::Version;

use super::{Look, Sensor, Trouble, watch};
use crate::arguments::{Arguments, moment};
use crate::attempt::{Attempt, Break, End, Ended};
use crate::operators::python;
use crate::processes;
use crate::services::Services;

pub(crate) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let external = External::read(&attempt.arguments)?;
    if external.check_existence {
        external.check(attempt).await?;
    }
    let dates = dates(attempt).await?;
    watch(attempt, Watched { external, dates }).await
}

/// What of the other DAG is waited for.
#[derive(Debug, Clone, PartialEq)]
enum What {
    Run,
    Tasks(Vec<String>),
    Group(String),
}

struct External {
    dag_id: DagId,
    what: What,
    allowed: Vec<String>,
    skipped: Vec<String>,
    failed: Vec<String>,
    check_existence: bool,
}

impl External {
    fn read(arguments: &Arguments) -> Result<Self, String> {
        let dag_id = DagId::parse(&arguments.required_text("external_dag_id")?);
        let group = arguments.text("external_task_group_id")?;
        let ids = arguments.texts("external_task_ids")?.filter(|ids| !ids.is_empty());
        let what = match (arguments.text("external_task_id")?, ids, group) {
            (None, None, None) => What::Run,
            (Some(id), None, None) => What::Tasks(vec![id]),
            (None, Some(mut ids), None) => {
                ids.sort();
                if ids.windows(2).any(|pair| pair[0] == pair[1]) {
                    return Err("`external_task_ids` names a task twice".to_owned());
                }
                What::Tasks(ids)
            }
            (None, None, Some(group)) => What::Group(group),
            _ => {
                return Err(
                    "give only one of `external_task_id`, `external_task_ids` and `external_task_group_id`".to_owned()
                );
            }
        };
        if arguments.is_given("execution_delta") && is_function_given(arguments) {
            return Err("give only one of `execution_delta` and `execution_date_fn`".to_owned());
        }
        let states = |name: &str| Ok::<_, String>(arguments.texts(name)?.unwrap_or_default());
        let allowed = Some(states("allowed_states")?).filter(|states| !states.is_empty());
        let external = Self {
            dag_id: dag_id.map_err(|e| format!("`external_dag_id`: {e}"))?,
            what,
            allowed: allowed.unwrap_or_else(|| vec!["success".to_owned()]),
            skipped: states("skipped_states")?,
            failed: states("failed_states")?,
            check_existence: arguments.flag("check_existence")?,
        };
        external.check_states()?;
        Ok(external)
    }

    fn check_states(&self) -> Result<(), String> {
        let mut all: Vec<&String> = self.allowed.iter().chain(&self.skipped).chain(&self.failed).collect();
        let is_known = |state: &str| match self.what {
            What::Run => state.parse::<updraft_model::DagRunState>().is_ok(),
            What::Tasks(_) | What::Group(_) => state.parse::<updraft_model::TaskInstanceState>().is_ok(),
        };
        if let Some(unknown) = all.iter().find(|state| !is_known(state)) {
            let what = if self.what == What::Run { "a run" } else { "a task instance" };
            return Err(format!("`{unknown}` is no state of {what}"));
        }
        all.sort();
        match all.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                Err(format!("the state `{}` stands twice among the states to wait for, skip and fail on", pair[0]))
            }
            None => Ok(()),
        }
    }

    /// Fails if the DAG, or what is waited for in it, does not exist.
    async fn check<S: Services>(&self, attempt: &Attempt<'_, S>) -> Result<(), Break> {
        let failed = |e: updraft_service::Error| Break::from(Ended::failed(e.to_string()));
        let dag = attempt.services.dag(&self.dag_id).await.map_err(failed)?;
        let Some(version) = dag.and_then(|dag| dag.version) else {
            return Err(Ended::failed(format!("the external DAG `{}` does not exist", self.dag_id)).into());
        };
        let version = attempt.services.version(&version).await.map_err(failed)?;
        let missing = match &self.what {
            What::Run => None,
            What::Tasks(ids) => ids.iter().find(|id| version.plan.index_of(id).is_none()).map(|id| ("task", id)),
            What::Group(id) => version.plan.group_roots(id).is_none().then_some(("task group", id)),
        };
        match missing {
            Some((what, id)) => {
                Err(Ended::failed(format!("the external DAG `{}` has no {what} `{id}`", self.dag_id)).into())
            }
            None => Ok(()),
        }
    }

    /// Whether a run has what is waited for in one of these states, all of it.
    fn all_in(&self, run: &RunDoc, version: &Version, states: &[String]) -> bool {
        let tasks = self.states(run, version);
        !tasks.is_empty() && tasks.iter().all(|state| states.contains(state))
    }

    /// Whether a run has any of what is waited for in one of these states. Of a group, all must be, as in Airflow.
    fn any_in(&self, run: &RunDoc, version: &Version, states: &[String]) -> bool {
        match self.what {
            What::Tasks(_) => self.states(run, version).iter().any(|state| states.contains(state)),
            What::Run | What::Group(_) => self.all_in(run, version, states),
        }
    }

    fn states(&self, run: &RunDoc, version: &Version) -> Vec<String> {
        let plan = &version.plan;
        let of_task = |id: &str| plan.index_of(id).map_or("none".to_owned(), |task| run.task_state(task).to_string());
        match &self.what {
            What::Run => vec![run.state.to_string()],
            What::Tasks(ids) => ids.iter().map(|id| of_task(id)).collect(),
            What::Group(group) => plan
                .tasks()
                .filter(|task| is_in_group(&plan.dag, plan.task(*task).group.as_deref(), group))
                .map(|task| run.task_state(task).to_string())
                .collect(),
        }
    }
}

/// Whether a group is this one, or one inside it.
fn is_in_group<'a>(dag: &'a updraft_model::Dag, mut own: Option<&'a str>, group: &str) -> bool {
    for _ in 0..=dag.groups.len() {
        match own {
            Some(id) if id == group => return true,
            Some(id) => own = dag.groups.iter().find(|g| g.group_id == id).and_then(|g| g.parent.as_deref()),
            None => return false,
        }
    }
    false
}

fn is_function_given(arguments: &Arguments) -> bool {
    ["execution_date_fn", "execution_date_fn_name"].iter().any(|name| arguments.is_given(name))
}

/// The logical dates of the runs to wait for.
async fn dates<S: Services>(attempt: &mut Attempt<'_, S>) -> Result<Vec<Timestamp>, Break> {
    let facts = &attempt.work.run.facts;
    let own = facts.logical_date.unwrap_or(facts.run_after);
    if let Some(delta) = attempt.arguments.duration("execution_delta", Duration::from_secs(1))? {
        return Ok(vec![own.checked_sub(delta).map_err(|_| "`execution_delta` leads before the year 1".to_owned())?]);
    }
    if !is_function_given(&attempt.arguments) {
        return Ok(vec![own]);
    }
    let search_path = attempt.services.search_path(attempt.work).await.map_err(|e| Ended::failed(e.to_string()))?;
    let folder = search_path.first().cloned().unwrap_or_default();
    let callable = processes::callable(&attempt.arguments, "execution_date_fn", &folder)?
        .ok_or_else(|| "`execution_date_fn_name` needs `execution_date_fn_file`".to_owned())?;
    let call = PythonCall {
        native_args: vec![json!({"__type": "datetime", "__var": own.to_string()})],
        op_kwargs: Map::new(),
        search_path,
        ..PythonCall::new(callable)
    };
    let returned = python::call_for_value(attempt, call).await?;
    let dates = match returned.value {
        Value::Array(items) => items.iter().map(date).collect(),
        one => date(&one).map(|at| vec![at]),
    };
    dates.ok_or_else(|| Ended::failed("`execution_date_fn` must return a datetime or a list of them").into())
}

fn date(value: &Value) -> Option<Timestamp> {
    moment(value.as_str().or_else(|| value.get("__var")?.as_str())?)
}

struct Watched {
    external: External,
    dates: Vec<Timestamp>,
}

impl Sensor for Watched {
    async fn look<S: Services>(&mut self, attempt: &mut Attempt<'_, S>) -> Result<Look, Trouble> {
        let external = &self.external;
        let dag_id = &external.dag_id;
        let what = match &external.what {
            What::Run => "the run".to_owned(),
            What::Tasks(ids) => format!("`{}`", ids.join("`, `")),
            What::Group(id) => format!("the group `{id}`"),
        };
        let shown: Vec<String> = self.dates.iter().map(ToString::to_string).collect();
        attempt.say(&format!("looking for {what} of `{dag_id}` on {}", shown.join(", "))).await;
        let broken = |e: updraft_service::Error| Trouble::Error(e.to_string());
        let mut allowed = 0;
        let (mut failed, mut skipped) = (false, false);
        for at in &self.dates {
            let Some(run) = attempt.services.run_of_date(dag_id, *at).await.map_err(broken)? else { continue };
            let version = attempt.services.version(&run.facts.version).await.map_err(broken)?;
            failed |= external.any_in(&run, &version, &external.failed);
            skipped |= external.any_in(&run, &version, &external.skipped);
            allowed += usize::from(external.all_in(&run, &version, &external.allowed));
        }
        let soft_fail = attempt.task().sensor.as_ref().is_some_and(|sensor| sensor.soft_fail);
        if failed {
            let why = format!("{what} of the external DAG `{dag_id}` failed");
            return Err(if soft_fail { Trouble::Skip(why) } else { Trouble::Error(why) });
        }
        if skipped {
            return Err(Trouble::Skip(format!("{what} of the external DAG `{dag_id}` is in a state to skip on")));
        }
        Ok(if allowed == self.dates.len() { Look::Done(Value::Null) } else { Look::NotYet })
    }
}
