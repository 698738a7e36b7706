//! `updraft tasks clear`

use crate::clearing::{Picked, Which, clear};
use crate::dags::{existing, parse_dag_id, parse_instant};
use crate::failure::Failure;
use crate::matching::parse_regex;
use crate::metastore::Session;
use crate::printer::Printer;
use jiff::Timestamp;
use regex::Regex;
use std::collections::BTreeSet;
use updraft_model::{DagId, Plan, RunDoc, TaskIndex};

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

    #[command(flatten)]
    which: Which,
}

impl Arguments {
    fn wants(&self, run: &RunDoc) -> bool {
        let date = run.facts.logical_date;
        self.start_date.is_none_or(|start| date.is_some_and(|date| date >= start))
            && self.end_date.is_none_or(|end| date.is_some_and(|date| date <= end))
    }

    /// The tasks of a plan that are meant.
    fn tasks(&self, plan: &Plan) -> BTreeSet<TaskIndex> {
        let matches = |task: &TaskIndex| match &self.task_regex {
            Some(regex) => regex.is_match(plan.task(*task).task_id.as_str()),
            None => true,
        };
        let named: Vec<TaskIndex> = plan.tasks().filter(matches).collect();
        let mut all: BTreeSet<TaskIndex> = named.iter().copied().collect();
        if self.downstream {
            all.extend(named.iter().flat_map(|task| plan.descendants(*task)));
        }
        if self.upstream {
            let mut left = named;
            while let Some(task) = left.pop() {
                left.extend(plan.upstream(task).iter().copied().filter(|above| all.insert(*above)));
            }
        }
        all
    }
}

/// Clears task instances, once that is agreed on.
pub(crate) async fn run(arguments: Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let mut picked = Vec::new();
    let mut any_task = false;
    for dag_id in dags(&arguments, session).await? {
        let mut page = None;
        loop {
            let found = session.engine.store.list_runs(&dag_id, 100, page).await?;
            for run in found.items.into_iter().filter(|run| arguments.wants(run)) {
                let version = session.engine.version(&run.facts.version).await?;
                let tasks = arguments.tasks(&version.plan);
                any_task |= !tasks.is_empty();
                picked.push(Picked::new(run, version, &tasks, &arguments.which));
            }
            page = found.next;
            if page.is_none() {
                break;
            }
        }
    }
    if let (Some(regex), false, false) = (&arguments.task_regex, any_task, picked.is_empty()) {
        return Err(Failure::user(format!("no task matches `{regex}`"))
            .hint(format!("`updraft tasks list {}` shows the tasks there are", arguments.dag_id)));
    }
    clear(picked, &arguments.which, session, printer).await
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
