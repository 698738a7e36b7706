//! Pythons that are kept warm: what they promise beside being fast, with real processes.

mod common;

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{body, bounded, kill_hard, launcher, marked, python_file, supervisor_above, unique, until};
use serde_json::{Value, json};
use updraft_execution::{AttemptSpec, Cancel, Launcher, NoLookups, OperatorCall, Outcome, Report, run};

/// Runs `f` of this source with this launcher.
async fn call(launcher: &Launcher, source: &str) -> (Report, String) {
    let directory = tempfile::tempdir().expect("a directory");
    go(launcher, &python_file(directory.path(), source, "f")).await
}

async fn go(launcher: &Launcher, spec: &AttemptSpec) -> (Report, String) {
    let mut log = Vec::new();
    let report = bounded(run(spec, launcher, &mut log, &NoLookups, Cancel::never())).await;
    (report, String::from_utf8(log).expect("UTF-8"))
}

async fn value(launcher: &Launcher, source: &str) -> Value {
    let (report, log) = call(launcher, source).await;
    assert_eq!(report.outcome, Outcome::Success, "{log}");
    report.xcoms.into_iter().next().map_or(Value::Null, |(_, value)| value)
}

/// The ids of the process, its parent and its grandparent, and the parent's command.
const FAMILY: &str = "
import os
def f():
    parent = os.getppid()
    above = open('/proc/%d/stat' % parent).read().rsplit(') ', 1)[1].split()[1]
    return [os.getpid(), parent, int(above), open('/proc/%d/cmdline' % parent).read()]
";

fn exists(process: &Value) -> bool {
    std::path::Path::new(&format!("/proc/{process}")).exists()
}

#[tokio::test]
async fn attempts_are_forked_from_one_python_until_it_is_closed() {
    let launcher = launcher();
    let first = value(&launcher, FAMILY).await;
    let second = value(&launcher, FAMILY).await;
    assert_eq!((&first[1], &first[2]), (&second[1], &second[2]), "of one parent");
    assert!(first[0] != second[0] && !exists(&first[0]), "each in a process of its own");
    assert!(first[3].as_str().is_some_and(|command| command.contains("updraft_zygote")), "{first}");
    launcher.close().await;
    assert!(!exists(&first[1]) && !exists(&first[2]));

    let third = value(&launcher, FAMILY).await;
    assert!(third[1] != first[1] && exists(&third[1]));
    drop(launcher);
    until("they end with their launcher", || (!exists(&third[1]) && !exists(&third[2])).then_some(())).await;
}

#[tokio::test]
async fn nothing_is_kept_where_nothing_may_be() {
    let launcher = launcher().keeping_nothing();
    let family = value(&launcher, FAMILY).await;
    assert!(family[3].as_str().is_some_and(|command| command.contains("__supervise")), "{family}");
    assert!(!exists(&family[0]) && !exists(&family[1]), "gone when the report is there");
}

#[tokio::test]
async fn a_fresh_interpreter_is_to_be_had() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut spec = python_file(directory.path(), FAMILY, "f");
    let started =
        |report: &Report| report.xcoms[0].1[3].as_str().is_some_and(|command| command.contains("__supervise"));
    let of_server = go(&launcher().with_fresh_python(), &spec).await.0;
    assert!(started(&of_server), "{of_server:?}");
    let OperatorCall::Python(python) = &mut spec.operator else { unreachable!("it is a Python call") };
    python.fresh = true;
    let of_task = go(&launcher(), &spec).await.0;
    assert!(started(&of_task), "{of_task:?}");
}

#[tokio::test]
async fn no_attempt_sees_what_another_one_did() {
    let launcher = launcher();
    let leave = "
import json, logging, os, signal, sys
def f():
    json.left = sys.left = 1
    os.environ['LEFT'] = '1'
    os.umask(0o777)
    os.chdir('/')
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.path.insert(0, '/left')
    logging.getLogger().setLevel(logging.CRITICAL)
    sys.stdout = sys.stderr = None
    return os.getppid()
";
    let look = "
import json, logging, os, signal, sys
def f():
    logging.info('logged')
    print('printed')
    found = [hasattr(json, 'left'), hasattr(sys, 'left'), 'LEFT' in os.environ, os.umask(0), os.getcwd() == '/',
             signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, '/left' in sys.path]
    return [os.getppid(), json.loads(json.dumps(found))]
";
    let parent = value(&launcher, leave).await;
    let (report, log) = call(&launcher, look).await;
    assert_eq!(report.outcome, Outcome::Success, "{log}");
    let umask = 0o022;
    assert_eq!(report.xcoms[0].1, json!([parent, [false, false, false, umask, false, true, false]]));
    assert_eq!(body(&log), "logged\nprinted\n");
}

