//! What clearing and marking change, on the service layer and over HTTP: `clear_mark.json`.
//!
//! Airflow's API changes rows, and its scheduler decides later; we decide in the same write. So the change is compared by itself, as people
//! are told of it before they agree, and then it is made: what is found afterwards may differ only where a cleared task instance went on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};
use updraft_model::cell::{End, Wait};
use updraft_model::{
    Act, Cell, Dag, DagId, DagRunState, DagRunType, Expansion, Incarnation, Lease, MappedEntry, MappedKey,
    PageDoc, PageKey, Plan, RunDoc, RunFacts, RunOrigin, Slot, TaskIndex, TaskInstanceState, Token,
};
use updraft_scheduling::pages::{self, Closing};
use updraft_scheduling::step;
use updraft_service::Error;
use updraft_service::interventions::{Affected, Picks, Planned, TaskPick, bodies};

use crate::harness::{Tally, Verdict, judge_cases, load};
use crate::http::{self, Way};
use crate::service::{NOW, TestEngine, engine, put_run, status, version_of};
use crate::shapes::{load_text, parse};

pub(crate) fn judge_file() -> Option<Tally> {
    judge_by("clear_mark", false)
}

/// The cases, by requests to the routes where `is_http`.
pub(crate) fn judge_by(name: &'static str, is_http: bool) -> Option<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be built");
    let recorded = load("clear_mark")?;
    Some(judge_cases(name, &recorded.cases, |case| {
        let case: Case = parse(case);
        let words = recorded.header["dags"][&case.dag].as_str().unwrap_or_default();
        match dag(&case.dag, words) {
            Bound::Dag(dag) => runtime.block_on(judge_request(&case, *dag, is_http)),
            Bound::Nowhere => Verdict::Unbound(format!("dag={}: {words}", case.dag)),
        }
    }))
}

enum Bound {
    Dag(Box<Dag>),
    Nowhere,
}

/// What the words of the file's header mean.
fn dag(name: &str, words: &str) -> Bound {
    let group = "  task_groups: {g: {}}\n";
    let chain = "    a: {operator: BashOperator, bash_command: x, retries: 2}
    b: {operator: BashOperator, bash_command: x, dependencies: [a]}
    c: {operator: BashOperator, bash_command: x, dependencies: [a]}
    e: {operator: BashOperator, bash_command: x, dependencies: [b, c]}
    x: {operator: BashOperator, bash_command: x, task_group_name: g, dependencies: [e]}
    y: {operator: BashOperator, bash_command: x, task_group_name: g, dependencies: [x]}
";
    let mapped = "    a: {operator: BashOperator, bash_command: x}
    m: {operator: BashOperator, expand: {bash_command: [x, y, z]}, dependencies: [a]}
    z: {operator: BashOperator, bash_command: x, dependencies: [m]}
";
    let (schedule, groups, tasks) = match words {
        "a(retries=2)>>b>>e, a>>c>>e, e>>g.x>>g.y; schedule @daily" => ("'@daily'", group, chain),
        "same as cl_daily with schedule=None" => ("null", group, chain),
        "setup s >> w >> w2 >> teardown t, s >> t" => {
            return Bound::Dag(Box::new(setup_and_teardown(name)));
        }
        "a >> m (mapped over 3 items) >> z" => ("'@daily'", "", mapped),
        _ => return Bound::Nowhere,
    };
    let text = format!("{name}:\n  schedule: {schedule}\n  start_date: 2025-01-01\n{groups}  tasks:\n{tasks}");
    Bound::Dag(Box::new(load_text(&text).unwrap_or_else(|why| panic!("{name}: {why}"))))
}

