//! Sealed items: variables and connections may hold secrets, so they lie encrypted where somebody has a key.

use crate::codec::JSON;
use crate::item::{Change, Condition, Item, Key, Path, Update, Value};
use crate::store::Metastore;
use crate::{Error, Items, Outcome, Range, keys};
use std::fmt::Debug;

/// The attribute with the encrypted text, in place of [`JSON`].
pub(crate) const SEALED: &str = "sealed";

/// Encrypts and decrypts the texts of items. Each text is bound to the name of its item, so that none can be put into another's place.
pub trait Seal: Debug + Send + Sync {
    /// The text encrypted, by the key that is in use now.
    ///
    /// # Errors
    /// Why it cannot be, and what to do about it.
    fn seal(&self, name: &str, text: &str) -> Result<String, String>;

    /// What was encrypted.
    ///
    /// # Errors
    /// Why it cannot be read, and what to do about it. Nothing of the text is told.
    fn open(&self, name: &str, sealed: &str) -> Result<String, String>;

    /// Whether it was encrypted by the key that is in use now.
    fn is_current(&self, sealed: &str) -> bool;
}

/// The name that a text is bound to.
fn name_of(key: &Key) -> String {
    format!("{}/{}", key.pk, key.sk)
}

impl<I: Items> Metastore<I> {
    /// An item that is one JSON text, encrypted where there is a key.
    pub(crate) fn sealed_item(&self, key: &Key, json: String) -> Result<Item, Error> {
        let Some(seal) = self.seal() else { return Ok(Item::from([(JSON.to_owned(), Value::S(json))])) };
        let name = name_of(key);
        let sealed =
            seal.seal(&name, &json).map_err(|why| Error::Unusable(format!("`{name}` cannot be encrypted: {why}")))?;
        Ok(Item::from([(SEALED.to_owned(), Value::S(sealed))]))
    }

    /// The JSON text of an item, encrypted or, as it was once written, not.
    pub(crate) fn opened(&self, key: &Key, item: &Item) -> Result<String, Error> {
        let name = name_of(key);
        match (item.get(SEALED), item.get(JSON)) {
            (Some(Value::S(sealed)), _) => {
                let Some(seal) = self.seal() else {
                    return Err(Error::Unusable(format!(
                        "`{name}` is encrypted, and no Fernet key is set here to read it with"
                    )));
                };
                seal.open(&name, sealed).map_err(|why| Error::Unusable(format!("`{name}` cannot be read: {why}")))
            }
            (_, Some(Value::S(json))) => Ok(json.clone()),
            _ => Err(Error::Corrupt(format!("`{name}` without content"))),
        }
    }

    /// Encrypts every variable and connection by the key that is in use now, those included that were never encrypted. Returns how many
    /// were written. What somebody else writes meanwhile is theirs, and by the same key.
    pub async fn reseal(&self) -> Result<usize, Error> {
        let mut written = 0;
        for pk in [keys::VARIABLES, keys::CONNECTIONS] {
            let mut after = None;
            loop {
                let range = Range { pk: pk.to_owned(), prefix: String::new(), after, descending: false, limit: 100 };
                let found = self.items().query(&range).await?;
                for (sk, item) in &found {
                    let key = Key { pk: pk.to_owned(), sk: sk.clone() };
                    written += usize::from(self.reseal_one(&key, item).await?);
                }
                after = (found.len() == range.limit).then(|| found.last().map(|(sk, _)| sk.clone())).flatten();
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(written)
    }

    async fn reseal_one(&self, key: &Key, item: &Item) -> Result<bool, Error> {
        let was = match (item.get(SEALED), self.seal()) {
            (_, None) => return Ok(false),
            (Some(Value::S(sealed)), Some(seal)) if seal.is_current(sealed) => return Ok(false),
            (Some(sealed), _) => Condition::Equals(Path::Top(SEALED), sealed.clone()),
            (None, _) => match item.get(JSON) {
                Some(json) => Condition::Equals(Path::Top(JSON), json.clone()),
                None => return Ok(false),
            },
        };
        let changes = self
            .sealed_item(key, self.opened(key, item)?)?
            .into_values()
            .map(|value| Change::Set(Path::Top(SEALED), value))
            .chain(item.contains_key(JSON).then_some(Change::Remove(Path::Top(JSON))));
        let update = Update { key: key.clone(), conditions: vec![was], changes: changes.collect() };
        Ok(matches!(self.items().update(&update).await?, Outcome::Updated(_)))
    }
}
