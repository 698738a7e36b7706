//! A worker's part: claim an attempt, run it, record it, finish it with everything its end decides, continue in place.

use crate::engine::{Engine, Error, ROUNDS_MAX, Version};
use crate::figures::{jittered, measure, span};
use crate::instances::OnPage;
use crate::spans;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument as _;
use updraft_clock::Clock;
use updraft_metastore::{Error as StoreError, Items, Outcome};
use updraft_model::{
    Attempt, AttemptKey, AttemptOutcome, CallbackKind, Cell, Choice, DagId, Held, HitlDetail, Incarnation, Lease,
    Occasion, OutletEvent, PageDoc, Place, Resumed, RunDoc, TaskIndex, Token, ValueRef, WorkerKind,
};
use updraft_scheduling::choices;
pub use updraft_scheduling::step::TimeoutMost;
use updraft_scheduling::step::{self, Continue, Ended, Step};
use updraft_task_queue::TaskQueue;

/// The queued try that a message names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRef {
    /// The run.
    pub incarnation: Incarnation,
    /// The task.
    pub task: TaskIndex,
    /// The try that was queued.
    pub try_number: u32,
    /// Which of its instances, where it is mapped.
    pub place: Option<Place>,
    /// When the message was sent, as far as its queue tells.
    pub queued_at: Option<Timestamp>,
}

impl TaskRef {
    /// When it was queued, to the claim of this instant: another machine's clock may be ahead, and nothing was queued after it was claimed.
    pub(crate) fn queued_before(&self, claimed_at: Timestamp) -> Option<Timestamp> {
        self.queued_at.map(|at| whole_millis(at).min(claimed_at))
    }
}

/// An attempt to run: everything a runner needs to know.
#[derive(Debug, Clone)]
pub struct Work {
    /// The run's document as the claim returned it.
    pub run: RunDoc,
    /// The version it runs.
    pub version: Arc<Version>,
    /// The task.
    pub task: TaskIndex,
    /// The try.
    pub try_number: u32,
    /// When it was queued, as far as that is known.
    pub queued_at: Option<Timestamp>,
    /// The attempt's hold on its cell.
    pub lease: Lease,
    /// When this process will be gone, if that is known. The runner ends the attempt before that, early enough to record its end.
    pub deadline: Option<Timestamp>,
    /// Its page, where it is an instance of a mapped task.
    pub on_page: Option<OnPage>,
}

/// The id of a try, as a UUID made of what tells it from all others.
pub fn task_instance_id(incarnation: &str, task_id: &str, map_index: Option<u32>, try_number: u32) -> String {
    let tried = match map_index {
        None => try_number.to_string(),
        Some(map_index) => format!("{map_index}#{try_number}"),
    };
    identity(&[incarnation, task_id, &tried])
}

