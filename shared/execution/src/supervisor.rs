//! The supervisor's side: a small process between the server and one attempt's processes.
//!
//! Its descriptors: 0 is a socket to the server (control), 1 the log, 2 the attempt's channel if it has one. It writes one line on the control
//! socket for each thing that happens (`started`, `error TEXT`, `exited code N`, `exited signal N`), and it takes the end of that socket,
//! whether the server closed it or died, as the order to end everything. It exits when no descendant is left.
//!
//! It is a process of its own because only a process survives `kill -9` of the server, and it makes itself the subreaper (Linux) because then
//! a process whose parent ended becomes its child, however often it forked and whatever session it made: when `wait` says that there is no
//! child, nothing is left.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

/// The hidden subcommand: an executable whose first argument is this must call [`supervisor_main`] at once.
pub const SUPERVISE: &str = "__supervise";

/// The argument that says that descriptor 2 is a channel for the task.
pub(crate) const WITH_CHANNEL: &str = "channel";
/// The argument that says that there is no channel.
pub(crate) const WITHOUT_CHANNEL: &str = "no-channel";

/// How long processes that outlived the attempt's main process get after SIGTERM. Short: every attempt that leaves some behind pays it.
const LEFTOVER_GRACE: Duration = Duration::from_millis(200);

/// What the supervisor's main thread waits for.
enum Event {
    /// A child, perhaps an adopted one, ended and was reaped.
    Reaped(Pid, WaitStatus),
    /// No child is left.
    AllGone,
    /// The server asks to end everything, or is gone.
    Released,
}

/// Runs as a supervisor: the whole life of the process that was started with [`SUPERVISE`] as its first argument.
///
/// Returns when the attempt and everything it started have ended; the caller's `main` should return the exit code at once. It must be called
/// before threads or child processes are made, and nothing else may read standard input.
pub fn supervisor_main() -> ExitCode {
    let mut args = std::env::args_os().skip(2);
    match start(&mut args) {
        Ok(started) => {
            oversee(started);
            ExitCode::SUCCESS
        }
        Err(StartError { control, message }) => {
            if let Some(mut control) = control {
                say(&mut control, &format!("error {}", message.replace('\n', " ")));
            }
            ExitCode::FAILURE
        }
    }
}

struct Started {
    main: Pid,
    control: UnixStream,
    grace: Duration,
    events: Receiver<Event>,
}

struct StartError {
    control: Option<UnixStream>,
    message: String,
}

fn start(args: &mut dyn Iterator<Item = OsString>) -> Result<Started, StartError> {
    // A session of its own: the terminal's Ctrl-C is for the server, which drains, and a task must not stop to wait for a terminal's input.
    let _ = rustix::process::setsid();
    let control = control_socket().map_err(|error| StartError { control: None, message: error.to_string() })?;
    match start_task(args) {
        Ok((main, grace)) => {
            let (sender, events) = mpsc::channel();
            let mut control = control;
            say(&mut control, "started");
            if let Err(error) = watch(&control, &sender) {
                // Without its threads the supervisor cannot keep its promise; better no attempt than one that nobody ends.
                let _ = rustix::process::kill_process_group(main, Signal::KILL);
                return Err(StartError { control: Some(control), message: error.to_string() });
            }
            Ok(Started { main, control, grace, events })
        }
        Err(message) => Err(StartError { control: Some(control), message }),
    }
}

/// Descriptor 0 as a socket under a number that no child inherits.
fn control_socket() -> io::Result<UnixStream> {
    let control = fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    Ok(UnixStream::from(control))
}

/// Starts the task's process and returns its id and the grace.
fn start_task(args: &mut dyn Iterator<Item = OsString>) -> Result<(Pid, Duration), String> {
    let mut next = |what: &str| args.next().ok_or_else(|| format!("the supervisor was called without {what}"));
    let grace = next("a grace period")?;
    let channel = next("a channel")?;
    let program = next("a program")?;
    let grace = grace.to_str().and_then(|text| text.parse().ok()).map(Duration::from_millis);
    let grace = grace.ok_or("the supervisor was called with a grace period that is no number")?;

    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| format!("could not become the subreaper: {error}"))?;

    let stdin = if channel == WITH_CHANNEL {
        let channel = fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).map_err(|error| error.to_string())?;
        Stdio::from(channel)
    } else {
        Stdio::null()
    };
    rustix::stdio::dup2_stderr(rustix::stdio::stdout()).map_err(|error| error.to_string())?;

    let mut command = Command::new(&program);
    command.args(args).stdin(stdin).process_group(0);
    let child = command.spawn().map_err(|error| could_not_start(&program, &error))?;
    // The log's end is seen by the server once the task's own processes have let go of it, not this one.
    let nowhere = std::fs::File::options().write(true).open("/dev/null").map_err(|error| error.to_string())?;
    rustix::stdio::dup2_stdout(&nowhere).map_err(|error| error.to_string())?;
    rustix::stdio::dup2_stderr(&nowhere).map_err(|error| error.to_string())?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok((pid.ok_or("the task's process has no id")?, grace))
}

