//! The cases of `trigger_api.json` once more, as requests to the routes.

use crate::harness::Tally;

pub(crate) fn judge_file() -> Option<Tally> {
    crate::trigger_api::judge_by("trigger_api over HTTP", true)
}
