//! Logs and large values in S3. A name is the key of its object, so names begin with `logs/` or `xcoms/` where they are made.
//!
//! A log is spooled to a file of this machine and uploaded when it is whole; until then only this machine can read it.

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use std::path::{Path, PathBuf};
use updraft_log_store::{Error, LogStore};

/// A bucket, and a local directory for spools. Cheap to clone.
#[derive(Debug, Clone)]
pub struct S3LogStore {
    client: Client,
    bucket: String,
    spools: PathBuf,
}

impl S3LogStore {
    /// This bucket, with spools in the machine's directory for temporary files. Nothing is sent yet.
    pub fn new(settings: &SdkConfig, bucket: impl Into<String>) -> Self {
        Self::with_spools(settings, bucket, std::env::temp_dir().join("updraft-spools"))
    }

    /// This bucket, with spools in a directory that is made when needed.
    pub fn with_spools(settings: &SdkConfig, bucket: impl Into<String>, spools: impl Into<PathBuf>) -> Self {
        // An endpoint that somebody set is no AWS, and buckets have no host names there.
        let by_path = settings.endpoint_url().is_some();
        let client = Client::from_conf(Builder::from(settings).force_path_style(by_path).build());
        Self { client, bucket: bucket.into(), spools: spools.into() }
    }

    fn uri(&self, name: &str) -> String {
        format!("s3://{}/{name}", self.bucket)
    }

    /// The name that a URI stands for. A deployment that was moved or restored finds under this name in its own bucket what was copied there;
    /// it never looks into another one.
    fn name_of(uri: &str) -> Result<&str, Error> {
        let name = uri.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
        match name {
            Some((bucket, name)) if !bucket.is_empty() && !name.is_empty() => Ok(name),
            _ => Err(Error::Uri(uri.to_owned())),
        }
    }

    /// One PutObject.
    async fn upload(&self, name: &str, body: ByteStream) -> Result<String, Error> {
        let request = self.client.put_object().bucket(&self.bucket).key(name).body(body);
        request.send().await.map_err(|e| self.unavailable(name, &e))?;
        Ok(self.uri(name))
    }

