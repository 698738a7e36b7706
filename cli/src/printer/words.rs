//! Words that depend on a number.

/// `1 run`, `2 runs`.
pub(crate) fn count(number: usize, what: &str) -> String {
    match (number, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!(
            (count(1, "run"), count(0, "run"), count(2, "entry")),
            ("1 run".into(), "0 runs".into(), "2 entries".into())
        );
    }
}
