//! What people most likely did where a text is no YAML, to be told beside what the parser says.

/// A hint for the line at which the parser gave up (counted from 0), and what it says.
pub(super) fn hint(text: &str, line: usize, said: &str) -> String {
    let here = text.lines().nth(line).unwrap_or_default();
    let before = || text.lines().take(line).filter(|l| !l.trim().is_empty()).last().unwrap_or_default();
    if ["<<<<<<< ", ">>>>>>> ", "======="].iter().any(|mark| here.starts_with(mark)) {
        return "this is a conflict that git left in the file; keep one of the two sides".to_owned();
    }
    if here.contains("{{") || here.contains("{%") {
        return "text that begins with a template must stand in quotes: \"{{ ds }}\"".to_owned();
    }
    if here.contains('\t') || said.contains("tab") {
        return "YAML does not allow tabs for indentation; use spaces".to_owned();
    }
    if said.contains("unclosed quote") {
        return "close the quote; within '...' write '' for a single one, within \"...\" write \\\"".to_owned();
    }
    if said.contains("escape") {
        return "a backslash in \"...\" begins an escape; write \\\\ for one, or use '...'".to_owned();
    }
    if said.contains("trailing content") {
        return "quotes go around the whole value; put all of it into '...'".to_owned();
    }
    if let Some((key, value)) = pair(here) {
        if value.starts_with(['@', '*', '%', '`', '!', '&']) {
            return format!("put the value in quotes: {key}: {}", quoted(value));
        }
        if !value.starts_with(['"', '\'', '[', '{', '|', '>']) && (value.contains(": ") || value.ends_with(':')) {
            return format!("text with a colon in it must stand in quotes: {key}: {}", quoted(value));
        }
    }
    for line in [here, before()] {
        if let Some((key, value)) = glued(line) {
            return format!("put a space after the colon: `{key}: {value}`");
        }
    }
    if let Some(open) = [('[', ']'), ('{', '}')].into_iter().find(|(open, close)| {
        let count = |c: char| before().matches(c).count();
        count(*open) > count(*close)
    }) {
        return format!("a `{}` above is not closed; add the `{}`", open.0, open.1);
    }
    let depth = |line: &str| line.len() - line.trim_start().len();
    if depth(here) != depth(before()) {
        return format!(
            "this line is indented by {} spaces, the one above by {}; keys of one mapping stand below each other",
            depth(here),
            depth(before())
        );
    }
    "each line is `key: value`, or `- item` in a list; text with special characters stands in quotes".to_owned()
}

/// The key and the value of a line of a mapping.
fn pair(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.trim_start_matches([' ', '-']).split_once(": ")?;
    let value = value.trim();
    (is_name(key) && !value.is_empty()).then_some((key, value))
}

/// A key and a value with no space between them.
fn glued(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.trim_start_matches([' ', '-']).split_once(':')?;
    (is_name(key) && !value.is_empty() && !value.starts_with([' ', '/', ':'])).then_some((key, value.trim()))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// The value in the quotes that need the fewest changes, cut where it is long.
fn quoted(value: &str) -> String {
    let value = super::compose::clip(value);
    if value.contains('\'') { format!("\"{}\"", value.replace('"', "\\\"")) } else { format!("'{value}'") }
}

#[cfg(test)]
mod tests {
    use crate::tests::error;

    #[test]
    fn the_commonest_slips_are_told_with_what_to_write() {
        for (line, hint) in [
            ("schedule: @daily", "put the value in quotes: schedule: '@daily'"),
            ("schedule: * * * * *", "put the value in quotes: schedule: '* * * * *'"),
            ("description: %foo", "put the value in quotes: description: '%foo'"),
            ("description: `x`", "put the value in quotes: description: '`x`'"),
            ("description: it's: bad", "text with a colon in it must stand in quotes: description: \"it's: bad\""),
            ("description: a: b", "text with a colon in it must stand in quotes: description: 'a: b'"),
            ("catchup:false", "put a space after the colon: `catchup: false`"),
            ("tags: [a, b", "a `[` above is not closed; add the `]`"),
            (
                "description: \"abc",
                "close the quote; within '...' write '' for a single one, within \"...\" write \\\"",
            ),
            ("description: \"a\" b", "quotes go around the whole value; put all of it into '...'"),
            ("description: \"a\\qb\"", "a backslash in \"...\" begins an escape; write \\\\ for one, or use '...'"),
            ("description: {{ ds }}x", "text that begins with a template must stand in quotes: \"{{ ds }}\""),
            (
                " catchup: false",
                "this line is indented by 3 spaces, the one above by 2; keys of one mapping stand below each other",
            ),
        ] {
            let found = error(&format!(
                "etl:\n  start_date: 2026-01-01\n  {line}\n  tasks:\n    t: {{operator: EmptyOperator}}\n"
            ));
            assert_eq!((found.code, found.hint.as_deref()), ("yaml-syntax", Some(hint)), "{line}: {}", found.message);
        }
        let conflict = error("etl:\n<<<<<<< HEAD\n  catchup: true\n=======\n  catchup: false\n>>>>>>> other\n");
        assert_eq!(
            conflict.hint.as_deref(),
            Some("this is a conflict that git left in the file; keep one of the two sides")
        );
    }

    #[test]
    fn what_the_parser_calls_recursion_is_told_as_depth() {
        let found = error(&format!("a: {}", "[".repeat(1_000)));
        assert_eq!(found.code, "too-deep");
    }
}
