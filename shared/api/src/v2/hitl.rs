//! Human in the loop: what tasks ask people, and the answers.

use super::order::sort_by;
use super::query::Query;
use super::task_instances::Named;
use super::{Failure, dag_versions, dags, run_lists, runs, shapes, task_instances};
use crate::auth::Caller;
use crate::contract::Body;
use crate::parts::{Api, Parts};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde_json::{Map, Value, json};
use updraft_model::{DagId, HitlUser};
use updraft_service::Error;
use updraft_service::hitl::{Answer as Given, HitlFilter, HitlView, asks};

type Answer = Result<Json<Value>, Failure>;

/// What `HITLDetail` and `HITLDetailHistory` have in common.
fn question(view: &HitlView) -> Value {
    let detail = &view.detail;
    let response = detail.response.as_ref();
    json!({
        "options": detail.options,
        "subject": detail.subject,
        "body": detail.body,
        "defaults": detail.defaults,
        "multiple": detail.multiple,
        "params": detail.params,
        "assigned_users": detail.assigned_users,
        "created_at": shapes::time(detail.created_at),
        "responded_by_user": response.and_then(|response| response.responded_by_user.as_ref()),
        "responded_at": response.map(|response| shapes::time(response.responded_at)),
        "chosen_options": response.map(|response| &response.chosen_options),
        "params_input": response.map(|response| response.params_input.clone()).unwrap_or_default(),
        "response_received": response.is_some(),
    })
}

/// `HITLDetail`.
async fn shown<P: Parts>(api: &Api<P>, view: &HitlView) -> Result<Value, Failure> {
    let version = api.engine.version(&view.run.facts.version).await?;
    let of = (&version.plan, &dag_versions::of_run(api, &view.run).await?);
    let instance = api.engine.task_instance(&view.run, view.task).await?;
    let instance = instance.whole(&*api.logs).await?;
    let notes = api.engine.store.notes(&view.run.facts.incarnation).await?;
    let mut shown = question(view);
    shown["task_instance"] = shapes::task_instance(&view.run, of, &instance, &notes);
    Ok(shown)
}

/// What a task instance has asked, with Airflow's words where there is nothing.
async fn find<P: Parts>(api: &Api<P>, named: &Named, number: Option<i64>) -> Result<HitlView, Failure> {
    let Named { dag_id, dag_run_id, task_id, .. } = named;
    let map_index = named.map_index(&Query::default())?;
    let missing = || {
        let of_try = number.map(|number| format!(", try_number: `{number}`")).unwrap_or_default();
        Failure::not_found(format!(
            "The Human-in-the-loop Detail with dag_id: `{dag_id}`, dag_run_id: `{dag_run_id}`, task_id: `{task_id}` and map_index: `{map_index}`{of_try} was not found"
        ))
    };
    let (run, task) = task_instances::find_at(api, dag_id, dag_run_id, task_id, map_index).await?;
    let number = number.map(|number| u32::try_from(number).map_err(|_| missing())).transpose()?;
    match api.engine.hitl_detail(&run, task, number).await {
        Err(Error::NotFound { .. }) => Err(missing()),
        found => Ok(found?),
    }
}

/// `GET .../taskInstances/{task_id}/{map_index}/hitlDetails`.
pub(super) async fn one<P: Parts>(State(api): State<Api<P>>, Path(named): Path<Named>) -> Answer {
    Ok(Json(shown(&api, &find(&api, &named, None).await?).await?))
}

/// `GET .../hitlDetails/tries/{try_number}`.
pub(super) async fn of_try<P: Parts>(
    State(api): State<Api<P>>,
    Path(path): Path<(String, String, String, i64, i64)>,
) -> Answer {
    let (dag_id, dag_run_id, task_id, map_index, number) = path;
    let named = Named::new(dag_id, dag_run_id, task_id, map_index);
    let view = find(&api, &named, Some(number)).await?;
    let version = api.engine.version(&view.run.facts.version).await?;
    let of = (&version.plan, &dag_versions::of_run(&api, &view.run).await?);
    let tries = api.engine.tries_of(&view.run, view.task, None).await?;
    let missing = || Failure::not_found(format!("The try {number} was not found"));
    let tried = tries.iter().find(|tried| tried.try_number == view.try_number).ok_or_else(missing)?;
    let mut shown = question(&view);
    shown["task_instance"] = shapes::one_try(&view.run, of, view.task, None, tried);
    Ok(Json(shown))
}

