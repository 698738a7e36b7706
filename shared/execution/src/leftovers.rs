//! The last resort when a supervisor was killed: finding an attempt's processes by a mark in their environment.
//!
//! As long as the supervisor lives it finds every descendant, whatever its environment. Without it they are scattered: those in the main
//! process's group could be reached through the group, but not those with sessions of their own, nor any of them if the supervisor died before
//! it could tell which group it made. The mark reaches them all, except one that was started with another environment or runs as another user.

use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};

/// The one variable of this product's that a task sees.
const VARIABLE: &str = "UPDRAFT_ATTEMPT";
/// How long to go on killing what does not disappear.
const LIMIT: Duration = Duration::from_secs(10);
/// In the middle of `exec` a process shows no environment, so a round that finds nothing proves little; many of them, spread over longer than
/// a process is kept waiting for the processor on a busy machine, prove enough.
const QUIET_ROUNDS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// A mark that no other attempt on this machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark(String);

impl Mark {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Process ids come back, the time does not.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self(format!("{}-{now}-{count}", std::process::id()))
    }

    /// The variable that carries it.
    pub(crate) fn variable(&self) -> (OsString, OsString) {
        (VARIABLE.into(), (&self.0).into())
    }

    /// Kills every process that carries the mark, until none is found in several rounds.
    pub(crate) async fn kill_all(&self) {
        let variable = format!("{VARIABLE}={}", self.0).into_bytes();
        let killed = tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            let mut quiet = 0;
            while quiet < QUIET_ROUNDS && start.elapsed() < LIMIT {
                quiet = if kill_marked(&variable) { 0 } else { quiet + 1 };
                std::thread::sleep(PAUSE);
            }
        });
        let _ = killed.await;
    }
}

/// Kills those that are there now; whether there were any. A process that has ended, reaped or not, has no environment.
fn kill_marked(variable: &[u8]) -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return false };
    let mut found = false;
    for entry in entries.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let (Some(pid), Ok(environment)) = (pid, std::fs::read(entry.path().join("environ"))) else { continue };
        if environment.split(|byte| *byte == 0).any(|carried| carried == variable) {
            found = true;
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    found
}
