//! `updraft tasks list`

use crate::dags::{existing, parse_dag_id, short_name};
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows};
use serde_json::json;
use updraft_model::DagId;

/// Which DAG.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = parse_dag_id)]
    dag_id: DagId,
}

/// Lists the tasks of the DAG's current version, upstreams before downstreams.
pub(crate) async fn run(arguments: &Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let dag = existing(session, &arguments.dag_id).await?;
    let Some(version) = &dag.version else {
        return Err(Failure::user(format!("the DAG `{}` has no tasks to list", dag.dag_id))
            .cause(format!("its file `{}` is gone, or no longer declares it", dag.file)));
    };
    let version = session.engine.version(version).await?;
    let mut rows = Rows::new(&["task_id", "operator_name", "trigger_rule", "retries", "upstream_task_ids"]);
    for index in version.plan.tasks() {
        let task = version.plan.task(index);
        let upstream = version.plan.upstream(index).iter().map(|t| version.plan.task(*t).task_id.as_str());
        rows.push(vec![
            Cell::text(&task.task_id),
            Cell::text(short_name(&task.operator)),
            Cell::text(task.trigger_rule),
            Cell::Json(task.retries.into()),
            Cell::Json(json!(upstream.collect::<Vec<_>>())),
        ]);
    }
    printer.rows(&rows)
}
