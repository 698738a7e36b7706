//! The architecture, held by a test: which crate may use which, what pure crates do without, and how files look.
//!
//! Everything is read from the manifests and the sources, so nothing has to be fetched or built.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// What a crate is for, and with that, what it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Thinks: no clock, no randomness, no I/O, no async.
    Pure,
    /// A promise about the world outside, and its twin in one process.
    Port,
    /// A port's promise kept by something real.
    Adapter,
    /// A library over pure crates and ports.
    Library,
    /// A binary, which wires adapters to libraries.
    Entry,
    /// Only for tests.
    Test,
}

use Kind::{Adapter, Entry, Library, Port, Pure, Test};

/// Every crate with the crates it may use outside of its tests: the direction of `use` is the architecture.
const CRATES: &[(&str, Kind, &[&str])] = &[
    ("updraft-timetables", Pure, &[]),
    ("updraft-operators", Pure, &[]),
    ("updraft-model", Pure, &["updraft-operators", "updraft-timetables"]),
    ("updraft-dag-file", Pure, &["updraft-model", "updraft-timetables"]),
    ("updraft-scheduling", Pure, &["updraft-model", "updraft-timetables"]),
    ("updraft-templates", Pure, &["updraft-model", "updraft-timetables"]),
    ("updraft-clock", Port, &[]),
    ("updraft-metastore", Port, &["updraft-model", "updraft-timetables"]),
    ("updraft-task-queue", Port, &["updraft-model"]),
    ("updraft-dag-store", Port, &["updraft-model"]),
    ("updraft-log-store", Port, &["updraft-model"]),
    ("updraft-notify", Port, &[]),
    ("updraft-notify-sns", Adapter, &["updraft-notify"]),
    ("updraft-secrets", Port, &["updraft-metastore"]),
    ("updraft-secrets-aws", Adapter, &["updraft-secrets"]),
    ("updraft-metastore-embedded", Adapter, &["updraft-metastore", "updraft-model", "updraft-timetables"]),
    ("updraft-metastore-dynamodb", Adapter, &["updraft-metastore", "updraft-model", "updraft-timetables"]),
    ("updraft-task-queue-sqs", Adapter, &["updraft-model", "updraft-task-queue"]),
    ("updraft-dag-store-s3", Adapter, &["updraft-dag-store", "updraft-model"]),
    ("updraft-log-store-s3", Adapter, &["updraft-log-store", "updraft-model"]),
    ("updraft-execution", Library, &["updraft-model"]),
    // Its schema validator hashes with drawn seeds.
    ("updraft-params", Library, &["updraft-model"]),
    (
        "updraft-service",
        Library,
        &[
            "updraft-clock",
            "updraft-dag-file",
            "updraft-dag-store",
            "updraft-log-store",
            "updraft-metastore",
            "updraft-model",
            "updraft-params",
            "updraft-scheduling",
            "updraft-secrets",
            "updraft-task-queue",
            "updraft-timetables",
        ],
    ),
    (
        "updraft-runner",
        Library,
        &[
            "updraft-clock",
            "updraft-execution",
            "updraft-log-store",
            "updraft-metastore",
            "updraft-model",
            "updraft-notify",
            "updraft-operators",
            "updraft-service",
            "updraft-task-queue",
            "updraft-templates",
            "updraft-timetables",
        ],
    ),
    (
        "updraft-api",
        Library,
        &[
            "updraft-clock",
            "updraft-dag-file",
            "updraft-dag-store",
            "updraft-log-store",
            "updraft-metastore",
            "updraft-model",
            "updraft-service",
            "updraft-task-queue",
            "updraft-timetables",
        ],
    ),
    (
        "updraft-simulate",
        Library,
        &[
            "updraft-clock",
            "updraft-metastore",
            "updraft-model",
            "updraft-operators",
            "updraft-service",
            "updraft-task-queue",
        ],
    ),
    ("updraft-traces", Library, &[]),
    ("updraft-function", Library, &["updraft-traces"]),
    ("updraft", Entry, &[]),
    ("updraft-api-function", Entry, &[]),
    ("updraft-scheduler-function", Entry, &[]),
    ("updraft-worker-function", Entry, &[]),
    ("updraft-tests", Test, &[]),
    ("updraft-models", Test, &[]),
    ("updraft-e2e", Test, &[]),
    ("updraft-bench", Test, &[]),
];

