//! Every key that DAGs, tasks and groups know, as data: the loader, its suggestions and the JSON schema go by it.

mod dag;
mod group;
mod task;

pub use dag::DAG;
pub use group::GROUP;
pub use task::TASK;

/// What may stand as a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Text.
    Text,
    /// A Python class or function by its dotted path.
    DottedPath,
    /// True or false.
    Boolean,
    /// A whole number, no less than this.
    Count(u32),
    /// A whole number.
    Integer,
    /// `true`, `false` or a number.
    BooleanOrNumber,
    /// A number of seconds, `5m`, `1h 30m`, `PT5M`, `01:30:00`, or a typed `timedelta`.
    Duration,
    /// A date, an instant, `2 days` for so long before today, or a typed `datetime`.
    Moment,
    /// The name of a time zone.
    Timezone,
    /// A list of texts.
    Texts,
    /// Text or a list of texts.
    TextOrTexts,
    /// A mapping.
    Mapping,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A schedule in any of its forms.
    Schedule,
    /// Params by name.
    Params,
    /// Tasks by id, or a list of tasks with `task_id`.
    Tasks,
    /// Groups by name, or a list of groups with `group_name`.
    Groups,
    /// Task arguments by name.
    DefaultArgs,
    /// Names of tasks and groups.
    Dependencies,
    /// The class name or class path of an operator.
    Operator,
    /// Arguments by name, each a list, a mapping, or the output of another task.
    Expand,
    /// Pairs of `variable` and `attribute`.
    VariablesAsArguments,
    /// URIs, typed assets, or `{file, datasets}`.
    Assets,
    /// A dotted path, `{callback: dotted.path, argument: value}`, or a list of them.
    Callback,
    /// Anything.
    Any,
}

/// What comes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Acted on.
    Effective,
    /// Read, checked and kept; nothing acts on it yet, which a warning says where it asks for something.
    Kept,
    /// Accepted; it changes nothing here, as in Airflow 3, or nothing but looks.
    NoEffect,
    /// An older name; this one is read instead, with a warning.
    Old(&'static str),
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What may stand there.
    pub shape: Shape,
    /// What comes of it.
    pub standing: Standing,
    /// What it means, in one line.
    pub doc: &'static str,
}

const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, standing: Standing::Effective, doc }
}

const fn kept(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, standing: Standing::Kept, doc }
}

const fn no_effect(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, standing: Standing::NoEffect, doc }
}

const fn old(name: &'static str, shape: Shape, new: &'static str) -> Key {
    Key { name, shape, standing: Standing::Old(new), doc: "an older name" }
}

/// The key of this name in a table.
pub fn find(keys: &'static [Key], name: &str) -> Option<&'static Key> {
    keys.iter().find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_stands_once_in_its_table_and_says_what_it_means() {
        for table in [DAG, TASK, GROUP] {
            let names: BTreeSet<&str> = table.iter().map(|k| k.name).collect();
            assert_eq!(names.len(), table.len());
            for key in table {
                assert!(!key.doc.is_empty() && !key.doc.ends_with('.'), "{}", key.name);
                if let Standing::Old(new) = key.standing {
                    assert!(names.contains(new), "{} is called {new} now, which is no key", key.name);
                }
            }
        }
    }
}
