//! `updraft tasks logs`

use super::OfRun;
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use updraft_model::AttemptOutcome;
use updraft_service::views::LogView;

/// Whose logs.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    run: OfRun,

    /// The task's id
    task_id: String,

    /// Only this try, counted from 1
    #[arg(long = "try", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    try_number: Option<u32>,

    /// The instance, if the task is mapped
    #[arg(long, value_name = "N")]
    map_index: Option<u32>,

    /// Go on until the task instance has ended, as far as its log is on this machine
    #[arg(long, short)]
    follow: bool,
}

/// How often a log is read again.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Prints the logs, and nothing else, on standard output.
pub(crate) async fn run(arguments: &Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let mut shown = Shown::default();
    loop {
        let run = arguments.run.find(session).await?;
        // Read before the logs: when the task had ended by then, the logs are complete.
        let task = session.engine.task_of_run(&run, &arguments.task_id).await?;
        let (state, tries) = match arguments.map_index {
            Some(index) => {
                let instance = session.engine.mapped_instance(&run, task, index).await?;
                (instance.state, instance.try_number)
            }
            None => (run.task_state(task), run.cell(task).try_number()),
        };
        let ended = state.is_finished() || run.state.is_finished();
        if let Some(number) = arguments.try_number.filter(|_| ended || !arguments.follow)
            && number > tries
            && (arguments.map_index.is_some() || !run.mapped.has_instances(task))
        {
            return Err(no_such_try(arguments, number, tries, state.as_str()));
        }
        let Arguments { task_id, map_index, try_number, .. } = arguments;
        let logs = session.engine.logs_of(&session.blobs, &run, task_id, *map_index, *try_number).await?;
        if printer.is_for_programs() && (ended || !arguments.follow) {
            return printer.value(&Value::Array(logs.iter().map(to_json).collect()));
        }
        if !printer.is_for_programs() {
            shown.go_on(&logs, printer)?;
        }
        if ended || !arguments.follow {
            if logs.is_empty() {
                printer.note(nothing(arguments, state.as_str()));
            }
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn nothing(arguments: &Arguments, state: &str) -> String {
    format!("note: `{}` has no log; its state is `{state}`", arguments.task_id)
}

/// That a try was asked for which there has not been.
fn no_such_try(arguments: &Arguments, number: u32, tries: u32, state: &str) -> Failure {
    let task_id = &arguments.task_id;
    let failure = Failure::user(format!("the task `{task_id}` has no try {number}"));
    match tries {
        0 => failure.cause(format!("it has not been tried; its state is `{state}`")),
        1 => failure.cause(format!("it has been tried once; its state is `{state}`")),
        _ => failure.cause(format!("it has been tried {tries} times; its state is `{state}`")),
    }
}

/// How much of each attempt has been printed: by its place, for a try may have several attempts.
#[derive(Debug, Default)]
struct Shown {
    bytes: BTreeMap<usize, usize>,
}

impl Shown {
    fn go_on(&mut self, logs: &[LogView], printer: Printer) -> Result<(), Failure> {
        for (at, log) in logs.iter().enumerate() {
            let before = self.bytes.get(&at).copied();
            if before.is_none() {
                let instance = log.map_index.map(|index| format!(" of map index {index}")).unwrap_or_default();
                printer.note(format_args!("*** try {}{instance}", log.try_number));
            }
            let printed = before.unwrap_or(0);
            if let Some(new) = log.text.get(printed..).filter(|new| !new.is_empty()) {
                printer.text(new)?;
            }
            self.bytes.insert(at, printed.max(log.text.len()));
        }
        Ok(())
    }
}

fn to_json(log: &LogView) -> Value {
    let attempt = log.attempt.as_ref();
    let state = match attempt.map(|attempt| attempt.outcome) {
        None => "running",
        Some(AttemptOutcome::Success) => "success",
        Some(AttemptOutcome::Skipped) => "skipped",
        Some(AttemptOutcome::Failed | AttemptOutcome::FailedForGood) => "failed",
        Some(AttemptOutcome::Rescheduled { .. }) => "up_for_reschedule",
        Some(AttemptOutcome::Deferred { .. }) => "deferred",
        Some(AttemptOutcome::AwaitingInput { .. }) => "awaiting_input",
    };
    json!({
        "map_index": log.map_index.map_or(-1, i64::from),
        "try_number": log.try_number,
        "state": state,
        "start_date": attempt.map(|a| Cell::Time(Some(a.start_date)).to_json()),
        "end_date": attempt.map(|a| Cell::Time(Some(a.end_date)).to_json()),
        "hostname": attempt.and_then(|a| a.hostname.clone()),
        "message": attempt.and_then(|a| a.message.clone()),
        "text": log.text,
    })
}
