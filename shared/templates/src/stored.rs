//! The variables and connections a template may read. As with XComs, a render does no I/O: a caller asks
//! [`crate::Renderer::needs`] what a task's fields name, fetches that, and hands it in here. What a template computes while it renders
//! comes back as [`crate::TemplateError::wanted`]: fetch it, note it here, and render again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use minijinja::value::{Kwargs, Object, ObjectRepr, from_args};
use minijinja::{Error, ErrorKind as Engine, State, Value};
use updraft_model::Connection;

use crate::error::{ErrorKind, raise, type_error, wanted};
use crate::fuel::{charge_bytes, charge_json};
use crate::python::json::to_value;
use crate::python::text::quote;
use crate::xcoms::XComNeeds;

/// What must be fetched before fields can be rendered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The XComs.
    pub xcoms: XComNeeds,
    /// The keys of the variables that the templates spell out.
    pub variables: BTreeSet<String>,
    /// The ids of the connections that the templates spell out.
    pub connections: BTreeSet<String>,
}

/// Something a template asked for while it was rendered, and nobody had fetched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// The variable of this key.
    Variable(String),
    /// The connection of this id.
    Connection(String),
}

/// The variables and connections that were fetched, and the knowledge of which were looked for and not there. Its `Debug` shows names
/// only.
///
/// Cheap to clone.
#[derive(Clone, Default, PartialEq)]
pub struct Stored(Arc<Fetched>);

#[derive(Clone, Default, PartialEq)]
struct Fetched {
    variables: BTreeMap<String, Option<String>>,
    connections: BTreeMap<String, Option<Connection>>,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("variables", &self.0.variables.keys())
            .field("connections", &self.0.connections.keys())
            .finish()
    }
}

impl Stored {
    /// Nothing fetched: a template that reads a variable or a connection fails, with [`crate::TemplateError::wanted`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a variable's text, or that there is none of this key.
    pub fn note_variable(&mut self, key: impl Into<String>, text: Option<String>) {
        Arc::make_mut(&mut self.0).variables.insert(key.into(), text);
    }

    /// Notes a connection, or that there is none of this id.
    pub fn note_connection(&mut self, conn_id: impl Into<String>, connection: Option<Connection>) {
        Arc::make_mut(&mut self.0).connections.insert(conn_id.into(), connection);
    }

    fn variable(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.0.variables.get(key) {
            Some(found) => Ok(found.as_deref()),
            None => Err(wanted(
                Wanted::Variable(key.to_owned()),
                format!("the variable `{key}` was not fetched before rendering"),
            )),
        }
    }

    fn connection(&self, conn_id: &str) -> Result<Option<&Connection>, Error> {
        match self.0.connections.get(conn_id) {
            Some(found) => Ok(found.as_ref()),
            None => Err(wanted(
                Wanted::Connection(conn_id.to_owned()),
                format!("the connection `{conn_id}` was not fetched before rendering"),
            )),
        }
    }
}

/// `var`, with `value` and `json`.
#[derive(Debug)]
pub(crate) struct Variables(pub Stored);

impl Object for Variables {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let is_json = match key.as_str()? {
            "value" => false,
            "json" => true,
            _ => return None,
        };
        Some(Value::from_object(VariableAccessor { stored: self.0.clone(), is_json }))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{'json': <VariableAccessor (dynamic access)>, 'value': <VariableAccessor (dynamic access)>}")
    }
}

/// `var.value` or `var.json`.
#[derive(Debug)]
pub(crate) struct VariableAccessor {
    stored: Stored,
    is_json: bool,
}

impl VariableAccessor {
    fn find(&self, key: &str) -> Result<Option<Value>, Error> {
        let Some(text) = self.stored.variable(key)? else { return Ok(None) };
        if !self.is_json {
            return Ok(Some(Value::from(text)));
        }
        let json: serde_json::Value = serde_json::from_str(text).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            raise(ErrorKind::Evaluation, format!("the variable `{key}` is not JSON ({place}); read it by `var.value`"))
        })?;
        Ok(Some(to_value(&json)))
    }
}

impl Object for VariableAccessor {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    /// A missing variable is a value that is an error: the engine raises it as soon as it is looked at.
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        let missing = || {
            raise(
                ErrorKind::Missing,
                format!("there is no variable `{key}`; set it, or give a default: `var.value.get('{key}', '...')`"),
            )
        };
        Some(self.find(key).and_then(|found| found.ok_or_else(missing)).unwrap_or_else(Value::from))
    }

    fn call_method(self: &Arc<Self>, state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        if method != "get" {
            return Err(Error::from(Engine::UnknownMethod));
        }
        let (key, rest): (&str, &[Value]) = from_args(args)?;
        // A default of None is one, so the question is whether one was given.
        let (positional, kwargs): (&[Value], Kwargs) = from_args(rest)?;
        let default = match positional {
            [] if kwargs.has("default") => Some(kwargs.get("default")?),
            [] => None,
            [default] => Some(default.clone()),
            _ => return Err(Error::from(Engine::TooManyArguments)),
        };
        kwargs.assert_all_used()?;
        let found = self.find(key)?;
        if let Some(text) = found.as_ref().and_then(Value::as_str) {
            charge_bytes(state, text.len())?;
        }
        Ok(found.or(default).unwrap_or_else(|| Value::from_object(ArgNotSet)))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<VariableAccessor (dynamic access)>")
    }
}