/// Where the AWS SDK and the Lambda runtime may be used, besides entry points.
const USES_AWS: &[&str] = &[
    "updraft-metastore-dynamodb",
    "updraft-task-queue-sqs",
    "updraft-dag-store-s3",
    "updraft-log-store-s3",
    "updraft-notify-sns",
    "updraft-secrets-aws",
    "updraft-e2e",
];

/// What no pure crate uses, not even through another crate: what waits, draws, or reaches out.
const IMPURE: &[&str] = &[
    "async-io",
    "fastrand",
    "getrandom",
    "hyper",
    "mio",
    "notify",
    "rand",
    "rand_core",
    "reqwest",
    "rusqlite",
    "rustix",
    "socket2",
    "tempfile",
    "tokio",
    "ureq",
];

/// What the `clippy.toml` of a pure crate bans, at the least.
const BANNED: &[&str] = &[
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
    "jiff::tz::TimeZone::system",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::env::var",
    "std::env::vars",
    "std::fs::File::create",
    "std::fs::File::open",
    "std::fs::read",
    "std::fs::read_to_string",
    "std::fs::write",
    "std::hash::RandomState::new",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::process::Command::new",
    "std::thread::sleep",
    "std::thread::spawn",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
];

/// A file that grows longer is taken apart.
const LINES_MAX: usize = 800;

/// Spelled in two parts, since this file is looked through as well.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
];

/// A test that another test runs in a process of its own is no test that is left out.
const CHILD_PROCESS: &str = concat!("#[", "ignore = \"a child process of ");

/// What people write in, as far as [`UNFINISHED`] is looked for.
const TEXTS: &[&str] =
    &["css", "html", "js", "json", "md", "py", "rs", "sh", "sql", "toml", "ts", "tsx", "yaml", "yml"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Clone, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Clone, Deserialize)]
struct Dependency {
    name: String,
    /// None: for the code itself; else `dev` or `build`.
    kind: Option<String>,
}

impl Package {
    fn kind(&self) -> Option<Kind> {
        CRATES.iter().find(|(name, ..)| *name == self.name).map(|(_, kind, _)| *kind)
    }

    /// What the crate uses outside of its tests.
    fn uses(&self) -> impl Iterator<Item = &str> {
        self.dependencies.iter().filter(|d| d.kind.as_deref() != Some("dev")).map(|d| d.name.as_str())
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace")
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output();
    let output = output.expect("cargo runs, as it has built this");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes text")
}

fn workspace() -> Vec<Package> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--offline", "--no-deps"]);
    serde_json::from_str::<Metadata>(&metadata).expect("cargo writes JSON").packages
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all packages that a crate is built from, on this machine, tests and macros left out.
fn built_from(name: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "--offline", "-p", name, "-e", "normal,no-proc-macro", "--prefix", "none", "-f", "{p}"]);
    tree.lines().filter_map(|line| line.split(' ').next()).filter(|used| *used != name).map(str::to_owned).collect()
}

