//! The clock port: the only source of instants and of drawn ids for everything above the pure crates.
//!
//! A simulation gives a virtual one; [`System`] is the real one. The promises of [`Clock`] are the functions of [`suite`].

pub mod suite;

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

    #[tokio::test]
    async fn the_system_keeps_every_promise() {
        suite::drawn_ids_differ(&System);
        suite::drawn_ids_have_their_length(&System);
        suite::sleeping_takes_its_time(&System).await;
    }
}
