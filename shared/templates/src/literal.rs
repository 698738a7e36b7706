//! Reads Python literals: what `ast.literal_eval(ast.parse(text, mode="eval"))` accepts.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use minijinja::Error;

use crate::error::{ErrorKind, raise, type_error};
use crate::native::Native;
use crate::python::text::float;

/// Python's own bound on open brackets.
const BRACKETS_MAX: usize = 100;

/// Most values in one literal. A text of [`crate::OUTPUT_BYTES_MAX`] could hold millions, each many times the size of its text.
const VALUES_MAX: usize = 500_000;

/// The value of a literal, or `None` if the text is none.
///
/// # Errors
/// [`ErrorKind::Evaluation`] for a set or dict with keys that have no hash (`{{}}`), which Python does not catch either, and
/// [`ErrorKind::Limit`] for a literal of too many values.
pub(crate) fn parse(text: &str) -> Result<Option<Native>, Error> {
    // Indentation is an error to Python's parser, but not on a blank line.
    let body = text.trim_start_matches(['\n', '\r', '\u{c}']);
    if body.starts_with([' ', '\t']) || body.contains('\0') {
        return Ok(None);
    }
    let mut parser = Parser { rest: body, depth: 0, values: 0, nested: 0 };
    let parsed = parser.expression_list().and_then(|value| {
        parser.skip();
        // Only blank lines and comments may follow.
        while let Some(rest) = parser.rest.strip_prefix(['\n', '\r', '\u{c}']) {
            parser.rest = rest;
            parser.skip();
        }
        if parser.rest.is_empty() { Ok(value) } else { Err(Stop::NoLiteral) }
    });
    match parsed {
        Ok(value) => Ok(Some(value)),
        Err(Stop::NoLiteral) => Ok(None),
        Err(Stop::Unhashable) => Err(type_error("the text is a literal with a list or dict as key of a set or dict")),
        Err(Stop::TooMany) => {
            Err(raise(ErrorKind::Limit, format!("the text is a literal of more than {VALUES_MAX} values")))
        }
    }
}

/// Why there is no value.
enum Stop {
    NoLiteral,
    Unhashable,
    TooMany,
}

struct Parser<'t> {
    rest: &'t str,
    /// Open brackets: inside them lines may end.
    depth: usize,
    values: usize,
    /// Signs and brackets around the present value.
    nested: usize,
}

