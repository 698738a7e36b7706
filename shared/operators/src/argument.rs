//! Arguments of operators.

/// The type an argument must have, as far as a DAG file is checked for it. A text with a template in it always passes where
/// templates are rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ArgumentType {
    /// Text.
    Text,
    /// True or false.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A list.
    List,
    /// A mapping.
    Mapping,
    /// A whole number or a list of them.
    IntegerOrList,
    /// Text or a list.
    TextOrList,
    /// Text or a mapping.
    MappingOrText,
    /// A length of time: seconds, or any spelling of a duration. Kept in seconds once it is read.
    Duration,
    /// A length of time in which a plain number counts minutes; otherwise as [`ArgumentType::Duration`], kept in seconds too.
    Minutes,
    /// A point in time. Kept as text in ISO 8601 once it is read.
    Moment,
    /// A time of day. Kept as text, `HH:MM:SS`, once it is read.
    TimeOfDay,
    /// A Python callable, by its dotted path.
    Callable,
    /// Anything.
    Any,
}

impl ArgumentType {
    /// The type by its name in the data of [`crate::deferred`].
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "list" => Self::List,
            "mapping" => Self::Mapping,
            "integer-or-list" => Self::IntegerOrList,
            "text-or-list" => Self::TextOrList,
            "mapping-or-text" => Self::MappingOrText,
            "duration" => Self::Duration,
            "moment" => Self::Moment,
            "callable" => Self::Callable,
            "any" => Self::Any,
            _ => return None,
        })
    }
}

/// One argument of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// Its keyword.
    pub name: &'static str,
    /// Its type.
    pub kind: ArgumentType,
    /// Whether the task cannot be built without it.
    pub required: bool,
    /// Whether Jinja is rendered in it.
    pub template: bool,
    /// What it is when it is not given, as JSON; none where that is computed, or where the argument is required.
    pub default: Option<&'static str>,
    /// What it does, in a line; empty where nothing is written down.
    pub doc: &'static str,
}

impl Argument {
    /// An argument that may be left out.
    pub(crate) const fn new(name: &'static str, kind: ArgumentType) -> Self {
        Self { name, kind, required: false, template: false, default: None, doc: "" }
    }

    /// The same, which must be given.
    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// The same, with Jinja rendered in it.
    pub(crate) const fn template(self) -> Self {
        Self { template: true, ..self }
    }

    /// The same, with what it is when it is not given, as JSON.
    pub(crate) const fn or(self, json: &'static str) -> Self {
        Self { default: Some(json), ..self }
    }

    /// The same, with a line on what it does.
    pub(crate) const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }
}

/// What every sensor takes besides its own arguments and those of every task.
pub const SENSOR_ARGUMENTS: &[Argument] = &[
    Argument::new("poke_interval", ArgumentType::Duration).or("60").doc("how long to wait between two looks"),
    Argument::new("timeout", ArgumentType::Duration)
        .or("604800")
        .doc("how long after the first look of a try the sensor gives up"),
    Argument::new("mode", ArgumentType::Text)
        .or("\"poke\"")
        .doc("`poke` keeps a worker between looks, `reschedule` gives it back"),
    Argument::new("soft_fail", ArgumentType::Boolean).or("false").doc("a failure or a timeout skips the task"),
    Argument::new("exponential_backoff", ArgumentType::Boolean).or("false").doc("waits grow from look to look"),
    Argument::new("max_wait", ArgumentType::Duration).or("null").doc("no wait is longer than this"),
    Argument::new("silent_fail", ArgumentType::Boolean)
        .or("false")
        .doc("an error while looking is logged, and the sensor looks again"),
    Argument::new("never_fail", ArgumentType::Boolean).or("false").doc("an error while looking skips the task"),
];
