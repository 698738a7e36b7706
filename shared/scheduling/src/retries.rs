//! Whether and when a failed try is tried again.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use sha1::{Digest, Sha1};

/// `[core] max_task_retry_delay`: no delay with backoff is longer.
pub const DELAY_MAX: SignedDuration = SignedDuration::from_hours(24);

/// How a task wants its retries delayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryDelay<'a> {
    /// The plain delay.
    pub delay: SignedDuration,
    /// The backoff multiplier; 1 and less are off.
    pub exponential_backoff: f64,
    /// The upper bound, heeded only with backoff.
    pub max_delay: Option<SignedDuration>,
    /// For the jitter, so that tries of different tasks spread and a repeated decision agrees.
    pub dag_id: &'a str,
    /// For the jitter.
    pub task_id: &'a str,
    /// For the jitter.
    pub logical_date: Option<Timestamp>,
}

/// Whether a failed try is followed by another. `max_tries` starts as the task's `retries`.
pub fn is_eligible(try_number: u32, max_tries: u32) -> bool {
    max_tries != 0 && try_number <= max_tries
}

/// The delay after `try_number` failed, counted from its end.
pub fn delay(of: &RetryDelay<'_>, try_number: u32) -> SignedDuration {
    let backs_off = of.exponential_backoff > 0.0 && (of.exponential_backoff - 1.0).abs() > f64::EPSILON;
    if !backs_off || of.exponential_backoff < 0.0 {
        return of.delay;
    }
    let cap = of.max_delay.map_or(DELAY_MAX, |max| max.min(DELAY_MAX));
    let exponent = i32::try_from(try_number).unwrap_or(i32::MAX).saturating_sub(1);
    let base = (of.delay.as_secs_f64() * of.exponential_backoff.powi(exponent)).ceil().max(1.0);
    // Beyond any cap there is no point in jitter, and 2^53 is where whole seconds stop being exact.
    if !base.is_finite() || base >= 9_007_199_254_740_992.0 {
        return cap;
    }
    let base = base as u64;
    let jittered = base + jitter(of, try_number, base);
    SignedDuration::from_secs(i64::try_from(jittered).unwrap_or(i64::MAX)).min(cap)
}

/// `SHA-1("dag_id#task_id#logical_date#try_number") mod base`, the whole digest as one number.
fn jitter(of: &RetryDelay<'_>, try_number: u32, base: u64) -> u64 {
    let date = of.logical_date.map_or_else(|| "None".to_owned(), python_str);
    let digest = Sha1::digest(format!("{}#{}#{date}#{try_number}", of.dag_id, of.task_id).as_bytes());
    let modulus = u128::from(base);
    digest.iter().fold(0u128, |left, byte| (left * 256 + u128::from(*byte)) % modulus) as u64
}

/// `str()` of a UTC datetime in Python: a space for the T, microseconds only where there are any.
fn python_str(at: Timestamp) -> String {
    let zoned = at.to_zoned(TimeZone::UTC);
    let micros = at.subsec_nanosecond() / 1000;
    let seconds = zoned.strftime("%Y-%m-%d %H:%M:%S");
    if micros == 0 { format!("{seconds}+00:00") } else { format!("{seconds}.{micros:06}+00:00") }
}

/// When the next try may begin: strictly after this instant. A delay beyond the calendar's end is cut there.
pub fn next_retry(of: &RetryDelay<'_>, try_number: u32, end_date: Timestamp) -> Timestamp {
    end_date.checked_add(delay(of, try_number)).unwrap_or(Timestamp::MAX)
}
