//! Assets, in schedules and as what tasks read and write.

use crate::paths::Paths;
use crate::reader::Cursor;
use crate::yaml::compose::clip;
use crate::yaml::{Map, Node, Value};
use crate::{LoadOptions, compose_file};
use std::collections::BTreeMap;
use std::rc::Rc;
use updraft_model::{Asset, AssetCondition, AssetRef};

/// The longest name or URI that Airflow stores.
const LENGTH_MAX: usize = 1500;

/// The deepest nesting of a condition.
const DEPTH_MAX: usize = 50;

/// What is needed to read a file of asset names.
#[derive(Clone, Copy)]
pub(crate) struct AssetFiles<'s> {
    pub(crate) paths: Paths<'s>,
    pub(crate) options: &'s LoadOptions,
}

/// URIs by the names that a file gives them.
type Names = BTreeMap<String, String>;

/// Whether a mapping is one of the older forms of a schedule by assets.
pub(crate) fn is_condition(map: &Map) -> bool {
    ["__and__", "__or__", "and", "or", "datasets", "assets", "file"].iter().any(|key| map.get(key).is_some())
}

/// Whether a class is one of an asset, or of a condition over assets.
pub(crate) fn is_asset_class(class: &str) -> bool {
    let name = class.rsplit('.').next().unwrap_or(class);
    matches!(
        name,
        "Asset"
            | "Dataset"
            | "AssetAlias"
            | "DatasetAlias"
            | "AssetAny"
            | "AssetAll"
            | "DatasetAny"
            | "DatasetAll"
            | "AssetRef"
            | "AssetNameRef"
            | "AssetUriRef"
    )
}

/// What a schedule's value says about assets: a list is all of them.
pub(crate) fn condition(cursor: &Cursor<'_>, files: AssetFiles<'_>) -> Option<AssetCondition> {
    read_condition(cursor, files, 0)
}

fn read_condition(cursor: &Cursor<'_>, files: AssetFiles<'_>, depth: usize) -> Option<AssetCondition> {
    if depth > DEPTH_MAX {
        cursor.error("too-deep", "assets are nested too deep", None);
        return None;
    }
    let parts = |cursor: &Cursor<'_>| -> Option<Vec<AssetCondition>> {
        let items = cursor.list()?.iter().enumerate();
        let parts =
            items.filter(|(_, n)| !is_blank(n)).map(|(i, n)| read_condition(&cursor.item(i, n), files, depth + 1));
        let parts = parts.collect::<Option<Vec<_>>>()?;
        if parts.is_empty() {
            cursor.error("schedule", "the list of assets is empty", Some("name at least one asset".into()));
            return None;
        }
        Some(parts)
    };
    match &cursor.node.value {
        Value::List(_) => Some(AssetCondition::All(parts(cursor)?)),
        Value::Text(text) if text.contains(['&', '|', '(']) => expression(cursor, text, None),
        Value::Map(map) => {
            if let Some((class, _)) = cursor.typed() {
                let fold = match class.rsplit('.').next() {
                    Some("AssetAny" | "DatasetAny") => AssetCondition::Any as fn(_) -> _,
                    Some("AssetAll" | "DatasetAll") => AssetCondition::All,
                    _ => return reference(cursor).map(AssetCondition::Of),
                };
                let Some(args) = map.entry("__args__").map(|e| cursor.down(e)) else {
                    cursor.error(
                        "missing-key",
                        "the assets of this condition are missing",
                        Some("list them under `__args__`".into()),
                    );
                    return None;
                };
                return Some(fold(parts(&args)?));
            }
            for (key, fold) in [("__and__", both as fn(_, _) -> _), ("__or__", either), ("and", both), ("or", either)] {
                let Some(entry) = map.entry(key) else { continue };
                let below = cursor.down(entry);
                if !key.starts_with('_') {
                    let message = format!("`{key}` is an old form, which dag-factory no longer accepts");
                    below.warn("old-key", message, Some(format!("write `__{key}__`")));
                }
                return parts(&below)?.into_iter().reduce(fold);
            }
            if map.get("datasets").is_some() || map.get("assets").is_some() || map.get("file").is_some() {
                return of_datasets(cursor, map, files);
            }
            reference(cursor).map(AssetCondition::Of)
        }
        _ => reference(cursor).map(AssetCondition::Of),
    }
}

