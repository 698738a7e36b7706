//! What an invocation costs, from what it used: told as a figure, so that what a deployment costs can be watched by the minute.
//!
//! Prices are those of us-east-1 in US dollars, November 2026, for x86-64, as in `bench/src/bin/costs.rs`. Storage, logs, and what tasks
//! themselves call are not in it.

use crate::metrics;
use std::time::Duration;

/// Micro-dollars a write unit, a read unit, a request to SQS, an invocation, and a gigabyte of memory for a second.
const WRITE_UNIT: f64 = 0.625;
const READ_UNIT: f64 = 0.125;
const REQUEST: f64 = 0.40;
const INVOCATION: f64 = 0.20;
const GIGABYTE_SECOND: f64 = 16.666_75;

/// Lambda's own word for the memory of a function, in megabytes.
const MEMORY: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";

/// What was used, so far or by one invocation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    /// DynamoDB's write units.
    pub write_units: f64,
    /// DynamoDB's read units.
    pub read_units: f64,
    /// Requests to SQS.
    pub requests: u64,
}

impl Used {
    /// What was used since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            write_units: self.write_units - earlier.write_units,
            read_units: self.read_units - earlier.read_units,
            requests: self.requests - earlier.requests,
        }
    }

    /// With what a mapping asks of its queue for a batch: a receive and a delete.
    #[must_use]
    pub fn with_a_batch(self) -> Self {
        Self { requests: self.requests + 2, ..self }
    }

    /// What it costs together with one invocation of so much memory and time, in millionths of a dollar.
    pub fn microdollars(self, gigabytes: f64, lasted: Duration) -> f64 {
        self.write_units * WRITE_UNIT
            + self.read_units * READ_UNIT
            + self.requests as f64 * REQUEST
            + INVOCATION
            + gigabytes * lasted.as_secs_f64() * GIGABYTE_SECOND
    }

    /// Tells it as a figure of this invocation; what it is made of stands beside it as text, since every number would be a metric that is
    /// billed.
    pub fn tell(self, lasted: Duration) {
        let megabytes: f64 = std::env::var(MEMORY).ok().and_then(|text| text.parse().ok()).unwrap_or(128.0);
        tracing::debug!(
            target: metrics::TARGET,
            cost_microdollars = self.microdollars(megabytes / 1024.0, lasted),
            write_units = %self.write_units,
            read_units = %self.read_units,
            sqs_requests = %self.requests,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_of_the_cheapest_cost_what_the_price_list_says() {
        let used = |write_units, read_units, requests| Used { write_units, read_units, requests };
        let none = Duration::ZERO;
        for (used, gigabytes, lasted, dollars) in [
            (used(0.0, 0.0, 0), 0.5, none, 0.20),
            (used(1.0, 0.0, 0), 0.5, none, 0.825),
            (used(0.0, 1.0, 0), 0.5, none, 0.325),
            (used(0.0, 0.0, 1), 0.5, none, 0.60),
            (used(0.0, 0.0, 0).with_a_batch(), 0.5, none, 1.0),
            (used(0.0, 0.0, 0), 1.0, Duration::from_secs(1), 16.866_75),
            (used(3.0, 0.5, 1).with_a_batch(), 0.5, Duration::from_millis(20), 3.504_167_5),
        ] {
            assert!((used.microdollars(gigabytes, lasted) - dollars).abs() < 1e-9, "{used:?} {lasted:?}");
        }
        assert_eq!(used(5.0, 2.0, 7).since(used(2.0, 0.5, 3)), used(3.0, 1.5, 4));
    }
}
