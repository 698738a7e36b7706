//! Regular expressions that people type.

use regex::{Regex, RegexBuilder};

/// How much memory a compiled expression may take, in bytes.
const COMPILED_BYTES_MAX: usize = 4 << 20;

/// An expression as a person typed it; it matches anywhere, as Python's `re.search` does.
pub(crate) fn parse_regex(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "this regular expression takes too much memory".to_owned(),
        other => format!("this is no regular expression: {}", other.to_string().lines().last().unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_none_says_so() {
        assert!(parse_regex("^a.b$").unwrap().is_match("axb"));
        assert!(parse_regex("(").unwrap_err().contains("no regular expression"));
        assert!(parse_regex("(a{1000}){1000}").unwrap_err().contains("too much memory"));
    }
}
