//! The standalone server as people run it: throughput and processor time of tasks, and what idling costs.
//!
//! ```sh
//! cargo build --release -p updraft --no-default-features
//! cargo run --release -p updraft-bench --bin server -- shell     # also: empty, python, chain, idle
//! ```
//!
//! Starts `updraft standalone` from the folder of this program, with a home and DAGs of its own below the working folder (or the one named
//! as the second argument), triggers runs beside it as the command line does, and reads figures from run documents, attempts and `/proc`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use updraft_bench::{cpu_seconds_of_tree, machine, resident_mib, synchronisation, table};
use updraft_clock::System;
use updraft_metastore_embedded::Embedded;
use updraft_model::{DagId, DagRunState, RunDoc};
use updraft_service::trigger::Trigger;
use updraft_service::{Engine, Settings};
use updraft_task_queue::LocalQueue;

type Failure = Box<dyn std::error::Error>;

type Beside = Engine<Arc<Embedded>, Arc<LocalQueue>, System>;

/// What is run: so many DAGs, each one run of so many tasks.
struct Load {
    dags: usize,
    tasks: usize,
    task: &'static str,
    /// Whether each task waits for the one before.
    is_chain: bool,
}

const SHELL: &str = "operator: airflow.providers.standard.operators.bash.BashOperator\n      bash_command: \"true\"";
const STAMP: &str = "operator: airflow.providers.standard.operators.bash.BashOperator\n      bash_command: date +%s%N";
const EMPTY: &str = "operator: airflow.providers.standard.operators.empty.EmptyOperator";
const PYTHON: &str = "operator: airflow.providers.standard.operators.python.PythonOperator\n      \
                      python_callable_name: nothing\n      python_callable_file: nothing.py";

/// DAGs that lie idle.
const IDLE_DAGS: usize = 2_000;