fn wrong_edges(workspace: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_member = |name: &str| workspace.iter().any(|package| package.name == name);
    let kind_of = |name: &str| workspace.iter().find(|package| package.name == name).and_then(Package::kind);
    for package in workspace {
        let Some((name, kind, allowed)) = CRATES.iter().find(|(name, ..)| *name == package.name) else {
            wrong.push(format!("`{}` has no row in the table of crates", package.name));
            continue;
        };
        for used in package.uses().filter(|used| is_member(used)) {
            let fine = match kind {
                Entry => kind_of(used) != Some(Test) && kind_of(used) != Some(Entry),
                Test => kind_of(used) != Some(Entry),
                Pure | Port | Adapter | Library => allowed.contains(&used),
            };
            if !fine {
                wrong.push(format!("`{name}` uses `{used}`"));
            }
        }
        // Tests of a library may use what helps them, but wiring stays in entry points and in the crates of tests.
        for used in package.dependencies.iter().filter(|d| d.kind.as_deref() == Some("dev")) {
            let forbidden = match kind_of(&used.name) {
                Some(Entry) => true,
                Some(Adapter) => !matches!(kind, Entry | Test),
                Some(Library) => matches!(kind, Pure | Port | Adapter),
                Some(Port) => *kind == Pure,
                Some(Pure | Test) | None => false,
            };
            if forbidden {
                wrong.push(format!("the tests of `{name}` use `{}`", used.name));
            }
        }
    }
    wrong
}

fn misplaced_aws(workspace: &[Package]) -> Vec<String> {
    let is_aws = |name: &str| name.starts_with("aws-") || name.starts_with("lambda_");
    let elsewhere = |p: &&Package| p.kind() != Some(Entry) && !USES_AWS.contains(&p.name.as_str());
    let uses = workspace.iter().filter(elsewhere).flat_map(|p| p.dependencies.iter().map(move |used| (p, &used.name)));
    uses.filter(|(_, used)| is_aws(used)).map(|(p, used)| format!("`{}` uses `{used}`", p.name)).collect()
}

fn impurities(built_from: &BTreeSet<String>) -> Vec<&str> {
    let is_impure = |used: &&str| IMPURE.contains(used) || used.starts_with("aws-");
    built_from.iter().map(String::as_str).filter(is_impure).collect()
}

/// What the text of a `clippy.toml` does not ban.
fn not_banned(clippy: &str) -> Vec<&'static str> {
    let bans = |path: &&str| clippy.lines().any(|line| line.trim_start().starts_with(&format!("{{ path = \"{path}\"")));
    BANNED.iter().copied().filter(|path| !bans(path)).collect()
}

/// What is wrong with a file's text.
fn untidy(path: &Path, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = text.lines().count();
    if path.extension().is_some_and(|extension| extension == "rs") && lines > LINES_MAX {
        wrong.push(format!("{}: {lines} lines, more than {LINES_MAX}", path.display()));
    }
    for (number, line) in text.lines().enumerate() {
        let found = UNFINISHED.iter().find(|mark| line.contains(**mark));
        if let Some(mark) = found.filter(|_| !line.contains(CHILD_PROCESS)) {
            wrong.push(format!("{}:{}: `{mark}`", path.display(), number + 1));
        }
    }
    wrong
}

/// Every text file of the repository, what is built or fetched left out.
fn texts(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder's entry is readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || ["target", "node_modules", "dist", "data", "__pycache__"].contains(&&*name) {
            continue;
        }
        if path.is_dir() {
            texts(&path, found);
        } else if path.extension().is_some_and(|e| TEXTS.contains(&&*e.to_string_lossy())) {
            found.push(path);
        }
    }
}

fn assert_none(wrong: &[String], what: &str) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

#[test]
fn crates_use_only_what_lies_below_them() {
    assert_none(&wrong_edges(&workspace()), "the direction of `use` is the architecture");
}

#[test]
fn only_adapters_and_entry_points_know_aws() {
    assert_none(&misplaced_aws(&workspace()), "AWS belongs in adapters and entry points");
}

#[test]
fn pure_crates_have_nothing_to_wait_draw_or_reach_out_with() {
    for (name, ..) in CRATES.iter().filter(|(_, kind, _)| *kind == Pure) {
        let built_from = built_from(name);
        assert_eq!(impurities(&built_from), Vec::<&str>::new(), "`{name}` is built from these");
    }
    let service = built_from("updraft-service");
    assert!(impurities(&service).contains(&"mio"), "what tokio is built from is found: {service:?}");
}

