//! Patterns of paths, as Python's `glob` reads them.

use std::fs;
use std::path::{Path, PathBuf};

/// The most directory entries that one look reads.
const ENTRIES_MAX: usize = 200_000;

/// The first file that a pattern names: itself one, or in a folder that the pattern names, however deep.
///
/// # Errors
/// When more than 200,000 entries had to be read.
pub(crate) fn first_file(pattern: &str, recursive: bool) -> Result<Option<PathBuf>, String> {
    let mut search = Search { recursive, left: ENTRIES_MAX };
    let root = if pattern.starts_with('/') { "/" } else { "" };
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let found = search.matching(Path::new(root), &parts);
    if search.left == 0 && found.is_none() {
        return Err(format!("`{pattern}` leads through more than {ENTRIES_MAX} entries; write a narrower pattern"));
    }
    Ok(found)
}

struct Search {
    recursive: bool,
    /// How many more entries may be read.
    left: usize,
}

impl Search {
    /// The first file below `folder` that the parts lead to.
    fn matching(&mut self, folder: &Path, parts: &[&str]) -> Option<PathBuf> {
        let Some((part, rest)) = parts.split_first() else { return self.file_in(folder) };
        if *part == "**" && self.recursive {
            // Nothing, or any number of folders.
            if let Some(found) = self.matching(folder, rest) {
                return Some(found);
            }
            let entries = self.entries(folder);
            return entries
                .into_iter()
                .filter(|name| !name.starts_with('.'))
                .map(|name| folder.join(name))
                .find_map(|path| if path.is_dir() { self.matching(&path, parts) } else { None });
        }
        if !part.contains(['*', '?', '[']) {
            let path = folder.join(part);
            return if path.symlink_metadata().is_ok() { self.matching(&path, rest) } else { None };
        }
        let pattern: Vec<char> = part.chars().collect();
        let names = self.entries(folder);
        names
            .into_iter()
            .filter(|name| !name.starts_with('.') || part.starts_with('.'))
            .filter(|name| is_match(&pattern, &name.chars().collect::<Vec<_>>()))
            .map(|name| folder.join(name))
            .find_map(|path| self.matching(&path, rest))
    }

    /// The path itself if it is a file, else the first file in it.
    fn file_in(&mut self, path: &Path) -> Option<PathBuf> {
        if path.is_file() {
            return Some(path.to_owned());
        }
        if !path.is_dir() {
            return None;
        }
        let mut open = vec![path.to_owned()];
        while let Some(folder) = open.pop() {
            for name in self.entries(&folder) {
                let entry = folder.join(name);
                // Links to folders are not followed, which could lead in circles; a link to a file is one.
                if entry.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                    open.push(entry);
                } else if !entry.is_dir() {
                    return Some(entry);
                }
            }
        }
        None
    }

    /// The names in a folder, sorted; none if it cannot be read.
    fn entries(&mut self, folder: &Path) -> Vec<String> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.take(self.left).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        self.left -= names.len().min(self.left);
        names.sort();
        names
    }
}

/// Whether a name fits: `*` is anything, `?` one character, `[ab]`, `[a-z]` and `[!a]` one of some. Takes time in proportion to both lengths.
fn is_match(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where the last star is, and from where the name is tried again after it.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some('?') => {
                (p, n) = (p + 1, n + 1);
                continue;
            }
            Some('[') => {
                if let Some((fits, after)) = class(&pattern[p..], name[n]) {
                    if fits {
                        (p, n) = (p + after, n + 1);
                        continue;
                    }
                } else if name[n] == '[' {
                    (p, n) = (p + 1, n + 1);
                    continue;
                }
            }
            Some(literal) if *literal == name[n] => {
                (p, n) = (p + 1, n + 1);
                continue;
            }
            _ => {}
        }
        let Some((at, from)) = star else { return false };
        star = Some((at, from + 1));
        (p, n) = (at + 1, from + 1);
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

/// Whether a character is in the class that a pattern begins with, and how long that class is; none where the bracket is never closed.
fn class(pattern: &[char], character: char) -> Option<(bool, usize)> {
    let negated = pattern.get(1) == Some(&'!');
    let begin = if negated { 2 } else { 1 };
    // A closing bracket that comes first is one of the characters.
    let end = (begin + 1..pattern.len()).find(|at| pattern[*at] == ']')?;
    let (mut at, mut found) = (begin, false);
    while at < end {
        if at + 2 < end && pattern[at + 1] == '-' {
            found |= (pattern[at]..=pattern[at + 2]).contains(&character);
            at += 3;
        } else {
            found |= pattern[at] == character;
            at += 1;
        }
    }
    Some((found != negated, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_pythons_do() {
        for (pattern, name, expected) in [
            ("*", "anything", true),
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.tmp", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[x", "[x", true),
            ("a*b*c", "axxbxxc", true),
            ("a*b*c", "axxbxx", false),
            ("*a*a*a*a*a*b", &"a".repeat(2000), false),
        ] {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(is_match(&chars(pattern), &chars(name)), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_finds_files_and_files_in_folders() {
        let place = tempfile::tempdir().expect("a folder");
        let path = |name: &str| place.path().join(name).to_str().expect("text").to_owned();
        for folder in ["in/deep/er", "empty", ".hidden"] {
            fs::create_dir_all(path(folder)).expect("a folder");
        }
        for file in ["in/a.csv", "in/deep/er/b.csv", ".hidden/c.csv"] {
            fs::write(path(file), "x").expect("a file");
        }
        for (pattern, recursive, found) in [
            ("in/a.csv", false, Some("in/a.csv")),
            ("in/*.csv", false, Some("in/a.csv")),
            ("in/b.csv", false, None),
            ("in/deep", false, Some("in/deep/er/b.csv")),
            ("empty", false, None),
            ("nothing", false, None),
            ("**/b.csv", false, None),
            ("**/b.csv", true, Some("in/deep/er/b.csv")),
            ("**/c.csv", true, None),
            (".hid*/c.csv", false, Some(".hidden/c.csv")),
            ("*/a.csv", false, Some("in/a.csv")),
        ] {
            let found = found.map(|name| PathBuf::from(path(name)));
            assert_eq!(first_file(&path(pattern), recursive), Ok(found), "{pattern}");
        }
    }
}
