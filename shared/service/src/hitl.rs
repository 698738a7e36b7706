//! Human in the loop: what is asked, answers, and the end of the time for one.
//!
//! The attempt that asks leaves the question in its item and gives its worker back. An answer needs no worker: whoever brings it puts an
//! item that holds question and answer, under a token of its own, and then ends the try by one write that asks for the exact cell that
//! waits. So of two answers one wins, and the other is told; a task that was cleared, marked or timed out meanwhile is answered by nobody.

use crate::engine::{Engine, Error, ROUNDS_MAX, Version};
use crate::xcoms;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::attempt::RETURN_VALUE;
use updraft_model::cell::Wait;
use updraft_model::operators::{self, Runner};
use updraft_model::{
    Attempt, AttemptKey, AttemptOutcome, Cell, DagId, HitlDetail, HitlResponse, HitlUser, Plan, RunDoc, TaskIndex,
    TaskInstanceState, Token, ValueRef,
};
use updraft_scheduling::step::{self, Ended, Step};
use updraft_scheduling::{choices, hitl};
use updraft_task_queue::TaskQueue;

/// What a task instance has asked people, in one of its tries.
#[derive(Debug, Clone, PartialEq)]
pub struct HitlView {
    /// The run.
    pub run: RunDoc,
    /// The task.
    pub task: TaskIndex,
    /// Its id.
    pub task_id: String,
    /// The try that asks, or asked.
    pub try_number: u32,
    /// The state of the task instance.
    pub state: TaskInstanceState,
    /// Until when an answer is waited for, while one is.
    pub due: Option<Timestamp>,
    /// Question and answer.
    pub detail: HitlDetail,
}

/// An answer, as somebody gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What they choose.
    pub chosen_options: Vec<String>,
    /// What they fill in.
    pub params_input: Map<String, Value>,
    /// Who they are.
    pub user: HitlUser,
}

/// Which questions are listed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HitlFilter {
    /// Only those of this DAG.
    pub dag_id: Option<DagId>,
    /// Only those of this run of it.
    pub run_id: Option<String>,
    /// Those that are answered or out of date, too.
    pub answered: bool,
}

const AWAITING: TaskInstanceState = TaskInstanceState::AwaitingInput;

/// Whether a task asks people.
pub fn asks(plan: &Plan, task: TaskIndex) -> bool {
    let runner = operators::find(&plan.task(task).operator).map(|operator| operator.runner);
    matches!(runner, Some(Runner::Hitl | Runner::Approval | Runner::HitlBranch | Runner::HitlEntry))
}

