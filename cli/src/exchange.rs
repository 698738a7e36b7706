//! Files that are imported and exported: JSON, YAML, `.env`.

use crate::failure::Failure;
use crate::printer::Printer;
use serde_json::{Map, Value};
use std::io::Read;
use std::path::Path;

/// The largest file that is imported, in bytes.
const FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FileFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Lines of `NAME=VALUE`.
    Env,
}

impl FileFormat {
    /// The format that a file's name tells.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        // `.env` alone is a name without an extension.
        let extension = path.extension().or_else(|| path.file_name().filter(|name| *name == ".env"))?;
        match extension.to_string_lossy().to_lowercase().as_str() {
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            "env" | ".env" => Some(Self::Env),
            _ => None,
        }
    }
}

/// Whether a path stands for standard output (or input).
pub(crate) fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// Reads a file of names with values, by the format that its name tells; `-` is standard input, in JSON.
///
/// # Errors
/// A failure that names the file and the place, and shows no value.
pub(crate) fn read(path: &Path) -> Result<Map<String, Value>, Failure> {
    let shown = path.display();
    let wrong = |cause: String| Failure::user(format!("the file `{shown}` cannot be imported")).cause(cause);
    let format = if is_standard(path) { Some(FileFormat::Json) } else { FileFormat::of(path) };
    let format = format.ok_or_else(|| {
        wrong("its name does not tell what it is".to_owned()).hint("name it `.json`, `.yaml`, `.yml` or `.env`")
    })?;
    let bytes = bytes_of(path).map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!("it has more than {FILE_BYTES_MAX} bytes")).hint("split it"));
    }
    let value = match format {
        FileFormat::Json => serde_json::from_slice(&bytes)
            .map_err(|e| wrong(format!("it is no JSON: line {}, column {}", e.line(), e.column())))?,
        FileFormat::Yaml => updraft_dag_file::read_document(&shown.to_string(), &bytes)
            .map_err(|problems| wrong(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?,
        FileFormat::Env => Value::Object(lines(&bytes).map_err(wrong)?),
    };
    match value {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        _ => Err(wrong("it must be a mapping of names to values".to_owned())),
    }
}

fn bytes_of(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if is_standard(path) {
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Lines of `NAME=VALUE`; empty ones and those beginning with `#` are left out.
fn lines(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let mut map = Map::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| format!("line {} has no `=`", number + 1))?;
        if map.insert(name.trim().to_owned(), Value::String(value.trim().to_owned())).is_some() {
            return Err(format!("line {} names `{}` a second time", number + 1, name.trim()));
        }
    }
    Ok(map)
}

/// Writes an export: to standard output for `-`, else to a file that only its owner may read, since exports hold secrets.
pub(crate) fn write(path: &Path, text: &str, printer: Printer) -> Result<(), Failure> {
    if is_standard(path) {
        return printer.text(text);
    }
    let written = write_private(path, text);
    written
        .map_err(|e| Failure::user(format!("the file `{}` could not be written", path.display())).cause(e.to_string()))
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_format() {
        for (name, format) in [
            ("a.json", Some(FileFormat::Json)),
            ("a.YML", Some(FileFormat::Yaml)),
            (".env", Some(FileFormat::Env)),
            ("prod.env", Some(FileFormat::Env)),
            ("a.txt", None),
            ("json", None),
        ] {
            assert_eq!(FileFormat::of(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn lines_are_names_with_values() {
        let map = lines(b"# c\n\n a = x=y \nb=\n").unwrap();
        assert_eq!(Value::Object(map), serde_json::json!({"a": "x=y", "b": ""}));
        assert_eq!(lines(b"a=1\nhunter22").unwrap_err(), "line 2 has no `=`");
        assert!(lines(b"a=1\na=2").unwrap_err().contains("second time"));
    }
}
