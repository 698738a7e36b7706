//! A deployment of the built binaries in the emulator, and what people do to one: upload files, type commands, look.

use crate::emulator::{Binaries, Emulator};
use crate::repository;
use aws_sdk_s3::primitives::ByteStream;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// What makes the binaries under test.
const BUILD: &str = "cargo build --workspace --all-targets";

/// Seconds of one worker invocation: the shortest that the template has, so that leases of killed workers end soon.
pub const WORKER_TIMEOUT: &str = "30";

/// A deployed stack.
#[derive(Debug)]
pub struct Cloud {
    emulator: &'static Emulator,
    outputs: BTreeMap<String, String>,
    updraft: PathBuf,
    s3: aws_sdk_s3::Client,
    sqs: aws_sdk_sqs::Client,
    runtime: Runtime,
}

/// What a command left.
#[derive(Debug)]
pub struct Answer {
    /// Its exit status.
    pub code: i32,
    /// Its data.
    pub stdout: String,
    /// Everything else it said.
    pub stderr: String,
}

impl Cloud {
    /// The deployment that the tests of this process share, made on first use.
    ///
    /// # Panics
    /// If a binary is missing, or the stack does not come up.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cloud> = OnceLock::new();
        SHARED.get_or_init(|| Self::deploy(&[]))
    }

    /// A deployment with these parameters, for a test that must not share it.
    ///
    /// # Panics
    /// If a binary is missing, or the stack does not come up.
    pub fn deploy(parameters: &[(&str, &str)]) -> Self {
        let (scheduler, worker) = (built("updraft-scheduler-function"), built("updraft-worker-function"));
        let (updraft, api) = (built("updraft"), built("updraft-api-function"));
        let emulator = Emulator::shared();
        // A name of its own, since an emulator that was there before may have the stack of an earlier run.
        let stack = format!("e2e-{}", std::process::id());
        let binaries = Binaries { scheduler: &scheduler, worker: &worker, api: &api };
        let parameters = [&[("WorkerTimeout", WORKER_TIMEOUT)], parameters].concat();
        let outputs = emulator.deploy(&stack, binaries, &parameters);
        let runtime = Runtime::new().expect("threads can be started");
        let settings = runtime.block_on(emulator.settings());
        let s3 = aws_sdk_s3::config::Builder::from(&settings).force_path_style(true).build();
        let s3 = aws_sdk_s3::Client::from_conf(s3);
        let sqs = aws_sdk_sqs::Client::new(&settings);
        Self { emulator, outputs, updraft, s3, sqs, runtime }
    }

    /// Puts a file into the bucket's DAG folder.
    ///
    /// # Panics
    /// If the bucket does not take it.
    pub fn upload(&self, path: &str, text: &str) {
        let request = self.s3.put_object().bucket(&self.outputs["BucketName"]).key(format!("dags/{path}"));
        let sent = self.runtime.block_on(request.body(ByteStream::from(text.as_bytes().to_vec())).send());
        sent.unwrap_or_else(|error| panic!("`{path}` was not uploaded: {error:?}"));
    }

    /// An output of the stack.
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn output(&self, name: &str) -> &str {
        self.outputs.get(name).unwrap_or_else(|| panic!("the stack has no output `{name}`"))
    }

    /// What SDK clients need in order to reach the deployment's AWS.
    pub fn settings(&self) -> aws_config::SdkConfig {
        self.runtime.block_on(self.emulator.settings())
    }

    /// Waits for a request of a client of the caller's own.
    pub fn block_on<T>(&self, request: impl Future<Output = T>) -> T {
        self.runtime.block_on(request)
    }

    /// Takes the bucket's notifications away: of what is uploaded from now on nobody is told.
    ///
    /// # Panics
    /// If the bucket refuses.
    pub fn lose_notifications(&self) {
        let none = aws_sdk_s3::types::NotificationConfiguration::builder().build();
        let request = self.s3.put_bucket_notification_configuration().bucket(self.output("BucketName"));
        let done = self.runtime.block_on(request.notification_configuration(none).send());
        done.unwrap_or_else(|error| panic!("the notifications stay: {error:?}"));
    }

    /// Lets a queue give what was not done with again after three seconds, where people would have to wait for minutes.
    ///
    /// # Panics
    /// If the queue refuses.
    pub fn hurry(&self, queue: &str) {
        let visibility = aws_sdk_sqs::types::QueueAttributeName::VisibilityTimeout;
        let request = self.sqs.set_queue_attributes().queue_url(self.output(queue)).attributes(visibility, "3");
        let done = self.runtime.block_on(request.send());
        done.unwrap_or_else(|error| panic!("`{queue}` keeps its visibility timeout: {error:?}"));
    }

    /// How many messages lie in a queue.
    ///
    /// # Panics
    /// If the queue does not say.
    pub fn messages_in(&self, queue: &str) -> u32 {
        let name = aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessages;
        let request = self.sqs.get_queue_attributes().queue_url(self.output(queue)).attribute_names(name.clone());
        let answer = self.runtime.block_on(request.send());
        let answer = answer.unwrap_or_else(|error| panic!("`{queue}` says nothing: {error:?}"));
        let count = answer.attributes.and_then(|all| all.get(&name)?.parse().ok());
        count.unwrap_or_else(|| panic!("`{queue}` does not say how many messages it has"))
    }

    /// Sends any text to a queue, named by its output.
    ///
    /// # Panics
    /// If the queue does not take it.
    pub fn send(&self, queue: &str, body: &str) {
        let request = self.sqs.send_message().queue_url(&self.outputs[queue]).message_body(body);
        let sent = self.runtime.block_on(request.send());
        sent.unwrap_or_else(|error| panic!("`{body}` was not sent to `{queue}`: {error:?}"));
    }

    /// Calls a function, named by its output, with an event, and returns its answer; an error with what it reports where it fails.
    ///
    /// # Panics
    /// If it cannot be called.
    pub fn invoke(&self, function: &str, event: &Value) -> Result<Value, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let answer = std::env::temp_dir().join(format!("updraft-e2e-{}-answer-{number}", std::process::id()));
        // `infra/deploy` has made the venv, and a few calls are not worth another SDK crate.
        let output = Command::new(repository().join(".venv-emu/bin/aws"))
            .args(["lambda", "invoke", "--output", "json", "--function-name", &self.outputs[function]])
            .args(["--payload", &event.to_string()])
            .arg(&answer)
            .envs(self.emulator.variables())
            .output()
            .expect("the venv has the `aws` command");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = std::fs::read_to_string(&answer).expect("the command wrote the answer");
        // Only this call knows the file; one that stays takes no room worth a failure.
        let _ = std::fs::remove_file(&answer);
        let status: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        if !status["FunctionError"].is_null() {
            return Err(said);
        }
        Ok(serde_json::from_str(&said).unwrap_or_else(|error| panic!("the answer `{said}` is no JSON: {error}")))
    }

    /// What the `aws` command shows as JSON; `infra/deploy` has made the venv that has it.
    ///
    /// # Panics
    /// If it fails.
    pub fn aws(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new(repository().join(".venv-emu/bin/aws"));
        let output = command.args(arguments).args(["--output", "json"]).envs(self.emulator.variables()).output();
        let output = output.expect("the venv has the `aws` command");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Deploys the same binaries again, with other parameters.
    ///
    /// # Panics
    /// If the stack does not come up.
    pub fn upgrade(&self, parameters: &[(&str, &str)]) {
        let [scheduler, worker, api] =
            ["scheduler", "worker", "api"].map(|name| built(&format!("updraft-{name}-function")));
        let binaries = Binaries { scheduler: &scheduler, worker: &worker, api: &api };
        let parameters = [&[("WorkerTimeout", WORKER_TIMEOUT)], parameters].concat();
        self.emulator.deploy(&self.outputs["TableName"], binaries, &parameters);
    }

    /// Deploys with another scheduler, and nothing said of parameters.
    ///
    /// # Panics
    /// If the stack does not come up.
    pub fn deploy_scheduler(&mut self, scheduler: &Path) {
        let [worker, api] = ["worker", "api"].map(|name| built(&format!("updraft-{name}-function")));
        let binaries = Binaries { scheduler, worker: &worker, api: &api };
        self.outputs = self.emulator.deploy(&self.outputs["TableName"], binaries, &[]);
    }

    /// Deploys what the stack had before.
    ///
    /// # Errors
    /// What is said where that fails.
    pub fn roll_back(&mut self) -> Result<(), String> {
        self.outputs = self.emulator.roll_back(&self.outputs["TableName"])?;
        Ok(())
    }

    /// Runs the command line on the deployment's table.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn updraft(&self, arguments: &[&str]) -> Answer {
        let queues =
            ["TaskQueueUrl", "PythonQueueUrl", "SchedulerQueueUrl"].map(|output| self.outputs[output].as_str());
        self.run(arguments, queues)
    }

    /// The same, by somebody who does not know the queues: nobody is told of what it writes.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn without_queues(&self, arguments: &[&str]) -> Answer {
        self.run(arguments, [""; 3])
    }

    fn run(&self, arguments: &[&str], [tasks, python, looks]: [&str; 3]) -> Answer {
        let output = Command::new(&self.updraft)
            .args(arguments)
            .envs(self.emulator.variables())
            .env("UPDRAFT_METASTORE", format!("dynamodb://{}", self.outputs["TableName"]))
            .env("UPDRAFT_TASK_QUEUE_URL", tasks)
            .env("UPDRAFT_PYTHON_QUEUE_URL", python)
            .env("UPDRAFT_SCHEDULER_QUEUE_URL", looks)
            .output()
            .unwrap_or_else(|error| panic!("`{}` was not started: {error}", self.updraft.display()));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Answer { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What a command that is to succeed shows, as JSON.
    ///
    /// # Panics
    /// If it does not succeed; see [`Cloud::try_json`] for what may not be there yet.
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.try_json(arguments).unwrap_or_else(|why| panic!("{why}"))
    }

    /// What a command shows as JSON; an error with what it said where it fails.
    pub fn try_json(&self, arguments: &[&str]) -> Result<Value, String> {
        let answer = self.updraft(&[arguments, &["--output", "json"]].concat());
        match serde_json::from_str(&answer.stdout) {
            Ok(value) if answer.code == 0 => Ok(value),
            _ => Err(format!("`updraft {}` answered {answer:?}", arguments.join(" "))),
        }
    }

    /// Waits until a DAG is there.
    ///
    /// # Panics
    /// If it is not there in time.
    pub fn await_dag(&self, dag_id: &str) {
        eventually(&format!("the DAG `{dag_id}` is there"), Duration::from_secs(30), || {
            let listed = self.try_json(&["dags", "list"])?;
            rows(&listed).any(|row| row["dag_id"] == dag_id).then_some(()).ok_or_else(|| listed.to_string())
        });
    }

    /// Triggers a run and returns its id.
    ///
    /// # Panics
    /// If it is refused.
    pub fn trigger(&self, dag_id: &str, more: &[&str]) -> String {
        let shown = self.json(&[&["dags", "trigger", dag_id], more].concat());
        let run_id = rows(&shown).next().and_then(|row| row["dag_run_id"].as_str());
        run_id.unwrap_or_else(|| panic!("a triggered run has an id: {shown}")).to_owned()
    }

    /// Waits until a run has ended, and returns its row.
    ///
    /// # Panics
    /// If it has not in time.
    pub fn await_end(&self, dag_id: &str, run_id: &str, within: Duration) -> Value {
        eventually(&format!("the run `{run_id}` of `{dag_id}` ends"), within, || {
            let runs = self.try_json(&["dags", "list-runs", dag_id])?;
            let run = rows(&runs).find(|row| row["run_id"] == run_id);
            let ended = run.filter(|row| row["state"] == "success" || row["state"] == "failed");
            ended.cloned().ok_or_else(|| runs.to_string())
        })
    }

    /// The states of a run's task instances, by task.
    pub fn states(&self, dag_id: &str, run_id: &str) -> BTreeMap<String, String> {
        let shown = self.json(&["tasks", "states-for-dag-run", dag_id, run_id]);
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or("none").to_owned();
        rows(&shown).map(|row| (text(row, "task_id"), text(row, "state"))).collect()
    }

    /// The attempts of a task instance, with their logs, first to last.
    pub fn attempts(&self, dag_id: &str, run_id: &str, task_id: &str) -> Vec<Value> {
        rows(&self.json(&["tasks", "logs", dag_id, run_id, task_id])).cloned().collect()
    }

    /// What a task returned.
    pub fn xcom(&self, dag_id: &str, run_id: &str, task_id: &str) -> Value {
        self.json(&["xcom", "get", dag_id, run_id, task_id])
    }
}

/// The rows of a listing.
pub fn rows(listed: &Value) -> impl Iterator<Item = &Value> {
    listed.as_array().into_iter().flatten()
}

/// Looks again and again until there is something to see.
///
/// # Panics
/// If there is nothing in time, with what was seen last.
pub fn eventually<T>(what: &str, within: Duration, look: impl Fn() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        let last = match look() {
            Ok(found) => return found,
            Err(last) => last,
        };
        assert!(begun.elapsed() < within, "not within {} s: {what}; seen last: {last}", within.as_secs());
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// A binary of this workspace, from where this test itself was built to.
///
/// # Panics
/// If it was not built.
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a process has an executable");
    let folder = test.parent().and_then(Path::parent).expect("tests are built into `deps`");
    let binary = folder.join(name);
    assert!(binary.is_file(), "`{}` is not there; build it first, by `{BUILD}`", binary.display());
    binary
}

/// The text of an example in the repository's DAG folder.
///
/// # Panics
/// If there is no such file.
pub fn example(path: &str) -> String {
    let file = repository().join("dags").join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("`{}`: {error}", file.display()))
}
