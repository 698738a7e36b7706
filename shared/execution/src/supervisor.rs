//! The supervisor's side: a small process between the server and the processes of one attempt after another.
//!
//! Its standard input is a socket to the server, on which it takes orders ([`crate::wire`]) and writes one line for each thing that happens:
//! `started`, `error TEXT`, `exited code N`, `exited signal N`, and `gone` when nothing of the attempt is left and another may come. It takes
//! the end of that socket, whether the server closed it or died, as the order to end everything, itself included.
//!
//! It is a process of its own because only a process survives `kill -9` of the server, and it makes itself the subreaper (Linux) because then
//! a process whose parent ended becomes its child, however often it forked and whatever session it made: when `wait` says that there is no
//! child, nothing is left. It has one attempt at a time, so whatever is below it belongs to that attempt.
//!
//! With two arguments, an interpreter and a folder, it keeps a Python below it that forks once per attempt. That one is spared, and the list of
//! children takes the place of `wait`.

mod descendants;
mod zygote;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Pid, WaitOptions, WaitStatus};

use self::zygote::Zygote;
use crate::wire::{self, Call, Order, Request};

/// The hidden subcommand: an executable whose first argument is this must call [`supervisor_main`] at once.
pub const SUPERVISE: &str = "__supervise";

/// How long processes that outlived the attempt's main process get after SIGTERM. Short: every attempt that leaves some behind pays it.
const LEFTOVER_GRACE: Duration = Duration::from_millis(200);

/// How long a killed Python may take to disappear.
const ZYGOTE_LIMIT: Duration = Duration::from_secs(5);

/// What the supervisor's main thread waits for.
enum Event {
    /// The server asks for something.
    Ordered(Order),
    /// The server has closed its end or is gone.
    Released,
    /// A child, perhaps an adopted one, ended and was reaped.
    Reaped(Pid, WaitStatus),
    /// No child is left.
    AllGone,
    /// A line of the Python that forks.
    ZygoteSaid(String),
    /// It will say no more.
    ZygoteGone,
}

