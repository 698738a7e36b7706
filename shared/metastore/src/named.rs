//! Variables and connections: one item each.
//!
//! They may hold secrets, so no error says what an unreadable one contains.

use crate::codec;
use crate::item::{Item, Key};
use crate::store::{Metastore, Page, PageToken};
use crate::{Error, Items, Outcome, Range, keys};
use serde::{Serialize, de::DeserializeOwned};
use updraft_model::{Connection, Variable};

impl<I: Items> Metastore<I> {
    /// Writes a variable, over whatever was there.
    pub async fn put_variable(&self, variable: &Variable) -> Result<(), Error> {
        self.put_named(&keys::variable(&variable.key), variable).await
    }

    /// Writes a variable unless there is one of this key. False: there is.
    pub async fn add_variable(&self, variable: &Variable) -> Result<bool, Error> {
        self.add(&keys::variable(&variable.key), variable).await
    }

    /// Reads a variable.
    pub async fn variable(&self, key: &str) -> Result<Option<Variable>, Error> {
        let key = keys::variable(key);
        self.items().get(&key).await?.map(|item| self.read_named(&key, &item)).transpose()
    }

    /// Removes a variable. An absent one is no error.
    pub async fn delete_variable(&self, key: &str) -> Result<(), Error> {
        self.items().delete(&keys::variable(key), &[]).await.map(|_| ())
    }

    /// All variables, by key.
    pub async fn list_variables(&self, limit: usize, page: Option<PageToken>) -> Result<Page<Variable>, Error> {
        self.named(keys::VARIABLES, limit, page).await
    }

    /// Writes a connection, over whatever was there.
    pub async fn put_connection(&self, connection: &Connection) -> Result<(), Error> {
        self.put_named(&keys::connection(&connection.conn_id), connection).await
    }

    /// Writes a connection unless there is one of this id. False: there is.
    pub async fn add_connection(&self, connection: &Connection) -> Result<bool, Error> {
        self.add(&keys::connection(&connection.conn_id), connection).await
    }

    /// Reads a connection.
    pub async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, Error> {
        let key = keys::connection(conn_id);
        self.items().get(&key).await?.map(|item| self.read_named(&key, &item)).transpose()
    }

    /// Removes a connection. An absent one is no error.
    pub async fn delete_connection(&self, conn_id: &str) -> Result<(), Error> {
        self.items().delete(&keys::connection(conn_id), &[]).await.map(|_| ())
    }

    /// All connections, by id.
    pub async fn list_connections(&self, limit: usize, page: Option<PageToken>) -> Result<Page<Connection>, Error> {
        self.named(keys::CONNECTIONS, limit, page).await
    }

    /// A write whose answer was lost and that was repeated below finds itself: that is no refusal.
    async fn add<T: Serialize + Sync>(&self, key: &Key, thing: &T) -> Result<bool, Error> {
        let text = codec::to_json(thing);
        let item = self.sealed_item(key, text.clone())?;
        Ok(match self.items().put_new(key, &item).await? {
            Outcome::Updated(_) => true,
            // Compared as texts: the same is encrypted differently each time.
            Outcome::Refused(there) => {
                there.is_some_and(|there| self.opened(key, &there).is_ok_and(|there| there == text))
            }
        })
    }

    async fn put_named<T: Serialize + Sync>(&self, key: &Key, thing: &T) -> Result<(), Error> {
        let item = self.sealed_item(key, codec::to_json(thing))?;
        self.items().put(key, &item).await
    }

    fn read_named<T: DeserializeOwned>(&self, key: &Key, item: &Item) -> Result<T, Error> {
        let text = self.opened(key, item)?;
        serde_json::from_str(&text)
            .map_err(|e| Error::Corrupt(format!("`{}` is not what it should be, at column {}", key.sk, e.column())))
    }

    async fn named<T: DeserializeOwned>(
        &self,
        pk: &str,
        limit: usize,
        page: Option<PageToken>,
    ) -> Result<Page<T>, Error> {
        let range = Range { pk: pk.to_owned(), prefix: String::new(), after: page, descending: false, limit };
        let found = self.items().query(&range).await?;
        let next = (found.len() == limit).then(|| found.last().map(|(sk, _)| sk.clone())).flatten();
        let key = |sk: &String| Key { pk: pk.to_owned(), sk: sk.clone() };
        let items = found.iter().map(|(sk, item)| self.read_named(&key(sk), item)).collect::<Result<_, _>>()?;
        Ok(Page::of(items, next))
    }
}
