//! The DAG folder in an S3 bucket: every object under a prefix is a file.

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use updraft_dag_store::{DagStore, Error, FILE_BYTES_MAX, File, FileEntry, is_inside, is_visible};

/// Where the DAG folder begins in the bucket; its notifications are filtered by it.
pub const PREFIX: &str = "dags/";

/// A prefix of a bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct S3DagStore {
    client: Client,
    bucket: String,
    prefix: String,
}

impl S3DagStore {
    /// The DAG folder of this bucket, under [`PREFIX`]. Nothing is sent yet.
    pub fn new(settings: &SdkConfig, bucket: impl Into<String>) -> Self {
        Self::with_prefix(settings, bucket, PREFIX)
    }

    /// A DAG folder under another prefix, which ends with `/` or is empty.
    pub fn with_prefix(settings: &SdkConfig, bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        // An endpoint that somebody set is no AWS, and buckets have no host names there.
        let by_path = settings.endpoint_url().is_some();
        let client = Client::from_conf(Builder::from(settings).force_path_style(by_path).build());
        Self { client, bucket: bucket.into(), prefix: prefix.into() }
    }

    /// The path of a file by its key, as bucket notifications name it (decoded); none for what lies elsewhere or is not looked
    /// at.
    pub fn path_of<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&self.prefix).filter(|path| is_visible(path))
    }

    /// The object of a file.
    fn key(&self, path: &str) -> Result<String, Error> {
        if is_inside(path) { Ok(format!("{}{path}", self.prefix)) } else { Err(Error::Path(path.to_owned())) }
    }

    /// An error of the SDK in words.
    fn unavailable<E>(&self, key: &str, error: &SdkError<E, HttpResponse>) -> Error
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
        Error::Unavailable(format!("`s3://{}/{key}`: {why}", self.bucket))
    }

    /// Reads an object's bytes, and no more than a file may have, whatever was announced.
    async fn bytes(&self, path: &str, key: &str, mut answer: GetObjectOutput) -> Result<Vec<u8>, Error> {
        let announced = answer.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default();
        let too_large = |size| Error::TooLarge { path: path.to_owned(), size };
        if announced > FILE_BYTES_MAX {
            return Err(too_large(announced));
        }
        let mut bytes = Vec::with_capacity(announced as usize);
        while let Some(part) = answer.body.next().await {
            let part = part.map_err(|e| Error::Unavailable(format!("`s3://{}/{key}`: {e}", self.bucket)))?;
            bytes.extend_from_slice(&part);
            if bytes.len() as u64 > FILE_BYTES_MAX {
                return Err(too_large(bytes.len() as u64));
            }
        }
        Ok(bytes)
    }
}

/// A tag without the quotes that S3 puts around it.
fn tag(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

impl DagStore for S3DagStore {
    /// One ListObjectsV2 for every 1,000 objects under the prefix.
    async fn list(&self) -> Result<Vec<FileEntry>, Error> {
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix);
            let page = request.set_continuation_token(next).send().await;
            let page = page.map_err(|e| self.unavailable(&self.prefix, &e))?;
            for object in page.contents.unwrap_or_default() {
                let Some(path) = object.key.as_deref().and_then(|key| self.path_of(key)) else { continue };
                let size = object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                found.push(FileEntry { path: path.to_owned(), etag: tag(object.e_tag.as_deref()), size });
            }
            next = page.next_continuation_token.filter(|_| page.is_truncated == Some(true));
            if next.is_none() {
                found.sort();
                return Ok(found);
            }
        }
    }

    /// One GetObject.
    async fn read(&self, path: &str) -> Result<Option<File>, Error> {
        let key = self.key(path)?;
        let answer = match self.client.get_object().bucket(&self.bucket).key(&key).send().await {
            Ok(answer) => answer,
            Err(error) if matches!(error.as_service_error(), Some(GetObjectError::NoSuchKey(_))) => return Ok(None),
            Err(error) => return Err(self.unavailable(&key, &error)),
        };
        let etag = tag(answer.e_tag());
        let bytes = self.bytes(path, &key, answer).await?;
        Ok(Some(File { entry: FileEntry { path: path.to_owned(), etag, size: bytes.len() as u64 }, bytes }))
    }

    /// One PutObject.
    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let key = self.key(path)?;
        let request = self.client.put_object().bucket(&self.bucket).key(&key);
        request.body(ByteStream::from(bytes.to_vec())).send().await.map_err(|e| self.unavailable(&key, &e))?;
        Ok(())
    }

    fn location(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }
}

#[cfg(test)]
mod tests;