#[tokio::test]
async fn a_changed_file_and_its_modules_are_seen() {
    let launcher = launcher();
    let directory = tempfile::tempdir().expect("a directory");
    let mut seen = Vec::new();
    for round in 0..3 {
        std::fs::write(directory.path().join("other.py"), format!("VALUE = {}", round * 10)).expect("written");
        let source = format!("import os, other\ndef f(): return [{round}, other.VALUE, os.getppid()]");
        // Python takes a file of the same size and second for the same one, as everywhere.
        let _ = std::fs::remove_dir_all(directory.path().join("__pycache__"));
        let (report, log) = go(&launcher, &python_file(directory.path(), &source, "f")).await;
        assert_eq!(report.outcome, Outcome::Success, "{log}");
        seen.push(report.xcoms[0].1.clone());
    }
    let parent = &seen[0][2];
    assert_eq!(seen, [json!([0, 0, parent]), json!([1, 10, parent]), json!([2, 20, parent])]);
}

#[tokio::test]
async fn processes_and_threads_of_a_callable_work() {
    let source = "
import concurrent.futures, multiprocessing, subprocess, sys, threading
def square(x): return x * x
def f():
    with multiprocessing.get_context('fork').Pool(2) as pool:
        forked = pool.map(square, range(4))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        threads = list(pool.map(square, range(4)))
    shared = multiprocessing.Value('i', 0)
    child = multiprocessing.Process(target=lambda: setattr(shared, 'value', 7))
    child.start(); child.join()
    told = subprocess.run([sys.executable, '-c', 'print(6 * 7)'], stdout=subprocess.PIPE).stdout
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        spawned = pool.map(abs, [-3])
    return [forked, threads, shared.value, told.decode().strip(), spawned, threading.current_thread() is threading.main_thread()]
";
    let found = value(&launcher(), source).await;
    assert_eq!(found, json!([[0, 1, 4, 9], [0, 1, 4, 9], 7, "42", [3], true]));
}

#[tokio::test]
async fn every_way_to_end_is_told() {
    let launcher = launcher();
    let parent = value(&launcher, FAMILY).await[1].clone();
    for (end, message) in [
        ("os._exit(7)", "the Python process ended with exit code 7 before the callable returned"),
        ("os.kill(os.getpid(), 15)", "the Python process was ended by signal 15 before the callable returned"),
        (
            "os.close(1); os.close(2); os._exit(0)",
            "the Python process ended with exit code 0 before the callable returned",
        ),
        ("sys.exit('x')", "the callable ended the process with sys.exit(x)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ] {
        let (report, log) = call(&launcher, &format!("import os, sys\ndef f(): {end}")).await;
        assert_eq!(report.outcome, Outcome::Failed { message: message.to_owned(), retryable: true }, "{log}");
    }
    assert_eq!(value(&launcher, FAMILY).await[1], parent, "none of it ended the Python that forks");
}

#[tokio::test]
async fn only_the_mark_of_our_own_variables_reaches_a_callable() {
    let directory = tempfile::tempdir().expect("a directory");
    let source = "import os\ndef f(): open(os.path.join(os.path.dirname(__file__), 'found'), 'w').write(' '.join(sorted(k for k in os.environ if k.startswith(('UPDRAFT_', 'AIRFLOW_CTX')))))";
    python_file(directory.path(), source, "f");
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_updraft-execution-helper"))
        .args(["python".as_ref(), directory.path().join("callables.py").as_os_str()])
        .env("UPDRAFT_TOKEN", "secret")
        .stdout(Stdio::null())
        .status()
        .expect("the helper runs");
    assert!(ended.success());
    let found = std::fs::read_to_string(directory.path().join("found")).expect("it was written");
    assert_eq!(
        found,
        "AIRFLOW_CTX_DAG_ID AIRFLOW_CTX_DAG_RUN_ID AIRFLOW_CTX_TASK_ID AIRFLOW_CTX_TRY_NUMBER UPDRAFT_ATTEMPT"
    );
}

/// Leaves processes that were forked and never became another program, in sessions of their own and deaf to SIGTERM.
const LITTER: &str = "
import os, signal, subprocess, time
def linger():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True: time.sleep(1)
def litter():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: linger()
        os._exit(0)
    if os.fork() == 0: linger()
    subprocess.Popen(['sleep', '1000'], start_new_session=True)
";
/// The callable, its two forks, and the program.
const LITTERED: usize = 4;

/// The source of `f`, which leaves its litter, and its file in a directory whose name tells its processes from others.
fn littering(end: &str) -> (tempfile::TempDir, AttemptSpec) {
    let directory = tempfile::tempdir().expect("a directory");
    let source = format!("{LITTER}\ndef f():\n    os.chdir(os.path.dirname(__file__))\n    litter()\n    {end}\n");
    let spec = python_file(directory.path(), &source, "f");
    (directory, spec)
}

/// The processes that work in this directory.
fn working_in(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("there is a /proc").flatten();
    let at_work =
        entries.filter(|entry| std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == directory));
    at_work.map(|entry| format!("{} ", entry.file_name().display())).collect()
}