fn setup_and_teardown(name: &str) -> Dag {
    let task = |id: &str, upstream: &[u32]| updraft_model::Task {
        upstream: upstream.iter().copied().map(TaskIndex).collect(),
        is_setup: id == "s",
        is_teardown: id == "t",
        ..updraft_model::Task::new(updraft_model::TaskId::trusted(id), "airflow.providers.standard.operators.bash.BashOperator")
    };
    Dag::new(DagId::trusted(name), vec![task("s", &[]), task("w", &[0]), task("w2", &[1]), task("t", &[0, 2])])
}

#[derive(Deserialize)]
struct Case {
    op: String,
    dag: String,
    request: Request,
    runs_before: BTreeMap<String, RunBefore>,
    before: BTreeMap<String, BTreeMap<String, Row>>,
    status: u16,
    response_task_instances: Option<BTreeSet<(String, String, i64)>>,
    changed: Vec<(String, String, Row, Row)>,
    runs_changed: BTreeMap<String, RunAfter>,
}

/// State, try number, max tries.
type Row = (TaskInstanceState, u32, u32);

#[derive(Deserialize)]
struct Request {
    method: String,
    path: String,
    #[serde(default)]
    body: Map<String, Value>,
}

#[derive(Deserialize)]
struct RunBefore {
    state: DagRunState,
    clear_number: u32,
    logical_date: Option<Timestamp>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct RunAfter {
    state: DagRunState,
    clear_number: u32,
}

fn cell((state, try_number, _): Row) -> Cell {
    let lease = Lease { token: Token::trusted("owner000"), until: NOW + SignedDuration::from_hours(1), since: NOW };
    let waiting = |wait| Cell::Waiting { wait, try_number, due: NOW + SignedDuration::from_hours(9) };
    let ended = |end| Cell::Final { end, try_number, winner: None, leaving: None };
    match state {
        TaskInstanceState::None if try_number == 0 => Cell::None,
        TaskInstanceState::None => Cell::Cleared { try_number },
        TaskInstanceState::Scheduled => Cell::Scheduled { try_number, resume: 0, turn: 0 },
        TaskInstanceState::Queued => Cell::Queued { try_number },
        TaskInstanceState::Running => Cell::Running { try_number, lease },
        TaskInstanceState::Restarting => Cell::Restarting { try_number, lease },
        TaskInstanceState::UpForRetry => waiting(Wait::Retry),
        TaskInstanceState::UpForReschedule => waiting(Wait::Reschedule),
        TaskInstanceState::Deferred => waiting(Wait::Deferred),
        TaskInstanceState::AwaitingInput => waiting(Wait::Input),
        TaskInstanceState::Success => ended(End::Success),
        TaskInstanceState::Failed => ended(End::Failed),
        TaskInstanceState::Skipped => ended(End::Skipped),
        TaskInstanceState::UpstreamFailed => ended(End::UpstreamFailed),
        TaskInstanceState::Removed => ended(End::Removed),
    }
}

/// A task instance that an answer names: its run, its task, its map index.
type Told = (String, String, i64);

/// What a request came to.
struct Answer {
    affected: Vec<Told>,
    planned: Vec<Planned>,
}

/// Why a request came to nothing.
#[derive(Debug)]
struct Refused {
    status: u16,
    is_unknown_task: bool,
    #[expect(dead_code, reason = "shown where a case fails")]
    said: String,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let is_unknown_task = matches!(error, Error::NotFound { what: "the task", .. });
        let said = error.to_string();
        Self { status: status::<()>(&Err(error)), is_unknown_task, said }
    }
}

fn told(affected: Vec<Affected>) -> Vec<Told> {
    affected.into_iter().map(|a| (a.run_id, a.task_id, a.map_index.map_or(-1, i64::from))).collect()
}

/// The task instances that an answer of the routes lists.
fn listed(answer: &Value) -> Vec<Told> {
    let one = |instance: &Value| {
        let text = |name: &str| instance[name].as_str().unwrap_or_default().to_owned();
        (text("dag_run_id"), text("task_id"), instance["map_index"].as_i64().unwrap_or_default())
    };
    answer["task_instances"].as_array().into_iter().flatten().map(one).collect()
}

