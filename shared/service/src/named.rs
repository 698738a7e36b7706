//! Variables and connections, as people keep them.

use crate::engine::{Engine, Error, near};
use updraft_clock::Clock;
use updraft_metastore::Items;
use updraft_model::{Connection, Variable};
use updraft_task_queue::TaskQueue;

/// How many entries one request brings.
const PAGE: usize = 200;

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// All variables of the metastore, by key.
    pub async fn variables(&self) -> Result<Vec<Variable>, Error> {
        let (mut all, mut page) = (Vec::new(), None);
        loop {
            let found = self.store.list_variables(PAGE, page).await?;
            all.extend(found.items);
            page = found.next;
            if page.is_none() {
                return Ok(all);
            }
        }
    }

    /// Keeps a variable. Without `overwrite`, one that is there stays as it is; false says so.
    ///
    /// # Errors
    /// [`Error::Refused`] where it cannot be kept.
    pub async fn set_variable(&self, variable: &Variable, overwrite: bool) -> Result<bool, Error> {
        variable.check().map_err(|problem| Error::Refused(problem.to_string()))?;
        if !overwrite {
            return Ok(self.store.add_variable(variable).await?);
        }
        self.store.put_variable(variable).await?;
        Ok(true)
    }

    /// Removes a variable.
    ///
    /// # Errors
    /// [`Error::NotFound`] with keys that are close.
    pub async fn delete_variable(&self, key: &str) -> Result<(), Error> {
        if key.is_empty() || self.store.variable(key).await?.is_none() {
            return Err(self.no_such_variable(key).await);
        }
        Ok(self.store.delete_variable(key).await?)
    }

    /// The error for a variable that is not there, with keys that are close.
    pub async fn no_such_variable(&self, key: &str) -> Error {
        match self.variables().await {
            Ok(all) => {
                let known = all.into_iter().map(|variable| variable.key).collect();
                Error::NotFound { what: "the variable", name: key.to_owned(), near: near(key, known) }
            }
            Err(error) => error,
        }
    }

    /// All connections of the metastore, by id.
    pub async fn connections(&self) -> Result<Vec<Connection>, Error> {
        let (mut all, mut page) = (Vec::new(), None);
        loop {
            let found = self.store.list_connections(PAGE, page).await?;
            all.extend(found.items);
            page = found.next;
            if page.is_none() {
                return Ok(all);
            }
        }
    }

    /// Keeps a connection. Without `overwrite`, one that is there stays as it is; false says so.
    ///
    /// # Errors
    /// [`Error::Refused`] where it cannot be kept.
    pub async fn set_connection(&self, connection: &Connection, overwrite: bool) -> Result<bool, Error> {
        connection.check().map_err(|problem| Error::Refused(problem.to_string()))?;
        if !overwrite {
            return Ok(self.store.add_connection(connection).await?);
        }
        self.store.put_connection(connection).await?;
        Ok(true)
    }

    /// Removes a connection.
    ///
    /// # Errors
    /// [`Error::NotFound`] with ids that are close.
    pub async fn delete_connection(&self, conn_id: &str) -> Result<(), Error> {
        if conn_id.is_empty() || self.store.connection(conn_id).await?.is_none() {
            return Err(self.no_such_connection(conn_id).await);
        }
        Ok(self.store.delete_connection(conn_id).await?)
    }

    /// The error for a connection that is not there, with ids that are close.
    pub async fn no_such_connection(&self, conn_id: &str) -> Error {
        match self.connections().await {
            Ok(all) => {
                let known = all.into_iter().map(|connection| connection.conn_id).collect();
                Error::NotFound { what: "the connection", name: conn_id.to_owned(), near: near(conn_id, known) }
            }
            Err(error) => error,
        }
    }
}
