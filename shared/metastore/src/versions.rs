//! The versions that a DAG has had, by number: what each change of its file made of it.

use crate::codec::{from_json_item, json_item};
use crate::store::{Metastore, Page, PageToken};
use crate::{Error, Items, Range, Value, keys};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use updraft_model::{DagId, VersionId};

/// The attribute with the text of a version's file, compressed.
const SOURCE: &str = "src";

/// The longest text that is kept, compressed: well below what an item may hold.
const SOURCE_BYTES_MAX: usize = 100 * 1024;

/// A version in its DAG's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DagVersion {
    /// Its number, from 1.
    pub version_number: u32,
    /// What it holds.
    pub version: VersionId,
    /// When it was read.
    pub created_at: Timestamp,
    /// The file it was read from.
    pub file: String,
}

impl<I: Items> Metastore<I> {
    /// Enters a version into its DAG's list, over what was there under its number.
    pub async fn put_dag_version(&self, dag_id: &DagId, version: &DagVersion) -> Result<(), Error> {
        self.items().put(&keys::dag_version(dag_id, version.version_number), &json_item(version)).await
    }

    /// The same, with the text of its file. A text too long for an item is left out.
    pub async fn put_dag_version_with_source(
        &self,
        dag_id: &DagId,
        version: &DagVersion,
        source: &[u8],
    ) -> Result<(), Error> {
        let mut item = json_item(version);
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        let written = encoder.write_all(source).and_then(|()| encoder.finish());
        if let Some(bytes) = written.ok().filter(|bytes| bytes.len() <= SOURCE_BYTES_MAX) {
            item.insert(SOURCE.to_owned(), Value::B(bytes));
        }
        self.items().put(&keys::dag_version(dag_id, version.version_number), &item).await
    }

    /// The text of the file that a version was read from, if it was kept.
    pub async fn dag_version_source(&self, dag_id: &DagId, number: u32) -> Result<Option<Vec<u8>>, Error> {
        let item = self.items().get(&keys::dag_version(dag_id, number)).await?;
        let Some(Value::B(bytes)) = item.and_then(|mut item| item.remove(SOURCE)) else { return Ok(None) };
        let mut text = Vec::new();
        let read = ZlibDecoder::new(bytes.as_slice()).read_to_end(&mut text);
        read.map_err(|why| Error::Corrupt(format!("the source of version {number} of `{dag_id}`: {why}")))?;
        Ok(Some(text))
    }

    /// A version by its number.
    pub async fn dag_version(&self, dag_id: &DagId, number: u32) -> Result<Option<DagVersion>, Error> {
        self.items().get(&keys::dag_version(dag_id, number)).await?.map(|item| from_json_item(&item)).transpose()
    }

    /// The versions of a DAG, the latest first.
    pub async fn list_dag_versions(
        &self,
        dag_id: &DagId,
        limit: usize,
        page: Option<PageToken>,
    ) -> Result<Page<DagVersion>, Error> {
        let prefix = keys::VERSIONS.to_owned();
        let range = Range { pk: keys::dag(dag_id).pk, prefix, after: page, descending: true, limit };
        let found = self.items().query(&range).await?;
        let next = (found.len() == limit).then(|| found.last().map(|(sk, _)| sk.clone())).flatten();
        let items = found.iter().map(|(_, item)| from_json_item(item)).collect::<Result<_, _>>()?;
        Ok(Page::of(items, next))
    }

    /// Takes a version out of its DAG's list.
    pub async fn delete_dag_version(&self, dag_id: &DagId, number: u32) -> Result<(), Error> {
        self.items().delete(&keys::dag_version(dag_id, number), &[]).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[tokio::test]
    async fn versions_are_listed_by_number() {
        let store = Metastore::new(Memory::default());
        let dag_id = DagId::trusted("d");
        let version = |number: u32| DagVersion {
            version_number: number,
            version: VersionId::trusted(format!("v{number}")),
            created_at: Timestamp::UNIX_EPOCH,
            file: "d.yaml".to_owned(),
        };
        for number in [2, 10, 1] {
            store.put_dag_version(&dag_id, &version(number)).await.unwrap();
        }
        let first = store.list_dag_versions(&dag_id, 2, None).await.unwrap();
        assert_eq!(first.items, [version(10), version(2)]);
        let rest = store.list_dag_versions(&dag_id, 2, first.next).await.unwrap();
        assert_eq!((rest.items, rest.next), (vec![version(1)], None));
        assert_eq!(store.dag_version(&dag_id, 2).await.unwrap(), Some(version(2)));
        store.delete_dag_version(&dag_id, 2).await.unwrap();
        assert_eq!(store.dag_version(&dag_id, 2).await.unwrap(), None);
    }

    #[tokio::test]
    async fn sources_are_kept_with_their_versions() {
        let store = Metastore::new(Memory::default());
        let dag_id = DagId::trusted("d");
        let version = |number: u32| DagVersion {
            version_number: number,
            version: VersionId::trusted("v"),
            created_at: Timestamp::UNIX_EPOCH,
            file: "d.yaml".to_owned(),
        };
        // What does not compress, and is too long to be kept.
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let long: Vec<u8> = (0..2 * SOURCE_BYTES_MAX).map(|_| random()).collect();
        for (number, source, kept) in [(1, b"d:\n  tasks: {}\n".as_slice(), true), (2, &long, false)] {
            store.put_dag_version_with_source(&dag_id, &version(number), source).await.unwrap();
            let found = store.dag_version_source(&dag_id, number).await.unwrap();
            assert_eq!(found.as_deref(), kept.then_some(source), "version {number}");
            assert_eq!(store.dag_version(&dag_id, number).await.unwrap(), Some(version(number)));
        }
        store.put_dag_version(&dag_id, &version(3)).await.unwrap();
        assert_eq!(store.dag_version_source(&dag_id, 3).await.unwrap(), None);
    }
}
