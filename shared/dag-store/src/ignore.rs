//! Which files of the folder are not looked at for DAGs: `.airflowignore`, as Airflow reads it.
//!
//! A file `.airflowignore` speaks of its own folder and of all below it. It hides DAG files only: what DAGs refer to is read
//! wherever it lies, and it is usual to ignore the folder of the callables.

use regex_lite::Regex;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The name of the files that this module reads.
pub const IGNORE_FILE: &str = ".airflowignore";

/// How the lines of `.airflowignore` are read; Airflow's `[core] dag_ignore_file_syntax`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IgnoreSyntax {
    /// As lines of a `.gitignore`: the default since Airflow 3.
    #[default]
    Glob,
    /// As regular expressions, searched in the path relative to the DAG folder: the default before.
    Regexp,
}

impl FromStr for IgnoreSyntax {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "glob" => Ok(Self::Glob),
            "regexp" => Ok(Self::Regexp),
            other => Err(format!("`{other}` is no syntax of `{IGNORE_FILE}`; use `glob` or `regexp`")),
        }
    }
}

/// One line.
#[derive(Debug, Clone)]
struct Rule {
    pattern: Regex,
    /// What the pattern is held against.
    against: Against,
    /// Whether a match ignores or, after a `!`, does not.
    ignores: bool,
    /// Whether it is only about folders.
    folders_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Against {
    /// The last part of the path.
    Name,
    /// The path relative to the folder of the file the rule stands in.
    Below,
    /// The path relative to the DAG folder.
    Whole,
}

/// The ignore files of a folder.
#[derive(Debug, Clone, Default)]
pub struct Ignored {
    syntax: IgnoreSyntax,
    /// By the path of the folder they stand in, empty for the DAG folder itself.
    rules: BTreeMap<String, Vec<Rule>>,
}

impl Ignored {
    /// No files yet.
    pub fn new(syntax: IgnoreSyntax) -> Self {
        Self { syntax, rules: BTreeMap::new() }
    }

    /// Takes in the ignore file of a folder. Gives the lines that are no pattern, which are left out as Airflow leaves them out,
    /// each with what is wrong with it.
    pub fn add(&mut self, folder: &str, text: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut rules = Vec::new();
        for line in text.lines() {
            let pattern = match line.split_once('#') {
                Some((before, _)) => before.trim_end(),
                None => line,
            };
            if pattern.is_empty() {
                continue;
            }
            let rule = match self.syntax {
                IgnoreSyntax::Glob => glob(pattern),
                IgnoreSyntax::Regexp => Regex::new(pattern).map_err(|e| e.to_string()).map(|pattern| Rule {
                    pattern,
                    against: Against::Whole,
                    ignores: true,
                    folders_only: false,
                }),
            };
            match rule {
                Ok(rule) => rules.push(rule),
                Err(why) => wrong.push(format!("`{pattern}`: {why}")),
            }
        }
        self.rules.insert(folder.to_owned(), rules);
        wrong
    }

    /// Whether a file, or a folder on the way to it, is ignored.
    pub fn is_ignored(&self, path: &str) -> bool {
        if self.rules.values().all(Vec::is_empty) {
            return false;
        }
        let ends = path.match_indices('/').map(|(at, _)| (at, true)).chain([(path.len(), false)]);
        ends.into_iter().any(|(end, is_folder)| self.is_hidden(&path[..end], is_folder))
    }

    /// Whether this very path is hidden by the files in the folders above it, the last match deciding.
    fn is_hidden(&self, path: &str, is_folder: bool) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let mut hidden = false;
        for folder in folders_of(path) {
            let below = if folder.is_empty() { path } else { &path[folder.len() + 1..] };
            for rule in self.rules.get(folder).into_iter().flatten() {
                if rule.folders_only && !is_folder {
                    continue;
                }
                let text = match rule.against {
                    Against::Name => name,
                    Against::Below => below,
                    Against::Whole => path,
                };
                if rule.pattern.is_match(text) {
                    hidden = rule.ignores;
                }
            }
        }
        hidden
    }
}

/// The folders that a path lies in, outermost first: the DAG folder itself is empty.
pub fn folders_of(path: &str) -> impl Iterator<Item = &str> {
    std::iter::once("").chain(path.match_indices('/').map(|(at, _)| &path[..at]))
}

/// A line of a `.gitignore` as a rule.
fn glob(line: &str) -> Result<Rule, String> {
    let (line, ignores) = match line.strip_prefix('!') {
        Some(rest) => (rest, false),
        None => (line, true),
    };
    // Blanks at the end count only behind a backslash.
    let trimmed = line.trim_end();
    let line = if trimmed.ends_with('\\') { line } else { trimmed };
    let folders_only = line.ends_with('/');
    let anchored = line.trim_end_matches('/').contains('/');
    let body = line.strip_prefix('/').unwrap_or(line).trim_end_matches('/');
    if body.is_empty() {
        return Err("it matches nothing".to_owned());
    }
    let pattern = Regex::new(&format!("^{}$", expression(body)?)).map_err(|e| e.to_string())?;
    Ok(Rule { pattern, against: if anchored { Against::Below } else { Against::Name }, ignores, folders_only })
}

