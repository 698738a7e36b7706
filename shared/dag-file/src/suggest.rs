//! "Did you mean": the known name nearest to one that is not known.

/// Names longer than this are not compared: the cost of a comparison grows with the square.
const LENGTH_MAX: usize = 64;

/// The candidate with the fewest changed characters, if it is near enough to be a slip. The first one wins a tie.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.chars().take(LENGTH_MAX + 1).collect();
    if name.len() > LENGTH_MAX {
        return None;
    }
    let allowed = name.len().div_ceil(3).min(4);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate.len() > LENGTH_MAX * 4 {
            continue;
        }
        let other: Vec<char> = candidate.chars().collect();
        if other.len().abs_diff(name.len()) > allowed {
            continue;
        }
        let distance = distance(&name, &other);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Damerau's distance (insertions, deletions, replacements, swaps of neighbours), letters compared without case.
fn distance(a: &[char], b: &[char]) -> usize {
    let same = |x: char, y: char| x.eq_ignore_ascii_case(&y);
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(!same(a[i - 1], b[j - 1]));
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]) {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
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
