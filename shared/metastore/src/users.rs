//! Users of the web server: one item each; what they marked; and the secrets that the server draws for itself.

use crate::codec::{self, from_json_item, json_item};
use crate::item::{Change, Condition, Path, Update, Value};
use crate::store::Metastore;
use crate::{Error, Items, Outcome, Range, keys};
use updraft_model::user::FailedLogins;
use updraft_model::{DagId, User};

/// How many entries one request brings.
const PAGE: usize = 200;

impl<I: Items> Metastore<I> {
    /// Writes a user, over whatever was there.
    pub async fn put_user(&self, user: &User) -> Result<(), Error> {
        self.items().put(&keys::user(&user.username), &json_item(user)).await
    }

    /// Writes a user unless there is one of this name. False: there is another.
    pub async fn add_user(&self, user: &User) -> Result<bool, Error> {
        let item = json_item(user);
        Ok(match self.items().put_new(&keys::user(&user.username), &item).await? {
            Outcome::Updated(_) => true,
            Outcome::Refused(there) => there.is_some_and(|there| there == item),
        })
    }

    /// Reads a user.
    pub async fn user(&self, username: &str) -> Result<Option<User>, Error> {
        self.items().get(&keys::user(username)).await?.map(|item| from_json_item(&item)).transpose()
    }

    /// Removes a user, with the count of failed logins. An absent one is no error.
    pub async fn delete_user(&self, username: &str) -> Result<(), Error> {
        self.items().delete(&keys::user(username), &[]).await?;
        self.forget_failed_logins(username).await
    }

    /// All users, by name.
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        let mut range =
            Range { pk: keys::USERS.to_owned(), prefix: String::new(), after: None, descending: false, limit: PAGE };
        let mut all = Vec::new();
        loop {
            let page = self.items().query(&range).await?;
            let full = page.len() == PAGE;
            range.after = page.last().map(|(sk, _)| sk.clone());
            for (_, item) in page {
                all.push(from_json_item(&item)?);
            }
            if !full {
                return Ok(all);
            }
        }
    }

    /// The failed logins of a user in a row, if there are any.
    pub async fn failed_logins(&self, username: &str) -> Result<Option<FailedLogins>, Error> {
        self.items().get(&keys::failed_logins(username)).await?.map(|item| from_json_item(&item)).transpose()
    }

    /// Writes them, if they are still what was read before. False: somebody else has tried meanwhile.
    pub async fn count_failed_login(
        &self,
        username: &str,
        before: Option<&FailedLogins>,
        failed: &FailedLogins,
    ) -> Result<bool, Error> {
        let key = keys::failed_logins(username);
        let outcome = match before {
            None => self.items().put_new(&key, &json_item(failed)).await?,
            Some(before) => {
                let json = |failed| Value::S(codec::to_json(failed));
                let conditions = vec![Condition::Equals(Path::Top(codec::JSON), json(before))];
                let changes = vec![Change::Set(Path::Top(codec::JSON), json(failed))];
                self.items().update(&Update { key, conditions, changes }).await?
            }
        };
        Ok(matches!(outcome, Outcome::Updated(_)))
    }

    /// Forgets them.
    pub async fn forget_failed_logins(&self, username: &str) -> Result<(), Error> {
        self.items().delete(&keys::failed_logins(username), &[]).await.map(|_| ())
    }

    /// A secret of the server's own: what was drawn first, by whichever process.
    pub async fn secret(&self, name: &str, drawn: String) -> Result<String, Error> {
        let key = keys::secret(name);
        let kept = match self.items().get(&key).await? {
            Some(item) => item,
            None => match self.items().put_new(&key, &json_item(&drawn)).await? {
                Outcome::Updated(item) | Outcome::Refused(Some(item)) => item,
                Outcome::Refused(None) => return Ok(drawn),
            },
        };
        match kept.get(codec::JSON) {
            Some(Value::S(_)) => from_json_item(&kept),
            _ => Err(Error::Corrupt(format!("the secret `{name}` without content"))),
        }
    }

    /// Marks a DAG as a favourite of a user, or takes the mark away.
    pub async fn set_favorite(&self, username: &str, dag_id: &DagId, is: bool) -> Result<(), Error> {
        let key = keys::favorite(username, dag_id);
        if is {
            return self.items().put(&key, &json_item(&true)).await;
        }
        self.items().delete(&key, &[]).await.map(|_| ())
    }

    /// The ids of a user's favourite DAGs, those that are gone included.
    pub async fn favorites(&self, username: &str) -> Result<Vec<DagId>, Error> {
        let pk = keys::favorites(username);
        let mut range = Range { pk, prefix: String::new(), after: None, descending: false, limit: PAGE };
        let mut all = Vec::new();
        loop {
            let page = self.items().query(&range).await?;
            let full = page.len() == PAGE;
            range.after = page.last().map(|(sk, _)| sk.clone());
            all.extend(page.into_iter().map(|(sk, _)| DagId::trusted(sk)));
            if !full {
                return Ok(all);
            }
        }
    }
}
