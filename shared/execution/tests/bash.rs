//! Airflow's BashOperator, with real processes.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{bash, body, finish, launcher, spec};
use serde_json::json;
use updraft_execution::{
    AttemptSpec, BashCall, Cancel, Launcher, LogSink, NoLookups, OperatorCall, Outcome, RunContext, run,
};

fn failed(code: i32) -> Outcome {
    let message = format!("Bash command failed. The command returned a non-zero exit code {code}.");
    Outcome::Failed { message, retryable: true }
}

#[tokio::test]
async fn exit_codes_decide_the_outcome() {
    let skipped = |code: i32| Outcome::Skipped { reason: format!("Bash command returned exit code {code}. Skipping.") };
    let own_codes = |codes: &[i32]| {
        let call = BashCall { skip_on_exit_code: codes.to_vec(), ..BashCall::new("exit 7") };
        spec(OperatorCall::Bash(call))
    };
    let cases = [
        (bash("true"), Outcome::Success),
        (bash("exit 99"), skipped(99)),
        (bash("false"), failed(1)),
        (bash("exit 255"), failed(255)),
        (bash("no-such-command-here"), failed(127)),
        (bash("kill -9 $$"), failed(-9)),
        (own_codes(&[6, 7]), skipped(7)),
        (own_codes(&[]), failed(7)),
    ];
    for (spec, expected) in cases {
        let (report, log) = finish(&spec).await;
        assert_eq!(report.outcome, expected, "{:?}: {log}", spec.operator);
        assert!(report.all_ended);
        let pushed = usize::from(expected == Outcome::Success);
        assert_eq!(report.xcoms.len(), pushed, "{:?}", spec.operator);
    }
}

#[tokio::test]
async fn the_last_line_is_the_return_value() {
    let cases = [
        ("echo one; echo two", "two"),
        ("printf 'no end'", "no end"),
        ("echo 'trailing  '", "trailing"),
        ("echo x; echo", ""),
        ("true", ""),
        ("echo out; echo err >&2", "err"),
        ("printf 'gr\\303\\274n\\n'", "grün"),
        ("printf 'a\\377b'", "a\u{fffd}b"),
    ];
    for (command, expected) in cases {
        let (report, _) = finish(&bash(command)).await;
        assert_eq!(report.xcoms, [("return_value".to_owned(), json!(expected))], "{command}");
    }
    let quiet = AttemptSpec { do_xcom_push: false, ..bash("echo x") };
    assert_eq!(finish(&quiet).await.0.xcoms, []);
}

#[tokio::test]
async fn both_streams_are_one_log_in_their_order() {
    let (report, log) = finish(&bash("echo a; echo b >&2; echo c; exit 4")).await;
    assert_eq!(body(&log), "a\nb\nc\n");
    let end = ", exit code 4: Bash command failed. The command returned a non-zero exit code 4.\n";
    assert!(log.ends_with(end) && log.contains("] ERROR - failed after "), "{log}");
    let start = "INFO - try 1 of `my_dag.my_task` in run `my_run`\n";
    assert!(log.contains(start) && log.contains("running the command: echo a; echo b"), "{log}");
    assert_eq!(report.log.tail, log);
    assert_eq!(report.log.bytes, log.len() as u64);
}

#[tokio::test]
async fn the_environment_is_airflows() {
    let context = RunContext {
        logical_date: Some("2025-01-02T03:04:05.678Z".parse().expect("a date")),
        owner: "me".to_owned(),
        ..RunContext::default()
    };
    let show = "env | sort; echo home=${HOME:+set}; read -t 1 x; echo read=$?";
    let call = |env: Option<BTreeMap<String, String>>, append_env| {
        let call = BashCall { env, append_env, ..BashCall::new(show) };
        AttemptSpec { context: context.clone(), try_number: 3, ..spec(OperatorCall::Bash(call)) }
    };
    let given: BTreeMap<String, String> = [("MINE".to_owned(), "a b".to_owned())].into();

    let (_, inherited) = finish(&call(None, false)).await;
    for line in [
        "AIRFLOW_CTX_DAG_ID=my_dag",
        "AIRFLOW_CTX_TASK_ID=my_task",
        "AIRFLOW_CTX_DAG_RUN_ID=my_run",
        "AIRFLOW_CTX_LOGICAL_DATE=2025-01-02T03:04:05.678000+00:00",
        "AIRFLOW_CTX_TRY_NUMBER=3",
        "AIRFLOW_CTX_DAG_OWNER=me",
        "home=set",
        "read=1",
    ] {
        assert!(inherited.lines().any(|shown| shown.ends_with(&format!(" INFO - {line}"))), "{line} in {inherited}");
    }
    let (_, replaced) = finish(&call(Some(given.clone()), false)).await;
    assert!(replaced.contains("MINE=a b\n") && replaced.contains(" home=\n"), "{replaced}");
    assert!(replaced.contains("AIRFLOW_CTX_TASK_ID=my_task\n"), "{replaced}");
    let (_, added) = finish(&call(Some(given), true)).await;
    assert!(added.contains("MINE=a b\n") && added.contains("home=set\n"), "{added}");
}

