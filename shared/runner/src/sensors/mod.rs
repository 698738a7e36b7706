//! Every sensor, one small file each, and what they have in common: looking again until something is so.

pub(crate) mod bash;
pub(crate) mod date_time;
pub(crate) mod day_of_week;
pub(crate) mod external_task;
pub(crate) mod file;
pub(crate) mod http;
pub(crate) mod python;
pub(crate) mod time;
pub(crate) mod time_delta;
pub(crate) mod wait;

use std::future::Future;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha1::{Digest, Sha1};
use updraft_model::{SensorMode, SensorSettings};

use crate::attempt::{Attempt, Break, End, Ended};
use crate::services::Services;

/// No sensor looks more often than this, whatever its `poke_interval`.
const WAIT_LEAST: Duration = Duration::from_millis(100);

/// What a look found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Look {
    /// It is so; with the sensor's result.
    Done(Value),
    /// Not yet.
    NotYet,
    /// Not before this instant, so there is no need to look earlier.
    NotBefore(Timestamp),
}

/// Why a look went wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Trouble {
    /// It could not be told; may be better at the next look, or the next try.
    Error(String),
    /// It will never be so.
    Final(String),
    /// The task is to be skipped.
    Skip(String),
    /// The attempt has ended.
    Break(Break),
}

impl From<Break> for Trouble {
    fn from(ended: Break) -> Self {
        Self::Break(ended)
    }
}

/// Something that is looked at again and again.
pub(crate) trait Sensor: Send {
    /// Looks once.
    fn look<S: Services>(&mut self, attempt: &mut Attempt<'_, S>)
    -> impl Future<Output = Result<Look, Trouble>> + Send;
}

/// Looks until it is so, or until there is no more time. In reschedule mode the worker is given back between two looks.
pub(crate) async fn watch<S: Services>(attempt: &mut Attempt<'_, S>, mut sensor: impl Sensor) -> End {
    let settings = attempt.task().sensor.clone().unwrap_or_default();
    let rescheduled = settings.mode == SensorMode::Reschedule || attempt.arguments.flag("deferrable")?;
    let started = attempt.work.try_started();
    let mut looks = attempt.work.resumed().map_or(0, |resumed| resumed.count);
    loop {
        looks = looks.saturating_add(1);
        let look = match sensor.look(attempt).await {
            Ok(look) => look,
            Err(trouble) => after_trouble(attempt, &settings, trouble).await?,
        };
        if let Look::Done(value) = look {
            attempt.say("the condition is met").await;
            return Ok(attempt.success_with(value));
        }
        let now = attempt.services.now();
        let elapsed = now.duration_since(started);
        if elapsed > settings.timeout {
            let message = format!(
                "the sensor's time is over: it has looked for {}, and its `timeout` is {}",
                seconds(elapsed),
                seconds(settings.timeout)
            );
            return if settings.soft_fail { Ok(Ended::skipped(message)) } else { Ok(Ended::failed_for_good(message)) };
        }
        let pause = Pause { settings: &settings, started, elapsed, looks };
        let until = pause.until(attempt, &look, now);
        let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default().max(WAIT_LEAST);
        // Where a worker is paid by the second and has to go, nobody waits in it.
        if rescheduled || attempt.work.deadline.is_some() {
            let until = now.checked_add(wait).unwrap_or(until);
            attempt.say(&format!("not yet; looking again at {}", shown(until))).await;
            return Ok(Ended::rescheduled(until));
        }
        attempt.services.sleep(wait).await;
    }
}

/// What comes of a look that went wrong, in Airflow's order: a final failure is softened, an ordinary one is silenced or softened.
async fn after_trouble<S: Services>(
    attempt: &mut Attempt<'_, S>,
    settings: &SensorSettings,
    trouble: Trouble,
) -> Result<Look, Break> {
    match trouble {
        Trouble::Skip(why) => Err(Ended::skipped(why).into()),
        Trouble::Final(why) if settings.soft_fail || settings.never_fail => Err(Ended::skipped(why).into()),
        Trouble::Final(why) => Err(Ended::failed_for_good(why).into()),
        Trouble::Error(why) if settings.silent_fail => {
            attempt.say(&format!("the look failed, and `silent_fail` is set: {why}")).await;
            Ok(Look::NotYet)
        }
        Trouble::Error(why) if settings.never_fail => Err(Ended::skipped(why).into()),
        Trouble::Error(why) => Err(Ended::failed(why).into()),
        Trouble::Break(ended) => Err(ended),
    }
}

/// To the millisecond: nobody reads more.
fn seconds(duration: SignedDuration) -> String {
    format!("{} s", duration.as_millis() as f64 / 1000.0)
}

/// An instant for people, to the millisecond.
fn shown(at: Timestamp) -> Timestamp {
    at.round(jiff::Unit::Millisecond).unwrap_or(at)
}

/// How long to wait for the next look.
struct Pause<'a> {
    settings: &'a SensorSettings,
    /// When the try began.
    started: Timestamp,
    elapsed: SignedDuration,
    /// Which look was the last.
    looks: u32,
}

impl Pause<'_> {
    /// When to look again. Never later than when the time is over, so that its end is noticed then.
    fn until<S: Services>(&self, attempt: &Attempt<'_, S>, look: &Look, now: Timestamp) -> Timestamp {
        let plain = || {
            let wait = if self.settings.exponential_backoff {
                self.backoff(attempt.work.dag_id().as_str(), attempt.task().task_id.as_str())
            } else {
                self.settings.poke_interval
            };
            now.checked_add(wait).unwrap_or(Timestamp::MAX)
        };
        // Airflow waits `poke_interval` where the instant is known too. Looking then and not before is the same, with fewer looks; a
        // moment later, since it must have passed.
        let until = match look {
            Look::NotBefore(at) => at.checked_add(SignedDuration::from_millis(1)).unwrap_or(Timestamp::MAX),
            Look::Done(_) | Look::NotYet => plain(),
        };
        let over = self.started.checked_add(self.settings.timeout + SignedDuration::from_millis(1));
        until.min(over.unwrap_or(Timestamp::MAX))
    }

    /// Airflow's growing wait: twice as long from look to look, plus a part that is drawn by a hash; `timeout` and `max_wait` bound it.
    fn backoff(&self, dag_id: &str, task_id: &str) -> SignedDuration {
        let exponent = f64::from(self.looks) - 2.0;
        let base = (self.settings.poke_interval.as_secs_f64() * exponent.min(64.0).exp2()).floor();
        let base = if base.is_finite() { (base as i64).clamp(1, SECONDS_MOST) } else { SECONDS_MOST };
        let text = format!("{dag_id}#{task_id}#{}#{}", self.started, self.looks);
        let wait = base + modulo(&Sha1::digest(text.as_bytes()), base);
        let left = self.settings.timeout.as_secs() - self.elapsed.as_secs();
        let wait = SignedDuration::from_secs(wait.min(left).max(0));
        self.settings.max_wait.map_or(wait, |most| wait.min(most))
    }
}

/// Ten thousand years.
const SECONDS_MOST: i64 = 315_576_000_000;

/// A big-endian number modulo another.
fn modulo(digits: &[u8], by: i64) -> i64 {
    let by = i128::from(by.max(1));
    digits.iter().fold(0_i128, |rest, byte| (rest * 256 + i128::from(*byte)) % by) as i64
}
