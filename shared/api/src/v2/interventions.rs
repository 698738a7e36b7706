//! Clearing, marking and noting, as people ask for it.

use super::bulk::is_meant;
use super::query::Query;
use super::task_instances::{Named, find};
use super::{Failure, dag_versions, runs, shapes};
use crate::contract::Body;
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Map, Value, json};
use updraft_metastore::{Note, Noted};
use updraft_model::{DagId, RunDoc};
use updraft_service::interventions::{Affected, ClearDagRun, ClearTaskInstances, Picks, TaskPick, bodies};

type Answer = Result<Json<Value>, Failure>;

/// A body with the fields that a mask names; all of them where there is none.
fn masked(body: &Value, mask: &[&str]) -> Value {
    let mask = (!mask.is_empty()).then_some(mask);
    let fields = body.as_object().into_iter().flatten();
    let meant: Map<String, Value> = fields
        .filter(|(name, _)| name.starts_with("include_") || is_meant(body, mask, name))
        // A note that a mask names and that is null is taken away; null alone stands for not given.
        .map(|(name, value)| {
            let is_removed = name == "note" && value.is_null() && mask.is_some();
            (name.clone(), if is_removed { Value::from("") } else { value.clone() })
        })
        .collect();
    Value::Object(meant)
}

fn dag_id_of(dag_id: &str) -> Result<DagId, Failure> {
    DagId::parse(dag_id).map_err(|_| Failure::not_found(format!("The Dag with ID: `{dag_id}` was not found")))
}

/// Task instances as they stand, in the order in which they were told.
async fn shown<P: Parts>(api: &Api<P>, dag_id: &str, affected: &[Affected]) -> Result<Vec<Value>, Failure> {
    let mut answer = Vec::with_capacity(affected.len());
    let mut at = 0;
    while let Some(first) = affected.get(at) {
        let run = runs::find(api, dag_id, &first.run_id).await?;
        let version = api.engine.version(&run.facts.version).await?;
        let its = dag_versions::of_run(api, &run).await?;
        let views = api.engine.task_instances(&run).await?;
        let notes = api.engine.store.notes(&run.facts.incarnation).await?;
        while let Some(one) = affected.get(at).filter(|one| one.run_id == first.run_id) {
            let is_meant = |map: Option<u32>| one.map_index.is_none() || one.map_index == map;
            for view in views.iter().filter(|view| view.task_id == one.task_id && is_meant(view.map_index)) {
                let view = view.whole(&*api.logs).await?;
                answer.push(shapes::task_instance(&run, (&version.plan, &its), &view, &notes));
            }
            at += 1;
        }
    }
    Ok(answer)
}

fn collection(instances: Vec<Value>) -> Value {
    json!({
        "total_entries": instances.len(),
        "task_instances": instances,
        "total_entries_limit": null,
        "next_cursor": null,
        "previous_cursor": null,
    })
}

/// `POST /dags/{dag_id}/clearTaskInstances`.
pub(super) async fn clear_task_instances<P: Parts>(
    State(api): State<Api<P>>,
    Path(dag_id): Path<String>,
    Body(body): Body,
) -> Answer {
    let asked = bodies::clear_task_instances(&body)?;
    let id = dag_id_of(&dag_id)?;
    let affected = api.engine.clear_task_instances(&id, &asked.request, asked.dry_run).await?;
    Ok(Json(collection(shown(&api, &dag_id, &affected).await?)))
}

/// `POST /dags/{dag_id}/dagRuns/{dag_run_id}/clear`.
pub(super) async fn clear_run<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
    Body(body): Body,
) -> Answer {
    let asked = bodies::clear_dag_run(&body)?;
    let run = runs::find(&api, &dag_id, &run_id).await?;
    let affected = api.engine.clear_dag_run(&run.facts.dag_id, &run_id, &asked.request, asked.dry_run).await?;
    if asked.dry_run {
        let instances = shown(&api, &dag_id, &affected).await?;
        return Ok(Json(json!({"total_entries": instances.len(), "task_instances": instances})));
    }
    Ok(Json(runs::shown(&api, &runs::find(&api, &dag_id, &run_id).await?).await?))
}

