//! The cases of `clear_mark.json` once more, as requests to the routes.

use crate::harness::Tally;

pub(crate) fn judge_file() -> Option<Tally> {
    crate::clear_mark::judge_by("clear_mark over HTTP", true)
}