/// Makes a case's request, after what it is to change was worked out.
async fn ask(engine: &TestEngine, way: &Way, dag_id: &DagId, case: &Case) -> Result<Answer, Refused> {
    let Way::Http(router) = way else { return Ok(ask_service(engine, dag_id, case, true).await?) };
    let planned = ask_service(engine, dag_id, case, false).await.map(|answer| answer.planned).unwrap_or_default();
    let body = Value::Object(case.request.body.clone());
    let (status, answer) = http::ask(router, &case.request.method, &case.request.path, &body).await;
    if status != 200 {
        let said = answer.to_string();
        let is_unknown_task = status == 404 && said.contains("the task");
        return Err(Refused { status, is_unknown_task, said });
    }
    Ok(Answer { affected: listed(&answer), planned })
}

async fn judge_request(case: &Case, dag: Dag, is_http: bool) -> Verdict {
    let dag_id = DagId::trusted(&case.dag);
    let plan = Plan::new(dag.clone());
    let engine = Arc::new(engine(vec![dag]).await);
    let way = Way::new(is_http, &engine);
    let mut runs = BTreeMap::new();
    for (run_id, before) in &case.runs_before {
        let (run, page) = run_before(&engine, &dag_id, &plan, run_id, before, &case.before[run_id]).await;
        put_run(&engine, &run).await;
        if let Some(page) = &page {
            engine.store.put_page(page).await.expect("memory answers");
        }
        runs.insert(run_id.clone(), (run, page));
    }
    let answer = ask(&engine, &way, &dag_id, case).await;
    if answer.as_ref().is_err_and(|refused| refused.is_unknown_task)
        && case.status == 200
        && case.changed.is_empty()
    {
        return Verdict::Divergent("a task id that no run knows is refused by name; Airflow clears nothing and answers with an empty list");
    }
    if answer.as_ref().map_or_else(|refused| refused.status, |_| 200) != case.status {
        return Verdict::Failed(format!("expected {}, found {:?}", case.status, answer.map(|answer| answer.affected)));
    }
    let Ok(answer) = answer else { return Verdict::Passed };
    let mut differences = Vec::new();
    let mut leaves_late = false;
    if let Some(expected) = &case.response_task_instances {
        // A marked task instance is answered alone; its relatives are changed with it.
        let picked = |(run_id, task_id, _): &&Told| case.op != "patch_task_instance" || case.request.path.contains(&format!("/{run_id}/taskInstances/{task_id}"));
        let found: BTreeSet<_> = answer.affected.iter().filter(picked).cloned().collect();
        let is_told = case.op != "patch_task_instance" || !found.is_empty();
        if is_told && found != *expected {
            differences.push(format!("told of {found:?}, expected {expected:?}"));
        }
    }
    for (run_id, (before, page)) in &runs {
        let planned = answer.planned.iter().find(|planned| planned.run.facts.run_id == *run_id);
        let after = planned.map_or_else(|| before.clone(), |p| step::acted(&p.version.plan, before, &p.intent, NOW));
        let stored = engine.run_named(&dag_id, run_id).await.expect("the run is there");
        differences.extend(compare_run(case, &plan, before, &after, &mut leaves_late));
        if let Some(page) = page {
            let after = closed(planned, before, page);
            differences.extend(compare_page(case, &plan, run_id, page, &after, &mut leaves_late));
            let stored = engine.store.page(&page.key).await.expect("memory answers").expect("the page is there");
            differences.extend(made_of_page(&after, &stored));
        }
        differences.extend(made(&plan, &after, &stored));
    }
    match differences.as_slice() {
        [] if leaves_late => Verdict::Divergent(
            "what is marked while it runs, and cleared with it, is restarting until its attempt has let go; Airflow forgets the attempt",
        ),
        [] => Verdict::Passed,
        differences => Verdict::Failed(differences.join("; ")),
    }
}

