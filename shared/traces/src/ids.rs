//! Ids that follow from names: the spans of one run are told by many processes, and none asks another.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// The first so many bytes of a name's hash, in hexadecimal digits.
fn hashed(name: &str, bytes: usize) -> String {
    Sha256::digest(name)[..bytes].iter().fold(String::with_capacity(2 * bytes), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The trace of a run, by its incarnation.
pub(crate) fn trace(incarnation: &str) -> String {
    hashed(&["trace", incarnation].join("\n"), 16)
}

/// The span in a run's trace that has this id below this root; without an id it is the root itself.
pub(crate) fn span(incarnation: &str, root: u64, id: &str) -> String {
    let name = ["span", incarnation, &root.to_string(), id].join("\n");
    hashed(&name, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_from_names_alone() {
        assert_eq!(trace("i1"), trace("i1"));
        assert_ne!(trace("i1"), trace("i2"));
        let ids = [("i1", 0, ""), ("i1", 0, "a"), ("i1", 1, ""), ("i1", 1, "a"), ("i2", 0, ""), ("i10", 0, "")];
        let ids: std::collections::BTreeSet<_> = ids.iter().map(|(run, root, id)| span(run, *root, id)).collect();
        assert_eq!(ids.len(), 6);
    }

    /// Releases side by side must come to the same ids, or a trace falls apart over an upgrade.
    #[test]
    fn ids_stay_what_they_are() {
        assert_eq!((&*trace("i1"), &*span("i1", 0, "t1")), ("3a883d44ec50ac8ee885e6abf3d763e1", "4c3ae0ff3499e8c1"));
    }
}
