//! Where a gateway before this server asks for an issuer's tokens: which issuer that is, so that the page can get one there (the authorization
//! code flow with PKCE). The gateway checks the tokens, and says by a [`Caller`](super::Caller) whose they are.

use crate::parts::{Api, Parts};
use crate::v2::Failure;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

/// An OpenID issuer, and as which client browsers come to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its URL, below which it says where it does what (`/.well-known/openid-configuration`).
    pub url: String,
    /// Whom its tokens have to be for.
    pub audience: String,
    /// The client that browsers are: one without a secret, which may come back to this server's `/`.
    pub client_id: String,
    /// The host that gives tokens, where it is not the issuer's own: `https://...`.
    pub login_origin: Option<String>,
}

impl Issuer {
    /// What deployments say: `UPDRAFT_JWT_ISSUER`, `UPDRAFT_JWT_AUDIENCE`, `UPDRAFT_JWT_CLIENT` (the audience where it is not given) and
    /// `UPDRAFT_JWT_LOGIN_ORIGIN`. None without an issuer.
    pub fn configured(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let given = |name: &str| variable(name).filter(|text| !text.is_empty());
        let audience = given("UPDRAFT_JWT_AUDIENCE").unwrap_or_default();
        Some(Self {
            url: given("UPDRAFT_JWT_ISSUER")?,
            client_id: given("UPDRAFT_JWT_CLIENT").unwrap_or_else(|| audience.clone()),
            audience,
            login_origin: given("UPDRAFT_JWT_LOGIN_ORIGIN"),
        })
    }

    /// The hosts that a page has to ask, for its policy.
    pub(crate) fn origins(&self) -> String {
        let all = [Some(self.url.as_str()), self.login_origin.as_deref()];
        all.into_iter().flatten().filter_map(origin).collect::<Vec<_>>().join(" ")
    }
}

/// Scheme and host of a URL; none where what is there would say something else in a policy.
fn origin(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".:-[]".contains(c);
    let plain = matches!(scheme, "https" | "http") && !host.is_empty() && host.chars().all(is_host);
    plain.then(|| &url[..scheme.len() + 3 + host.len()])
}

/// `GET /auth/issuer`.
pub(super) async fn shown<P: Parts>(State(api): State<Api<P>>) -> Result<Json<Value>, Failure> {
    let Some(issuer) = &api.auth.issuer else {
        return Err(Failure::not_found("people log in here with a name and a password, at /auth/login"));
    };
    Ok(Json(json!({"issuer": issuer.url, "client_id": issuer.client_id, "audience": issuer.audience})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_come_into_the_policy() {
        for (url, expected) in [
            (
                "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc",
                Some("https://cognito-idp.eu-west-1.amazonaws.com"),
            ),
            ("http://127.0.0.1:9000", Some("http://127.0.0.1:9000")),
            ("https://login.example?x", Some("https://login.example")),
            ("https://evil.example; script-src *", None),
            ("javascript://x", None),
            ("login.example", None),
        ] {
            assert_eq!(origin(url), expected, "{url}");
        }
    }

    #[test]
    fn the_client_is_the_audience_where_nobody_says_otherwise() {
        let variables =
            [("UPDRAFT_JWT_ISSUER", "https://a"), ("UPDRAFT_JWT_AUDIENCE", "ui"), ("UPDRAFT_JWT_CLIENT", "")];
        let of = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let issuer = Issuer::configured(of).unwrap();
        assert_eq!((issuer.client_id.as_str(), issuer.login_origin), ("ui", None));
        assert_eq!(Issuer::configured(|_| None), None);
    }
}