/// How long idling is watched.
const IDLE_WATCHED: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let folder = args.get(2).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let load = |dags, tasks, task| Load { dags, tasks, task, is_chain: false };
    let result = match args.get(1).map(String::as_str) {
        Some("shell") => throughput(&folder, "shell tasks (`true`)", &load(40, 50, SHELL)),
        Some("empty") => throughput(&folder, "empty tasks", &load(40, 250, EMPTY)),
        Some("python") => throughput(&folder, "Python callables (`pass`)", &load(20, 50, PYTHON)),
        Some("chain") => {
            throughput(&folder, "chained shell tasks (`date`)", &Load { is_chain: true, ..load(1, 100, STAMP) })
        }
        Some("idle") => idle(&folder),
        _ => Err("usage: server shell|empty|python|chain|idle [FOLDER]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A server that is killed when it is let go of.
struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    fn start(home: &Path, dags: &Path) -> Result<Self, Failure> {
        let program = std::env::current_exe()?.with_file_name("updraft");
        let log = home.join("server.log");
        let stderr = std::fs::File::create(&log)?;
        let child = Command::new(&program)
            .args(["standalone", "--port", "0", "--dags"])
            .arg(dags)
            .arg("--home")
            .arg(home)
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(|error| format!("`{}`: {error}; build it first", program.display()))?;
        let server = Self { child, log };
        let begun = Instant::now();
        while !std::fs::read_to_string(&server.log)?.contains("ready") {
            if begun.elapsed() > Duration::from_mins(2) {
                return Err(format!("the server did not get ready:\n{}", std::fs::read_to_string(&server.log)?).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is kept of it, so it need not end in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_dags(folder: &Path, load: &Load) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("nothing.py"), "def nothing():\n    pass\n")?;
    for dag in 0..load.dags {
        let mut text = format!("d{dag}:\n  schedule: null\n  start_date: 2026-01-01\n  tasks:\n");
        for task in 0..load.tasks {
            let _ = write!(text, "    t{task:03}:\n      {}\n", load.task);
            if load.is_chain && task > 0 {
                let _ = writeln!(text, "      dependencies: [t{:03}]", task - 1);
            }
        }
        std::fs::write(folder.join(format!("d{dag}.yaml")), text)?;
    }
    Ok(())
}

fn throughput(folder: &Path, what: &str, load: &Load) -> Result<(), Failure> {
    let machine = machine();
    let disk = synchronisation(folder)?;
    let place = tempfile::tempdir_in(folder)?;
    let (home, dags) = (place.path().join("home"), place.path().join("dags"));
    write_dags(&dags, load)?;
    std::fs::create_dir_all(&home)?;
    let server = Server::start(&home, &dags)?;
    let pid = server.child.id();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let before = cpu_seconds_of_tree(pid)?;
    let runs = runtime.block_on(async {
        let items = Arc::new(Embedded::open(&home.join("metastore.db"))?);
        let engine = Engine::new(items, Arc::new(LocalQueue::default()), System, Settings::default());
        run_all(&engine, load).await
    })?;
    let cpu = cpu_seconds_of_tree(pid)? - before;
    let tasks = (load.dags * load.tasks) as f64;
    let begun = runs.iter().filter_map(|run| run.start_date).min().ok_or("no run began")?;
    let ended = runs.iter().filter_map(|run| run.end_date).max().ok_or("no run ended")?;
    let wall = ended.duration_since(begun).as_secs_f64();
    let mut rows = vec![
        ("tasks per second", format!("{:.0}", tasks / wall)),
        ("from the first start to the last end", format!("{wall:.2} s")),
        ("processor time per task, all processes", format!("{:.2} ms", cpu * 1000.0 / tasks)),
        ("resident memory of the server", format!("{:.0} MiB", resident_mib(pid)?)),
    ];
    if load.is_chain {
        rows.push((
            "from one task's start to the next one's, its process included",
            format!("{:.2} ms", wall * 1000.0 / tasks),
        ));
    }
    rows.push(("one synchronisation of that disk", disk.line()));
    table(&format!("{} {what} in {} runs on {machine}, in {}", tasks, load.dags, folder.display()), &rows);
    Ok(())
}

/// Triggers a run of each DAG, and waits for all of them.
async fn run_all(engine: &Beside, load: &Load) -> Result<Vec<RunDoc>, Failure> {
    let mut wanted = Vec::new();
    for dag in 0..load.dags {
        let dag_id = DagId::trusted(format!("d{dag}"));
        let trigger = Trigger { dag_id, run_id: None, logical_date: None, conf: serde_json::Value::Null };
        wanted.push(engine.trigger(trigger).await?.facts.incarnation);
    }
    let begun = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let runs = engine.store.runs(&wanted).await?;
        if let Some(run) = runs.iter().find(|run| run.state == DagRunState::Failed) {
            return Err(format!("the run {} of {} failed", run.facts.run_id, run.facts.dag_id).into());
        }
        if runs.len() == wanted.len() && runs.iter().all(|run| run.state == DagRunState::Success) {
            return Ok(runs);
        }
        if begun.elapsed() > Duration::from_mins(10) {
            return Err("the runs did not end within ten minutes".into());
        }
    }
}

fn idle(folder: &Path) -> Result<(), Failure> {
    let machine = machine();
    let place = tempfile::tempdir_in(folder)?;
    let (home, dags) = (place.path().join("home"), place.path().join("dags"));
    std::fs::create_dir_all(&dags)?;
    std::fs::create_dir_all(&home)?;
    // From today on, so that no run of the past is made first.
    let today = jiff::Zoned::now().date();
    for dag in 0..IDLE_DAGS {
        // Due once a year, each at a minute of its own.
        let (minute, hour) = (dag % 60, dag / 60 % 24);
        let mut text = format!(
            "d{dag}:\n  schedule: \"{minute} {hour} 1 1 *\"\n  start_date: {today}\n  catchup: false\n  tasks:\n"
        );
        for task in 0..5 {
            let _ = write!(text, "    t{task}:\n      {SHELL}\n");
            if task > 0 {
                let _ = writeln!(text, "      dependencies: [t{}]", task - 1);
            }
        }
        std::fs::write(dags.join(format!("d{dag}.yaml")), text)?;
    }
    let begun = Instant::now();
    let server = Server::start(&home, &dags)?;
    let ready = begun.elapsed();
    let pid = server.child.id();
    let mut settled = cpu_seconds_of_tree(pid)?;
    loop {
        std::thread::sleep(Duration::from_secs(10));
        let now = cpu_seconds_of_tree(pid)?;
        if now - settled < 0.2 {
            break;
        }
        settled = now;
    }
    let before = cpu_seconds_of_tree(pid)?;
    let watched = Instant::now();
    std::thread::sleep(IDLE_WATCHED);
    let share = (cpu_seconds_of_tree(pid)? - before) / watched.elapsed().as_secs_f64();
    let rows = [
        ("from start to ready", format!("{:.1} s", ready.as_secs_f64())),
        ("of one core while idle", format!("{:.2} %", share * 100.0)),
        ("resident memory", format!("{:.0} MiB", resident_mib(pid)?)),
    ];
    table(&format!("{IDLE_DAGS} idle DAGs on {machine}"), &rows);
    Ok(())
}
