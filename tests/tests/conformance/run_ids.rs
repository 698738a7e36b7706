//! Names of runs: how they are made, which are accepted, which type they suggest: `run_ids.json`.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use updraft_model::DagRunType;
use updraft_model::run_id::{TAIL_LENGTH, check as check_run_id, generate, isoformat, type_of};

use crate::harness::{Verdict, check};
use crate::shapes::parse;

/// How the records write a drawn tail.
const RECORDED_TAIL: &str = "<8 random alphanumerics>";

#[test]
fn runs_are_named_as_airflow_does() {
    assert_eq!(RECORDED_TAIL, format!("<{TAIL_LENGTH} random alphanumerics>"));
    check("run_ids", |case| match case["op"].as_str() {
        Some("DagRun.generate_run_id") => judge_generated(&parse(case), case["logical_date"].is_null()),
        Some("timetable.generate_run_id") => match case["timetable"].as_str() {
            Some("null" | "once" | "cron_trigger" | "cron_data_interval") => judge_generated(&parse(case), false),
            timetable => Verdict::OutOfScope(format!("timetable={}", timetable.unwrap_or("none"))),
        },
        Some("type_from_run_id") => judge_type(&parse(case)),
        Some("create_run") => judge_accepted(&parse(case), case),
        op => Verdict::OutOfScope(format!("op={op:?}")),
    });
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

fn judge_generated(case: &Generated, has_tail: bool) -> Verdict {
    let run_after: Timestamp = case.run_after.parse().expect("a run is due at an instant");
    let found = generate(case.run_type, run_after, has_tail.then_some(RECORDED_TAIL));
    if found == case.run_id {
        Verdict::Passed
    } else if found == case.run_id.replace(&case.run_after, &isoformat(run_after)) {
        Verdict::Divergent("an instant given with another offset is written in UTC")
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
    match check_run_id(case.run_type, &case.run_id) {
        found if found.is_ok() == accepted => Verdict::Passed,
        found => Verdict::Failed(format!("found {found:?}")),
    }
}