fn is_blank(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Text(text) => text.trim().is_empty(),
        _ => false,
    }
}

/// `a & b`, as Airflow's operators build it: what is joined already grows.
fn both(left: AssetCondition, right: AssetCondition) -> AssetCondition {
    match left {
        AssetCondition::All(mut parts) => {
            parts.push(right);
            AssetCondition::All(parts)
        }
        left => AssetCondition::All(vec![left, right]),
    }
}

/// `a | b`, likewise.
fn either(left: AssetCondition, right: AssetCondition) -> AssetCondition {
    match left {
        AssetCondition::Any(mut parts) => {
            parts.push(right);
            AssetCondition::Any(parts)
        }
        left => AssetCondition::Any(vec![left, right]),
    }
}

/// `{datasets: "(a & b) | c", file: names.yml}`; a list is all of them.
fn of_datasets(cursor: &Cursor<'_>, map: &Map, files: AssetFiles<'_>) -> Option<AssetCondition> {
    let names = match map.entry("file").map(|e| cursor.down(e)).filter(|c| !c.is_none()) {
        Some(file) => Some(names_in(&file, files)?),
        None => None,
    };
    let Some(entry) = map.entry("datasets").or_else(|| map.entry("assets")) else {
        let parts = names?.into_values().map(|uri| AssetCondition::Of(AssetRef::Asset(Asset::of_uri(uri)))).collect();
        return Some(AssetCondition::All(parts));
    };
    let datasets = cursor.down(entry);
    match &datasets.node.value {
        Value::Text(text) => expression(&datasets, text, names.as_ref()),
        Value::List(items) => {
            let one = |(i, node): (usize, &Rc<Node>)| {
                let item = datasets.item(i, node);
                match &node.value {
                    Value::Text(text) => expression(&item, text, names.as_ref()),
                    _ => read_condition(&item, files, 1),
                }
            };
            let parts = items.iter().enumerate().map(one).collect::<Option<Vec<_>>>()?;
            let folded = parts.into_iter().reduce(both);
            if folded.is_none() {
                datasets.error("schedule", "the list of assets is empty", Some("name at least one asset".into()));
            }
            folded
        }
        Value::Map(_) => read_condition(&datasets, files, 1),
        _ => {
            datasets.wrong_type("a list of assets, or an expression such as `(a & b) | c`", None);
            None
        }
    }
}

/// The names of a file of the form `datasets: [{name, uri}]`.
fn names_in(file: &Cursor<'_>, files: AssetFiles<'_>) -> Option<Names> {
    let (path, bytes) = files.paths.content(file, file.text()?)?;
    let number = file.sink.add_file(&path);
    let root = match compose_file(number, bytes, files.options, file.sink) {
        Ok(root) => root?,
        Err(fatal) => {
            let message = format!("`{}` cannot be read: {}", clip(&path), fatal.message);
            file.error(fatal.code, message, fatal.hint);
            return None;
        }
    };
    let listed = match &root.value {
        Value::Map(map) => map.get("datasets").or_else(|| map.get("assets")),
        _ => None,
    };
    let Some(Value::List(items)) = listed.map(|n| &n.value) else {
        let message = format!("`{}` has no list `datasets`", clip(&path));
        file.error("missing-key", message, Some("write `datasets:` with pairs of `name` and `uri`".into()));
        return None;
    };
    let text = |map: &Map, key: &str| match map.get(key).map(|n| &n.value) {
        Some(Value::Text(text)) => Some(text.to_string()),
        _ => None,
    };
    let pair = |node: &Rc<Node>| match &node.value {
        Value::Map(map) => text(map, "name").zip(text(map, "uri")),
        _ => None,
    };
    Some(items.iter().filter_map(pair).collect())
}

/// A condition as text: names or URIs, `&`, `|` and parentheses. `&` binds closer.
fn expression(cursor: &Cursor<'_>, text: &str, names: Option<&Names>) -> Option<AssetCondition> {
    let mut parser = Expression { cursor, tokens: tokens(text), at: 0, names };
    let condition = parser.either(0)?;
    if let Some(token) = parser.tokens.get(parser.at) {
        return parser.refuse(&format!("`{}` is not expected there", clip(token)));
    }
    Some(condition)
}

fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let is_mark = |c: char| matches!(c, '&' | '|' | '(' | ')');
        let length = if rest.starts_with(is_mark) {
            1
        } else {
            rest.find(|c| is_mark(c) || c.is_whitespace()).unwrap_or(rest.len())
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

struct Expression<'t, 'c, 'a> {
    cursor: &'c Cursor<'a>,
    tokens: Vec<&'t str>,
    at: usize,
    names: Option<&'c Names>,
}

impl Expression<'_, '_, '_> {
    fn take(&mut self, token: &str) -> bool {
        let found = self.tokens.get(self.at) == Some(&token);
        self.at += usize::from(found);
        found
    }

    fn either(&mut self, depth: usize) -> Option<AssetCondition> {
        let mut left = self.both(depth)?;
        while self.take("|") {
            left = either(left, self.both(depth)?);
        }
        Some(left)
    }

    fn both(&mut self, depth: usize) -> Option<AssetCondition> {
        let mut left = self.one(depth)?;
        while self.take("&") {
            left = both(left, self.one(depth)?);
        }
        Some(left)
    }

    fn one(&mut self, depth: usize) -> Option<AssetCondition> {
        if depth > DEPTH_MAX {
            return self.refuse("parentheses are nested too deep");
        }
        if self.take("(") {
            let inside = self.either(depth + 1)?;
            return if self.take(")") { Some(inside) } else { self.refuse("a closing parenthesis is missing") };
        }
        let Some(name) = self.tokens.get(self.at).copied() else {
            return self.refuse("an asset is missing at the end");
        };
        if matches!(name, "&" | "|" | ")") {
            return self.refuse(&format!("an asset is missing before `{name}`"));
        }
        self.at += 1;
        let uri = self.names.map_or(Some(name), |names| names.get(name).map(String::as_str));
        let Some(uri) = uri else {
            let known = self.names.into_iter().flat_map(BTreeMap::keys).map(String::as_str);
            let hint = self.cursor.sink.did_you_mean(name, known);
            self.cursor.error("unknown-asset", format!("the file names no asset `{}`", clip(name)), hint);
            return None;
        };
        Some(AssetCondition::Of(AssetRef::Asset(Asset::of_uri(checked(self.cursor, uri)?))))
    }

    fn refuse(&self, why: &str) -> Option<AssetCondition> {
        let hint = "write names or URIs with `&`, `|` and parentheses, e.g. `(a & b) | c`";
        self.cursor.error("schedule", format!("this is no condition over assets: {why}"), Some(hint.into()));
        None
    }
}

/// What tasks read or write: URIs, typed assets, or `{file, datasets}`.
pub(crate) fn references(cursor: &Cursor<'_>, files: AssetFiles<'_>) -> Option<Vec<AssetRef>> {
    let items = match &cursor.node.value {
        _ if cursor.is_none() || cursor.is_not_given() => return Some(Vec::new()),
        Value::List(items) => items,
        Value::Map(map) if map.get("__type__").is_some() => return Some(vec![reference(cursor)?]),
        Value::Map(map) if map.get("file").is_some() => return in_file(cursor, map, files),
        Value::Text(_) => return Some(vec![reference(cursor)?]),
        _ => {
            cursor.wrong_type("a list of assets", Some("write it as `[s3://bucket/key]`".into()));
            return None;
        }
    };
    let listed = items.iter().enumerate().filter(|(_, n)| !is_blank(n));
    listed.map(|(i, node)| reference(&cursor.item(i, node))).collect()
}

fn in_file(cursor: &Cursor<'_>, map: &Map, files: AssetFiles<'_>) -> Option<Vec<AssetRef>> {
    let names = names_in(&cursor.down(map.entry("file")?), files)?;
    let Some(entry) = map.entry("datasets").or_else(|| map.entry("assets")) else {
        return Some(names.into_values().map(|uri| AssetRef::Asset(Asset::of_uri(uri))).collect());
    };
    let named = |(name, item): (&str, Cursor<'_>)| {
        let uri = names.get(name);
        if uri.is_none() {
            let hint = item.sink.did_you_mean(name, names.keys().map(String::as_str));
            item.error("unknown-asset", format!("the file names no asset `{}`", clip(name)), hint);
        }
        uri.map(|uri| AssetRef::Asset(Asset::of_uri(uri)))
    };
    cursor.down(entry).texts().into_iter().map(named).collect()
}