/// The runs that a bulk clear names: by id, each with its DAG where the path says `~`, or by their partition.
async fn runs_to_clear<P: Parts>(api: &Api<P>, dag_id: &str, body: &Value) -> Result<Vec<RunDoc>, Failure> {
    let by_partition = ["partition_key", "partition_date_start", "partition_date_end"];
    let named = body["dag_runs"].as_array().cloned().unwrap_or_default();
    if by_partition.iter().any(|name| !body[*name].is_null()) {
        if dag_id == "~" {
            return Err(Failure::bad_request("Partition selectors require a concrete dag_id; '~' is not supported."));
        }
        return of_partition(api, dag_id, body).await;
    }
    let mut found: Vec<RunDoc> = Vec::new();
    for entry in &named {
        let run_id = entry["dag_run_id"].as_str().unwrap_or_default();
        let of = match (dag_id, entry["dag_id"].as_str()) {
            ("~", None) => {
                return Err(Failure::bad_request(format!(
                    "When the URL dag_id is '~', every entry must provide a concrete dag_id (missing on dag_run_id: '{run_id}')."
                )));
            }
            ("~", Some(of)) => of,
            (dag_id, Some(of)) if of != dag_id => {
                return Err(Failure::bad_request(format!(
                    "Entry dag_id '{of}' does not match the URL dag_id '{dag_id}'."
                )));
            }
            (dag_id, _) => dag_id,
        };
        let run = runs::find(api, of, run_id).await?;
        if found.iter().all(|other| other.facts.incarnation != run.facts.incarnation) {
            found.push(run);
        }
    }
    Ok(found)
}

/// The runs of a DAG that make a partition, or whose partition's instant lies between two.
async fn of_partition<P: Parts>(api: &Api<P>, dag_id: &str, body: &Value) -> Result<Vec<RunDoc>, Failure> {
    let at = |name: &str| body[name].as_str().and_then(crate::contract::instant);
    let (key, from, to) = (body["partition_key"].as_str(), at("partition_date_start"), at("partition_date_end"));
    let id = super::dags::find(api, dag_id).await?.summary.dag_id;
    let none = Query::default();
    let mut found = super::run_lists::filtered(api, &[id], &super::run_lists::Filters::read(&none)?).await?;
    found.retain(|run| {
        run.facts.partition.as_ref().is_some_and(|partition| {
            key.is_none_or(|key| key == partition.key)
                && from.is_none_or(|from| partition.date >= from)
                && to.is_none_or(|to| partition.date <= to)
        })
    });
    Ok(found)
}

/// `POST /dags/{dag_id}/clearDagRuns`.
pub(super) async fn clear_runs<P: Parts>(
    State(api): State<Api<P>>,
    Path(dag_id): Path<String>,
    Body(body): Body,
) -> Answer {
    const TAKEN: [&str; 5] = ["dry_run", "only_failed", "only_new", "run_on_latest_version", "note"];
    let mut rest = body.clone();
    if let Value::Object(rest) = &mut rest {
        rest.retain(|name, _| TAKEN.contains(&name.as_str()));
    }
    let asked = bodies::clear_dag_run(&rest)?;
    let found = runs_to_clear(&api, &dag_id, &body).await?;
    let (mut instances, mut cleared) = (Vec::new(), Vec::new());
    for run in &found {
        let (of, run_id) = (&run.facts.dag_id, &run.facts.run_id);
        let affected = api.engine.clear_dag_run(of, run_id, &asked.request, asked.dry_run).await?;
        if asked.dry_run {
            instances.extend(shown(&api, of.as_str(), &affected).await?);
        } else {
            cleared.push(runs::shown(&api, &runs::find(&api, of.as_str(), run_id).await?).await?);
        }
    }
    if asked.dry_run {
        return Ok(Json(json!({"total_entries": instances.len(), "task_instances": instances})));
    }
    Ok(Json(json!({
        "total_entries": cleared.len(),
        "dag_runs": cleared,
        "total_entries_limit": null,
        "next_cursor": null,
        "previous_cursor": null,
    })))
}

