//! A run's attempts in parts, and how many of them are asked for at once.

use crate::codec::from_json_item;
use crate::item::Key;
use crate::store::{Metastore, Page, PageToken};
use crate::unreadable::Readable;
use crate::{Error, Items, Range, keys};
use updraft_model::{Attempt, AttemptKey, Incarnation};

/// How many attempts are asked for at once where those of so many tasks or instances are wanted: most have one, and what comes behind them is
/// read for nothing.
pub(crate) fn at_once(wanted: &std::ops::Range<u32>) -> usize {
    let count = wanted.len();
    (count + count / 4 + 8).min(500)
}

/// The key of an attempt of a run, by its sort key.
pub(crate) fn key(incarnation: &Incarnation, sk: &str) -> Result<AttemptKey, Error> {
    let (task, map_index, try_number, token) =
        keys::read_attempt(sk).ok_or_else(|| Error::Corrupt(format!("attempt key `{sk}`")))?;
    Ok(AttemptKey { incarnation: incarnation.clone(), task, map_index, try_number, token })
}

impl<I: Items> Metastore<I> {
    /// A part of a run's attempts, by task, then try, then token, from where another part ended.
    pub async fn attempts_page(
        &self,
        incarnation: &Incarnation,
        limit: usize,
        page: Option<PageToken>,
    ) -> Result<Page<(AttemptKey, Attempt)>, Error> {
        let prefix = keys::ATTEMPTS.to_owned();
        let range = Range { pk: keys::run(incarnation).pk, prefix, after: page, descending: false, limit };
        let found = self.items().query(&range).await?;
        let next = (found.len() == limit).then(|| found.last().map(|(sk, _)| sk.clone())).flatten();
        let place = |sk: &String| Key { pk: range.pk.clone(), sk: sk.clone() };
        let read = |place: &Key, item: &_| Ok((key(incarnation, &place.sk)?, from_json_item(item)?));
        let Readable { items, unreadable } = Readable::of(found.iter().map(|(sk, item)| (place(sk), item)), read)?;
        Ok(Page { items, next, unreadable })
    }
}
