//! Tokens: JWTs signed with a secret of the server's own.

use crate::v2::Failure;
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

/// How long a token counts: `[api_auth] jwt_expiration_time`.
pub(super) const LIFE: SignedDuration = SignedDuration::from_hours(24);

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The user.
    pub(super) sub: String,
    /// The stamp of the user's password.
    pub(super) stamp: String,
    iat: i64,
    exp: i64,
}

/// Signs and reads tokens.
pub(super) struct Keys {
    signing: EncodingKey,
    reading: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    pub(super) fn new(secret: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // Held to the clock port below, so that time is what the engine says it is.
        validation.validate_exp = false;
        Self {
            signing: EncodingKey::from_secret(secret.as_bytes()),
            reading: DecodingKey::from_secret(secret.as_bytes()),
            validation,
        }
    }

    pub(super) fn sign(&self, username: &str, stamp: &str, now: Timestamp) -> Result<String, Failure> {
        let exp = now.saturating_add(LIFE).map_or(i64::MAX, Timestamp::as_second);
        let claims = Claims { sub: username.to_owned(), stamp: stamp.to_owned(), iat: now.as_second(), exp };
        encode(&Header::new(Algorithm::HS256), &claims, &self.signing).map_err(|error| {
            tracing::error!(%error, "a token could not be signed");
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the token could not be signed; see the server's log")
        })
    }

    /// What a token says, if it is one of ours and its time is not over.
    pub(super) fn read(&self, token: &str, now: Timestamp) -> Option<Claims> {
        let claims = decode::<Claims>(token, &self.reading, &self.validation).ok()?.claims;
        (claims.exp > now.as_second()).then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_for_a_day_and_with_its_own_secret() {
        let (keys, others) = (Keys::new("a secret"), Keys::new("another"));
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let token = keys.sign("ann", "s1", now).unwrap();
        let read = |keys: &Keys, token: &str, hours| {
            keys.read(token, now.saturating_add(SignedDuration::from_hours(hours)).unwrap()).map(|claims| claims.sub)
        };
        assert_eq!(read(&keys, &token, 23).as_deref(), Some("ann"));
        assert_eq!(read(&keys, &token, 24), None);
        assert_eq!(read(&others, &token, 0), None);
        let (head, rest) = token.split_once('.').unwrap();
        let unsigned = format!("{}.{}.", "eyJhbGciOiJub25lIn0", rest.split('.').next().unwrap());
        assert_eq!((read(&keys, &unsigned, 0), read(&keys, head, 0)), (None, None));
    }
}
