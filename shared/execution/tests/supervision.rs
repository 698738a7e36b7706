//! Nothing that an attempt started outlives it, with real processes.

mod common;

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{
    CancelOnOutput, bash, bash_marked, body, bounded, finish, kill_hard, launcher, marked, supervisor_above, unique,
    until,
};
use updraft_execution::{AttemptSpec, Cancel, NoLookups, Outcome, cancellation, run};

/// Leaves a process in each way there is: in the background, in a session of its own, forked twice with its parents gone, and deaf to SIGTERM.
const LITTER: &str = "
    sleep 1000 &
    setsid sleep 1001 &
    (setsid bash -c 'sleep 1002 & disown; exit' &)
    setsid bash -c 'trap \"\" TERM; (setsid sleep 1003 &) ; touch deaf; while :; do sleep 1; done' &
    nohup sleep 1004 >/dev/null 2>&1 &
    until [ -e deaf ]; do sleep 0.01; done
";
/// How many processes `LITTER` leaves at least.
const LITTERED: usize = 6;

async fn until_littered(marker: &str) {
    until("the processes have started", || (marked(marker).len() > LITTERED).then_some(())).await;
}

#[tokio::test]
async fn a_timeout_kills_the_whole_tree() {
    let marker = unique("timeout");
    let timeout = Duration::from_millis(1500);
    let spec = AttemptSpec {
        execution_timeout: Some(timeout),
        kill_grace: Duration::from_millis(100),
        ..bash_marked(&marker, &format!("{LITTER} sleep 999"))
    };
    let mut log = Vec::new();
    let launcher = launcher();
    let (report, ()) =
        tokio::join!(run(&spec, &launcher, &mut log, &NoLookups, Cancel::never()), until_littered(&marker),);
    assert_eq!(report.outcome, Outcome::TimedOut { after: timeout });
    assert!(report.all_ended);
    // Not eventually: when the report is there, they are gone.
    assert_eq!(marked(&marker), Vec::<String>::new());
    assert!(report.log.tail.ends_with(": execution timeout of 1.5 s passed\n"), "{}", report.log.tail);
}

