//! Who asks, and what they may.
//!
//! A request names its user by a token (`Authorization: Bearer`, for scripts) or by a cookie (for browsers), both signed for a day and for as
//! long as the user's password stays. What has already been told who asks (a gateway, a function's event) says so by a [`Caller`] among the
//! request's extensions.
//!
//! A browser sends cookies by itself, so a request that changes something must come from a page of this server: cookies are `SameSite=Strict`,
//! and a request that a browser says comes from elsewhere is refused, without a login too.

mod issuer;
mod login;
mod roles;
mod token;
mod users;

pub use issuer::Issuer;
pub(crate) use login::routes;
pub(crate) use roles::least;
pub(crate) use users::routes as user_routes;

use crate::parts::{Api, Parts};
use crate::v2::Failure;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use token::Keys;
use tokio::sync::OnceCell;
use updraft_clock::Clock;
use updraft_model::User;
use updraft_model::user::Role;

/// Whether people have to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Nobody has to: whoever reaches the server is an admin. Only for a server that this machine alone reaches.
    Open,
    /// Everybody has to, with a name and a password, except for what [`Caller`] says already.
    #[default]
    Login,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's name.
    pub username: String,
    /// What the user may do.
    pub role: Role,
}

/// Airflow's name for whoever asks where nobody logs in.
pub(crate) const ANYBODY: &str = "Anonymous";

/// The cookie's name, as in Airflow.
const COOKIE: &str = "_token";

/// How long a user that was read counts as known: so long does one who was removed keep the way in.
const KNOWN_FOR: SignedDuration = SignedDuration::from_secs(5);

/// How many users are known at once.
const KNOWN_MAX: usize = 1000;

/// What the routes know of who may use them.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    pub(crate) access: Access,
    pub(crate) issuer: Option<Issuer>,
    keys: OnceCell<Keys>,
    known: Mutex<BTreeMap<String, (Timestamp, Option<User>)>>,
}

impl Auth {
    pub(crate) fn new(access: Access, issuer: Option<Issuer>) -> Self {
        Self { access, issuer, ..Self::default() }
    }

    /// The keys, drawn by whichever process needs them first.
    async fn keys<P: Parts>(&self, api: &Api<P>) -> Result<&Keys, Failure> {
        self.keys
            .get_or_try_init(|| async {
                let drawn = api.engine.clock.draw(64);
                Ok(Keys::new(&api.engine.store.secret("jwt", drawn).await?))
            })
            .await
    }

    /// A user, as it was some seconds ago at most.
    async fn user<P: Parts>(&self, api: &Api<P>, username: &str) -> Result<Option<User>, Failure> {
        let now = api.engine.now();
        let fresh = |(read_at, _): &&(Timestamp, Option<User>)| now.duration_since(*read_at) < KNOWN_FOR;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(username).filter(fresh).cloned();
        if let Some((_, user)) = known {
            return Ok(user);
        }
        let user = api.engine.store.user(username).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(username.to_owned(), (now, user.clone()));
        Ok(user)
    }

    /// Whom a token was signed for, if it still counts.
    async fn holder<P: Parts>(&self, api: &Api<P>, text: &str) -> Result<Option<Caller>, Failure> {
        let Some(claims) = self.keys(api).await?.read(text, api.engine.now()) else { return Ok(None) };
        if self.access == Access::Open && claims.sub == ANYBODY {
            return Ok(Some(anybody()));
        }
        let user = self.user(api, &claims.sub).await?.filter(|user| user.stamp == claims.stamp);
        Ok(user.map(|user| Caller { username: user.username, role: user.role }))
    }

    /// A token for a user.
    async fn token<P: Parts>(&self, api: &Api<P>, username: &str, stamp: &str) -> Result<String, Failure> {
        self.keys(api).await?.sign(username, stamp, api.engine.now())
    }
}

