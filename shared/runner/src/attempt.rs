//! One attempt as an operator sees it, and how it ends.

use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use updraft_execution::{AssetContext, Level, OperatorCall, Report};
use updraft_model::secrets::hide;
use updraft_model::{AttemptOutcome, Choice, HitlDetail, OutletEvent, Task};
use updraft_service::Work;

use crate::arguments::Arguments;
use crate::log::Log;
use crate::services::Services;

/// How an attempt ended, and what it leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended {
    pub(crate) outcome: AttemptOutcome,
    /// Why it was skipped or failed, in a line.
    pub(crate) message: Option<String>,
    /// What it pushed.
    pub(crate) xcoms: BTreeMap<String, Value>,
    /// What it lets go on.
    pub(crate) choice: Option<Choice>,
    /// What it said about the assets it writes.
    pub(crate) outlet_events: Vec<OutletEvent>,
    /// What the next attempt of the same try is told.
    pub(crate) handover: Option<Value>,
    /// The name of the mapped instance.
    pub(crate) rendered_map_index: Option<String>,
    /// What its template fields became.
    pub(crate) rendered: serde_json::Map<String, Value>,
    /// What it has asked people.
    pub(crate) hitl: Option<HitlDetail>,
}

impl Ended {
    fn new(outcome: AttemptOutcome, message: Option<String>) -> Self {
        Self {
            outcome,
            message,
            xcoms: BTreeMap::new(),
            choice: None,
            outlet_events: Vec::new(),
            handover: None,
            rendered_map_index: None,
            rendered: serde_json::Map::new(),
            hitl: None,
        }
    }

    pub(crate) fn success() -> Self {
        Self::new(AttemptOutcome::Success, None)
    }

    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        Self::new(AttemptOutcome::Skipped, Some(why.into()))
    }

    /// A failure that another try may mend.
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self::new(AttemptOutcome::Failed, Some(why.into()))
    }

    /// A failure that no other try mends.
    pub(crate) fn failed_for_good(why: impl Into<String>) -> Self {
        Self::new(AttemptOutcome::FailedForGood, Some(why.into()))
    }

    /// Gives the worker back until then.
    pub(crate) fn rescheduled(until: jiff::Timestamp) -> Self {
        Self::new(AttemptOutcome::Rescheduled { until }, None)
    }

    /// Gives the worker back until somebody has answered, or until then.
    pub(crate) fn awaiting_input(detail: HitlDetail, until: jiff::Timestamp) -> Self {
        Self { hitl: Some(detail), ..Self::new(AttemptOutcome::AwaitingInput { until }, None) }
    }

    pub(crate) fn with_xcoms(self, xcoms: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self { xcoms: self.xcoms.into_iter().chain(xcoms).collect(), ..self }
    }

    /// The same without secrets in its words.
    pub(crate) fn hiding(self, secrets: &[String]) -> Self {
        Self { message: self.message.map(|message| hide(&message, secrets)), ..self }
    }

    pub(crate) fn with_handover(self, handover: Value) -> Self {
        Self { handover: Some(handover), ..self }
    }

    pub(crate) fn with_choice(self, choice: Option<Choice>) -> Self {
        Self { choice, ..self }
    }
}

/// What ends an attempt before its operator is through.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Break {
    /// It has ended like this.
    Ended(Box<Ended>),
    /// It was told to stop, and its processes are gone.
    Killed,
}

impl From<Ended> for Break {
    fn from(ended: Ended) -> Self {
        Self::Ended(Box::new(ended))
    }
}

/// An argument that makes no sense: no other try mends it.
impl From<String> for Break {
    fn from(why: String) -> Self {
        Ended::failed_for_good(why).into()
    }
}

/// How an operator ends.
pub(crate) type End = Result<Ended, Break>;

