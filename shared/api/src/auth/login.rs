//! Logging in and out.
//!
//! | path | what |
//! |---|---|
//! | POST `/auth/token`, `/auth/token/cli` | a token for a name and a password, as Airflow's simple auth manager gives it |
//! | GET `/auth/token` | a token for nobody in particular, where nobody has to log in |
//! | GET `/auth/login` | a page with a form, without scripts |
//! | POST `/auth/login` | the form, or the same as JSON: sets the cookie |
//! | GET, POST `/auth/logout` | takes the cookie away |
//! | GET `/auth/issuer` | whose tokens a gateway before this server wants, if there is one |
//! | GET `/api/updraft/v1/me` | who is logged in |

use super::{ANYBODY, Access, COOKIE, Caller, token};
use crate::parts::{Api, Parts};
use crate::v2::{Failure, Query};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use updraft_model::User;
use updraft_service::users::Login;

/// The page's own policy: its style, and its form.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(crate) fn routes<P: Parts>() -> Router<Api<P>> {
    Router::new()
        .route("/auth/token", post(create_token::<P>).get(token_of_anybody::<P>))
        .route("/auth/token/cli", post(create_token::<P>))
        .route("/auth/login", get(page).post(log_in::<P>))
        .route("/auth/login.css", get(style))
        .route("/auth/logout", get(log_out).post(log_out))
        .route("/auth/issuer", get(super::issuer::shown::<P>))
        .route("/api/updraft/v1/me", get(me::<P>))
        .route("/api/v2/auth/login", get(redirect_to_login))
        .route("/api/v2/auth/logout", get(log_out))
}

/// What somebody logs in with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    username: String,
    password: String,
    #[serde(default)]
    next: String,
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.to_ascii_lowercase().starts_with("application/json")
}

/// The name and the password of a request, as JSON or as a form.
fn credentials(headers: &HeaderMap, body: &Bytes) -> Result<Credentials, Failure> {
    let missing = |name: &str| Failure::invalid("missing", "body", name, "Field required", &Value::Null);
    if is_json(headers) {
        let read: Value = serde_json::from_slice(body).map_err(|error| {
            Failure::unprocessable(vec![
                json!({"type": "json_invalid", "loc": ["body", error.column()], "msg": "JSON decode error", "input": {}}),
            ])
        })?;
        for name in ["username", "password"] {
            if read.get(name).is_none() {
                return Err(missing(name));
            }
        }
        return serde_json::from_value(read).map_err(|error| {
            // The input is not repeated: it holds the password.
            Failure::unprocessable(vec![json!({"type": "value_error", "loc": ["body"], "msg": error.to_string()})])
        });
    }
    let pairs: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let field = |name: &str| pairs.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    Ok(Credentials {
        username: field("username").ok_or_else(|| missing("username"))?,
        password: field("password").ok_or_else(|| missing("password"))?,
        next: field("next").unwrap_or_default(),
    })
}

/// How long somebody has to wait, in words.
pub(super) fn too_many(left: Duration) -> Failure {
    let seconds = left.as_secs() + 1;
    Failure::new(StatusCode::TOO_MANY_REQUESTS, format!("too many attempts to log in failed; wait {seconds} s"))
}

/// The same, and as a header.
fn wait(left: Duration) -> Response {
    let mut response = too_many(left).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(left.as_secs() + 1));
    response
}

async fn looked_at<P: Parts>(api: &Api<P>, given: &Credentials) -> Result<User, Response> {
    let login = api.engine.log_in(&given.username, &given.password).await;
    match login.map_err(|error| Failure::from(error).into_response())? {
        Login::In(user) => Ok(user),
        Login::Wrong => {
            tracing::warn!(username = given.username, "an attempt to log in failed");
            Err(Failure::unauthorized("Invalid credentials").into_response())
        }
        Login::Wait(left) => Err(wait(left)),
    }
}

/// `POST /auth/token`.
async fn create_token<P: Parts>(
    State(api): State<Api<P>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    let given = credentials(&headers, &body).map_err(IntoResponse::into_response)?;
    let user = looked_at(&api, &given).await?;
    let token = api.auth.token(&api, &user.username, &user.stamp).await.map_err(IntoResponse::into_response)?;
    Ok((StatusCode::CREATED, Json(json!({"access_token": token}))).into_response())
}

