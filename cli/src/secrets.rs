//! Where secrets come from, and how they lie in the metastore: by the settings of the environment.

use crate::failure::Failure;
use crate::home::Home;
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::Printer;
use std::sync::Arc;
use updraft_metastore::seal::Seal;
use updraft_secrets::{BackendError, Configured, FERNET_KEY, FERNET_KEY_SECRET, HomeKeys};
use updraft_service::Environment;

/// What the environment says about secrets.
async fn configured() -> Result<Configured, Failure> {
    let configured = Box::pin(updraft_secrets::configured(|name| std::env::var(name).ok(), backend)).await;
    configured.map_err(|BackendError(why)| {
        Failure::user("secrets cannot be used as they are set up")
            .cause(why)
            .hint("docs/secrets.md tells of all settings")
    })
}

#[cfg(feature = "aws")]
async fn backend(class: String, kwargs: String) -> Result<updraft_secrets_aws::AwsSecrets, BackendError> {
    updraft_secrets_aws::AwsSecrets::new(&class, &kwargs).await
}

#[cfg(not(feature = "aws"))]
#[expect(clippy::unused_async, reason = "the same call with AWS built in waits")]
async fn backend(class: String, _: String) -> Result<without_aws::Nothing, BackendError> {
    Err(BackendError(format!(
        "this program was built without AWS, so there is no `{class}`; build it with the feature `aws`"
    )))
}

/// The type of a backend where there is none.
#[cfg(not(feature = "aws"))]
mod without_aws {
    use updraft_secrets::{Answer, SecretsBackend};

    #[derive(Debug)]
    pub(super) enum Nothing {}

    impl SecretsBackend for Nothing {
        fn variable<'a>(&'a self, _: &'a str) -> Answer<'a> {
            match *self {}
        }

        fn connection<'a>(&'a self, _: &'a str) -> Answer<'a> {
            match *self {}
        }

        fn config<'a>(&'a self, _: &'a str) -> Answer<'a> {
            match *self {}
        }
    }
}

/// The variables and connections of this process's environment, behind its secrets backend.
pub(crate) async fn environment() -> Result<Environment, Failure> {
    Ok(Environment::of_process().behind(configured().await?.backend))
}

/// What encrypts a home's variables and connections: keys that are set, else those in the home's file.
pub(crate) async fn seal_of_home(home: &Home) -> Result<Arc<dyn Seal>, Failure> {
    let keys = configured().await?.keys;
    Ok(keys.unwrap_or_else(|| Arc::new(HomeKeys::new(home.fernet_key()))))
}

/// What encrypts a table's: keys that are set. Without any they lie as they are, below DynamoDB's own encryption.
#[cfg(feature = "aws")]
pub(crate) async fn seal_of_table() -> Result<Option<Arc<dyn Seal>>, Failure> {
    Ok(configured().await?.keys)
}

/// Encrypts everything anew: by the first of the keys that are set, or by a key drawn for the home.
pub(crate) async fn rotate(metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let session = Session::open(metastore).await?;
    let set = configured().await?.keys.is_some();
    match metastore {
        _ if set => {}
        MetastoreUrl::File(home) => {
            let renewed = HomeKeys::new(home.fernet_key()).renew();
            renewed.map_err(|error| Failure::user("no new Fernet key could be drawn").cause(error.to_string()))?;
        }
        MetastoreUrl::DynamoDb(table) => {
            return Err(Failure::user(format!("there is no Fernet key for the table `{table}`")).hint(format!(
                "set `{FERNET_KEY}` to `NEW,OLD`, or `{FERNET_KEY_SECRET}` to its name in the secrets backend"
            )));
        }
    }
    let written = session.engine.store.reseal().await.map_err(updraft_service::Error::from)?;
    let by = if set { "the first of the Fernet keys that are set" } else { "a new Fernet key" };
    printer.note(format_args!("{written} variables and connections were encrypted by {by}"));
    Ok(())
}
