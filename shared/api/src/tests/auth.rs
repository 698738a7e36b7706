//! Who may do what.

use super::*;
use axum::response::Response as Answer;
use updraft_model::user::Role;

/// An engine with a user of each role, each with a password of its own.
async fn engine_with_users() -> Arc<TestEngine> {
    let engine = engine_with_dags().await;
    for role in Role::ALL {
        engine.create_user(role.as_str(), role, &password(role)).await.unwrap();
    }
    engine
}

fn password(role: Role) -> String {
    format!("{role}-{role}-word")
}

async fn send(engine: &Arc<TestEngine>, request: Request<Body>) -> Answer {
    served(engine, Access::Login).oneshot(request).await.unwrap()
}

async fn json_of(answer: Answer) -> serde_json::Value {
    serde_json::from_slice(&to_bytes(answer.into_body(), 1 << 20).await.unwrap()).unwrap_or_default()
}

fn to_login(path: &str, username: &str, password: &str) -> Request<Body> {
    let body = json!({"username": username, "password": password}).to_string();
    Request::post(path).header(header::CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap()
}

async fn token(engine: &Arc<TestEngine>, role: Role) -> String {
    let answer = send(engine, to_login("/auth/token", role.as_str(), &password(role))).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    json_of(answer).await["access_token"].as_str().unwrap().to_owned()
}

fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

#[tokio::test]
async fn nobody_comes_in_without_a_login() {
    let engine = engine_with_users().await;
    for path in
        ["/api/v2/dags", "/api/updraft/v1/overview", "/api/updraft/v1/me", "/api/v2/variables", "/api/v2/config"]
    {
        let answer = send(&engine, Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
    let forged = with(get_of("/dags"), "authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x");
    assert_eq!(send(&engine, forged).await.status(), StatusCode::UNAUTHORIZED);
    for path in
        ["/", "/health", "/api/v2/version", "/api/v2/monitor/health", "/auth/login", "/auth/login.css", "/openapi.json"]
    {
        let answer = send(&engine, Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
    }
}

#[tokio::test]
async fn a_token_lets_its_role_in_and_no_further() {
    let engine = engine_with_users().await;
    let trigger = || json_to("POST", "/dags/etl/dagRuns", r#"{"logical_date": null}"#);
    let pool = || json_to("POST", "/pools", r#"{"name": "p", "slots": 1}"#);
    let users = || Request::get("/api/updraft/v1/users").body(Body::empty()).unwrap();
    for (role, statuses) in [
        (Role::Viewer, [200, 403, 403, 403, 403]),
        (Role::User, [200, 200, 403, 403, 403]),
        (Role::Op, [200, 200, 201, 200, 403]),
        (Role::Admin, [200, 200, 409, 200, 200]),
    ] {
        let bearer = format!("Bearer {}", token(&engine, role).await);
        for (request, status) in
            [get_of("/dags"), trigger(), pool(), get_of("/variables"), users()].into_iter().zip(statuses)
        {
            let shown = format!("{role}: {} {}", request.method(), request.uri());
            assert_eq!(
                send(&engine, with(request, "authorization", &bearer)).await.status().as_u16(),
                status,
                "{shown}"
            );
        }
    }
}

#[tokio::test]
async fn a_new_password_ends_what_was_signed_before_and_so_does_removal() {
    let engine = engine_with_users().await;
    let bearer = format!("Bearer {}", token(&engine, Role::Viewer).await);
    let ask = || with(get_of("/dags"), "authorization", &bearer);
    assert_eq!(send(&engine, ask()).await.status(), StatusCode::OK);
    engine.set_password("viewer", "another password").await.unwrap();
    assert_eq!(send(&engine, ask()).await.status(), StatusCode::UNAUTHORIZED);
    let bearer = format!("Bearer {}", token(&engine, Role::User).await);
    engine.delete_user("user").await.unwrap();
    assert_eq!(send(&engine, with(get_of("/dags"), "authorization", &bearer)).await.status(), StatusCode::UNAUTHORIZED);
    assert!(engine.delete_user("admin").await.is_err(), "somebody has to be left who can make users");
}

#[tokio::test]
async fn a_cookie_is_for_pages_of_this_server_alone() {
    let engine = engine_with_users().await;
    let form = Request::post("/auth/login")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from("username=user&password=user-user-word&next=%2F%23%2Fdags"))
        .unwrap();
    let answer = send(&engine, form).await;
    assert_eq!(
        (answer.status(), &answer.headers()[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/#/dags".parse().unwrap())
    );
    let set = answer.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=86400"] {
        assert!(set.contains(part), "{set}");
    }
    let cookie = set.split(';').next().unwrap();
    let me = with(Request::get("/api/updraft/v1/me").body(Body::empty()).unwrap(), "cookie", cookie);
    assert_eq!(json_of(send(&engine, me).await).await, json!({"username": "user", "role": "user", "logs_in": true}));
    let pause = || with(json_to("PATCH", "/dags/etl", r#"{"is_paused": true}"#), "cookie", cookie);
    assert_eq!(send(&engine, pause()).await.status(), StatusCode::OK);
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        assert_eq!(send(&engine, with(pause(), name, value)).await.status(), StatusCode::FORBIDDEN, "{name}");
    }
    // Where nobody logs in, a page of another server changes nothing either.
    let favorite = with(json_to("POST", "/dags/etl/favorite", ""), "origin", "https://evil.example");
    assert_eq!(served(&engine, Access::Open).oneshot(favorite).await.unwrap().status(), StatusCode::FORBIDDEN);
    let out = send(&engine, Request::post("/auth/logout").body(Body::empty()).unwrap()).await;
    assert!(out.headers()[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn guessing_takes_longer_and_longer() {
    let engine = engine_with_users().await;
    for _ in 0..5 {
        assert_eq!(send(&engine, to_login("/auth/token", "op", "wrong")).await.status(), StatusCode::UNAUTHORIZED);
    }
    let waits = send(&engine, to_login("/auth/token", "op", &password(Role::Op))).await;
    assert_eq!(waits.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = waits.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=15).contains(&seconds), "{seconds}");
    // Others are let in, and so is the same user with another password set.
    token(&engine, Role::Admin).await;
    engine.set_password("op", &password(Role::Op)).await.unwrap();
    token(&engine, Role::Op).await;
    // A name that is nobody's is answered alike, else the answer would tell which names there are.
    for name in ["nobody", "no body"] {
        for _ in 0..5 {
            assert_eq!(send(&engine, to_login("/auth/token", name, "wrong")).await.status(), StatusCode::UNAUTHORIZED);
        }
        let waits = send(&engine, to_login("/auth/token", name, "wrong")).await;
        assert_eq!(waits.status(), StatusCode::TOO_MANY_REQUESTS, "{name}");
    }
}

#[tokio::test]
async fn guessing_many_at_once_is_no_faster() {
    let engine = engine_with_users().await;
    let guess = |number: usize| {
        let engine = engine.clone();
        tokio::spawn(
            async move { send(&engine, to_login("/auth/token", "op", &format!("wrong {number}"))).await.status() },
        )
    };
    let mut looked_at = 0;
    for guess in (0..24).map(guess).collect::<Vec<_>>() {
        looked_at += usize::from(guess.await.unwrap() == StatusCode::UNAUTHORIZED);
    }
    assert_eq!(looked_at, 5);
}

/// Every operation of the contract, asked by every role: refused where the role does not suffice, and nowhere else.
#[tokio::test]
async fn roles_are_asked_for_on_every_route() {
    // Switched off for everybody.
    const OFF: [&str; 2] = ["POST /connections/test", "POST /connections/enqueue-test"];
    let engine = engine_with_users().await;
    let (_, routes) = v2::routes::<parts::Of<Memory, LocalQueue, System, Directory, updraft_dag_store::Directory>>();
    assert!(routes.len() > 100);
    let router = served(&engine, Access::Login);
    for role in Role::ALL {
        for (method, path) in &routes {
            let operation = crate::contract::Operation::find(method, path).unwrap();
            let least = crate::auth::least(operation.tag(), operation.id(), *method == "GET");
            let filled = path.split('/').map(|part| if part.starts_with('{') { "7" } else { part });
            let filled = filled.collect::<Vec<_>>().join("/");
            let mut request = json_to(method, &filled, "{}");
            request.extensions_mut().insert(Caller { username: role.to_string(), role });
            let status = router.clone().oneshot(request).await.unwrap().status();
            let name = format!("{method} {path}");
            if role < least {
                assert_eq!(status, StatusCode::FORBIDDEN, "{role}: {name}");
            } else if !OFF.contains(&name.as_str()) {
                assert_ne!(status, StatusCode::FORBIDDEN, "{role}: {name}");
            }
            let stranger = router.clone().oneshot(json_to(method, &filled, "{}")).await.unwrap().status();
            let is_open = ["/version", "/monitor/health"].contains(path);
            assert_eq!(stranger == StatusCode::UNAUTHORIZED, !is_open, "nobody: {name}: {stranger}");
        }
    }
}

#[tokio::test]
async fn users_are_made_and_removed_by_admins() {
    let engine = engine_with_users().await;
    let bearer = format!("Bearer {}", token(&engine, Role::Admin).await);
    let call = |method: &str, path: &str, body: &str| {
        let request = Request::builder().method(method).uri(format!("/api/updraft/v1/users{path}"));
        let request =
            request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_owned())).unwrap();
        with(request, "authorization", &bearer)
    };
    let new = r#"{"username": "ann", "role": "op", "password": "long enough"}"#;
    assert_eq!(send(&engine, call("POST", "", new)).await.status(), StatusCode::CREATED);
    assert_eq!(send(&engine, call("POST", "", new)).await.status(), StatusCode::CONFLICT);
    let short = r#"{"username": "bob", "role": "op", "password": "short"}"#;
    let refused = json_of(send(&engine, call("POST", "", short)).await).await.to_string();
    assert!(refused.contains("8 characters") && !refused.contains("short\\\""), "{refused}");
    let all = json_of(send(&engine, call("GET", "", "")).await).await;
    assert_eq!(all["total_entries"], 5);
    assert!(!all.to_string().contains("argon2"), "{all}");
    assert_eq!(send(&engine, call("DELETE", "/ann", "")).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(send(&engine, call("DELETE", "/ann", "")).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_changes_their_own_password_says_the_old_one() {
    let engine = engine_with_users().await;
    let bearer = format!("Bearer {}", token(&engine, Role::Admin).await);
    let change = |of: &str, body: serde_json::Value| {
        let request = Request::patch(format!("/api/updraft/v1/users/{of}"));
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string()));
        with(request.unwrap(), "authorization", &bearer)
    };
    let new = "a new password";
    for body in [json!({"password": new}), json!({"password": new, "old_password": "not the password"})] {
        let refused = send(&engine, change("admin", body)).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert!(json_of(refused).await["detail"].as_str().unwrap().contains("old_password"));
    }
    assert_eq!(send(&engine, change("op", json!({"password": new}))).await.status(), StatusCode::NO_CONTENT);
    let right = json!({"password": new, "old_password": password(Role::Admin)});
    assert_eq!(send(&engine, change("admin", right)).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(send(&engine, to_login("/auth/token", "admin", new)).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn pages_learn_whose_tokens_are_wanted() {
    let engine = engine();
    let nowhere = std::path::Path::new("/nonexistent");
    let (logs, dags) = (Arc::new(Directory::new(nowhere)), Arc::new(updraft_dag_store::Directory::new(nowhere)));
    let issuer = Issuer {
        url: "https://idp.example/pool".to_owned(),
        audience: "updraft".to_owned(),
        client_id: "pages".to_owned(),
        login_origin: Some("https://login.example".to_owned()),
    };
    let setup = Setup { access: Access::Login, issuer: Some(issuer), ..setup() };
    let router = router(engine.clone(), logs, dags, setup);
    let get = |path: &str| router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());
    let page = get("/").await.unwrap();
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("connect-src 'self' https://idp.example https://login.example;"), "{policy}");
    assert!(policy.contains("script-src 'self';"), "{policy}");
    let told = json_of(get("/auth/issuer").await.unwrap()).await;
    assert_eq!(told, json!({"issuer": "https://idp.example/pool", "client_id": "pages", "audience": "updraft"}));
    let without = send(&engine, Request::get("/auth/issuer").body(Body::empty()).unwrap()).await;
    assert_eq!(without.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_first_admin_is_made_once() {
    let engine = engine();
    let (username, password) = engine.first_admin().await.unwrap().unwrap();
    assert_eq!((username.as_str(), password.len()), ("admin", 20));
    assert_eq!(engine.first_admin().await.unwrap(), None);
    assert_eq!(send(&engine, to_login("/auth/token", &username, &password)).await.status(), StatusCode::CREATED);
}