/// A UUID of what tells something from all others of its kind: the same for whoever asks, whenever.
pub fn identity(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\u{0}").as_bytes());
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

impl Work {
    /// Where the attempt's item is.
    pub fn key(&self) -> AttemptKey {
        AttemptKey {
            incarnation: self.run.facts.incarnation.clone(),
            task: self.task,
            map_index: self.map_index(),
            try_number: self.try_number,
            token: self.lease.token.clone(),
        }
    }

    /// Which of its instances, where it is mapped.
    pub fn map_index(&self) -> Option<u32> {
        self.on_page.as_ref().map(|on| on.place.map_index)
    }

    /// The id of the try: Airflow's `ti.id`, and the idempotency key for services. Each attempt of a try has the same, so that a service that
    /// was asked before a wait or a crash knows it is asked again; no other try has it, in no other run.
    pub fn task_instance_id(&self) -> String {
        let incarnation = self.run.facts.incarnation.as_str();
        task_instance_id(incarnation, self.definition().task_id.as_str(), self.map_index(), self.try_number)
    }

    /// The tries it may use, less one.
    pub fn max_tries(&self) -> u32 {
        let changed = match &self.on_page {
            Some(on) => on.page.max_tries.get(&on.slot(self.task)),
            None => self.run.max_tries.get(&self.task),
        };
        changed.copied().unwrap_or(self.definition().retries)
    }

    fn held(&self) -> Held {
        Held { task: self.task, try_number: self.try_number, token: self.lease.token.clone() }
    }

    /// What is known of the earlier attempts of this try: how many gave their worker back, since when, and whose item may hold something
    /// for this one. None: this is the first.
    pub fn resumed(&self) -> Option<&Resumed> {
        let resumed = match &self.on_page {
            Some(on) => on.page.resumes.get(&on.slot(self.task)),
            None => self.run.resumes.get(&self.task),
        };
        resumed.filter(|r| r.try_number == self.try_number)
    }

    /// When the try's first attempt began: a sensor's timeout counts from here.
    pub fn try_started(&self) -> Timestamp {
        self.resumed().map_or(self.lease.since, |r| r.first_start)
    }

    /// The task's definition.
    pub fn definition(&self) -> &updraft_model::Task {
        self.version.plan.task(self.task)
    }

    /// The DAG's id.
    pub fn dag_id(&self) -> &DagId {
        &self.run.facts.dag_id
    }
}

/// What an attempt came to, as its runner saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Why it failed or was skipped, in a line.
    pub message: Option<String>,
    /// What it pushed.
    pub xcoms: BTreeMap<String, ValueRef>,
    /// The log, where it is short.
    pub log: Option<String>,
    /// The URI of the log, where it is long.
    pub log_uri: Option<String>,
    /// What it lets go on, where it is one that chooses.
    pub choice: Option<Choice>,
    /// What it said about the assets it writes.
    pub outlet_events: Vec<OutletEvent>,
    /// What the next attempt of the same try is told, where the try goes on ([`AttemptOutcome::goes_on`]).
    pub handover: Option<serde_json::Value>,
    /// How many instances can be made of what it returned, where a task is mapped over that.
    pub map_length: Option<u32>,
    /// The name of its mapped instance, as `map_index_template` renders it.
    pub rendered_map_index: Option<String>,
    /// What its template fields became, of those that are not what the file says.
    pub rendered: serde_json::Map<String, serde_json::Value>,
    /// The URI of that, where it is long.
    pub rendered_uri: Option<String>,
    /// What it has asked people, where it waits for their answer.
    pub hitl: Option<HitlDetail>,
    /// Whether it was stopped before it came to an end: what it left is for people to see, and decides nothing.
    pub is_killed: bool,
}

impl Finished {
    /// An attempt that ended like this, and left nothing else.
    pub fn new(outcome: AttemptOutcome) -> Self {
        Self {
            outcome,
            message: None,
            xcoms: BTreeMap::new(),
            log: None,
            log_uri: None,
            choice: None,
            outlet_events: Vec::new(),
            handover: None,
            map_length: None,
            rendered_map_index: None,
            rendered: serde_json::Map::new(),
            rendered_uri: None,
            hitl: None,
            is_killed: false,
        }
    }
}

/// Runs attempts: as processes, or as a simulation pleases.
pub trait Runner: Send + Sync {
    /// Runs one attempt to its end. When `stop` resolves, everything the attempt started is to be killed; what is returned then says so
    /// ([`Finished::is_killed`]), or is none where nothing is left to be seen.
    fn run<S: Future<Output = String> + Send>(
        &self,
        work: &Work,
        stop: S,
    ) -> impl Future<Output = Option<Finished>> + Send;
}

/// Whether and how a worker may continue in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Continuation {
    /// Only a task of at least this priority; none: any.
    pub priority_least: Option<i64>,
    /// Only a task whose execution_timeout fits; none: any.
    pub timeout_most: Option<TimeoutMost>,
    /// Only a task that this kind of worker serves; none: any.
    pub worker: Option<WorkerKind>,
}

