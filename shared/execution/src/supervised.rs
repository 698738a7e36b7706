//! The server's side of a supervisor: starting one, giving it attempts, hearing what it says, letting it go.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};

use crate::launcher::Launcher;
use crate::leftovers::Mark;
use crate::supervisor::SUPERVISE;
use crate::wire::{self, Call, Request};

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
    /// How a warm Python does the same, if one may.
    pub(crate) warm: Option<WarmPython>,
}

/// What a supervisor with a Python below it needs.
#[derive(Clone, Debug)]
pub(crate) struct WarmPython {
    pub(crate) interpreter: PathBuf,
    /// Where our modules lie.
    pub(crate) folder: PathBuf,
    /// The environment that every attempt has.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// What this one has to become, as a line of JSON.
    pub(crate) line: String,
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

/// A supervisor process. Dropping it closes its control socket, and with that ends it and whatever is below it.
#[derive(Debug)]
pub(crate) struct Supervisor {
    child: Child,
    mark: Mark,
    status: Lines<BufReader<OwnedReadHalf>>,
    control: OwnedWriteHalf,
    /// Whether it has a Python that forks.
    pub(crate) python: bool,
    /// When it was started.
    pub(crate) since: Instant,
}

/// A supervisor that has an attempt. Dropping it ends the attempt.
#[derive(Debug)]
pub(crate) struct Supervised {
    supervisor: Supervisor,
    launcher: Launcher,
    kill_grace: Duration,
}

/// A started attempt: its supervisor, its output, and its channel if it asked for one.
pub(crate) struct Running {
    pub(crate) supervised: Supervised,
    pub(crate) log: pipe::Receiver,
    pub(crate) channel: Option<UnixStream>,
}

/// How a start failed.
enum Failed {
    /// For good.
    Start(StartError),
    /// The supervisor was interrupted from outside: worth another go.
    Interrupted(String),
}

impl Running {
    /// Gives the attempt to a supervisor and waits until it has started the task.
    pub(crate) async fn start(launcher: &Launcher, process: &ProcessSpec) -> Result<Self, StartError> {
        if let Some(warm) = &process.warm
            && launcher.may_fork()
        {
            match try_start(launcher, process, Some(warm)).await {
                Ok(running) => {
                    launcher.forked(true);
                    return Ok(running);
                }
                // Nothing of the task has run; a Python of its own does as well, or says better why it cannot.
                Err(_) => launcher.forked(false),
            }
        }
        match try_start(launcher, process, None).await {
            Ok(running) => Ok(running),
            Err(Failed::Start(error)) => Err(error),
            // Ctrl-C reached the supervisor before it left the terminal's session. The server drains; the task need not fail for that.
            Err(Failed::Interrupted(_)) => match try_start(launcher, process, None).await {
                Ok(running) => Ok(running),
                Err(Failed::Start(error)) => Err(error),
                Err(Failed::Interrupted(how)) => Err(silent(launcher, how)),
            },
        }
    }
}

fn silent(launcher: &Launcher, how: String) -> StartError {
    StartError::Silent { program: launcher.program().display().to_string(), how }
}

async fn try_start(launcher: &Launcher, process: &ProcessSpec, warm: Option<&WarmPython>) -> Result<Running, Failed> {
    let failed =
        |source| Failed::Start(StartError::Supervisor { program: launcher.program().display().to_string(), source });
    check(process).map_err(Failed::Start)?;
    let mut supervisor = match launcher.pool().take(warm.is_some()) {
        Some(supervisor) => supervisor,
        None => Supervisor::start(launcher, warm).map_err(failed)?,
    };
    let (log, theirs) = io::pipe().map_err(failed)?;
    let log = pipe::Receiver::from_owned_fd(log.into()).map_err(failed)?;
    let mut descriptors = vec![OwnedFd::from(theirs)];
    let mut channel = None;
    if process.channel {
        let (ours, theirs) = StdUnixStream::pair().map_err(failed)?;
        descriptors.push(theirs.into());
        channel = Some(into_tokio(ours).map_err(failed)?);
    }
    let asked = supervisor.ask(&request(process, warm, &supervisor.mark), descriptors).await;
    let first = match asked {
        Ok(()) => tokio::time::timeout(START_LIMIT, supervisor.status.next_line()).await,
        Err(_) => Ok(Ok(None)),
    };
    let Ok(Ok(Some(line))) = first else {
        return Err(supervisor.lost(launcher, first.is_err()).await);
    };
    if let Some(message) = line.strip_prefix("error ") {
        if warm.is_none() {
            supervisor.rest(launcher).await;
        }
        return Err(Failed::Start(StartError::Task(message.to_owned())));
    }
    if line != "started" {
        return Err(Failed::Start(silent(launcher, format!("said `{line}`"))));
    }
    let supervised = Supervised { supervisor, launcher: launcher.clone(), kill_grace: process.kill_grace };
    Ok(Running { supervised, log, channel })
}

/// What no process can be given.
fn check(process: &ProcessSpec) -> Result<(), StartError> {
    let texts = process.env.iter().flat_map(|(name, value)| [name, value]).chain(&process.args);
    if texts.map(OsString::as_os_str).chain([process.cwd.as_os_str()]).any(wire::has_nul) {
        let message =
            "the task's command or environment contains a NUL character, which no process can be given; remove it";
        return Err(StartError::Task(message.to_owned()));
    }
    Ok(())
}

fn request(process: &ProcessSpec, warm: Option<&WarmPython>, mark: &Mark) -> Request {
    let call = if let Some(warm) = warm {
        Call::Fork(warm.line.clone())
    } else {
        let mut env = process.env.clone();
        env.push(mark.variable());
        Call::Exec { program: process.program.clone(), args: process.args.clone(), env, cwd: process.cwd.clone() }
    };
    Request { kill_grace: process.kill_grace, call }
}

fn into_tokio(stream: StdUnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

impl Supervisor {
    fn start(launcher: &Launcher, warm: Option<&WarmPython>) -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let mark = Mark::new();
        let mut command = Command::new(launcher.program());
        // The name that `ps` shows, also when the program is `/proc/self/exe`.
        command.arg0("updraft").arg(SUPERVISE).env_clear();
        if let Some(warm) = warm {
            command.arg(&warm.interpreter).arg(&warm.folder);
            command.envs(warm.env.iter().map(|(name, value)| (name as &OsStr, value as &OsStr)));
        }
        command.envs([mark.variable()]).current_dir("/");
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        let (status, control) = into_tokio(ours)?.into_split();
        let status = BufReader::new(status).lines();
        let child = command.spawn()?;
        Ok(Self { child, mark, status, control, python: warm.is_some(), since: Instant::now() })
    }

    /// Whether its end of the socket is open. It says nothing unasked, so there is nothing to read if it is.
    pub(crate) fn is_alive(&self) -> bool {
        let mut byte = [0];
        let stream: &UnixStream = self.control.as_ref();
        matches!(stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn ask(&mut self, request: &Request, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let message = request.encode();
        let stream: &UnixStream = self.control.as_ref();
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let sent = stream.async_io(Interest::WRITABLE, || wire::send(stream, &message, &borrowed)).await?;
        drop(descriptors);
        self.control.write_all(&message[sent..]).await
    }

    /// What there is to say of one that has not said what it should, once it and whatever it may have started is gone.
    async fn lost(mut self, launcher: &Launcher, in_silence: bool) -> Failed {
        let _ = self.child.start_kill();
        let ended = self.child.wait().await;
        // It may have started the task and been killed before it said so.
        self.mark.kill_all().await;
        let ended = match ended {
            Ok(ended) => ended,
            Err(source) => {
                let program = launcher.program().display().to_string();
                return Failed::Start(StartError::Supervisor { program, source });
            }
        };
        if in_silence {
            return Failed::Start(silent(launcher, "said nothing for a minute".to_owned()));
        }
        let interrupted = [Signal::INT, Signal::HUP, Signal::QUIT].map(|signal| Some(signal.as_raw()));
        let how = format!("ended ({ended})");
        if interrupted.contains(&ended.signal()) {
            Failed::Interrupted(how)
        } else {
            Failed::Start(silent(launcher, how))
        }
    }

    /// Waits for the next attempt, or ends where none is to be waited for.
    async fn rest(self, launcher: &Launcher) {
        if launcher.keeps() {
            launcher.pool().put(self);
        } else {
            self.end().await;
        }
    }

    /// Ends it and waits until it is gone.
    pub(crate) async fn end(mut self) {
        let _ = self.control.shutdown().await;
        let _ = tokio::time::timeout(KILL_LIMIT, self.child.wait()).await;
    }
}

impl Supervised {
    /// Waits for the main process and says how it ended; nothing if the supervisor was lost. Can be dropped and called again.
    pub(crate) async fn exited(&mut self) -> Option<Exit> {
        let line = self.supervisor.status.next_line().await.ok().flatten()?;
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
        let _ = self.supervisor.control.write_all(&[wire::END]).await;
        let gone = async {
            loop {
                match self.supervisor.status.next_line().await {
                    Ok(Some(line)) if line == "gone" => return true,
                    // The main process ended after all.
                    Ok(Some(line)) if line.starts_with("exited ") => {}
                    Ok(_) | Err(_) => return false,
                }
            }
        };
        let gone = tokio::time::timeout(self.kill_grace + KILL_LIMIT, gone).await;
        if gone == Ok(true) {
            self.supervisor.rest(&self.launcher).await;
            return true;
        }
        // Somebody killed the supervisor, or it meets processes that it cannot kill.
        let Supervisor { child, mark, status, control, .. } = self.supervisor;
        drop((child, status, control));
        mark.kill_all().await;
        false
    }
}
