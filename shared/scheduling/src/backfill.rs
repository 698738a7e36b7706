//! Which date of a backfill comes next.

use jiff::Timestamp;
use updraft_model::{Backfill, Dag, DataInterval};
use updraft_timetables::{DagRunInfo, TimeRestriction};

/// The most dates one backfill may span.
pub const DATES_MAX: usize = 100_000;

/// The runs that a DAG's schedule has for logical dates between two, both included, the earliest first.
pub fn dates(dag: &Dag, from: Timestamp, to: Timestamp, now: Timestamp) -> Dates<'_> {
    let restriction = TimeRestriction { earliest: Some(from), latest: Some(to), catchup: true };
    Dates { dag, restriction, from, to, now, last: None }
}

/// See [`dates`].
#[derive(Debug)]
pub struct Dates<'a> {
    dag: &'a Dag,
    restriction: TimeRestriction,
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
    last: Option<DataInterval>,
}

impl Iterator for Dates<'_> {
    type Item = DagRunInfo;

    fn next(&mut self) -> Option<DagRunInfo> {
        loop {
            // A timetable that cannot say makes no run, as by its schedule.
            let timetable = &self.dag.timetable;
            let info = timetable.next_dagrun_info(self.last.as_ref(), &self.restriction, self.now).ok().flatten()?;
            let date = info.logical_date?;
            let interval = info.data_interval.unwrap_or_else(|| DataInterval::exact(date));
            // A timetable that stands still would go on for ever.
            if date > self.to || self.last == Some(interval) {
                return None;
            }
            self.last = Some(interval);
            if date >= self.from {
                return Some(info);
            }
        }
    }
}

/// The date that a backfill deals with next; none: it has dealt with all.
pub fn next(dag: &Dag, backfill: &Backfill, now: Timestamp) -> Option<DagRunInfo> {
    let Backfill { from_date, to_date, .. } = *backfill;
    if backfill.is_exhausted {
        None
    } else if backfill.run_backwards {
        let before =
            |info: &DagRunInfo| backfill.last_date.is_none_or(|last| info.logical_date.is_some_and(|d| d < last));
        dates(dag, from_date, to_date, now).take_while(before).last()
    } else {
        let mut left = dates(dag, from_date, to_date, now);
        left.last = backfill.last;
        left.find(|info| backfill.last_date.is_none_or(|last| info.logical_date.is_some_and(|date| date > last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft_model::{BackfillCounts, BackfillId, DagId, ReprocessBehavior, Timetable};
    use updraft_timetables::{CronStyle, Timezone};

    fn dag(schedule: &str, style: CronStyle) -> Dag {
        let timetable = Timetable::from_schedule(Some(schedule), &Timezone::utc(), style).unwrap();
        Dag { timetable, ..Dag::new(DagId::trusted("d"), Vec::new()) }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn backfill(from: &str, to: &str, run_backwards: bool) -> Backfill {
        Backfill {
            id: BackfillId::trusted("1"),
            dag_id: DagId::trusted("d"),
            from_date: at(from),
            to_date: at(to),
            dag_run_conf: serde_json::Value::Null,
            reprocess_behavior: ReprocessBehavior::None,
            run_backwards,
            max_active_runs: 1,
            run_on_latest_version: false,
            is_paused: false,
            created_at: at(from),
            updated_at: at(from),
            completed_at: None,
            user: None,
            last: None,
            last_date: None,
            is_exhausted: false,
            active: std::collections::BTreeMap::new(),
            counts: BackfillCounts::default(),
        }
    }

    /// Every date, one after the other, as looks deal with them.
    fn all(dag: &Dag, mut backfill: Backfill) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(info) = next(dag, &backfill, at("2026-01-01T00:00:00Z")) {
            let date = info.logical_date.unwrap();
            found.push(date.to_string());
            backfill.last = info.data_interval;
            backfill.last_date = Some(date);
            assert!(found.len() < 100);
        }
        found
    }

    #[test]
    fn each_date_comes_once_in_either_direction() {
        for style in [CronStyle::Trigger, CronStyle::DataInterval] {
            let dag = dag("0 0 * * *", style);
            let (from, to) = ("2025-03-01T00:00:00Z", "2025-03-04T00:00:00Z");
            let days: Vec<String> = (1..=4).map(|day| format!("2025-03-0{day}T00:00:00Z")).collect();
            assert_eq!(all(&dag, backfill(from, to, false)), days, "{style:?}");
            let back: Vec<String> = days.iter().rev().cloned().collect();
            assert_eq!(all(&dag, backfill(from, to, true)), back, "{style:?}");
            // Dates between two of the schedule are those of the schedule in between.
            let odd = backfill("2025-03-01T06:00:00Z", "2025-03-03T05:00:00Z", false);
            assert_eq!(all(&dag, odd), days[1..3], "{style:?}");
            assert_eq!(all(&dag, backfill("2025-03-01T06:00:00Z", "2025-03-01T07:00:00Z", true)), [""; 0]);
        }
    }

    #[test]
    fn a_schedule_without_dates_has_none() {
        let none = Dag::new(DagId::trusted("d"), Vec::new());
        assert_eq!(all(&none, backfill("2025-03-01T00:00:00Z", "2025-03-04T00:00:00Z", false)), [""; 0]);
    }
}