#[test]
fn pure_crates_ban_the_outside_by_lint() {
    let workspace = workspace();
    let pure: Vec<_> = workspace.iter().filter(|package| package.kind() == Some(Pure)).collect();
    assert_eq!(pure.len(), CRATES.iter().filter(|(_, kind, _)| *kind == Pure).count());
    for package in pure {
        // Clippy reads the nearest file and merges nothing.
        let path = package.manifest_path.with_file_name("clippy.toml");
        assert_eq!(not_banned(&read(&path)), Vec::<&str>::new(), "{} does not ban these", path.display());
    }
}

#[test]
fn every_crate_heeds_the_lints_of_the_workspace() {
    for package in workspace() {
        let manifest = read(&package.manifest_path);
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "`{}` has lints of its own", package.name);
    }
}

#[test]
fn files_are_short_and_finished() {
    let mut files = Vec::new();
    texts(root(), &mut files);
    assert!(files.iter().any(|path| path.ends_with("tests/tests/tidy.rs")), "this file itself is looked through");
    let wrong: Vec<String> = files.iter().flat_map(|path| untidy(path, &read(path))).collect();
    assert_none(&wrong, "long or unfinished files");
}

/// The same workspace, where one crate uses one thing more.
fn with_use(name: &str, used: &str, kind: Option<&str>) -> Vec<Package> {
    let mut workspace = workspace();
    let package = workspace.iter_mut().find(|package| package.name == name).expect("a crate of the workspace");
    package.dependencies.push(Dependency { name: used.to_owned(), kind: kind.map(str::to_owned) });
    workspace
}

#[test]
fn edges_that_point_upwards_are_found() {
    for (name, used, kind) in [
        ("updraft-scheduling", "updraft-metastore", None),
        ("updraft-model", "updraft-scheduling", None),
        ("updraft-service", "updraft-metastore-embedded", None),
        ("updraft-service", "updraft-metastore-embedded", Some("dev")),
        ("updraft-api", "updraft-metastore-dynamodb", Some("build")),
        ("updraft-metastore-embedded", "updraft-task-queue", None),
        ("updraft-task-queue", "updraft-metastore", None),
        ("updraft-worker-function", "updraft-e2e", None),
        ("updraft-scheduling", "updraft-metastore", Some("dev")),
    ] {
        let expected = wrong_edges(&workspace()).len() + 1;
        assert_eq!(wrong_edges(&with_use(name, used, kind)).len(), expected, "{name} uses {used} ({kind:?})");
    }
}

#[test]
fn misplaced_aws_is_found() {
    for (name, used, kind, wrong) in [
        ("updraft-metastore", "aws-sdk-dynamodb", None, 1),
        ("updraft-service", "lambda_runtime", None, 1),
        ("updraft-tests", "aws-config", Some("dev"), 1),
        ("updraft-metastore-dynamodb", "aws-sdk-dynamodb", None, 0),
    ] {
        let expected = misplaced_aws(&workspace()).len() + wrong;
        assert_eq!(misplaced_aws(&with_use(name, used, kind)).len(), expected, "{name} uses {used} ({kind:?})");
    }
}

#[test]
fn untidy_texts_are_found() {
    let path = Path::new("a.rs");
    assert_eq!(untidy(path, &"\n".repeat(LINES_MAX)), Vec::<String>::new());
    assert_eq!(untidy(path, &"\n".repeat(LINES_MAX + 1)).len(), 1);
    for mark in UNFINISHED {
        assert_eq!(untidy(path, &format!("ok\n  {mark} later\n")), [format!("a.rs:2: `{mark}`")]);
    }
    assert_eq!(not_banned("").len(), BANNED.len());
    assert_eq!(not_banned("    { path = \"std::env::var_os\" },\n").len(), BANNED.len());
    assert_eq!(not_banned("    { path = \"std::env::var\" },\n").len(), BANNED.len() - 1);
}
