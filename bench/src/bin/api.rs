//! The REST API of the standalone server over one connection, and how many requests a second it answers over several.
//!
//! ```sh
//! cargo build --release -p updraft --no-default-features
//! cargo run --release -p updraft-bench --bin api
//! ```
//!
//! Starts `updraft standalone` from the folder of this program, with a home and DAGs of its own below the working folder (or the one named
//! as the first argument): 50 DAGs, one of them with 500 tasks and a run that has ended, one with 50 runs. Client and server share the machine.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use updraft_bench::{Figures, machine, table};

type Failure = Box<dyn std::error::Error>;

/// How often each request is made over one connection.
const REQUESTS: usize = 500;

/// How many connections ask at once where requests a second are counted, and for how long.
const CONNECTIONS: usize = 8;
const COUNTED_FOR: Duration = Duration::from_secs(5);

const EMPTY: &str = "operator: airflow.providers.standard.operators.empty.EmptyOperator";

fn main() -> ExitCode {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    match measure(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A server that is killed when it is let go of.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(home: &Path, dags: &Path) -> Result<Self, Failure> {
        let program = std::env::current_exe()?.with_file_name("updraft");
        let log = home.join("server.log");
        let child = Command::new(&program)
            .args(["standalone", "--no-auth", "--port", "0", "--dags"])
            .arg(dags)
            .arg("--home")
            .arg(home)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .map_err(|error| format!("`{}`: {error}; build it first", program.display()))?;
        let mut server = Self { child, address: String::new() };
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_mins(2) {
            let said = std::fs::read_to_string(&log)?;
            if let Some((_, rest)) = said.split_once("ready: http://") {
                rest.split_whitespace().next().unwrap_or_default().clone_into(&mut server.address);
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("the server did not get ready:\n{}", std::fs::read_to_string(&log)?).into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is kept of it, so it need not end in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that is kept.
struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    fn open(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), host: address.to_owned() })
    }

    /// Asks, and reads the answer to its end.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<String, Failure> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut status = String::new();
        self.stream.read_line(&mut status)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        let answer = String::from_utf8(answer)?;
        if status.contains(" 200 ") { Ok(answer) } else { Err(format!("{method} {path}: {status}{answer}").into()) }
    }
}

fn write_dags(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    for dag in 0..50 {
        let tasks = if dag == 0 { 500 } else { 5 };
        let mut text = format!(
            "d{dag:02}:\n  schedule: \"0 {} * * *\"\n  start_date: 2026-01-01\n  catchup: false\n  tags: [bench]\n  tasks:\n",
            dag % 24
        );
        for task in 0..tasks {
            let _ = write!(text, "    t{task:03}:\n      {EMPTY}\n");
        }
        std::fs::write(folder.join(format!("d{dag:02}.yaml")), text)?;
    }
    Ok(())
}

/// Triggers runs and waits for their end.
fn run_all(connection: &mut Connection) -> Result<(), Failure> {
    let body = |n: usize| format!("{{\"logical_date\": null, \"dag_run_id\": \"r{n}\"}}");
    connection.ask("POST", "/api/v2/dags/d00/dagRuns", &body(0))?;
    for n in 0..50 {
        connection.ask("POST", "/api/v2/dags/d01/dagRuns", &body(n))?;
    }
    let begun = Instant::now();
    for path in [
        "/api/v2/dags/d00/dagRuns?state=success&run_type=manual",
        "/api/v2/dags/d01/dagRuns?state=success&run_type=manual",
    ] {
        let wanted = if path.contains("d00") { "\"total_entries\":1," } else { "\"total_entries\":50," };
        while !connection.ask("GET", path, "")?.contains(wanted) {
            if begun.elapsed() > Duration::from_mins(5) {
                return Err("the runs did not end within five minutes".into());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    Ok(())
}

/// Milliseconds of each of many rounds of requests over one connection.
fn latencies(connection: &mut Connection, paths: &[String]) -> Result<Figures, Failure> {
    let mut taken = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        for path in paths {
            connection.ask("GET", path, "")?;
        }
        taken.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(Figures::new(taken))
}

/// Requests a second over several connections at once.
fn rate(address: &str, path: &'static str) -> Result<f64, Failure> {
    let end = Instant::now() + COUNTED_FOR;
    let one = |address: String| {
        move || -> Result<usize, String> {
            let mut connection = Connection::open(&address).map_err(|error| error.to_string())?;
            let mut count = 0;
            while Instant::now() < end {
                connection.ask("GET", path, "").map_err(|error| error.to_string())?;
                count += 1;
            }
            Ok(count)
        }
    };
    let asking: Vec<_> = (0..CONNECTIONS).map(|_| std::thread::spawn(one(address.to_owned()))).collect();
    let mut all = 0;
    for thread in asking {
        all += thread.join().map_err(|_| "a thread that asked panicked")??;
    }
    Ok(all as f64 / COUNTED_FOR.as_secs_f64())
}

fn measure(folder: &Path) -> Result<(), Failure> {
    let machine = machine();
    let place = tempfile::tempdir_in(folder)?;
    let (home, dags) = (place.path().join("home"), place.path().join("dags"));
    write_dags(&dags)?;
    std::fs::create_dir_all(&home)?;
    let server = Server::start(&home, &dags)?;
    let mut connection = Connection::open(&server.address)?;
    run_all(&mut connection)?;
    let mut rows = Vec::new();
    let instances = "/api/v2/dags/d00/dagRuns/r0/taskInstances?limit=100";
    // As in Airflow, a page has 100 entries at most.
    let pages: Vec<String> = (0..5).map(|page| format!("{instances}&offset={}", page * 100)).collect();
    for (what, path) in [
        ("version", "/api/v2/version"),
        ("50 DAGs", "/api/v2/dags?limit=50"),
        ("50 runs", "/api/v2/dags/d01/dagRuns?limit=50"),
        ("50 runs, the latest first", "/api/v2/dags/d01/dagRuns?limit=50&order_by=-run_after"),
        ("100 of 500 task instances", instances),
    ] {
        rows.push((what, latencies(&mut connection, &[path.to_owned()])?.line()));
    }
    rows.push(("500 task instances, in five pages", latencies(&mut connection, &pages)?.line()));
    let per_second = rate(&server.address, "/api/v2/dags?limit=50")?;
    rows.push(("50 DAGs, eight connections", format!("{per_second:.0} requests a second")));
    table(&format!("REST API on {machine}, in {}", folder.display()), &rows);
    Ok(())
}
