//! What a deployment on AWS would have been billed for what was counted.

use crate::world::QueueCounts;
use serde::Serialize;
use updraft_metastore::counting::Counts;

/// Prices in US dollars, us-east-1, on demand, after every free tier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// A million write units of DynamoDB.
    pub write_units: f64,
    /// A million strongly consistent read units.
    pub read_units: f64,
    /// A million requests to SQS.
    pub queue_requests: f64,
    /// A million invocations of Lambda.
    pub invocations: f64,
    /// A gigabyte-second of Lambda, x86.
    pub gigabyte_second: f64,
    /// A million invocations by EventBridge Scheduler.
    pub schedule: f64,
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            write_units: 0.625,
            read_units: 0.125,
            queue_requests: 0.40,
            invocations: 0.20,
            gigabyte_second: 0.000_016_666_7,
            schedule: 1.00,
        }
    }
}

/// What was used, and what it costs in dollars.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Costs {
    /// Write units, those of the time index among them.
    pub write_units: u64,
    /// Read units.
    pub read_units: u64,
    /// Requests to SQS: sending in tens, receiving and removing each task's message by itself and others in tens.
    pub queue_requests: u64,
    /// Invocations of both functions, the minute tick's among them.
    pub invocations: u64,
    /// Gigabyte-seconds of workers, by their memory and what attempts took.
    pub gigabyte_seconds: f64,
    /// DynamoDB.
    pub metastore: f64,
    /// SQS.
    pub queue: f64,
    /// Lambda: invocations and time.
    pub workers: f64,
    /// EventBridge Scheduler.
    pub schedule: f64,
    /// All of it.
    pub total: f64,
}

/// What the simulation counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub(crate) store: Counts,
    pub(crate) queue: QueueCounts,
    /// The seconds that attempts took.
    pub(crate) seconds: f64,
    /// The minutes that were simulated: each has a tick.
    pub(crate) minutes: u64,
    /// Gigabytes of a worker.
    pub(crate) memory: f64,
}

impl Costs {
    pub(crate) fn of(counted: &Counted, prices: &Prices) -> Self {
        let million = 1e6;
        let store = &counted.store;
        let queue = &counted.queue;
        let write_units = store.total_write_units();
        // Strong reads of items below 4 KB, and each tick's query of the index's shards.
        let read_units = store.gets + store.batch_gets + store.queries + counted.minutes;
        let look_batches = queue.looks.div_ceil(10);
        let queue_requests = queue.sends + 2 * queue.tasks + 2 * look_batches;
        let invocations = queue.tasks + look_batches + counted.minutes;
        let gigabyte_seconds = counted.seconds * counted.memory;
        let metastore =
            write_units as f64 * prices.write_units / million + read_units as f64 * prices.read_units / million;
        let queue = queue_requests as f64 * prices.queue_requests / million;
        let workers = invocations as f64 * prices.invocations / million + gigabyte_seconds * prices.gigabyte_second;
        let schedule = counted.minutes as f64 * prices.schedule / million;
        Self {
            write_units,
            read_units,
            queue_requests,
            invocations,
            gigabyte_seconds,
            metastore,
            queue,
            workers,
            schedule,
            total: metastore + queue + workers + schedule,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_is_the_sum_of_what_was_used() {
        let counted = Counted {
            store: Counts { write_units: 1_000_000, index_write_units: 1_000_000, gets: 500_000, ..Counts::default() },
            queue: QueueCounts { sends: 100_000, tasks: 1_000_000, looks: 0 },
            seconds: 1_000_000.0,
            minutes: 0,
            memory: 0.5,
        };
        let costs = Costs::of(&counted, &Prices::default());
        assert_eq!((costs.write_units, costs.queue_requests, costs.invocations), (2_000_000, 2_100_000, 1_000_000));
        let near = |is: f64, expected: f64| assert!((is - expected).abs() < 1e-6, "{is} is not {expected}");
        near(costs.metastore, 1.25 + 0.0625);
        near(costs.queue, 0.84);
        near(costs.workers, 0.20 + 500_000.0 * 0.000_016_666_7);
        near(costs.total, costs.metastore + costs.queue + costs.workers);
    }
}
