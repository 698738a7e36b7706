//! The options of a backend: Airflow's `backend_kwargs`.

use regex::Regex;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ParameterStore,
    SecretsManager,
}

/// What is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Connections,
    Variables,
    Config,
}

const PARAMETER_STORE: &str =
    "airflow.providers.amazon.aws.secrets.systems_manager.SystemsManagerParameterStoreBackend";
const SECRETS_MANAGER: &str = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend";

/// As they are written, with Airflow's names. A prefix of null switches its look-ups off.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default = "connections_prefix")]
    connections_prefix: Option<String>,
    #[serde(default = "variables_prefix")]
    variables_prefix: Option<String>,
    #[serde(default = "config_prefix")]
    config_prefix: Option<String>,
    connections_lookup_pattern: Option<String>,
    variables_lookup_pattern: Option<String>,
    config_lookup_pattern: Option<String>,
    sep: Option<String>,
    #[serde(default)]
    extra_conn_words: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    are_secret_values_urlencoded: bool,
    region_name: Option<String>,
    profile_name: Option<String>,
    endpoint_url: Option<String>,
}

#[expect(clippy::unnecessary_wraps, reason = "null means none, which a default has to be told from")]
fn connections_prefix() -> Option<String> {
    Some("airflow/connections".to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "null means none, which a default has to be told from")]
fn variables_prefix() -> Option<String> {
    Some("airflow/variables".to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "null means none, which a default has to be told from")]
fn config_prefix() -> Option<String> {
    Some("airflow/config".to_owned())
}

/// One kind of look-up.
#[derive(Debug)]
struct Lookup {
    prefix: Option<String>,
    /// Only what this matches at its beginning is asked for.
    pattern: Option<Regex>,
}

/// The options, understood.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) kind: Kind,
    connections: Lookup,
    variables: Lookup,
    config: Lookup,
    sep: String,
    pub(crate) extra_conn_words: BTreeMap<String, Vec<String>>,
    pub(crate) are_secret_values_urlencoded: bool,
    pub(crate) region_name: Option<String>,
    pub(crate) profile_name: Option<String>,
    pub(crate) endpoint_url: Option<String>,
}

impl Options {
    pub(crate) fn read(class: &str, kwargs: &str) -> Result<Self, String> {
        let kind = match class.trim() {
            PARAMETER_STORE => Kind::ParameterStore,
            SECRETS_MANAGER => Kind::SecretsManager,
            other => {
                return Err(format!(
                    "the secrets backend `{other}` is not known here; known are `{PARAMETER_STORE}` and `{SECRETS_MANAGER}`"
                ));
            }
        };
        let kwargs = if kwargs.trim().is_empty() { "{}" } else { kwargs };
        let written: Written =
            serde_json::from_str(kwargs).map_err(|e| format!("the secrets backend's kwargs: {e}"))?;
        let lookup = |name: &str, prefix: Option<String>, pattern: Option<String>| -> Result<Lookup, String> {
            let pattern = pattern.map(|text| {
                Regex::new(&format!("(?i)^(?:{text})"))
                    .map_err(|e| format!("`{name}_lookup_pattern` is no pattern: {e}"))
            });
            Ok(Lookup { prefix, pattern: pattern.transpose()? })
        };
        Ok(Self {
            kind,
            connections: lookup("connections", written.connections_prefix, written.connections_lookup_pattern)?,
            variables: lookup("variables", written.variables_prefix, written.variables_lookup_pattern)?,
            config: lookup("config", written.config_prefix, written.config_lookup_pattern)?,
            sep: written.sep.unwrap_or_else(|| "/".to_owned()),
            extra_conn_words: written.extra_conn_words,
            are_secret_values_urlencoded: written.are_secret_values_urlencoded,
            region_name: written.region_name,
            profile_name: written.profile_name,
            endpoint_url: written.endpoint_url,
        })
    }

    /// The name under which the service has something. None: it is not to be asked.
    pub(crate) fn name(&self, space: Space, id: &str) -> Option<String> {
        let lookup = match space {
            Space::Connections => &self.connections,
            Space::Variables => &self.variables,
            Space::Config => &self.config,
        };
        let prefix = lookup.prefix.as_deref()?;
        if id.is_empty() || lookup.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(id)) {
            return None;
        }
        let name =
            if prefix.is_empty() { id.to_owned() } else { format!("{}{}{id}", prefix.trim_end_matches('/'), self.sep) };
        // The Parameter Store knows names in a hierarchy by their slash at the beginning alone.
        let hierarchical = self.kind == Kind::ParameterStore && !name.starts_with('/');
        Some(if hierarchical { format!("/{name}") } else { name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_airflows() {
        let store = Options::read(PARAMETER_STORE, "").unwrap();
        assert_eq!(store.name(Space::Variables, "k").as_deref(), Some("/airflow/variables/k"));
        assert_eq!(store.name(Space::Connections, "db").as_deref(), Some("/airflow/connections/db"));
        let manager = Options::read(SECRETS_MANAGER, "{}").unwrap();
        assert_eq!(manager.name(Space::Config, "k").as_deref(), Some("airflow/config/k"));
        let kwargs = r#"{"variables_prefix": null, "connections_prefix": "", "sep": "-", "config_prefix": "/c/",
            "connections_lookup_pattern": "pg_", "region_name": "eu-west-1"}"#;
        let own = Options::read(SECRETS_MANAGER, kwargs).unwrap();
        assert_eq!(own.name(Space::Variables, "k"), None);
        assert_eq!(own.name(Space::Connections, "PG_1").as_deref(), Some("PG_1"));
        assert_eq!(own.name(Space::Connections, "my_pg_1"), None);
        assert_eq!(own.name(Space::Config, "k").as_deref(), Some("/c-k"));
    }

    #[test]
    fn what_is_not_known_is_named_with_what_is() {
        for (class, kwargs, said) in [
            ("my.Vault", "", "SecretsManagerBackend"),
            (PARAMETER_STORE, "[", "kwargs"),
            (PARAMETER_STORE, r#"{"varables_prefix": "x"}"#, "variables_prefix"),
            (SECRETS_MANAGER, r#"{"config_lookup_pattern": "("}"#, "config_lookup_pattern"),
        ] {
            let error = Options::read(class, kwargs).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
