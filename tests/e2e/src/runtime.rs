//! Lambda's runtime API on this machine: hands events to a function's process, one after the other, and keeps its answers.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

/// A function's process that a runtime API of its own feeds. It ends with this.
#[derive(Debug)]
pub struct Function {
    process: Child,
    events: Sender<String>,
    answers: Receiver<Answer>,
    polled: Receiver<Instant>,
    lines: Receiver<String>,
    begun: Instant,
}

/// What a function answered: the last part of the path it posted to (`response` or `error`), and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `response` or `error`.
    pub kind: String,
    /// What it said, as JSON.
    pub body: String,
}

impl Function {
    /// Starts a binary as Lambda does: with these arguments, and Lambda's variables besides these.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(binary: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine is free");
        let address = listener.local_addr().expect("a listener has an address");
        let (events, waiting) = channel();
        let (answered, answers) = channel();
        let (polls, polled) = channel();
        std::thread::spawn(move || serve(&listener, &waiting, &answered, &polls));
        let begun = Instant::now();
        let mut process = command(binary, address, arguments, variables).spawn().expect("the binary can be started");
        let printed = BufReader::new(process.stdout.take().expect("its stdout is piped"));
        let (says, lines) = channel();
        // Read to the end, or the function would stand still once the pipe is full.
        std::thread::spawn(move || printed.lines().map_while(Result::ok).try_for_each(|line| says.send(line)));
        Self { process, events, answers, polled, lines, begun }
    }

    /// How long after its start it first asked for an event.
    ///
    /// # Panics
    /// If it has not within ten seconds.
    pub fn first_poll(&self) -> Duration {
        let polled = self.polled.recv_timeout(Duration::from_secs(10)).expect("it asks for an event");
        polled.duration_since(self.begun)
    }

    /// The next line of its log that has this in it.
    ///
    /// # Panics
    /// If there is none within ten seconds.
    pub fn line_with(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(10));
            let line = line.unwrap_or_else(|_| panic!("no line of the log has `{part}` in it"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The largest part of the machine's memory that it has held so far, in KiB.
    ///
    /// # Panics
    /// If the kernel does not say.
    pub fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
    }

    /// Hands it an event and waits for its answer.
    ///
    /// # Panics
    /// If it gives none within 30 seconds.
    pub fn invoke(&self, event: &Value) -> Answer {
        self.events.send(event.to_string()).expect("the runtime API runs");
        self.answers.recv_timeout(Duration::from_secs(30)).expect("it answers")
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The command of a function's process, with the variables that Lambda gives to all.
fn command(binary: &Path, address: SocketAddr, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).env_clear().env("PATH", path);
    command.envs([
        ("AWS_LAMBDA_RUNTIME_API", address.to_string().as_str()),
        ("AWS_LAMBDA_FUNCTION_NAME", "function"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "group"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("UPDRAFT_TABLE", "table"),
        ("UPDRAFT_BUCKET", "bucket"),
        ("UPDRAFT_TASK_QUEUE_URL", "http://127.0.0.1:1/tasks"),
        ("UPDRAFT_SCHEDULER_QUEUE_URL", "http://127.0.0.1:1/looks"),
    ]);
    command.envs(variables.iter().copied());
    command
}

fn serve(listener: &TcpListener, events: &Receiver<String>, answers: &Sender<Answer>, polls: &Sender<Instant>) {
    for stream in listener.incoming().flatten() {
        // A connection is kept open: the runtime asks and answers over one, mostly.
        let Ok(mut writer) = stream.try_clone() else { continue };
        let mut reader = BufReader::new(stream);
        while let Some((path, body)) = request(&mut reader) {
            let sent = if path.ends_with("/invocation/next") {
                let _ = polls.send(Instant::now());
                let Ok(event) = events.recv() else { return };
                respond(&mut writer, "200 OK", &event)
            } else {
                let kind = path.rsplit('/').next().unwrap_or_default().to_owned();
                let _ = answers.send(Answer { kind, body });
                respond(&mut writer, "202 Accepted", "{}")
            };
            if sent.is_err() {
                break;
            }
        }
    }
}

/// The path and the body of the next request; none where the connection has ended.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let path = first.split(' ').nth(1)?.to_owned();
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let lower = line.trim().to_lowercase();
        if lower.is_empty() {
            break;
        }
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        chunked |= lower.starts_with("transfer-encoding:") && lower.ends_with("chunked");
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut part = vec![0; size + 2];
            reader.read_exact(&mut part).ok()?;
            body.extend_from_slice(&part[..size]);
            if size == 0 {
                break;
            }
        }
    } else {
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
    }
    Some((path, String::from_utf8_lossy(&body).into_owned()))
}

fn respond(stream: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let deadline = SystemTime::now() + Duration::from_mins(15);
    let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nlambda-runtime-aws-request-id: 1\r\n\
         lambda-runtime-deadline-ms: {deadline}\r\nlambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:1:function:f\r\n\
         lambda-runtime-trace-id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes())
}
