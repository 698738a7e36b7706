//! What the server sends to a supervisor: attempts to start, each with its descriptors, and the word to end them.
//!
//! A start is `S`, the length of what follows (4 bytes, least significant first), and fields with their lengths before them; the log and, if
//! there is one, the channel come as descriptors with the first byte. An end is `E`. The end of the stream ends everything.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

const START: u8 = b'S';
/// The word to end the attempt.
pub(crate) const END: u8 = b'E';
/// The log and the channel.
const DESCRIPTORS_MAX: usize = 2;

/// An attempt to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// How long the task may take to end when it is asked to.
    pub(crate) kill_grace: Duration,
    pub(crate) call: Call,
}

/// How the task's process comes to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A program of its own.
    Exec { program: PathBuf, args: Vec<OsString>, env: Vec<(OsString, OsString)>, cwd: PathBuf },
    /// A fork of the supervisor's Python, told by this line of JSON what to become.
    Fork(String),
}

/// What a supervisor is told.
#[derive(Debug)]
pub(crate) enum Order {
    Start(Request, Vec<OwnedFd>),
    End,
}

impl Request {
    /// All that is sent of a start, besides its descriptors.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut field = |bytes: &[u8]| {
            body.extend((bytes.len() as u32).to_le_bytes());
            body.extend(bytes);
        };
        field(self.kill_grace.as_millis().to_string().as_bytes());
        match &self.call {
            Call::Fork(line) => field(line.as_bytes()),
            Call::Exec { program, args, env, cwd } => {
                field(program.as_os_str().as_bytes());
                field(cwd.as_os_str().as_bytes());
                field(args.len().to_string().as_bytes());
                for arg in args {
                    field(arg.as_bytes());
                }
                for (name, value) in env {
                    field(name.as_bytes());
                    field(value.as_bytes());
                }
            }
        }
        let mut message = vec![START];
        message.extend((body.len() as u32).to_le_bytes());
        message.extend(body);
        message
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut fields = Vec::new();
        let mut rest = body;
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (field, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            fields.push(field);
            rest = after;
        }
        let text = |field: &[u8]| String::from_utf8(field.to_vec()).ok();
        let os = |field: &&[u8]| OsString::from_vec(field.to_vec());
        let (grace, fields) = fields.split_first()?;
        let kill_grace = Duration::from_millis(text(grace)?.parse().ok()?);
        let call = match fields {
            [line] => Call::Fork(text(line)?),
            [program, cwd, count, rest @ ..] => {
                let (args, env) = rest.split_at_checked(text(count)?.parse().ok()?)?;
                let (pairs, []) = env.as_chunks::<2>() else { return None };
                Call::Exec {
                    program: os(program).into(),
                    cwd: os(cwd).into(),
                    args: args.iter().map(os).collect(),
                    env: pairs.iter().map(|[name, value]| (os(name), os(value))).collect(),
                }
            }
            _ => return None,
        };
        Some(Self { kill_grace, call })
    }
}

/// Sends the beginning of a message with descriptors; how much of it was sent.
pub(crate) fn send(to: impl AsFd, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(to, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(sent)
}

/// The next order; nothing at the end of the stream.
pub(crate) fn receive(from: &mut UnixStream) -> io::Result<Option<Order>> {
    let mut first = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(&*from, &mut [IoSliceMut::new(&mut first)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            received => break received?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if first[0] == END {
        return Ok(Some(Order::End));
    }
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut body = Vec::new();
    from.take(u32::from_le_bytes(length).into()).read_to_end(&mut body)?;
    let request = Request::decode(&body).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some(Order::Start(request, descriptors)))
}

/// Whether no process can be given this text: it contains a NUL.
pub(crate) fn has_nul(text: &OsStr) -> bool {
    text.as_bytes().contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_arrive_as_they_were_sent() {
        let odd = OsString::from_vec(vec![b'a', 0xff, b'\n']);
        let exec = |args: Vec<OsString>, env| Call::Exec { program: "/p".into(), args, env, cwd: "/c".into() };
        let calls = [
            Call::Fork("{}".to_owned()),
            exec(Vec::new(), Vec::new()),
            exec(vec![odd.clone(), OsString::new()], vec![(odd.clone(), odd), ("B".into(), "".into())]),
        ];
        for call in calls {
            let request = Request { kill_grace: Duration::from_millis(1234), call };
            let (ours, mut theirs) = UnixStream::pair().expect("a pair");
            let file = std::fs::File::open("/dev/null").expect("it is there");
            let message = request.encode();
            let sent = send(&ours, &message, &[file.as_fd(), ours.as_fd()]).expect("sent");
            assert_eq!(sent, message.len());
            send(&ours, &[END], &[]).expect("sent");
            drop(ours);
            let Some(Order::Start(received, descriptors)) = receive(&mut theirs).expect("received") else {
                panic!("no start")
            };
            assert_eq!((received, descriptors.len()), (request, 2));
            drop(descriptors);
            assert!(matches!(receive(&mut theirs), Ok(Some(Order::End))));
            assert!(matches!(receive(&mut theirs), Ok(None)));
        }
    }
}
