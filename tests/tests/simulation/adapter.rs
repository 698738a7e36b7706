//! How requests are carried: as they are, or as the DynamoDB adapter and its SDK carry them.
//!
//! `shared/metastore-dynamodb` is one request for each operation, tried three times by the SDK. Only reads of several items take more: a batch may
//! come in parts, a range in pages, the time index by shards. Here a part and a page are small, so that much happens between two of them.

use crate::store::{Request, Response, call};
use crate::world::{MILLI, Shared};
use updraft_metastore::keys::SHARDS;
use updraft_metastore::{Error, Item, Key, Outcome, Range};

/// The most keys of a part of a batch, and the most items of a page.
const PART: usize = 2;

fn is_adapter(world: &Shared) -> bool {
    world.lock().faults.repeats > 0
}

/// Asks, and asks again where no answer came, after a wait that doubles.
pub(crate) async fn carried(world: &Shared, process: usize, request: Request) -> Result<Response, Error> {
    let repeats = world.lock().faults.repeats;
    let mut repeat = 0;
    loop {
        let response = call(world, process, request.clone()).await;
        if !matches!(response, Response::Unavailable) {
            if repeat > 0 && request.writes() && matches!(response, Response::Item(Outcome::Refused(_))) {
                world.lock().stats.refused_by_themselves += 1;
            }
            return Ok(response);
        }
        if repeat == repeats {
            return Err(Error::Unavailable("simulated".to_owned()));
        }
        repeat += 1;
        let wait = {
            let mut world = world.lock();
            world.stats.repeated += 1;
            world.rng.range(0, (50 * MILLI) << repeat)
        };
        world.sleep(wait).await;
    }
}

/// The batches in which keys are read.
pub(crate) fn batches(world: &Shared, keys: &[Key]) -> Vec<Vec<Key>> {
    if is_adapter(world) { keys.chunks(PART).map(<[Key]>::to_vec).collect() } else { vec![keys.to_vec()] }
}

/// The first page of a range.
pub(crate) fn page(world: &Shared, range: &Range) -> Range {
    let limit = if is_adapter(world) { range.limit.min(PART) } else { range.limit };
    Range { limit, ..range.clone() }
}

/// What is left of a range after a page of it; none where that was all.
pub(crate) fn rest(range: &Range, page: &Range, found: &[(String, Item)]) -> Option<Range> {
    let left = range.limit - found.len().min(range.limit);
    let (last, _) = found.last()?;
    (found.len() == page.limit && left > 0).then(|| Range { after: Some(last.clone()), limit: left, ..range.clone() })
}

/// The shards in which the time index is read; none: all at once.
pub(crate) fn shards(world: &Shared) -> Vec<Option<u8>> {
    if is_adapter(world) { (0..SHARDS).map(Some).collect() } else { vec![None] }
}
