//! Which scheduled runs are made and started, loop by loop: `run_creation.json`.
//!
//! One of Airflow's scheduler loops makes at most one run of a DAG, one of our looks as many as there is room for; so the loops are played
//! here, and in each our own decisions are asked: which run is next, is there a place for it, what is written.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_metastore::{Metastore, Outcome, memory::Memory};
use updraft_model::run_id::{Ending, generate, isoformat};
use updraft_model::{DagChange, DagDoc, DagId, DagRunType, Incarnation, RunFacts, VersionId};
use updraft_scheduling::places;
use updraft_timetables::{
    CronDataInterval, CronExpression, CronStyle, DagRunInfo, DataInterval, Delta, DeltaTrigger, TimeRestriction,
    Timetable, Timezone,
};

use crate::harness::{Tally, Verdict, judge};
use crate::shapes::{load_text, parse};

pub(crate) fn judge_file() -> Option<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be built");
    judge("run_creation", |case| {
        if let Some(error) = case["error"].as_str() {
            return judge_refusal(case, error);
        }
        let case: Case = parse(case);
        match timetable(&case.schedule) {
            Some(timetable) => runtime.block_on(judge_loops(&case, &timetable)),
            None => Verdict::Unbound(format!("schedule: {}", case.schedule)),
        }
    })
}

/// Whether a file with this schedule is refused, as Airflow refuses the DAG.
fn judge_refusal(case: &Value, error: &str) -> Verdict {
    let class = |name: &str| json!({"__type__": format!("airflow.timetables.interval.{name}"), "cron": "0 0 * * *", "timezone": "UTC"});
    let schedule = match case["schedule"].as_str() {
        Some("'0 0 * * *' (CronTriggerTimetable)") => json!("0 0 * * *"),
        Some("CronDataIntervalTimetable '0 0 * * *' UTC") => class("CronDataIntervalTimetable"),
        Some("timedelta(days=1)") => json!({"__type__": "datetime.timedelta", "days": 1}),
        Some(preset) if preset.starts_with('@') => json!(preset),
        schedule => return Verdict::Unbound(format!("schedule: {schedule:?}")),
    };
    if !case["start_date"].is_null() {
        return Verdict::Unbound(format!("error: {error}"));
    }
    let tasks = json!({"t": {"operator": "EmptyOperator"}});
    let dag = |catchup: bool| json!({"d": {"schedule": schedule, "catchup": catchup, "tasks": tasks}}).to_string();
    match (load_text(&dag(case["catchup"] == true)), load_text(&dag(false))) {
        (Err(why), Ok(_)) if why.contains("start_date") => Verdict::Passed,
        found => Verdict::Failed(format!("expected {error}, found {found:?}")),
    }
}

#[derive(Deserialize)]
struct Case {
    schedule: String,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    catchup: bool,
    max_active_runs: u32,
    paused: bool,
    now: Timestamp,
    finish_every: usize,
    loops: Vec<Vec<Run>>,
    after_parse: Next,
    #[serde(rename = "final")]
    last: Value,
}

/// Id, logical date, start and end of the data interval, state.
type Run = (String, Option<Timestamp>, Option<Timestamp>, Option<Timestamp>, String);

/// The next run as it is stored.
#[derive(Debug, PartialEq, Deserialize)]
struct Next {
    next_dagrun: Option<Timestamp>,
    next_run_after: Option<Timestamp>,
}

/// What a recorded schedule means; none: nobody has said.
fn timetable(schedule: &str) -> Option<Timetable> {
    let utc = Timezone::utc();
    let cron = |text: &str| CronExpression::parse(text).expect("a recorded expression is valid");
    let trigger = |text| Timetable::from_schedule(text, &utc, CronStyle::Trigger).expect("a recorded schedule is valid");
    Some(match schedule {
        "'0 0 * * *' (CronTriggerTimetable)" => trigger(Some("0 0 * * *")),
        "CronDataIntervalTimetable '0 0 * * *' UTC" => {
            Timetable::CronDataInterval(CronDataInterval { cron: cron("0 0 * * *"), timezone: utc })
        }
        "timedelta(days=1)" => {
            let day = Delta::Fixed(SignedDuration::from_hours(24));
            Timetable::DeltaTrigger(DeltaTrigger::new(day, Delta::ZERO).expect("a day is positive"))
        }
        "None" => Timetable::Null,
        "@continuous" | "@continuous ended" => Timetable::Continuous,
        preset if preset.starts_with('@') => trigger(Some(preset)),
        _ => return None,
    })
}