impl Parser<'_> {
    /// Skips what may stand between tokens.
    fn skip(&mut self) {
        loop {
            let blank: &[char] = if self.depth > 0 { &[' ', '\t', '\u{c}', '\n', '\r'] } else { &[' ', '\t', '\u{c}'] };
            self.rest = self.rest.trim_start_matches(blank);
            if self.rest.starts_with('#') {
                self.rest = self.rest.trim_start_matches(|c| c != '\n');
            } else if let Some(rest) = self.rest.strip_prefix("\\\n") {
                self.rest = rest;
            } else {
                return;
            }
        }
    }

    fn eat(&mut self, token: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: char) -> Result<(), Stop> {
        if self.eat(token) { Ok(()) } else { Err(Stop::NoLiteral) }
    }

    /// `1` or, without brackets, the tuple `1, 2`.
    fn expression_list(&mut self) -> Result<Native, Stop> {
        let first = self.sum()?;
        if !self.eat(',') {
            return Ok(first);
        }
        let mut items = vec![first];
        loop {
            self.skip();
            if self.rest.is_empty() || self.rest.starts_with(['\n', '\r']) {
                return Ok(Native::Tuple(items));
            }
            items.push(self.sum()?);
            if !self.eat(',') {
                return Ok(Native::Tuple(items));
            }
        }
    }

    /// A value, or a complex number: the one place where literals may be added.
    fn sum(&mut self) -> Result<Native, Stop> {
        let left = self.signed()?;
        self.skip();
        let Some(sign @ ('+' | '-')) = self.rest.chars().next() else { return Ok(left) };
        let (Native::Int(_) | Native::Float(_)) = left else { return Err(Stop::NoLiteral) };
        self.rest = &self.rest[1..];
        self.skip();
        let right = self.atom()?;
        let Some(imaginary) = imaginary(&right) else { return Err(Stop::NoLiteral) };
        let real = match left {
            Native::Int(number) => number as f64,
            Native::Float(number) => number,
            _ => return Err(Stop::NoLiteral),
        };
        Ok(complex(real, if sign == '-' { -imaginary } else { imaginary }))
    }

    fn signed(&mut self) -> Result<Native, Stop> {
        self.skip();
        let Some(sign @ ('+' | '-')) = self.rest.chars().next() else { return self.atom() };
        self.rest = &self.rest[1..];
        self.nested += 1;
        if self.nested > BRACKETS_MAX {
            return Err(Stop::NoLiteral);
        }
        // `literal_eval` takes a sign before a number only; before a signed number it is none.
        self.skip();
        let number = self.atom()?;
        self.nested -= 1;
        match (sign, number) {
            (_, Native::Bool(_)) => Err(Stop::NoLiteral),
            ('+', number @ (Native::Int(_) | Native::Float(_))) => Ok(number),
            ('-', Native::Int(number)) => Ok(Native::Int(-number)),
            ('-', Native::Float(number)) => Ok(Native::Float(-number)),
            (sign, number) => match imaginary(&number) {
                Some(imaginary) => Ok(complex(0.0, if sign == '-' { -imaginary } else { imaginary })),
                None => Err(Stop::NoLiteral),
            },
        }
    }

    fn atom(&mut self) -> Result<Native, Stop> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(Stop::TooMany);
        }
        self.skip();
        match self.rest.chars().next() {
            Some('(') => self.bracketed(Self::parenthesized),
            Some('[') => self.bracketed(|parser| parser.items(']', Vec::new()).map(Native::List)),
            Some('{') => self.bracketed(Self::braces),
            Some('.') if self.rest.starts_with("...") => {
                self.rest = &self.rest[3..];
                Ok(Native::Object { class: "ellipsis".to_owned(), text: "Ellipsis".to_owned() })
            }
            Some('0'..='9' | '.') => self.number(),
            Some('\'' | '"') => self.strings(),
            Some(c) if c.is_alphabetic() || c == '_' => self.word(),
            _ => Err(Stop::NoLiteral),
        }
    }

    fn bracketed(&mut self, inside: impl FnOnce(&mut Self) -> Result<Native, Stop>) -> Result<Native, Stop> {
        self.rest = &self.rest[1..];
        self.depth += 1;
        self.nested += 1;
        if self.nested > BRACKETS_MAX {
            return Err(Stop::NoLiteral);
        }
        let value = inside(self);
        self.depth -= 1;
        self.nested -= 1;
        value
    }

    fn parenthesized(&mut self) -> Result<Native, Stop> {
        if self.eat(')') {
            return Ok(Native::Tuple(Vec::new()));
        }
        let first = self.sum()?;
        if self.eat(')') {
            return Ok(first);
        }
        self.expect(',')?;
        self.items(')', vec![first]).map(Native::Tuple)
    }

    /// Values up to a closing bracket; a comma may stand before it.
    fn items(&mut self, close: char, mut items: Vec<Native>) -> Result<Vec<Native>, Stop> {
        while !self.eat(close) {
            items.push(self.sum()?);
            if !self.eat(',') {
                self.expect(close)?;
                break;
            }
        }
        Ok(items)
    }

    fn braces(&mut self) -> Result<Native, Stop> {
        if self.eat('}') {
            return Ok(Native::Dict(Vec::new()));
        }
        let first = self.sum()?;
        if !self.eat(':') {
            let items = if self.eat(',') {
                self.items('}', vec![first])?
            } else {
                self.expect('}')?;
                vec![first]
            };
            let mut set: Vec<Native> = Vec::new();
            let mut seen = BTreeSet::new();
            for item in items {
                if seen.insert(hashed(&item)?) {
                    set.push(item);
                }
            }
            return Ok(Native::Set(set));
        }
        let mut entries = vec![(first, self.sum()?)];
        while self.eat(',') && !self.at_close() {
            let key = self.sum()?;
            self.expect(':')?;
            entries.push((key, self.sum()?));
        }
        self.expect('}')?;
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let mut dict: Vec<(Native, Native)> = Vec::new();
        for (key, value) in entries {
            // The last of equal keys wins, in the place of the first.
            match places.entry(hashed(&key)?) {
                Entry::Occupied(place) => dict[*place.get()].1 = value,
                Entry::Vacant(place) => {
                    place.insert(dict.len());
                    dict.push((key, value));
                }
            }
        }
        Ok(Native::Dict(dict))
    }

    fn at_close(&mut self) -> bool {
        self.skip();
        self.rest.starts_with('}')
    }

    /// `None`, `True`, `False`, `set()`, or the prefix of a string.
    fn word(&mut self) -> Result<Native, Stop> {
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let (word, after) = self.rest.split_at(end);
        if after.starts_with(['\'', '"']) {
            return self.strings();
        }
        self.rest = after;
        match word {
            "None" => Ok(Native::None),
            "True" => Ok(Native::Bool(true)),
            "False" => Ok(Native::Bool(false)),
            "set" => {
                self.expect('(')?;
                self.expect(')')?;
                Ok(Native::Set(Vec::new()))
            }
            _ => Err(Stop::NoLiteral),
        }
    }

    fn number(&mut self) -> Result<Native, Stop> {
        let bytes = self.rest.as_bytes();
        let is_exponent = |at: usize| at > 0 && matches!(bytes[at - 1], b'e' | b'E');
        let based = bytes.len() > 1 && bytes[0] == b'0' && bytes[1].is_ascii_alphabetic();
        let end = (0..bytes.len())
            .find(|at| {
                let byte = bytes[*at];
                !(byte.is_ascii_alphanumeric()
                    || byte == b'_'
                    || byte == b'.'
                    || (matches!(byte, b'+' | b'-') && is_exponent(*at) && !based))
            })
            .unwrap_or(bytes.len());
        let (number, after) = self.rest.split_at(end);
        if after.starts_with(|c: char| c.is_alphanumeric()) {
            return Err(Stop::NoLiteral);
        }
        self.rest = after;
        self::number(number).ok_or(Stop::NoLiteral)
    }

    /// One string, or several side by side, which are one.
    fn strings(&mut self) -> Result<Native, Stop> {
        let mut joined: Option<Native> = None;
        loop {
            let piece = self.string()?;
            joined = Some(match (joined, piece) {
                (None, piece) => piece,
                (Some(Native::Text(a)), Native::Text(b)) => Native::Text(a + &b),
                (Some(Native::Bytes(a)), Native::Bytes(b)) => Native::Bytes([a, b].concat()),
                _ => return Err(Stop::NoLiteral),
            });
            self.skip();
            let prefix = self.rest.trim_start_matches(|c: char| c.is_ascii_alphabetic());
            if self.rest.len() - prefix.len() > 2 || !prefix.starts_with(['\'', '"']) {
                return joined.ok_or(Stop::NoLiteral);
            }
        }
    }

    fn string(&mut self) -> Result<Native, Stop> {
        let start = self.rest.find(['\'', '"']).ok_or(Stop::NoLiteral)?;
        let prefix = self.rest[..start].to_ascii_lowercase();
        let (is_bytes, is_raw) = match prefix.as_str() {
            "" | "u" => (false, false),
            "r" => (false, true),
            "b" => (true, false),
            "br" | "rb" => (true, true),
            // A formatted string is no literal.
            _ => return Err(Stop::NoLiteral),
        };
        let body = &self.rest[start..];
        let quote = &body[..1];
        let long = quote.repeat(3);
        let delimiter = if body.starts_with(&long) { long.as_str() } else { quote };
        let body = &body[delimiter.len()..];
        let end = closing(body, delimiter).ok_or(Stop::NoLiteral)?;
        let (content, after) = (&body[..end], &body[end + delimiter.len()..]);
        if delimiter.len() == 1 && ends_line(content) {
            return Err(Stop::NoLiteral);
        }
        let text = if is_raw { Some(content.to_owned()) } else { unescape(content, is_bytes) };
        self.rest = after;
        let text = text.ok_or(Stop::NoLiteral)?;
        if !is_bytes {
            return Ok(Native::Text(text));
        }
        // An escape beyond ASCII was made a character of that number.
        text.chars()
            .map(|c| u8::try_from(u32::from(c)).ok())
            .collect::<Option<_>>()
            .map(Native::Bytes)
            .ok_or(Stop::NoLiteral)
    }
}

