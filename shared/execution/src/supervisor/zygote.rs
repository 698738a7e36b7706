//! The Python that a supervisor keeps warm: it has imported what callables usually need, and forks once per attempt.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use rustix::process::{Pid, Signal};

use super::Event;
use crate::wire;

/// The module that it runs.
const MODULE: &str = "updraft_zygote";

/// A running Python that waits for attempts.
pub(super) struct Zygote {
    pub(super) pid: Pid,
    socket: UnixStream,
}

impl Zygote {
    /// Starts `python` with our modules from `folder`. What it says arrives as events.
    pub(super) fn start(python: &OsString, folder: &OsString, events: &Sender<Event>) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(python);
        // The entry for the current directory makes room for our modules, which leave again once they are imported.
        command.arg("-c").arg(format!("import sys; sys.path[0] = sys.argv[1]; import {MODULE}; {MODULE}.main()"));
        command.arg(folder).stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let child = command.spawn()?;
        drop(command);
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
        let said = BufReader::new(ours.try_clone()?);
        let events = events.clone();
        thread::Builder::new().spawn(move || {
            for line in said.lines() {
                let Ok(line) = line else { break };
                if events.send(Event::ZygoteSaid(line)).is_err() {
                    return;
                }
            }
            let _ = events.send(Event::ZygoteGone);
        })?;
        Ok(Self { pid, socket: ours })
    }

    /// Has it fork; its answer is an event.
    pub(super) fn fork(&mut self, line: &str, descriptors: &[OwnedFd]) -> io::Result<()> {
        let message = format!("{line}\n");
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let sent = wire::send(&self.socket, message.as_bytes(), &descriptors)?;
        self.socket.write_all(&message.as_bytes()[sent..])
    }

    /// Its children become the supervisor's.
    pub(super) fn kill(&self) {
        let _ = rustix::process::kill_process(self.pid, Signal::KILL);
    }
}