/// A DAG's document on a store of its own, and the runs made so far.
struct World<'c> {
    case: &'c Case,
    timetable: &'c Timetable,
    store: Metastore<Memory>,
    dag: DagDoc,
    runs: Vec<(Incarnation, Run)>,
}

impl World<'_> {
    fn next(&self) -> Option<DagRunInfo> {
        self.next_after(self.dag.last.as_ref())
    }

    fn next_after(&self, last: Option<&DataInterval>) -> Option<DagRunInfo> {
        let case = self.case;
        let restriction = TimeRestriction { earliest: case.start_date, latest: case.end_date, catchup: case.catchup };
        self.timetable.next_dagrun_info(last, &restriction, case.now).expect("a recorded timetable has an answer")
    }

    fn stored_next(&self) -> Next {
        let next = self.next();
        Next {
            next_dagrun: next.as_ref().and_then(|next| next.logical_date),
            next_run_after: next.map(|next| next.run_after),
        }
    }

    /// Writes; true if nothing stood in the way.
    async fn write(&mut self, change: &DagChange) -> bool {
        match self.store.update_dag(&self.dag.dag_id, change).await.expect("memory answers") {
            Outcome::Updated(dag) => {
                self.dag = dag;
                true
            }
            Outcome::Refused(_) => false,
        }
    }

    /// One of Airflow's loops: at most one run.
    async fn create(&mut self) {
        let now = self.case.now;
        let Some(info) = self.next().filter(|info| info.run_after <= now) else { return };
        let interval = info.data_interval.unwrap_or_else(|| DataInterval::exact(info.run_after));
        let following = self.next_after(Some(&interval)).map(|next| next.run_after);
        let facts = RunFacts {
            incarnation: Incarnation::trusted(format!("i{}", self.runs.len())),
            dag_id: self.dag.dag_id.clone(),
            run_id: generate(DagRunType::Scheduled, info.run_after, Ending::None),
            run_type: DagRunType::Scheduled,
            logical_date: info.logical_date,
            data_interval: info.data_interval,
            partition: info.partition,
            run_after: info.run_after,
            queued_at: now,
            version: VersionId::trusted("v"),
            conf: Value::Null,
            asset_events: std::collections::BTreeMap::new(),
            origin: updraft_model::RunOrigin::default(),
        };
        let change = places::create(&self.dag, &facts, interval, following, now);
        // A DAG that is paused, or has no place, stands in the way.
        if self.write(&change).await {
            let (start, end) = (facts.data_interval.map(|i| i.start), facts.data_interval.map(|i| i.end));
            let run = (facts.run_id, facts.logical_date, start, end, "running".to_owned());
            self.runs.push((facts.incarnation, run));
        }
    }

    async fn finish_oldest(&mut self) {
        let Some(oldest) = self.runs.iter().position(|(_, run)| run.4 == "running") else { return };
        let change = places::leave(&self.runs[oldest].0, 0);
        assert!(self.write(&change).await, "a run that was made holds its place");
        self.runs[oldest].1.4 = "success".to_owned();
    }
}

async fn judge_loops(case: &Case, timetable: &Timetable) -> Verdict {
    let mut dag = DagDoc::new(DagId::trusted("d"), "d.yaml".to_owned(), case.paused);
    dag.version = Some(VersionId::trusted("v"));
    dag.max_active_runs = case.max_active_runs;
    let store = Metastore::new(Memory::default());
    let Outcome::Updated(dag) = store.put_dag(&dag).await.expect("memory answers") else { panic!("a second DAG") };
    let mut world = World { case, timetable, store, dag, runs: Vec::new() };
    if world.stored_next() != case.after_parse {
        return Verdict::Failed(format!("expected {:?}, found {:?}", case.after_parse, world.stored_next()));
    }
    for (nth, expected) in case.loops.iter().enumerate() {
        world.create().await;
        let is_last = nth + 1 == case.loops.len();
        let listed = world.runs.iter().map(|(_, run)| run).filter(|run| is_last || run.4 == "running");
        let found: Vec<Run> = listed.cloned().collect();
        if found != *expected {
            return Verdict::Failed(format!("loop {nth}: expected {expected:?}, found {found:?}"));
        }
        if case.finish_every > 0 && (nth + 1) % case.finish_every == 0 {
            world.finish_oldest().await;
        }
    }
    let expected: Next = parse(&case.last);
    let found = (world.stored_next(), world.runs.len() as u64);
    let expected = (expected, case.last["runs"].as_u64().expect("a number of runs"));
    if found == expected {
        Verdict::Passed
    } else {
        let now = isoformat(case.now);
        Verdict::Failed(format!("at {now}: expected {expected:?}, found {found:?}"))
    }
}
