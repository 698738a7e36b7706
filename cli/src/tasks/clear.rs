//! `updraft tasks clear`

use crate::clearing::{Which, clear};
use crate::dags::{existing, parse_dag_id, parse_instant};
use crate::failure::Failure;
use crate::matching::parse_regex;
use crate::metastore::Session;
use crate::printer::Printer;
use jiff::Timestamp;
use regex::Regex;
use std::collections::BTreeSet;
use updraft_model::DagId;
use updraft_service::interventions::{ClearTaskInstances, Picks, TaskPick};

/// Which tasks of which runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id, or with `--dag-regex` a regular expression for ids
    dag_id: String,

    /// All DAGs whose ids match
    #[arg(long, short = 'R')]
    dag_regex: bool,

    /// Only tasks whose ids match this regular expression, anywhere in them
    #[arg(long, short, value_name = "REGEX", value_parser = parse_regex)]
    task_regex: Option<Regex>,

    /// Only tasks of this group; may be given several times
    #[arg(long, value_name = "GROUP_ID")]
    task_group: Vec<String>,

    /// Only this instance of the mapped tasks
    #[arg(long, value_name = "N")]
    map_index: Option<u32>,

    /// Only this run; without it all runs between the dates
    #[arg(long, value_name = "RUN_ID", conflicts_with_all = ["start_date", "end_date", "dag_regex"])]
    run_id: Option<String>,

    /// Also the runs of earlier logical dates
    #[arg(long, requires = "run_id")]
    past: bool,

    /// Also the runs of later logical dates
    #[arg(long, requires = "run_id")]
    future: bool,

    /// Only runs whose logical date is this or later
    #[arg(long, short, value_name = "DATE", value_parser = parse_instant)]
    start_date: Option<Timestamp>,

    /// Only runs whose logical date is this or earlier
    #[arg(long, short, value_name = "DATE", value_parser = parse_instant)]
    end_date: Option<Timestamp>,

    /// Also everything above the tasks
    #[arg(long, short)]
    upstream: bool,

    /// Also everything below the tasks
    #[arg(long, short)]
    downstream: bool,

    /// Leave runs that have ended as they are
    #[arg(long)]
    keep_dag_runs: bool,

    /// Do nothing if one of the task instances is running
    #[arg(long)]
    prevent_running_task: bool,

    /// The runs go over to the latest version of the DAG; without a word, as the DAG's `rerun_with_latest_version` says
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    run_on_latest_version: Option<bool>,

    /// Note this on the task instances
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,

    #[command(flatten)]
    which: Which,
}

impl Arguments {
    fn request(&self, tasks: Option<Vec<TaskPick>>) -> ClearTaskInstances {
        ClearTaskInstances {
            run_id: self.run_id.clone(),
            include_past: self.past,
            include_future: self.future,
            start_date: self.start_date,
            end_date: self.end_date,
            picks: Picks { tasks, task_group_ids: self.task_group.clone() },
            include_upstream: self.upstream,
            include_downstream: self.downstream,
            only_failed: self.which.only_failed,
            only_running: self.which.only_running,
            reset_dag_runs: !self.keep_dag_runs,
            prevent_running_task: self.prevent_running_task,
            run_on_latest_version: self.run_on_latest_version,
            note: self.note.clone(),
        }
    }

    /// The tasks of a DAG that match, in the versions that its runs have. None: whether they match was not asked.
    async fn matching(&self, dag_id: &DagId, session: &Session) -> Result<Option<Vec<TaskPick>>, Failure> {
        if self.task_regex.is_none() && self.map_index.is_none() {
            return Ok(None);
        }
        let ids = session.engine.task_ids_ever(dag_id).await?;
        let matches = |id: &String| self.task_regex.as_ref().is_none_or(|regex| regex.is_match(id));
        let picked: BTreeSet<String> = ids.into_iter().filter(matches).collect();
        Ok(Some(picked.into_iter().map(|task_id| TaskPick { task_id, map_index: self.map_index }).collect()))
    }
}