fn could_not_start(program: &OsString, error: &io::Error) -> String {
    let program = program.to_string_lossy();
    if error.raw_os_error() == Some(Errno::TOOBIG.raw_os_error()) {
        return format!(
            "could not start `{program}`: its arguments and environment are longer than the system allows (128 KiB for one of them); put long text into a file"
        );
    }
    format!("could not start `{program}`: {error}")
}

/// Starts the two threads that turn the end of children and of the server into events.
fn watch(control: &UnixStream, events: &Sender<Event>) -> io::Result<()> {
    let mut control = control.try_clone()?;
    let released = events.clone();
    thread::Builder::new().spawn(move || {
        let mut buffer = [0; 64];
        while matches!(control.read(&mut buffer), Ok(length) if length > 0) {}
        let _ = released.send(Event::Released);
    })?;
    let reaped = events.clone();
    thread::Builder::new().spawn(move || {
        loop {
            let event = match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => Event::Reaped(pid, status),
                Ok(None) | Err(Errno::INTR) => continue,
                Err(_) => Event::AllGone,
            };
            let last = matches!(event, Event::AllGone);
            if reaped.send(event).is_err() || last {
                return;
            }
        }
    })?;
    Ok(())
}

/// Waits until everything has ended, and ends it when it is time.
fn oversee(started: Started) {
    let Started { main, mut control, grace, events } = started;
    let mut kill_at: Option<Instant> = None;
    let mut main_ended = false;
    let mut pause = Duration::from_millis(1);
    loop {
        let now = Instant::now();
        let event = match kill_at {
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) if at > now => events.recv_timeout(at - now),
            Some(_) => {
                // Again and again: what a killed process forked in its last moment is found in the next round.
                signal_all(main, Signal::KILL);
                pause = (pause * 2).min(Duration::from_millis(100));
                events.recv_timeout(pause)
            }
        };
        let grace = match event {
            Ok(Event::Reaped(pid, status)) if pid == main => {
                // What it left behind lives until the server lets go: it may still write to the log.
                say(&mut control, &exited(status));
                main_ended = true;
                continue;
            }
            Ok(Event::Released) if main_ended => LEFTOVER_GRACE,
            Ok(Event::Released) => grace,
            Ok(Event::Reaped(..)) | Err(RecvTimeoutError::Timeout) => continue,
            Ok(Event::AllGone) | Err(RecvTimeoutError::Disconnected) => return,
        };
        // Whoever was told to end keeps the time that it was given, also if the main process ends sooner than its children.
        if kill_at.is_none() {
            signal_all(main, Signal::TERM);
            kill_at = Some(Instant::now() + grace);
        }
    }
}

fn exited(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exited code {code}"),
        (None, Some(signal)) => format!("exited signal {signal}"),
        (None, None) => "exited code 0".to_owned(),
    }
}

/// Tells the server; if it is gone, nobody needs to know.
fn say(control: &mut UnixStream, line: &str) {
    let _ = control.write_all(format!("{line}\n").as_bytes());
}

/// Sends a signal to every descendant; where they cannot be listed, to the group of the main process.
fn signal_all(main: Pid, signal: Signal) {
    let Some(descendants) = descendants() else {
        let _ = rustix::process::kill_process_group(main, signal);
        let _ = rustix::process::kill_process_group(main, Signal::CONT);
        return;
    };
    for pid in descendants {
        let _ = rustix::process::kill_process(pid, signal);
        if signal == Signal::TERM {
            // A stopped process does not see the signal before it continues.
            let _ = rustix::process::kill_process(pid, Signal::CONT);
        }
    }
}

/// Every process below this one, parents first; nothing where the system does not tell.
///
/// Between the listing and the signal a process may end and its number may go to another one; that needs the numbers to wrap around within
/// microseconds, and no interface without a race lists descendants.
fn descendants() -> Option<Vec<Pid>> {
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
    Some(found)
}

/// The children of all threads of a process.
fn children(of: Pid) -> Option<Vec<Pid>> {
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
