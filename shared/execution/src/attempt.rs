//! One attempt from its start to its report.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use updraft_model::OutletEvent;

use crate::account;
use crate::cancel::Cancel;
use crate::channel::{self, Said};
use crate::environment::environment;
use crate::launcher::Launcher;
use crate::lines::Level;
use crate::masks::Masks;
use crate::output::Output;
use crate::ports::{LogSink, Lookups};
use crate::report::{Outcome, Report, Returned};
use crate::spec::{AttemptSpec, OperatorCall};
use crate::supervised::{Exit, ProcessSpec, Running};
use crate::{RETURN_VALUE, bash, python};

/// What an operator asks for before its process can start.
pub(crate) struct Plan {
    pub(crate) process: ProcessSpec,
    /// The first line on the channel, if there is one.
    pub(crate) greeting: Option<String>,
    /// The temporary working directory, removed with the plan.
    pub(crate) scratch: Option<tempfile::TempDir>,
}

/// Why the wait for the main process ended.
enum Verdict {
    Exited(Option<Exit>),
    TimedOut(Duration),
    Killed(String),
}

/// Runs one attempt and returns when all its processes are gone (or, for ten seconds longer than the grace, would not go).
///
/// It never fails itself: what goes wrong on the way to the task's process is a retryable [`Outcome::Failed`], with its message in the log. If the
/// returned future is dropped, the attempt is ended as if this process had died.
pub async fn run(
    spec: &AttemptSpec,
    launcher: &Launcher,
    sink: &mut impl LogSink,
    lookups: &impl Lookups,
    cancel: Cancel,
) -> Report {
    let masks = Masks::new(&spec.secrets);
    let mut output = Output::new(masks.clone(), matches!(spec.operator, OperatorCall::Python(_)));
    if let Some(text) = account::beginning(spec) {
        output.note(Level::Info, &text, sink).await;
    }
    let started = Instant::now();
    let ended = Box::pin(execute(spec, launcher, &mut output, sink, lookups, &masks, cancel)).await;
    let ran_for = started.elapsed();
    let outcome = ended.outcome.masked(&masks);
    if let Some((level, text)) = account::end(spec, &outcome, ended.exit, ran_for) {
        output.note(level, &text, sink).await;
    }
    Report {
        outcome,
        xcoms: ended.xcoms,
        returned: ended.returned,
        outlet_events: ended.outlet_events,
        context: ended.context,
        log: output.into_summary(),
        ran_for,
        all_ended: ended.all_ended,
    }
}

/// How an attempt ended, before its log is closed.
pub(crate) struct Settled {
    pub(crate) outcome: Outcome,
    pub(crate) xcoms: Vec<(String, Value)>,
    pub(crate) returned: Option<Returned>,
    pub(crate) outlet_events: Vec<OutletEvent>,
    /// What a Python callable put into its context.
    pub(crate) context: serde_json::Map<String, Value>,
    /// How the main process ended, where that is known.
    pub(crate) exit: Option<Exit>,
    pub(crate) all_ended: bool,
    /// Whether each entry of the return value is an XCom of its own.
    pub(crate) multiple_outputs: bool,
}

impl Settled {
    pub(crate) fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            xcoms: Vec::new(),
            returned: None,
            outlet_events: Vec::new(),
            context: serde_json::Map::new(),
            exit: None,
            all_ended: true,
            multiple_outputs: false,
        }
    }
}

