//! Task groups: their ids, what they lend to tasks, and what a dependency on one means.

use crate::common;
use crate::keys;
use crate::reader::Cursor;
use crate::task::{Names, dependencies};
use crate::yaml::compose::clip;
use crate::yaml::{Node, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use updraft_model::TaskGroup;
use updraft_model::ids::check_id;

/// A group that still names its neighbours.
pub(crate) struct Group<'a> {
    /// As the file names it; unique in the DAG.
    pub(crate) name: &'a str,
    pub(crate) cursor: Cursor<'a>,
    /// The place of the group around it, in the same list.
    pub(crate) parent: Option<usize>,
    pub(crate) dependencies: Names<'a>,
    /// Its own default arguments.
    pub(crate) defaults: BTreeMap<&'a str, Cursor<'a>>,
    /// What it is expanded over.
    pub(crate) expand: Option<Cursor<'a>>,
    /// Instead of that: mappings of arguments.
    pub(crate) expand_kwargs: Option<Cursor<'a>>,
    pub(crate) model: TaskGroup,
}

impl Group<'_> {
    /// The id of something inside that has this label.
    pub(crate) fn id_of(&self, label: &str) -> String {
        if self.model.prefix_group_id { format!("{}.{label}", self.model.group_id) } else { label.to_owned() }
    }
}

/// The deepest nesting.
const DEPTH_MAX: usize = 50;

/// The groups of a DAG, outer ones first; what cannot be one is noted and left out.
pub(crate) fn groups<'a>(cursor: Option<&Cursor<'a>>) -> Vec<Group<'a>> {
    let Some(cursor) = cursor.filter(|c| !c.is_none()) else { return Vec::new() };
    let named: Vec<(&'a str, Cursor<'a>)> = match &cursor.node.value {
        Value::Map(map) => cursor.pairs(map),
        Value::List(items) => listed(cursor, items, "group_name", "a group"),
        _ => {
            cursor.wrong_type("a mapping of groups by their names, or a list of groups", None);
            return Vec::new();
        }
    };
    let mut groups: Vec<(Group<'a>, Option<(&'a str, Cursor<'a>)>)> = Vec::new();
    for (name, at) in named {
        groups.extend(group(name, &at));
    }
    let places: BTreeMap<&str, usize> = groups.iter().enumerate().map(|(i, (g, _))| (g.name, i)).collect();
    for (group, parent) in &mut groups {
        let Some((parent, at)) = parent.take() else { continue };
        group.parent = places.get(parent).copied();
        if group.parent.is_none() {
            let hint = at.sink.did_you_mean(parent, places.keys().copied().filter(|n| *n != group.name));
            let message =
                format!("the group `{}` is inside of `{}`, which does not exist", clip(group.name), clip(parent));
            at.error("unknown-group", message, hint);
        }
    }
    outer_first(groups.into_iter().map(|(group, _)| group).collect())
}

fn group<'a>(name: &'a str, cursor: &Cursor<'a>) -> Option<(Group<'a>, Option<(&'a str, Cursor<'a>)>)> {
    if let Err(error) = check_id(name) {
        cursor.key_error("bad-id", error.to_string(), None);
        return None;
    }
    let fields = match &cursor.node.value {
        _ if cursor.is_none() => Vec::new(),
        _ => cursor.pairs(cursor.mapping()?),
    };
    let mut found = Group {
        name,
        cursor: cursor.clone(),
        parent: None,
        dependencies: Vec::new(),
        defaults: BTreeMap::new(),
        expand: None,
        expand_kwargs: None,
        model: TaskGroup {
            group_id: name.to_owned(),
            parent: None,
            prefix_group_id: true,
            tooltip: String::new(),
            group_display_name: None,
            ui_color: None,
            ui_fgcolor: None,
            mapping: None,
            default_args: serde_json::Map::new(),
        },
    };
    let mut parent = None;
    for (key, value) in fields {
        let text = || if value.is_none() { None } else { value.text().map(str::to_owned) };
        match key {
            "tooltip" => found.model.tooltip = text().unwrap_or_default(),
            "group_display_name" => found.model.group_display_name = text(),
            "ui_color" => found.model.ui_color = text(),
            "ui_fgcolor" => found.model.ui_fgcolor = text(),
            "expand" | "expand_kwargs" | "prefix_group_id" | "parent_group_name" | "default_args"
                if value.is_none() => {}
            "expand" => found.expand = Some(value.clone()),
            "expand_kwargs" => found.expand_kwargs = Some(value.clone()),
            "dependencies" => found.dependencies = dependencies(&value),
            "prefix_group_id" => found.model.prefix_group_id = value.boolean().unwrap_or(true),
            "parent_group_name" => parent = value.text().map(|name| (name, value.clone())),
            "default_args" => {
                let Some(map) = value.mapping() else { continue };
                found.defaults = value.pairs(map).into_iter().collect();
                common::settle_old(&mut found.defaults, keys::TASK);
                found.model.default_args = common::understood(&found.defaults);
            }
            _ if keys::find(keys::GROUP, key).is_some() => {}
            _ => {
                let hint = value.sink.did_you_mean(key, keys::GROUP.iter().map(|k| k.name));
                value.key_error("unknown-key", format!("a task group has no key `{}`", clip(key)), hint);
            }
        }
    }
    Some((found, parent))
}

