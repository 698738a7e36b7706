//! Percent-encoding as Python's `urllib.parse` has it: what connection URIs are written in.

/// Encodes everything but letters, digits and `_.-~`: Python's `quote(text, safe="")`.
pub(crate) fn quote(text: &str) -> String {
    encode(text, false)
}

/// The same, with `+` for a space: Python's `quote_plus`, which `urlencode` uses.
pub(crate) fn quote_plus(text: &str) -> String {
    encode(text, true)
}

fn encode(text: &str, plus: bool) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(char::from(byte)),
            b' ' if plus => out.push('+'),
            _ => {
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
    out
}

/// Decodes `%XX`; what is no such sequence stays, and bytes that are no UTF-8 become U+FFFD. Python's `unquote`.
pub(crate) fn unquote(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The pairs of a query, blank values kept: Python's `parse_qsl(query, keep_blank_values=True)`.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let decode = |text: &str| unquote(&text.replace('+', " "));
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| match pair.split_once('=') {
        Some((name, value)) => (decode(name), decode(value)),
        None => (decode(pair), String::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(text in "\\PC{0,30}") {
            prop_assert_eq!(unquote(&quote(&text)), text.clone());
            let query = format!("{}={}", quote_plus(&text), quote_plus(&text));
            prop_assert_eq!(pairs(&query).collect::<Vec<_>>(), vec![(text.clone(), text)]);
        }
    }

    #[test]
    fn what_is_no_sequence_stays() {
        assert_eq!(unquote("100%25 %zz %4 %C3%A4 %FF"), "100% %zz %4 ä \u{fffd}");
        assert_eq!(quote("a/ü b~"), "a%2F%C3%BC%20b~");
    }
}
