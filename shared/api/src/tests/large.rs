//! Runs of 10,000 task instances, each with its attempt: what a view asks for reads and sends a part of them.

use super::requests::{Cost, Counted, CountedEngine, costs};
use super::*;
use jiff::Timestamp;
use updraft_model::cell::End;
use updraft_model::{
    Attempt, AttemptKey, AttemptOutcome, Cell, ExpandInput, Incarnation, Mapping, RunChange, TaskIndex, Token,
};

const COUNT: u32 = 10_000;

/// A version, and a run of it under the name `mine`.
async fn run_of(engine: &Arc<CountedEngine>, dag: Dag) -> Incarnation {
    let dag_id = dag.dag_id.clone();
    let version = engine.store.put_version(&Version { dag, files: BTreeMap::new() }).await.unwrap();
    let mut doc = DagDoc::new(dag_id.clone(), format!("{dag_id}.yaml"), false);
    doc.version = Some(version);
    engine.store.put_dag(&doc).await.unwrap();
    let summary = DagSummary {
        dag_id: dag_id.clone(),
        file: format!("{dag_id}.yaml"),
        owners: Vec::new(),
        tags: Vec::new(),
        timetable: "None".to_owned(),
        description: None,
        is_stale: false,
        last_parsed: System.now(),
    };
    engine.store.put_dag_summary(&summary).await.unwrap();
    let (run_id, conf) = (Some("mine".to_owned()), serde_json::Value::Null);
    let trigger = updraft_service::Trigger { dag_id: dag_id.clone(), run_id, logical_date: None, conf };
    let origin = updraft_service::Origin { without_logical_date: true, ..updraft_service::Origin::default() };
    engine.trigger_from(trigger, &origin).await.unwrap();
    engine.store.run_name(&dag_id, "mine").await.unwrap().unwrap().incarnation
}

/// Second `n` of the run's day, which is when the attempt of number `n` began; it took two.
fn second(n: u32) -> Timestamp {
    Timestamp::from_second(i64::from(n)).unwrap()
}

async fn attempt(engine: &CountedEngine, incarnation: &Incarnation, task: u32, map_index: Option<u32>, n: u32) {
    let token = Token::trusted("t");
    let key = AttemptKey { incarnation: incarnation.clone(), task: TaskIndex(task), map_index, try_number: 1, token };
    let attempt = Attempt::new(AttemptOutcome::Success, second(n), second(n + 2));
    engine.store.put_attempt(&key, &attempt).await.unwrap();
}

/// `large` with 10,000 tasks, and `wide` with one task before, one mapped to 10,000 instances, and one after; all have run.
async fn world() -> Arc<CountedEngine> {
    let items = Counted::default();
    let engine = Arc::new(Engine::new(items, LocalQueue::default(), System, Settings::default()));
    let task = |id: String| Task::new(TaskId::trusted(id), "BashOperator");
    let large = Dag::new(DagId::trusted("large"), (0..COUNT).map(|n| task(format!("task_{n}"))).collect());
    let mut many = task("many".to_owned());
    let values = (0..COUNT).collect::<Vec<_>>();
    let expand = vec![("env".to_owned(), ExpandInput::Literal(json!(values)))];
    many.mapping = Some(Mapping { expand, ..Mapping::default() });
    let wide = Dag::new(DagId::trusted("wide"), vec![task("a_before".to_owned()), many, task("z_after".to_owned())]);
    let done = Cell::Final { end: End::Success, try_number: 1, winner: Some(Token::trusted("t")), leaving: None };
    for (dag, tasks) in [(large, COUNT), (wide, 3)] {
        let of = run_of(&engine, dag).await;
        for n in 0..tasks {
            attempt(&engine, &of, n, None, n).await;
        }
        if tasks == 3 {
            for n in 0..COUNT {
                attempt(&engine, &of, 1, Some(n), n).await;
            }
        }
        let all = (0..tasks).map(|n| (TaskIndex(n), done.clone())).collect();
        engine.store.update_run(&of, &RunChange { cells: all, ..RunChange::default() }).await.unwrap();
    }
    engine
}

