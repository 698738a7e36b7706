//! Where the state is, and an engine on it: no command needs a server.

use crate::failure::Failure;
use crate::home::Home;
use crate::messages::Messages;
use crate::secrets;
use crate::stores::{Blobs, Queue, Store};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use updraft_clock::System;
use updraft_metastore::seal::Seal;
use updraft_metastore_embedded::Embedded;
use updraft_service::{Engine, Settings};

/// A place of state, as `--metastore` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MetastoreUrl {
    /// A home directory on this machine.
    File(Home),
    /// A table of DynamoDB.
    DynamoDb(String),
}

impl FromStr for MetastoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = "use `file:HOME` with a directory, or `dynamodb://TABLE`";
        if let Some(home) = text.strip_prefix("file:") {
            // `file:///a/b` is how URLs write the path `/a/b`.
            let path = home.strip_prefix("//").unwrap_or(home);
            return match path {
                "" => Err(format!("`{text}` names no directory; {known}")),
                path => Ok(Self::File(Home::new(path))),
            };
        }
        if let Some(table) = text.strip_prefix("dynamodb://") {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            return if (3..=255).contains(&table.len()) && table.chars().all(legal) {
                Ok(Self::DynamoDb(table.to_owned()))
            } else {
                Err(format!(
                    "`{table}` is no name of a DynamoDB table: those have 3 to 255 letters, digits, `_`, `-` and `.`"
                ))
            };
        }
        Err(match text.split_once(':') {
            Some((scheme, _)) => format!("`{scheme}` is no known kind of metastore; {known}"),
            None => format!("`{text}` does not say what kind of metastore it is; {known}"),
        })
    }
}

impl MetastoreUrl {
    /// Whether there is something to open: a home that was made, or any table.
    pub(crate) fn may_exist(&self) -> bool {
        match self {
            Self::File(home) => home.metastore().is_file(),
            Self::DynamoDb(_) => true,
        }
    }
}

impl fmt::Display for MetastoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(home) => write!(f, "file:{}", home.root().display()),
            Self::DynamoDb(table) => write!(f, "dynamodb://{table}"),
        }
    }
}

/// The engine as the command line uses it.
pub(crate) type CliEngine = Engine<Store, Queue, System>;

/// The name of whoever types, as the environment has it.
pub(crate) fn user_name() -> Option<String> {
    ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
}

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Session {
    /// Use cases on the metastore.
    pub(crate) engine: CliEngine,
    /// Long logs and large values.
    pub(crate) blobs: Blobs,
    /// What a person should know about a run created from here; none where it starts at once.
    pub(crate) delay_note: Option<&'static str>,
}

impl Session {
    /// Opens a metastore that exists. Nothing is made: looking must leave no traces.
    pub(crate) async fn open(url: &MetastoreUrl) -> Result<Self, Failure> {
        match url {
            MetastoreUrl::File(home) => Self::open_home(home).await,
            MetastoreUrl::DynamoDb(table) => Self::open_table(table).await,
        }
    }

    async fn open_home(home: &Home) -> Result<Self, Failure> {
        let file = home.metastore();
        if !file.is_file() {
            return Err(Failure::user(format!("there is no metastore in `{}`", home.root().display()))
                .cause(format!("the file `{}` does not exist", file.display()))
                .hint(
                    "`updraft standalone` makes one and runs the DAG files in `./dags`; \
                     where there is one already, name it with `--metastore file:HOME` or `UPDRAFT_METASTORE`",
                ));
        }
        let items = Arc::new(Embedded::open(&file)?);
        let queue = Queue::Left(Messages::new(items.clone()));
        let blobs = Blobs::Directory(updraft_log_store::Directory::new(home.root()));
        Self::new(Store::Embedded(items), queue, blobs, None, Some(secrets::seal_of_home(home).await?))
    }

    fn new(
        store: Store,
        queue: Queue,
        blobs: Blobs,
        delay_note: Option<&'static str>,
        seal: Option<Arc<dyn Seal>>,
    ) -> Result<Self, Failure> {
        // This process decides too (a clear, a pool made larger), so it must know the limits that the servers know.
        let settings = Settings::default().with_limits(|name| std::env::var(name).ok())?;
        Ok(Self { engine: Engine::new(store, queue, System, settings).sealed_by(seal), blobs, delay_note })
    }

    #[cfg(feature = "aws")]
    async fn open_table(table: &str) -> Result<Self, Failure> {
        let settings = updraft_metastore_dynamodb::settings().await?;
        let (queue, note) = crate::aws::queue(&settings);
        let seal = secrets::seal_of_table().await?;
        let days = std::env::var(updraft_metastore::expiry::DAYS).unwrap_or_default();
        let expiry = updraft_metastore::expiry::Expiry::from_days(&days).map_err(|error| {
            Failure::user("it is not known how long history is kept")
                .cause(error.to_string())
                .hint(format!("`{}` is to be what the deployment has (`HistoryDays`)", updraft_metastore::expiry::DAYS))
        })?;
        let store = updraft_metastore_dynamodb::DynamoDb::new(&settings, table).expiring(expiry);
        Self::new(Store::DynamoDb(store), queue, Blobs::S3(crate::aws::Buckets::new(settings)), note, seal)
    }

    #[cfg(not(feature = "aws"))]
    #[expect(clippy::unused_async, reason = "the same call with AWS built in waits")]
    async fn open_table(table: &str) -> Result<Self, Failure> {
        Err(Failure::user(format!("the table `{table}` cannot be used"))
            .cause("this program was built without AWS")
            .hint("build it with the feature `aws`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_as_it_is_written() {
        for text in ["file:./.updraft", "file:/var/lib/updraft", "dynamodb://updraft-dev"] {
            assert_eq!(text.parse::<MetastoreUrl>().unwrap().to_string(), text);
        }
        assert_eq!("file:///a/b".parse::<MetastoreUrl>().unwrap().to_string(), "file:/a/b");
    }

    #[test]
    fn what_names_no_place_says_what_would() {
        for text in ["", "home", "file:", "file://", "postgres://x", "dynamodb://", "dynamodb://a b", "dynamodb:table"]
        {
            let error = text.parse::<MetastoreUrl>().unwrap_err();
            assert!(error.contains("dynamodb://TABLE") || error.contains("DynamoDB table"), "{text}: {error}");
        }
    }
}