async fn execute(
    spec: &AttemptSpec,
    launcher: &Launcher,
    output: &mut Output,
    sink: &mut impl LogSink,
    lookups: &impl Lookups,
    masks: &Masks,
    mut cancel: Cancel,
) -> Settled {
    let env = environment(spec, std::env::vars_os(), launcher.packages());
    let starting = async {
        let plan = match &spec.operator {
            OperatorCall::Empty => return Ok(None),
            OperatorCall::Bash(call) => bash::plan(call, spec, launcher, env)?,
            OperatorCall::Python(call) => python::plan(call, spec, launcher, env).await?,
        };
        let running = Running::start(launcher, &plan.process).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(Some((plan, running)))
    };
    let started = tokio::select! {
        biased;
        why = cancel.cancelled() => return Settled::new(Outcome::Killed { why }),
        started = starting => started,
    };
    let (plan, running) = match started {
        Ok(Some(started)) => started,
        Ok(None) => return Settled::new(Outcome::Success),
        Err(message) => return Settled::new(Outcome::failed(message)),
    };
    let Running { mut supervised, log, channel } = running;
    let (tell_ended, has_ended) = watch::channel(false);
    let (tell_closed, mut is_closed) = watch::channel(false);
    let timer = timer(spec.execution_timeout);
    tokio::pin!(timer);
    let overseen = async {
        let mut verdict = tokio::select! {
            biased;
            exit = supervised.exited() => Verdict::Exited(exit),
            why = cancel.cancelled() => Verdict::Killed(why),
            timeout = &mut timer => Verdict::TimedOut(timeout),
        };
        if matches!((&verdict, &spec.operator), (Verdict::Exited(Some(_)), OperatorCall::Bash(_))) {
            // Airflow's BashOperator reads to the end of the output: what a command left running in the background belongs to the task
            // for as long as it can write.
            tokio::select! {
                biased;
                _ = is_closed.wait_for(|closed| *closed) => {}
                why = cancel.cancelled() => verdict = Verdict::Killed(why),
                timeout = &mut timer => verdict = Verdict::TimedOut(timeout),
            }
        }
        let all_ended = supervised.end().await;
        tell_ended.send_replace(true);
        (verdict, all_ended)
    };
    let pumped = async {
        output.pump(log, sink, has_ended.clone()).await;
        tell_closed.send_replace(true);
    };
    let (said, (), (verdict, all_ended)) =
        tokio::join!(channel::converse(channel, plan.greeting, lookups, masks, has_ended.clone()), pumped, overseen);
    if let Some(scratch) = plan.scratch {
        // The directory may hold anything, gigabytes of it too.
        let _ = tokio::task::spawn_blocking(move || drop(scratch)).await;
    }
    let exit = if let Verdict::Exited(exit) = &verdict { *exit } else { None };
    let mut ended = settle(spec, verdict, said, output, sink).await;
    (ended.all_ended, ended.exit) = (all_ended, exit);
    ended
}

/// Waits for the timeout to pass, for ever where there is none.
async fn timer(timeout: Option<Duration>) -> Duration {
    match timeout {
        Some(timeout) => {
            tokio::time::sleep(timeout).await;
            timeout
        }
        None => std::future::pending().await,
    }
}

async fn settle(
    spec: &AttemptSpec,
    verdict: Verdict,
    said: Said,
    output: &mut Output,
    sink: &mut impl LogSink,
) -> Settled {
    let exit = match verdict {
        Verdict::Killed(why) => {
            return Settled { xcoms: said.pushed, ..Settled::new(Outcome::Killed { why }) };
        }
        // A result that was complete in time counts, also if the process did not manage to exit.
        Verdict::TimedOut(left) if said.done.is_none() => {
            let after = spec.whole_timeout.unwrap_or(left);
            return Settled { xcoms: said.pushed, ..Settled::new(Outcome::TimedOut { after }) };
        }
        Verdict::TimedOut(_) => None,
        Verdict::Exited(exit) => exit,
    };
    match &spec.operator {
        OperatorCall::Bash(call) => {
            let Some(exit) = exit else { return Settled::new(Outcome::failed(LOST)) };
            let ended = Settled::new(bash::outcome(call, exit));
            if ended.outcome != Outcome::Success || !spec.do_xcom_push {
                return ended;
            }
            match output.last_line() {
                Ok(line) => with_return_value(spec, ended, Value::String(line)),
                Err(limit) => {
                    let line = format!(
                        "the last line is longer than {limit} bytes: it was not pushed as XCom `{RETURN_VALUE}`"
                    );
                    output.note(Level::Warning, &line, sink).await;
                    ended
                }
            }
        }
        OperatorCall::Python(call) => {
            let (ended, value) = python::outcome(call, said, exit);
            // `None` is no XCom, as in Airflow.
            if ended.outcome != Outcome::Success || !spec.do_xcom_push || value.is_null() {
                return ended;
            }
            with_return_value(spec, ended, value)
        }
        OperatorCall::Empty => Settled::new(Outcome::Success),
    }
}

/// What is said of an attempt whose supervisor disappeared.
pub(crate) const LOST: &str =
    "the attempt's supervisor disappeared (was it killed for want of memory?), so how the task ended is not known";

/// Adds the return value, and before it the entries of a returned map where each is to be an XCom.
fn with_return_value(spec: &AttemptSpec, mut ended: Settled, value: Value) -> Settled {
    if spec.multiple_outputs || ended.multiple_outputs {
        let Value::Object(entries) = &value else {
            let message = format!("`multiple_outputs` needs a dictionary, but the task returned {}", kind(&value));
            ended.outcome = Outcome::failed(message);
            return ended;
        };
        ended.xcoms.extend(entries.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    ended.xcoms.push((RETURN_VALUE.to_owned(), value));
    ended
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a dictionary",
    }
}
