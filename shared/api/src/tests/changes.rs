//! What a change costs in requests to the metastore: each row of `docs/api.md` that is about one, counted, where there are few DAGs and runs
//! and where there are more.

use super::requests::{Counted, CountedEngine};
use super::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use updraft_dag_store::DagStore;
use updraft_model::{AttemptOutcome, ValueRef};
use updraft_service::runs::Leases;
use updraft_service::{Finished, Runner, TaskRef, Work};
use updraft_task_queue::{Lane, Message, TaskQueue};

const ORDERS: &str = "{__type__: airflow.sdk.Asset, name: orders}";

const FILES: &str = r#"
done:
  schedule: null
  start_date: 2026-01-01
  task_groups:
    last: {tooltip: At last}
  tasks:
    extract: {operator: BashOperator, bash_command: echo, outlets: [{__type__: airflow.sdk.Asset, name: orders}]}
    load: {operator: BashOperator, bash_command: echo, dependencies: [extract]}
    report:
      operator: BashOperator
      bash_command: echo
      dependencies: [load]
      task_group_name: last
      outlets: [{__type__: airflow.sdk.AssetAlias, name: latest}]
asks:
  schedule: null
  start_date: 2026-01-01
  tasks:
    sign_off: {operator: ApprovalOperator, subject: Pay?}
    pay: {operator: BashOperator, bash_command: echo, dependencies: [sign_off]}
daily:
  schedule: "@daily"
  start_date: 2026-01-01
  end_date: 2026-01-31
  catchup: false
  tasks:
    only: {operator: BashOperator, bash_command: echo}
waits:
  schedule: [{__type__: airflow.sdk.Asset, name: orders}, {__type__: airflow.sdk.Asset, name: prices}]
  start_date: 2026-01-01
  tasks:
    only: {operator: BashOperator, bash_command: echo}
"#;

/// Each task succeeds and pushes something, but for the one that asks.
struct Succeeds;

impl Runner for Succeeds {
    async fn run<S: Future<Output = String> + Send>(&self, work: &Work, _: S) -> Option<Finished> {
        let now = System.now();
        if work.definition().task_id.as_str() == "sign_off" {
            let detail = json!({"subject": "Pay?", "options": ["Approve", "Reject"], "created_at": now});
            let until = now + jiff::SignedDuration::from_hours(1);
            let hitl = Some(serde_json::from_value(detail).unwrap());
            return Some(Finished { hitl, ..Finished::new(AttemptOutcome::AwaitingInput { until }) });
        }
        let xcoms = BTreeMap::from([("return_value".to_owned(), ValueRef::Inline(json!(1)))]);
        Some(Finished { xcoms, ..Finished::new(AttemptOutcome::Success) })
    }
}

/// Looks and runs as messages say, until there are none.
async fn settle(engine: &CountedEngine) {
    loop {
        let mut idle = true;
        for lane in [Lane::Looks, Lane::Tasks] {
            for delivery in engine.queue.receive(lane, 100, Duration::ZERO).await.unwrap() {
                idle = false;
                match delivery.message {
                    Some(Message::Run { incarnation }) => {
                        Box::pin(engine.look_at_run(&incarnation, Leases::Heed)).await.unwrap();
                    }
                    Some(Message::Dag { dag_id }) => {
                        Box::pin(engine.look_at_dag(&dag_id)).await.unwrap();
                    }
                    Some(Message::Task { incarnation, task, try_number, place, .. }) => {
                        let task = TaskRef { incarnation, task, try_number, place, queued_at: None };
                        engine.work(&task, &Succeeds, None, || None).await.unwrap();
                    }
                    _ => {}
                }
            }
        }
        if idle {
            return;
        }
    }
}

/// The DAGs of [`FILES`] and so many copies of `done`, with so many runs of each that have ended; the latest is `mine`.
struct World {
    engine: Arc<CountedEngine>,
    files: Arc<updraft_dag_store::Directory>,
    /// What `{name}` in a path stands for: ids that are drawn.
    ids: BTreeMap<&'static str, String>,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.files.root());
    }
}

