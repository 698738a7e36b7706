//! The port by which messages leave for SNS. Webhooks, mail and processes need no port: every deployment reaches them the same way.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

/// A request that SNS takes for its sender's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Where to.
    pub url: String,
    /// What says whose it is, beside the headers it was signed with.
    pub headers: Vec<(String, String)>,
}

/// A future that is boxed, so that the port can be an object: most processes have no AWS account at hand, and know so when they run.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Signs requests to SNS with this process's AWS credentials.
pub trait SnsSigner: Debug + Send + Sync {
    /// Signs a form to be posted to SNS in a region; none: the process's own.
    fn sign<'a>(
        &'a self,
        region: Option<&'a str>,
        content_type: &'a str,
        form: &'a str,
    ) -> Boxed<'a, Result<Signed, String>>;
}
