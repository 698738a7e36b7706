//! Small objects of the context: records with attributes, enumerations, sets, and the accessors that are not there yet.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr, ValueKind};
use minijinja::{Error, State, Value};

use crate::error::{ErrorKind, raise};

/// Attributes under a printed name: `dag`, `dag_run`, `task`.
pub(crate) struct Record {
    /// What `str()` and `repr()` give.
    pub shown: String,
    /// The attributes.
    pub attributes: BTreeMap<&'static str, Value>,
    /// Attributes whose names are not known before.
    pub more: BTreeMap<String, Value>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Object for Record {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.attributes.get(key).or_else(|| self.more.get(key)).cloned()
    }
}

/// A member of one of Airflow's `str` enumerations: prints as `DagRunType.MANUAL`, equals `'manual'`.
pub(crate) struct Enumeration {
    class: &'static str,
    /// The plain string.
    pub value: String,
}

impl Enumeration {
    pub(crate) fn value(class: &'static str, value: &str) -> Value {
        Value::from_object(Self { class, value: value.to_owned() })
    }

    fn name(&self) -> String {
        self.value.to_uppercase()
    }
}

impl fmt::Debug for Enumeration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}.{}: '{}'>", self.class, self.name(), self.value)
    }
}

impl Object for Enumeration {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "value" => Some(Value::from(self.value.as_str())),
            "name" => Some(Value::from(self.name())),
            _ => None,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    /// It is a string, so it has a string's methods.
    fn call_method(self: &Arc<Self>, state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        Value::from(self.value.as_str()).call_method(state, method, args)
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<std::cmp::Ordering> {
        other.downcast_ref::<Self>().map(|other| self.value.cmp(&other.value))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.class, self.name())
    }
}

/// A set of strings, printed in braces.
#[derive(Debug)]
pub(crate) struct Set(pub Vec<String>);

impl Object for Set {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_usize()?).map(|item| Value::from(item.as_str()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }
}

/// Something Airflow has in its context and we do not have yet: every access says so, instead of giving nothing.
#[derive(Debug)]
pub(crate) struct NotYet {
    /// What `str()` gives.
    pub shown: &'static str,
    /// The whole message.
    pub message: &'static str,
}

impl NotYet {
    fn error(&self) -> Error {
        raise(ErrorKind::Unsupported, self.message)
    }
}

impl Object for NotYet {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    /// A value that is an error: the engine raises it as soon as it is looked at.
    fn get_value(self: &Arc<Self>, _key: &Value) -> Option<Value> {
        Some(Value::from(self.error()))
    }

    fn call(self: &Arc<Self>, _state: &mut State<'_, '_>, _args: &[Value]) -> Result<Value, Error> {
        Err(self.error())
    }

    fn call_method(
        self: &Arc<Self>,
        _state: &mut State<'_, '_>,
        _method: &str,
        _args: &[Value],
    ) -> Result<Value, Error> {
        Err(self.error())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown)
    }
}

/// Something undefined that prints its own expression, as jinja2's `DebugUndefined` does. It is false, and has nothing.
pub(crate) struct Undefined {
    /// The class, as Python names it.
    pub class: &'static str,
    /// What `str()` gives.
    pub text: String,
}

impl fmt::Debug for Undefined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Undefined")
    }
}

impl Object for Undefined {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A UUID: prints its text, shows itself as `UUID('...')`.
pub(crate) struct Uuid(pub String);

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UUID('{}')", self.0)
    }
}

impl Object for Uuid {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let hex = self.0.replace('-', "");
        match key.as_str()? {
            "hex" => Some(Value::from(hex)),
            "int" => u128::from_str_radix(&hex, 16).ok().map(Value::from),
            "version" => hex.get(12..13).and_then(|digit| u32::from_str_radix(digit, 16).ok()).map(Value::from),
            _ => None,
        }
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<std::cmp::Ordering> {
        other.downcast_ref::<Self>().map(|other| self.0.cmp(&other.0))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A function that takes its arguments as they come, keywords included.
pub(crate) struct Callable {
    name: &'static str,
    function: fn(&[Value]) -> Result<Value, Error>,
}

impl Callable {
    pub(crate) fn value(name: &'static str, function: fn(&[Value]) -> Result<Value, Error>) -> Value {
        Value::from_object(Self { name, function })
    }
}

impl fmt::Debug for Callable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<class '{}'>", self.name)
    }
}

impl Object for Callable {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        (self.function)(args)
    }
}

/// `repr()` of one of our objects, where it is not `str()`; the engine prints both alike.
pub(crate) fn object_repr(value: &Value) -> Option<String> {
    fn debug<T: fmt::Debug + 'static>(value: &Value) -> Option<String> {
        value.downcast_object_ref::<T>().map(|object| format!("{object:?}"))
    }
    debug::<super::moment::DateTime>(value)
        .or_else(|| debug::<super::moment::Date>(value))
        .or_else(|| debug::<super::moment::Time>(value))
        .or_else(|| debug::<super::delta::TimeDelta>(value))
        .or_else(|| debug::<Enumeration>(value))
        .or_else(|| debug::<Uuid>(value))
        .or_else(|| debug::<Undefined>(value))
        .or_else(|| debug::<Record>(value))
}

/// The name of a value's type, for messages. Never its content.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "Undefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        ValueKind::Seq if value.is_tuple() => "tuple",
        ValueKind::Seq => "list",
        ValueKind::Map => "dict",
        ValueKind::Iterable => "iterator",
        _ if value.downcast_object_ref::<super::moment::DateTime>().is_some() => "datetime",
        _ if value.downcast_object_ref::<super::moment::Date>().is_some() => "date",
        _ if value.downcast_object_ref::<super::delta::TimeDelta>().is_some() => "timedelta",
        _ => "object",
    }
}

/// The name of the Python class of a value that is no plain one.
pub(crate) fn class_name(value: &Value) -> &'static str {
    use crate::stored::{ArgNotSet, ConnectionObject, VariableAccessor};
    if let Some(undefined) = value.downcast_object_ref::<Undefined>() {
        return undefined.class;
    }
    match value.downcast_object_ref::<super::moment::DateTime>() {
        Some(moment) if moment.is_pendulum() => return "DateTime",
        _ => {}
    }
    if value.downcast_object_ref::<ConnectionObject>().is_some() {
        "Connection"
    } else if value.downcast_object_ref::<VariableAccessor>().is_some() {
        "VariableAccessor"
    } else if value.downcast_object_ref::<ArgNotSet>().is_some() {
        "ArgNotSet"
    } else if let Some(member) = value.downcast_object_ref::<Enumeration>() {
        member.class
    } else {
        type_name(value)
    }
}

/// The text of a string or of a `str` enumeration.
pub(crate) fn as_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.downcast_object_ref::<Enumeration>().map(|member| member.value.as_str()))
}
