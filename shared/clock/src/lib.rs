//! The clock port: the only source of instants and of drawn ids for everything above the pure crates.
//!
//! A simulation gives a virtual one; [`System`] is the real one.

use jiff::Timestamp;
use std::future::Future;
use std::time::Duration;

/// Where instants and drawn ids come from.
pub trait Clock: Send + Sync + 'static {
    /// The present instant. May jump; nothing may depend on it never going back.
    fn now(&self) -> Timestamp;

    /// A fresh id of `length` characters from `0-9a-z`, never drawn before for any practical purpose (12 characters: 62 bits).
    fn draw(&self, length: usize) -> String;

    /// Waits at least this long, unless dropped.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

/// The machine's clock and randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn draw(&self, length: usize) -> String {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut text = String::with_capacity(length);
        while text.len() < length {
            let mut left = uuid::Uuid::new_v4().as_u128() >> 6;
            for _ in 0..20.min(length - text.len()) {
                text.push(DIGITS[(left % 36) as usize] as char);
                left /= 36;
            }
        }
        text
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn drawn_ids_differ_and_have_their_length() {
        let drawn: BTreeSet<String> = (0..1000).map(|_| System.draw(12)).collect();
        assert_eq!(drawn.len(), 1000);
        assert!(drawn.iter().all(|id| id.len() == 12 && id.bytes().all(|b| b.is_ascii_alphanumeric())));
        assert_eq!(System.draw(70).len(), 70);
    }
}
