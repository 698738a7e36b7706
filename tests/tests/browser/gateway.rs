//! The routes behind a gateway that wants tokens of an issuer, as an API Gateway HTTP API with a JWT authorizer is on AWS: it takes the tokens
//! that are for its audience, and lets anybody see the page, its scripts and where to log in.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use updraft_api::{Access, Caller, Issuer, Setup};
use updraft_clock::System;
use updraft_log_store::Directory;
use updraft_metastore::memory::Memory;
use updraft_model::user::Role;
use updraft_service::{Engine, Settings};
use updraft_task_queue::LocalQueue;

/// Whom the issuer's tokens have to be for.
const AUDIENCE: &str = "updraft";

/// A gateway, and where its issuer has to listen.
pub(crate) struct Gateway {
    pub(crate) url: String,
    pub(crate) issuer_port: u16,
}

impl Gateway {
    /// Serves until the process ends.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it has an address"));
        let free = TcpListener::bind("127.0.0.1:0").expect("another port is free");
        let issuer_port = free.local_addr().expect("it has an address").port();
        drop(free);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
            runtime.block_on(serve(listener, issuer_port));
        });
        Self { url, issuer_port }
    }
}

async fn serve(listener: TcpListener, issuer_port: u16) {
    let nowhere = std::path::Path::new("/nonexistent");
    let issuer = Issuer {
        url: format!("http://127.0.0.1:{issuer_port}"),
        audience: AUDIENCE.to_owned(),
        client_id: AUDIENCE.to_owned(),
        login_origin: None,
    };
    let routes = updraft_api::router(
        Arc::new(Engine::new(Memory::default(), LocalQueue::default(), System, Settings::default())),
        Arc::new(Directory::new(nowhere)),
        Arc::new(updraft_dag_store::Directory::new(nowhere)),
        Setup { access: Access::Login, issuer: Some(issuer), ..Setup::default() },
    );
    let generation = Arc::new(AtomicU64::new(1));
    let ended = generation.clone();
    let end = post(move || async move { ended.fetch_add(1, Ordering::SeqCst).to_string() });
    let routes = routes.layer(from_fn_with_state(generation, gate)).route("/test/end", end);
    listener.set_nonblocking(true).expect("a listener of tokio does not block");
    let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
    axum::serve(listener, routes).await.expect("it serves");
}

/// What is told of the owner of a token.
fn claims(request: &Request) -> Option<Value> {
    let (_, token) = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let said = token.split('.').nth(1)?;
    serde_json::from_slice(&decoded(said)?).ok()
}

/// The bytes that base64url without padding stands for.
fn decoded(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0, 0);
    for letter in text.chars() {
        held = (held << 6 | LETTERS.find(letter)?) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

async fn gate(State(generation): State<Arc<AtomicU64>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if matches!(path, "/" | "/favicon.svg" | "/auth/issuer") || path.starts_with("/assets/") {
        return next.run(request).await;
    }
    let is_now = |said: &Value| said["generation"] == generation.load(Ordering::SeqCst);
    let Some(said) = claims(&request).filter(|said| said["aud"] == AUDIENCE && is_now(said)) else {
        return (StatusCode::UNAUTHORIZED, r#"{"message":"Unauthorized"}"#).into_response();
    };
    let username = said["email"].as_str().unwrap_or_default().to_owned();
    let role = said["roles"].as_str().and_then(|role| role.parse().ok()).unwrap_or(Role::Viewer);
    request.headers_mut().remove(header::AUTHORIZATION);
    request.extensions_mut().insert(Caller { username, role });
    next.run(request).await
}