/// Asks one of the board's endpoints about a run, and holds it to what it may cost.
async fn asked(engine: &Arc<CountedEngine>, path: &str, requests: u64, found: u64, bytes: usize) -> serde_json::Value {
    let path = format!("/api/updraft/v1/dags/{path}");
    let cost = costs(engine, &path).await;
    let Cost { requests: made, found: brought, bytes: sent, answer } = cost;
    assert!(made <= requests, "{path}: {made} requests");
    assert!(brought <= found, "{path}: {brought} items");
    assert!(sent <= bytes, "{path}: {sent} bytes");
    answer
}

#[tokio::test]
async fn a_view_of_a_run_of_10_000_reads_and_sends_a_part() {
    let engine = world().await;
    // The document alone, and its notes and versions.
    asked(&engine, "large/grid?limit=1", 7, 10, 300_000).await;
    asked(&engine, "large/runs/mine", 6, 10, 300_000).await;
    asked(&engine, "wide/runs/mine", 6, 10, 5_000).await;
    let some = asked(&engine, "large/runs/mine/times?tasks=5000-5099", 3, 140, 12_000).await;
    assert_eq!(some["tasks"].as_object().unwrap().len(), 100);
    let one = &some["tasks"]["5042"];
    assert_eq!(one["end"].as_i64().unwrap() - one["start"].as_i64().unwrap(), 2000);
    // Tasks here and there cost a request each, and bring little beside themselves.
    asked(&engine, "large/runs/mine/times?tasks=1,50,900-910,9999", 6, 60, 3_000).await;
    asked(&engine, "wide/runs/mine/tasks/many/instances?limit=100&offset=7700", 4, 140, 4_000).await;
}

#[tokio::test]
async fn a_mapped_task_is_summed_up_part_by_part() {
    let engine = world().await;
    let (mut from, mut parts, mut began, mut ended) = (0, 0, Vec::new(), Vec::new());
    loop {
        let path = format!("wide/runs/mine/times?tasks=0,1@{from},2");
        let answer = asked(&engine, &path, 10, 2600, 1_000).await;
        let part = &answer["tasks"]["1"];
        parts += 1;
        began.push(part["start"].as_i64().unwrap());
        ended.push(part["end"].as_i64().unwrap());
        assert_eq!((&part["open"], &part["total"]), (&json!(null), &json!(COUNT)));
        match part["next"].as_u64() {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(parts, 5);
    let whole = ended.iter().max().unwrap() - began.iter().min().unwrap();
    assert_eq!(whole, i64::from(COUNT - 1) * 1000 + 2000, "from the first start to the last end");
}

#[tokio::test]
async fn what_a_run_took_is_added_up_part_by_part() {
    let engine = world().await;
    let (mut after, mut attempts, mut milliseconds) = (String::new(), 0, 0);
    loop {
        let answer = asked(&engine, &format!("large/runs/mine/used{after}"), 3, 2000, 200).await;
        attempts += answer["attempts"].as_u64().unwrap();
        milliseconds += answer["milliseconds"].as_u64().unwrap();
        match answer["next"].as_str() {
            Some(next) => after = format!("?after={}", next.replace('#', "%23")),
            None => break,
        }
    }
    assert_eq!((attempts, milliseconds), (u64::from(COUNT), u64::from(COUNT) * 2000));
}

#[tokio::test]
async fn what_is_no_list_of_tasks_is_refused_with_what_it_should_be() {
    let engine = engine_with_dags().await;
    ask(&engine, json_to("POST", "/dags/etl/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#)).await;
    for (query, said) in [
        ("times?tasks=x", "indices of at most 500"),
        ("times?tasks=9-3", "indices of at most 500"),
        ("times?tasks=0-500", "indices of at most 500"),
        ("times?tasks=-1", "indices of at most 500"),
        ("times?tasks=7", "there is no 7"),
        ("used?after=nothing", "in an earlier answer"),
    ] {
        let path = format!("/api/updraft/v1/dags/etl/runs/mine/{query}");
        let (status, body) = get_page(&engine, &path).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {body}");
        assert!(body.contains(said), "{query}: {body}");
    }
    let (status, body) = get_page(&engine, "/api/updraft/v1/dags/etl/runs/mine/times").await;
    assert_eq!((status, body.contains(r#""tasks":{}"#)), (StatusCode::OK, true), "{body}");
}