/// One asset, alias, or reference to an asset.
fn reference(cursor: &Cursor<'_>) -> Option<AssetRef> {
    if let Value::Text(text) = &cursor.node.value {
        return Some(AssetRef::Asset(Asset::of_uri(checked(cursor, text.trim())?)));
    }
    let Some((class, map)) = cursor.typed() else {
        let hint = "write a URI, or a mapping with `__type__: airflow.sdk.Asset` and `uri`";
        cursor.wrong_type("an asset", Some(hint.into()));
        return None;
    };
    let argument = |position: usize, name: &str| -> Option<Cursor<'_>> {
        let named = map.entry(name).map(|e| cursor.down(e)).filter(|c| !c.is_none());
        named.or_else(|| {
            let args = map.entry("__args__").map(|e| cursor.down(e))?;
            let Value::List(items) = &args.node.value else { return None };
            items.get(position).map(|node| args.item(position, node))
        })
    };
    let text = |cursor: Option<Cursor<'_>>| match cursor {
        Some(cursor) => cursor.text().and_then(|t| checked(&cursor, t)).map(Some),
        None => Some(None),
    };
    let needs = |what: &str| {
        cursor.error("missing-key", format!("this asset needs {what}"), None);
    };
    for (name, value) in cursor.pairs(map) {
        const KEYS: [&str; 7] = ["__type__", "__args__", "name", "uri", "group", "extra", "watchers"];
        if !KEYS.contains(&name) {
            let hint = cursor.sink.did_you_mean(name, KEYS);
            value.warn("unknown-key", format!("an asset has no key `{}`; it is ignored", clip(name)), hint);
        }
    }
    match class.rsplit('.').next().unwrap_or(class) {
        "Asset" | "Dataset" => {
            let only_one = argument(1, "").is_none();
            let first = text(argument(0, ""))?;
            let uri = text(argument(1, "uri"))?.or_else(|| first.clone().filter(|_| only_one));
            let name = text(map.entry("name").map(|e| cursor.down(e)))?.or(first);
            let Some(uri) = uri.clone().or_else(|| name.clone()) else {
                needs("a `uri` or a `name`");
                return None;
            };
            let mut asset = Asset::of_uri(uri);
            asset.name = name.unwrap_or(asset.name);
            if let Some(group) = text(map.entry("group").map(|e| cursor.down(e)))? {
                asset.group = group;
            }
            if let Some(extra) = map.entry("extra").map(|e| cursor.down(e)).filter(|c| !c.is_none()) {
                extra.mapping()?;
                if let serde_json::Value::Object(extra) = extra.json()? {
                    asset.extra = extra;
                }
            }
            if let Some(watchers) = map.entry("watchers").map(|e| cursor.down(e)).filter(|c| !c.is_none()) {
                let items = watchers.list()?.iter().enumerate();
                asset.watchers = items.map(|(i, n)| watchers.item(i, n).json_keeping()).collect::<Option<_>>()?;
                if !asset.watchers.is_empty() {
                    let message = "watchers of assets are not run yet; only tasks of other DAGs update this asset";
                    watchers.warn("ignored-key", message, None);
                }
            }
            Some(AssetRef::Asset(asset))
        }
        "AssetAlias" | "DatasetAlias" => {
            let name = text(argument(0, "name"))?;
            if name.is_none() {
                needs("a `name`");
            }
            Some(AssetRef::Alias { name: name? })
        }
        "AssetNameRef" | "AssetRef" if argument(0, "name").is_some() => {
            Some(AssetRef::Name(text(argument(0, "name"))??))
        }
        "AssetUriRef" | "AssetRef" if argument(0, "uri").is_some() => Some(AssetRef::Uri(text(argument(0, "uri"))??)),
        _ => {
            let message = format!("`{}` is no class of an asset", clip(class));
            cursor.error("unsupported", message, Some("use `airflow.sdk.Asset` or `airflow.sdk.AssetAlias`".into()));
            None
        }
    }
}

/// A name or URI that Airflow accepts.
fn checked(cursor: &Cursor<'_>, text: &str) -> Option<String> {
    let why = if text.trim().is_empty() {
        "is empty"
    } else if text.chars().count() > LENGTH_MAX {
        "is too long"
    } else if !text.is_ascii() {
        "contains characters other than ASCII"
    } else {
        return Some(text.to_owned());
    };
    cursor.error("bad-asset", format!("the asset `{}` {why}", clip(text)), None);
    None
}
