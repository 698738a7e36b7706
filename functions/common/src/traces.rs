//! OpenTelemetry traces: built in by the feature `traces`, and sent where the environment names a collector.

use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

/// The target of events that tell spans.
pub const TARGET: &str = "updraft_traces";

/// Names the collector.
pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// What takes spans in, for a function's logs; none where there are no traces.
///
/// # Errors
/// Where the environment asks for what cannot be.
pub(crate) fn layer<S>() -> Result<Option<Box<dyn Layer<S> + Send + Sync>>, String>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    kept::layer()
}

/// Sends what was told since the last time. To be waited for before an event is answered: after its answer, a function stands still.
pub async fn flush() {
    kept::flush().await;
}

#[cfg(feature = "traces")]
mod kept {
    use std::sync::OnceLock;
    use tracing_subscriber::Layer;
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::registry::LookupSpan;
    use updraft_traces::{TARGET, Traces};

    static TRACES: OnceLock<Traces> = OnceLock::new();

    pub(super) fn layer<S>() -> Result<Option<Box<dyn Layer<S> + Send + Sync>>, String>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let configured = Traces::configured(|name| std::env::var(name).ok()).map_err(|error| error.to_string())?;
        let Some(traces) = configured else { return Ok(None) };
        let layer = TRACES.get_or_init(|| traces).layer();
        Ok(Some(layer.with_filter(filter_fn(|metadata| metadata.target() == TARGET)).boxed()))
    }

    pub(super) async fn flush() {
        if let Some(traces) = TRACES.get() {
            traces.flush().await;
        }
    }
}

#[cfg(not(feature = "traces"))]
mod kept {
    use tracing_subscriber::Layer;
    use tracing_subscriber::registry::LookupSpan;

    pub(super) fn layer<S>() -> Result<Option<Box<dyn Layer<S> + Send + Sync>>, String>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        match std::env::var(super::ENDPOINT) {
            Ok(value) if !value.is_empty() => Err(format!(
                "`{}` is set, and traces are not built in; deploy with `infra/deploy`, which builds them in where `TracesEndpoint` is given",
                super::ENDPOINT
            )),
            _ => Ok(None),
        }
    }

    pub(super) async fn flush() {}
}
