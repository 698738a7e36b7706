//! What every [`Clock`] promises, one promise a function, for real and virtual ones alike.

use crate::Clock;
use std::collections::BTreeSet;
use std::time::Duration;

/// No id is drawn twice.
pub fn drawn_ids_differ<C: Clock>(clock: &C) {
    let drawn: BTreeSet<String> = (0..1000).map(|_| clock.draw(8)).collect();
    assert_eq!(drawn.len(), 1000);
}

/// An id has the length asked for, of lower-case letters and digits, which every key and file name can hold.
pub fn drawn_ids_have_their_length<C: Clock>(clock: &C) {
    for length in [1, 8, 12, 70] {
        let id = clock.draw(length);
        assert_eq!(id.len(), length);
        assert!(id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()), "{id}");
    }
}

/// A sleep lasts at least as long as asked, by the clock's own reckoning.
pub async fn sleeping_takes_its_time<C: Clock>(clock: &C) {
    let begun = clock.now();
    clock.sleep(Duration::from_millis(30)).await;
    let passed = clock.now().duration_since(begun);
    assert!(passed >= jiff::SignedDuration::from_millis(30), "{passed:?}");
}
