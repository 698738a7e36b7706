//! Metrics in CloudWatch's embedded format: a line of the log that CloudWatch takes figures out of, so nothing is called for them.
//!
//! The service tells figures as events of a target of their own ([`TARGET`]). Fields that are numbers are figures; those that are texts stand
//! beside them, for queries over the log, and make no metrics of their own: each would be billed.

use serde_json::{Map, Value, json};
use std::fmt;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The target of events that tell figures.
pub const TARGET: &str = "updraft_metrics";

/// Where CloudWatch keeps them.
const NAMESPACE: &str = "Updraft";

/// Prints figures, one line for each event.
#[derive(Debug)]
pub struct Embedded {
    /// The one dimension: the deployment's name.
    deployment: String,
}

impl Embedded {
    /// For a deployment of this name.
    pub fn new(deployment: impl Into<String>) -> Self {
        Self { deployment: deployment.into() }
    }

    /// The line of an event's fields.
    fn line(&self, fields: Map<String, Value>, at_ms: u128) -> Value {
        let metrics: Vec<Value> = fields
            .iter()
            .filter(|(_, value)| value.is_number())
            .map(|(name, _)| json!({"Name": name, "Unit": unit(name)}))
            .collect();
        let mut line = json!({
            "_aws": {
                "Timestamp": at_ms as u64,
                "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [["deployment"]], "Metrics": metrics}],
            },
            "deployment": self.deployment,
        });
        if let Value::Object(line) = &mut line {
            line.extend(fields);
        }
        line
    }
}

/// Milliseconds and money say so in their names, and CloudWatch knows no money; everything else is counted.
fn unit(name: &str) -> &'static str {
    match name.rsplit('_').next() {
        Some("ms") => "Milliseconds",
        Some("microdollars") => "None",
        _ => "Count",
    }
}

impl<S: Subscriber> Layer<S> for Embedded {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let line = self.line(fields.0, now);
        // Nobody is left to be told when standard output is gone.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_figures_and_texts_stand_beside_them() {
        let fields = json!({"dag_id": "etl", "duration_ms": 12, "succeeded": 1});
        let Value::Object(fields) = fields else { unreachable!("an object was written") };
        let line = Embedded::new("updraft-dev").line(fields, 1_767_225_600_123);
        assert_eq!(
            line,
            json!({
                "_aws": {
                    "Timestamp": 1_767_225_600_123_u64,
                    "CloudWatchMetrics": [{
                        "Namespace": "Updraft",
                        "Dimensions": [["deployment"]],
                        "Metrics": [
                            {"Name": "duration_ms", "Unit": "Milliseconds"},
                            {"Name": "succeeded", "Unit": "Count"},
                        ],
                    }],
                },
                "deployment": "updraft-dev",
                "dag_id": "etl",
                "duration_ms": 12,
                "succeeded": 1,
            })
        );
    }
}