fn anybody() -> Caller {
    Caller { username: ANYBODY.to_owned(), role: Role::Admin }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (kind, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    kind.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// Whether a browser says that a request comes from a page of another server.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text("origin") else { return false };
    let host = text("host").unwrap_or_default();
    origin.split_once("://").is_none_or(|(_, origin)| !origin.eq_ignore_ascii_case(host))
}

/// Nobody has to log in where [`Access::Open`] holds, so only this machine is served: a page of another site that has its own name resolve to
/// this address (DNS rebinding) names that host, and is refused.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let name = host.map(|host| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    });
    matches!(name, None | Some("localhost" | "127.0.0.1" | "[::1]"))
}

/// What anybody may see: what is needed to log in, and what says that the server is there.
fn is_public(path: &str) -> bool {
    const PATHS: [&str; 9] = [
        // The app, which shows its own form where the first answer says that nobody is logged in.
        "/",
        "/health",
        "/favicon.svg",
        "/openapi.json",
        "/api/v2/version",
        "/api/v2/monitor/health",
        "/api/v2/auth/login",
        "/api/v2/auth/logout",
        "/auth",
    ];
    PATHS.contains(&path) || path.starts_with("/auth/") || path.starts_with("/assets/")
}

/// Finds out who asks, and refuses whom nobody knows.
pub(crate) async fn guard<P: Parts>(State(api): State<Api<P>>, request: Request, next: Next) -> Response {
    match admitted(&api, request).await {
        Ok(request) => strict(next.run(request).await),
        Err(response) => strict(response),
    }
}

async fn admitted<P: Parts>(api: &Api<P>, mut request: Request) -> Result<Request, Response> {
    let headers = request.headers();
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let token = bearer(headers);
    if api.auth.access == Access::Open && !names_this_machine(headers) {
        let detail = "this server answers as `localhost`, `127.0.0.1` and `[::1]` only; reach it from afar through an SSH tunnel";
        return Err(Failure::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response());
    }
    if !is_safe && token.is_none() && is_from_elsewhere(headers) {
        let detail = "this request comes from a page of another server; changes are made from pages of this one, or with a token";
        return Err(Failure::forbidden(detail).into_response());
    }
    if request.extensions().get::<Caller>().is_some() {
        return Ok(request);
    }
    let found = match token.or_else(|| cookie(headers)) {
        Some(token) => api.auth.holder(api, token).await.map_err(IntoResponse::into_response)?,
        None => None,
    };
    let caller = found.or_else(|| (api.auth.access == Access::Open).then(anybody));
    let path = request.uri().path();
    match caller {
        Some(caller) => {
            request.extensions_mut().insert(caller);
            Ok(request)
        }
        None if is_public(path) => Ok(request),
        None if token.is_some() => Err(Failure::unauthorized("Invalid JWT token").into_response()),
        None => Err(Failure::unauthorized("Not authenticated").into_response()),
    }
}

/// Headers that keep browsers from doing what nobody wants.
fn strict(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        // Pages say for themselves what they need.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn pages_of_other_servers_are_told() {
        for (pairs, elsewhere) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("origin", "http://localhost:8080"), ("host", "localhost:8080")], false),
            (&[("origin", "http://localhost:9090"), ("host", "localhost:8080")], true),
            (&[("origin", "null"), ("host", "localhost:8080")], true),
        ] {
            assert_eq!(is_from_elsewhere(&headers(pairs)), elsewhere, "{pairs:?}");
        }
    }

    #[test]
    fn tokens_are_found() {
        assert_eq!(bearer(&headers(&[("authorization", "Bearer abc")])), Some("abc"));
        assert_eq!(bearer(&headers(&[("authorization", "Basic abc")])), None);
        assert_eq!(cookie(&headers(&[("cookie", "a=b; _token=abc; c=d")])), Some("abc"));
        assert_eq!(cookie(&headers(&[("cookie", "x_token=abc")])), None);
    }
}
