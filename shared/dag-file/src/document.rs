//! YAML that is no DAG file, as JSON: what people import.

use crate::LoadOptions;
use crate::diagnostic::{Diagnostic, Severity};
use crate::reader::{Cursor, Problem, Sink};
use crate::text;
use crate::yaml::Position;
use crate::yaml::compose::{self, Fatal};
use jiff::Timestamp;
use serde_json::Value as Json;

/// Reads one YAML document as PyYAML does, within the bounds of a DAG file. `file` is what messages call it. Nothing in it is replaced.
///
/// # Errors
/// What is wrong with it, at least one problem, in the order of the text.
pub fn read_document(file: &str, bytes: &[u8]) -> Result<Json, Vec<Diagnostic>> {
    let options = LoadOptions::new(Timestamp::UNIX_EPOCH);
    let sink = Sink::new(file, &options);
    let problem = |fatal: Fatal| {
        let Fatal { at, code, message, hint } = fatal;
        sink.note(None, "", Problem { severity: Severity::Error, at, code, message, hint });
    };
    let read = text::read(0, bytes, &options.env)
        .and_then(|source| compose::compose(&source.text, &|marker| source.place(marker)));
    let value = match read {
        Err(fatal) => {
            problem(fatal);
            None
        }
        Ok(composed) => {
            for note in composed.notes.into_iter().filter(|note| note.error) {
                let key_path = note.path.join(".");
                let problem = Problem {
                    severity: Severity::Error,
                    at: note.at,
                    code: note.code,
                    message: note.message,
                    hint: note.hint,
                };
                sink.note(None, &key_path, problem);
            }
            match &composed.root {
                None => Some(Json::Null),
                Some(node) => Cursor {
                    sink: &sink,
                    dag_id: None,
                    path: "".into(),
                    name: "".into(),
                    key_at: Position::START,
                    node,
                }
                .json_keeping(),
            }
        }
    };
    let problems = sink.into_diagnostics();
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(problems),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_is_read_as_pyyaml_reads_it() {
        let read = |text: &str| read_document("f.yaml", text.as_bytes());
        assert_eq!(read("a: {b: [1, yes, '2']}\nc: $HOME\n"), Ok(json!({"a": {"b": [1, true, "2"]}, "c": "$HOME"})));
        assert_eq!(read(""), Ok(Json::Null));
        for (text, said) in [("a: [", "f.yaml:"), ("a: .inf", "infinity"), ("a: !!python/name:os.system x", "f.yaml:1")]
        {
            let problems = read(text).unwrap_err();
            assert!(problems[0].to_string().contains(said), "{text}: {problems:?}");
        }
    }
}
