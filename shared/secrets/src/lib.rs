//! Secrets: where variables and connections may come from besides the metastore, and how they are encrypted in it.
//!
//! [`SecretsBackend`] is the port, what Airflow calls `[secrets] backend`; [`Cached`] asks one no more often than needed. [`Keys`] and
//! [`HomeKeys`] are what Airflow calls `[core] fernet_key`.

mod backend;
mod configured;
mod keys;

pub use backend::{Answer, BackendError, Cached, SecretsBackend};
pub use configured::{Configured, configured};
pub use keys::{HomeKeys, KeyError, Keys, draw_key};

/// The class of the secrets backend, by Airflow's path: `[secrets] backend`.
pub const BACKEND: &str = "UPDRAFT_SECRETS_BACKEND";

/// Its settings, a JSON object: `[secrets] backend_kwargs`.
pub const BACKEND_KWARGS: &str = "UPDRAFT_SECRETS_BACKEND_KWARGS";

/// For how many seconds what a backend said is remembered; 900 if not set, and 0 for never: `[secrets] cache_ttl_seconds`.
pub const CACHE_TTL: &str = "UPDRAFT_SECRETS_CACHE_TTL_SECONDS";

/// The keys that variables and connections are encrypted by, the first of them for writing: `[core] fernet_key`.
pub const FERNET_KEY: &str = "UPDRAFT_FERNET_KEY";

/// The name under which the secrets backend has these keys, below its `config_prefix`: `[core] fernet_key_secret`.
pub const FERNET_KEY_SECRET: &str = "UPDRAFT_FERNET_KEY_SECRET";
