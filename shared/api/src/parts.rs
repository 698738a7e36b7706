//! The ports that the routes are served over, as one type parameter instead of five.

use crate::ConfigOption;
use crate::auth::Auth;
use crate::v2::KnownVersions;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_dag_store::DagStore;
use updraft_log_store::LogStore;
use updraft_metastore::Items;
use updraft_service::Engine;
use updraft_task_queue::TaskQueue;

/// Which adapters a deployment has.
pub(crate) trait Parts: Send + Sync + 'static {
    /// The metastore's items.
    type Items: Items;
    /// The queue.
    type Queue: TaskQueue;
    /// The clock.
    type Clock: Clock;
    /// Task logs and large values.
    type Logs: LogStore;
    /// DAG files.
    type Dags: DagStore;
}

/// Five adapters as [`Parts`].
#[derive(Debug)]
pub(crate) struct Of<I, Q, C, L, D>(Never<(I, Q, C, L, D)>);

/// Names a type without holding a value of it.
type Never<T> = PhantomData<fn() -> T>;

impl<I: Items, Q: TaskQueue, C: Clock, L: LogStore, D: DagStore> Parts for Of<I, Q, C, L, D> {
    type Items = I;
    type Queue = Q;
    type Clock = C;
    type Logs = L;
    type Dags = D;
}

/// The engine of a deployment.
pub(crate) type EngineOf<P> = Engine<<P as Parts>::Items, <P as Parts>::Queue, <P as Parts>::Clock>;

/// What every handler is given.
pub(crate) struct Api<P: Parts> {
    /// Use cases and views.
    pub(crate) engine: Arc<EngineOf<P>>,
    /// Task logs and large values.
    pub(crate) logs: Arc<P::Logs>,
    /// The DAG files.
    pub(crate) dags: Arc<P::Dags>,
    /// Who may use the routes.
    pub(crate) auth: Arc<Auth>,
    /// The configuration, as it is shown.
    pub(crate) config: Arc<[ConfigOption]>,
    /// The versions of runs.
    pub(crate) versions: Arc<KnownVersions>,
}

impl<P: Parts> Clone for Api<P> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            logs: self.logs.clone(),
            dags: self.dags.clone(),
            auth: self.auth.clone(),
            config: self.config.clone(),
            versions: self.versions.clone(),
        }
    }
}

impl<P: Parts> fmt::Debug for Api<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}
