//! Variables and connections: one item each.
//!
//! They may hold secrets, so no error says what an unreadable one contains.

use crate::codec::{self, json_item};
use crate::item::{Item, Key, Value};
use crate::store::{Metastore, Page, PageToken};
use crate::{Error, Items, Outcome, Range, keys};
use serde::{Serialize, de::DeserializeOwned};
use updraft_model::{Connection, Variable};

impl<I: Items> Metastore<I> {
    /// Writes a variable, over whatever was there.
    pub async fn put_variable(&self, variable: &Variable) -> Result<(), Error> {
        self.items().put(&keys::variable(&variable.key), &json_item(variable)).await
    }

    /// Writes a variable unless there is one of this key. False: there is.
    pub async fn add_variable(&self, variable: &Variable) -> Result<bool, Error> {
        self.add(&keys::variable(&variable.key), variable).await
    }

    /// Reads a variable.
    pub async fn variable(&self, key: &str) -> Result<Option<Variable>, Error> {
        let key = keys::variable(key);
        self.items().get(&key).await?.map(|item| read(&key.sk, &item)).transpose()
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
        self.items().put(&keys::connection(&connection.conn_id), &json_item(connection)).await
    }

    /// Writes a connection unless there is one of this id. False: there is.
    pub async fn add_connection(&self, connection: &Connection) -> Result<bool, Error> {
        self.add(&keys::connection(&connection.conn_id), connection).await
    }

    /// Reads a connection.
    pub async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, Error> {
        let key = keys::connection(conn_id);
        self.items().get(&key).await?.map(|item| read(&key.sk, &item)).transpose()
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
        let item = json_item(thing);
        Ok(match self.items().put_new(key, &item).await? {
            Outcome::Updated(_) => true,
            Outcome::Refused(there) => there.is_some_and(|there| there == item),
        })
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
        let items = found.iter().map(|(name, item)| read(name, item)).collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    }
}

fn read<T: DeserializeOwned>(name: &str, item: &Item) -> Result<T, Error> {
    let Some(Value::S(text)) = item.get(codec::JSON) else {
        return Err(Error::Corrupt(format!("`{name}` without content")));
    };
    serde_json::from_str(text)
        .map_err(|e| Error::Corrupt(format!("`{name}` is not what it should be, at column {}", e.column())))
}