/// Where a string ends, past everything that is escaped.
fn closing(body: &str, delimiter: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if body[at..].starts_with(delimiter) {
            return Some(at);
        }
    }
    None
}

/// Whether a short string runs over the end of its line.
fn ends_line(content: &str) -> bool {
    let mut escaped = false;
    content.chars().any(|c| {
        let ends = c == '\n' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })
}

fn unescape(content: &str, is_bytes: bool) -> Option<String> {
    if is_bytes && !content.is_ascii() {
        return None;
    }
    let mut text = String::new();
    let mut rest = content;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            '\n' => {}
            '\\' | '\'' | '"' => text.push(c),
            'a' => text.push('\u{7}'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'v' => text.push('\u{b}'),
            '0'..='7' => {
                let digits = 1 + rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let octal = format!("{c}{}", &rest[..digits - 1]);
                rest = &rest[digits - 1..];
                let code = u32::from_str_radix(&octal, 8).ok()?;
                text.push(char::from_u32(if is_bytes { code & 0xff } else { code })?);
            }
            'x' => text.push(code_point(&mut rest, 2)?),
            'u' if !is_bytes => text.push(code_point(&mut rest, 4)?),
            'U' if !is_bytes => text.push(code_point(&mut rest, 8)?),
            // Names of characters would need Unicode's table; such a text stays as it is.
            'N' if !is_bytes => return None,
            other => text.extend(['\\', other]),
        }
    }
    text.push_str(rest);
    Some(text)
}