/// One attempt, for its operator.
pub(crate) struct Attempt<'a, S> {
    /// What is run: the run, the version, the task, the try.
    pub(crate) work: &'a Work,
    /// The operator's arguments, templates rendered.
    pub(crate) arguments: Arguments,
    /// The task's params, the run's conf merged in.
    pub(crate) params: Value,
    /// What must not appear in logs.
    pub(crate) secrets: Vec<String>,
    /// What may be asked for.
    pub(crate) services: &'a S,
    /// The attempt's log.
    pub(crate) log: &'a mut Log,
    /// Said to the runner while a process runs, which takes time to end.
    pub(crate) busy: &'a std::sync::atomic::AtomicBool,
    /// What it is shown of assets.
    pub(crate) assets: AssetContext,
    /// What was said so far about the assets that the task writes.
    pub(crate) outlet_events: Vec<OutletEvent>,
    /// What the task's callable put into its context.
    pub(crate) added: serde_json::Map<String, Value>,
    /// What was pushed so far besides the result: kept however the attempt ends.
    pub(crate) pushed: BTreeMap<String, Value>,
    /// Ends processes.
    pub(crate) cancel: updraft_execution::Cancel,
    /// When `execution_timeout` is over, counted from the attempt's start.
    pub(crate) time_over: Option<tokio::time::Instant>,
}

impl<S: Services> Attempt<'_, S> {
    /// The task's definition.
    pub(crate) fn task(&self) -> &Task {
        self.work.definition()
    }

    /// Writes a line to the log.
    pub(crate) async fn say(&mut self, text: &str) {
        self.log.say(self.services.now(), Level::Info, &hide(text, &self.secrets)).await;
    }

    /// Success with a value, which is pushed where the task pushes values.
    pub(crate) fn success_with(&self, value: Value) -> Ended {
        if !self.task().do_xcom_push || value.is_null() {
            return Ended::success();
        }
        let mut xcoms = Vec::new();
        if self.task().multiple_outputs {
            let Value::Object(entries) = &value else {
                return Ended::failed("`multiple_outputs` needs a dictionary, but the task returned none");
            };
            xcoms.extend(entries.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        xcoms.push((updraft_execution::RETURN_VALUE.to_owned(), value));
        Ended::success().with_xcoms(xcoms)
    }

    /// Runs a process to its end; its result is the attempt's. A process that was killed because the attempt is to stop ends the attempt.
    pub(crate) async fn process(&mut self, call: OperatorCall) -> Result<Report, Break> {
        self.process_that(call, self.task().do_xcom_push, false).await
    }

    /// Runs a process to its end, whose result is the operator's business and no XCom.
    pub(crate) async fn helper_process(&mut self, call: OperatorCall) -> Result<Report, Break> {
        let mut report = self.process_that(call, false, true).await?;
        self.pushed.extend(std::mem::take(&mut report.xcoms));
        Ok(report)
    }

    async fn process_that(&mut self, call: OperatorCall, do_xcom_push: bool, is_judged: bool) -> Result<Report, Break> {
        use std::sync::atomic::Ordering;
        let left = self.time_over.map(|over| over.duration_since(tokio::time::Instant::now()));
        let mut spec = crate::processes::spec(self.work, &self.params, call);
        spec.do_xcom_push = do_xcom_push;
        spec.secrets.clone_from(&self.secrets);
        spec.context.assets.clone_from(&self.assets);
        spec.execution_timeout = left.map(|left| left.max(Duration::from_millis(1)));
        spec.whole_timeout = self.task().execution_timeout.and_then(|timeout| Duration::try_from(timeout).ok());
        spec.is_judged = is_judged;
        self.busy.store(true, Ordering::SeqCst);
        let report = self.services.process(self.work, &spec, self.log, self.cancel.clone()).await;
        self.busy.store(false, Ordering::SeqCst);
        self.outlet_events.clone_from(&report.outlet_events);
        self.added.clone_from(&report.context);
        match report.outcome {
            updraft_execution::Outcome::Killed { .. } => Err(Break::Killed),
            _ => Ok(report),
        }
    }
}

/// The end of an attempt that was one process.
pub(crate) fn end_of(report: &Report) -> Ended {
    use updraft_execution::Outcome;
    let message = || report.outcome.message();
    let ended = match &report.outcome {
        Outcome::Success => Ended::success(),
        Outcome::Rescheduled { until } => Ended::rescheduled(*until),
        Outcome::Skipped { .. } => Ended::skipped(message()),
        Outcome::Failed { retryable: false, .. } => Ended::failed_for_good(message()),
        Outcome::Failed { .. } | Outcome::TimedOut { .. } | Outcome::Killed { .. } => Ended::failed(message()),
    };
    ended.with_xcoms(report.xcoms.iter().cloned())
}
