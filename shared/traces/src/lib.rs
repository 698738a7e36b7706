//! OpenTelemetry traces: one for each run.
//!
//! The service tells spans when they end, as events of a target of their own ([`TARGET`]). [`Traces`] keeps them until
//! [`Traces::flush`] sends them to a collector by OTLP over HTTP. The usual variables say where and how:
//! `OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`), without which there are none, `..._HEADERS`, `..._TIMEOUT`,
//! `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SDK_DISABLED`. What is spoken is `http/json`, one object for each request, which any
//! collector takes; the exporters there are would bring protobuf and a second client, and change what nearly everything else is built with.
//!
//! No id is drawn: each follows from what an event names, so that the spans of all processes join (`ids`).

mod event;
mod export;
mod ids;

pub use export::Error;

use export::Exporter;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The target of events that tell spans.
pub const TARGET: &str = "updraft_traces";

/// How many spans wait to be sent at most; later ones are left out, and said to be.
const WAITING_MAX: usize = 10_000;

/// Spans on their way to a collector. A clone is the same.
#[derive(Debug, Clone)]
pub struct Traces {
    waiting: Arc<Mutex<Waiting>>,
    exporter: Arc<Exporter>,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: Vec<Value>,
    left_out: usize,
}

impl Traces {
    /// As these variables say; none where no collector is named.
    ///
    /// # Errors
    /// Where what is named cannot be used.
    pub fn configured(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let exporter = Exporter::configured(variable)?;
        Ok(exporter.map(|exporter| Self { waiting: Arc::default(), exporter: Arc::new(exporter) }))
    }

    /// What takes spans in. Only events of [`TARGET`] are for it.
    pub fn layer(&self) -> Spans {
        Spans(self.waiting.clone())
    }

    /// Sends what was told since the last time. What cannot be sent is lost, and said to be: no task waits for a collector.
    pub async fn flush(&self) {
        let Waiting { spans, left_out } =
            std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if left_out > 0 {
            tracing::warn!(left_out, "more spans than {WAITING_MAX} waited to be sent; these are left out");
        }
        if spans.is_empty() {
            return;
        }
        let count = spans.len();
        if let Err(error) = self.exporter.export(spans).await {
            tracing::warn!(%error, count, "spans were not taken by the collector, and are lost");
        }
    }
}

/// Takes in the spans that events tell.
#[derive(Debug)]
pub struct Spans(Arc<Mutex<Waiting>>);

impl<S: Subscriber> Layer<S> for Spans {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(span) = event::span(event) else { return };
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.spans.len() < WAITING_MAX {
            waiting.spans.push(span);
        } else {
            waiting.left_out += 1;
        }
    }
}