/// `PATCH .../taskInstances/{task_id}/{map_index}/hitlDetails`: answers.
pub(super) async fn respond<P: Parts>(
    State(api): State<Api<P>>,
    Extension(caller): Extension<Caller>,
    Path(named): Path<Named>,
    Body(body): Body,
) -> Answer {
    let asked = find(&api, &named, None).await?;
    let chosen = body["chosen_options"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let given = Given {
        chosen_options: chosen.map(str::to_owned).collect(),
        params_input: body["params_input"].as_object().cloned().unwrap_or_else(Map::new),
        user: HitlUser { id: caller.username.clone(), name: caller.username },
    };
    let view = Box::pin(api.engine.respond(&asked.run, asked.task, &given)).await?;
    let Some(response) = &view.detail.response else {
        return Err(Failure::conflict("the answer was taken, and the task has been cleared since"));
    };
    Ok(Json(json!({
        "responded_by": response.responded_by_user,
        "responded_at": shapes::time(response.responded_at),
        "chosen_options": response.chosen_options,
        "params_input": response.params_input,
    })))
}

const ORDERS: [&str; 10] = [
    "ti_id",
    "subject",
    "responded_at",
    "created_at",
    "responded_by_user_id",
    "responded_by_user_name",
    "dag_id",
    "run_id",
    "rendered_map_index",
    "task_instance_operator",
];

/// The questions of these runs: those that wait, or those that were answered too.
async fn asked<P: Parts>(
    api: &Api<P>,
    dag_id: &str,
    run_id: &str,
    only_waiting: bool,
) -> Result<Vec<HitlView>, Failure> {
    if run_id != "~" {
        if dag_id == "~" {
            return Err(Failure::bad_request("dag_id is required when dag_run_id is specified"));
        }
        let run = runs::find(api, dag_id, run_id).await?;
        return of_run(api, &run).await;
    }
    if only_waiting {
        let dag_id = if dag_id == "~" { None } else { Some(dags::find(api, dag_id).await?.summary.dag_id) };
        return Ok(api.engine.list_hitl_details(&HitlFilter { dag_id, ..HitlFilter::default() }).await?);
    }
    let query = Query::default();
    let ids: Vec<DagId> = run_lists::named(api, dag_id, &query).await?;
    let mut found = Vec::new();
    for run in run_lists::filtered(api, &ids, &run_lists::Filters::read(&query)?).await? {
        found.extend(of_run(api, &run).await?);
    }
    Ok(found)
}

async fn of_run<P: Parts>(api: &Api<P>, run: &updraft_model::RunDoc) -> Result<Vec<HitlView>, Failure> {
    let version = api.engine.version(&run.facts.version).await?;
    let mut found = Vec::new();
    for task in version.plan.tasks().filter(|task| asks(&version.plan, *task)) {
        match api.engine.hitl_detail(run, task, None).await {
            Err(Error::NotFound { .. }) => {}
            view => found.push(view?),
        }
    }
    Ok(found)
}

fn holds(query: &Query, view: &HitlView) -> Result<bool, Failure> {
    let detail = &view.detail;
    let response = detail.response.as_ref();
    let by = response.and_then(|response| response.responded_by_user.as_ref());
    let contains = |name: &str, text: &str| query.text(name).is_none_or(|wish| Query::like(wish, text));
    let named = |name: &str, of: fn(&HitlUser) -> &str| {
        query.all(name).is_empty() || by.is_some_and(|user| query.all(name).contains(&of(user)))
    };
    Ok(query.matches("dag_id", view.run.facts.dag_id.as_str())
        && query.text("task_id").is_none_or(|wish| wish == view.task_id)
        && query.matches("task_id", &view.task_id)
        && query.integer::<i64>("map_index")?.is_none_or(|index| index == -1)
        && query.is_one_of("state", view.state.as_str())
        && query.boolean("response_received")?.is_none_or(|wish| wish == response.is_some())
        && named("responded_by_user_id", |user| &user.id)
        && named("responded_by_user_name", |user| &user.name)
        && contains("subject_search", &detail.subject)
        && contains("body_search", detail.body.as_deref().unwrap_or_default())
        && query.times("created_at")?.hold(Some(detail.created_at)))
}

/// `GET .../hitlDetails`; `~` for all DAGs, and for all runs.
pub(super) async fn list<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: Query,
) -> Answer {
    let page = query.page()?;
    let order = query.order_by("ti_id", &ORDERS)?;
    // Over all runs, what waits is looked for in the runs under way; what was never answered and waits no more is found by its state.
    let states = query.all("state");
    let only_waiting =
        query.boolean("response_received")? == Some(false) && (states.is_empty() || states == ["awaiting_input"]);
    let mut found = Vec::new();
    for view in asked(&api, &dag_id, &run_id, only_waiting).await? {
        if holds(&query, &view)? {
            found.push(view);
        }
    }
    sort_by(&mut found, &order, |view, name| {
        let response = view.detail.response.as_ref();
        let by = response.and_then(|response| response.responded_by_user.as_ref());
        match name {
            "created_at" => view.detail.created_at.into(),
            "responded_at" => response.map(|response| response.responded_at).into(),
            "subject" => view.detail.subject.clone().into(),
            "responded_by_user_id" => by.map(|user| user.id.clone()).into(),
            "responded_by_user_name" => by.map(|user| user.name.clone()).into(),
            "dag_id" => view.run.facts.dag_id.to_string().into(),
            "run_id" => view.run.facts.run_id.clone().into(),
            _ => view.run.facts.queued_at.into(),
        }
    });
    let total = found.len();
    let mut details = Vec::new();
    for view in page.of(found) {
        details.push(shown(&api, &view).await?);
    }
    Ok(Json(json!({"hitl_details": details, "total_entries": total})))
}
