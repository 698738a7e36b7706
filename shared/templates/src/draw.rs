//! What looks random in a template. It follows from the try, so that rendering the same fields again gives the same text.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::context::Context;

/// A series of numbers that differ from try to try. Clones go on with the same series.
#[derive(Clone)]
pub(crate) struct Draw(Arc<AtomicU64>);

impl fmt::Debug for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Draw")
    }
}

/// The step of the generator `SplitMix64`.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Draw {
    /// The series of a try.
    pub(crate) fn of(context: &Context) -> Self {
        let numbers = format!("{}/{}", context.map_index, context.try_number);
        let parts = [&context.dag_id, &context.run_id, &context.task_id, &context.ti_id, &numbers];
        // FNV-1a, with an end after each part.
        let bytes = parts.into_iter().flat_map(|part| part.bytes().chain([0]));
        let seed = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// The next number.
    pub(crate) fn next(&self) -> u64 {
        let state = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least 0, less than 1.
    pub(crate) fn fraction(&self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Below `count`, which is not 0.
    pub(crate) fn below(&self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }
}
