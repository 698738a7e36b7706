//! Finding and signalling every process below this one.

use rustix::process::{Pid, Signal};

/// How often new processes are looked for before those found are killed.
const FREEZE_ROUNDS: usize = 20;

/// Asks every descendant to end, except for `spared`, which has no part in the attempt; where they cannot be listed, the group of the main
/// process.
pub(super) fn terminate(main: Option<Pid>, spared: Option<Pid>) {
    let Some(found) = descendants(spared) else {
        return signal_group(main, Signal::TERM);
    };
    for pid in found {
        let _ = rustix::process::kill_process(pid, Signal::TERM);
        // A stopped process does not see the signal before it continues.
        let _ = rustix::process::kill_process(pid, Signal::CONT);
    }
}

/// Kills every descendant, except for `spared`. They are stopped first, until no new ones are found: what is stopped does not fork.
pub(super) fn kill(main: Option<Pid>, spared: Option<Pid>) {
    let mut stopped: Vec<Pid> = Vec::new();
    for _ in 0..FREEZE_ROUNDS {
        let Some(found) = descendants(spared) else {
            return signal_group(main, Signal::KILL);
        };
        let new: Vec<Pid> = found.into_iter().filter(|pid| !stopped.contains(pid)).collect();
        if new.is_empty() {
            break;
        }
        for pid in &new {
            let _ = rustix::process::kill_process(*pid, Signal::STOP);
        }
        stopped.extend(new);
    }
    for pid in stopped {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

fn signal_group(main: Option<Pid>, signal: Signal) {
    if let Some(main) = main {
        let _ = rustix::process::kill_process_group(main, signal);
        let _ = rustix::process::kill_process_group(main, Signal::CONT);
    }
}

/// Whether this process has no descendant but `spared`; nothing where the system does not tell.
///
/// The kernel may overlook a child in its list only if one before it goes while the list is read. `spared` is the first and stays, so what
/// follows it is told truly.
pub(super) fn only(spared: Pid) -> Option<bool> {
    Some(children(rustix::process::getpid())? == [spared] && children(spared)?.is_empty())
}

/// Every process below this one, parents first; nothing where the system does not tell.
///
/// Between the listing and the signal a process may end and its number may go to another one; that needs the numbers to wrap around within
/// microseconds, and no interface without a race lists descendants.
fn descendants(spared: Option<Pid>) -> Option<Vec<Pid>> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let mut found = children(rustix::process::getpid())?;
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        // One that has just ended has no directory any more; its children are ours now and come up in the next round.
        let below = children(*pid).unwrap_or_default();
        found.extend(below);
        next += 1;
    }
    found.retain(|pid| Some(*pid) != spared);
    Some(found)
}

/// The children of all threads of a process.
pub(super) fn children(of: Pid) -> Option<Vec<Pid>> {
    let mut found = Vec::new();
    let threads = std::fs::read_dir(format!("/proc/{}/task", of.as_raw_nonzero())).ok()?;
    for thread in threads.flatten() {
        let Ok(listed) = std::fs::read_to_string(thread.path().join("children")) else {
            // A thread may have ended meanwhile, but a kernel without this file must not look like a process without children.
            if thread.path().exists() {
                return None;
            }
            continue;
        };
        found.extend(listed.split_ascii_whitespace().filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw)));
    }
    Some(found)
}
