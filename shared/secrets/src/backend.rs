//! The port of secrets backends.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why a backend gave no answer. What it holds is never told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// A text, or none where there is none of this name.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Option<String>, BackendError>> + Send + 'a>>;

/// Where variables and connections come from before the environment and the metastore are asked.
pub trait SecretsBackend: Debug + Send + Sync {
    /// The text of a variable.
    fn variable<'a>(&'a self, key: &'a str) -> Answer<'a>;

    /// A connection as a URI or as JSON.
    fn connection<'a>(&'a self, conn_id: &'a str) -> Answer<'a>;

    /// An option of the configuration, the keys of the metastore among them.
    fn config<'a>(&'a self, option: &'a str) -> Answer<'a>;
}

/// That there is nothing of a name is remembered for this long at most: somebody may be about to add it.
const ABSENCE: Duration = Duration::from_secs(30);

/// The most answers that are remembered.
const ANSWERS_MAX: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Variable,
    Connection,
    Config,
}

/// What was asked for, when it was answered, and with what.
type Answers = BTreeMap<(Kind, String), (Instant, Option<String>)>;

/// A backend whose answers are remembered for a while: a request takes milliseconds and costs money. Its `Debug` shows no answers.
pub struct Cached<B> {
    backend: B,
    ttl: Duration,
    answers: Mutex<Answers>,
}

impl<B: Debug> Debug for Cached<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cached").field("backend", &self.backend).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl<B: SecretsBackend> Cached<B> {
    /// Remembers for so long.
    pub fn new(backend: B, ttl: Duration) -> Self {
        Self { backend, ttl, answers: Mutex::default() }
    }

    async fn remembered(&self, kind: Kind, name: &str) -> Result<Option<String>, BackendError> {
        let key = (kind, name.to_owned());
        if let Some((until, answer)) = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && Instant::now() < *until
        {
            return Ok(answer.clone());
        }
        let answer = match kind {
            Kind::Variable => self.backend.variable(name).await?,
            Kind::Connection => self.backend.connection(name).await?,
            Kind::Config => self.backend.config(name).await?,
        };
        let ttl = if answer.is_some() { self.ttl } else { self.ttl.min(ABSENCE) };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(key, (Instant::now() + ttl, answer.clone()));
        Ok(answer)
    }
}

impl<B: SecretsBackend> SecretsBackend for Cached<B> {
    fn variable<'a>(&'a self, key: &'a str) -> Answer<'a> {
        Box::pin(self.remembered(Kind::Variable, key))
    }

    fn connection<'a>(&'a self, conn_id: &'a str) -> Answer<'a> {
        Box::pin(self.remembered(Kind::Connection, conn_id))
    }

    fn config<'a>(&'a self, option: &'a str) -> Answer<'a> {
        Box::pin(self.remembered(Kind::Config, option))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl Counting {
        fn answer(&self, text: &str) -> Answer<'_> {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            let answer = match text {
                "broken" => Err(BackendError("no".to_owned())),
                "absent" => Ok(None),
                _ => Ok(Some(format!("hunter-{number}"))),
            };
            Box::pin(std::future::ready(answer))
        }
    }

    impl SecretsBackend for Counting {
        fn variable<'a>(&'a self, key: &'a str) -> Answer<'a> {
            self.answer(key)
        }

        fn connection<'a>(&'a self, conn_id: &'a str) -> Answer<'a> {
            self.answer(conn_id)
        }

        fn config<'a>(&'a self, option: &'a str) -> Answer<'a> {
            self.answer(option)
        }
    }

    #[tokio::test]
    async fn answers_are_remembered_by_kind_and_name_and_faults_are_not() {
        let cached = Cached::new(Counting::default(), Duration::from_mins(1));
        for _ in 0..3 {
            assert_eq!(cached.variable("x").await, Ok(Some("hunter-0".to_owned())));
            assert_eq!(cached.connection("x").await, Ok(Some("hunter-1".to_owned())));
            assert_eq!(cached.config("absent").await, Ok(None));
        }
        assert!(cached.variable("broken").await.is_err() && cached.variable("broken").await.is_err());
        assert_eq!(cached.backend.0.load(Ordering::Relaxed), 5);
        assert!(!format!("{cached:?}").contains("hunter"));
    }

    #[tokio::test]
    async fn nothing_is_remembered_where_nobody_wants_it() {
        let cached = Cached::new(Counting::default(), Duration::ZERO);
        assert_eq!(cached.variable("x").await, Ok(Some("hunter-0".to_owned())));
        assert_eq!(cached.variable("x").await, Ok(Some("hunter-1".to_owned())));
    }
}
