//! Connections: where a service is and how to get in, as Airflow writes them: fields, a URI, or JSON.

use crate::percent::{pairs, quote, quote_plus, unquote};
use crate::secrets;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// The longest id, in characters: Airflow's command line has the same limit.
pub const CONN_ID_CHARS_MAX: usize = 200;

/// The most that all fields of a connection may have together, in bytes: it lies in one item, whose limit on DynamoDB is 400 KB.
pub const CONNECTION_BYTES_MAX: usize = 256 * 1024;

/// The name under which a URI carries an extra that is no plain list of texts.
const EXTRA_KEY: &str = "__extra__";

/// A connection. Its `Debug` shows neither password nor extra.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Connection {
    /// Its name.
    pub conn_id: String,
    /// The kind of service: `http`, `postgres`, `aws`.
    pub conn_type: String,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The host, with its protocol in front where one is meant (`https://host`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The database, or whatever the service calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// More settings: the text of a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<String>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("conn_id", &self.conn_id)
            .field("conn_type", &self.conn_type)
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Why something is no connection. No message shows a value that may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// An id with characters it may not have.
    #[error(
        "the connection id `{0}` may only have letters, digits, dashes, dots and underscores, and at most {CONN_ID_CHARS_MAX} of them"
    )]
    Id(String),
    /// A URI that is none.
    #[error(
        "the URI of the connection `{conn_id}` cannot be read: {why}; write it like `http://login:password@host:8080/schema?name=value`"
    )]
    Uri {
        /// Which connection.
        conn_id: String,
        /// What is wrong.
        why: &'static str,
    },
    /// JSON that is none, or not of a connection.
    #[error("the JSON of the connection `{conn_id}` cannot be used: {why}")]
    Json {
        /// Which connection.
        conn_id: String,
        /// What is wrong.
        why: String,
    },
    /// An extra that is no JSON object.
    #[error("the extra of the connection `{0}` is no JSON object; write it like `{{\"name\": \"value\"}}`")]
    Extra(String),
    /// No kind of service.
    #[error("the connection `{0}` has no conn_type; name the kind of service, like `http`")]
    NoType(String),
    /// More than fits.
    #[error("the connection `{conn_id}` has {bytes} bytes; at most {CONNECTION_BYTES_MAX} fit")]
    TooLarge {
        /// Which connection.
        conn_id: String,
        /// Its size.
        bytes: usize,
    },
}