async fn run_before(
    engine: &TestEngine,
    dag_id: &DagId,
    plan: &Plan,
    run_id: &str,
    before: &RunBefore,
    rows: &BTreeMap<String, Row>,
) -> (RunDoc, Option<PageDoc>) {
    let facts = RunFacts {
        incarnation: Incarnation::trusted(run_id),
        dag_id: dag_id.clone(),
        run_id: run_id.to_owned(),
        run_type: DagRunType::Scheduled,
        logical_date: before.logical_date,
        data_interval: None,
        partition: None,
        run_after: before.logical_date.unwrap_or(NOW),
        queued_at: NOW,
        version: version_of(engine, dag_id).await,
        conf: Value::Null,
        asset_events: BTreeMap::new(),
        origin: RunOrigin::default(),
    };
    let mut run = RunDoc::new(facts, before.state, NOW);
    run.clear_number = before.clear_number;
    let mut page: Option<PageDoc> = None;
    for (task_id, row) in rows {
        if let Some((task, map_index)) = instance(plan, task_id) {
            let key = PageKey { incarnation: run.facts.incarnation.clone(), unit: task, page: 0 };
            let page = page.get_or_insert_with(|| PageDoc::new(key, 0, 0));
            let cell = if row.0 == TaskInstanceState::None { Cell::Cleared { try_number: row.1 } } else { cell(*row) };
            page.cells.insert(Slot { map_index, task }, cell);
            let expansion = MappedEntry::Expansion(Expansion { count: page.cells.len() as u32, epoch: 0 });
            run.mapped.0.insert(MappedKey::Expansion(task), expansion);
            continue;
        }
        let task = plan.index_of(task_id).unwrap_or_else(|| panic!("`{task_id}` is a task"));
        if *row != (TaskInstanceState::None, 0, 0) {
            run.cells.insert(task, cell(*row));
        }
    }
    (run, page)
}

/// `m[2]`
fn instance(plan: &Plan, name: &str) -> Option<(TaskIndex, u32)> {
    let (task_id, map_index) = name.strip_suffix(']')?.split_once('[')?;
    Some((plan.index_of(task_id)?, map_index.parse().ok()?))
}

/// The page as the intervention leaves it.
fn closed(planned: Option<&Planned>, run: &RunDoc, page: &PageDoc) -> PageDoc {
    let Some(planned) = planned else { return page.clone() };
    let of_epoch = RunDoc { epoch: run.epoch + 1, ..run.clone() };
    let (plan, intent) = (&planned.version.plan, &planned.intent);
    let act_of = |slot: Slot| {
        let act = step::act_of(plan, run, intent, slot.task);
        act.filter(|_| intent.means_instance(slot.task, slot.map_index))
    };
    match pages::close(plan, &of_epoch, &page.key, Some(page), act_of, NOW) {
        Some(Closing::Again(change)) => change.apply(page),
        _ => page.clone(),
    }
}

/// What differs between a page as the change leaves it and as its instances were recorded.
fn compare_page(
    case: &Case,
    plan: &Plan,
    run_id: &str,
    before: &PageDoc,
    after: &PageDoc,
    leaves_late: &mut bool,
) -> Vec<String> {
    let mut differences = Vec::new();
    for (slot, found) in &after.cells {
        let name = format!("{}[{}]", plan.task(slot.task).task_id, slot.map_index);
        let was = case.before[run_id].get(&name).expect("a recorded instance");
        let change = case.changed.iter().find(|(run, id, ..)| run == run_id && *id == name);
        let expected = change.map_or(was, |(.., after)| after);
        let restarts = matches!((before.cell(*slot), found), (Cell::Running { .. }, Cell::Restarting { .. }));
        if restarts && expected.0 == TaskInstanceState::None {
            *leaves_late = true;
        } else if (found.state(), found.try_number()) != (expected.0, expected.1) {
            differences.push(format!("{run_id} {name} was {was:?}: expected {expected:?}, found {found:?}"));
        }
        let tries = after.max_tries.get(slot).copied().unwrap_or(0);
        if change.is_some_and(|(.., before, after)| before.2 != after.2) && tries != expected.2 {
            differences.push(format!("{run_id} {name}: expected {} tries more, found {tries}", expected.2));
        }
    }
    differences
}

