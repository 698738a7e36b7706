//! Loads a file of recorded cases, puts each to a judge, and prints the tally.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;

/// How many failures are shown in full.
const FAILURES_SHOWN_MAX: usize = 20;

/// What became of one recorded case.
pub(crate) enum Verdict {
    /// Our answer is the recorded one.
    Passed,
    /// Our answer differs on purpose, for this reason.
    Divergent(&'static str),
    /// The case is about something Updraft does not have; the text names the field of the case that says so.
    OutOfScope(String),
    /// Our answer is wrong; the text shows both.
    Failed(String),
}

/// A file of recorded cases.
pub(crate) struct Recorded {
    /// What all cases share: how they were made, and for some files shapes that the cases refer to.
    pub(crate) header: Value,
    /// The cases, each with an `id`.
    pub(crate) cases: Vec<Value>,
}

/// The recorded cases of the file `name`, or `None` if the folder chosen by hand has other files only.
pub(crate) fn load(name: &str) -> Option<Recorded> {
    let chosen = std::env::var_os("UPDRAFT_CONFORMANCE_DIR").map(PathBuf::from);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/conformance");
    let folder = chosen.as_deref().unwrap_or(&kept);
    let Some(text) = read(folder, name) else {
        let has_cases = std::fs::read_dir(folder)
            .is_ok_and(|mut files| files.any(|file| file.is_ok_and(|file| is_recorded(&file.path()))));
        assert!(chosen.is_some() && has_cases, "no {name}.json or {name}.json.gz in {}", folder.display());
        println!("{name}: not in {}", folder.display());
        return None;
    };
    let mut file: Value = serde_json::from_str(&text).expect("a recorded file is JSON");
    let Value::Array(cases) = file["cases"].take() else { panic!("{name} has no list `cases`") };
    Some(Recorded { header: file["header"].take(), cases })
}

/// Puts every case to `judge` and prints the tally.
///
/// Panics if a case fails, or if none passes.
pub(crate) fn check(name: &str, judge: impl Fn(&Value) -> Verdict) {
    if let Some(recorded) = load(name) {
        check_cases(name, &recorded.cases, judge);
    }
}

/// As [`check`], with cases loaded before.
pub(crate) fn check_cases(name: &str, cases: &[Value], judge: impl Fn(&Value) -> Verdict) {
    let mut passed = 0;
    let mut divergent = BTreeMap::<&str, usize>::new();
    let mut out_of_scope = BTreeMap::<String, usize>::new();
    let mut failures = Vec::new();
    for case in cases {
        match judge(case) {
            Verdict::Passed => passed += 1,
            Verdict::Divergent(reason) => *divergent.entry(reason).or_default() += 1,
            Verdict::OutOfScope(field) => *out_of_scope.entry(field).or_default() += 1,
            Verdict::Failed(how) => {
                failures.push(format!("{}: {how}", case["id"].as_str().unwrap_or("a case without id")));
            }
        }
    }
    println!(
        "{name}: {passed} passed, {} divergent{}, {} out of scope{}, {} failed",
        divergent.values().sum::<usize>(),
        list(&divergent),
        out_of_scope.values().sum::<usize>(),
        list(&out_of_scope),
        failures.len(),
    );
    for failure in failures.iter().take(FAILURES_SHOWN_MAX) {
        println!("  FAILED {failure}");
    }
    assert!(failures.is_empty(), "{} recorded cases of {name} fail; the first ones are shown above", failures.len());
    assert!(passed > 0, "no case of {name} was compared");
}

/// ` (a: 1; b: 2)`, or nothing.
fn list(counts: &BTreeMap<impl std::fmt::Display, usize>) -> String {
    let mut text = String::new();
    for (what, count) in counts {
        let separator = if text.is_empty() { " (" } else { "; " };
        write!(text, "{separator}{what}: {count}").expect("writing to a string cannot fail");
    }
    if !text.is_empty() {
        text.push(')');
    }
    text
}

fn is_recorded(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".json") || name.ends_with(".json.gz")
}

fn read(folder: &Path, name: &str) -> Option<String> {
    if let Ok(text) = std::fs::read_to_string(folder.join(format!("{name}.json"))) {
        return Some(text);
    }
    let packed = std::fs::File::open(folder.join(format!("{name}.json.gz"))).ok()?;
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).expect("a packed file unpacks");
    Some(text)
}