impl World {
    async fn new(copies: usize, runs: usize) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("updraft-changes-{}-{number}", std::process::id()));
        let files = Arc::new(updraft_dag_store::Directory::new(folder));
        files.write("a.yaml", FILES.as_bytes()).await.unwrap();
        files.write("broken.yaml", b"broken: {schedule: nonsense}").await.unwrap();
        for copy in 0..copies {
            let one = FILES.split("\nasks:").next().unwrap().replace("done:", &format!("copy_{copy}:"));
            // An asset that several DAGs make cannot be asked for.
            let one = one.replace(&format!(", outlets: [{ORDERS}]"), "");
            files.write(&format!("copy_{copy}.yaml"), one.as_bytes()).await.unwrap();
        }
        let engine: Arc<CountedEngine> =
            Arc::new(Engine::new(Counted::default(), LocalQueue::default(), System, Settings::default()));
        let ingested = engine.ingest_all(&*files).await.unwrap();
        assert_eq!(ingested.failed, ["broken.yaml"], "{ingested:?}");
        let mut world = Self { engine, files, ids: BTreeMap::new() };
        let copied = (0..copies).map(|copy| format!("copy_{copy}"));
        for dag_id in copied.chain(["done".to_owned(), "asks".to_owned()]) {
            for run in 0..runs {
                let name = if run + 1 == runs { "mine".to_owned() } else { format!("run-{run}") };
                let body = json!({"logical_date": null, "dag_run_id": name}).to_string();
                world.change("POST", &format!("/dags/{dag_id}/dagRuns"), &body).await;
                settle(&world.engine).await;
            }
        }
        for (name, path, id) in [
            ("{asset}", "/assets?name_pattern=orders", "/assets/0/id"),
            ("{alias}", "/assets/aliases", "/asset_aliases/0/id"),
            ("{event}", "/eventLogs?limit=1", "/event_logs/0/event_log_id"),
            ("{error}", "/importErrors", "/import_errors/0/import_error_id"),
        ] {
            let (_, found) = world.change("GET", path, "").await;
            world.ids.insert(name, found.pointer(id).unwrap().to_string());
        }
        let (_, dag) = world.change("GET", "/dags/done", "").await;
        world.ids.insert("{file}", dag["file_token"].as_str().unwrap().to_owned());
        world
    }

    /// The number of requests that a change makes, and its answer.
    async fn change(&mut self, method: &str, path: &str, body: &str) -> (u64, serde_json::Value) {
        let filled = |text: &str| self.ids.iter().fold(text.to_owned(), |text, (name, id)| text.replace(name, id));
        let (path, body) = (filled(path), filled(body));
        let logs = Arc::new(Directory::new(std::path::Path::new("/nonexistent")));
        let router = router(self.engine.clone(), logs, self.files.clone(), setup());
        let before = self.engine.store.items().requests();
        let request = Request::builder().method(method).uri(format!("/api/v2{path}"));
        let request = request.header("content-type", "application/json").body(Body::from(body.clone())).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let answer = to_bytes(response.into_body(), 1 << 22).await.unwrap();
        let made = self.engine.store.items().requests() - before;
        assert!(status.is_success(), "{method} {path} {body}: {status} {}", String::from_utf8_lossy(&answer));
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
        if (method, path.as_str()) == ("POST", "/backfills") {
            self.ids.insert("{backfill}", answer["id"].to_string());
        }
        (made, answer)
    }
}