/// Puts a case's request to the use case; unless `for_real`, it only works out what is to change.
async fn ask_service(engine: &TestEngine, dag_id: &DagId, case: &Case, for_real: bool) -> Result<Answer, Error> {
    let body = Value::Object(case.request.body.clone());
    let parts: Vec<&str> = case.request.path.split('/').collect();
    match (case.op.as_str(), parts.as_slice()) {
        ("clear_task_instances", _) => {
            let bodies::MayBeDry { request, dry_run } = bodies::clear_task_instances(&body)?;
            let planned = engine.plan_clear(dag_id, &request).await?;
            let affected = Box::pin(engine.clear_task_instances(dag_id, &request, dry_run || !for_real)).await?;
            Ok(Answer { affected: told(affected), planned: if dry_run { Vec::new() } else { planned } })
        }
        ("clear_dag_run", [.., run_id, "clear"]) => {
            let bodies::MayBeDry { request, dry_run } = bodies::clear_dag_run(&body)?;
            let as_tasks = updraft_service::interventions::ClearTaskInstances {
                run_id: Some((*run_id).to_owned()),
                only_failed: request.only_failed,
                ..updraft_service::interventions::ClearTaskInstances::default()
            };
            let planned = engine.plan_clear(dag_id, &as_tasks).await?;
            let affected = Box::pin(engine.clear_dag_run(dag_id, run_id, &request, dry_run || !for_real)).await?;
            Ok(Answer { affected: told(affected), planned: if dry_run { Vec::new() } else { planned } })
        }
        ("patch_task_instance", parts) => {
            let at = parts.iter().position(|part| *part == "taskInstances").expect("the path of task instances");
            let (run_id, task_id) = (parts[at - 1], parts[at + 1]);
            let map_index = parts.get(at + 2).map(|map_index| map_index.parse().expect("a map index"));
            let pick = TaskPick { task_id: task_id.to_owned(), map_index };
            let picks = Picks { tasks: Some(vec![pick]), ..Picks::default() };
            let (request, _) = bodies::patch_task_instances(run_id, picks, &body)?;
            let request = request.expect("each case gives a state");
            let (planned, _) = engine.plan_patch(dag_id, &request).await?;
            let affected = Box::pin(engine.patch_task_instances(dag_id, &request, !for_real)).await?;
            Ok(Answer { affected: told(affected), planned })
        }
        ("patch_dag_run", [.., run_id]) => {
            let patch = bodies::patch_dag_run(&body)?;
            let run = engine.run_named(dag_id, run_id).await?;
            let version = engine.version(&run.facts.version).await?;
            let act = match patch.state {
                None => {
                    if for_real {
                        Box::pin(engine.patch_dag_run(dag_id, run_id, &patch)).await?;
                    }
                    return Ok(Answer { affected: Vec::new(), planned: Vec::new() });
                }
                Some(DagRunState::Success) => Act::Cancel(End::Success),
                Some(DagRunState::Failed) => Act::Cancel(End::Failed),
                _ => Act::Requeue,
            };
            let intent = engine.plan_run_patch(&run, act).await?;
            if for_real {
                Box::pin(engine.patch_dag_run(dag_id, run_id, &patch)).await?;
            }
            let planned = Planned {
                run,
                version,
                tasks: BTreeSet::new(),
                instances: updraft_service::interventions::Instances::new(),
                intent,
                prevent_running_task: false,
                run_on_latest_version: false,
            };
            Ok(Answer { affected: Vec::new(), planned: vec![planned] })
        }
        (op, _) => panic!("nobody has said what `{op}` of {} is", case.request.path),
    }
}

