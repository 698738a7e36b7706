//! "Did you mean": the known name nearest to one that is not known.

/// Names longer than this are not compared: the cost of a comparison grows with the square.
const LENGTH_MAX: usize = 64;

/// The candidate with the fewest changed characters, if it is near enough to be a slip. The first one wins a tie.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().take(LENGTH_MAX + 1).count();
    if length > LENGTH_MAX {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let allowed = length.div_ceil(3).min(4);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate.len() > LENGTH_MAX * 4 {
            continue;
        }
        if candidate.chars().count().abs_diff(length) > allowed {
            continue;
        }
        // A swap of neighbours is one slip.
        let distance = strsim::osa_distance(&name, &candidate.to_ascii_lowercase());
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        for (name, expected) in [
            ("bash_comand", Some("bash_command")),
            ("Retries", Some("retries")),
            ("retreis", Some("retries")),
            ("env", Some("env")),
            ("completely_else", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, ["bash_command", "retries", "env"]), expected, "{name}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), ["x"]), None);
    }
}
