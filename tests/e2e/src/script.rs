//! A server that says what an emulator never does: throttling, faults, silence, half an answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// The status that stands for no answer at all: the connection stays open.
pub const SILENCE: u16 = 0;

/// Answers requests with JSON in the order of a script, the last answer for ever, and keeps what it was asked. It ends with the
/// process.
#[derive(Debug)]
pub struct Script {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    /// Starts with these answers: status and body, at least one.
    ///
    /// # Panics
    /// If no port is free.
    pub fn start(answers: &[(u16, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine is free");
        let address = listener.local_addr().expect("a listener has an address");
        let answers: Vec<(u16, String)> = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for mut stream in listener.incoming().flatten() {
                let Some(request) = read_request(&mut stream) else { continue };
                let (status, body) = {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push(request);
                    answers[(kept.len() - 1).min(answers.len() - 1)].clone()
                };
                if status == SILENCE {
                    silent.push(stream);
                    continue;
                }
                let head = format!("HTTP/1.1 {status} Scripted\r\ncontent-type: application/x-amz-json-1.0\r\n");
                let end = format!("content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                // A client that went away has its own test to fail.
                let _ = stream.write_all((head + &end).as_bytes());
            }
        });
        Self { address, asked }
    }

    /// Where it answers.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bodies of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The body of one request; none where it ends early.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(body.to_owned());
            }
        }
        let count = stream.read(&mut part).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&part[..count]);
    }
}

/// Settings for SDK clients of an endpoint in `eu-west-1`. Retries do not wait, and half a second of silence is too long.
pub async fn settings(endpoint: &str) -> aws_config::SdkConfig {
    use std::time::Duration;
    let retries = aws_config::retry::RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let timeouts = aws_config::timeout::TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(500));
    aws_config::defaults(aws_config::BehaviorVersion::v2026_01_12())
        .endpoint_url(endpoint)
        .region(aws_config::Region::new("eu-west-1"))
        .credentials_provider(aws_credential_types::Credentials::new("a", "b", None, None, "script"))
        .retry_config(retries)
        .timeout_config(timeouts.build())
        .load()
        .await
}
