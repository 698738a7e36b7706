//! What people note on runs and task instances: items beside the run's document, so that no decision pays for them.

use crate::codec::{from_json_item, json_item};
use crate::store::Metastore;
use crate::{Error, Items, Range, keys};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use updraft_model::{Incarnation, TaskIndex};

/// What a note is on: the run itself, or one of its task instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noted {
    /// The run.
    Run,
    /// A task instance, with its map index where it is mapped.
    Task(TaskIndex, Option<u32>),
}

/// A note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What it says.
    pub content: String,
    /// When it was written.
    pub updated_at: Timestamp,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl<I: Items> Metastore<I> {
    /// Writes a note, over whatever was there; none removes it.
    pub async fn put_note(&self, run: &Incarnation, noted: Noted, note: Option<&Note>) -> Result<(), Error> {
        let key = keys::note(run, noted);
        match note {
            Some(note) => self.items().put(&key, &json_item(note)).await,
            None => self.items().delete(&key, &[]).await.map(|_| ()),
        }
    }

    /// The notes on these runs themselves; those that have none are left out.
    pub async fn run_notes(&self, runs: &[Incarnation]) -> Result<BTreeMap<Incarnation, Note>, Error> {
        let by_key: BTreeMap<_, _> = runs.iter().map(|run| (keys::note(run, Noted::Run), run)).collect();
        let keys: Vec<_> = by_key.keys().cloned().collect();
        let found = self.items().get_many(&keys).await?;
        found.iter().map(|(key, item)| Ok((by_key[key].clone(), from_json_item(item)?))).collect()
    }

    /// All notes of a run.
    pub async fn notes(&self, run: &Incarnation) -> Result<BTreeMap<Noted, Note>, Error> {
        let mut notes = BTreeMap::new();
        let mut range =
            Range { pk: keys::run(run).pk, prefix: keys::NOTES.to_owned(), after: None, descending: false, limit: 200 };
        loop {
            let page = self.items().query(&range).await?;
            for (sk, item) in &page {
                let noted = keys::read_note(sk).ok_or_else(|| Error::Corrupt(format!("`{sk}` is no note's key")))?;
                notes.insert(noted, from_json_item(item)?);
            }
            if page.len() < range.limit {
                return Ok(notes);
            }
            range.after = page.last().map(|(sk, _)| sk.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[tokio::test]
    async fn notes_are_read_back() {
        let store = Metastore::new(Memory::default());
        let run = Incarnation::trusted("i");
        let note = |text: &str| Note { content: text.to_owned(), updated_at: Timestamp::UNIX_EPOCH, user: None };
        let all = [Noted::Run, Noted::Task(TaskIndex(4), None), Noted::Task(TaskIndex(4), Some(2))];
        for noted in all {
            store.put_note(&run, noted, Some(&note(&format!("{noted:?}")))).await.unwrap();
        }
        let kept = store.notes(&run).await.unwrap();
        assert_eq!(kept, all.into_iter().map(|noted| (noted, note(&format!("{noted:?}")))).collect());
        store.put_note(&run, Noted::Run, None).await.unwrap();
        assert_eq!(store.notes(&run).await.unwrap().len(), 2);
        store.delete_attempts(&run).await.unwrap();
        assert!(store.notes(&run).await.unwrap().is_empty(), "with a run its notes go");
    }
}
