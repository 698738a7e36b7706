//! Nodes from their parts.

use super::{Entry, Key, Map, Node, Position, Value};
use std::rc::Rc;

/// Bytes of text that weigh as much as a node.
pub(super) const TEXT_PER_WEIGHT: usize = 32;

/// The class by which binary values are told from text.
pub(crate) const BYTES: &str = "builtins.bytes";

/// Keys that make a mapping stand for another value, and `__type__` for a list.
const SPECIAL: [&str; 3] = ["__join__", "__and__", "__or__"];

/// The node of a scalar; a tag may have made a mapping of it.
pub(crate) fn leaf(at: Position, value: Option<Value>) -> Node {
    let text = match &value {
        None => return broken(at),
        Some(Value::Text(text)) => text.len(),
        Some(Value::Huge(text)) => text.len(),
        Some(_) => 0,
    };
    match value {
        Some(Value::Map(pairs)) => map(at, pairs),
        Some(value) => {
            let weight = 1 + (text / TEXT_PER_WEIGHT) as u32;
            Node { at, weight, height: 0, broken: false, special: false, value }
        }
        None => broken(at),
    }
}

pub(crate) fn broken(at: Position) -> Node {
    Node { at, weight: 1, height: 0, broken: true, special: false, value: Value::Null }
}

pub(crate) fn list(at: Position, items: Vec<Rc<Node>>) -> Node {
    let weight = items.iter().fold(1u32, |sum, n| sum.saturating_add(n.weight));
    let height = items.iter().map(|n| n.height + 1).max().unwrap_or(0);
    let broken = items.iter().any(|n| n.broken);
    let special = items.iter().any(|n| n.special);
    Node { at, weight, height, broken, special, value: Value::List(items) }
}

pub(crate) fn map(at: Position, map: Map) -> Node {
    let inside = || map.entries().iter().map(|e| &e.value);
    // A key weighs like a node.
    let weight = inside().fold(1u32, |sum, n| sum.saturating_add(n.weight).saturating_add(1));
    let height = inside().map(|n| n.height + 1).max().unwrap_or(0);
    let broken = inside().any(|n| n.broken);
    let special = is_special(&map) || inside().any(|n| n.special);
    Node { at, weight, height, broken, special, value: Value::Map(map) }
}

fn is_special(map: &Map) -> bool {
    let is_list = || matches!(map.get("__type__").map(|n| &n.value), Some(Value::Text(t)) if &**t == "builtins.list");
    // Most mappings have no key that begins so, and are not searched.
    let may_be = map.entries().iter().any(|e| e.name.starts_with("__"));
    may_be && (SPECIAL.iter().any(|key| map.get(key).is_some()) || is_list())
}

/// A mapping with `node` as its only value.
pub(super) fn wrapped(key: &str, node: Node) -> Node {
    let at = node.at;
    let key: Rc<str> = key.into();
    let mut only = Map::default();
    only.put(Entry { key: Key::Text(key.clone()), name: key, at, value: Rc::new(node) });
    map(at, only)
}

/// The list of a mapping's keys; anything else as it is.
pub(super) fn keys_of(node: Node) -> Node {
    let Value::Map(map) = &node.value else { return node };
    let text = |e: &Entry| Rc::new(leaf(e.at, Some(Value::Text(e.name.clone()))));
    let items = map.entries().iter().map(text).collect();
    Node { broken: node.broken, ..list(node.at, items) }
}

/// Binary data: a typed value that holds it in base 64, without blanks. None if it is not base 64.
pub(super) fn binary(text: &str, at: Position) -> Option<Value> {
    let data: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let body = data.trim_end_matches('=');
    let padding = data.len() - body.len();
    let of_alphabet = body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    if !of_alphabet || padding > 2 || !data.len().is_multiple_of(4) {
        return None;
    }
    let mut map = Map::default();
    for (key, value) in [("__type__", BYTES), ("base64", &data)] {
        let value = Rc::new(leaf(at, Some(Value::Text(value.into()))));
        map.put(Entry { key: Key::Text(key.into()), name: key.into(), at, value });
    }
    Some(Value::Map(map))
}
