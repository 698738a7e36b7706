//! Users of the web server: making them, and letting them in.

use crate::engine::{Engine, Error, ROUNDS_MAX, near};
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use sha2::{Digest, Sha256};
use std::time::Duration;
use updraft_clock::Clock;
use updraft_metastore::Items;
use updraft_model::User;
use updraft_model::user::{FailedLogins, Role, is_username};
use updraft_task_queue::TaskQueue;

/// The shortest password that somebody may choose, in characters.
pub const PASSWORD_CHARS_MIN: usize = 8;

/// The longest one, in bytes: hashing it costs its length.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// The name of the user that a first start makes.
pub const FIRST_ADMIN: &str = "admin";

/// How many characters a drawn password has: 36 to the power of it are more than anybody tries.
const DRAWN_CHARS: usize = 20;

/// What came of an attempt to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// It is the user.
    In(User),
    /// There is no such user, or the password is another.
    Wrong,
    /// Too many attempts failed: nothing is looked at for so long.
    Wait(Duration),
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Makes a user.
    ///
    /// # Errors
    /// [`Error::Refused`] for a name or a password that cannot be, and where there is such a user.
    pub async fn create_user(&self, username: &str, role: Role, password: &str) -> Result<User, Error> {
        if !is_username(username) {
            return Err(Error::Refused(format!(
                "`{username}` cannot be a user's name: it has 1 to 64 letters, digits and `_.@+-`"
            )));
        }
        let user = User {
            username: username.to_owned(),
            role,
            password_hash: self.hashed(password).await?,
            created_at: self.clock.now(),
            stamp: self.clock.draw(12),
        };
        if !self.store.add_user(&user).await? {
            return Err(Error::Refused(format!("there is a user `{username}` already")));
        }
        Ok(user)
    }

    /// Makes the first user, an admin with a drawn password, where there are none: its name and password.
    pub async fn first_admin(&self) -> Result<Option<(String, String)>, Error> {
        if !self.store.users().await?.is_empty() {
            return Ok(None);
        }
        let password = self.drawn_password();
        self.create_user(FIRST_ADMIN, Role::Admin, &password).await?;
        Ok(Some((FIRST_ADMIN.to_owned(), password)))
    }

    /// A password that nobody guesses.
    pub fn drawn_password(&self) -> String {
        self.clock.draw(DRAWN_CHARS)
    }

    /// A user.
    ///
    /// # Errors
    /// [`Error::NotFound`] with names that are close.
    pub async fn user(&self, username: &str) -> Result<User, Error> {
        if is_username(username)
            && let Some(user) = self.store.user(username).await?
        {
            return Ok(user);
        }
        let known = self.store.users().await?.into_iter().map(|user| user.username).collect();
        Err(Error::NotFound { what: "the user", name: username.to_owned(), near: near(username, known) })
    }

    /// Gives a user another password. What was signed for the earlier one counts no more.
    ///
    /// # Errors
    /// [`Error::NotFound`], and [`Error::Refused`] for a password that cannot be.
    pub async fn set_password(&self, username: &str, password: &str) -> Result<(), Error> {
        let user = self.user(username).await?;
        let password_hash = self.hashed(password).await?;
        self.store.put_user(&User { password_hash, stamp: self.clock.draw(12), ..user }).await?;
        Ok(self.store.forget_failed_logins(username).await?)
    }

    /// Removes a user.
    ///
    /// # Errors
    /// [`Error::NotFound`], and [`Error::Refused`] for the last admin.
    pub async fn delete_user(&self, username: &str) -> Result<(), Error> {
        let user = self.user(username).await?;
        let others = |one: &User| one.role == Role::Admin && one.username != username;
        if user.role == Role::Admin && !self.store.users().await?.iter().any(others) {
            return Err(Error::Refused(format!("`{username}` is the only admin; make another first")));
        }
        Ok(self.store.delete_user(username).await?)
    }

    /// Looks at a name and a password. Answers a name that is nobody's as it answers a wrong password, and takes as long.
    ///
    /// An attempt is counted as failed before it is looked at, so that many at once are not more than many one after the other.
    pub async fn log_in(&self, username: &str, password: &str) -> Result<Login, Error> {
        let user = if is_username(username) { self.store.user(username).await? } else { None };
        let counted = if user.is_some() { username.to_owned() } else { stranger(username) };
        if let Some(until) = self.count_attempt(&counted).await? {
            return Ok(Login::Wait(until));
        }
        let Some(user) = user else {
            self.hashed(&self.drawn_password()).await?;
            return Ok(Login::Wrong);
        };
        let (hash, given) = (user.password_hash.clone(), password.to_owned());
        let is_right = given.len() <= PASSWORD_BYTES_MAX && computed(move || Ok(verified(&hash, &given))).await?;
        if !is_right {
            return Ok(Login::Wrong);
        }
        self.store.forget_failed_logins(username).await?;
        Ok(Login::In(user))
    }

    /// Counts an attempt as failed, or says how long it is too early for one.
    async fn count_attempt(&self, name: &str) -> Result<Option<Duration>, Error> {
        for _ in 0..ROUNDS_MAX {
            let now = self.clock.now();
            let failed = self.store.failed_logins(name).await?;
            if let Some(until) = failed.and_then(|failed| failed.until()).filter(|until| *until > now) {
                return Ok(Some(Duration::try_from(until.duration_since(now)).unwrap_or_default()));
            }
            let count = failed.map_or(0, |failed| failed.count).saturating_add(1);
            if self.store.count_failed_login(name, failed.as_ref(), &FailedLogins { count, last: now }).await? {
                return Ok(None);
            }
        }
        // So many at once are nobody who knows the password.
        Ok(Some(Duration::from_secs(1)))
    }

    async fn hashed(&self, password: &str) -> Result<String, Error> {
        if password.chars().count() < PASSWORD_CHARS_MIN || password.len() > PASSWORD_BYTES_MAX {
            return Err(Error::Refused(format!(
                "a password has {PASSWORD_CHARS_MIN} characters or more, and {PASSWORD_BYTES_MAX} bytes at most"
            )));
        }
        let (password, salt) = (password.to_owned(), self.clock.draw(16));
        computed(move || {
            let hash: Result<PasswordHash, _> =
                Argon2::default().hash_password_with_salt(password.as_bytes(), salt.as_bytes());
            hash.map(|hash| hash.to_string())
                .map_err(|error| Error::Refused(format!("the password could not be hashed: {error}")))
        })
        .await
    }
}

/// Under which name attempts with a name that is nobody's are counted: one of a bounded number, none of which can be a user's.
fn stranger(username: &str) -> String {
    let digest = Sha256::digest(username.as_bytes());
    format!("?{:03x}", u16::from_be_bytes([digest[0], digest[1]]) >> 4)
}

/// Whether a password is the one of this hash.
fn verified(hash: &str, password: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Works something out that takes long, away from the threads that wait for many. At most two at once: each takes 19 MiB.
async fn computed<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    static PLACES: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(2);
    let failed = |error: String| Error::Refused(format!("the password could not be looked at: {error}"));
    let _place = PLACES.acquire().await.map_err(|error| failed(error.to_string()))?;
    tokio::task::spawn_blocking(work).await.map_err(|error| failed(error.to_string()))?
}
