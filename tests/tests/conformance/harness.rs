//! Loads a file of recorded cases, puts each to a judge, and prints the tally.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;

/// How many failures are shown in full.
const FAILURES_SHOWN_MAX: usize = 20;

/// The most cases of a file, in a hundred, that may differ on purpose.
const DIVERGENT_PERCENT_MAX: usize = 2;

/// What became of one recorded case.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Our answer is the recorded one.
    Passed,
    /// Our answer differs on purpose, for this reason.
    Divergent(&'static str),
    /// The case is about something Updraft does not have; the text names the field of the case that says so.
    #[expect(dead_code, reason = "nothing is at present; the table says so")]
    OutOfScope(String),
    /// The case describes its DAG or its request in words that nobody has told us how to read.
    Unbound(String),
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

/// What became of a file's cases.
pub(crate) struct Tally {
    name: &'static str,
    passed: usize,
    divergent: BTreeMap<&'static str, Vec<String>>,
    out_of_scope: BTreeMap<String, usize>,
    unbound: BTreeMap<String, usize>,
    failures: Vec<String>,
    /// Whether these are the cases in the repository.
    is_kept: bool,
}

fn chosen_folder() -> Option<PathBuf> {
    std::env::var_os("UPDRAFT_CONFORMANCE_DIR").map(PathBuf::from)
}

/// The recorded cases of the file `name`, or `None` if the folder chosen by hand has other files only.
pub(crate) fn load(name: &str) -> Option<Recorded> {
    let chosen = chosen_folder();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/conformance");
    let folder = chosen.as_deref().unwrap_or(&kept);
    let Some(text) = read(folder, name) else {
        let has_cases = std::fs::read_dir(folder)
            .is_ok_and(|mut files| files.any(|file| file.is_ok_and(|file| is_recorded(&file.path()))));
        assert!(chosen.is_some() && has_cases, "no {name}.json or {name}.json.gz in {}", folder.display());
        return None;
    };
    let mut file: Value = serde_json::from_str(&text).expect("a recorded file is JSON");
    let Value::Array(cases) = file["cases"].take() else { panic!("{name} has no list `cases`") };
    Some(Recorded { header: file["header"].take(), cases })
}

/// Puts every case to `judge`; none if there is no such file.
pub(crate) fn judge(name: &'static str, judge: impl Fn(&Value) -> Verdict) -> Option<Tally> {
    load(name).map(|recorded| judge_cases(name, &recorded.cases, judge))
}

/// As [`judge`], with cases loaded before.
pub(crate) fn judge_cases(name: &'static str, cases: &[Value], judge: impl Fn(&Value) -> Verdict) -> Tally {
    let mut tally = Tally {
        name,
        passed: 0,
        divergent: BTreeMap::new(),
        out_of_scope: BTreeMap::new(),
        unbound: BTreeMap::new(),
        failures: Vec::new(),
        is_kept: chosen_folder().is_none(),
    };
    for case in cases {
        let id = case["id"].as_str().unwrap_or("a case without id");
        // A case that one of our own assertions stops is one that fails; the others are judged all the same.
        let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| judge(case)))
            .unwrap_or_else(|_| Verdict::Failed("the comparison panicked; the message is above".to_owned()));
        match verdict {
            Verdict::Passed => tally.passed += 1,
            Verdict::Divergent(reason) => tally.divergent.entry(reason).or_default().push(id.to_owned()),
            Verdict::OutOfScope(field) => *tally.out_of_scope.entry(field).or_default() += 1,
            Verdict::Unbound(text) => *tally.unbound.entry(text).or_default() += 1,
            Verdict::Failed(how) => tally.failures.push(format!("{id}: {how}")),
        }
    }
    tally
}

impl Tally {
    /// Prints what became of the cases.
    ///
    /// Panics if a case failed, if none passed, or if more of the kept ones differ on purpose than may.
    pub(crate) fn hold(&self) {
        let name = self.name;
        println!("{name}: {}", self.counts().map(|(what, count)| format!("{count} {what}")).join(", "));
        for (what, count) in &self.out_of_scope {
            println!("  out of scope: {what}: {count}");
        }
        for (what, count) in &self.unbound {
            println!("  unbound: {what}: {count}");
        }
        for (reason, ids) in &self.divergent {
            println!("  divergent: {reason}: {}: {}", ids.len(), ids.join(" "));
        }
        for failure in self.failures.iter().take(FAILURES_SHOWN_MAX) {
            println!("  FAILED {failure}");
        }
        assert!(self.failures.is_empty(), "{} recorded cases of {name} fail; see above", self.failures.len());
        let (divergent, all) = (self.divergent(), self.all());
        // Another folder may hold a handful of cases, all of one class.
        assert!(self.passed > 0 || !self.is_kept, "no case of {name} was compared");
        assert!(
            divergent * 100 <= all * DIVERGENT_PERCENT_MAX || !self.is_kept,
            "{divergent} of {all} cases of {name} differ on purpose, more than {DIVERGENT_PERCENT_MAX} %"
        );
    }

    fn counts(&self) -> [(&'static str, usize); 5] {
        [
            ("passed", self.passed),
            ("divergent", self.divergent()),
            ("out of scope", self.out_of_scope.values().sum()),
            ("unbound", self.unbound.values().sum()),
            ("failed", self.failures.len()),
        ]
    }

    fn divergent(&self) -> usize {
        self.divergent.values().map(Vec::len).sum()
    }

    fn all(&self) -> usize {
        self.counts().iter().map(|(_, count)| count).sum()
    }
}

/// One line for each file.
pub(crate) fn table(tallies: &[&Tally]) -> String {
    let mut text =
        String::from("| file | passed | divergent | out of scope | unbound | failed |\n|---|---|---|---|---|---|\n");
    for tally in tallies {
        let counts = tally.counts().map(|(_, count)| count.to_string()).join(" | ");
        writeln!(text, "| {} | {counts} |", tally.name).expect("writing to a string cannot fail");
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
