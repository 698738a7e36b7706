//! How many requests to the metastore an endpoint makes: what `docs/api.md` states, counted; and no more where there are more DAGs and runs.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};
use updraft_metastore::item::{Condition, Item, Key, Update};
use updraft_metastore::{Due, Error, Outcome, Range};

/// A metastore of which each request is counted: of many items read at once, one for every 100, as `DynamoDB` takes them.
#[derive(Debug, Default)]
pub(super) struct Counted {
    items: Memory,
    requests: AtomicU64,
    /// How many items queries brought.
    found: AtomicU64,
}

impl Counted {
    /// How many were made so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn note(&self, requests: usize) -> &Memory {
        self.requests.fetch_add(requests as u64, Ordering::Relaxed);
        &self.items
    }
}

impl Items for Counted {
    async fn update(&self, update: &Update) -> Result<Outcome<Item>, Error> {
        self.note(1).update(update).await
    }

    async fn put_new(&self, key: &Key, item: &Item) -> Result<Outcome<Item>, Error> {
        self.note(1).put_new(key, item).await
    }

    async fn put(&self, key: &Key, item: &Item) -> Result<(), Error> {
        self.note(1).put(key, item).await
    }

    async fn delete(&self, key: &Key, conditions: &[Condition]) -> Result<Outcome<()>, Error> {
        self.note(1).delete(key, conditions).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, Error> {
        self.note(1).get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<(Key, Item)>, Error> {
        self.note(keys.len().div_ceil(100)).get_many(keys).await
    }

    async fn query(&self, range: &Range) -> Result<Vec<(String, Item)>, Error> {
        let found = self.note(1).query(range).await?;
        self.found.fetch_add(found.len() as u64, Ordering::Relaxed);
        Ok(found)
    }

    async fn due(&self, until: i64, limit: usize) -> Result<Vec<Due>, Error> {
        self.note(1).due(until, limit).await
    }
}

pub(super) type CountedEngine = Engine<Counted, LocalQueue, System>;

/// So many DAGs of two tasks, each with so many runs; the first one's latest run is `mine`.
async fn world(dags: usize, runs: usize) -> Arc<CountedEngine> {
    let engine: Arc<CountedEngine> =
        Arc::new(Engine::new(Counted::default(), LocalQueue::default(), System, Settings::default()));
    for number in 0..dags {
        let dag_id = DagId::trusted(format!("dag_{number:03}"));
        let bash = "airflow.providers.standard.operators.bash.BashOperator";
        let tasks = ["extract", "load"].map(|id| Task::new(TaskId::trusted(id), bash));
        let mut dag = Dag::new(dag_id.clone(), tasks.to_vec());
        dag.file = format!("{dag_id}.yaml");
        let version = engine.store.put_version(&Version { dag, files: BTreeMap::new() }).await.unwrap();
        let mut doc = DagDoc::new(dag_id.clone(), format!("{dag_id}.yaml"), false);
        doc.version = Some(version);
        engine.store.put_dag(&doc).await.unwrap();
        let summary = DagSummary {
            dag_id: dag_id.clone(),
            file: format!("{dag_id}.yaml"),
            owners: vec!["airflow".to_owned()],
            tags: Vec::new(),
            timetable: "None".to_owned(),
            description: None,
            is_stale: false,
            last_parsed: System.now(),
        };
        engine.store.put_dag_summary(&summary).await.unwrap();
        for run in 0..runs {
            let run_id = if run + 1 == runs { "mine".to_owned() } else { format!("run-{run:03}") };
            let trigger = updraft_service::Trigger {
                dag_id: dag_id.clone(),
                run_id: Some(run_id),
                logical_date: None,
                conf: serde_json::Value::Null,
            };
            let origin = updraft_service::Origin { without_logical_date: true, ..updraft_service::Origin::default() };
            engine.trigger_from(trigger, &origin).await.unwrap();
        }
    }
    engine
}

/// What a request cost and brought.
#[derive(Debug)]
pub(super) struct Cost {
    pub(super) requests: u64,
    /// Items that queries brought from the metastore.
    pub(super) found: u64,
    /// Of the answer.
    pub(super) bytes: usize,
    pub(super) answer: serde_json::Value,
}

/// The number of requests alone.
async fn cost(engine: &Arc<CountedEngine>, path: &str) -> u64 {
    costs(engine, path).await.requests
}

/// What a request costs once its process knows the versions it shows, which each process reads once.
pub(super) async fn costs(engine: &Arc<CountedEngine>, path: &str) -> Cost {
    let nowhere = std::path::Path::new("/nonexistent");
    let (logs, dags) = (Arc::new(Directory::new(nowhere)), Arc::new(updraft_dag_store::Directory::new(nowhere)));
    let router = router(engine.clone(), logs, dags, setup());
    let counted = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let items = engine.store.items();
    let mut last = None;
    for _ in 0..2 {
        let before = (counted(&items.requests), counted(&items.found));
        let response = router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 22).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&body));
        last = Some(Cost {
            requests: counted(&items.requests) - before.0,
            found: counted(&items.found) - before.1,
            bytes: body.len(),
            answer: serde_json::from_slice(&body).unwrap(),
        });
    }
    last.unwrap()
}