/// Changes in the order in which they are made, and the requests of each, its event in the log included. Each leaves the next what it needs.
const CHANGES: [(&str, &str, &str, u64); 89] = [
    // XComs
    ("POST", "/dags/done/dagRuns/mine/taskInstances/load/xcomEntries", r#"{"key": "a", "value": 1}"#, 11),
    ("PATCH", "/dags/done/dagRuns/mine/taskInstances/load/xcomEntries/a", r#"{"value": 2}"#, 11),
    ("GET", "/dags/done/dagRuns/mine/taskInstances/load/xcomEntries/a", "", 4),
    ("DELETE", "/dags/done/dagRuns/mine/taskInstances/load/xcomEntries/a", "", 8),
    // Marks and clears of tasks
    ("PATCH", "/dags/done/dagRuns/mine/taskInstances/load/dry_run", r#"{"new_state": "failed"}"#, 11),
    ("PATCH", "/dags/done/dagRuns/mine/taskInstances/load", r#"{"new_state": "failed"}"#, 14),
    (
        "PATCH",
        "/dags/done/dagRuns/mine/taskInstances",
        r#"{"actions": [{"action": "update", "entities": [{"task_id": "load", "new_state": "success"}]}]}"#,
        12,
    ),
    ("PATCH", "/dags/done/dagRuns/mine/taskInstances/load/-1/dry_run", r#"{"new_state": "failed"}"#, 11),
    ("PATCH", "/dags/done/dagRuns/mine/taskInstances/load/-1", r#"{"new_state": "failed"}"#, 14),
    ("PATCH", "/dags/done/dagRuns/mine/taskGroupInstances/last/dry_run", r#"{"new_state": "failed"}"#, 9),
    ("PATCH", "/dags/done/dagRuns/mine/taskGroupInstances/last", r#"{"new_state": "failed"}"#, 12),
    ("POST", "/dags/done/clearTaskInstances", r#"{"dag_run_id": "mine", "task_ids": ["load"], "dry_run": true}"#, 9),
    (
        "POST",
        "/dags/done/clearTaskInstances",
        r#"{"dag_run_id": "mine", "task_ids": ["load"], "include_downstream": true, "dry_run": false}"#,
        12,
    ),
    // Marks and clears of runs
    ("PATCH", "/dags/done/dagRuns/mine", r#"{"state": "failed"}"#, 11),
    ("POST", "/dags/done/dagRuns/mine/clear", r#"{"dry_run": true}"#, 11),
    ("POST", "/dags/done/dagRuns/mine/clear", r#"{"dry_run": false}"#, 13),
    ("PATCH", "/dags/done/dagRuns/mine", r#"{"state": "success"}"#, 11),
    (
        "POST",
        "/dags/~/clearDagRuns",
        r#"{"dag_runs": [{"dag_run_id": "mine", "dag_id": "done"}], "dry_run": true}"#,
        11,
    ),
    (
        "POST",
        "/dags/~/clearDagRuns",
        r#"{"dag_runs": [{"dag_run_id": "mine", "dag_id": "done"}], "dry_run": false}"#,
        13,
    ),
    (
        "PATCH",
        "/dags/done/dagRuns",
        r#"{"actions": [{"action": "update", "entities": [{"dag_run_id": "mine", "state": "failed"}]}]}"#,
        7,
    ),
    ("POST", "/dags/done/clearPartitions", r#"{"partition_key": "k"}"#, 4),
    // What people are asked
    ("GET", "/dags/asks/dagRuns/mine/taskInstances/sign_off/-1/hitlDetails", "", 7),
    ("PATCH", "/dags/asks/dagRuns/mine/taskInstances/sign_off/-1/hitlDetails", r#"{"chosen_options": ["Approve"]}"#, 9),
    ("GET", "/dags/asks/dagRuns/mine/taskInstances/sign_off/-1/hitlDetails/tries/1", "", 6),
    // Backfills
    (
        "POST",
        "/backfills/dry_run",
        r#"{"dag_id": "daily", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-07T00:00:00Z"}"#,
        22,
    ),
    (
        "POST",
        "/backfills",
        r#"{"dag_id": "daily", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-07T00:00:00Z"}"#,
        8,
    ),
    ("GET", "/backfills?dag_id=daily", "", 4),
    ("GET", "/backfills/{backfill}", "", 3),
    ("PUT", "/backfills/{backfill}/pause", "", 5),
    ("PUT", "/backfills/{backfill}/unpause", "", 5),
    ("PUT", "/backfills/{backfill}/cancel", "", 9),
    // Assets
    ("GET", "/assets/aliases/{alias}", "", 2),
    ("GET", "/assets/{asset}", "", 1),
    ("POST", "/assets/events", r#"{"asset_id": {asset}, "extra": {}}"#, 14),
    ("POST", "/assets/{asset}/materialize", "{}", 9),
    ("GET", "/assets/{asset}/queuedEvents", "", 5),
    ("GET", "/dags/waits/assets/queuedEvents", "", 3),
    ("GET", "/dags/waits/assets/{asset}/queuedEvents", "", 3),
    ("DELETE", "/dags/waits/assets/{asset}/queuedEvents", "", 4),
    ("POST", "/assets/events", r#"{"asset_id": {asset}, "extra": {}}"#, 14),
    ("DELETE", "/dags/waits/assets/queuedEvents", "", 4),
    ("POST", "/assets/events", r#"{"asset_id": {asset}, "extra": {}}"#, 14),
    ("DELETE", "/assets/{asset}/queuedEvents", "", 8),
    // State stores
    ("PUT", "/dags/done/dagRuns/mine/taskInstances/load/state-store/a", r#"{"value": 1}"#, 5),
    ("GET", "/dags/done/dagRuns/mine/taskInstances/load/state-store/a", "", 4),
    ("PATCH", "/dags/done/dagRuns/mine/taskInstances/load/state-store/a", r#"{"value": 2}"#, 6),
    ("GET", "/dags/done/dagRuns/mine/taskInstances/load/state-store", "", 4),
    ("DELETE", "/dags/done/dagRuns/mine/taskInstances/load/state-store/a", "", 5),
    ("DELETE", "/dags/done/dagRuns/mine/taskInstances/load/state-store", "", 5),
    ("PUT", "/assets/{asset}/state-store/a", r#"{"value": 1}"#, 3),
    ("GET", "/assets/{asset}/state-store/a", "", 2),
    ("GET", "/assets/{asset}/state-store", "", 2),
    ("DELETE", "/assets/{asset}/state-store/a", "", 3),
    ("DELETE", "/assets/{asset}/state-store", "", 3),
    // Pools, variables, connections
    ("POST", "/pools", r#"{"name": "narrow", "slots": 1}"#, 8),
    ("GET", "/pools/narrow", "", 1),
    ("PATCH", "/pools/narrow", r#"{"pool": "narrow", "slots": 2}"#, 8),
    ("DELETE", "/pools/narrow", "", 4),
    ("PATCH", "/pools", r#"{"actions": [{"action": "create", "entities": [{"name": "wide", "slots": 9}]}]}"#, 10),
    ("POST", "/variables", r#"{"key": "region", "value": "eu"}"#, 3),
    ("GET", "/variables/region", "", 1),
    ("PATCH", "/variables/region", r#"{"key": "region", "value": "us"}"#, 3),
    ("DELETE", "/variables/region", "", 3),
    ("PATCH", "/variables", r#"{"actions": [{"action": "create", "entities": [{"key": "a", "value": "1"}]}]}"#, 4),
    ("POST", "/connections", r#"{"connection_id": "db", "conn_type": "postgres"}"#, 3),
    ("GET", "/connections/db", "", 1),
    ("PATCH", "/connections/db", r#"{"connection_id": "db", "conn_type": "mysql"}"#, 3),
    ("DELETE", "/connections/db", "", 3),
    (
        "PATCH",
        "/connections",
        r#"{"actions": [{"action": "create", "entities": [{"connection_id": "a", "conn_type": "http"}]}]}"#,
        4,
    ),
    // Files, versions, logs
    ("GET", "/eventLogs/{event}", "", 2),
    ("GET", "/importErrors/{error}", "", 1),
    ("GET", "/dagSources/done", "", 2),
    ("GET", "/dags/done/dagVersions/1", "", 3),
    ("PUT", "/parseDagFile/{file}", "", 28),
    ("GET", "/dags/done/dagRuns/mine/taskInstances/extract/logs/1", "", 3),
    ("GET", "/dags/done/dagRuns/mine/taskInstances/extract/links", "", 5),
    ("GET", "/dags/done/dagRuns/mine/taskInstances/extract/tries/1", "", 5),
    ("GET", "/dags/done/dagRuns/mine/taskInstances/extract/-1/tries/1", "", 5),
    ("GET", "/dags/done/dagRuns/mine/taskInstances/extract/-1/tries", "", 5),
    ("GET", "/dags/done/dagRuns/mine/taskInstances/extract/-1", "", 5),
    ("GET", "/dags/done/dagRuns/mine/taskInstances/extract/-1/dependencies", "", 3),
    ("POST", "/dags/~/dagRuns/list", r#"{"dag_ids": ["done"]}"#, 5),
    ("POST", "/dags/~/dagRuns/~/taskInstances/list", r#"{"dag_ids": ["done"], "dag_run_ids": ["mine"]}"#, 6),
    ("GET", "/dags/done/dagRuns/run-0/wait?interval=1", "", 2),
    ("POST", "/dags/done/favorite", "", 4),
    ("POST", "/dags/done/unfavorite", "", 5),
    // At last
    ("DELETE", "/dags/done/dagRuns/mine/taskInstances/load", "", 9),
    ("DELETE", "/dags/done/dagRuns/mine", "", 16),
    ("DELETE", "/dags/daily", "", 16),
];

/// What a request is called in the documentation.
fn name_of(method: &str, path: &str, body: &str) -> String {
    let filled = path.split('?').next().unwrap().replace(['{', '}'], "");
    let (name, _) =
        contract::operation(method, &format!("/api/v2{filled}")).unwrap_or_else(|| panic!("{method} {path}"));
    let dry = if body.contains(r#""dry_run": true"#) { ", dry run" } else { "" };
    format!("{name}{dry}")
}

/// What asks the metastore nothing, or is no request of its own.
const FREE: [&str; 12] = [
    "GET /auth/login",
    "GET /auth/logout",
    "GET /plugins",
    "GET /plugins/importErrors",
    "GET /providers",
    "GET /config/section/{section}/option/{option}",
    "GET /connections/enqueue-test",
    "POST /connections/enqueue-test",
    "POST /connections/test",
    "POST /connections/defaults",
    // There are no logs elsewhere.
    "GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/externalLogUrl/{try_number}",
    // Made of others: `listMapped` is counted with large runs, and an instance's pages as the task's.
    "GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/listMapped",
];

#[test]
fn the_documentation_has_each_figure_and_leaves_no_operation_out() {
    let documented = include_str!("../../../../docs/api.md");
    let mut figures: BTreeMap<String, u64> = BTreeMap::new();
    for (method, path, body, most) in CHANGES {
        let figure = figures.entry(name_of(method, path, body)).or_default();
        *figure = most.max(*figure);
    }
    let missing: Vec<String> = figures
        .iter()
        .map(|(name, most)| format!("| {name} | {most} |"))
        .filter(|row| !documented.contains(row.as_str()))
        .collect();
    assert!(missing.is_empty(), "docs/api.md lacks these rows:\n{}", missing.join("\n"));
    let pages = requests::BOUNDED.iter().chain(&requests::BY_DAG).map(|(path, _)| ("GET", *path));
    let counted = pages.chain(requests::CHANGES.iter().map(|(method, path, ..)| (*method, *path)));
    let mut known: std::collections::BTreeSet<String> = figures.into_keys().collect();
    known.extend(counted.filter_map(|(method, path)| {
        contract::operation(method, path.split('?').next()?).map(|(name, _)| name.to_owned())
    }));
    known.extend(FREE.map(str::to_owned));
    let left_out: Vec<&str> = crate::contract::Operation::names().filter(|name| !known.contains(*name)).collect();
    assert!(left_out.is_empty(), "nobody has counted: {left_out:#?}");
}

#[tokio::test]
async fn each_change_costs_what_the_documentation_says_however_much_there_is() {
    let (mut small, mut large) = (World::new(1, 2).await, World::new(6, 9).await);
    let mut wrong = Vec::new();
    for (method, path, body, most) in CHANGES {
        let (few, many) = (small.change(method, path, body).await.0, large.change(method, path, body).await.0);
        if many != most || few > many {
            wrong.push(format!("{method} {path} {body}: {few} requests, {many} where there is more, {most} expected"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
