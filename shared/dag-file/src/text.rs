//! From bytes to the text the YAML parser sees: size, encoding, characters, variables.

use crate::yaml::Position;
use crate::yaml::compose::Fatal;
use granit_parser::Marker;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The largest file, in bytes, before and after variables are put in.
pub const FILE_BYTES_MAX: usize = 10 * 1024 * 1024;

/// The text to parse, and the way back from its places to the user's.
pub(crate) struct Source<'a> {
    /// Which file this is, for places.
    file: u16,
    pub(crate) text: Cow<'a, str>,
    replaced: Vec<Replaced>,
    /// Where the original's lines begin, in characters; only filled where something was replaced.
    line_starts: Vec<usize>,
}

/// A variable that was put in; positions and lengths in characters.
struct Replaced {
    /// Where its value begins in the expanded text.
    expanded_at: usize,
    expanded_length: usize,
    /// Where `$NAME` begins in the original.
    original_at: usize,
    original_length: usize,
}

/// Checks size, encoding and characters, and puts in variables.
pub(crate) fn read<'a>(file: u16, bytes: &'a [u8], env: &BTreeMap<String, String>) -> Result<Source<'a>, Fatal> {
    read_at(file, bytes, env).map_err(|fatal| Fatal { at: Position { file, ..fatal.at }, ..fatal })
}

fn read_at<'a>(file: u16, bytes: &'a [u8], env: &BTreeMap<String, String>) -> Result<Source<'a>, Fatal> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(refused(Position::START, "too-large", size_message(bytes.len()), Some("split the file")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let offset = e.valid_up_to();
        let before = std::str::from_utf8(&bytes[..offset]).unwrap_or_default();
        let message =
            format!("the file is not UTF-8: byte {:#04x} at offset {offset} begins no character", bytes[offset]);
        refused(end_of(before), "not-utf8", message, Some("save it as UTF-8"))
    })?;
    if let Some((offset, character)) = text.char_indices().find(|(_, c)| !printable(*c)) {
        let message = format!("the control character U+{:04X} is not allowed in YAML", character as u32);
        return Err(refused(end_of(&text[..offset]), "control-character", message, Some("remove it")));
    }
    expand(file, text, env)
}

fn refused(at: Position, code: &'static str, message: String, hint: Option<&str>) -> Fatal {
    Fatal { at, code, message, hint: hint.map(str::to_owned) }
}

fn size_message(length: usize) -> String {
    format!("the file has {length} bytes; at most {FILE_BYTES_MAX} are read")
}

/// What YAML 1.1 calls printable.
fn printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\x20'..='\x7e' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        || (c > '\u{ffff}')
}

/// The place right after `text`.
fn end_of(text: &str) -> Position {
    let line = text.matches('\n').count() as u32 + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() as u32 + 1;
    Position { line, column, ..Position::START }
}

/// Puts in `$NAME` and `${NAME}` as `os.path.expandvars` does: before the text is parsed, known names only, everything
/// else as written.
fn expand<'a>(file: u16, original: &'a str, env: &BTreeMap<String, String>) -> Result<Source<'a>, Fatal> {
    let mut source = Source { file, text: Cow::Borrowed(original), replaced: Vec::new(), line_starts: Vec::new() };
    if env.is_empty() || !original.contains('$') {
        return Ok(source);
    }
    let mut out = String::with_capacity(original.len());
    let (mut out_characters, mut in_characters) = (0, 0);
    let mut rest = original;
    // Without this a file of `${` alone would be searched to its end for every one of them.
    let last_brace = original.rfind('}').unwrap_or(0);
    while let Some(dollar) = rest.find('$') {
        let (before, from) = rest.split_at(dollar);
        let is_closed = original.len() - from.len() < last_brace;
        let length = variable_length(from, is_closed);
        let name = &from[1..length];
        let name = name.strip_prefix('{').and_then(|n| n.strip_suffix('}')).unwrap_or(name);
        let (piece, tail) = from.split_at(length);
        out.push_str(before);
        out_characters += before.chars().count();
        in_characters += before.chars().count();
        let value = env.get(name).filter(|_| length > 1);
        let written = value.map_or(piece, String::as_str);
        let (written_length, piece_length) = (written.chars().count(), piece.chars().count());
        if value.is_some() {
            source.replaced.push(Replaced {
                expanded_at: out_characters,
                expanded_length: written_length,
                original_at: in_characters,
                original_length: piece_length,
            });
        }
        out.push_str(written);
        out_characters += written_length;
        in_characters += piece_length;
        if out.len() > FILE_BYTES_MAX {
            let hint = Some("use shorter values for the variables");
            return Err(refused(Position::START, "too-large", size_message(out.len()), hint));
        }
        rest = tail;
    }
    out.push_str(rest);
    if let Some((_, character)) = out.char_indices().find(|(_, c)| !printable(*c)) {
        let message = format!("the value of a variable contains the control character U+{:04X}", character as u32);
        return Err(refused(Position::START, "control-character", message, None));
    }
    if !source.replaced.is_empty() {
        let breaks = original.chars().enumerate().filter(|(_, c)| *c == '\n').map(|(i, _)| i + 1);
        source.line_starts = std::iter::once(0).chain(breaks).collect();
        source.text = Cow::Owned(out);
    }
    Ok(source)
}

/// The length in bytes of the `$NAME` or `${NAME}` at the beginning; 1 where the `$` stands for itself. `is_closed`: there
/// is a closing brace somewhere.
fn variable_length(text: &str, is_closed: bool) -> usize {
    let rest = &text[1..];
    if let Some(inner) = rest.strip_prefix('{') {
        return if is_closed { inner.find('}').map_or(1, |end| end + 3) } else { 1 };
    }
    1 + rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len())
}

impl Source<'_> {
    /// The user's place for a place of the parser.
    pub(crate) fn place(&self, marker: Marker) -> Position {
        if self.replaced.is_empty() {
            return Position { file: self.file, line: (marker.line() as u32).max(1), column: marker.col() as u32 + 1 };
        }
        let index = marker.index();
        let after = self.replaced.partition_point(|r| r.expanded_at <= index);
        let original = match after.checked_sub(1).map(|i| &self.replaced[i]) {
            None => index,
            Some(r) if index < r.expanded_at + r.expanded_length => r.original_at,
            Some(r) => r.original_at + r.original_length + (index - r.expanded_at - r.expanded_length),
        };
        let line = self.line_starts.partition_point(|start| *start <= original).max(1);
        Position { file: self.file, line: line as u32, column: (original - self.line_starts[line - 1]) as u32 + 1 }
    }
}