/// Where the question is that a task instance waits for the answer to.
fn question(run: &RunDoc, task: TaskIndex) -> Option<AttemptKey> {
    let Cell::Waiting { wait: Wait::Input, try_number, .. } = run.cell(task) else { return None };
    let token = run.resumed(task)?.last.clone();
    Some(AttemptKey {
        incarnation: run.facts.incarnation.clone(),
        task,
        map_index: None,
        try_number: *try_number,
        token,
    })
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// What a task instance asks, or has asked in one of its tries; by itself the latest.
    ///
    /// # Errors
    /// [`Error::NotFound`] where it has asked nothing (in that try).
    pub async fn hitl_detail(&self, run: &RunDoc, task: TaskIndex, try_number: Option<u32>) -> Result<HitlView, Error> {
        let version = self.version(&run.facts.version).await?;
        let found = self.questions_of(run, &version.plan, task).await?;
        let is_meant = |view: &HitlView| try_number.is_none_or(|number| number == view.try_number);
        found.into_iter().rfind(is_meant).ok_or_else(|| Error::NotFound {
            what: "a question to people of the task",
            name: version.plan.task(task).task_id.to_string(),
            near: Vec::new(),
        })
    }

    /// The questions that people are asked, those of the latest runs first.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a DAG or run that is not there.
    pub async fn list_hitl_details(&self, filter: &HitlFilter) -> Result<Vec<HitlView>, Error> {
        let mut views = Vec::new();
        for run in self.runs_that_may_ask(filter).await? {
            let version = self.version(&run.facts.version).await?;
            for task in version.plan.tasks().filter(|task| asks(&version.plan, *task)) {
                let waits = question(&run, task).is_some();
                if waits || filter.answered {
                    let latest = self.questions_of(&run, &version.plan, task).await?.pop();
                    views.extend(latest.filter(|view| filter.answered || view.due.is_some()));
                }
            }
        }
        Ok(views)
    }

    /// Runs in which somebody may be asked: only those under way, unless questions that are answered are wanted too.
    async fn runs_that_may_ask(&self, filter: &HitlFilter) -> Result<Vec<RunDoc>, Error> {
        let dag_ids = match (&filter.dag_id, &filter.run_id) {
            (Some(dag_id), Some(run_id)) => return Ok(vec![self.run_by_id(dag_id, run_id).await?]),
            (Some(dag_id), None) => vec![dag_id.clone()],
            (None, _) => self.all_dag_summaries().await?.into_iter().map(|summary| summary.dag_id).collect(),
        };
        let mut runs = Vec::new();
        for dag_id in dag_ids {
            let Some(dag) = self.store.dag(&dag_id).await? else {
                if filter.dag_id.is_some() {
                    return Err(self.no_such_dag(&dag_id).await);
                }
                continue;
            };
            if !filter.answered {
                let active: Vec<_> = dag.active.keys().cloned().collect();
                let mut found = self.readable_runs(&active).await?.items;
                found.sort_by_key(|run| std::cmp::Reverse(run.facts.run_after));
                runs.extend(found);
                continue;
            }
            let mut page = None;
            loop {
                let found = self.list_runs(&dag_id, 100, page).await?;
                runs.extend(found.items);
                page = found.next;
                if page.is_none() {
                    break;
                }
            }
        }
        Ok(runs.into_iter().filter(|run| filter.run_id.as_ref().is_none_or(|id| *id == run.facts.run_id)).collect())
    }

    /// What a task instance has asked, a view for each try, the latest last: with its answer, where there is one.
    async fn questions_of(&self, run: &RunDoc, plan: &Plan, task: TaskIndex) -> Result<Vec<HitlView>, Error> {
        let attempts = self.store.attempts_of(&run.facts.incarnation, Some(task)).await?;
        let cell = run.cell(task);
        let winner = xcoms::winner(run, task);
        let mut tries: BTreeMap<u32, HitlDetail> = BTreeMap::new();
        for (key, attempt) in attempts {
            let Some(detail) = attempt.hitl else { continue };
            // An answer that came too late has left an item as well, which nothing names; of earlier tries the answer is all that is known.
            let is_over = key.try_number < cell.try_number() || !(cell.is_final() || cell.state() == AWAITING);
            let counts = detail.response.is_none() || is_over || winner.as_ref() == Some(&key);
            let before = tries.get(&key.try_number);
            if counts && before.is_none_or(|before| before.response.is_none()) {
                tries.insert(key.try_number, detail);
            }
        }
        let view = |(try_number, detail)| HitlView {
            run: run.clone(),
            task,
            task_id: plan.task(task).task_id.to_string(),
            try_number,
            state: cell.state(),
            due: match cell {
                Cell::Waiting { wait: Wait::Input, try_number: waits, due } if *waits == try_number => Some(*due),
                _ => None,
            },
            detail,
        };
        Ok(tries.into_iter().map(view).collect())
    }

    /// Answers what a task instance asks, and says what was asked and answered.
    ///
    /// # Errors
    /// [`Error::NotFound`] where nothing was asked, [`Error::Conflict`] where it has been answered, or the task does not wait any more,
    /// [`Error::Forbidden`] for somebody who was not asked, [`Error::Refused`] for what is no answer to the question.
    pub async fn respond(&self, run: &RunDoc, task: TaskIndex, answer: &Answer) -> Result<HitlView, Error> {
        let gone = || Error::NotFound { what: "the run", name: run.facts.run_id.clone(), near: Vec::new() };
        // The caller's image may be as old as the page somebody looks at.
        let seen = question(run, task);
        let mut run = self.store.run(&run.facts.incarnation).await?.ok_or_else(gone)?;
        let asked = self.hitl_detail(&run, task, None).await?;
        let cell = run.cell(task).clone();
        let Some(question) = question(&run, task).filter(|question| question.try_number == asked.try_number) else {
            return Err(not_waiting(&asked));
        };
        if seen.is_some_and(|seen| seen != question) {
            let (run_id, task_id) = (&run.facts.run_id, &asked.task_id);
            return Err(Error::Conflict(format!(
                "`{task_id}` of the run `{run_id}` asks anew by now, in try {}: this answers what it asked before; look at it again",
                asked.try_number
            )));
        }
        let version = self.version(&run.facts.version).await?;
        let response = self.checked_response(&version, &asked, answer)?;
        let detail = HitlDetail { response: Some(response.clone()), ..asked.detail.clone() };
        let token = Token::trusted(self.clock.draw(8));
        let (ended, why) = hitl::answered(&detail, &response);
        let by = format!("{} ({})", answer.user.name, answer.user.id);
        let said = format!("{by} answered {}", response.chosen_options.join(", "));
        let key = AttemptKey { token: token.clone(), ..question };
        let attempt = answer_item(&version, &run, task, &ended, detail.clone(), why, said);
        self.store.put_attempt(&key, &attempt).await?;
        // Whether a write of ours may have landed without our knowing.
        let mut is_unknown = false;
        for _ in 0..ROUNDS_MAX {
            let now = self.clock.now();
            // Another try, or another question: what was answered is not what is asked.
            let waits = *run.cell(task) == cell;
            let step = step::answer(&version.plan, &run, &key.held(), &ended, now).filter(|_| waits);
            let Some(step) = step else {
                let view = self.hitl_detail(&run, task, None).await?;
                // Our own write may have landed although its answer was lost.
                if is_unknown && view.detail.response.as_ref() == Some(&response) {
                    return Ok(view);
                }
                self.withdraw(&run, &key).await;
                return Err(not_waiting(&self.hitl_detail(&run, task, None).await?));
            };
            match self.write_answer(&version, &mut run, step).await {
                Ok(true) => {
                    let state = run.task_state(task);
                    return Ok(HitlView { run, state, due: None, detail, ..asked });
                }
                Ok(false) => {}
                Err(Error::Metastore(updraft_metastore::Error::Unavailable(_))) => {
                    // It may have landed: look before trying again.
                    is_unknown = true;
                    let name = run.facts.run_id.clone();
                    let gone = || Error::NotFound { what: "the run", name, near: Vec::new() };
                    run = self.store.run(&run.facts.incarnation).await?.ok_or_else(gone)?;
                    if xcoms::winner(&run, task).as_ref() == Some(&key) {
                        let state = run.task_state(task);
                        return Ok(HitlView { run, state, due: None, detail, ..asked });
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }

    /// Removes the item of an answer that came too late, so that nobody takes it for one that counted. Its write asks for a cell that is no
    /// more, and a cell never comes back, so it cannot land any more.
    async fn withdraw(&self, run: &RunDoc, key: &AttemptKey) {
        if xcoms::winner(run, key.task).as_ref() == Some(key) {
            return;
        }
        if let Err(error) = self.store.delete_attempt(key).await {
            tracing::warn!(%error, "an answer that came too late was left behind");
        }
    }

    /// Writes an answer, and what follows from it. False: it was refused, and the run is what stood in the way.
    async fn write_answer(&self, version: &Arc<Version>, run: &mut RunDoc, step: Step) -> Result<bool, Error> {
        match self.store.update_run(&run.facts.incarnation, &step.change).await? {
            Outcome::Updated(image) => {
                let base = std::mem::replace(run, image);
                self.after(version, &step, run).await;
                if let Err(error) = Box::pin(self.settle(version, &base, &step, run)).await {
                    tracing::warn!(%error, "what follows an answer was left to the sweep");
                }
                Ok(true)
            }
            Outcome::Refused(Some(image)) => {
                *run = image;
                if run.intent.is_some() {
                    // A rejection may stop all others, which is for after the intervention that is under way.
                    let made = Box::pin(self.carry_on(version, run.clone())).await?;
                    *run = made.unwrap_or_else(|| run.clone());
                }
                Ok(false)
            }
            Outcome::Refused(None) => {
                Err(Error::NotFound { what: "the run", name: run.facts.run_id.clone(), near: Vec::new() })
            }
        }
    }

    fn checked_response(&self, version: &Version, asked: &HitlView, answer: &Answer) -> Result<HitlResponse, Error> {
        let detail = &asked.detail;
        let task_id = &asked.task_id;
        if !detail.assigned_users.is_empty() && detail.assigned_users.iter().all(|user| user.id != answer.user.id) {
            let names: Vec<String> = detail.assigned_users.iter().map(|user| format!("`{}`", user.id)).collect();
            return Err(Error::Forbidden(format!(
                "`{}` is not asked by `{task_id}`; {} may answer",
                answer.user.id,
                names.join(", ")
            )));
        }
        hitl::check(detail, &answer.chosen_options, &answer.params_input)
            .map_err(|why| Error::Refused(format!("this does not answer `{task_id}`: {why}")))?;
        for (name, value) in &answer.params_input {
            let Some(schema) = detail.params.get(name).and_then(|field| field.get("schema")) else { continue };
            updraft_params::check_one(name, schema, value)
                .map_err(|problem| Error::Refused(format!("this does not answer `{task_id}`: {problem}")))?;
        }
        let response = HitlResponse {
            chosen_options: answer.chosen_options.clone(),
            params_input: answer.params_input.clone(),
            responded_at: self.clock.now(),
            responded_by_user: Some(answer.user.clone()),
        };
        // A branch to a task that is not there would only fail: better to say so while it can be answered otherwise.
        let (ended, _) = hitl::answered(detail, &response);
        if let Some(choice) = &ended.choice {
            choices::chosen(&version.plan, asked.task, asked.try_number, choice)
                .map_err(|why| Error::Refused(format!("`{task_id}` cannot go on with this: {why}")))?;
        }
        Ok(response)
    }

    /// Ends what has waited for an answer long enough: by its defaults, or as failed. None: the run is gone.
    pub(crate) async fn time_out_questions(
        &self,
        version: &Arc<Version>,
        mut run: RunDoc,
    ) -> Result<Option<RunDoc>, Error> {
        if run.paused {
            return Ok(Some(run));
        }
        let now = self.clock.now();
        let is_over = |(_, cell): &(&TaskIndex, &Cell)| matches!(cell, Cell::Waiting { wait: Wait::Input, due, .. } if *due <= now);
        let over: Vec<TaskIndex> = run.cells.iter().filter(is_over).map(|(task, _)| *task).collect();
        for task in over {
            let cell = run.cell(task).clone();
            let Some(question) = question(&run, task) else { continue };
            let asked = self.store.attempt(&question).await?.and_then(|attempt| attempt.hitl);
            let response = asked.as_ref().and_then(|detail| hitl::by_default(detail, now));
            let key = AttemptKey { token: Token::trusted(self.clock.draw(8)), ..question };
            let attempt = match (asked, response) {
                (Some(detail), Some(response)) => {
                    let said = format!("nobody answered in time: {}", response.chosen_options.join(", "));
                    let (ended, why) = hitl::answered(&detail, &response);
                    let detail = HitlDetail { response: Some(response), ..detail };
                    answer_item(version, &run, task, &ended, detail, why, said)
                }
                (asked, _) => {
                    let why = "nobody answered in time, and the task has no `defaults`";
                    let start_date = run.resumed(task).map_or(now, |resumed| resumed.first_start);
                    Attempt {
                        log: Some(format!("[{now}] {why}\n")),
                        message: Some(why.to_owned()),
                        hitl: asked,
                        ..Attempt::new(AttemptOutcome::Failed, start_date, now)
                    }
                }
            };
            self.store.put_attempt(&key, &attempt).await?;
            let ended = Ended::from(&attempt);
            for _ in 0..ROUNDS_MAX {
                let waits = *run.cell(task) == cell;
                let step = step::answer(&version.plan, &run, &key.held(), &ended, self.clock.now()).filter(|_| waits);
                let Some(step) = step else {
                    self.withdraw(&run, &key).await;
                    break;
                };
                match self.write_answer(version, &mut run, step).await {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(Error::NotFound { .. }) => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Some(run))
    }
}

/// The item of an answer.
fn answer_item(
    version: &Version,
    run: &RunDoc,
    task: TaskIndex,
    ended: &Ended,
    detail: HitlDetail,
    message: Option<String>,
    said: String,
) -> Attempt {
    let pushes = version.plan.task(task).do_xcom_push && ended.outcome == AttemptOutcome::Success;
    let value = detail.response.as_ref().filter(|_| pushes).map(|response| hitl::returned(&detail, response));
    let start_date = run.resumed(task).map_or(ended.end_date, |resumed| resumed.first_start);
    Attempt {
        // As many as Airflow makes of it: a pair of a mapping each, a value of a list each.
        map_length: value.as_ref().and_then(|value| {
            let length = value.as_array().map(Vec::len).or_else(|| value.as_object().map(Map::len));
            length.and_then(|length| u32::try_from(length).ok())
        }),
        xcoms: value.map(|value| (RETURN_VALUE.to_owned(), ValueRef::Inline(value))).into_iter().collect(),
        log: Some(format!("[{}] {said}\n", ended.end_date)),
        message,
        choice: ended.choice.clone(),
        hitl: Some(detail),
        ..Attempt::new(ended.outcome, start_date, ended.end_date)
    }
}

/// Why a question that was asked is not to be answered.
fn not_waiting(view: &HitlView) -> Error {
    let (run_id, task_id) = (&view.run.facts.run_id, &view.task_id);
    let Some(response) = &view.detail.response else {
        return Error::Conflict(format!(
            "`{task_id}` of the run `{run_id}` does not wait for an answer any more: it is {}; clear it to have it ask again",
            view.state
        ));
    };
    let chosen = response.chosen_options.join(", ");
    let by = match &response.responded_by_user {
        Some(user) => format!("by {} ({})", user.name, user.id),
        None => "by its defaults, since nobody answered in time".to_owned(),
    };
    Error::Conflict(format!(
        "`{task_id}` of the run `{run_id}` has been answered already: {chosen}, {by}, at {}; clear it to have it ask again",
        response.responded_at
    ))
}