/// What differs between a run as the change leaves it and as it was recorded.
fn compare_run(case: &Case, plan: &Plan, before: &RunDoc, after: &RunDoc, leaves_late: &mut bool) -> Vec<String> {
    let run_id = &before.facts.run_id;
    let mut differences = Vec::new();
    for task in plan.tasks() {
        let task_id = plan.task(task).task_id.as_str();
        let Some(was) = case.before[run_id].get(task_id) else { continue };
        let change = case.changed.iter().find(|(run, id, ..)| run == run_id && id == task_id);
        let expected = change.map_or(was, |(.., after)| after);
        let found = after.cell(task);
        let restarts = matches!((before.cell(task), found), (Cell::Running { .. }, Cell::Restarting { .. }));
        if restarts && expected.0 == TaskInstanceState::None {
            *leaves_late = true;
        } else if (found.state(), found.try_number()) != (expected.0, expected.1) {
            differences.push(format!("{run_id} {task_id} was {was:?}: expected {expected:?}, found {found:?}"));
        }
        // Recorded rows begin with no tries left, ours with those of the task; a clear sets both to the same.
        let tries = after.max_tries.get(&task).copied().unwrap_or(plan.task(task).retries);
        let was_cleared = change.is_some_and(|(.., before, after)| before.2 != after.2);
        if was_cleared && tries != expected.2 {
            differences.push(format!("{run_id} {task_id}: expected {} tries more, found {tries}", expected.2));
        }
    }
    let unchanged = &case.runs_before[run_id];
    let unchanged = RunAfter { state: unchanged.state, clear_number: unchanged.clear_number };
    let expected = case.runs_changed.get(run_id).unwrap_or(&unchanged);
    let found = RunAfter { state: after.state, clear_number: after.clear_number };
    if found != *expected {
        differences.push(format!("{run_id}: expected {expected:?}, found {found:?}"));
    }
    differences
}

/// The same of a page.
fn made_of_page(planned: &PageDoc, stored: &PageDoc) -> Vec<String> {
    let slots: BTreeSet<Slot> = planned.cells.keys().chain(stored.cells.keys()).copied().collect();
    let pairs = slots.into_iter().map(|slot| (slot, planned.cell(slot), stored.cell(slot)));
    let differs = pairs.filter(|(_, planned, stored)| planned != stored && !may_follow(planned, stored));
    differs.map(|(slot, planned, stored)| format!("told {planned:?} of {slot:?}, made {stored:?}")).collect()
}

/// What was cleared goes on, and what has not ended may be ended by the rule, by what was marked or cleared above it.
fn may_follow(planned: &Cell, stored: &Cell) -> bool {
    let by_rule = matches!(stored, Cell::Final { end: End::Skipped | End::UpstreamFailed, winner: None, .. });
    matches!(planned, Cell::None | Cell::Cleared { .. }) || (!planned.is_final() && by_rule)
}

/// What was made of the change beyond what may follow from it.
fn made(plan: &Plan, planned: &RunDoc, stored: &RunDoc) -> Vec<String> {
    let differs = |task: &TaskIndex| {
        let (planned, stored) = (planned.cell(*task), stored.cell(*task));
        planned != stored && !may_follow(planned, stored)
    };
    // What instances come to is theirs to say.
    let cells = plan.tasks().filter(|task| plan.unit_of(*task).is_none()).filter(differs);
    let mut differences: Vec<String> = cells
        .map(|task| format!("told {:?} of task {task}, made {:?}", planned.cell(task), stored.cell(task)))
        .collect();
    if planned.state != stored.state && planned.state != DagRunState::Running {
        differences.push(format!("told that the run is {}, made it {}", planned.state, stored.state));
    }
    differences
}