/// Endpoints, and the most requests that a page of each makes, however many DAGs and runs there are.
pub(super) const BOUNDED: [(&str, u64); 39] = [
    ("/api/v2/dags?limit=5", 3),
    ("/api/v2/dags/dag_000", 4),
    ("/api/v2/dags/dag_000/details", 7),
    ("/api/v2/dags/dag_000/tasks", 3),
    ("/api/v2/dags/dag_000/tasks/load", 3),
    ("/api/v2/dags/dag_000/dagVersions", 7),
    ("/api/v2/dags/dag_000/dagRuns?limit=5&order_by=-run_after", 5),
    ("/api/v2/dags/dag_000/dagRuns?limit=5&state=queued", 5),
    ("/api/v2/dags/dag_000/dagRuns/mine", 4),
    ("/api/v2/dags/dag_000/dagRuns/mine/taskInstances", 5),
    ("/api/v2/dags/dag_000/dagRuns/mine/taskInstances/load", 5),
    ("/api/v2/dags/dag_000/dagRuns/mine/taskInstances/load/tries", 5),
    ("/api/v2/dags/dag_000/dagRuns/mine/taskInstances/load/dependencies", 6),
    ("/api/v2/dags/dag_000/dagRuns/mine/taskInstances/load/xcomEntries", 5),
    ("/api/v2/dags/dag_000/dagRuns/mine/taskInstances/~/xcomEntries", 5),
    ("/api/v2/dags/dag_000/dagRuns/~/taskInstances/~/xcomEntries", 5),
    ("/api/v2/dags/dag_000/dagRuns/mine/taskInstances?limit=1", 5),
    ("/api/v2/dags/dag_000/dagRuns/mine/hitlDetails", 3),
    ("/api/v2/dags/dag_000/dagRuns/mine/upstreamAssetEvents", 4),
    ("/api/v2/dagTags", 1),
    ("/api/v2/importErrors", 1),
    ("/api/v2/pools", 3),
    ("/api/v2/variables", 1),
    ("/api/v2/connections", 1),
    ("/api/v2/assets", 3),
    ("/api/v2/assets/aliases", 2),
    ("/api/v2/assets/events", 4),
    ("/api/v2/backfills?dag_id=dag_000", 4),
    ("/api/v2/eventLogs", 2),
    ("/api/v2/config", 0),
    ("/api/v2/jobs", 0),
    ("/api/v2/version", 0),
    ("/api/v2/monitor/health", 4),
    ("/api/updraft/v1/dags/dag_000/grid?limit=5", 6),
    ("/api/updraft/v1/dags/dag_000/runs/mine", 6),
    ("/api/updraft/v1/dags/dag_000/runs/mine/times?tasks=0-1", 3),
    ("/api/updraft/v1/dags/dag_000/runs/mine/used", 3),
    ("/api/updraft/v1/dags/dag_000/runs/mine/tasks/load", 14),
    ("/api/updraft/v1/dags/dag_000/runs/mine/tasks/load/instances", 2),
];

