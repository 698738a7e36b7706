//! Names of runs: how they are made, which are accepted, which type they suggest: `run_ids.json`.

use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use serde::Deserialize;
use serde_json::Value;
use updraft_model::DagRunType;
use updraft_model::run_id::{Ending, RunAfter, TAIL_LENGTH, check, generate, type_of};

use crate::harness::{Tally, Verdict, judge};
use crate::shapes::parse;

/// How the records write a drawn tail.
const RECORDED_TAIL: &str = "<8 random alphanumerics>";

pub(crate) fn judge_file() -> Option<Tally> {
    assert_eq!(RECORDED_TAIL, format!("<{TAIL_LENGTH} random alphanumerics>"));
    judge("run_ids", |case| match case["op"].as_str() {
        Some("DagRun.generate_run_id") => {
            let ending = if case["logical_date"].is_null() { Ending::Tail(RECORDED_TAIL) } else { Ending::None };
            judge_generated(&parse(case), ending)
        }
        Some("timetable.generate_run_id") => match case["timetable"].as_str() {
            Some("null" | "once" | "cron_trigger" | "cron_data_interval") => judge_generated(&parse(case), Ending::None),
            Some("cron_partition") => {
                judge_generated(&parse(case), Ending::Partition(case["partition_key"].as_str(), RECORDED_TAIL))
            }
            timetable => Verdict::Unbound(format!("timetable={}", timetable.unwrap_or("none"))),
        },
        Some("type_from_run_id") => judge_type(&parse(case)),
        Some("create_run") => judge_accepted(&parse(case), case),
        op => Verdict::Unbound(format!("op={op:?}")),
    })
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "these are the names in the records")]
struct Generated {
    run_type: DagRunType,
    run_after: String,
    run_id: String,
}

#[derive(Deserialize)]
struct Named {
    run_type: DagRunType,
    run_id: String,
}

fn judge_generated(case: &Generated, ending: Ending<'_>) -> Verdict {
    let pieces = Pieces::parse(&case.run_after).expect("a run is due at an instant");
    let offset = pieces.to_numeric_offset().unwrap_or(Offset::UTC);
    let run_after = RunAfter { at: case.run_after.parse().expect("a run is due at an instant"), offset };
    let found = generate(case.run_type, run_after, ending);
    if found == case.run_id {
        Verdict::Passed
    } else {
        Verdict::Failed(format!("expected {}, found {found}", case.run_id))
    }
}

fn judge_type(case: &Named) -> Verdict {
    let found = type_of(&case.run_id);
    if found == case.run_type { Verdict::Passed } else { Verdict::Failed(format!("found {found}")) }
}

fn judge_accepted(case: &Named, value: &Value) -> Verdict {
    let accepted = value["accepted"].as_bool().expect("a case says whether the id was accepted");
    match check(case.run_type, &case.run_id) {
        found if found.is_ok() == accepted => Verdict::Passed,
        found => Verdict::Failed(format!("found {found:?}")),
    }
}