/// What came of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worked {
    /// Attempts that were run here.
    pub attempts: u32,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Claims the try that a message names, runs it, finishes it, and goes on in place while `may_continue` allows. A message whose try
    /// is not there to be claimed is no error: it was doubled, late, or overtaken.
    ///
    /// `deadline`: when this process will be gone, if that is known; no lease outlasts it.
    ///
    /// # Errors
    /// When the metastore is unavailable beyond the lease. The message should then come again; the sweep makes up for it anyway.
    pub async fn work<R: Runner>(
        &self,
        task: &TaskRef,
        runner: &R,
        deadline: Option<Timestamp>,
        may_continue: impl Fn() -> Option<Continuation> + Send,
    ) -> Result<Worked, Error> {
        let mut attempts = 0;
        let Some(mut work) = self.claim(task, deadline).await? else { return Ok(Worked { attempts }) };
        loop {
            attempts += 1;
            let span = span(&work);
            match Box::pin(self.run_attempt(work, runner, deadline, &may_continue).instrument(span)).await? {
                Some(next) => work = next,
                None => return Ok(Worked { attempts }),
            }
        }
    }

    pub(crate) fn lease_until(&self, now: Timestamp, deadline: Option<Timestamp>) -> Timestamp {
        let until = now.saturating_add(self.settings.lease).unwrap_or(Timestamp::MAX);
        whole_millis(deadline.map_or(until, |deadline| deadline.min(until)))
    }

    /// Claims a queued try. None: it is not there to be claimed.
    async fn claim(&self, task: &TaskRef, deadline: Option<Timestamp>) -> Result<Option<Work>, Error> {
        if let Some(place) = task.place {
            return Box::pin(self.claim_instance(task, place, deadline)).await;
        }
        let now = whole_millis(self.clock.now());
        let token = Token::trusted(self.clock.draw(8));
        let lease = Lease { token, until: self.lease_until(now, deadline), since: now };
        let mut change = step::claim(task.task, task.try_number, &lease);
        for _ in 0..ROUNDS_MAX {
            let image = match self.store.update_run(&task.incarnation, &change).await? {
                Outcome::Updated(image) => image,
                Outcome::Refused(None) => return Ok(None),
                Outcome::Refused(Some(image)) => {
                    let ours = image.cell(task.task).holder().is_some_and(|l| l.token == lease.token);
                    if ours {
                        image
                    } else if let Some(again) = step::claim_again(&image, task.task, task.try_number, &lease) {
                        change = again;
                        continue;
                    } else {
                        return Ok(None);
                    }
                }
            };
            let version = self.version(&image.facts.version).await?;
            return Ok(Some(Work {
                run: image,
                version,
                task: task.task,
                try_number: task.try_number,
                queued_at: task.queued_before(now),
                lease,
                deadline,
                on_page: None,
            }));
        }
        Err(Error::Contention(task.incarnation.to_string()))
    }

    /// Runs a claimed attempt and finishes it. Returns the next one, where it continues in place.
    async fn run_attempt<R: Runner>(
        &self,
        work: Work,
        runner: &R,
        deadline: Option<Timestamp>,
        may_continue: &(impl Fn() -> Option<Continuation> + Send),
    ) -> Result<Option<Work>, Error> {
        let Some(work) = self.still_held(work, deadline).await? else { return Ok(None) };
        self.announce(&work).await;
        let (stop, stopped) = tokio::sync::oneshot::channel::<String>();
        // Pending for ever when the keeper ends without a reason: only a reason stops an attempt.
        let stopped = async move {
            match stopped.await {
                Ok(why) => why,
                Err(_) => std::future::pending().await,
            }
        };
        let finished = {
            let keeper = self.keep_lease(&work, deadline, stop);
            let running = runner.run(&work, stopped);
            tokio::pin!(keeper, running);
            let mut kept = false;
            loop {
                tokio::select! {
                    biased;
                    finished = &mut running => break finished,
                    () = &mut keeper, if !kept => kept = true,
                }
            }
        };
        // Killed, so there is no end to settle; if the cell was cleared or marked meanwhile, it is let go.
        let finished = match finished {
            Some(finished) if !finished.is_killed => finished,
            killed => {
                let has_let_go = self.let_go(&work).await?;
                if let Some(killed) = killed.filter(|_| has_let_go) {
                    self.keep_killed(&work, killed).await;
                }
                return Ok(None);
            }
        };
        let attempt = self.attempt_of(&work, checked(&work, finished));
        measure(&work, &attempt);
        let key = work.key();
        self.insist(&work, || self.store.put_attempt(&key, &attempt)).await?;
        spans::attempt(&work.version, &work.run, &key, &attempt);
        self.finish(work, Ended::from(&attempt), deadline, may_continue).await
    }

    /// Leaves an item for an attempt that was killed, so that people see its try and its log. Only once its cell was let go: an item is no
    /// reason to settle what was cleared or marked.
    async fn keep_killed(&self, work: &Work, killed: Finished) {
        let (key, attempt) = (work.key(), self.attempt_of(work, killed));
        spans::attempt(&work.version, &work.run, &key, &attempt);
        if let Err(error) = self.store.put_attempt(&key, &attempt).await {
            tracing::warn!(%error, "an attempt that was killed is not recorded");
        }
    }

    /// What is kept of an attempt that ends now.
    fn attempt_of(&self, work: &Work, finished: Finished) -> Attempt {
        Attempt {
            outcome: finished.outcome,
            queued_at: work.queued_at,
            start_date: work.lease.since,
            end_date: self.clock.now(),
            xcoms: finished.xcoms,
            log: finished.log,
            log_uri: finished.log_uri,
            message: finished.message,
            hostname: Some(self.settings.hostname.clone()),
            choice: finished.choice,
            outlet_events: finished.outlet_events,
            handover: finished.handover,
            map_length: finished.map_length,
            rendered_map_index: finished.rendered_map_index,
            rendered: finished.rendered,
            rendered_uri: finished.rendered_uri,
            hitl: finished.hitl,
        }
    }

    /// Has callbacks told that an attempt begins. They never hold it, nor can they keep it from beginning.
    async fn announce(&self, work: &Work) {
        if !work.definition().callbacks.contains_key(&CallbackKind::Execute) || work.resumed().is_some() {
            return;
        }
        let (task, try_number, token) = (work.task, work.try_number, work.lease.token.clone());
        let occasion = Occasion::Execute { task, map_index: work.map_index(), try_number, token };
        let put = self.put_callbacks(&work.run, &occasion).await;
        if let Err(error) = put {
            tracing::warn!(%error, run_id = work.run.facts.run_id, "on_execute_callback is not called: it could not be noted");
        }
    }

    /// The attempt, if it may still begin. A process that was stopped between its claim and this may have lost it: beginning would run
    /// it beside the next one, until the first renewal noticed.
    async fn still_held(&self, mut work: Work, deadline: Option<Timestamp>) -> Result<Option<Work>, Error> {
        loop {
            let now = self.clock.now();
            if now < work.lease.until {
                return Ok(Some(work));
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(None);
            }
            let mut stands = work.lease.clone();
            match self.renew(&work, &mut stands, deadline).await? {
                Outcome::Updated(image) => {
                    work.lease = stands;
                    match image {
                        Image::Run(run) => work.run = *run,
                        Image::Page(page) => work.on_page = work.on_page.map(|on| OnPage { page: *page, ..on }),
                    }
                }
                Outcome::Refused(_) => {
                    self.let_go(&work).await?;
                    return Ok(None);
                }
            }
        }
    }

    /// Renews a lease from where it stands, which becomes where it stands then.
    async fn renew(
        &self,
        work: &Work,
        stands: &mut Lease,
        deadline: Option<Timestamp>,
    ) -> Result<Outcome<Image>, StoreError> {
        for _ in 0..ROUNDS_MAX {
            let now = whole_millis(self.clock.now());
            let lease = Lease { until: self.lease_until(now, deadline), ..stands.clone() };
            let outcome = if let Some(on) = &work.on_page {
                let outcome = self.renew_instance(work, on, stands, &lease).await?;
                outcome.try_map(|page| Ok::<_, StoreError>(Image::Page(Box::new(page))))?
            } else {
                let change = step::renew(&work.held(), stands, &lease);
                let outcome = self.store.update_run(&work.run.facts.incarnation, &change).await?;
                outcome.try_map(|run| Ok::<_, StoreError>(Image::Run(Box::new(run))))?
            };
            match &outcome {
                Outcome::Updated(_) => *stands = lease,
                Outcome::Refused(Some(image)) => match image.cell(work) {
                    // An earlier renewal of ours, whose answer was lost, has landed.
                    Cell::Running { lease: there, .. } if there.token == stands.token && there != stands => {
                        *stands = there.clone();
                        continue;
                    }
                    _ => {}
                },
                Outcome::Refused(None) => {}
            }
            return Ok(outcome);
        }
        Err(StoreError::Unavailable("renewals of one lease kept overtaking each other".to_owned()))
    }

    /// Renews the lease until it is lost, then says so. Never ends an attempt for a metastore that is merely unavailable before the
    /// lease is over.
    async fn keep_lease(&self, work: &Work, deadline: Option<Timestamp>, stop: tokio::sync::oneshot::Sender<String>) {
        let mut stands = work.lease.clone();
        let mut attending = self.attended.attend(&work.run);
        let why = loop {
            tokio::select! {
                biased;
                () = attending.changed() => {}
                () = self.clock.sleep(self.settings.renew_every) => {}
            }
            match self.renew(work, &mut stands, deadline).await {
                Ok(Outcome::Updated(_)) => {}
                Ok(Outcome::Refused(image)) => {
                    let state = image.map(|image| image.cell(work).state());
                    break match state {
                        Some(state) => format!("the task instance was set to {state} while it ran"),
                        None => "the run was deleted while it ran".to_owned(),
                    };
                }
                Err(error) if self.clock.now() >= stands.until => {
                    break format!("the lease ended and could not be renewed: {error}");
                }
                Err(error) => tracing::warn!(%error, "a lease was not renewed; trying again"),
            }
        };
        // Nobody listens when the attempt has just ended; then there is nothing to stop.
        let _ = stop.send(why);
    }

    /// Finishes an attempt: one update with everything its end decides. Returns the task claimed in the same write.
    async fn finish(
        &self,
        work: Work,
        ended: Ended,
        deadline: Option<Timestamp>,
        may_continue: &(impl Fn() -> Option<Continuation> + Send),
    ) -> Result<Option<Work>, Error> {
        if let Some(on) = work.on_page.clone() {
            return Box::pin(self.finish_instance(work, on, ended, deadline, may_continue)).await;
        }
        let incarnation = work.run.facts.incarnation.clone();
        let held = work.held();
        let mut version = work.version.clone();
        let mut image = work.run.clone();
        let token = Token::trusted(self.clock.draw(8));
        let mut tried: Option<(Step, RunDoc)> = None;
        // A run whose effects are noted faster than they are delivered does not grow: who would note more helps first.
        if image.outbox.len() >= step::OUTBOX_MAX {
            if let Err(error) = self.insist_delivery(&work, &image).await {
                tracing::error!(%error, run_id = image.facts.run_id, "a run's effects are not delivered; it goes on");
            }
            match self.store.run(&incarnation).await? {
                Some(run) => image = run,
                None => return Ok(None),
            }
        }
        for _ in 0..ROUNDS_MAX {
            let now = whole_millis(self.clock.now());
            let wish = may_continue().map(|c| Continue {
                token: token.clone(),
                until: self.lease_until(now, deadline),
                priority_least: c.priority_least,
                timeout_most: c.timeout_most,
                worker: c.worker,
            });
            if version.plan.dag.fail_fast && image.intent.is_some() {
                // A failure may stop all others, which is for after the intervention that is under way.
                match Box::pin(self.carry_on(&version, image)).await? {
                    Some(run) => image = run,
                    None => return Ok(None),
                }
            }
            let Some(step) = step::finish(&version.plan, &image, &held, &ended, now, wish.as_ref()) else {
                // Not ours any more. Either our own write landed and its answer was lost, or somebody settled, cleared or marked it.
                return match tried.filter(|(step, _)| step::landed(step, &image, &held)) {
                    Some((step, base)) => self.finished(&version, &base, &step, image, deadline).await,
                    None => self.let_go(&work).await.map(|_| None),
                };
            };
            match self.insist(&work, || self.store.update_run(&incarnation, &step.change)).await? {
                Outcome::Updated(after) => return self.finished(&version, &image, &step, after, deadline).await,
                Outcome::Refused(Some(now_there)) => {
                    if now_there.facts.version != version.id {
                        version = self.version(&now_there.facts.version).await?;
                    }
                    tried = Some((step, std::mem::replace(&mut image, now_there)));
                }
                Outcome::Refused(None) => return Ok(None),
            }
        }
        Err(Error::Contention(work.run.facts.run_id))
    }

    /// Delivers what a run owes, trying again while the metastore is unavailable, for as long as a lease lasts.
    async fn insist_delivery(&self, work: &Work, run: &RunDoc) -> Result<(), Error> {
        let give_up = self.lease_until(self.clock.now(), None).max(work.lease.until);
        loop {
            match Box::pin(self.deliver(run.clone())).await {
                Err(Error::Metastore(StoreError::Unavailable(why))) if self.clock.now() < give_up => {
                    tracing::warn!(why, "a run's effects were not delivered; trying again");
                    self.clock.sleep(Duration::from_secs(1)).await;
                }
                result => return result,
            }
        }
    }

    /// What follows an accepted finish: messages, what the returned image decides beyond, and the task that was claimed.
    async fn finished(
        &self,
        version: &Arc<Version>,
        base: &RunDoc,
        step: &Step,
        after: RunDoc,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Work>, Error> {
        // Whoever took the run to another version meanwhile has decided by that one.
        let version = if after.facts.version == version.id {
            version.clone()
        } else {
            self.version(&after.facts.version).await?
        };
        let version = &version;
        self.after(version, step, &after).await;
        // The claimed one first has to be run; what else is to be settled must not be forgotten over a failure here.
        if let Err(error) = self.settle(version, base, step, &after).await {
            tracing::warn!(%error, "what follows a finish was left to the sweep");
        }
        let Some((task, try_number, lease)) = step.claimed.clone() else { return Ok(None) };
        let ours = after.cell(task).holder().is_some_and(|l| l.token == lease.token);
        let version = version.clone();
        let queued_at = Some(lease.since);
        Ok(ours.then_some(Work { run: after, version, task, try_number, queued_at, lease, deadline, on_page: None }))
    }

    /// Lets go of a cell that was cleared or marked while the attempt ran; call after the attempt was killed. False: there
    /// was nothing to let go.
    async fn let_go(&self, work: &Work) -> Result<bool, Error> {
        if work.on_page.is_some() {
            return Box::pin(self.let_go_instance(work)).await;
        }
        let incarnation = &work.run.facts.incarnation;
        let Some(mut run) = self.store.run(incarnation).await? else { return Ok(false) };
        for _ in 0..ROUNDS_MAX {
            let version = self.current(&work.version, &run).await?;
            let version = version.as_ref();
            let Some(step) = step::acknowledge(&version.plan, &run, &work.held(), self.clock.now()) else {
                return Ok(false);
            };
            match self.store.update_run(incarnation, &step.change).await? {
                Outcome::Updated(image) => {
                    self.after(version, &step, &image).await;
                    self.settle(version, &run, &step, &image).await?;
                    return Ok(true);
                }
                Outcome::Refused(Some(image)) => run = image,
                Outcome::Refused(None) => return Ok(false),
            }
        }
        Err(Error::Contention(work.run.facts.run_id.clone()))
    }

    /// Tries a write of an attempt's end again while the metastore is unavailable, for as long as a lease lasts.
    pub(crate) async fn insist<T, F>(&self, work: &Work, write: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let give_up = self.lease_until(self.clock.now(), None).max(work.lease.until);
        let mut wait = Duration::from_millis(50);
        for round in 0.. {
            match write().await {
                Err(StoreError::Unavailable(why)) if self.clock.now() < give_up => {
                    tracing::warn!(why, "an attempt's end was not written; trying again");
                    self.clock.sleep(jittered(wait, &work.lease.token, round)).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                result => return result,
            }
        }
        Err(StoreError::Unavailable("it was tried for ever".to_owned()))
    }
}

/// The document that an attempt is noted in.
#[derive(Debug, Clone, PartialEq)]
enum Image {
    /// Its run's.
    Run(Box<RunDoc>),
    /// The page of a mapped instance.
    Page(Box<PageDoc>),
}

impl Image {
    fn cell(&self, work: &Work) -> &Cell {
        match (self, &work.on_page) {
            (Self::Page(page), Some(on)) => page.cell(on.slot(work.task)),
            (Self::Run(run), _) => run.cell(work.task),
            (Self::Page(_), None) => &Cell::None,
        }
    }
}

/// What a runner says, where it can be: a branch that follows what is not there has failed.
fn checked(work: &Work, finished: Finished) -> Finished {
    match finished.choice.as_ref().and_then(|choice| unknown_branch(work, choice)) {
        None => finished,
        Some(why) => Finished { outcome: AttemptOutcome::Failed, message: Some(why), choice: None, ..finished },
    }
}

/// Why a choice cannot be followed, where it names something that is not in the DAG: the attempt has then failed. Runners ask, so that
/// logs say so.
pub fn unknown_branch(work: &Work, choice: &Choice) -> Option<String> {
    choices::chosen(&work.version.plan, work.task, work.try_number, choice).err().map(|error| error.to_string())
}

/// Leases are kept in whole milliseconds.
pub(crate) fn whole_millis(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}
