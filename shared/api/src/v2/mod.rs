//! Airflow's REST API v2: paths, fields, status codes and error bodies of its stable API, as far as there is something here to answer.
//!
//! | method, path below `/api/v2` | requests to the metastore |
//! |---|---|
//! | GET `/dags` | the directory (one per 1 MB), and two batches for the page |
//! | GET, PATCH `/dags/{dag_id}`; GET `/dags/{dag_id}/details`, `/tasks`, `/tasks/{task_id}` | 3 at most |
//! | GET, POST `/dags/{dag_id}/dagRuns` | list: one for every 100 runs passed over, at most [`runs::LOOKED_AT_MAX`] runs |
//! | GET `/dags/{dag_id}/dagRuns/{dag_run_id}` | 2 |
//! | GET `.../taskInstances`, `/taskInstances/{task_id}`, `/tries`, `/tries/{n}`, `/logs/{n}`, `/xcomEntries`, `/xcomEntries/{key}` | 4 at most |
//! | GET `/importErrors`, `/importErrors/{id}`, `/dagTags` | one per 1 MB |

pub(crate) mod dags;
mod error;
mod query;
pub(crate) mod runs;
pub(crate) mod shapes;
mod task_instances;
mod values;

pub(crate) use error::Failure;
pub(crate) use query::Query;

use crate::parts::{Api, Parts};
use axum::Router;
use axum::routing::get;

/// The routes below `/api/v2`.
pub(crate) fn routes<P: Parts>() -> Router<Api<P>> {
    let run = "/dags/{dag_id}/dagRuns/{dag_run_id}";
    let task = format!("{run}/taskInstances/{{task_id}}");
    Router::new()
        .route("/dags", get(dags::list::<P>))
        .route("/dags/{dag_id}", get(dags::one::<P>).patch(dags::patch::<P>))
        .route("/dags/{dag_id}/details", get(dags::details::<P>))
        .route("/dags/{dag_id}/tasks", get(dags::tasks::<P>))
        .route("/dags/{dag_id}/tasks/{task_id}", get(dags::task::<P>))
        .route("/dagTags", get(dags::tags::<P>))
        .route("/importErrors", get(dags::import_errors::<P>))
        .route("/importErrors/{import_error_id}", get(dags::import_error::<P>))
        .route("/dags/{dag_id}/dagRuns", get(runs::list::<P>).post(runs::trigger::<P>))
        .route(run, get(runs::one::<P>))
        .route(&format!("{run}/taskInstances"), get(task_instances::list::<P>))
        .route(&task, get(task_instances::one::<P>))
        .route(&format!("{task}/tries"), get(task_instances::tries::<P>))
        .route(&format!("{task}/tries/{{try_number}}"), get(task_instances::one_try::<P>))
        .route(&format!("{task}/logs/{{try_number}}"), get(values::logs::<P>))
        .route(&format!("{task}/xcomEntries"), get(values::xcoms::<P>))
        .route(&format!("{task}/xcomEntries/{{xcom_key}}"), get(values::xcom::<P>))
        .fallback(|| async { Failure::not_found("Not Found") })
        .method_not_allowed_fallback(|| async { Failure::method_not_allowed() })
}
