//! TriggerDagRunOperator: creates a run, and waits for its end if asked to.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use updraft_model::run_id::{self, Ending};
use updraft_model::{DagId, DagRunState, DagRunType, Incarnation, RunDoc, TriggeredBy};
use updraft_service::{Error, Origin, Trigger, Work};

use crate::arguments::Arguments;
use crate::attempt::{Attempt, Break, End, Ended};
use crate::services::Services;

/// The XCom that names the run that was triggered.
const TRIGGER_RUN_ID: &str = "trigger_run_id";

/// A wait that is longer than this gives the worker back where the worker's own time is limited.
const HELD_MOST: Duration = Duration::from_secs(5);

pub(super) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let wish = Wish::read(&attempt.arguments, attempt.services.now())?;
    let run = match triggered_before(attempt).await? {
        Some(run) => run,
        None => trigger(attempt, &wish).await?,
    };
    attempt.pushed.insert(TRIGGER_RUN_ID.to_owned(), Value::String(run.facts.run_id.clone()));
    if !wish.wait {
        return Ok(Ended::success());
    }
    wait(attempt, &wish, run).await
}

/// What the task asks for.
struct Wish {
    dag_id: DagId,
    run_id: Option<String>,
    /// The instant the run stands for; none: none.
    logical_date: Option<Timestamp>,
    run_after: Option<Timestamp>,
    conf: Value,
    reset: bool,
    skip_when_exists: bool,
    fail_when_paused: bool,
    wait: bool,
    deferrable: bool,
    poke_interval: Duration,
    allowed: Vec<DagRunState>,
    failed: Vec<DagRunState>,
}

impl Wish {
    fn read(arguments: &Arguments, now: Timestamp) -> Result<Self, String> {
        let dag_id = arguments.required_text("trigger_dag_id")?;
        let run_after = arguments.moment("run_after")?;
        // As in Airflow: without either, the run stands for the present; with `run_after` alone, for no instant.
        let logical_date = match (arguments.is_given("logical_date"), arguments.moment("logical_date")?) {
            (true, given) => given,
            (false, _) if run_after.is_some() => None,
            (false, _) => Timestamp::from_microsecond(now.as_microsecond()).ok(),
        };
        let states = |name: &str, default: DagRunState| match arguments.texts(name)? {
            None => Ok(vec![default]),
            Some(texts) => texts.iter().map(|text| state(name, text)).collect::<Result<Vec<_>, String>>(),
        };
        let allowed = Some(states("allowed_states", DagRunState::Success)?).filter(|states| !states.is_empty());
        Ok(Self {
            dag_id: DagId::parse(&dag_id).map_err(|e| format!("`trigger_dag_id`: {e}"))?,
            run_id: arguments.text("trigger_run_id")?.filter(|id| !id.is_empty()),
            logical_date,
            run_after,
            conf: conf(arguments.value("conf"))?,
            reset: arguments.flag("reset_dag_run")?,
            skip_when_exists: arguments.flag("skip_when_already_exists")?,
            fail_when_paused: arguments.flag("fail_when_dag_is_paused")?,
            wait: arguments.flag("wait_for_completion")?,
            deferrable: arguments.flag("deferrable")?,
            poke_interval: arguments.duration("poke_interval", Duration::from_secs(1))?.unwrap_or_default(),
            allowed: allowed.unwrap_or_else(|| vec![DagRunState::Success]),
            failed: states("failed_states", DagRunState::Failed)?,
        })
    }
}

/// A conf may be an object, or the text of one.
fn conf(value: Value) -> Result<Value, String> {
    match value {
        Value::String(text) if text.trim().is_empty() => Ok(Value::Null),
        Value::String(text) => {
            serde_json::from_str(&text).map_err(|e| format!("`conf` is text that is no JSON: {e}; write a mapping"))
        }
        other => Ok(other),
    }
}

fn state(name: &str, text: &str) -> Result<DagRunState, String> {
    text.parse().map_err(|_| {
        format!("`{name}`: `{text}` is no state of a run; write `queued`, `running`, `success` or `failed`")
    })
}

/// The run that an earlier attempt of this try triggered: the same try never triggers twice.
async fn triggered_before<S: Services>(attempt: &Attempt<'_, S>) -> Result<Option<RunDoc>, Break> {
    let unreachable = |e: Error| Break::from(Ended::failed(e.to_string()));
    let told = attempt.services.handover(attempt.work).await.map_err(unreachable)?;
    let told =
        told.as_ref().and_then(|told| told["incarnation"].as_str()).map(|text| Incarnation::trusted(text.to_owned()));
    let Some(incarnation) = told else {
        return attempt.services.run(&identity(attempt.work)).await.map_err(unreachable);
    };
    match attempt.services.run(&incarnation).await.map_err(unreachable)? {
        Some(run) => Ok(Some(run)),
        None => Err(Ended::failed("the run that this task triggered was deleted").into()),
    }
}

