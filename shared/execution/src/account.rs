//! What the log says of an attempt itself: what runs, and how it ended.

use std::time::Duration;

use crate::lines::Level;
use crate::report::Outcome;
use crate::spec::{AttemptSpec, Callable, OperatorCall};
use crate::supervised::Exit;

/// How much of a command is shown.
const COMMAND_CHARS_MAX: usize = 1000;

/// What is about to run; nothing where nothing runs.
pub(crate) fn beginning(spec: &AttemptSpec) -> Option<String> {
    let what = match &spec.operator {
        OperatorCall::Empty => return None,
        OperatorCall::Bash(call) => format!("running the command: {}", one_line(&call.bash_command)),
        OperatorCall::Python(call) => match &call.callable {
            Callable::Import(name) => format!("calling `{name}`"),
            Callable::File { path, name } => format!("calling `{name}` of `{}`", path.display()),
        },
    };
    let mapped = spec.map_index.map(|index| format!("[{index}]")).unwrap_or_default();
    let AttemptSpec { dag_id, task_id, run_id, try_number, .. } = spec;
    Some(format!("try {try_number} of `{dag_id}.{task_id}`{mapped} in run `{run_id}`\n{what}"))
}

fn one_line(command: &str) -> String {
    let mut shown: String = command.trim().chars().take(COMMAND_CHARS_MAX).collect();
    if shown.len() < command.trim().len() {
        shown.push_str("...");
    }
    shown.replace('\n', "\\n")
}

/// How it ended; nothing where nothing ran.
pub(crate) fn end(
    spec: &AttemptSpec,
    outcome: &Outcome,
    exit: Option<Exit>,
    ran_for: Duration,
) -> Option<(Level, String)> {
    if spec.operator == OperatorCall::Empty && *outcome == Outcome::Success {
        return None;
    }
    // What kept a command from running is told all the same.
    let is_an_answer = *outcome == Outcome::Success
        || (exit.is_some()
            && matches!(
                (&spec.operator, outcome),
                (OperatorCall::Bash(_), Outcome::Skipped { .. } | Outcome::Failed { .. })
            ));
    let exit = match exit {
        Some(Exit::Code(code)) => format!(", exit code {code}"),
        Some(Exit::Signal(signal)) => format!(", ended by signal {signal}"),
        None => String::new(),
    };
    let after = format!("after {:.3} s{exit}", ran_for.as_secs_f64());
    let message = outcome.message();
    Some(match outcome {
        _ if spec.is_judged && is_an_answer => (Level::Info, format!("ended {after}")),
        Outcome::Success => (Level::Info, format!("success {after}")),
        Outcome::Skipped { .. } => (Level::Info, format!("skipped {after}: {message}")),
        Outcome::Rescheduled { .. } => (Level::Info, format!("rescheduled {after}: {message}")),
        Outcome::Failed { .. } | Outcome::TimedOut { .. } => (Level::Error, format!("failed {after}: {message}")),
        Outcome::Killed { .. } => (Level::Error, format!("ended {after}: {message}")),
    })
}
