//! From the parser's events to a tree: anchors, merge keys, duplicate keys, and bounds on depth and size.
//!
//! Two kinds of problems come out. Where the text cannot be read any further the whole file is refused ([`Fatal`]). What
//! concerns one value (a tag nobody knows, a mapping as key) is noted, the value is marked broken, and reading goes on,
//! so that one DAG's slip does not hide the others in its file.

use super::build::{self, broken, leaf, list};
use super::scalar::{self, Plain};
use super::slips;
use super::tag::{self, OfCollection, Tagged};
use super::{Entry, Key, Map, Node, Position, Value};
use granit_parser::{Event, Marker, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The deepest nesting, aliases followed.
pub(crate) const DEPTH_MAX: usize = 100;

/// The most a file may amount to with every alias written out: one for each node and one for each [`build::TEXT_PER_WEIGHT`]
/// bytes of text.
pub(crate) const WEIGHT_MAX: u32 = 2_000_000;

/// The most keys of one mapping: what is larger is data, not a DAG, and reading on would only take time.
pub(crate) const KEYS_MAX: usize = 100_000;

/// The text cannot be read.
#[derive(Debug)]
pub(crate) struct Fatal {
    pub(crate) at: Position,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// A problem of one value.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) error: bool,
    pub(crate) at: Position,
    /// Keys and list positions from the root.
    pub(crate) path: Vec<Rc<str>>,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// A file as a tree, and what was noted on the way.
#[derive(Debug)]
pub(crate) struct Composed {
    pub(crate) root: Option<Rc<Node>>,
    pub(crate) notes: Vec<Note>,
}

/// Reads one document. `place` turns the parser's places into the user's.
pub(crate) fn compose(text: &str, place: &dyn Fn(Marker) -> Position) -> Result<Composed, Fatal> {
    let mut composer = Composer {
        place,
        stack: Vec::new(),
        anchors: BTreeMap::new(),
        open_anchors: Vec::new(),
        weight: 0,
        notes: Vec::new(),
        root: None,
    };
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, parser_options()) {
        let (event, span) = event.map_err(|e| syntax(&e, text, place))?;
        if let Event::DocumentStart(..) = event {
            documents += 1;
            if documents > 1 {
                return Err(Fatal {
                    at: place(span.start),
                    code: "several-documents",
                    message: "a second YAML document begins here; a DAG file is one document".into(),
                    hint: Some("remove the `---`; several DAGs fit in one document, each under its own key".into()),
                });
            }
        }
        composer.event(event, span)?;
    }
    Ok(Composed { root: composer.root, notes: composer.notes })
}

fn parser_options() -> Options {
    let mut options = Options::default();
    options.set_emit_comments(false);
    // As PyYAML: a last line without a line break stays without one.
    options.block_scalar_eof_without_line_feed = true;
    options
}

fn syntax(error: &ScanError, text: &str, place: &dyn Fn(Marker) -> Position) -> Fatal {
    let at = place(*error.marker());
    if error.info().contains("recursion limit") {
        return too_deep(at);
    }
    let hint = slips::hint(text, error.marker().line().saturating_sub(1), &error.info());
    Fatal { at, code: "yaml-syntax", message: format!("this is not valid YAML: {}", error.info()), hint: Some(hint) }
}

/// A collection on its way.
struct Frame {
    at: Position,
    anchor: usize,
    /// Something directly inside was refused.
    broken: bool,
    /// What the tag makes of it.
    tag: OfCollection,
    content: Content,
}

enum Content {
    List(Vec<Rc<Node>>),
    Map(Building),
}

/// A mapping on its way.
#[derive(Default)]
struct Building {
    own: Vec<Entry>,
    merged: Vec<Entry>,
    pending: Option<Pending>,
}

/// A key that waits for its value.
enum Pending {
    Key(Key, Rc<str>, Position),
    Merge,
    /// Not usable as a key; already noted.
    Refused,
}

struct Composer<'a> {
    place: &'a dyn Fn(Marker) -> Position,
    stack: Vec<Frame>,
    anchors: BTreeMap<usize, Rc<Node>>,
    open_anchors: Vec<usize>,
    weight: u32,
    notes: Vec<Note>,
    root: Option<Rc<Node>>,
}