/// Clears task instances, once that is agreed on.
pub(crate) async fn run(arguments: Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let mut planned = Vec::new();
    let mut any_task = false;
    for dag_id in dags(&arguments, session).await? {
        let tasks = arguments.matching(&dag_id, session).await?;
        any_task |= tasks.as_ref().is_none_or(|tasks| !tasks.is_empty());
        let plan = Box::pin(session.engine.plan_clear(&dag_id, &arguments.request(tasks))).await?;
        planned.push((dag_id, plan));
    }
    if let (Some(regex), false) = (&arguments.task_regex, any_task) {
        return Err(Failure::user(format!("no task matches `{regex}`"))
            .hint(format!("`updraft tasks list {}` shows the tasks there are", arguments.dag_id)));
    }
    let is_narrowed = arguments.which.only_failed || arguments.which.only_running;
    if let Some(map_index) = arguments.map_index.filter(|_| !is_narrowed)
        && planned.iter().all(|(_, plan)| plan.is_empty())
    {
        return Err(no_instance(&arguments, map_index, session).await?);
    }
    clear(planned, &arguments.which.assent, arguments.note.as_deref(), session, printer).await
}

/// Why nothing is cleared where one instance was asked for, and which instances there are.
async fn no_instance(arguments: &Arguments, map_index: u32, session: &Session) -> Result<Failure, Failure> {
    let failure = Failure::user(format!("no task that is meant has a task instance of map index `{map_index}`"));
    let Some(run_id) = &arguments.run_id else {
        return Ok(failure.hint("`updraft tasks states-for-dag-run DAG_ID RUN_ID` shows the instances there are"));
    };
    let dag_id = parse_dag_id(&arguments.dag_id).map_err(Failure::user)?;
    let run = session.engine.run_by_id(&dag_id, run_id).await?;
    let version = session.engine.version(&run.facts.version).await?;
    let is_meant = |id: &str| arguments.task_regex.as_ref().is_none_or(|regex| regex.is_match(id));
    let mut said = Vec::new();
    for task in version.plan.tasks() {
        let task_id = version.plan.task(task).task_id.as_str();
        if let Some(unit) = version.plan.unit_of(task).filter(|_| is_meant(task_id)) {
            let there = match run.mapped.expansion(unit.unit).map_or(0, |expansion| expansion.count) {
                0 => "is not expanded".to_owned(),
                1 => "has one instance, `0`".to_owned(),
                count => format!("has the instances `0` to `{}`", count - 1),
            };
            let gone = if run.mapped.fallen_away(unit.unit) > 0 { "; the others are removed" } else { "" };
            said.push(format!("`{task_id}` {there}{gone}"));
        }
    }
    Ok(failure.hint(if said.is_empty() {
        "none of the tasks is mapped; leave `--map-index` out".to_owned()
    } else {
        said.join(", ")
    }))
}

async fn dags(arguments: &Arguments, session: &Session) -> Result<Vec<DagId>, Failure> {
    if !arguments.dag_regex {
        let dag_id = parse_dag_id(&arguments.dag_id)
            .map_err(|why| Failure::user(format!("`{}` is no DAG id", arguments.dag_id)).cause(why))?;
        return Ok(vec![existing(session, &dag_id).await?.dag_id]);
    }
    let regex = parse_regex(&arguments.dag_id).map_err(Failure::user)?;
    let all = session.engine.all_dags().await?.into_iter().map(|dag| dag.summary.dag_id);
    let matching: Vec<DagId> = all.filter(|dag_id| regex.is_match(dag_id.as_str())).collect();
    if matching.is_empty() {
        return Err(
            Failure::user(format!("no DAG matches `{regex}`")).hint("`updraft dags list` shows the DAGs there are")
        );
    }
    Ok(matching)
}