/// What `get` gives for a missing variable without a default: Airflow's mark, which prints its name.
#[derive(Debug)]
pub(crate) struct ArgNotSet;

impl Object for ArgNotSet {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NOTSET")
    }
}

/// `conn`.
#[derive(Debug)]
pub(crate) struct Connections(pub Stored);

impl Connections {
    fn find(&self, conn_id: &str) -> Result<Option<Value>, Error> {
        let found = self.0.connection(conn_id)?;
        Ok(found.map(|connection| Value::from_object(ConnectionObject(connection.clone()))))
    }
}

impl Object for Connections {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let conn_id = key.as_str()?;
        let missing = || {
            raise(
                ErrorKind::Missing,
                format!("there is no connection `{conn_id}`; add it, or give a default: `conn.get('{conn_id}', ...)`"),
            )
        };
        Some(self.find(conn_id).and_then(|found| found.ok_or_else(missing)).unwrap_or_else(Value::from))
    }

    fn call_method(self: &Arc<Self>, _state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        if method != "get" {
            return Err(Error::from(Engine::UnknownMethod));
        }
        let (conn_id, default): (&str, Option<Value>) = from_args(args)?;
        Ok(self.find(conn_id)?.or(default).unwrap_or_else(|| Value::from(())))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<ConnectionAccessor (dynamic access)>")
    }
}

/// One connection, with the attributes and methods of Airflow's class.
#[derive(Debug)]
pub(crate) struct ConnectionObject(Connection);

impl ConnectionObject {
    fn extra_dejson(&self) -> Value {
        to_value(&serde_json::Value::Object(self.0.extra_dejson()))
    }

    /// All but the id, as Airflow exports it.
    fn exported(&self) -> serde_json::Value {
        let c = &self.0;
        let mut fields = serde_json::Map::new();
        let mut put = |name: &str, value: Option<serde_json::Value>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.clone().map(Into::into);
        put("conn_type", Some(c.conn_type.clone().into()));
        put("description", text(&c.description));
        put("host", text(&c.host));
        put("login", text(&c.login));
        put("password", text(&c.password));
        put("schema", text(&c.schema));
        put("port", c.port.map(Into::into));
        put("extra", Some(c.extra_dejson()).filter(|extra| !extra.is_empty()).map(Into::into));
        fields.into()
    }
}

impl Object for ConnectionObject {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let c = &self.0;
        let text = |text: &Option<String>| Value::from(text.as_deref());
        Some(match key {
            "conn_id" => Value::from(c.conn_id.as_str()),
            "conn_type" => Value::from(c.conn_type.as_str()),
            "description" => text(&c.description),
            "host" => text(&c.host),
            "schema" => text(&c.schema),
            "login" => text(&c.login),
            "password" => text(&c.password),
            "port" => Value::from(c.port),
            "extra" => text(&c.extra),
            "extra_dejson" => self.extra_dejson(),
            "EXTRA_KEY" => Value::from("__extra__"),
            _ => return None,
        })
    }

    fn call_method(self: &Arc<Self>, state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        let exported = self.exported();
        charge_json(state, &exported)?;
        from_args::<()>(args).map_err(|_| type_error(format!("`{method}` takes no arguments here")))?;
        match method {
            "get_uri" => Ok(Value::from(self.0.uri())),
            "as_json" => {
                crate::python::json::dumps(&to_value(&exported), crate::python::json::Style::default()).map(Value::from)
            }
            "get_extra_dejson" => Ok(self.extra_dejson()),
            _ => Err(Error::from(Engine::UnknownMethod)),
        }
    }

    /// As Airflow's class prints itself, password included; the runner masks it in logs.
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.0;
        let quoted = |text: Option<&str>| match text {
            None => "None".to_owned(),
            Some(text) => {
                let mut quoted = String::new();
                // Writing into a `String` cannot fail.
                let _ = quote(&mut quoted, text);
                quoted
            }
        };
        let (id, kind) = (quoted(Some(&c.conn_id)), quoted(Some(&c.conn_type)));
        write!(f, "Connection(conn_id={id}, conn_type={kind}")?;
        for (name, value) in [
            ("description", &c.description),
            ("host", &c.host),
            ("schema", &c.schema),
            ("login", &c.login),
            ("password", &c.password),
        ] {
            write!(f, ", {name}={}", quoted(value.as_deref()))?;
        }
        let port = c.port.map_or_else(|| "None".to_owned(), |port| port.to_string());
        write!(f, ", port={port}, extra={})", quoted(c.extra.as_deref()))
    }
}
