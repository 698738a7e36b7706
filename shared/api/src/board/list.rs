//! The list of DAGs with their latest runs.

use super::{Fresh, brief};
use crate::auth::Caller;
use crate::parts::{Api, Parts};
use crate::v2::{Failure, Query, dags};
use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use updraft_metastore::DagSummary;
use updraft_model::{DagDoc, DagId, RunDoc};
use updraft_service::views::DagView;

/// How many of a DAG's latest runs are shown.
const LATEST_RUNS: usize = 14;

/// How many DAGs' latest runs are looked at for those of one state.
pub(super) const LOOKED_AT_MAX: usize = 200;

/// Which DAGs are wanted.
struct Wanted<'q> {
    search: &'q str,
    paused: Option<bool>,
    tags: Vec<&'q str>,
    owners: Vec<&'q str>,
    ids: Vec<&'q str>,
    /// Whether whoever asks has marked it.
    favorite: Option<bool>,
    /// The state of the latest run.
    state: Option<&'q str>,
}

impl<'q> Wanted<'q> {
    fn read(query: &'q Query) -> Result<Self, Failure> {
        Ok(Self {
            search: query.text("search").unwrap_or_default(),
            paused: query.boolean("paused")?,
            tags: query.all("tag"),
            owners: query.all("owner"),
            ids: query.all("dag_id"),
            favorite: query.boolean("favorite")?,
            state: query.text("state").filter(|state| !state.is_empty()),
        })
    }

    fn holds(&self, summary: &DagSummary, doc: Option<&DagDoc>) -> bool {
        let id = summary.dag_id.as_str();
        let found = Query::like(self.search, id)
            || summary.description.as_deref().is_some_and(|text| Query::like(self.search, text));
        let tagged = self.tags.iter().all(|tag| summary.tags.iter().any(|its| its == tag));
        let owned = self.owners.is_empty() || self.owners.iter().any(|o| summary.owners.iter().any(|its| its == o));
        let named = self.ids.is_empty() || self.ids.contains(&id);
        found && tagged && owned && named && self.paused.is_none_or(|p| doc.is_some_and(|d| d.paused) == p)
    }
}

/// A page of DAGs with their latest runs, what they can be filtered by, and how things stand on the whole.
pub(super) async fn overview<P: Parts>(
    State(api): State<Api<P>>,
    Extension(caller): Extension<Caller>,
    query: Query,
    headers: HeaderMap,
) -> Result<Fresh, Failure> {
    let page = query.page()?;
    let wanted = Wanted::read(&query)?;
    let favorites = api.engine.store.favorites(&caller.username).await?;
    let bad = dags::bad_files(&api).await?;
    let mut summaries = api.engine.all_dag_summaries().await?;
    summaries.retain(|s| !s.is_stale);
    let ids: Vec<DagId> = summaries.iter().map(|s| s.dag_id.clone()).collect();
    let mut docs: BTreeMap<DagId, DagDoc> =
        api.engine.readable_dags(&ids).await?.into_iter().map(|d| (d.dag_id.clone(), d)).collect();
    let counts = json!({
        "dags": summaries.len(),
        "paused": docs.values().filter(|d| d.paused).count(),
        "active_runs": docs.values().map(|d| d.active.len()).sum::<usize>(),
        "import_errors": bad.len(),
    });
    let all =
        |of: fn(&DagSummary) -> &[String]| -> BTreeSet<String> { summaries.iter().flat_map(of).cloned().collect() };
    let (tags, owners) = (all(|s| &s.tags), all(|s| &s.owners));
    summaries.retain(|s| wanted.holds(s, docs.get(&s.dag_id)));
    summaries.retain(|s| wanted.favorite.is_none_or(|wish| wish == favorites.contains(&s.dag_id)));
    let looked_at = if wanted.state.is_some() { summaries.len().min(LOOKED_AT_MAX) } else { 0 };
    if let Some(state) = wanted.state {
        summaries = in_state(&api, summaries, &docs, state).await?;
    }
    if query.text("order_by") == Some("next") {
        let due = |s: &DagSummary| docs.get(&s.dag_id).filter(|d| !d.paused).and_then(|d| d.next_due);
        summaries.sort_by_key(|s| (due(s).is_none(), due(s)));
    }
    let total = summaries.len();
    let mut shown = Vec::new();
    for summary in page.of(summaries) {
        let latest = api.engine.list_runs(&summary.dag_id, LATEST_RUNS, None).await?.items;
        let view = DagView { doc: docs.remove(&summary.dag_id), summary };
        let mut dag = dags::shown(&api, &view, &bad).await?;
        dag["latest_runs"] = latest.iter().map(brief).collect::<Vec<Value>>().into();
        dag["is_favorite"] = favorites.contains(&view.summary.dag_id).into();
        dag["timezone"] = super::zone(&api, view.doc.as_ref()).await?;
        shown.push(dag);
    }
    let body = json!({
        "dags": shown,
        "total_entries": total,
        "counts": counts,
        "tags": tags,
        "owners": owners,
        "looked_at": looked_at,
    });
    Ok(Fresh::new(&body, headers))
}

/// Those whose latest run is in a state, or that have any such run under way.
async fn in_state<P: Parts>(
    api: &Api<P>,
    of: Vec<DagSummary>,
    docs: &BTreeMap<DagId, DagDoc>,
    state: &str,
) -> Result<Vec<DagSummary>, Failure> {
    let mut found = Vec::new();
    for summary in of.into_iter().take(LOOKED_AT_MAX) {
        let doc = docs.get(&summary.dag_id);
        let holds = match state {
            "running" => doc.is_some_and(|d| !d.active.is_empty()),
            "queued" => doc.is_some_and(|d| !d.held.is_empty()),
            _ => {
                let latest: Vec<RunDoc> = api.engine.list_runs(&summary.dag_id, 1, None).await?.items;
                latest.first().is_some_and(|run| run.state.as_str() == state)
            }
        };
        if holds {
            found.push(summary);
        }
    }
    Ok(found)
}