#[tokio::test]
async fn what_a_callable_leaves_behind_ends_with_it_and_the_python_stays() {
    let launcher = launcher();
    let parent = value(&launcher, FAMILY).await[1].clone();
    let (directory, spec) = littering("return 1");
    let (report, log) = go(&launcher, &spec).await;
    assert_eq!(report.outcome, Outcome::Success, "{log}");
    assert!(report.all_ended);
    assert_eq!(working_in(directory.path()), Vec::<String>::new());

    let (directory, mut spec) = littering("linger()");
    spec.execution_timeout = Some(Duration::from_millis(1500));
    spec.kill_grace = Duration::from_millis(100);
    let start = Instant::now();
    let (report, _) = go(&launcher, &spec).await;
    assert!(matches!(report.outcome, Outcome::TimedOut { .. }), "{:?}", report.outcome);
    assert!(report.all_ended && start.elapsed() < Duration::from_secs(20));
    assert_eq!(working_in(directory.path()), Vec::<String>::new());
    assert_eq!(value(&launcher, FAMILY).await[1], parent);
}

#[tokio::test]
async fn killing_the_server_ends_forked_processes_and_the_python() {
    let marker = unique("warm-server");
    let (directory, _spec) = littering("linger()");
    let mut server = std::process::Command::new(env!("CARGO_BIN_EXE_updraft-execution-helper"))
        .args(["python".as_ref(), directory.path().join("callables.py").as_os_str()])
        .env("MARKER", &marker)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the helper starts");
    until("the processes have started", || (working_in(directory.path()).len() >= LITTERED).then_some(())).await;
    assert!(marked(&marker).len() > LITTERED, "the Python too");
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    until("all are gone", || (working_in(directory.path()).is_empty() && marked(&marker).is_empty()).then_some(()))
        .await;
}

/// Kills one of the processes above the callable while it runs, and expects nothing to be left and the next attempt to do well.
async fn survives(which: impl Fn(&str) -> Option<String>) {
    let launcher = launcher();
    let (directory, spec) = littering("linger()");
    let mut log = Vec::new();
    let kill = async {
        until("the processes have started", || (working_in(directory.path()).len() >= LITTERED).then_some(())).await;
        let found = working_in(directory.path());
        let supervisor = found.iter().find_map(|one| supervisor_above(std::slice::from_ref(one)));
        kill_hard(&which(&supervisor.expect("it is above them")).expect("it runs"));
    };
    let (report, ()) = tokio::join!(bounded(run(&spec, &launcher, &mut log, &NoLookups, Cancel::never())), kill);
    assert!(matches!(report.outcome, Outcome::Failed { retryable: true, .. }), "{:?}", report.outcome);
    assert_eq!(working_in(directory.path()), Vec::<String>::new());
    assert_eq!(value(&launcher, "def f(): return 1").await, json!(1));
}

#[tokio::test]
async fn a_supervisor_killed_under_a_callable_leaves_nothing() {
    survives(|supervisor| Some(supervisor.to_owned())).await;
}

#[tokio::test]
async fn a_python_killed_under_a_callable_leaves_nothing() {
    survives(|supervisor| {
        let children = std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).ok()?;
        children.split(' ').next().map(str::to_owned)
    })
    .await;
}

#[tokio::test]
async fn a_python_killed_while_it_waits_is_replaced() {
    let launcher = launcher();
    let family = value(&launcher, FAMILY).await;
    kill_hard(&family[1].to_string());
    // At whatever moment the loss is noticed, the next attempt succeeds, and after it they are forked again.
    assert_ne!(value(&launcher, FAMILY).await[1], family[1]);
    let next = value(&launcher, FAMILY).await;
    assert!(next[1] != family[1] && next[3] == family[3], "{next}");
}

/// An interpreter that cannot stay warm is no reason to fail: the callable gets one of its own.
#[tokio::test]
async fn where_none_can_be_kept_warm_callables_run_all_the_same() {
    let directory = tempfile::tempdir().expect("a directory");
    let python = directory.path().join("python");
    let real = value(&launcher(), "import sys\ndef f(): return sys.executable").await;
    let script = format!(
        "#!/bin/sh\ncase \"$2\" in *zygote*) exit 3;; *sys.executable*) echo 3.11; echo {}; exit;; esac\nexec {} \"$@\"\n",
        python.display(),
        real.as_str().expect("a path")
    );
    std::fs::write(&python, script).expect("written");
    std::fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
    let launcher = launcher().with_python(python.to_str().expect("UTF-8"));
    for _ in 0..4 {
        let family = value(&launcher, FAMILY).await;
        assert!(family[3].as_str().is_some_and(|command| command.contains("__supervise")), "{family}");
    }
}