/// `POST /dags/{dag_id}/clearPartitions`: takes runs their partitions, and clears their task instances where that is asked for.
pub(super) async fn clear_partitions<P: Parts>(
    State(api): State<Api<P>>,
    Path(dag_id): Path<String>,
    Body(body): Body,
) -> Answer {
    let given = |names: &[&str]| names.iter().any(|name| !body[*name].is_null());
    let ways = [given(&["partition_key"]), given(&["partition_date_start", "partition_date_end"]), given(&["run_id"])];
    if ways.iter().filter(|way| **way).count() != 1 {
        let message = "Value error, Exactly one of partition_key, a partition date window or run_id must be provided";
        return Err(Failure::unprocessable(vec![
            json!({"type": "value_error", "loc": ["body"], "msg": message, "input": body}),
        ]));
    }
    let mut found = match body["run_id"].as_str() {
        Some(run_id) => vec![runs::find(&api, &dag_id, run_id).await?],
        None => of_partition(&api, &dag_id, &body).await?,
    };
    found.retain(|run| run.facts.partition.is_some());
    let dry_run = body["dry_run"].as_bool().unwrap_or(true);
    let mut instances = 0;
    for run in &found {
        // First, so that what is cleared runs without it.
        if !dry_run {
            api.engine.clear_partition(run).await?;
        }
        if body["clear_task_instances"] == true {
            let of = &run.facts;
            let cleared = api.engine.clear_dag_run(&of.dag_id, &of.run_id, &ClearDagRun::default(), dry_run).await?;
            instances += cleared.len();
        }
    }
    Ok(Json(json!({"dag_runs_cleared": found.len(), "task_instances_cleared": instances, "dry_run": dry_run})))
}

/// `PATCH /dags/{dag_id}/dagRuns/{dag_run_id}`.
pub(super) async fn patch_run<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: Query,
    Body(body): Body,
) -> Answer {
    let run = runs::find(&api, &dag_id, &run_id).await?;
    let patch = bodies::patch_dag_run(&masked(&body, &query.all("update_mask")))?;
    api.engine.patch_dag_run(&run.facts.dag_id, &run_id, &patch).await?;
    Ok(Json(runs::shown(&api, &runs::find(&api, &dag_id, &run_id).await?).await?))
}

/// Gives task instances what a body says, or says which would get it.
async fn patched<P: Parts>(
    api: &Api<P>,
    (dag_id, run_id): (&str, &str),
    picks: Picks,
    body: &Value,
    dry_run: bool,
) -> Result<Vec<Value>, Failure> {
    let run = runs::find(api, dag_id, run_id).await?;
    let (patch, note) = bodies::patch_task_instances(run_id, picks.clone(), body)?;
    if let Some(patch) = patch {
        let affected = api.engine.patch_task_instances(&run.facts.dag_id, &patch, dry_run).await?;
        return shown(api, dag_id, &affected).await;
    }
    // A note alone, on what is picked. What is picked is found as a clear would find it.
    let request = ClearTaskInstances { run_id: Some(run_id.to_owned()), picks, ..ClearTaskInstances::default() };
    let affected = api.engine.clear_task_instances(&run.facts.dag_id, &request, true).await?;
    if let (Some(note), false) = (note, dry_run) {
        let note = Note { content: note, updated_at: api.engine.now(), user: None };
        for one in &affected {
            let kept = (!note.content.is_empty()).then_some(&note);
            api.engine.store.put_note(&run.facts.incarnation, Noted::Task(one.task, one.map_index), kept).await?;
        }
    }
    shown(api, dag_id, &affected).await
}

/// What a path and its query name.
fn picked(named: &Named, query: &Query) -> Result<Picks, Failure> {
    let map_index = u32::try_from(named.map_index(query)?).ok();
    let pick = TaskPick { task_id: named.task_id.clone(), map_index };
    Ok(Picks { tasks: Some(vec![pick]), task_group_ids: Vec::new() })
}

async fn patch_one<P: Parts>(api: &Api<P>, named: &Named, query: &Query, body: &Value, dry_run: bool) -> Answer {
    find(api, &named.dag_id, &named.dag_run_id, &named.task_id).await?;
    let body = masked(body, &query.all("update_mask"));
    let place = (named.dag_id.as_str(), named.dag_run_id.as_str());
    Ok(Json(collection(patched(api, place, picked(named, query)?, &body, dry_run).await?)))
}