impl Composer<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fatal> {
        let at = (self.place)(span.start);
        match event {
            Event::Alias(id) => self.alias(id, at),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let (value, merge) = self.scalar(&text, plain, tag.as_deref(), at);
                let node = leaf(at, value);
                if merge && self.expects_key() {
                    self.set_pending(Pending::Merge);
                    return Ok(());
                }
                if merge {
                    self.refuse(
                        at,
                        "yaml-value",
                        "`<<` merges mappings and can only be a key".into(),
                        Some("put it in quotes: \"<<\"".into()),
                    );
                    return self.add(broken(at), &text, anchor);
                }
                self.add(node, &text, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(Content::List(Vec::new()), anchor, at)?;
                self.collection_tag(tag.as_deref(), true, at);
                Ok(())
            }
            Event::MappingStart(_, anchor, tag) => {
                self.open(Content::Map(Building::default()), anchor, at)?;
                self.collection_tag(tag.as_deref(), false, at);
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at),
            // The stream's and the document's ends; comments and anchors by themselves were not asked for.
            _ => Ok(()),
        }
    }

    fn open(&mut self, content: Content, anchor: usize, at: Position) -> Result<(), Fatal> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(too_deep(at));
        }
        if anchor > 0 {
            self.open_anchors.push(anchor);
        }
        self.stack.push(Frame { at, anchor, broken: false, tag: OfCollection::Plain, content });
        Ok(())
    }

    fn close(&mut self, end: Position) -> Result<(), Fatal> {
        let Some(Frame { at, anchor, broken, tag, content }) = self.stack.pop() else {
            return Err(Fatal {
                at: end,
                code: "yaml-syntax",
                message: "this is not valid YAML: a collection ends that never began".into(),
                hint: None,
            });
        };
        let mut node = match content {
            Content::List(items) => list(at, items),
            Content::Map(building) => self.mapping(at, building),
        };
        match tag {
            OfCollection::Plain => {}
            OfCollection::Wrapped(key) => node = build::wrapped(key, node),
            OfCollection::Set => node = build::keys_of(node),
        }
        node.broken |= broken;
        if anchor > 0 {
            self.open_anchors.pop();
        }
        self.add(node, "", anchor)
    }

    /// Own keys win over merged ones; among merged ones the first named in a list and the last of several `<<`.
    fn mapping(&mut self, at: Position, building: Building) -> Node {
        let mut map = Map::default();
        for entry in building.merged {
            map.put(entry);
        }
        let mut written: BTreeMap<Key, u32> = BTreeMap::new();
        for entry in building.own {
            if let Some(line) = written.insert(entry.key.clone(), entry.at.line) {
                let message =
                    format!("the key `{}` was already given in line {line}; the value here wins", clip(&entry.name));
                let (at, name) = (entry.at, Some(entry.name.clone()));
                self.note(false, at, name, "duplicate-key", message, Some("remove one of the two".into()));
            }
            map.put(entry);
        }
        build::map(at, map)
    }

    fn alias(&mut self, id: usize, at: Position) -> Result<(), Fatal> {
        if self.open_anchors.contains(&id) {
            self.refuse(
                at,
                "recursive-alias",
                "this alias stands inside of what it refers to".into(),
                Some("write the value out here".into()),
            );
            return self.add(broken(at), "", 0);
        }
        let Some(node) = self.anchors.get(&id).cloned() else {
            self.refuse(
                at,
                "yaml-syntax",
                "this alias refers to no anchor above".into(),
                Some("name a value above with `&name`; text that begins with `*` needs quotes".into()),
            );
            return self.add(broken(at), "", 0);
        };
        if self.stack.len() + usize::from(node.height) > DEPTH_MAX {
            return Err(too_deep(at));
        }
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            _ => Rc::from(""),
        };
        self.weigh(node.weight, at)?;
        self.attach(node, &text, at)
    }

    fn add(&mut self, node: Node, text: &str, anchor: usize) -> Result<(), Fatal> {
        let at = node.at;
        // What is inside was counted when it was added.
        let own = match &node.value {
            Value::List(_) | Value::Map(_) => 1,
            _ => node.weight,
        };
        self.weigh(own, at)?;
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.attach(node, text, at)
    }

    fn weigh(&mut self, weight: u32, at: Position) -> Result<(), Fatal> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight <= WEIGHT_MAX {
            return Ok(());
        }
        Err(Fatal {
            at,
            code: "too-large",
            message: format!("with its aliases written out the file has more than {WEIGHT_MAX} values"),
            hint: Some("split the file, or use fewer aliases inside of aliases".into()),
        })
    }

    fn attach(&mut self, node: Rc<Node>, text: &str, at: Position) -> Result<(), Fatal> {
        let pending = match self.stack.last_mut() {
            None => {
                self.root = Some(node);
                return Ok(());
            }
            Some(Frame { content: Content::List(items), .. }) => {
                items.push(node);
                return Ok(());
            }
            Some(Frame { content: Content::Map(building), .. }) => building.pending.take(),
        };
        match pending {
            None => {
                let pending = self.key(&node, text, at);
                self.set_pending(pending);
            }
            Some(Pending::Key(key, name, at)) => {
                if let Some(building) = self.building() {
                    building.own.push(Entry { key, name, at, value: node });
                    if building.own.len() > KEYS_MAX {
                        return Err(Fatal {
                            at,
                            code: "too-large",
                            message: format!("a mapping has more than {KEYS_MAX} keys"),
                            hint: Some("split the file".into()),
                        });
                    }
                }
            }
            Some(Pending::Merge) => self.merge(&node, at)?,
            Some(Pending::Refused) => {}
        }
        Ok(())
    }

    /// What a node is as a key. Python refuses lists and mappings there, which is also how an unquoted `{{ x }}` shows.
    fn key(&mut self, node: &Node, text: &str, at: Position) -> Pending {
        let key = match &node.value {
            Value::Text(text) => Key::Text(text.clone()),
            Value::Null => Key::Null,
            Value::Bool(b) => Key::Number(if *b { "1" } else { "0" }.into()),
            Value::Int(i) => Key::Number(i.to_string().into()),
            Value::Huge(text) => Key::Number(text.clone()),
            Value::Float(f) => Key::Number(f.to_string().into()),
            Value::Date(date) => Key::Date(date.to_string().into()),
            Value::DateTime(at, offset) => Key::Date(format!("{at}{offset:?}").into()),
            Value::List(_) | Value::Map(_) => {
                let hint = "if a template was meant, put the whole text in quotes: \"{{ ds }}\"; \
                            a brace or bracket at the beginning of unquoted text opens a mapping or list";
                let message = format!("{} cannot be a key", node.value.kind());
                self.refuse(at, "unhashable-key", message, Some(hint.into()));
                return Pending::Refused;
            }
        };
        Pending::Key(key, text.into(), at)
    }

    fn merge(&mut self, node: &Rc<Node>, at: Position) -> Result<(), Fatal> {
        let sources: Vec<Rc<Node>> = match &node.value {
            Value::List(items) => items.iter().rev().cloned().collect(),
            _ => vec![node.clone()],
        };
        for source in sources {
            let Value::Map(map) = &source.value else {
                if !source.broken {
                    let message = format!("`<<` merges a mapping or a list of mappings, not {}", source.value.kind());
                    self.refuse(at, "yaml-value", message, None);
                }
                continue;
            };
            self.weigh(map.entries().len() as u32, at)?;
            if let Some(building) = self.building() {
                building.merged.extend(map.entries().iter().cloned());
            }
        }
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { content: Content::Map(Building { pending: None, .. }), .. }))
    }

    fn set_pending(&mut self, to: Pending) {
        if let Some(building) = self.building() {
            building.pending = Some(to);
        }
    }

    /// The mapping being built, where one is.
    fn building(&mut self) -> Option<&mut Building> {
        match self.stack.last_mut() {
            Some(Frame { content: Content::Map(building), .. }) => Some(building),
            _ => None,
        }
    }

    /// The value of a scalar, and whether it is the merge key.
    fn scalar(&mut self, text: &str, plain: bool, tag: Option<&Tag>, at: Position) -> (Option<Value>, bool) {
        let plain_value = match tag.map(tag::name) {
            None if !plain => return (Some(Value::Text(text.into())), false),
            None => scalar::resolve(text),
            Some(name) => return (self.tagged(text, &name, at), false),
        };
        match plain_value {
            Plain::Value(value) => (Some(value), false),
            Plain::Merge => (None, true),
            Plain::Default if self.expects_key() => (Some(Value::Text(text.into())), false),
            Plain::Default => {
                let hint = Some("put it in quotes: \"=\"".into());
                self.refuse(at, "yaml-value", "a bare `=` is no value in YAML 1.1".into(), hint);
                (None, false)
            }
            Plain::Invalid(why) => {
                self.refuse(at, "yaml-value", format!("`{text}` {why}"), Some("put text in quotes".into()));
                (None, false)
            }
        }
    }

    fn tagged(&mut self, text: &str, tag: &str, at: Position) -> Option<Value> {
        match tag::value(text, tag, at) {
            Tagged::Value(value) => return Some(value),
            Tagged::Unfit => {
                self.refuse(at, "yaml-value", format!("`{}` is no value for the tag `{tag}`", clip(text)), None);
            }
            Tagged::UnknownTag => self.unknown_tag(tag, at),
        }
        None
    }

    fn collection_tag(&mut self, tag: Option<&Tag>, is_list: bool, at: Position) {
        let Some(tag) = tag.map(tag::name) else { return };
        let Some(meaning) = tag::of_collection(&tag, is_list) else { return self.unknown_tag(&tag, at) };
        if let OfCollection::Wrapped(key) = meaning {
            let message = format!("the tag `{tag}` is an old form, which dag-factory no longer accepts");
            self.note(false, at, None, "old-tag", message, Some(format!("write a mapping with the key `{key}`")));
        }
        if let Some(frame) = self.stack.last_mut() {
            frame.tag = meaning;
        }
    }

    fn unknown_tag(&mut self, tag: &str, at: Position) {
        self.refuse(at, "unknown-tag", format!("the tag `{}` is not known", clip(tag)), Some(tag::hint(tag)));
    }

    /// Notes an error; the collection being built is broken by it.
    fn refuse(&mut self, at: Position, code: &'static str, message: String, hint: Option<String>) {
        if let Some(frame) = self.stack.last_mut() {
            frame.broken = true;
        }
        self.note(true, at, None, code, message, hint);
    }

    fn note(
        &mut self,
        error: bool,
        at: Position,
        last: Option<Rc<str>>,
        code: &'static str,
        message: String,
        hint: Option<String>,
    ) {
        let mut path: Vec<Rc<str>> = Vec::new();
        for frame in &self.stack {
            match &frame.content {
                Content::List(items) => path.push(items.len().to_string().into()),
                Content::Map(building) => match &building.pending {
                    Some(Pending::Key(_, name, _)) => path.push(name.clone()),
                    Some(Pending::Merge) => path.push("<<".into()),
                    Some(Pending::Refused) | None => {}
                },
            }
        }
        path.extend(last);
        self.notes.push(Note { error, at, path, code, message, hint });
    }
}

fn too_deep(at: Position) -> Fatal {
    Fatal {
        at,
        code: "too-deep",
        message: format!("values are nested more than {DEPTH_MAX} levels deep"),
        hint: Some("flatten the structure".into()),
    }
}

/// A piece of text short enough for a message.
pub(crate) fn clip(text: &str) -> String {
    const CHARACTERS_MAX: usize = 120;
    let mut shown: String = text.chars().take(CHARACTERS_MAX).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}
