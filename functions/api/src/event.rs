//! The event of a Function URL, or of an HTTP API with a JWT authorizer, as a request of HTTP, and its answer as the event's.
//!
//! Only what these send (payload version 2.0) is read. A crate that knows every gateway would change what `bytes` is built with,
//! and with that nearly everything else.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Response, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tower::ServiceExt;
use updraft_api::{Caller, Peer};
use updraft_function::Error;
use updraft_model::user::Role;

/// What is read of an event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    raw_path: String,
    #[serde(default)]
    raw_query_string: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    cookies: Vec<String>,
    request_context: Context,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Debug, Deserialize)]
struct Context {
    http: Http,
    #[serde(default)]
    authorizer: Authorizer,
}

/// Who AWS says is asking.
#[derive(Debug, Default, Deserialize)]
struct Authorizer {
    /// Of a Function URL: who signed.
    #[serde(default)]
    iam: Option<Iam>,
    /// Of an HTTP API: whose token it was.
    #[serde(default)]
    jwt: Option<Jwt>,
}

#[derive(Debug, Deserialize)]
struct Jwt {
    /// The gateway has texts here, lists in brackets; what is no text is no name.
    #[serde(default)]
    claims: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Iam {
    user_arn: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Http {
    method: String,
    source_ip: Option<String>,
}

/// What is wrong with an event: the function's failure, since Function URLs send no such thing.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("the event is none of a Function URL or an HTTP API (payload version 2.0), which alone call the API: {0}")]
    Form(#[from] serde_json::Error),
    #[error("the body is not what base64 makes: {0}")]
    Body(#[from] base64::DecodeError),
    #[error("the event makes no request of HTTP: {0}")]
    Request(#[from] axum::http::Error),
}

/// Answers one event by the routes. `role_claim`: which claim of a token names roles.
pub(crate) async fn serve(router: &Router, role_claim: &str, event: Value) -> Result<Value, Error> {
    let request =
        request(event, role_claim).inspect_err(|error| tracing::error!(%error, "an event was not understood"))?;
    let response = router.clone().oneshot(request).await?;
    answer(response).await
}

/// Whom AWS has let in; nobody where it says nothing, and then the routes ask for a login of their own.
fn caller(authorizer: Authorizer, role_claim: &str) -> Option<Caller> {
    // Whoever may call the URL may do everything; who may not was refused before.
    if let Some(arn) = authorizer.iam.and_then(|iam| iam.user_arn) {
        return Some(Caller { username: arn, role: Role::Admin });
    }
    let claims = authorizer.jwt?.claims;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let username = text("email").or_else(|| text("sub"))?.to_owned();
    // A claim with several values comes as `[viewer op]`: whoever has several roles may do what the highest may.
    let named = claims.get(role_claim).map(|claim| claim.as_str().map_or_else(|| claim.to_string(), str::to_owned));
    let named = named.unwrap_or_default();
    let words = named.split(|c: char| c.is_whitespace() || "[],\"".contains(c));
    let role = words.filter_map(|word| word.parse().ok()).max().unwrap_or(Role::Viewer);
    Some(Caller { username, role })
}

fn request(event: Value, role_claim: &str) -> Result<Request<Body>, Unreadable> {
    let event: Event = serde_json::from_value(event)?;
    let query = if event.raw_query_string.is_empty() { String::new() } else { format!("?{}", event.raw_query_string) };
    let mut request = Request::builder().method(event.request_context.http.method.as_str());
    for (name, value) in &event.headers {
        // A signature, or the issuer's token: AWS has checked it, and it is no token of ours.
        if !name.eq_ignore_ascii_case(header::AUTHORIZATION.as_str()) {
            request = request.header(name, value);
        }
    }
    if let Some(caller) = caller(event.request_context.authorizer, role_claim) {
        request = request.extension(caller);
    }
    // The audit log says where a change came from.
    if let Some(address) = event.request_context.http.source_ip {
        request = request.extension(Peer(address));
    }
    if !event.cookies.is_empty() {
        request = request.header(header::COOKIE, event.cookies.join("; "));
    }
    let body = event.body.unwrap_or_default();
    let body = if event.is_base64_encoded { STANDARD.decode(body)? } else { body.into_bytes() };
    Ok(request.uri(format!("{}{query}", event.raw_path)).body(Body::from(body))?)
}

async fn answer(response: Response<Body>) -> Result<Value, Error> {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let cookies: Vec<String> = parts.headers.get_all(header::SET_COOKIE).iter().map(text).collect();
    let all = |name: &HeaderName| parts.headers.get_all(name).iter().map(text).collect::<Vec<_>>().join(", ");
    let names = parts.headers.keys().filter(|name| *name != header::SET_COOKIE);
    let headers: Map<String, Value> = names.map(|name| (name.to_string(), all(name).into())).collect();
    let (body, is_base64_encoded) = match std::str::from_utf8(&bytes) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (STANDARD.encode(&bytes), true),
    };
    Ok(json!({
        "statusCode": parts.status.as_u16(),
        "headers": headers,
        "cookies": cookies,
        "body": body,
        "isBase64Encoded": is_base64_encoded,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Extension;
    use axum::http::{HeaderMap, Method, Uri};
    use axum::response::AppendHeaders;
    use axum::routing::any;

    async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: axum::body::Bytes) -> String {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("none").to_owned();
        format!("{method} {uri} {} {} {}", header("x-a"), header("cookie"), String::from_utf8_lossy(&body))
    }

    fn router() -> Router {
        let picture = || async { ([(header::CONTENT_TYPE, "image/png")], vec![0x89_u8, 0xff]) };
        let set = || async { AppendHeaders([(header::SET_COOKIE, "a=1"), (header::SET_COOKIE, "b=2")]) };
        Router::new().route("/picture", any(picture)).route("/set", any(set)).route("/{*path}", any(echo))
    }

    fn event(path: &str, more: Value) -> Value {
        let mut event = json!({"version": "2.0", "rawPath": path, "requestContext": {"http": {"method": "POST"}}});
        if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
            event.extend(more);
        }
        event
    }

    #[tokio::test]
    async fn a_request_reaches_the_routes_as_it_was_sent() {
        let more = json!({
            "rawQueryString": "limit=2&order_by=-id", "headers": {"x-a": "7"}, "cookies": ["s=1", "t=2"], "body": "hello",
        });
        let answer = serve(&router(), "roles", event("/dags/a%2Fb", more)).await.unwrap();
        assert_eq!(answer["statusCode"], 200);
        assert_eq!(answer["body"], "POST /dags/a%2Fb?limit=2&order_by=-id 7 s=1; t=2 hello");
        assert_eq!(
            (&answer["isBase64Encoded"], &answer["headers"]["content-type"]),
            (&json!(false), &json!("text/plain; charset=utf-8"))
        );
        let encoded = json!({"body": STANDARD.encode("hello"), "isBase64Encoded": true});
        let answer = serve(&router(), "roles", event("/x", encoded)).await.unwrap();
        assert_eq!(answer["body"], "POST /x none none hello");
    }

    #[test]
    fn who_asks_is_whom_aws_let_in() {
        let arn = "arn:aws:iam::1:user/ada";
        let claims = |claims: Value| json!({"jwt": {"claims": claims, "scopes": null}});
        for (authorizer, expected) in [
            (json!({"iam": {"userArn": arn}}), Some((arn, Role::Admin))),
            (claims(json!({"sub": "7", "email": "ann@example.org"})), Some(("ann@example.org", Role::Viewer))),
            (claims(json!({"sub": "7", "roles": "op"})), Some(("7", Role::Op))),
            // As the gateway writes lists, and as it might.
            (claims(json!({"sub": "7", "roles": "[viewer Admin staff]"})), Some(("7", Role::Admin))),
            (claims(json!({"sub": "7", "roles": ["viewer", "user"]})), Some(("7", Role::User))),
            (claims(json!({"sub": "7", "roles": "administrators,opera"})), Some(("7", Role::Viewer))),
            // Another claim says nothing, and a token that names nobody lets nobody in.
            (claims(json!({"sub": "7", "groups": "admin"})), Some(("7", Role::Viewer))),
            (claims(json!({"roles": "admin"})), None),
            (json!({"iam": {"userArn": null}, "jwt": null}), None),
            (json!({}), None),
        ] {
            let authorizer: Authorizer = serde_json::from_value(authorizer.clone()).unwrap();
            let expected = expected.map(|(name, role)| Caller { username: name.to_owned(), role });
            assert_eq!(caller(authorizer, "roles"), expected);
        }
    }

    #[test]
    fn the_caller_reaches_the_routes_and_the_token_does_not() {
        let more = json!({
            "headers": {"authorization": "Bearer abc", "x-a": "1"},
            "requestContext": {"http": {"method": "GET"}, "authorizer": {"jwt": {"claims": {"sub": "7"}}}},
        });
        let request = request(event("/x", more), "roles").unwrap();
        assert_eq!(request.extensions().get::<Caller>().map(|caller| caller.username.as_str()), Some("7"));
        assert!(request.headers().get(header::AUTHORIZATION).is_none() && request.headers().contains_key("x-a"));
    }

    #[tokio::test]
    async fn the_routes_are_told_where_a_request_comes_from() {
        let told = |peer: Option<Extension<Peer>>| async { peer.map_or_else(|| "unknown".to_owned(), |peer| peer.0.0) };
        let router = Router::new().route("/from", any(told));
        let context = json!({"requestContext": {"http": {"method": "GET", "sourceIp": "203.0.113.9"}}});
        assert_eq!(serve(&router, "roles", event("/from", context)).await.unwrap()["body"], "203.0.113.9");
        assert_eq!(serve(&router, "roles", event("/from", json!({}))).await.unwrap()["body"], "unknown");
    }

    #[tokio::test]
    async fn bytes_and_cookies_come_back_as_the_url_wants_them() {
        let answer = serve(&router(), "roles", event("/picture", json!({}))).await.unwrap();
        assert_eq!(
            (&answer["body"], &answer["isBase64Encoded"]),
            (&json!(STANDARD.encode([0x89, 0xff])), &json!(true))
        );
        let answer = serve(&router(), "roles", event("/set", json!({}))).await.unwrap();
        assert_eq!(answer["cookies"], json!(["a=1", "b=2"]));
        assert!(answer["headers"].get("set-cookie").is_none(), "{answer}");
    }

    #[tokio::test]
    async fn what_no_function_url_sends_fails_and_says_so() {
        for (event, said) in [
            (json!({"source": "aws.events"}), "none of a Function URL"),
            (event("/x", json!({"body": "*", "isBase64Encoded": true})), "base64"),
            (event("no path", json!({})), "no request of HTTP"),
        ] {
            let error = serve(&router(), "roles", event.clone()).await.unwrap_err().to_string();
            assert!(error.contains(said), "{event}: {error}");
        }
    }
}