impl Connection {
    /// Reads a URI as Airflow does: percent-encoded parts, the extra in the query, and a protocol of the host after that of the
    /// connection (`http://https://host`).
    ///
    /// # Errors
    /// [`Problem::Uri`] or [`Problem::Extra`].
    pub fn from_uri(conn_id: &str, uri: &str) -> Result<Self, Problem> {
        let wrong = |why| Problem::Uri { conn_id: conn_id.to_owned(), why };
        let uri: String = uri.trim_start_matches(|c: char| c <= ' ').replace(['\t', '\r', '\n'], "");
        let (scheme, rest) = uri.split_once("://").ok_or_else(|| wrong("there is no `://` behind a type"))?;
        if !is_scheme(scheme) {
            return Err(wrong("what stands before `://` is no type (letters, digits, `+`, `-` and `.`)"));
        }
        let (protocol, rest) = match rest.split_once("://") {
            None => (None, rest),
            Some((_, after)) if after.contains("://") => return Err(wrong("it has more than two `://`")),
            Some((before, after)) if is_scheme(before) => (Some(before.to_lowercase()), after),
            // A `://` further behind, in a value of the query: not the host's protocol.
            Some((before, _)) if before.contains(['/', '?', '#']) => (None, rest),
            Some(_) => return Err(wrong("login and password belong behind the second `://`")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = before_query.split_once('/').unwrap_or((before_query, ""));
        let (user, address) = authority.rsplit_once('@').map_or((None, authority), |(u, a)| (Some(u), a));
        let (login, password) = match user {
            None => (None, None),
            Some(user) => match user.split_once(':') {
                Some((login, password)) => (Some(unquote(login)), Some(unquote(password))),
                None => (Some(unquote(user)), None),
            },
        };
        let (host, port) = split_address(address).ok_or_else(|| wrong("the port is no number up to 65535"))?;
        let extra = extra_of(query);
        if extra.as_ref().is_some_and(|text| !is_object(text)) {
            return Err(Problem::Extra(conn_id.to_owned()));
        }
        let host = match protocol {
            Some(protocol) if !host.is_empty() => format!("{protocol}://{host}"),
            _ => host,
        };
        Ok(Self {
            conn_id: conn_id.to_owned(),
            conn_type: normal_type(&scheme.to_lowercase()),
            description: None,
            host: Some(host),
            login,
            password,
            schema: Some(unquote(path)),
            port,
            extra,
        })
    }

    /// Reads the JSON form: an object of the fields, `extra` as an object or as the text of one.
    ///
    /// # Errors
    /// [`Problem::Json`] or [`Problem::Extra`].
    pub fn from_json(conn_id: &str, text: &str) -> Result<Self, Problem> {
        let value: Value = serde_json::from_str(text).map_err(|e| Problem::Json {
            conn_id: conn_id.to_owned(),
            why: format!("it is no JSON (line {}, column {})", e.line(), e.column()),
        })?;
        Self::from_value(conn_id, &value)
    }

    /// The same from a value that was read already.
    ///
    /// # Errors
    /// [`Problem::Json`] or [`Problem::Extra`].
    pub fn from_value(conn_id: &str, value: &Value) -> Result<Self, Problem> {
        let wrong = |why: String| Problem::Json { conn_id: conn_id.to_owned(), why };
        let fields = value.as_object().ok_or_else(|| wrong("it is no object".to_owned()))?;
        let mut connection = Self { conn_id: conn_id.to_owned(), ..Self::default() };
        let text = |name: &str, value: &Value| match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(wrong(format!("`{name}` is not text"))),
        };
        for (name, value) in fields {
            match name.as_str() {
                "conn_type" => connection.conn_type = normal_type(&text(name, value)?.unwrap_or_default()),
                "description" => connection.description = text(name, value)?,
                "host" => connection.host = text(name, value)?,
                "login" => connection.login = text(name, value)?,
                "password" => connection.password = text(name, value)?,
                "schema" => connection.schema = text(name, value)?,
                "port" => {
                    connection.port =
                        port_of(value).map_err(|()| wrong("`port` is no number up to 65535".to_owned()))?;
                }
                "extra" | "extra_dejson" => {
                    connection.extra = match value {
                        Value::Null => None,
                        Value::String(text) if text.is_empty() => None,
                        Value::String(text) => Some(text.clone()),
                        Value::Object(_) => Some(value.to_string()),
                        _ => return Err(Problem::Extra(conn_id.to_owned())),
                    };
                }
                // Exports carry the id beside the fields.
                "conn_id" if value.as_str() == Some(conn_id) => {}
                "conn_id" => return Err(wrong("its `conn_id` is another".to_owned())),
                other => {
                    return Err(wrong(format!(
                        "`{other}` is no field of a connection; those are conn_type, description, host, login, password, schema, port, \
                         extra"
                    )));
                }
            }
        }
        if connection.extra.as_ref().is_some_and(|text| !is_object(text)) {
            return Err(Problem::Extra(conn_id.to_owned()));
        }
        Ok(connection)
    }

    /// Reads what an environment variable or a file holds: JSON where it begins with a brace, else a URI.
    ///
    /// # Errors
    /// A [`Problem`].
    pub fn from_text(conn_id: &str, text: &str) -> Result<Self, Problem> {
        let text = text.trim();
        if text.starts_with('{') { Self::from_json(conn_id, text) } else { Self::from_uri(conn_id, text) }
    }

    /// Whether it can be kept.
    ///
    /// # Errors
    /// A [`Problem`] that says why not.
    pub fn check(&self) -> Result<(), Problem> {
        let legal = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let length = self.conn_id.chars().count();
        if length == 0 || length > CONN_ID_CHARS_MAX || !self.conn_id.chars().all(legal) {
            return Err(Problem::Id(self.conn_id.clone()));
        }
        if self.conn_type.is_empty() {
            return Err(Problem::NoType(self.conn_id.clone()));
        }
        if self.extra.as_ref().is_some_and(|text| !is_object(text)) {
            return Err(Problem::Extra(self.conn_id.clone()));
        }
        let texts = [&self.description, &self.host, &self.login, &self.password, &self.schema, &self.extra];
        let bytes = self.conn_type.len() + texts.into_iter().flatten().map(String::len).sum::<usize>();
        if bytes > CONNECTION_BYTES_MAX {
            return Err(Problem::TooLarge { conn_id: self.conn_id.clone(), bytes });
        }
        Ok(())
    }

    /// The URI, as Airflow's `get_uri` writes it. It holds the password.
    pub fn uri(&self) -> String {
        let mut uri = match self.conn_type.as_str() {
            "" => "//".to_owned(),
            conn_type => format!("{}://", conn_type.to_lowercase().replace('_', "-")),
        };
        let host = self.host.as_deref().unwrap_or_default();
        let (protocol, host) = host.split_once("://").map_or((None, host), |(p, h)| (Some(p), h));
        if let Some(protocol) = protocol {
            uri.push_str(protocol);
            uri.push_str("://");
        }
        let mut authority = self.login.as_deref().map(quote).unwrap_or_default();
        if let Some(password) = &self.password {
            authority.push(':');
            authority.push_str(&quote(password));
        }
        let anonymous = authority.is_empty();
        if !anonymous {
            uri.push_str(&authority);
            uri.push('@');
        }
        uri.push_str(&quote(host));
        if let Some(port) = self.port.filter(|port| *port != 0) {
            if host.is_empty() && anonymous {
                uri.push('@');
            }
            uri.push(':');
            uri.push_str(&port.to_string());
        }
        let schema = self.schema.as_deref().unwrap_or_default();
        if !schema.is_empty() {
            uri.push('/');
            uri.push_str(&quote(schema));
        }
        if let Some(extra) = self.extra.as_ref().filter(|extra| !extra.is_empty()) {
            uri.push_str(if schema.is_empty() { "/?" } else { "?" });
            uri.push_str(
                &query_of(&self.extra_dejson()).unwrap_or_else(|| format!("{EXTRA_KEY}={}", quote_plus(extra))),
            );
        }
        uri
    }

    /// The extra as an object; empty where there is none.
    pub fn extra_dejson(&self) -> Map<String, Value> {
        self.extra.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// What to mask in the logs of whoever reads this connection: the password, as it is and as a URI has it, and what its extra keeps
    /// below a telling name.
    pub fn texts_to_mask(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(password) = &self.password {
            secrets::note(password, &mut found);
            secrets::note(&quote(password), &mut found);
        }
        secrets::texts_to_mask(&Value::Object(self.extra_dejson()), false, &mut found);
        found
    }
}

fn is_object(text: &str) -> bool {
    serde_json::from_str::<Map<String, Value>>(text).is_ok()
}

/// Whether a text may stand before `://`, as Python's `urlsplit` sees it.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// The type as Airflow keeps it.
fn normal_type(conn_type: &str) -> String {
    if conn_type == "postgresql" { "postgres".to_owned() } else { conn_type.replace('-', "_") }
}

/// Host and port of an address; none where the port is none. The host is in lower case but for what is percent-encoded in front of it,
/// as Python reads it, unless it stands for a path.
fn split_address(address: &str) -> Option<(String, Option<u16>)> {
    let (raw, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, after)) => (inside, after.strip_prefix(':').unwrap_or_default()),
        None => address.split_once(':').unwrap_or((address, "")),
    };
    let port = match port {
        "" => None,
        digits => Some(digits.parse().ok()?),
    };
    let (name, zone) = raw.split_once('%').map_or((raw, None), |(name, zone)| (name, Some(zone)));
    let lower = zone.map_or_else(|| name.to_lowercase(), |zone| format!("{}%{zone}", name.to_lowercase()));
    let host = unquote(&lower);
    Some((if host.contains('/') { unquote(raw) } else { host }, port))
}

/// The extra that a query stands for.
fn extra_of(query: &str) -> Option<String> {
    if query.is_empty() {
        return None;
    }
    let mut extra: Map<String, Value> = pairs(query).map(|(name, value)| (name, Value::String(value))).collect();
    match extra.remove(EXTRA_KEY) {
        Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
        _ => Some(Value::Object(extra).to_string()),
    }
}

/// The query that stands for an extra; none where one with other values than text would lose something.
fn query_of(extra: &Map<String, Value>) -> Option<String> {
    let pair = |(name, value): (&String, &Value)| Some(format!("{}={}", quote_plus(name), quote_plus(value.as_str()?)));
    let query = extra.iter().map(pair).collect::<Option<Vec<_>>>()?.join("&");
    (!query.is_empty() && !extra.contains_key(EXTRA_KEY)).then_some(query)
}

fn port_of(value: &Value) -> Result<Option<u16>, ()> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => text.parse().map(Some).map_err(|_| ()),
        other => other.as_u64().and_then(|n| u16::try_from(n).ok()).map(Some).ok_or(()),
    }
}

#[cfg(test)]
mod tests;