/// Runs as a supervisor: the whole life of the process that was started with [`SUPERVISE`] as its first argument.
///
/// Returns when the server has let go and everything that was started has ended; the caller's `main` should return the exit code at once. It
/// must be called before threads or child processes are made, and nothing else may read standard input.
pub fn supervisor_main() -> ExitCode {
    // A session of its own: the terminal's Ctrl-C is for the server, which drains, and a task must not stop to wait for a terminal's input.
    let _ = rustix::process::setsid();
    let Ok(mut control) = control_socket() else { return ExitCode::FAILURE };
    match Supervisor::new(&control, std::env::args_os().skip(2)) {
        Ok(supervisor) => {
            supervisor.serve();
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&mut control, &format!("error the supervisor could not begin: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Descriptor 0 as a socket under a number that no child inherits.
fn control_socket() -> io::Result<UnixStream> {
    let control = fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    Ok(UnixStream::from(control))
}

struct Supervisor {
    control: UnixStream,
    events: Receiver<Event>,
    /// Has the children waited for, until there is none.
    reap: Sender<()>,
    zygote: Option<Zygote>,
}

/// How far an attempt has got.
#[derive(Default)]
struct Progress {
    main: Option<Pid>,
    main_ended: bool,
    /// When the processes are killed that were asked to end.
    kill_at: Option<Instant>,
    /// No child is left.
    gone: bool,
    /// The server or the Python is gone: this attempt is the last.
    last: bool,
}

impl Supervisor {
    fn new(control: &UnixStream, mut args: impl Iterator<Item = OsString>) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let (sender, events) = mpsc::channel();
        let zygote = match (args.next(), args.next()) {
            (Some(python), Some(folder)) => Some(Zygote::start(&python, &folder, &sender)?),
            _ => None,
        };
        if zygote.is_some() && descendants::children(rustix::process::getpid()).is_none() {
            return Err(io::Error::other("the system does not list children"));
        }
        listen(control.try_clone()?, sender.clone())?;
        let reap = wait_for_children(sender)?;
        if zygote.is_some() {
            let _ = reap.send(());
        }
        Ok(Self { control: control.try_clone()?, events, reap, zygote })
    }

    /// Starts what is ordered until the server lets go.
    fn serve(mut self) {
        while let Ok(event) = self.events.recv() {
            match event {
                Event::Ordered(Order::Start(request, descriptors)) => {
                    if !self.attempt(request, descriptors) {
                        break;
                    }
                }
                Event::ZygoteGone => return,
                Event::Released => break,
                // The end of an attempt that did not start, or of a process that was still ending.
                Event::Ordered(Order::End) | Event::Reaped(..) | Event::AllGone | Event::ZygoteSaid(_) => {}
            }
        }
        if let Some(zygote) = &self.zygote {
            zygote.kill();
            while !matches!(self.events.recv_timeout(ZYGOTE_LIMIT), Ok(Event::AllGone) | Err(_)) {}
        }
    }

    /// One attempt from its start until nothing of it is left; whether another may come.
    fn attempt(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> bool {
        let Request { kill_grace, call } = request;
        let mut progress = Progress::default();
        match self.start(call, descriptors) {
            Ok(main) => progress.main = main,
            Err(message) => {
                say(&mut self.control, &format!("error {}", message.replace('\n', " ")));
                return true;
            }
        }
        if progress.main.is_some() {
            say(&mut self.control, "started");
        }
        self.oversee(&mut progress, kill_grace);
        if !progress.last {
            say(&mut self.control, "gone");
        }
        !progress.last
    }

    /// Starts the task's process; its id comes later if it is forked.
    fn start(&mut self, call: Call, mut descriptors: Vec<OwnedFd>) -> Result<Option<Pid>, String> {
        match (call, &mut self.zygote) {
            (Call::Fork(line), Some(zygote)) => {
                zygote.fork(&line, &descriptors).map_err(|error| format!("could not fork Python: {error}"))?;
                Ok(None)
            }
            (Call::Exec { program, args, env, cwd }, None) => {
                let channel = (descriptors.len() > 1).then(|| descriptors.pop()).flatten();
                let log = descriptors.pop().ok_or("the supervisor was given no log")?;
                let error = log.try_clone().map_err(|error| error.to_string())?;
                let mut command = Command::new(&program);
                command.args(args).env_clear().envs(env).current_dir(&cwd).process_group(0);
                command.stdin(channel.map_or_else(Stdio::null, Stdio::from)).stdout(log).stderr(error);
                let child = command.spawn().map_err(|error| {
                    if !cwd.is_dir() {
                        return format!("the working directory `{}` is not there: {error}", cwd.display());
                    }
                    could_not_start(&program.to_string_lossy(), &error)
                })?;
                let _ = self.reap.send(());
                let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                pid.map(Some).ok_or_else(|| "the task's process has no id".to_owned())
            }
            (Call::Fork(_), None) | (Call::Exec { .. }, Some(_)) => Err("the supervisor is of another kind".to_owned()),
        }
    }

    /// Waits until everything has ended, and ends it when it is time.
    fn oversee(&mut self, progress: &mut Progress, grace: Duration) {
        let mut pause = Duration::from_millis(1);
        while progress.kill_at.is_none() || !self.nothing_is_left(progress) {
            let now = Instant::now();
            let event = match progress.kill_at {
                None => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) if at > now => self.events.recv_timeout(at - now),
                Some(_) => {
                    // Again and again: what a killed process forked in its last moment is found in the next round.
                    descendants::kill(progress.main, self.spared());
                    pause = (pause * 2).min(Duration::from_millis(100));
                    self.events.recv_timeout(pause)
                }
            };
            match event {
                Ok(event) => self.heed(event, progress, grace),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn heed(&mut self, event: Event, progress: &mut Progress, grace: Duration) {
        match event {
            Event::Reaped(pid, status) if Some(pid) == progress.main => {
                // What it left behind lives until the server lets go: it may still write to the log.
                say(&mut self.control, &exited(status));
                progress.main_ended = true;
            }
            Event::ZygoteSaid(line) => {
                if let Some(pid) = line.strip_prefix("started ") {
                    progress.main = pid.parse().ok().and_then(Pid::from_raw);
                    say(&mut self.control, "started");
                } else {
                    say(&mut self.control, &line);
                    progress.main_ended = true;
                    if line.starts_with("error ") {
                        self.end(progress, Duration::ZERO);
                    }
                }
            }
            Event::Reaped(..) | Event::Ordered(Order::Start(..)) => {}
            Event::AllGone => progress.gone = true,
            Event::Ordered(Order::End) => self.end(progress, grace),
            Event::Released => {
                self.abandon(progress);
                self.end(progress, grace);
            }
            Event::ZygoteGone => {
                self.abandon(progress);
                self.end(progress, Duration::ZERO);
            }
        }
    }

    /// No attempt will follow: without the Python its children are ours, and `wait` tells when none is left.
    fn abandon(&mut self, progress: &mut Progress) {
        progress.last = true;
        if let Some(zygote) = self.zygote.take() {
            zygote.kill();
        }
    }

    /// Asks everything to end. Whoever was told so keeps the time that it was given, also if the main process ends sooner than its children.
    fn end(&self, progress: &mut Progress, grace: Duration) {
        if progress.kill_at.is_none() {
            let grace = if progress.main_ended { LEFTOVER_GRACE } else { grace };
            progress.kill_at = Some(Instant::now() + grace);
            if !self.nothing_is_left(progress) {
                descendants::terminate(progress.main, self.spared());
            }
        }
    }

    fn nothing_is_left(&self, progress: &Progress) -> bool {
        match &self.zygote {
            None => progress.gone,
            Some(zygote) => progress.main_ended && descendants::only(zygote.pid).unwrap_or(false),
        }
    }

    fn spared(&self) -> Option<Pid> {
        self.zygote.as_ref().map(|zygote| zygote.pid)
    }
}

fn could_not_start(program: &str, error: &io::Error) -> String {
    if error.raw_os_error() == Some(Errno::TOOBIG.raw_os_error()) {
        return format!(
            "could not start `{program}`: its arguments and environment are longer than the system allows (128 KiB for one of them); put long text into a file"
        );
    }
    format!("could not start `{program}`: {error}")
}

/// Turns what the server sends, and its end, into events.
fn listen(mut control: UnixStream, events: Sender<Event>) -> io::Result<()> {
    thread::Builder::new().spawn(move || {
        while let Ok(Some(order)) = wire::receive(&mut control) {
            if events.send(Event::Ordered(order)).is_err() {
                return;
            }
        }
        let _ = events.send(Event::Released);
    })?;
    Ok(())
}

/// Turns the end of children into events, from each word on until there is none.
fn wait_for_children(events: Sender<Event>) -> io::Result<Sender<()>> {
    let (reap, begin) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        while begin.recv().is_ok() {
            loop {
                let event = match rustix::process::wait(WaitOptions::empty()) {
                    Ok(Some((pid, status))) => Event::Reaped(pid, status),
                    Ok(None) | Err(Errno::INTR) => continue,
                    Err(_) => Event::AllGone,
                };
                let last = matches!(event, Event::AllGone);
                if events.send(event).is_err() {
                    return;
                }
                if last {
                    break;
                }
            }
        }
    })?;
    Ok(reap)
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
