//! What a branch, a short circuit or `latest_only` lets go on, and what a run remembers of it.

use crate::ids::TaskIndex;
use serde::{Deserialize, Serialize};

/// What a finished attempt lets go on, where it is one that chooses. No choice: everything below goes on by its rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Only these: a direct downstream that is neither followed nor below a followed one is skipped.
    Branch {
        /// Task ids, and ids of groups, whose roots are meant. Any of the DAG; none: nothing goes on.
        followed: Vec<String>,
    },
    /// The condition was false: what is below is skipped, teardowns never.
    ShortCircuit {
        /// All that is below, and not only what is directly below.
        ignore_downstream_trigger_rules: bool,
    },
    /// The run is not the latest: everything directly below is skipped.
    LatestOnly,
}

/// Which of the tasks below a choice leaves out, as the run document keeps it: bounded by the number of direct downstreams.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// Everything below, teardowns apart.
    Below,
    /// Everything directly below, teardowns apart.
    DirectlyBelow,
    /// These of the direct downstreams: a bit for each, in their order, the first in the lowest bit of the first number.
    These(Vec<u8>),
}

/// A choice that a task of the run has made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chosen {
    /// The try that made it; a choice of an earlier try has no meaning any more.
    pub try_number: u32,
    /// Whether some of what it leaves out may not have been skipped yet: more than one write may change.
    pub pending: bool,
    /// What it leaves out.
    pub left_out: LeftOut,
}

/// A text that is no choice of a run document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no choice of a run document")]
pub struct NotAChoice(pub String);

impl Chosen {
    /// The text stored in the run document: `<try>[p].a`, `<try>[p].d` or `<try>[p].b<hex>`.
    pub fn encode(&self) -> String {
        let pending = if self.pending { "p" } else { "" };
        let left_out = match &self.left_out {
            LeftOut::Below => "a".to_owned(),
            LeftOut::DirectlyBelow => "d".to_owned(),
            LeftOut::These(bits) => bits.iter().fold("b".to_owned(), |text, byte| text + &format!("{byte:02x}")),
        };
        format!("{}{pending}.{left_out}", self.try_number)
    }

    /// Reads what [`Chosen::encode`] wrote.
    ///
    /// # Errors
    /// [`NotAChoice`] for any other text.
    pub fn decode(text: &str) -> Result<Self, NotAChoice> {
        Self::decode_inner(text).ok_or_else(|| NotAChoice(text.to_owned()))
    }

    fn decode_inner(text: &str) -> Option<Self> {
        let (head, left_out) = text.split_once('.')?;
        let number = head.strip_suffix('p');
        let left_out = match left_out.split_at_checked(1)? {
            ("a", "") => LeftOut::Below,
            ("d", "") => LeftOut::DirectlyBelow,
            ("b", hex) if hex.is_ascii() && hex.len().is_multiple_of(2) => {
                let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
                LeftOut::These((0..hex.len()).step_by(2).map(byte).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some(Self { try_number: number.unwrap_or(head).parse().ok()?, pending: number.is_some(), left_out })
    }

    /// The bits of those of the direct downstreams that are left out.
    pub fn bits(direct: &[TaskIndex], is_left_out: impl Fn(TaskIndex) -> bool) -> LeftOut {
        let mut bits = vec![0u8; direct.len().div_ceil(8)];
        for (place, _) in direct.iter().enumerate().filter(|(_, task)| is_left_out(**task)) {
            bits[place / 8] |= 1 << (place % 8);
        }
        LeftOut::These(bits)
    }
}

impl LeftOut {
    /// Whether the bit of this place is set.
    pub fn has(bits: &[u8], place: usize) -> bool {
        bits.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(try_number in 0u32..9999, pending: bool, bits in proptest::collection::vec(any::<u8>(), 0..9), kind in 0..3) {
            let left_out = match kind {
                0 => LeftOut::Below,
                1 => LeftOut::DirectlyBelow,
                _ => LeftOut::These(bits),
            };
            let chosen = Chosen { try_number, pending, left_out };
            prop_assert_eq!(Chosen::decode(&chosen.encode()), Ok(chosen));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let _ = Chosen::decode(&text);
        }

        #[test]
        fn bits_say_which(left_out in proptest::collection::vec(any::<bool>(), 0..40)) {
            let direct: Vec<TaskIndex> = (0..left_out.len() as u32).map(|i| TaskIndex(i * 3)).collect();
            let LeftOut::These(bits) = Chosen::bits(&direct, |task| left_out[task.at() / 3]) else { unreachable!("bits") };
            for (place, is) in left_out.iter().enumerate() {
                prop_assert_eq!(LeftOut::has(&bits, place), *is);
            }
        }
    }
}
