//! What the environment variables of a process say about secrets.

use crate::{
    BACKEND, BACKEND_KWARGS, BackendError, CACHE_TTL, Cached, FERNET_KEY, FERNET_KEY_SECRET, Keys, SecretsBackend,
};
use std::sync::Arc;
use std::time::Duration;
use updraft_metastore::seal::Seal;

/// Airflow's default for `[secrets] cache_ttl_seconds`.
const CACHE_TTL_DEFAULT: u64 = 900;

/// A backend and keys, as far as they are set.
#[derive(Debug, Clone, Default)]
pub struct Configured {
    /// Asked before the environment and the metastore.
    pub backend: Option<Arc<dyn SecretsBackend>>,
    /// What encrypts variables and connections in the metastore.
    pub keys: Option<Arc<dyn Seal>>,
}

/// Reads the variables; `build` makes the backend of a class with its kwargs, of those that the program has.
///
/// # Errors
/// What cannot be used, with the variable's name and never its value.
pub async fn configured<B: SecretsBackend + 'static>(
    variable: impl Fn(&str) -> Option<String>,
    build: impl AsyncFnOnce(String, String) -> Result<B, BackendError>,
) -> Result<Configured, BackendError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let ttl = match set(CACHE_TTL) {
        None => CACHE_TTL_DEFAULT,
        Some(text) => text.parse().map_err(|_| {
            BackendError(format!("`{CACHE_TTL}` is `{text}`; give a whole number of seconds, 0 to remember nothing"))
        })?,
    };
    let backend: Option<Arc<dyn SecretsBackend>> = match set(BACKEND) {
        None => None,
        Some(class) => {
            let built = build(class, set(BACKEND_KWARGS).unwrap_or_default()).await;
            let built = built.map_err(|error| BackendError(format!("`{BACKEND}` and `{BACKEND_KWARGS}`: {error}")))?;
            Some(Arc::new(Cached::new(built, Duration::from_secs(ttl))))
        }
    };
    let text = match (set(FERNET_KEY), set(FERNET_KEY_SECRET), &backend) {
        (Some(text), ..) => Some(text),
        (None, None, _) => None,
        (None, Some(_), None) => {
            return Err(BackendError(format!(
                "`{FERNET_KEY_SECRET}` is set, and no secrets backend is; set `{BACKEND}`, or `{FERNET_KEY}` to the key itself"
            )));
        }
        (None, Some(name), Some(backend)) => {
            let found = backend.config(&name).await?;
            let absent = || {
                BackendError(format!("the secrets backend has no option `{name}`, which `{FERNET_KEY_SECRET}` names"))
            };
            Some(found.ok_or_else(absent)?)
        }
    };
    let keys = text.map(|text| Keys::parse(&text)).transpose().map_err(|error| BackendError(error.to_string()))?;
    Ok(Configured { backend, keys: keys.map(|keys| Arc::new(keys) as Arc<dyn Seal>) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, draw_key};

    #[derive(Debug)]
    struct Fixed(String);

    impl SecretsBackend for Fixed {
        fn variable<'a>(&'a self, _: &'a str) -> Answer<'a> {
            Box::pin(std::future::ready(Ok(None)))
        }

        fn connection<'a>(&'a self, _: &'a str) -> Answer<'a> {
            Box::pin(std::future::ready(Ok(None)))
        }

        fn config<'a>(&'a self, option: &'a str) -> Answer<'a> {
            Box::pin(std::future::ready(Ok((option == "fernet-key").then(|| self.0.clone()))))
        }
    }

    async fn with(variables: &[(&str, &str)]) -> Result<Configured, BackendError> {
        let key = draw_key().unwrap();
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        configured(variable, async |class, kwargs| match class.as_str() {
            "fixed" => Ok(Fixed(key)),
            _ => Err(BackendError(format!("`{class}` with {} characters is not known", kwargs.len()))),
        })
        .await
    }

    #[tokio::test]
    async fn keys_are_named_or_looked_up() {
        let nothing = with(&[]).await.unwrap();
        assert!(nothing.backend.is_none() && nothing.keys.is_none());
        let looked_up = with(&[(BACKEND, "fixed"), (FERNET_KEY_SECRET, "fernet-key")]).await.unwrap();
        assert!(looked_up.backend.is_some() && looked_up.keys.is_some());
        for (variables, said) in [
            (&[(FERNET_KEY_SECRET, "fernet-key")][..], BACKEND),
            (&[(BACKEND, "fixed"), (FERNET_KEY_SECRET, "other")], "`other`"),
            (&[(BACKEND, "vault"), (BACKEND_KWARGS, "{}")], "`vault`"),
            (&[(FERNET_KEY, "hunter22")], "Fernet key"),
            (&[(CACHE_TTL, "soon")], CACHE_TTL),
        ] {
            let error = with(variables).await.unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("hunter22"), "{error}");
        }
    }
}