#[tokio::test]
async fn the_temporary_directory_goes_and_a_given_one_stays() {
    let scratch = tempfile::tempdir().expect("a directory");
    let launcher = launcher().with_scratch(scratch.path());
    let mut log = Vec::new();
    let report = run(&bash("touch x; pwd"), &launcher, &mut log, &NoLookups, Cancel::never()).await;
    assert_eq!(report.outcome, Outcome::Success);
    assert!(body(&String::from_utf8_lossy(&log)).starts_with(&*scratch.path().to_string_lossy()));
    assert_eq!(std::fs::read_dir(scratch.path()).expect("still there").count(), 0);

    let given = |cwd: &str| {
        spec(OperatorCall::Bash(BashCall { cwd: Some(scratch.path().join(cwd)), ..BashCall::new("touch y; pwd") }))
    };
    let (report, _) = finish(&given("")).await;
    assert_eq!(report.outcome, Outcome::Success);
    assert!(scratch.path().join("y").exists());
    let (absent, _) = finish(&given("absent")).await;
    assert!(absent.outcome.message().contains("absent` cannot be used"), "{:?}", absent.outcome);
    let (file, _) = finish(&given("y")).await;
    assert!(file.outcome.message().contains("y` is a file"), "{:?}", file.outcome);
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let (nul, _) = finish(&bash("echo \0")).await;
    assert!(nul.outcome.message().contains("NUL"), "{:?}", nul.outcome);
    let (long, log) = finish(&bash(&format!("echo {}", "x".repeat(200_000)))).await;
    assert!(long.outcome.message().contains("longer than the system allows"), "{:?}", long.outcome);
    assert!(log.trim_end().ends_with(&long.outcome.message()), "{}", log.len());

    let run = async |program: &str| {
        run(&bash("true"), &Launcher::new(program), &mut Vec::new(), &NoLookups, Cancel::never()).await.outcome
    };
    let absent = run("/no/such/program").await.message();
    assert!(absent.contains("could not start the supervisor `/no/such/program`"), "{absent}");
    let other = run("/bin/false").await.message();
    assert!(other.contains("`/bin/false` ended (exit status: 1)") && other.contains("__supervise"), "{other}");
}

#[tokio::test]
async fn empty_succeeds_without_a_process() {
    let nowhere = Launcher::new("/no/such/program");
    let report = run(&spec(OperatorCall::Empty), &nowhere, &mut Vec::new(), &NoLookups, Cancel::never()).await;
    assert_eq!((report.outcome, report.xcoms, report.log.bytes), (Outcome::Success, Vec::new(), 0));
}

/// Counts, and remembers the largest piece.
#[derive(Default)]
struct Counting {
    bytes: u64,
    largest: usize,
}

impl LogSink for Counting {
    async fn write(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        self.bytes += chunk.len() as u64;
        self.largest = self.largest.max(chunk.len());
        Ok(())
    }
}

/// The peak of this process's memory in KiB. Other tests of this file share it; none of them needs much.
fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is a /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak is listed");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test]
async fn a_flood_of_output_passes_in_bounded_memory() {
    for (command, pushed) in [
        // Lines, then one line without an end.
        ("yes abcdefg | head -c 100000000", 1),
        ("head -c 100000000 /dev/zero | tr '\\0' x", 0),
    ] {
        let before = peak_memory_kib();
        let mut sink = Counting::default();
        let report = run(&bash(command), &launcher(), &mut sink, &NoLookups, Cancel::never()).await;
        assert_eq!(report.outcome, Outcome::Success);
        assert!((100_000_000..700_000_000).contains(&sink.bytes), "{}", sink.bytes);
        assert_eq!(report.log.bytes, sink.bytes);
        assert!(sink.largest <= 64 * 1024, "{}", sink.largest);
        assert!(report.log.tail.len() <= 8 * 1024);
        assert_eq!(report.xcoms.len(), pushed, "a line of more than a mebibyte is no XCom: {}", report.log.tail);
        let grown = peak_memory_kib() - before;
        assert!(grown < 16 * 1024, "{command}: {grown} KiB more");
    }
}

#[tokio::test]
async fn a_sink_that_fails_does_not_fail_the_task() {
    struct Full;
    impl LogSink for Full {
        async fn write(&mut self, _chunk: &[u8]) -> std::io::Result<()> {
            Err(std::io::Error::other("no space left"))
        }
    }
    let report = run(&bash("echo a; echo b"), &launcher(), &mut Full, &NoLookups, Cancel::never()).await;
    assert_eq!(report.outcome, Outcome::Success);
    assert_eq!(report.log.sink_error.as_deref(), Some("no space left"));
    assert_eq!(body(&report.log.tail), "a\nb\n");
    assert!(report.ran_for > Duration::ZERO);
}
