//! The routes over an engine: cases that were recorded through Airflow's API, asked as they were recorded.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use serde_json::Value;
use tower::ServiceExt;
use updraft_api::{Access, Setup};

use crate::service::TestEngine;

/// How a case is put.
pub(crate) enum Way {
    /// To the use case, with the body that it reads.
    Service,
    /// As a request, to the routes.
    Http(Router),
}

impl Way {
    /// To the use case, or to routes over this engine that ask for no login.
    pub(crate) fn new(is_http: bool, engine: &Arc<TestEngine>) -> Self {
        if !is_http {
            return Self::Service;
        }
        let nowhere = Path::new("/nonexistent");
        let logs = Arc::new(updraft_log_store::Directory::new(nowhere));
        let dags = Arc::new(updraft_dag_store::Directory::new(nowhere));
        let setup = Setup { access: Access::Open, ..Setup::default() };
        Self::Http(updraft_api::router(engine.clone(), logs, dags, setup))
    }
}

/// What a request is answered with: its status, and its JSON.
pub(crate) async fn ask(router: &Router, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(body.to_string())).expect("a recorded path is one");
    let response = router.clone().oneshot(request).await.expect("routes do not fail");
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 16 << 20).await.expect("an answer ends");
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}
