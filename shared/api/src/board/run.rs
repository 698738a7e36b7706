//! A run with the states of all its tasks, in columns, as far as its document says: 10,000 of them are some 200 KB. When they began and ended
//! is asked for apart ([`super::times`]).

use super::{Fresh, letter};
use crate::parts::{Api, Parts};
use crate::v2::{Failure, runs};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde_json::json;

/// A run, its tasks and how each stands.
pub(super) async fn one<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Fresh, Failure> {
    let run = runs::find(&api, &dag_id, &run_id).await?;
    let version = api.engine.version(&run.facts.version).await?;
    let plan = &version.plan;
    let body = json!({
        "run": runs::shown(&api, &run).await?,
        "tasks": super::grid::tasks(plan),
        "rows": super::grid::rows(plan),
        "states": plan.tasks().map(|task| letter(run.task_state(task))).collect::<String>(),
        "tries": plan.tasks().map(|task| run.cell(task).try_number()).collect::<Vec<_>>(),
        "base": super::begun(&run),
        "mapped": super::mapped(&run, plan, plan),
    });
    Ok(Fresh::new(&body, headers))
}
