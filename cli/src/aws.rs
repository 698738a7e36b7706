//! The AWS road: which table, queues and buckets, by the usual settings.

use crate::failure::Failure;
use crate::settings::{PYTHON_QUEUE_URL, SCHEDULER_QUEUE_URL, TASK_QUEUE_URL};
use crate::stores::Queue;
use aws_config::SdkConfig;
use std::path::{Path, PathBuf};
use updraft_dag_store_s3::S3DagStore;
use updraft_log_store::{Error, LogStore};
use updraft_log_store_s3::S3LogStore;
use updraft_task_queue_sqs::Sqs;

/// What a person should know where messages cannot be sent.
const NO_QUEUES: &str = "note: `UPDRAFT_TASK_QUEUE_URL` and `UPDRAFT_SCHEDULER_QUEUE_URL` are not set, \
                         so the scheduler notices this at its next look, within a minute";

/// The queues of the environment. Without them nobody is told, which costs up to a minute and nothing else.
pub(crate) fn queue(settings: &SdkConfig) -> (Queue, Option<&'static str>) {
    let url = |name: &str| std::env::var(name).ok().filter(|url| !url.is_empty());
    match (url(TASK_QUEUE_URL), url(SCHEDULER_QUEUE_URL)) {
        (Some(tasks), Some(looks)) => {
            (Queue::Sqs(Sqs::new(settings, tasks, looks).with_python(url(PYTHON_QUEUE_URL))), None)
        }
        _ => (Queue::Silent, Some(NO_QUEUES)),
    }
}

/// The DAG folder that a URI names: `s3://bucket` is the one that a deployment looks into.
pub(crate) async fn dag_folder(uri: &str) -> Result<S3DagStore, Failure> {
    let (bucket, prefix) = parse_uri(uri).ok_or_else(|| {
        Failure::user(format!("`{uri}` names no bucket")).hint("write `s3://BUCKET`, or `s3://BUCKET/PREFIX`")
    })?;
    let settings = updraft_metastore_dynamodb::settings().await?;
    Ok(match prefix {
        None => S3DagStore::new(&settings, bucket),
        Some(prefix) => S3DagStore::with_prefix(&settings, bucket, format!("{prefix}/")),
    })
}

/// Of a URI that names one file: the DAG folder around it, and its path in that.
pub(crate) async fn dag_folder_of(uri: &str) -> Result<Option<(S3DagStore, &str)>, Failure> {
    let Some((bucket, prefix, path)) = object(uri) else { return Ok(None) };
    let settings = updraft_metastore_dynamodb::settings().await?;
    Ok(Some((S3DagStore::with_prefix(&settings, bucket, prefix), path)))
}

/// Of a URI that names one file: the bucket, the prefix that counts as the DAG folder, and the path in it. The folder is that of deployments
/// where the file lies in it, so that defaults above it are found, and else the file's own.
fn object(uri: &str) -> Option<(&str, &str, &str)> {
    let (bucket, key) = uri.strip_prefix("s3://")?.split_once('/')?;
    let is_file = [".yaml", ".yml", ".py"].iter().any(|suffix| key.ends_with(suffix));
    let own = key.rfind('/').map_or(0, |slash| slash + 1);
    let folder = if key.starts_with(updraft_dag_store_s3::PREFIX) { updraft_dag_store_s3::PREFIX.len() } else { own };
    is_file.then_some((bucket, &key[..folder], &key[folder..]))
}

/// Bucket and prefix, without slashes at its ends.
fn parse_uri(uri: &str) -> Option<(&str, Option<&str>)> {
    let (bucket, prefix) = uri.strip_prefix("s3://")?.split_once('/').unwrap_or((uri.strip_prefix("s3://")?, ""));
    let prefix = prefix.trim_matches('/');
    (!bucket.is_empty()).then_some((bucket, (!prefix.is_empty()).then_some(prefix)))
}

/// Logs and large values by their URIs, each of which names its bucket: reading needs no setting.
#[derive(Debug)]
pub(crate) struct Buckets {
    // Far larger than the path that stands here on one machine.
    settings: Box<SdkConfig>,
}

impl Buckets {
    /// With these settings.
    pub(crate) fn new(settings: SdkConfig) -> Self {
        Self { settings: Box::new(settings) }
    }
}

impl LogStore for Buckets {
    fn spool(&self, name: &str) -> Result<PathBuf, Error> {
        // The worker's machine has it, this one has not.
        Ok(std::env::temp_dir().join("updraft-no-spool").join(name))
    }

    async fn keep(&self, name: &str, spool: &Path) -> Result<String, Error> {
        Err(Error::Unavailable(format!("`{}` cannot be kept as `{name}`: logs are only read here", spool.display())))
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<String, Error> {
        Err(Error::Unavailable(format!("{} bytes cannot be kept as `{name}`: logs are only read here", bytes.len())))
    }

    async fn get(&self, uri: &str) -> Result<Option<Vec<u8>>, Error> {
        let (bucket, _) = parse_uri(uri).ok_or_else(|| Error::Uri(uri.to_owned()))?;
        S3LogStore::new(&self.settings, bucket).get(uri).await
    }

    async fn remove(&self, uri: &str) -> Result<(), Error> {
        let (bucket, _) = parse_uri(uri).ok_or_else(|| Error::Uri(uri.to_owned()))?;
        S3LogStore::new(&self.settings, bucket).remove(uri).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_may_name_one_file() {
        assert_eq!(object("s3://bucket/dags/team/x.yaml"), Some(("bucket", "dags/", "team/x.yaml")));
        assert_eq!(object("s3://bucket/other/team/x.yaml"), Some(("bucket", "other/team/", "x.yaml")));
        assert_eq!(object("s3://bucket/x.yml"), Some(("bucket", "", "x.yml")));
        for folder in ["s3://bucket", "s3://bucket/", "s3://bucket/dags", "s3://bucket/dags.yaml/"] {
            assert_eq!(object(folder), None, "{folder}");
        }
    }

    #[test]
    fn a_uri_is_a_bucket_and_perhaps_a_prefix() {
        assert_eq!(parse_uri("s3://b"), Some(("b", None)));
        assert_eq!(parse_uri("s3://b/"), Some(("b", None)));
        assert_eq!(parse_uri("s3://b/x/y/"), Some(("b", Some("x/y"))));
        for wrong in ["b", "s3://", "s3:///x", "https://b/x"] {
            assert_eq!(parse_uri(wrong), None, "{wrong}");
        }
    }
}
