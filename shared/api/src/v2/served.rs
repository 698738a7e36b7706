//! Routes that are held to the contract, and remembered, so that what is served and what is documented cannot differ.

use crate::contract::{Operation, checked};
use crate::parts::{Api, Parts};
use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{Next, from_fn};
use axum::routing::{MethodFilter, on};

/// Path parameters that may have slashes in them, as in Airflow.
const WITH_SLASHES: [&str; 4] = ["{pool_name}", "{variable_key}", "{xcom_key}", "{key}"];

/// What the contract has of a route. Looked up by each request: a function that starts has no time to read the contract.
fn declared(method: &str, path: &str) -> Operation {
    Operation::find(method, path).unwrap_or_else(|| panic!("`{method} {path}` is not in the contract"))
}

/// Routes of Airflow's API as they are put together.
pub(crate) struct Served<P: Parts> {
    router: Router<Api<P>>,
    served: Vec<(&'static str, &'static str)>,
}

impl<P: Parts> Served<P> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { router: Router::new(), served: Vec::new() }
    }

    /// Serves an operation of the contract: its method and path as the contract writes them.
    pub(super) fn on<H, T>(mut self, method: &'static str, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Api<P>>,
        T: 'static,
    {
        let filter = Method::from_bytes(method.as_bytes()).ok().and_then(|method| MethodFilter::try_from(method).ok());
        let filter = filter.unwrap_or_else(|| panic!("`{method}` is no method"));
        let check = from_fn(move |request: Request, next: Next| checked(declared(method, path), request, next));
        let mut axum_path = path.to_owned();
        for name in WITH_SLASHES.iter().filter(|name| path.ends_with(**name)) {
            axum_path = axum_path.replace(*name, &name.replace('{', "{*"));
        }
        self.router = self.router.route(&axum_path, on(filter, handler).layer(check));
        self.served.push((method, path));
        self
    }

    /// The routes, and what they serve.
    pub(super) fn finished(self) -> (Router<Api<P>>, Vec<(&'static str, &'static str)>) {
        (self.router, self.served)
    }
}
