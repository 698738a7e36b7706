//! Problems of DAG files, as people and programs read them.

use super::files::Checked;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use updraft_dag_file::Diagnostic;

/// How many lines are named of a problem that repeats.
const LINES_MAX: usize = 8;

/// From how many problems on the summary says of which kinds they are.
const MANY: usize = 10;

/// The problems of files, a blank line between two files that have some.
pub(crate) fn render_all(files: &[Checked], color: bool) -> String {
    let shown: Vec<String> = files.iter().map(|file| render(file, color)).filter(|text| !text.is_empty()).collect();
    shown.join("\n")
}

/// The problems of a file with their source lines. What is said twice of one file is said once, with all of its lines.
pub(crate) fn render(file: &Checked, color: bool) -> String {
    let mut out = String::new();
    for group in groups(&file.diagnostics) {
        let first = group[0];
        // A template file has lines of its own, which are not at hand here.
        let bytes = if first.file == file.shown { Some(&file.bytes) } else { file.companions.get(&first.file) };
        let source = String::from_utf8_lossy(bytes.map_or(&[], Vec::as_slice));
        out.push_str(&first.render(&source, color));
        out.push('\n');
        if let [_, others @ ..] = group.as_slice()
            && !others.is_empty()
        {
            let _ = writeln!(out, "  {}", again(first.line, others));
        }
    }
    out
}

/// Problems that say the same, in the order of their first places.
fn groups(diagnostics: &[Diagnostic]) -> Vec<Vec<&Diagnostic>> {
    let mut groups: Vec<Vec<&Diagnostic>> = Vec::new();
    let mut places: BTreeMap<(&str, &str, Option<&str>, &str), usize> = BTreeMap::new();
    for diagnostic in diagnostics {
        let key = (diagnostic.code, diagnostic.message.as_str(), diagnostic.hint.as_deref(), diagnostic.file.as_str());
        let at = *places.entry(key).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[at].push(diagnostic);
    }
    groups
}

/// That a problem repeats, and where.
fn again(first: u32, others: &[&Diagnostic]) -> String {
    let mut lines: Vec<u32> = others.iter().map(|d| d.line).filter(|line| *line != first).collect();
    lines.dedup();
    let named: Vec<String> = lines.iter().take(LINES_MAX).map(ToString::to_string).collect();
    match (named.as_slice(), lines.len().saturating_sub(LINES_MAX)) {
        ([], _) => format!("also {} in this line", counted(others.len(), "time")),
        ([line], _) => format!("also in line {line}"),
        ([lines @ .., last], 0) => format!("also in lines {} and {last}", lines.join(", ")),
        (lines, more) => format!("also in lines {} and {more} more", lines.join(", ")),
    }
}

/// A problem for programs.
pub(crate) fn to_json(diagnostic: &Diagnostic) -> Value {
    serde_json::json!({
        "file": diagnostic.file,
        "line": diagnostic.line,
        "column": diagnostic.column,
        "severity": diagnostic.severity.to_string(),
        "dag_id": diagnostic.dag_id,
        "key_path": diagnostic.key_path,
        "code": diagnostic.code,
        "message": diagnostic.message,
        "hint": diagnostic.hint,
    })
}

/// What was checked, and what came of it.
pub(crate) fn summary(checked: &[Checked]) -> String {
    let files = checked.iter().filter(|file| file.is_dag_file()).count();
    let all = || checked.iter().flat_map(|file| &file.diagnostics);
    let errors = all().filter(|d| d.is_error()).count();
    let warnings = all().count() - errors;
    let mut out = format!(
        "{}: {}{}, {}{}",
        counted(files, "DAG file"),
        counted(errors, "error"),
        in_files(checked, errors, true),
        counted(warnings, "warning"),
        in_files(checked, warnings, false),
    );
    if errors + warnings >= MANY {
        for (is_error, title) in [(true, "errors"), (false, "warnings")] {
            let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
            for diagnostic in all().filter(|d| d.is_error() == is_error) {
                *kinds.entry(diagnostic.code).or_default() += 1;
            }
            let mut kinds: Vec<(&str, usize)> = kinds.into_iter().collect();
            kinds.sort_by_key(|(code, count)| (std::cmp::Reverse(*count), *code));
            let named: Vec<String> = kinds.into_iter().map(|(code, count)| format!("{count} {code}")).collect();
            if !named.is_empty() {
                let _ = write!(out, "\n  {title}: {}", named.join(", "));
            }
        }
    }
    out
}

/// In how many files the problems are, where there are several files and problems.
fn in_files(checked: &[Checked], problems: usize, errors: bool) -> String {
    let with = checked.iter().filter(|file| file.diagnostics.iter().any(|d| d.is_error() == errors)).count();
    if checked.len() > 1 && problems > with && with > 0 {
        format!(" in {}", counted(with, "file"))
    } else {
        String::new()
    }
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::super::files::problem;
    use super::*;
    use std::collections::BTreeSet;
    use updraft_dag_file::Severity;

    fn checked(diagnostics: Vec<Diagnostic>) -> Checked {
        Checked {
            path: "a.yaml".into(),
            shown: "dags/a.yaml".into(),
            bytes: b"one\ntwo\nthree\n".to_vec(),
            companions: BTreeMap::new(),
            dags: Vec::new(),
            diagnostics,
            references: BTreeSet::new(),
            defaults: Vec::new(),
        }
    }

    fn at(line: u32, message: &str) -> Diagnostic {
        Diagnostic { line, ..problem("dags/a.yaml", Severity::Warning, "odd", message.into()) }
    }

    #[test]
    fn what_repeats_is_said_once_with_its_lines() {
        let file = checked(vec![at(1, "x"), at(2, "y"), at(3, "x"), at(3, "x")]);
        let expected = "\
dags/a.yaml:1:1: warning: x
 1 | one
   | ^
  also in line 3
dags/a.yaml:2:1: warning: y
 2 | two
   | ^
";
        assert_eq!(render(&file, false), expected);
        let many = checked((1..=20).map(|line| at(line, "x")).collect());
        assert!(render(&many, false).contains("also in lines 2, 3, 4, 5, 6, 7, 8, 9 and 11 more\n"));
        let few = checked([1, 1, 1].map(|line| at(line, "x")).to_vec());
        assert!(render(&few, false).contains("also 2 times in this line\n"));
    }

    #[test]
    fn the_summary_counts_and_names_kinds_where_there_are_many() {
        let few = checked(vec![at(1, "x")]);
        assert_eq!(summary(&[few]), "1 DAG file: 0 errors, 1 warning");
        let many = checked((1..=12).map(|line| at(line, "x")).collect());
        let other = checked(vec![problem("b.yaml", Severity::Error, "bad", "z".into())]);
        assert_eq!(
            summary(&[many, other]),
            "2 DAG files: 1 error, 12 warnings in 1 file\n  errors: 1 bad\n  warnings: 12 odd"
        );
    }
}