/// The identity of the run that a try triggers: it follows from the try.
fn identity(work: &Work) -> Incarnation {
    let text = format!("{}/{}/{}", work.run.facts.incarnation, work.task, work.try_number);
    let digest = Sha1::digest(text.as_bytes());
    let mut number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let mut id = String::with_capacity(12);
    for _ in 0..12 {
        id.push(char::from_digit((number % 36) as u32, 36).unwrap_or('0'));
        number /= 36;
    }
    Incarnation::trusted(id)
}

async fn trigger<S: Services>(attempt: &mut Attempt<'_, S>, wish: &Wish) -> Result<RunDoc, Break> {
    let failed = |e: Error| Break::from(Ended::failed(e.to_string()));
    let dag = attempt.services.dag(&wish.dag_id).await.map_err(failed)?;
    if wish.fail_when_paused && dag.is_some_and(|dag| dag.paused) {
        return Err(Ended::failed(format!("the DAG `{}` is paused", wish.dag_id)).into());
    }
    let logical_date = wish.logical_date;
    let run_id = wish.run_id.clone().unwrap_or_else(|| {
        // Airflow's name: from `run_after`, which is the logical date where it is not given.
        let at = wish.run_after.or(logical_date).unwrap_or_else(|| attempt.services.now());
        let tail = logical_date.is_none().then(|| attempt.services.draw(run_id::TAIL_LENGTH));
        run_id::generate(DagRunType::Manual, at, tail.as_deref().map_or(Ending::None, Ending::Tail))
    });
    let mut there = attempt.services.run_of_id(&wish.dag_id, &run_id).await.map_err(failed)?;
    if there.is_none()
        && let Some(at) = logical_date
    {
        there = attempt.services.run_of_date(&wish.dag_id, at).await.map_err(failed)?;
    }
    if let Some(run) = there {
        return again(attempt, wish, run).await;
    }
    let origin = Origin {
        incarnation: Some(identity(attempt.work)),
        run_type: DagRunType::OperatorTriggered,
        run_after: wish.run_after,
        without_logical_date: logical_date.is_none(),
        triggered_by: Some(TriggeredBy::Operator),
        ..Origin::default()
    };
    let trigger = Trigger { dag_id: wish.dag_id.clone(), run_id: Some(run_id), logical_date, conf: wish.conf.clone() };
    let run = attempt.services.trigger(trigger, &origin).await.map_err(failed)?;
    attempt.say(&format!("triggered the run `{}` of `{}`", run.facts.run_id, wish.dag_id)).await;
    Ok(run)
}

/// What is done with a run that is there already.
async fn again<S: Services>(attempt: &mut Attempt<'_, S>, wish: &Wish, run: RunDoc) -> Result<RunDoc, Break> {
    let said = format!("the DAG `{}` already has the run `{}`", wish.dag_id, run.facts.run_id);
    if wish.reset {
        attempt.say(&format!("{said}: it is cleared and runs again")).await;
        return attempt.services.clear_run(&run).await.map_err(|e| Ended::failed(e.to_string()).into());
    }
    if wish.skip_when_exists {
        return Err(Ended::skipped(said).into());
    }
    // As in Airflow no other try is worth it: it would find the same run.
    let hint = "set `reset_dag_run` to run it again, or `skip_when_already_exists`";
    Err(Ended::failed_for_good(format!("{said}; {hint}")).into())
}

async fn wait<S: Services>(attempt: &mut Attempt<'_, S>, wish: &Wish, run: RunDoc) -> End {
    let incarnation = run.facts.incarnation;
    let wait = wish.poke_interval.max(Duration::from_millis(100));
    loop {
        let found = attempt.services.run(&incarnation).await.map_err(|e| Ended::failed(e.to_string()))?;
        let Some(run) = found else { return Err(Ended::failed("the run that this task triggered was deleted").into()) };
        if wish.failed.contains(&run.state) {
            return Err(Ended::failed(format!("`{}` failed with failed state {}", wish.dag_id, run.state)).into());
        }
        if wish.allowed.contains(&run.state) {
            attempt.say(&format!("the run `{}` is {}", run.facts.run_id, run.state)).await;
            return Ok(Ended::success());
        }
        if run.state.is_finished() {
            let state = run.state;
            return Err(Ended::failed(format!(
                "`{}` ended as {state}, which is not among `allowed_states`",
                wish.dag_id
            ))
            .into());
        }
        if wish.deferrable || (attempt.work.deadline.is_some() && wait > HELD_MOST) {
            let until = attempt.services.now().checked_add(wait).unwrap_or(Timestamp::MAX);
            attempt.say(&format!("the run `{}` is {}; looking again at {until}", run.facts.run_id, run.state)).await;
            return Ok(Ended::rescheduled(until).with_handover(json!({ "incarnation": incarnation.as_str() })));
        }
        attempt.services.sleep(wait).await;
    }
}
