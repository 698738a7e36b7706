//! Callbacks in every spelling: a dotted path, a mapping with `callback` and arguments, a list of either, or a function's
//! name beside the file that holds it.

use crate::paths::Paths;
use crate::reader::Cursor;
use crate::yaml::Value;
use crate::yaml::compose::clip;
use serde_json::Map as JsonMap;
use updraft_model::{Callback, CallbackKind, Callbacks};

const FORMS: &str = "write a dotted path, `{callback: dotted.path, argument: value}`, or `{bash_command: command}`";

/// What stands for a callback that is a command.
const BASH: &str = "updraft.bash";

/// The occasion and the part of a key such as `on_failure_callback_name`.
fn split(key: &str) -> Option<(CallbackKind, &str)> {
    CallbackKind::ALL.into_iter().find_map(|kind| {
        let rest = key.strip_prefix(kind.key())?;
        matches!(rest, "" | "_name" | "_file").then_some((kind, rest))
    })
}

/// Whether a key sets a callback, or is one of the pair that does.
pub(crate) fn is_key(key: &str) -> bool {
    key.ends_with("_callback") || key.contains("_callback_")
}

/// Puts in what some keys say about callbacks; other keys are passed over. What is said replaces what was there.
pub(crate) fn apply<'a, 'c>(
    callbacks: &mut Callbacks,
    fields: impl Iterator<Item = (&'c str, &'c Cursor<'a>)> + Clone,
    paths: Paths<'_>,
) where
    'a: 'c,
{
    for (key, cursor) in fields.clone() {
        let Some((kind, part)) = split(key).filter(|_| is_key(key)) else { continue };
        let found = match part {
            "" => several(cursor),
            "_name" => {
                let beside = format!("{}_file", kind.key());
                let file = fields.clone().find(|(key, _)| *key == beside).map(|(_, cursor)| cursor);
                // One of the two alone is passed over, as dag-factory does.
                file.filter(|f| !f.is_none()).and_then(|file| in_file(cursor, file, paths)).map(|c| vec![c])
            }
            _ => None,
        };
        match found {
            Some(list) if list.is_empty() => drop(callbacks.remove(&kind)),
            Some(list) => drop(callbacks.insert(kind, list)),
            None => {}
        }
    }
}

fn several(cursor: &Cursor<'_>) -> Option<Vec<Callback>> {
    match &cursor.node.value {
        _ if cursor.is_none() || cursor.is_not_given() => Some(Vec::new()),
        Value::List(items) => items.iter().enumerate().map(|(i, node)| one(&cursor.item(i, node))).collect(),
        _ => Some(vec![one(cursor)?]),
    }
}

/// One callback.
pub(crate) fn one(cursor: &Cursor<'_>) -> Option<Callback> {
    match &cursor.node.value {
        Value::Text(path) => Some(Callback { callback: dotted(cursor, path)?, file: None, arguments: JsonMap::new() }),
        Value::Map(map) => {
            if map.get("__type__").is_none() && map.get("callback").is_none() && map.get("bash_command").is_some() {
                let mut arguments = JsonMap::new();
                for (name, value) in cursor.pairs(map) {
                    arguments.insert(name.to_owned(), value.json_keeping()?);
                }
                return Some(Callback { callback: BASH.to_owned(), file: None, arguments });
            }
            let path_key = if map.get("__type__").is_some() { "__type__" } else { "callback" };
            let Some(entry) = map.entry(path_key) else {
                let message = format!("`{}` needs the key `callback`", cursor.name);
                cursor.error("missing-key", message, Some(FORMS.into()));
                return None;
            };
            let callback = dotted(&cursor.down(entry), cursor.down(entry).text()?)?;
            let mut arguments = JsonMap::new();
            for (name, value) in cursor.pairs(map) {
                if name != path_key {
                    arguments.insert(name.to_owned(), value.json_keeping()?);
                }
            }
            Some(Callback { callback, file: None, arguments })
        }
        _ => {
            cursor.wrong_type("a callback", Some(FORMS.into()));
            None
        }
    }
}

fn dotted(cursor: &Cursor<'_>, path: &str) -> Option<String> {
    if is_dotted_path(path) {
        return Some(path.to_owned());
    }
    let message = format!("`{}` is no dotted path to a function", clip(path));
    cursor.error("wrong-type", message, Some(FORMS.into()));
    None
}

/// Whether a text could be `module.function`.
pub(crate) fn is_dotted_path(path: &str) -> bool {
    path.contains('.') && path.split('.').all(is_identifier)
}

/// Whether a text could be the name of a function.
pub(crate) fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && characters.all(|c| c.is_alphanumeric() || c == '_')
}

/// A function by its name and file.
fn in_file(name: &Cursor<'_>, file: &Cursor<'_>, paths: Paths<'_>) -> Option<Callback> {
    let callback = name.text()?.to_owned();
    let file = Some(paths.of_version(file, file.text()?));
    Some(Callback { callback, file, arguments: JsonMap::new() })
}
