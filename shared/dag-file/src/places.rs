//! Where things stand in a DAG file, for what is checked after it was loaded.

use crate::defaults::DEFAULT;
use crate::text;
use crate::yaml::compose;
use crate::yaml::{Map, Node, Position, Value};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A place in a text: line and column in characters, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl From<Position> for Place {
    fn from(at: Position) -> Self {
        Self { line: at.line, column: at.column }
    }
}

/// The places of a file. A file that cannot be read has none.
#[derive(Debug)]
pub struct Places(Option<Rc<Node>>);

impl Places {
    /// Reads the text a second time, with the variables it was loaded with.
    pub fn read(bytes: &[u8], env: &BTreeMap<String, String>) -> Self {
        let source = text::read(0, bytes, env).ok();
        let composed = source.and_then(|source| compose::compose(&source.text, &|marker| source.place(marker)).ok());
        Self(composed.and_then(|composed| composed.root))
    }

    /// Where a DAG's block begins.
    pub fn dag(&self, dag_id: &str) -> Option<Place> {
        Some(map(self.0.as_ref()?)?.entry(dag_id)?.at.into())
    }

    /// Where a task's argument stands: `keys` lead to it from the task. What is not found is taken for a default, and shown at the
    /// deepest place on the way that is there.
    pub fn argument(&self, dag_id: &str, task_id: &str, keys: &[&str]) -> Option<Place> {
        let root = map(self.0.as_ref()?)?;
        let blocks: Vec<&Map> = [dag_id, DEFAULT].iter().filter_map(|key| map(root.get(key)?)).collect();
        let tasks = blocks.iter().filter_map(|block| task(block.get("tasks")?, task_id));
        let defaults = blocks.iter().filter_map(|block| block.get("default_args"));
        let found = tasks.clone().chain(defaults).find_map(|node| below(node, keys));
        let task_itself = || tasks.clone().next().map(|node| node.at);
        found.or_else(task_itself).map(Place::from).or_else(|| self.dag(dag_id))
    }
}

fn map(node: &Rc<Node>) -> Option<&Map> {
    match &node.value {
        Value::Map(map) => Some(map),
        _ => None,
    }
}

/// A task in either form of `tasks`, by its id with or without its groups' prefixes.
fn task<'n>(tasks: &'n Rc<Node>, task_id: &str) -> Option<&'n Rc<Node>> {
    let short = task_id.rsplit('.').next().unwrap_or(task_id);
    match &tasks.value {
        Value::Map(map) => map.get(task_id).or_else(|| map.get(short)),
        Value::List(items) => {
            let has_id = |item: &&Rc<Node>, id: &str| {
                let found = map(item).and_then(|task| task.get("task_id"));
                found.is_some_and(|found| matches!(&found.value, Value::Text(text) if **text == *id))
            };
            items.iter().find(|item| has_id(item, task_id)).or_else(|| items.iter().find(|item| has_id(item, short)))
        }
        _ => None,
    }
}

/// Where the way of keys from a node ends; none where its first key is not there.
fn below(node: &Rc<Node>, keys: &[&str]) -> Option<Position> {
    let mut node = node;
    let mut at = None;
    for key in keys {
        let next = match &node.value {
            Value::Map(map) => map.get(key),
            Value::List(items) => key.parse().ok().and_then(|n: usize| items.get(n)),
            _ => None,
        };
        let Some(next) = next else { break };
        at = Some(next.at);
        node = next;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
default:
  default_args: {cwd: /tmp}
a:
  tasks:
    one:
      operator: BashOperator
      bash_command: |
        echo
      env: {X: y}
    - broken
";

    fn place(line: u32, column: u32) -> Place {
        Place { line, column }
    }

    #[test]
    fn arguments_are_found_in_both_forms_of_tasks() {
        let mapping = TEXT.replace("    - broken\n", "");
        let list = "a:\n  tasks:\n    - task_id: one\n      bash_command: x\n";
        for (text, keys, expected) in [
            (mapping.as_str(), &["bash_command"][..], place(8, 9)),
            (&mapping, &["env", "X"], place(9, 16)),
            (&mapping, &["env", "Y"], place(9, 12)),
            (&mapping, &["cwd"], place(2, 23)),
            (&mapping, &["nowhere"], place(6, 7)),
            (list, &["bash_command"], place(4, 21)),
        ] {
            let places = Places::read(text.as_bytes(), &BTreeMap::new());
            assert_eq!(places.argument("a", "one", keys), Some(expected), "{keys:?}");
            assert_eq!(places.argument("a", "group.one", keys), Some(expected), "{keys:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_has_no_places() {
        let places = Places::read(TEXT.as_bytes(), &BTreeMap::new());
        assert_eq!(places.argument("a", "one", &["bash_command"]), None);
        assert_eq!(places.dag("a"), None);
    }
}
