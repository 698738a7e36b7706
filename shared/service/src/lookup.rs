//! Where DAGs' variables and connections come from, in Airflow's order: the secrets backend, the environment, then the metastore.

use crate::engine::Error;
use std::collections::BTreeMap;
use std::sync::Arc;
use updraft_metastore::{Items, Metastore};
use updraft_model::{Connection, variable};
use updraft_secrets::{BackendError, SecretsBackend};

/// What the names of variables in the environment begin with; the key follows in capitals.
pub const VARIABLE_PREFIX: &str = "AIRFLOW_VAR_";

/// What the names of connections in the environment begin with; the id follows in capitals. The value is a URI or JSON.
pub const CONNECTION_PREFIX: &str = "AIRFLOW_CONN_";

/// The variables and connections of an environment. Its `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
    /// What is asked before.
    backend: Option<Arc<dyn SecretsBackend>>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Environment {
    /// Those among these names and values.
    pub fn new(all: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = |name: &str| name.starts_with(VARIABLE_PREFIX) || name.starts_with(CONNECTION_PREFIX);
        Self { values: all.into_iter().filter(|(name, _)| ours(name)).collect(), backend: None }
    }

    /// The same, where a secrets backend is asked before.
    #[must_use]
    pub fn behind(self, backend: Option<Arc<dyn SecretsBackend>>) -> Self {
        Self { backend, ..self }
    }

    /// Those of this process.
    pub fn of_process() -> Self {
        Self::new(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// The variable of this key.
    pub fn variable(&self, key: &str) -> Option<&str> {
        self.values.get(&format!("{VARIABLE_PREFIX}{}", key.to_uppercase())).map(String::as_str)
    }

    /// The connection of this id.
    ///
    /// # Errors
    /// [`Error::Refused`] where it is there and cannot be read.
    pub fn connection(&self, conn_id: &str) -> Result<Option<Connection>, Error> {
        let name = format!("{CONNECTION_PREFIX}{}", conn_id.to_uppercase());
        let Some(text) = self.values.get(&name) else { return Ok(None) };
        let read = Connection::from_text(conn_id, text);
        read.map(Some).map_err(|problem| Error::Refused(format!("the environment variable `{name}`: {problem}")))
    }

    /// The names of its variables' environment variables, or of its connections'.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.values.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }
}

fn unanswered(error: BackendError) -> Error {
    Error::Refused(format!("the secrets backend gave no answer: {error}"))
}

/// Finds variables and connections for whoever runs tasks.
#[derive(Debug)]
pub struct Lookup<'a, I> {
    /// Where they are kept.
    pub store: &'a Metastore<I>,
    /// What goes before the store.
    pub environment: &'a Environment,
}

impl<I: Items> Lookup<'_, I> {
    /// The text of a variable; none where there is none.
    ///
    /// # Errors
    /// Where the backend or the metastore does not answer: what comes after it might be another value, so it is not asked.
    pub async fn variable(&self, key: &str) -> Result<Option<String>, Error> {
        if let Some(backend) = &self.environment.backend
            && let Some(text) = backend.variable(key).await.map_err(unanswered)?
        {
            return Ok(Some(text));
        }
        if let Some(text) = self.environment.variable(key) {
            return Ok(Some(text.to_owned()));
        }
        // A key that cannot be kept is not kept; stores refuse some of them.
        if key.is_empty() || key.chars().count() > variable::KEY_CHARS_MAX {
            return Ok(None);
        }
        Ok(self.store.variable(key).await?.map(|variable| variable.val))
    }

    /// A connection; none where there is none.
    ///
    /// # Errors
    /// [`Error::Refused`] where the backend or the environment has one that cannot be read; otherwise as of variables.
    pub async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, Error> {
        if let Some(backend) = &self.environment.backend
            && let Some(text) = backend.connection(conn_id).await.map_err(unanswered)?
        {
            let read = Connection::from_text(conn_id, &text);
            return read.map(Some).map_err(|problem| {
                Error::Refused(format!("the connection `{conn_id}` of the secrets backend: {problem}"))
            });
        }
        if let Some(connection) = self.environment.connection(conn_id)? {
            return Ok(Some(connection));
        }
        if conn_id.is_empty() || conn_id.chars().count() > updraft_model::connection::CONN_ID_CHARS_MAX {
            return Ok(None);
        }
        Ok(self.store.connection(conn_id).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft_metastore::memory::Memory;
    use updraft_model::Variable;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_environment_goes_before_the_store() {
        let store = Metastore::new(Memory::default());
        let environment =
            environment(&[("AIRFLOW_VAR_REGION", "eu"), ("AIRFLOW_CONN_DB", "http://there"), ("HOME", "/")]);
        let lookup = Lookup { store: &store, environment: &environment };
        wait(async {
            for (key, val) in [("region", "us"), ("zone", "a")] {
                let variable = Variable { key: key.to_owned(), val: val.to_owned(), description: None };
                store.put_variable(&variable).await.unwrap();
            }
            for conn_id in ["db", "other"] {
                store.put_connection(&Connection::from_uri(conn_id, "http://here").unwrap()).await.unwrap();
            }
            assert_eq!(lookup.variable("region").await.unwrap().as_deref(), Some("eu"));
            assert_eq!(lookup.variable("zone").await.unwrap().as_deref(), Some("a"));
            assert_eq!(lookup.variable("none").await.unwrap(), None);
            assert_eq!(lookup.variable("").await.unwrap(), None);
            let host = |found: Option<Connection>| found.and_then(|connection| connection.host);
            assert_eq!(host(lookup.connection("db").await.unwrap()).as_deref(), Some("there"));
            assert_eq!(host(lookup.connection("other").await.unwrap()).as_deref(), Some("here"));
            assert_eq!(lookup.connection("none").await.unwrap(), None);
        });
    }

    #[derive(Debug)]
    struct Backend;

    impl SecretsBackend for Backend {
        fn variable<'a>(&'a self, key: &'a str) -> updraft_secrets::Answer<'a> {
            let answer = match key {
                "region" => Ok(Some("secret".to_owned())),
                "down" => Err(BackendError("down".to_owned())),
                _ => Ok(None),
            };
            Box::pin(std::future::ready(answer))
        }

        fn connection<'a>(&'a self, conn_id: &'a str) -> updraft_secrets::Answer<'a> {
            let answer = match conn_id {
                "db" => Some("http://backend".to_owned()),
                "broken" => Some("http://u:hunter22@h:many".to_owned()),
                _ => None,
            };
            Box::pin(std::future::ready(Ok(answer)))
        }

        fn config<'a>(&'a self, _: &'a str) -> updraft_secrets::Answer<'a> {
            Box::pin(std::future::ready(Ok(None)))
        }
    }

    #[test]
    fn the_backend_goes_before_the_environment_and_its_silence_is_no_absence() {
        let store = Metastore::new(Memory::default());
        let environment =
            environment(&[("AIRFLOW_VAR_REGION", "eu"), ("AIRFLOW_VAR_ZONE", "a"), ("AIRFLOW_VAR_DOWN", "b")]);
        let environment = environment.behind(Some(Arc::new(Backend)));
        let lookup = Lookup { store: &store, environment: &environment };
        wait(async {
            assert_eq!(lookup.variable("region").await.unwrap().as_deref(), Some("secret"));
            assert_eq!(lookup.variable("zone").await.unwrap().as_deref(), Some("a"));
            assert!(lookup.variable("down").await.unwrap_err().to_string().contains("down"));
            let host = lookup.connection("db").await.unwrap().and_then(|connection| connection.host);
            assert_eq!(host.as_deref(), Some("backend"));
            let said = lookup.connection("broken").await.unwrap_err().to_string();
            assert!(said.contains("`broken`") && said.contains("port") && !said.contains("hunter22"), "{said}");
        });
    }

    #[test]
    fn a_broken_connection_in_the_environment_is_named_without_its_value() {
        let environment = environment(&[("AIRFLOW_CONN_DB", "http://u:hunter22@h:many")]);
        let said = environment.connection("db").unwrap_err().to_string();
        assert!(said.contains("AIRFLOW_CONN_DB") && said.contains("port") && !said.contains("hunter22"), "{said}");
        assert!(!format!("{environment:?}").contains("hunter22"));
    }
}
