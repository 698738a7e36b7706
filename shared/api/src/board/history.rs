//! Many runs in few bytes, for the calendar and the durations over time.

use super::Fresh;
use crate::parts::{Api, Parts};
use crate::v2::{Failure, Query, dags};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};
use updraft_model::RunDoc;
use updraft_service::views::DagView;

/// How many runs are looked at.
pub(super) const RUNS_MAX: usize = 1000;

/// How many runs to come are told.
const UPCOMING_MAX: usize = 120;

/// The latest runs, the newest first, each as `[run_id, state, run type, run_after, start, end]` in milliseconds, and those to come.
pub(super) async fn history<P: Parts>(
    State(api): State<Api<P>>,
    Path(dag_id): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Fresh, Failure> {
    let view = dags::find(&api, &dag_id).await?;
    let wanted = query.integer("runs")?.unwrap_or(RUNS_MAX).min(RUNS_MAX);
    let (mut runs, mut at): (Vec<RunDoc>, _) = (Vec::new(), None);
    let mut more = wanted > 0;
    while more && runs.len() < wanted {
        let found = api.engine.list_runs(&view.summary.dag_id, 100, at).await?;
        runs.extend(found.items);
        at = found.next;
        more = at.is_some();
    }
    more |= runs.len() > wanted;
    runs.truncate(wanted);
    let shown: Vec<Value> = runs.iter().map(row).collect();
    let upcoming = upcoming(&api, &view).await?;
    Ok(Fresh::new(&json!({"runs": shown, "more": more, "upcoming": upcoming}), headers))
}

fn row(run: &RunDoc) -> Value {
    let facts = &run.facts;
    json!([
        facts.run_id,
        run.state,
        facts.run_type,
        facts.run_after.as_millisecond(),
        run.start_date.map(jiff::Timestamp::as_millisecond),
        run.end_date.map(jiff::Timestamp::as_millisecond),
    ])
}

/// When the next runs are due by the timetable, in milliseconds.
async fn upcoming<P: Parts>(api: &Api<P>, view: &DagView) -> Result<Vec<i64>, Failure> {
    let Some(doc) = view.doc.as_ref().filter(|doc| !doc.paused && doc.next_due.is_some()) else {
        return Ok(Vec::new());
    };
    let Some(version) = &doc.version else { return Ok(Vec::new()) };
    let version = api.engine.version(version).await?;
    let dag = &version.plan.dag;
    let (mut last, mut due) = (doc.last, Vec::new());
    while due.len() < UPCOMING_MAX {
        let next = dag.timetable.next_dagrun_info(last.as_ref(), &dag.time_restriction(), api.engine.now());
        let Some(info) = next.ok().flatten() else { break };
        due.push(info.run_after.as_millisecond());
        // Without an interval there is nothing to go on from.
        let Some(interval) = info.data_interval.filter(|interval| Some(*interval) != last) else { break };
        last = Some(interval);
    }
    Ok(due)
}