/// The items of a list by the key that names them.
pub(crate) fn listed<'a>(
    cursor: &Cursor<'a>,
    items: &'a [Rc<Node>],
    key: &str,
    what: &str,
) -> Vec<(&'a str, Cursor<'a>)> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (i, node) in items.iter().enumerate() {
        let item = cursor.item(i, node);
        let id = match &node.value {
            Value::Map(map) => map.entry(key).map(|entry| item.down(entry)),
            _ => None,
        };
        let Some(id) = id else {
            item.error("missing-key", format!("{what} in a list must be a mapping with a `{key}`"), None);
            continue;
        };
        let Some(name) = id.text() else { continue };
        if seen.insert(name) {
            found.push((name, item));
        } else {
            id.error("duplicate-id", format!("the {key} `{}` is given twice", clip(name)), None);
        }
    }
    found
}

/// Orders groups so that each stands after the one around it, and gives them their ids. Circles are noted, and cut.
fn outer_first(mut groups: Vec<Group<'_>>) -> Vec<Group<'_>> {
    let count = groups.len();
    let mut depth: Vec<Option<usize>> = vec![None; count];
    for start in 0..count {
        let mut way = Vec::new();
        let mut at = Some(start);
        while let Some(i) = at.filter(|i| depth[*i].is_none()) {
            if let Some(begin) = way.iter().position(|w| *w == i) {
                let names: Vec<String> =
                    way[begin..].iter().chain([&i]).map(|w: &usize| format!("`{}`", groups[*w].name)).collect();
                let message = format!("task groups are inside of each other in a circle: {}", names.join(" in "));
                groups[i].cursor.key_error("cycle", message, None);
                way[begin..].iter().for_each(|i| groups[*i].parent = None);
                break;
            }
            way.push(i);
            at = groups[i].parent;
        }
        for i in way.into_iter().rev() {
            let own = groups[i].parent.and_then(|p| depth[p]).map_or(0, |d| d + 1);
            depth[i] = Some(own);
            if own == DEPTH_MAX {
                groups[i].cursor.key_error(
                    "too-deep",
                    format!("task groups are nested more than {DEPTH_MAX} levels deep"),
                    None,
                );
            }
            if own >= DEPTH_MAX {
                groups[i].parent = None;
                depth[i] = Some(0);
            }
        }
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|i| depth[*i]);
    let mut place = vec![0; count];
    for (new, old) in order.iter().enumerate() {
        place[*old] = new;
    }
    let mut taken: Vec<Option<Group<'_>>> = groups.into_iter().map(Some).collect();
    let mut ordered: Vec<Group<'_>> = Vec::with_capacity(count);
    for old in order {
        let Some(mut group) = taken[old].take() else { continue };
        group.parent = group.parent.map(|p| place[p]);
        if let Some(parent) = group.parent.map(|p| &ordered[p]) {
            group.model.group_id = parent.id_of(group.name);
            group.model.parent = Some(parent.model.group_id.clone());
        }
        ordered.push(group);
    }
    ordered
}