/// A glob as a regular expression over a whole path.
fn expression(glob: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = glob;
    while let Some(c) = rest.chars().next() {
        let at_part = out.is_empty() || out.ends_with('/') || out.ends_with("(?:[^/]+/)*");
        if at_part && rest.starts_with("**/") {
            out.push_str("(?:[^/]+/)*");
            rest = &rest[3..];
            continue;
        }
        if at_part && rest == "**" {
            out.push_str(".+");
            break;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => {
                rest = rest.trim_start_matches('*');
                out.push_str("[^/]*");
            }
            '?' => out.push_str("[^/]"),
            '[' => {
                // A bracket directly at the beginning of a class belongs to it.
                let from = usize::from(rest.starts_with(['!', '^']));
                let first = from + usize::from(rest[from..].starts_with(']'));
                let end = rest[first..].find(']').map(|at| first + at).ok_or("`[` has no `]`")?;
                let negated = if from == 1 { "^" } else { "" };
                let class = rest[from..end].replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]");
                out.extend(["[", negated, &class, "]"]);
                rest = &rest[end + 1..];
            }
            '\\' => {
                let literal = rest.chars().next().ok_or("it ends with a backslash")?;
                out.push_str(&regex_lite::escape(&literal.to_string()));
                rest = &rest[literal.len_utf8()..];
            }
            other => out.push_str(&regex_lite::escape(&other.to_string())),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(syntax: IgnoreSyntax, files: &[(&str, &str)]) -> Ignored {
        let mut ignored = Ignored::new(syntax);
        for (folder, text) in files {
            assert_eq!(ignored.add(folder, text), Vec::<String>::new());
        }
        ignored
    }

    #[test]
    fn globs_are_those_of_git() {
        for (text, hidden, seen) in [
            ("*.yml", &["a.yml", "x/y/b.yml"][..], &["a.yaml", "yml"][..]),
            ("callables", &["callables/a.yaml", "x/callables/a.yaml"], &["callables2/a.yaml", "my_callables/a.yaml"]),
            ("old/", &["old/a.yaml", "x/old/b/a.yaml"], &["old", "x/old"]),
            ("/top.yaml", &["top.yaml"], &["x/top.yaml"]),
            ("team/*.yaml", &["team/a.yaml"], &["x/team/a.yaml", "team/x/a.yaml"]),
            ("team/**", &["team/a.yaml", "team/x/a.yaml"], &["a.yaml", "x/team/a.yaml"]),
            ("**/draft/*.yaml", &["draft/a.yaml", "a/b/draft/c.yaml"], &["draft/x/a.yaml"]),
            ("a/**/z.yaml", &["a/z.yaml", "a/b/c/z.yaml"], &["z.yaml", "b/a/z.yaml"]),
            ("dag[0-9].yaml", &["dag1.yaml"], &["dagx.yaml", "dag10.yaml"]),
            ("dag[!0-9].yaml", &["dagx.yaml"], &["dag1.yaml"]),
            ("a?c.yaml", &["abc.yaml"], &["ac.yaml", "abbc.yaml"]),
            ("# all\n*.yaml # really\n!keep.yaml", &["a.yaml"], &["keep.yaml", "x/keep.yaml"]),
            ("sub\n!sub/keep.yaml", &["sub/keep.yaml"], &["keep.yaml"]),
            ("\\!odd.yaml", &["!odd.yaml"], &["odd.yaml"]),
            ("a+b.yaml", &["a+b.yaml"], &["aab.yaml"]),
        ] {
            let rules = ignored(IgnoreSyntax::Glob, &[("", text)]);
            for path in hidden {
                assert!(rules.is_ignored(path), "{text}: {path}");
            }
            for path in seen {
                assert!(!rules.is_ignored(path), "{text}: {path}");
            }
        }
    }

    #[test]
    fn a_file_speaks_of_its_own_folder() {
        let rules = ignored(IgnoreSyntax::Glob, &[("", "*.yml"), ("team", "/a.yaml\n!b.yml")]);
        for (path, hidden) in
            [("a.yaml", false), ("team/a.yaml", true), ("team/x/a.yaml", false), ("b.yml", true), ("team/b.yml", false)]
        {
            assert_eq!(rules.is_ignored(path), hidden, "{path}");
        }
    }

    #[test]
    fn expressions_are_searched_in_the_path() {
        let rules = ignored(IgnoreSyntax::Regexp, &[("", "project_a\ntenant_[0-9] # all of them"), ("sub", "^sub/x")]);
        for (path, hidden) in [
            ("project_a.yaml", true),
            ("x/project_a/dag.yaml", true),
            ("tenant_1.yaml", true),
            ("tenant_x.yaml", false),
            ("sub/x.yaml", true),
            ("x.yaml", false),
        ] {
            assert_eq!(rules.is_ignored(path), hidden, "{path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_left_out_and_told() {
        let mut rules = Ignored::new(IgnoreSyntax::Regexp);
        let wrong = rules.add("", "(\na.yaml");
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with("`(`: "), "{wrong:?}");
        assert!(rules.is_ignored("a.yaml"));
        let mut rules = Ignored::new(IgnoreSyntax::Glob);
        assert_eq!(rules.add("", "/\n[a\nx"), ["`/`: it matches nothing", "`[a`: `[` has no `]`"]);
        assert!(rules.is_ignored("x"));
    }

    #[test]
    fn a_path_lies_in_all_folders_above_it() {
        assert_eq!(folders_of("a.yaml").collect::<Vec<_>>(), [""]);
        assert_eq!(folders_of("x/y/a.yaml").collect::<Vec<_>>(), ["", "x", "x/y"]);
    }
}
