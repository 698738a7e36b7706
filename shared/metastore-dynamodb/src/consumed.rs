//! What the requests of a process have used, as DynamoDB itself says: what it bills.

use aws_sdk_dynamodb::types::ConsumedCapacity;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Units used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Consumed {
    /// Write units, those of the time index and of refused writes included.
    pub write_units: f64,
    /// Read units.
    pub read_units: f64,
}

/// Counts halves: an eventually consistent read of a small item is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    writes: Arc<AtomicU64>,
    reads: Arc<AtomicU64>,
}

impl Meter {
    pub(crate) fn wrote(&self, consumed: Option<&ConsumedCapacity>) {
        add(&self.writes, consumed);
    }

    pub(crate) fn read(&self, consumed: Option<&ConsumedCapacity>) {
        add(&self.reads, consumed);
    }

    /// A refusal does not say what it used; it is billed as a write of the item that stood in the way.
    pub(crate) fn refused(&self, bytes: usize) {
        self.writes.fetch_add(2 * bytes.div_ceil(1024).max(1) as u64, Ordering::Relaxed);
    }

    pub(crate) fn consumed(&self) -> Consumed {
        let units = |halves: &AtomicU64| halves.load(Ordering::Relaxed) as f64 / 2.0;
        Consumed { write_units: units(&self.writes), read_units: units(&self.reads) }
    }
}

fn add(halves: &AtomicU64, consumed: Option<&ConsumedCapacity>) {
    let units = consumed.and_then(|consumed| consumed.capacity_units).unwrap_or_default();
    halves.fetch_add((units * 2.0).round() as u64, Ordering::Relaxed);
}