fn code_point(rest: &mut &str, digits: usize) -> Option<char> {
    let code = rest.get(..digits).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()))?;
    *rest = &rest[digits..];
    char::from_u32(u32::from_str_radix(code, 16).ok()?)
}

/// A number without sign.
fn number(text: &str) -> Option<Native> {
    let lower = text.to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            let digits = digits.strip_prefix('_').unwrap_or(digits);
            return i128::from_str_radix(&without_underscores(digits)?, radix).ok().map(Native::Int);
        }
    }
    if let Some(imaginary) = lower.strip_suffix('j') {
        return real(imaginary).map(|number| complex(0.0, number));
    }
    if lower.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        let digits = without_underscores(&lower)?;
        let is_padded = digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|b| b != b'0');
        return if is_padded { None } else { digits.parse().ok().map(Native::Int) };
    }
    real(&lower).map(Native::Float)
}

/// Digits with single underscores between them.
fn without_underscores(text: &str) -> Option<String> {
    let is_tidy = !text.is_empty() && !text.starts_with('_') && !text.ends_with('_') && !text.contains("__");
    is_tidy.then(|| text.replace('_', ""))
}

fn real(text: &str) -> Option<f64> {
    let (mantissa, exponent) =
        text.split_once('e').map_or((text, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = |text: &str| match text {
        "" => Some(String::new()),
        text => without_underscores(text).filter(|text| text.bytes().all(|b| b.is_ascii_digit())),
    };
    let mut number = format!("{}.{}", digits(whole)?, digits(fraction)?);
    if let Some(exponent) = exponent {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let sign = if exponent.starts_with('-') { "-" } else { "" };
        number = format!("{number}e{sign}{}", digits(unsigned).filter(|digits| !digits.is_empty())?);
    }
    if number.starts_with('.') {
        number.insert(0, '0');
    }
    number.parse().ok()
}

/// Python's `complex`, as it prints.
fn complex(real: f64, imaginary: f64) -> Native {
    let short = |number: f64| {
        let text = float(number);
        text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
    };
    let text = if real == 0.0 && real.is_sign_positive() {
        format!("{}j", short(imaginary))
    } else {
        let sign = if imaginary.is_sign_negative() { "" } else { "+" };
        format!("({}{sign}{}j)", short(real), short(imaginary))
    };
    Native::Object { class: "complex".to_owned(), text }
}

/// The number before the `j` of a purely imaginary number.
fn imaginary(number: &Native) -> Option<f64> {
    match number {
        Native::Object { class, text } if class == "complex" => text.strip_suffix('j')?.parse().ok(),
        _ => None,
    }
}

/// What equal keys have in common; lists, sets and dicts have no hash.
fn hashed(key: &Native) -> Result<String, Stop> {
    Ok(match key {
        Native::List(_) | Native::Set(_) | Native::Dict(_) => return Err(Stop::Unhashable),
        // 1, 1.0 and True are one key.
        Native::Bool(value) => format!("n{}", f64::from(u8::from(*value))),
        Native::Int(number) if number.unsigned_abs() < 1 << 53 => format!("n{}", *number as f64),
        Native::Int(number) => format!("i{number}"),
        Native::Float(number) => format!("n{number}"),
        Native::Text(text) => format!("t{text}"),
        Native::Bytes(bytes) => format!("b{bytes:?}"),
        Native::None => "none".to_owned(),
        Native::Object { text, .. } => format!("o{text}"),
        Native::Tuple(items) => {
            let items = items.iter().map(hashed).collect::<Result<Vec<_>, _>>()?;
            let lengths: Vec<String> = items.iter().map(|item| item.len().to_string()).collect();
            format!("({}:{})", lengths.join(","), items.concat())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Native {
        Native::Text(value.to_owned())
    }

    #[test]
    fn literals_are_read_as_python_does() {
        for (literal, expected) in [
            ("1_000", Native::Int(1000)),
            ("0x1F", Native::Int(31)),
            ("00", Native::Int(0)),
            ("-5", Native::Int(-5)),
            ("1e3", Native::Float(1000.0)),
            (".5", Native::Float(0.5)),
            ("5.", Native::Float(5.0)),
            ("'a' \"b\"", text("ab")),
            ("'''a\nb'''", text("a\nb")),
            (r"'\x41\u00e9\101\q'", text("A\u{e9}A\\q")),
            (r"r'\n'", text("\\n")),
            (r"b'\xff'", Native::Bytes(vec![255])),
            ("1, 2,", Native::Tuple(vec![Native::Int(1), Native::Int(2)])),
            ("(1)", Native::Int(1)),
            ("()", Native::Tuple(Vec::new())),
            ("[1,\n 2]", Native::List(vec![Native::Int(1), Native::Int(2)])),
            ("{1: 'x', True: 'y'}", Native::Dict(vec![(Native::Int(1), text("y"))])),
            ("{1, 1, 2}", Native::Set(vec![Native::Int(1), Native::Int(2)])),
            ("set()", Native::Set(Vec::new())),
            ("1 # one", Native::Int(1)),
            ("\n1\n", Native::Int(1)),
            ("3-2j", Native::Object { class: "complex".to_owned(), text: "(3-2j)".to_owned() }),
        ] {
            assert_eq!(parse(literal).unwrap(), Some(expected), "{literal}");
        }
    }

    #[test]
    fn what_is_no_literal_stays_a_text() {
        for no_literal in [
            "",
            " 1",
            "01",
            "1__0",
            "1_",
            "abc",
            "1 2",
            "1+1",
            "f'x'",
            "'a",
            "'a\nb'",
            "[1",
            "{1: 2, 3}",
            "- -1",
            "-True",
            "0x",
            "1e",
            "true",
            "null",
            "2025-01-02",
            "1.2.3",
            "[1] + [2]",
            "1if 1else 2",
            "é",
            "'\\N{BULLET}'",
            ".",
            "1,,2",
            "--1",
        ] {
            assert_eq!(parse(no_literal).unwrap(), None, "{no_literal}");
        }
        for unhashable in ["{{}}", "{[1]: 2}", "{([],): 1}"] {
            assert!(parse(unhashable).is_err(), "{unhashable}");
        }
    }

    #[test]
    fn a_literal_is_bounded() {
        assert_eq!(parse(&"[".repeat(100_000)).unwrap(), None);
        assert_eq!(parse(&"-".repeat(100_000)).unwrap(), None);
        assert_eq!(parse(&"9".repeat(100_000)).unwrap(), None);
        assert_eq!(
            parse(&"1,".repeat(VALUES_MAX + 1)).unwrap_err().detail().map(|d| d.contains("more than")),
            Some(true)
        );
    }
}