    /// An error of the SDK in words.
    fn unavailable<E>(&self, name: &str, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let why = match error.as_service_error().and_then(|answer| Some((answer.code()?, answer.message()))) {
            Some(("NoSuchBucket", _)) => {
                "there is no such bucket; hint: deploy it with `infra/deploy`, or correct its name".to_owned()
            }
            Some((code, message)) => format!("{code}: {}", message.unwrap_or("no message")),
            None => {
                let error = error as &(dyn std::error::Error + 'static);
                let below = std::iter::successors(Some(error), |&e| e.source());
                below.map(ToString::to_string).collect::<Vec<_>>().join(": ")
            }
        };
        Error::Unavailable(format!("`{}`: {why}", self.uri(name)))
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Unavailable(format!("`{}`: {error}", path.display()))
}

impl LogStore for S3LogStore {
    /// One folder holds all spools: a folder for each name would stay behind, and a function's disk is small. Names have no `~`,
    /// so two names are two files.
    fn spool(&self, name: &str) -> Result<PathBuf, Error> {
        std::fs::create_dir_all(&self.spools).map_err(|e| unreadable(&self.spools, &e))?;
        Ok(self.spools.join(name.replace('/', "~")))
    }

    /// One PutObject, read from the file while it is sent.
    async fn keep(&self, name: &str, spool: &Path) -> Result<String, Error> {
        let body = ByteStream::from_path(spool).await.map_err(|e| unreadable(spool, &e))?;
        let uri = self.upload(name, body).await?;
        // What counts is kept; a spool that stays only takes room.
        if let Err(error) = tokio::fs::remove_file(spool).await {
            tracing::warn!(spool = %spool.display(), %error, "a spool could not be removed");
        }
        Ok(uri)
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<String, Error> {
        self.upload(name, ByteStream::from(bytes)).await
    }

    /// One GetObject.
    async fn get(&self, uri: &str) -> Result<Option<Vec<u8>>, Error> {
        let name = Self::name_of(uri)?;
        let answer = match self.client.get_object().bucket(&self.bucket).key(name).send().await {
            Ok(answer) => answer,
            Err(error) if matches!(error.as_service_error(), Some(GetObjectError::NoSuchKey(_))) => return Ok(None),
            Err(error) => return Err(self.unavailable(name, &error)),
        };
        let body = answer.body.collect().await.map_err(|e| Error::Unavailable(format!("`{uri}`: {e}")))?;
        Ok(Some(body.to_vec()))
    }

    /// One DeleteObject, which is content with an object that is not there.
    async fn remove(&self, uri: &str) -> Result<(), Error> {
        let name = Self::name_of(uri)?;
        let answer = self.client.delete_object().bucket(&self.bucket).key(name).send().await;
        answer.map(|_| ()).map_err(|error| self.unavailable(name, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use updraft_e2e::emulator::Emulator;

    updraft_log_store::log_store_suite!(store().await);

    /// A bucket and a spool directory of its own.
    async fn store() -> S3LogStore {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let bucket = format!("suite-logs-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let spools = tempfile::tempdir().unwrap().keep().join("spools");
        let store = S3LogStore::with_spools(&Emulator::shared().settings().await, &bucket, spools);
        store.client.create_bucket().bucket(&bucket).send().await.unwrap();
        store
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_name_is_a_key_and_a_kept_spool_is_gone() {
        let store = store().await;
        let name = "logs/i/3/1-abc.log";
        let spool = store.spool(name).unwrap();
        // Larger than one part of anything on the way.
        let bytes = updraft_log_store::suite::unlike(3_000_000);
        std::fs::write(&spool, &bytes).unwrap();
        let uri = store.keep(name, &spool).await.unwrap();
        assert_eq!(uri, format!("s3://{}/{name}", store.bucket));
        let object = store.client.head_object().bucket(&store.bucket).key(name).send().await.unwrap();
        assert_eq!(object.content_length, Some(3_000_000));
        assert!(store.get(&uri).await.unwrap() == Some(bytes), "it is not what was spooled");
        assert_eq!(std::fs::read_dir(&store.spools).unwrap().count(), 0, "nothing is left behind");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn names_have_spools_of_their_own() {
        let store = store().await;
        assert_ne!(store.spool("logs/i/3/1-a.log").unwrap(), store.spool("logs/i/31/-a.log").unwrap());
        assert_ne!(store.spool("logs/i-3/a.log").unwrap(), store.spool("logs/i/3-a.log").unwrap());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_spool_that_was_not_kept_stays() {
        let store = store().await;
        let spool = store.spool("logs/a").unwrap();
        std::fs::write(&spool, "line").unwrap();
        let elsewhere = S3LogStore { bucket: "nowhere".to_owned(), ..store };
        let error = elsewhere.keep("logs/a", &spool).await.unwrap_err().to_string();
        assert!(error.contains("`s3://nowhere/logs/a`") && error.contains("no such bucket; hint: "), "{error}");
        assert_eq!(std::fs::read(&spool).unwrap(), b"line");
    }

    /// As after a move to another region, whose bucket has another name: the table still names the one of before.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_copied_from_another_bucket_is_found_here() {
        let (before, store) = (store().await, store().await);
        let uri = before.put("logs/a", b"line".to_vec()).await.unwrap();
        assert_eq!(store.get(&uri).await, Ok(None), "it does not look there");
        store.put("logs/a", b"copied".to_vec()).await.unwrap();
        assert_eq!(store.get(&uri).await, Ok(Some(b"copied".to_vec())));
        store.remove(&uri).await.unwrap();
        assert_eq!(store.get(&uri).await, Ok(None));
        assert_eq!(before.get(&uri).await, Ok(Some(b"line".to_vec())), "it removes nothing there");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_no_uri_of_an_object_is_refused() {
        let store = store().await;
        for uri in [
            format!("s3://{}/", store.bucket),
            format!("s3://{}", store.bucket),
            "s3:///logs/a".to_owned(),
            format!("https://{}/logs/a", store.bucket),
            "file:logs/a".to_owned(),
        ] {
            assert_eq!(store.get(&uri).await, Err(Error::Uri(uri.clone())));
        }
    }
}
