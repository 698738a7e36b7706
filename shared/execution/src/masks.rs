//! Secrets on their way to the log become `***`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use aho_corasick::{AhoCorasick, MatchKind};
use updraft_model::secrets::{HIDDEN, MASKED_CHARS_MIN};

/// A line of a secret of several lines is masked on its own if it has at least as many bytes: fewer say little and hit much.
const LINE_BYTES_MIN: usize = 16;
/// A longer secret is looked for in pieces, so that what has to be held back stays short.
const PIECE_BYTES_MAX: usize = 4096;
/// How many pieces there may be; what a task adds beyond that is not masked.
const PIECES_MAX: usize = 10_000;

/// The secrets of one attempt, which may become more while it runs. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masks {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    pieces: BTreeSet<String>,
    /// Made of the pieces when it is needed.
    matcher: Option<Arc<Matcher>>,
}

#[derive(Debug)]
struct Matcher {
    pieces: Vec<String>,
    automaton: AhoCorasick,
}

impl Masks {
    pub(crate) fn new(secrets: &[String]) -> Self {
        let masks = Self::default();
        masks.add(secrets.iter().cloned());
        masks
    }

    /// From now on these are masked as well.
    pub(crate) fn add(&self, secrets: impl IntoIterator<Item = String>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for secret in secrets {
            for piece in pieces(&secret) {
                if inner.pieces.len() < PIECES_MAX && inner.pieces.insert(piece.to_owned()) {
                    inner.matcher = None;
                }
            }
        }
    }

    /// Nothing if there is nothing to mask.
    fn matcher(&self) -> Option<Arc<Matcher>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.matcher.is_none() && !inner.pieces.is_empty() {
            let pieces: Vec<String> = inner.pieces.iter().cloned().collect();
            let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&pieces);
            let automaton = automaton.expect("as many pieces of this length fit into an automaton");
            inner.matcher = Some(Arc::new(Matcher { pieces, automaton }));
        }
        inner.matcher.clone()
    }

    /// A whole text with every secret replaced.
    pub(crate) fn apply(&self, text: &str) -> String {
        match self.matcher() {
            None => text.to_owned(),
            Some(matcher) => {
                let mut masked = String::with_capacity(text.len());
                matcher.replace(text, text.len(), &mut masked);
                masked
            }
        }
    }
}

/// What is looked for, of a secret.
fn pieces(secret: &str) -> impl Iterator<Item = &str> {
    let lines = secret.lines().filter(move |line| line.len() < secret.trim_end().len() && line.len() >= LINE_BYTES_MIN);
    let whole = std::iter::once(secret.trim_end_matches(['\r', '\n']));
    whole.chain(lines).flat_map(cut).filter(|piece| piece.chars().count() >= MASKED_CHARS_MIN)
}

fn cut(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES_MAX));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

impl Matcher {
    /// Writes what can be said of `text` for certain, given that matches which start at `certain` or later are still open. Returns up to where
    /// the text was used.
    fn replace(&self, text: &str, certain: usize, masked: &mut String) -> usize {
        let mut used = 0;
        for found in self.automaton.find_iter(text) {
            if found.start() >= certain {
                break;
            }
            masked.push_str(&text[used..found.start()]);
            masked.push_str(HIDDEN);
            used = found.end();
        }
        if used < certain {
            masked.push_str(&text[used..certain]);
            used = certain;
        }
        used
    }

    /// From where on the text may be the beginning of a secret.
    fn open(&self, text: &str) -> usize {
        let bytes = text.as_bytes();
        let longest = self.pieces.iter().filter_map(|piece| {
            let most = bytes.len().min(piece.len() - 1);
            (1..=most).rev().find(|length| bytes.ends_with(&piece.as_bytes()[..*length]))
        });
        bytes.len() - longest.max().unwrap_or(0)
    }
}

/// A text that comes in pieces, with its secrets masked, also those that a cut went through.
#[derive(Debug)]
pub(crate) struct Masked {
    masks: Masks,
    /// The end of what came, as long as it may be the beginning of a secret.
    held: String,
}

impl Masked {
    pub(crate) fn new(masks: Masks) -> Self {
        Self { masks, held: String::new() }
    }

    /// Takes the next piece and returns what can be shown now.
    pub(crate) fn take(&mut self, text: &str) -> String {
        let Some(matcher) = self.masks.matcher() else { return std::mem::take(&mut self.held) + text };
        let whole = std::mem::take(&mut self.held) + text;
        let mut masked = String::with_capacity(whole.len());
        let used = matcher.replace(&whole, matcher.open(&whole), &mut masked);
        whole[used..].clone_into(&mut self.held);
        masked
    }

    /// What is left when nothing more will come.
    pub(crate) fn end(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        self.masks.apply(&held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(secrets: &[&str]) -> Masks {
        Masks::new(&secrets.iter().map(|secret| (*secret).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn however_it_is_cut_no_secret_gets_through() {
        let secrets = ["hunter2!", "hunter2!more", "grün-grün", "line one of it\nline two", "aabaab"];
        let text = "x hunter2 hunter2! hunter2!mor hunter2!more grün-grün grün-gr aabaabaab aaabaab\nline one of it\nline two\nhunter2";
        let expected = "x hunter2 *** ***mor *** *** grün-gr ***aab a***\n***\nhunter2";
        assert_eq!(masks(&secrets).apply(text), expected);
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        for first in &ends {
            for second in ends.iter().filter(|second| *second >= first) {
                let mut masked = Masked::new(masks(&secrets));
                let mut shown = masked.take(&text[..*first]);
                shown += &masked.take(&text[*first..*second]);
                shown += &masked.take(&text[*second..]);
                shown += &masked.end();
                assert_eq!(shown, expected, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn only_what_may_become_a_secret_is_held_back() {
        let mut masked = Masked::new(masks(&["password"]));
        assert_eq!(masked.take("enter pass"), "enter ");
        assert_eq!(masked.take(" "), "pass ");
        assert_eq!(masked.take("password"), "***");
    }

    #[test]
    fn short_values_are_left_alone_and_long_ones_masked_whole() {
        assert_eq!(masks(&["abcd", "", "öööö"]).apply("abcd öööö"), "abcd öööö");
        assert_eq!(masks(&["abcde"]).apply("abcdef"), "***f");
        let long = "0123456789".repeat(1000);
        let masked = masks(&[&long]).apply(&format!("<{long}>"));
        assert!(!masked.contains("0123") && masked.starts_with("<*"), "{masked}");
        // A key is often printed line by line.
        let key = "-----BEGIN KEY-----\nabcdefghijklmnopqrstuvwxyz\nshort\n-----END KEY-----\n";
        assert_eq!(masks(&[key]).apply("key: abcdefghijklmnopqrstuvwxyz, short"), "key: ***, short");
    }

    #[test]
    fn a_task_cannot_fill_the_memory_with_secrets() {
        let masks = Masks::default();
        masks.add((0..PIECES_MAX + 100).map(|number| format!("secret-{number}")));
        assert_eq!(masks.inner.lock().expect("no panic").pieces.len(), PIECES_MAX);
    }
}