#[tokio::test]
async fn the_end_of_the_task_ends_what_it_left() {
    let marker = unique("left");
    let start = Instant::now();
    let command = format!("{{ {LITTER} }} > /dev/null 2>&1\n echo done");
    let (report, log) = finish(&bash_marked(&marker, &command)).await;
    assert_eq!((report.outcome, body(&log).as_str()), (Outcome::Success, "done\n"));
    // By the supervisor, not by the last resort after it.
    assert!(report.all_ended);
    assert_eq!(marked(&marker), Vec::<String>::new());
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// As in Airflow, whose BashOperator reads to the end of the output.
#[tokio::test]
async fn what_still_writes_in_the_background_belongs_to_the_task() {
    let marker = unique("background");
    let (report, log) = finish(&bash_marked(&marker, "(sleep 0.5; echo late) & echo early")).await;
    assert_eq!((report.outcome, body(&log).as_str()), (Outcome::Success, "early\nlate\n"));
    assert_eq!(report.xcoms, [("return_value".to_owned(), "late".into())]);

    let timeout = Duration::from_millis(500);
    let spec = AttemptSpec { execution_timeout: Some(timeout), ..bash_marked(&marker, "sleep 999 & echo early") };
    let (report, _) = finish(&spec).await;
    assert_eq!(report.outcome, Outcome::TimedOut { after: timeout });
    assert_eq!(marked(&marker), Vec::<String>::new());
}

#[tokio::test]
async fn cancelling_kills_the_whole_tree_and_gives_the_reason() {
    let marker = unique("cancel");
    let (handle, cancel) = cancellation();
    let spec =
        AttemptSpec { kill_grace: Duration::from_millis(100), ..bash_marked(&marker, &format!("{LITTER} sleep 999")) };
    let mut log = Vec::new();
    let launcher = launcher();
    let (report, ()) = tokio::join!(bounded(run(&spec, &launcher, &mut log, &NoLookups, cancel)), async {
        until_littered(&marker).await;
        handle.cancel("the lease was lost");
        handle.cancel("too late to be the reason");
    });
    assert_eq!(report.outcome, Outcome::Killed { why: "the lease was lost".to_owned() });
    assert!(report.all_ended);
    assert_eq!(marked(&marker), Vec::<String>::new());
}

#[tokio::test]
async fn an_attempt_cancelled_before_it_starts_starts_nothing() {
    let (handle, cancel) = cancellation();
    handle.cancel("draining");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("ran");
    let spec = bash(&format!("touch {}", file.display()));
    let report = bounded(run(&spec, &launcher(), &mut Vec::new(), &NoLookups, cancel)).await;
    assert_eq!(report.outcome, Outcome::Killed { why: "draining".to_owned() });
    assert!(!file.exists());
}

#[tokio::test]
async fn sigterm_comes_before_sigkill() {
    let marker = unique("term");
    // The main process ends at once; its child takes its time to clean up.
    let child = "trap \"echo cleaning up; sleep 0.5; echo clean; exit\" TERM; echo ready; while :; do sleep 0.05; done";
    let command = format!("bash -c '{child}'; echo never");
    let (handle, cancel) = cancellation();
    // The grace is longer than the test may take: ending sooner shows that it is not waited for in vain.
    let spec = AttemptSpec { kill_grace: common::BOUND * 10, ..bash_marked(&marker, &command) };
    let start = Instant::now();
    let report = bounded(run(&spec, &launcher(), &mut CancelOnOutput::new(handle), &NoLookups, cancel)).await;
    assert_eq!(report.outcome, Outcome::Killed { why: "seen".to_owned() });
    let tail = &report.log.tail;
    assert!(tail.contains(" - cleaning up\n") && tail.contains(" - clean\n") && !tail.contains(" - never"), "{tail}");
    assert!(start.elapsed() < common::BOUND);
}

#[tokio::test]
async fn dropping_the_attempt_ends_it() {
    let marker = unique("drop");
    let spec =
        AttemptSpec { kill_grace: Duration::from_millis(100), ..bash_marked(&marker, &format!("{LITTER} sleep 999")) };
    let task = tokio::spawn(async move {
        run(&spec, &launcher(), &mut Vec::new(), &NoLookups, Cancel::never()).await;
    });
    until_littered(&marker).await;
    task.abort();
    until("the processes are gone", || marked(&marker).is_empty().then_some(())).await;
}

#[tokio::test]
async fn killing_the_server_leaves_nothing_behind() {
    let marker = unique("server");
    let command = format!("{LITTER} sleep 999");
    let mut server = std::process::Command::new(env!("CARGO_BIN_EXE_updraft-execution-helper"))
        .args(["bash", &command])
        .env("MARKER", &marker)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the helper starts");
    until_littered(&marker).await;
    // `kill` sends SIGKILL: no code of the server's runs after it.
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    until("the processes are gone", || marked(&marker).is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_killed_supervisor_is_reported_and_what_it_watched_is_killed() {
    let marker = unique("supervisor");
    let spec = bash_marked(&marker, &format!("{LITTER} sleep 999"));
    let kill = async {
        until_littered(&marker).await;
        let supervisor = until("the supervisor is found", || supervisor_above(&marked(&marker))).await;
        kill_hard(&supervisor);
    };
    let mut log = Vec::new();
    let launcher = launcher();
    let (report, ()) = tokio::join!(bounded(run(&spec, &launcher, &mut log, &NoLookups, Cancel::never())), kill);
    assert_eq!(marked(&marker), Vec::<String>::new());
    let log = String::from_utf8_lossy(&log);
    assert!(report.outcome.message().contains("supervisor disappeared"), "{:?}", report.outcome);
    assert!(log.contains("supervisor disappeared"), "{log}");
    assert!(!report.all_ended);
    // The next attempt gets another one.
    let report = bounded(run(&bash("true"), &launcher, &mut Vec::new(), &NoLookups, Cancel::never())).await;
    assert_eq!(report.outcome, Outcome::Success);
}

#[tokio::test]
async fn a_supervisor_killed_before_it_could_say_anything_leaves_nothing() {
    // Which side of the start each kill hits is chance; what is left must be nothing on both.
    for round in 0..10 {
        let marker = unique(&format!("early-{round}"));
        let mut server = std::process::Command::new(env!("CARGO_BIN_EXE_updraft-execution-helper"))
            .args(["bash", &format!("{LITTER} sleep 999")])
            .env("MARKER", &marker)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the helper starts");
        let children = format!("/proc/{0}/task/{0}/children", server.id());
        let supervisor = until("there is a supervisor", || {
            let listed = std::fs::read_to_string(&children).ok()?;
            listed.split(' ').next().filter(|pid| !pid.is_empty()).map(str::to_owned)
        })
        .await;
        tokio::time::sleep(Duration::from_millis(round)).await;
        kill_hard(&supervisor);
        let ended = until("the server has its report", || server.try_wait().expect("it is ours")).await;
        assert_eq!(ended.code(), Some(1), "the attempt failed");
        assert_eq!(marked(&marker), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_attempts_at_once_do_not_mix() {
    let attempts: Vec<_> = (0..40)
        .map(|number| {
            tokio::spawn(async move {
                let (report, log) = finish(&bash(&format!("echo {number}; sleep 0.1; exit {}", number % 3))).await;
                (number, report, log)
            })
        })
        .collect();
    for attempt in attempts {
        let (number, report, log) = attempt.await.expect("no panic");
        assert_eq!(body(&log), format!("{number}\n"));
        assert_eq!(report.outcome == Outcome::Success, number % 3 == 0);
    }
}