#[tokio::test]
async fn a_page_costs_a_bounded_number_of_requests_however_much_there_is() {
    let (small, large) = (world(3, 8).await, world(12, 40).await);
    let mut wrong = Vec::new();
    for (path, most) in BOUNDED {
        let (few, many) = (cost(&small, path).await, cost(&large, path).await);
        if many > most || few != many {
            wrong.push(format!("{path}: {few} requests, {many} where there is more, {most} at most"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Endpoints that look at each DAG, and how many requests more one more DAG costs at most: `docs/api.md` says so of each.
pub(super) const BY_DAG: [(&str, u64); 5] = [
    ("/api/v2/dagWarnings", 3),
    ("/api/v2/dags/~/dagRuns?limit=5", 2),
    ("/api/v2/dagStats", 2),
    ("/api/v2/dags/~/dagRuns/~/hitlDetails?response_received=false", 1),
    ("/api/updraft/v1/overview?limit=5", 1),
];

#[tokio::test]
async fn what_looks_at_each_dag_looks_at_each_once() {
    let (small, large) = (world(3, 8).await, world(12, 8).await);
    for (path, each) in BY_DAG {
        let (few, many) = (cost(&small, path).await, cost(&large, path).await);
        assert!(many <= few + 9 * each, "{path}: {few} requests for 3 DAGs, {many} for 12");
    }
}

/// Changes, and the most requests that each makes, its event in the log included, however many DAGs and runs there are.
pub(super) const CHANGES: [(&str, &str, &str, u64); 11] = [
    ("PATCH", "/api/v2/dags/dag_000", r#"{"is_paused": true}"#, 9),
    ("PATCH", "/api/v2/dags/dag_000", r#"{"is_paused": false}"#, 9),
    ("PATCH", "/api/v2/dags?dag_id_pattern=dag_000", r#"{"is_paused": true}"#, 8),
    ("PATCH", "/api/v2/dags?dag_id_pattern=dag_000", r#"{"is_paused": false}"#, 8),
    ("POST", "/api/v2/dags/dag_000/dagRuns", r#"{"logical_date": null}"#, 11),
    ("PATCH", "/api/v2/dags/dag_000/dagRuns/mine", r#"{"note": "seen"}"#, 12),
    ("PATCH", "/api/v2/dags/dag_000/dagRuns/mine/taskInstances/load", r#"{"note": "seen"}"#, 17),
    ("POST", "/api/v2/dags/dag_000/favorite", "", 4),
    ("POST", "/api/v2/variables", r#"{"key": "region", "value": "eu"}"#, 3),
    ("PATCH", "/api/v2/variables/region", r#"{"key": "region", "value": "us"}"#, 3),
    ("DELETE", "/api/v2/variables/region", "", 3),
];

#[tokio::test]
async fn a_change_costs_a_bounded_number_of_requests_however_much_there_is() {
    let (small, large) = (world(3, 8).await, world(12, 40).await);
    let mut wrong = Vec::new();
    for (method, path, body, most) in CHANGES {
        let (few, many) = (change(&small, method, path, body).await, change(&large, method, path, body).await);
        if many > most || few > many {
            wrong.push(format!("{method} {path} {body}: {few} requests, {many} where there is more, {most} at most"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The number of requests that a change makes.
async fn change(engine: &Arc<CountedEngine>, method: &str, path: &str, body: &str) -> u64 {
    let nowhere = std::path::Path::new("/nonexistent");
    let (logs, dags) = (Arc::new(Directory::new(nowhere)), Arc::new(updraft_dag_store::Directory::new(nowhere)));
    let router = router(engine.clone(), logs, dags, setup());
    let items = engine.store.items();
    let before = items.requests.load(Ordering::Relaxed);
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let response = router.oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let status = response.status();
    let answer = to_bytes(response.into_body(), 1 << 22).await.unwrap();
    assert!(status.is_success(), "{method} {path}: {status} {}", String::from_utf8_lossy(&answer));
    items.requests.load(Ordering::Relaxed) - before
}
