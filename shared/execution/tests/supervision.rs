//! Nothing that an attempt started outlives it, with real processes.

mod common;

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{bash, bash_marked, finish, launcher, marked, unique, until};
use updraft_execution::{AttemptSpec, Cancel, LogSink, NoXComs, Outcome, cancellation, run};

/// Leaves a process in each way there is: in the background, in a session of its own, forked twice with its parents gone, and deaf to SIGTERM.
const LITTER: &str = "
    sleep 1000 &
    setsid sleep 1001 &
    (setsid bash -c 'sleep 1002 & disown; exit' &)
    setsid bash -c 'trap \"\" TERM; (setsid sleep 1003 &) ; while :; do sleep 1; done' &
    nohup sleep 1004 >/dev/null 2>&1 &
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
        tokio::join!(run(&spec, &launcher, &mut log, &NoXComs, Cancel::never()), until_littered(&marker),);
    assert_eq!(report.outcome, Outcome::TimedOut { after: timeout });
    assert!(report.all_ended);
    // Not eventually: when the report is there, they are gone.
    assert_eq!(marked(&marker), Vec::<String>::new());
    assert_eq!(report.log.tail, "execution timeout of 1.5 s passed\n");
}

#[tokio::test]
async fn the_end_of_the_task_ends_what_it_left() {
    let marker = unique("left");
    let start = Instant::now();
    let (report, log) = finish(&bash_marked(&marker, &format!("{LITTER} echo done"))).await;
    assert_eq!((report.outcome, log.as_str()), (Outcome::Success, "done\n"));
    assert_eq!(marked(&marker), Vec::<String>::new());
    // The log pipe, which they held, did not hold the attempt.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn cancelling_kills_the_whole_tree_and_gives_the_reason() {
    let marker = unique("cancel");
    let (handle, cancel) = cancellation();
    let spec =
        AttemptSpec { kill_grace: Duration::from_millis(100), ..bash_marked(&marker, &format!("{LITTER} sleep 999")) };
    let mut log = Vec::new();
    let launcher = launcher();
    let (report, ()) = tokio::join!(run(&spec, &launcher, &mut log, &NoXComs, cancel), async {
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
    let report = run(&spec, &launcher(), &mut Vec::new(), &NoXComs, cancel).await;
    assert_eq!(report.outcome, Outcome::Killed { why: "draining".to_owned() });
    assert!(!file.exists());
}

#[tokio::test]
async fn sigterm_comes_before_sigkill() {
    let marker = unique("term");
    let command = "trap 'echo cleaned up; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let (handle, cancel) = cancellation();

    /// Cancels as soon as there is output.
    struct CancelOnOutput(updraft_execution::CancelHandle);
    impl LogSink for CancelOnOutput {
        async fn write(&mut self, _chunk: &[u8]) -> std::io::Result<()> {
            self.0.cancel("test");
            Ok(())
        }
    }
    // The grace is longer than the test may take: ending sooner shows that it is not waited for in vain.
    let spec = AttemptSpec { kill_grace: common::BOUND * 10, ..bash_marked(&marker, command) };
    let start = Instant::now();
    let report = run(&spec, &launcher(), &mut CancelOnOutput(handle), &NoXComs, cancel).await;
    assert_eq!(report.outcome, Outcome::Killed { why: "test".to_owned() });
    // Its `sleep` is told to end as well, which bash may mention.
    let tail = &report.log.tail;
    assert!(
        tail.starts_with(
            "ready
"
        ) && tail.contains(
            "cleaned up
"
        ),
        "{tail}"
    );
    assert!(start.elapsed() < common::BOUND);
}

#[tokio::test]
async fn dropping_the_attempt_ends_it() {
    let marker = unique("drop");
    let spec =
        AttemptSpec { kill_grace: Duration::from_millis(100), ..bash_marked(&marker, &format!("{LITTER} sleep 999")) };
    let task = tokio::spawn(async move {
        run(&spec, &launcher(), &mut Vec::new(), &NoXComs, Cancel::never()).await;
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
        .spawn()
        .expect("the helper starts");
    until_littered(&marker).await;
    // `kill` sends SIGKILL: no code of the server's runs after it.
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    until("the processes are gone", || marked(&marker).is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_killed_supervisor_is_reported_and_its_group_killed() {
    let marker = unique("supervisor");
    let spec = bash_marked(&marker, "sleep 1005; echo never");
    let kill = async {
        until("the command runs", || marked(&marker).iter().any(|found| found.contains("sleep 1005")).then_some(()))
            .await;
        let supervisor = marked(&marker).into_iter().find(|found| found.contains("__supervise"));
        let supervisor = supervisor.expect("it runs beside the command");
        let pid = supervisor.split('"').nth(1).expect("the directory's name is the id");
        let killed = std::process::Command::new("kill").args(["-9", pid]).status().expect("kill runs");
        assert!(killed.success());
    };
    let mut log = Vec::new();
    let launcher = launcher();
    let (report, ()) = tokio::join!(run(&spec, &launcher, &mut log, &NoXComs, Cancel::never()), kill);
    assert!(report.outcome.message().contains("supervisor disappeared"), "{:?}", report.outcome);
    assert!(!report.all_ended);
    until("the group is gone", || marked(&marker).is_empty().then_some(())).await;
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
        assert!(log.starts_with(&format!("{number}\n")), "{log}");
        assert_eq!(report.outcome == Outcome::Success, number % 3 == 0);
    }
}
