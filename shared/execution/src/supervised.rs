//! The server's side of a supervisor: starting one, hearing what it says, letting it go.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStdout, Command};

use crate::launcher::Launcher;
use crate::leftovers::Mark;
use crate::supervisor::{SUPERVISE, WITH_CHANNEL, WITHOUT_CHANNEL};

/// How long a supervisor may take to start the task's process; it takes milliseconds on a machine that is not overwhelmed.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long, after the grace, killed processes may take to disappear.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The process that an operator needs.
#[derive(Debug)]
pub(crate) struct ProcessSpec {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: PathBuf,
    /// Whether the process gets a socket to this process as its standard input.
    pub(crate) channel: bool,
    pub(crate) kill_grace: Duration,
}

/// How the main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

/// Why there is no process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("could not start the supervisor `{program}`: {source}")]
    Supervisor { program: String, source: io::Error },
    #[error(
        "the supervisor `{program}` {how} before it started the task; is this an executable that knows `{SUPERVISE}`?"
    )]
    Silent { program: String, how: String },
    #[error("{0}")]
    Task(String),
}

/// A running supervisor. Dropping it closes the control socket, and with that ends the attempt.
#[derive(Debug)]
pub(crate) struct Supervised {
    child: Child,
    mark: Mark,
    status: Lines<BufReader<OwnedReadHalf>>,
    control: OwnedWriteHalf,
    kill_grace: Duration,
}

/// A started attempt: its supervisor, its output, and its channel if it asked for one.
pub(crate) struct Running {
    pub(crate) supervised: Supervised,
    pub(crate) log: ChildStdout,
    pub(crate) channel: Option<UnixStream>,
}

impl Running {
    /// Starts a supervisor and waits until it has started the task.
    pub(crate) async fn start(launcher: &Launcher, process: &ProcessSpec) -> Result<Self, StartError> {
        match try_start(launcher, process).await? {
            Ok(running) => Ok(running),
            // Ctrl-C reached the supervisor before it left the terminal's session. The server drains; the task need not fail for that.
            Err(_interrupted) => match try_start(launcher, process).await? {
                Ok(running) => Ok(running),
                Err(how) => Err(silent(launcher, how)),
            },
        }
    }
}

fn silent(launcher: &Launcher, how: String) -> StartError {
    StartError::Silent { program: launcher.program().display().to_string(), how }
}

/// The inner error says how a supervisor was interrupted from outside: worth another go.
async fn try_start(launcher: &Launcher, process: &ProcessSpec) -> Result<Result<Running, String>, StartError> {
    let failed = |source| StartError::Supervisor { program: launcher.program().display().to_string(), source };
    let (ours, theirs) = StdUnixStream::pair().map_err(failed)?;
    let mark = Mark::new();
    let mut command = supervisor_command(launcher, process, &mark);
    command.stdin(OwnedFd::from(theirs));
    let channel = if process.channel {
        let (ours, theirs) = StdUnixStream::pair().map_err(failed)?;
        command.stderr(OwnedFd::from(theirs));
        Some(into_tokio(ours).map_err(failed)?)
    } else {
        command.stderr(Stdio::null());
        None
    };
    let (status, control) = into_tokio(ours).map_err(failed)?.into_split();
    let mut status = BufReader::new(status).lines();
    let mut child = command.spawn().map_err(|source| not_spawned(launcher, process, source))?;
    drop(command);

    let first = tokio::time::timeout(START_LIMIT, status.next_line()).await;
    let Ok(Ok(Some(line))) = first else {
        drop(control);
        let _ = child.start_kill();
        let ended = child.wait().await.map_err(failed)?;
        // It may have started the task and been killed before it said so.
        mark.kill_all().await;
        let interrupted = [Signal::INT, Signal::HUP, Signal::QUIT].map(|signal| Some(signal.as_raw()));
        if interrupted.contains(&ended.signal()) {
            return Ok(Err(format!("ended ({ended})")));
        }
        let how = if first.is_err() { "said nothing for a minute".to_owned() } else { format!("ended ({ended})") };
        return Err(silent(launcher, how));
    };
    if let Some(message) = line.strip_prefix("error ") {
        let _ = child.wait().await;
        return Err(StartError::Task(message.to_owned()));
    }
    if line != "started" {
        return Err(silent(launcher, format!("said `{line}`")));
    }
    let log = child.stdout.take().expect("standard output is a pipe");
    let supervised = Supervised { child, mark, status, control, kill_grace: process.kill_grace };
    Ok(Ok(Running { supervised, log, channel }))
}

fn supervisor_command(launcher: &Launcher, process: &ProcessSpec, mark: &Mark) -> Command {
    let mut command = Command::new(launcher.program());
    // The name that `ps` shows, also when the program is `/proc/self/exe`.
    command.arg0("updraft");
    command.arg(SUPERVISE).arg(process.kill_grace.as_millis().to_string());
    command.arg(if process.channel { WITH_CHANNEL } else { WITHOUT_CHANNEL });
    command.arg(&process.program).args(&process.args);
    command
        .env_clear()
        .envs(process.env.iter().map(|(name, value)| (name as &OsStr, value as &OsStr)))
        .envs([mark.variable()]);
    command.current_dir(&process.cwd).stdout(Stdio::piped());
    command
}

/// The supervisor gets the task's arguments and directory, so most faults in them show here already.
fn not_spawned(launcher: &Launcher, process: &ProcessSpec, source: io::Error) -> StartError {
    match source.kind() {
        io::ErrorKind::ArgumentListTooLong => StartError::Task(
            "the task's arguments and environment are longer than the system allows (128 KiB for one of them); put long text into a file".to_owned(),
        ),
        io::ErrorKind::InvalidInput => StartError::Task(
            "the task's command or environment contains a NUL character, which no process can be given; remove it".to_owned(),
        ),
        _ if !process.cwd.is_dir() => {
            StartError::Task(format!("the working directory `{}` is not there: {source}", process.cwd.display()))
        }
        _ => StartError::Supervisor { program: launcher.program().display().to_string(), source },
    }
}

fn into_tokio(stream: StdUnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

impl Supervised {
    /// Waits for the main process and says how it ended; nothing if the supervisor was lost. Can be dropped and called again.
    pub(crate) async fn exited(&mut self) -> Option<Exit> {
        let line = self.status.next_line().await.ok().flatten()?;
        let (kind, number) = line.strip_prefix("exited ")?.split_once(' ')?;
        let number = number.parse().ok()?;
        match kind {
            "code" => Some(Exit::Code(number)),
            "signal" => Some(Exit::Signal(number)),
            _ => None,
        }
    }

    /// Ends whatever still runs and waits until it is gone. Returns whether all is gone for certain.
    pub(crate) async fn end(mut self) -> bool {
        let _ = self.control.shutdown().await;
        let limit = self.kill_grace + KILL_LIMIT;
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        if matches!(ended, Ok(Ok(status)) if status.success()) {
            return true;
        }
        // Somebody killed the supervisor, or it meets processes that it cannot kill.
        self.mark.kill_all().await;
        false
    }
}
