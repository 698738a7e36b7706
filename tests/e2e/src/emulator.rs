//! An AWS to test against: the one that `AWS_ENDPOINT_URL` names, else one started for this process alone.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The variables that point an AWS client at the service under test.
const VARIABLES: [&str; 4] = ["AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

/// An AWS that answers. One that was started here ends with the process, however that ends: it watches a pipe.
#[derive(Debug)]
pub struct Emulator {
    variables: BTreeMap<String, String>,
    started: Option<Child>,
}

impl Emulator {
    /// The emulator of this process, started on first use and shared by its tests. Names are the tests' own business:
    /// two tests must not use one stack, table, queue or bucket.
    ///
    /// # Panics
    /// If none can be started; the reason is on stderr.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Emulator> = OnceLock::new();
        SHARED.get_or_init(|| Self::from_environment().unwrap_or_else(Self::start))
    }

    /// The service that the environment names, if it names one.
    fn from_environment() -> Option<Self> {
        std::env::var("AWS_ENDPOINT_URL").ok()?;
        let variables = VARIABLES.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
        Some(Self { variables: variables.collect(), started: None })
    }

    /// Starts one on a free port, for a test that must not share it.
    ///
    /// # Panics
    /// If it cannot be started; the reason is on stderr.
    pub fn start() -> Self {
        let mut process = Command::new(super::repository().join("localstack/start"))
            .args(["--port", "0", "--attach", "--runner", "process"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`localstack/start` can be started; it needs `python3` in the PATH");
        let printed = BufReader::new(process.stdout.take().expect("its stdout is piped"));
        let mut variables = BTreeMap::new();
        for line in printed.lines().map_while(Result::ok) {
            if let Some((name, value)) = line.strip_prefix("export ").and_then(|line| line.split_once('=')) {
                variables.insert(name.to_owned(), value.to_owned());
            }
            // The last one; the script stays, so its stdout does not end.
            if VARIABLES.iter().all(|name| variables.contains_key(*name)) {
                break;
            }
        }
        assert!(variables.contains_key("AWS_ENDPOINT_URL"), "`localstack/start` printed no endpoint; see its stderr");
        Self { variables, started: Some(process) }
    }

    /// Where it answers, as `AWS_ENDPOINT_URL` has it.
    pub fn endpoint(&self) -> &str {
        &self.variables["AWS_ENDPOINT_URL"]
    }

    /// The variables that a child process needs in order to reach it.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Settings for SDK clients that reach it. Nothing is sent for them.
    pub async fn settings(&self) -> aws_config::SdkConfig {
        let variable = |name: &str| self.variables.get(name).cloned().unwrap_or_default();
        let credentials = aws_credential_types::Credentials::new(
            variable("AWS_ACCESS_KEY_ID"),
            variable("AWS_SECRET_ACCESS_KEY"),
            None,
            None,
            "emulator",
        );
        aws_config::defaults(aws_config::BehaviorVersion::v2026_01_12())
            .endpoint_url(self.endpoint())
            .region(aws_config::Region::new(variable("AWS_REGION")))
            .credentials_provider(credentials)
            .load()
            .await
    }

    /// Deploys `infra/template.yaml` with these binaries and returns the stack's outputs.
    ///
    /// # Panics
    /// If the stack does not come up; the reason is on stderr.
    pub fn deploy(&self, stack: &str, binaries: Binaries<'_>, parameters: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut deploy = Command::new(super::repository().join("infra/deploy"));
        deploy.arg("--scheduler").arg(binaries.scheduler).arg("--worker").arg(binaries.worker);
        deploy.arg("--api").arg(binaries.api);
        deploy.args(parameters.iter().map(|(name, value)| format!("--parameter={name}={value}")));
        self.outputs(deploy, stack).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Deploys what a stack had before, and returns its outputs.
    ///
    /// # Errors
    /// What it says where it fails.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn roll_back(&self, stack: &str) -> Result<BTreeMap<String, String>, String> {
        let mut deploy = Command::new(super::repository().join("infra/deploy"));
        deploy.arg("--rollback");
        self.outputs(deploy, stack)
    }

    fn outputs(&self, mut deploy: Command, stack: &str) -> Result<BTreeMap<String, String>, String> {
        let answer = deploy.args(["--stack", stack]).envs(&self.variables).output();
        let answer = answer.expect("`infra/deploy` can be started; it needs `python3` in the PATH");
        // Whoever reads the test's output wants it; where it cannot be written there is nobody.
        let _ = std::io::stderr().write_all(&answer.stderr);
        let said = String::from_utf8_lossy(&answer.stderr);
        if !answer.status.success() {
            return Err(format!("`infra/deploy` failed, {}: {said}", answer.status));
        }
        Ok(serde_json::from_slice(&answer.stdout).expect("`infra/deploy` prints the outputs as JSON"))
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(mut process) = self.started.take() {
            // Closing the pipe is the request to stop, and waiting makes sure that the port is free again.
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }
}

/// The functions, as native executables.
#[derive(Debug, Clone, Copy)]
pub struct Binaries<'a> {
    /// Runs as the scheduler function.
    pub scheduler: &'a Path,
    /// Runs as the worker function.
    pub worker: &'a Path,
    /// Runs as the API function.
    pub api: &'a Path,
}