/// `PATCH .../taskInstances/{task_id}`, with a map index or without.
pub(super) async fn patch_task_instance<P: Parts>(
    State(api): State<Api<P>>,
    Path(named): Path<Named>,
    query: Query,
    Body(body): Body,
) -> Answer {
    patch_one(&api, &named, &query, &body, false).await
}

/// `PATCH .../taskInstances/{task_id}/dry_run`, with a map index or without.
pub(super) async fn patch_task_instance_dry<P: Parts>(
    State(api): State<Api<P>>,
    Path(named): Path<Named>,
    query: Query,
    Body(body): Body,
) -> Answer {
    patch_one(&api, &named, &query, &body, true).await
}

async fn patch_group<P: Parts>(
    api: &Api<P>,
    (dag_id, run_id, group_id): (String, String, String),
    query: &Query,
    body: &Value,
    dry_run: bool,
) -> Answer {
    let picks = Picks { tasks: None, task_group_ids: vec![group_id] };
    let body = masked(body, &query.all("update_mask"));
    Ok(Json(collection(patched(api, (&dag_id, &run_id), picks, &body, dry_run).await?)))
}

/// `PATCH .../taskGroupInstances/{group_id}`.
pub(super) async fn patch_task_group<P: Parts>(
    State(api): State<Api<P>>,
    Path(place): Path<(String, String, String)>,
    query: Query,
    Body(body): Body,
) -> Answer {
    patch_group(&api, place, &query, &body, false).await
}

/// `PATCH .../taskGroupInstances/{group_id}/dry_run`.
pub(super) async fn patch_task_group_dry<P: Parts>(
    State(api): State<Api<P>>,
    Path(place): Path<(String, String, String)>,
    query: Query,
    Body(body): Body,
) -> Answer {
    patch_group(&api, place, &query, &body, true).await
}

/// `DELETE .../taskInstances/{task_id}`: it loses its state, and is worked anew only if its run goes on. Airflow forgets it and makes it again.
pub(super) async fn delete_task_instance<P: Parts>(
    State(api): State<Api<P>>,
    Path(named): Path<Named>,
    query: Query,
) -> Answer {
    let (run, _) = find(&api, &named.dag_id, &named.dag_run_id, &named.task_id).await?;
    let request = ClearTaskInstances {
        run_id: Some(named.dag_run_id.clone()),
        picks: picked(&named, &query)?,
        reset_dag_runs: false,
        ..ClearTaskInstances::default()
    };
    api.engine.clear_task_instances(&run.facts.dag_id, &request, false).await?;
    Ok(Json(Value::Null))
}

/// What came of the actions of a bulk request, action by action.
struct Results(Map<String, Value>);

impl Results {
    fn new() -> Self {
        Self(["create", "update", "delete"].into_iter().map(|verb| (verb.to_owned(), Value::Null)).collect())
    }

    fn note(&mut self, verb: &str, name: String, result: Result<(), Failure>) {
        let of_verb = self.0.entry(verb).or_insert(Value::Null);
        if of_verb.is_null() {
            *of_verb = json!({"success": [], "errors": []});
        }
        let (field, entry) = match result {
            Ok(()) => ("success", Value::from(name)),
            Err(failure) => ("errors", json!({"error": failure.text(), "status_code": failure.status().as_u16()})),
        };
        if let Value::Array(all) = &mut of_verb[field] {
            all.push(entry);
        }
    }
}

/// Whether a thing that is not there is passed over.
fn skips_missing(action: &Value, result: &Result<(), Failure>) -> bool {
    action["action_on_non_existence"] == "skip" && result.as_ref().is_err_and(|failure| failure.status() == 404)
}