/// `GET /auth/token`.
async fn token_of_anybody<P: Parts>(State(api): State<Api<P>>) -> Result<Response, Failure> {
    if api.auth.access != Access::Open {
        return Err(Failure::forbidden(
            "This method is only allowed if ``[core] simple_auth_manager_all_admins`` is True",
        ));
    }
    let token = api.auth.token(&api, ANYBODY, "").await?;
    Ok((StatusCode::CREATED, Json(json!({"access_token": token}))).into_response())
}

/// Where to go after the login: a place of this server, or its first page.
fn safe(next: &str) -> &str {
    let is_ours =
        next.starts_with('/') && !next.starts_with("//") && !next.contains('\\') && !next.contains(char::is_control);
    if is_ours { next } else { "/" }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn form(status: StatusCode, next: &str, message: Option<&str>) -> Response {
    let message = message.map(|text| format!("<p class=\"message\" role=\"alert\">{}</p>", escaped(text)));
    let page = include_str!("login.html")
        .replace("{message}", &message.unwrap_or_default())
        .replace("{next}", &escaped(safe(next)));
    let mut response = (status, Html(page)).into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// `GET /auth/login`.
async fn page(query: Query, caller: Option<Extension<Caller>>) -> Response {
    let next = query.text("next").unwrap_or("/");
    match caller {
        Some(_) => Redirect::to(safe(next)).into_response(),
        None => form(StatusCode::OK, next, None),
    }
}

async fn style() -> Response {
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")],
        include_str!("login.css"),
    )
        .into_response()
}

/// Whether the browser speaks TLS, with this server or with what stands before it.
fn is_secure(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https")
}

fn cookie_of(headers: &HeaderMap, value: &str, seconds: i64) -> Option<HeaderValue> {
    let secure = if is_secure(headers) { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"))
        .ok()
}

/// `POST /auth/login`.
async fn log_in<P: Parts>(State(api): State<Api<P>>, headers: HeaderMap, body: Bytes) -> Response {
    let given = match credentials(&headers, &body) {
        Ok(given) => given,
        Err(failure) if is_json(&headers) => return failure.into_response(),
        Err(_) => return form(StatusCode::UNPROCESSABLE_ENTITY, "/", Some("Give a name and a password.")),
    };
    let user = match looked_at(&api, &given).await {
        Ok(user) => user,
        Err(response) if is_json(&headers) => return response,
        Err(response) => {
            let retry = response.headers().get(header::RETRY_AFTER).cloned();
            let seconds = retry.as_ref().and_then(|value| value.to_str().ok()).map(str::to_owned);
            let message = match seconds {
                Some(seconds) => format!("Too many attempts failed. Wait {seconds} s, then try again."),
                None if response.status() == StatusCode::UNAUTHORIZED => "Name or password is wrong.".to_owned(),
                None => "The server cannot tell who you are at this moment. Try again.".to_owned(),
            };
            return form(response.status(), &given.next, Some(&message));
        }
    };
    let token = match api.auth.token(&api, &user.username, &user.stamp).await {
        Ok(token) => token,
        Err(failure) => return failure.into_response(),
    };
    let mut response = if is_json(&headers) {
        Json(json!({"username": user.username, "role": user.role})).into_response()
    } else {
        Redirect::to(safe(&given.next)).into_response()
    };
    if let Some(cookie) = cookie_of(&headers, &token, token::LIFE.as_secs()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// `GET /api/v2/auth/login`.
async fn redirect_to_login(query: Query) -> Result<Response, Failure> {
    let next = query.text("next").unwrap_or("/");
    if safe(next) != next {
        return Err(Failure::bad_request("Invalid or unsafe next URL"));
    }
    let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    Ok(Redirect::temporary(&format!("/auth/login?next={next}")).into_response())
}

/// `GET /auth/logout`.
async fn log_out(headers: HeaderMap) -> Response {
    let mut response = Redirect::to("/auth/login").into_response();
    if let Some(cookie) = cookie_of(&headers, "", 0) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// `GET /api/updraft/v1/me`.
async fn me<P: Parts>(State(api): State<Api<P>>, Extension(caller): Extension<Caller>) -> Json<Value> {
    Json(json!({"username": caller.username, "role": caller.role, "logs_in": api.auth.access == Access::Login}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_places_of_this_server_come_next() {
        for (next, safe_next) in [
            ("/", "/"),
            ("/#/dags/etl", "/#/dags/etl"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("javascript:alert(1)", "/"),
            ("", "/"),
        ] {
            assert_eq!(safe(next), safe_next);
        }
    }

    #[test]
    fn what_is_shown_is_escaped() {
        assert_eq!(escaped(r#"/"><script>'&"#), "/&quot;&gt;&lt;script&gt;&#39;&amp;");
    }
}
