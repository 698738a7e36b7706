//! Supervisors that wait for their next attempt.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::supervised::Supervisor;

/// How long a supervisor waits for its next attempt. Long enough for DAGs that run every minute.
const IDLE_LIMIT: Duration = Duration::from_secs(90);
/// How long one is used at most: a Python that was warm for days would miss what was installed meanwhile.
const AGE_LIMIT: Duration = Duration::from_mins(15);
/// How often the idle ones are looked through.
const SWEEP: Duration = Duration::from_secs(30);
/// How many plain supervisors wait at most.
const PLAIN_MAX: usize = 32;
/// How many Pythons wait at most, for as long as [`IDLE_LIMIT`]: each has some megabytes of its own. As many as attempts run at once by
/// default: with fewer, a burst of tasks starts one anew for most of them, which costs more than all the rest.
const PYTHON_MAX: usize = 32;

/// The supervisors of one launcher that have nothing to do.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    plain: Vec<Waiting>,
    python: Vec<Waiting>,
    /// Whether somebody ends those that wait for too long.
    swept: bool,
}

#[derive(Debug)]
struct Waiting {
    supervisor: Supervisor,
    since: Instant,
}

impl Pool {
    /// One that waits and lives; the one that had the last attempt comes first, so that those which are too many grow old.
    pub(crate) fn take(&self, python: bool) -> Option<Supervisor> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = if python { &mut idle.python } else { &mut idle.plain };
        while let Some(Waiting { supervisor, .. }) = waiting.pop() {
            if supervisor.is_alive() {
                return Some(supervisor);
            }
        }
        None
    }

    /// All that wait.
    pub(crate) fn take_all(&self) -> Vec<Supervisor> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let Idle { plain, python, .. } = &mut *idle;
        plain.drain(..).chain(python.drain(..)).map(|waiting| waiting.supervisor).collect()
    }

    /// Keeps one for its next attempt, unless it is old or there are enough.
    pub(crate) fn put(self: &Arc<Self>, supervisor: Supervisor) {
        if supervisor.since.elapsed() > AGE_LIMIT {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let python = supervisor.python;
        let (waiting, most) = if python { (&mut idle.python, PYTHON_MAX) } else { (&mut idle.plain, PLAIN_MAX) };
        if waiting.len() < most {
            waiting.push(Waiting { supervisor, since: Instant::now() });
        }
        if !std::mem::replace(&mut idle.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

/// Ends what waits for too long, until nothing waits or the launcher is gone.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let Idle { plain, python, swept } = &mut *idle;
        for waiting in [&mut *plain, &mut *python] {
            waiting.retain(|waiting| waiting.since.elapsed() < IDLE_LIMIT);
        }
        *swept = !(plain.is_empty() && python.is_empty());
        if !*swept {
            return;
        }
    }
}