/// `PATCH /dags/{dag_id}/dagRuns`: `~` where each entry names its DAG.
pub(super) async fn bulk_runs<P: Parts>(
    State(api): State<Api<P>>,
    Path(dag_id): Path<String>,
    Body(body): Body,
) -> Answer {
    let mut results = Results::new();
    for action in body["actions"].as_array().into_iter().flatten() {
        let verb = action["action"].as_str().unwrap_or_default();
        for entity in action["entities"].as_array().into_iter().flatten() {
            let run_id = entity.as_str().or_else(|| entity["dag_run_id"].as_str()).unwrap_or_default();
            let of = if dag_id == "~" { entity["dag_id"].as_str().unwrap_or_default() } else { &dag_id };
            let result = match verb {
                "update" => bulk_patch_run(&api, of, run_id, entity, action).await,
                "delete" => bulk_delete_run(&api, of, run_id).await,
                _ => Err(Failure::new(
                    axum::http::StatusCode::METHOD_NOT_ALLOWED,
                    "Dag Runs are not created in bulk; trigger them",
                )),
            };
            if !skips_missing(action, &result) {
                results.note(verb, format!("{of}.{run_id}"), result);
            }
        }
    }
    Ok(Json(Value::Object(results.0)))
}

async fn bulk_patch_run<P: Parts>(
    api: &Api<P>,
    dag_id: &str,
    run_id: &str,
    entity: &Value,
    action: &Value,
) -> Result<(), Failure> {
    let mask: Vec<&str> = action["update_mask"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut patch = masked(entity, &mask);
    if let Value::Object(fields) = &mut patch {
        fields.retain(|name, _| ["state", "note"].contains(&name.as_str()));
    }
    let run = runs::find(api, dag_id, run_id).await?;
    api.engine.patch_dag_run(&run.facts.dag_id, run_id, &bodies::patch_dag_run(&patch)?).await?;
    Ok(())
}

async fn bulk_delete_run<P: Parts>(api: &Api<P>, dag_id: &str, run_id: &str) -> Result<(), Failure> {
    runs::deleted(api, dag_id, run_id).await
}

/// `PATCH .../taskInstances`.
pub(super) async fn bulk_task_instances<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
    Body(body): Body,
) -> Answer {
    let mut results = Results::new();
    for action in body["actions"].as_array().into_iter().flatten() {
        let verb = action["action"].as_str().unwrap_or_default();
        for entity in action["entities"].as_array().into_iter().flatten() {
            let task_id = entity.as_str().or_else(|| entity["task_id"].as_str()).unwrap_or_default();
            let of = |path: &str, name: &str| {
                if path == "~" { entity[name].as_str().unwrap_or_default().to_owned() } else { path.to_owned() }
            };
            let (of_dag, of_run) = (of(&dag_id, "dag_id"), of(&run_id, "dag_run_id"));
            let map_index = entity["map_index"].as_u64().and_then(|index| u32::try_from(index).ok());
            let pick = TaskPick { task_id: task_id.to_owned(), map_index };
            let picks = Picks { tasks: Some(vec![pick]), task_group_ids: Vec::new() };
            let result = bulk_one(&api, verb, (&of_dag, &of_run), picks, entity).await;
            if !skips_missing(action, &result) {
                let index = map_index.map_or(-1, i64::from);
                results.note(verb, format!("{of_dag}.{of_run}.{task_id}[{index}]"), result);
            }
        }
    }
    Ok(Json(Value::Object(results.0)))
}

async fn bulk_one<P: Parts>(
    api: &Api<P>,
    verb: &str,
    place: (&str, &str),
    picks: Picks,
    entity: &Value,
) -> Result<(), Failure> {
    match verb {
        "update" => {
            let mut body = masked(entity, &[]);
            if let Value::Object(fields) = &mut body {
                fields.retain(|name, _| name.starts_with("include_") || ["new_state", "note"].contains(&name.as_str()));
            }
            patched(api, place, picks, &body, false).await.map(|_| ())
        }
        "delete" => {
            let run = runs::find(api, place.0, place.1).await?;
            let run_id = Some(place.1.to_owned());
            let request = ClearTaskInstances { run_id, picks, reset_dag_runs: false, ..ClearTaskInstances::default() };
            api.engine.clear_task_instances(&run.facts.dag_id, &request, false).await?;
            Ok(())
        }
        _ => Err(Failure::new(
            axum::http::StatusCode::METHOD_NOT_ALLOWED,
            "Task instances are made by their runs, not in bulk",
        )),
    }
}
