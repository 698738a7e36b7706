//! The event log: who has changed what, and when. Written after what it tells of has been done.

use crate::engine::{Engine, Error, ROUNDS_MAX};
use jiff::Timestamp;
use updraft_clock::Clock;
use updraft_metastore::{EventLog, Items, Page};
use updraft_model::DagId;
use updraft_task_queue::TaskQueue;

/// The longest `extra` that is kept, in bytes; what is longer is cut.
const EXTRA_BYTES_MAX: usize = 16 * 1024;

/// Something that a person has changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewEvent {
    /// What was done: Airflow's name for it, such as `cli_dag_trigger` or `trigger_dag_run`.
    pub event: String,
    /// To which DAG.
    pub dag_id: Option<DagId>,
    /// To which task.
    pub task_id: Option<String>,
    /// To which instance of a mapped task.
    pub map_index: Option<u32>,
    /// To which run.
    pub run_id: Option<String>,
    /// What the run stands for.
    pub logical_date: Option<Timestamp>,
    /// Who did it.
    pub owner: Option<String>,
    /// What else is to be known, as JSON. Secrets have no place in it.
    pub extra: Option<String>,
}

/// Which events are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Of this DAG.
    pub dag_id: Option<DagId>,
    /// Of this task.
    pub task_id: Option<String>,
    /// Of this run.
    pub run_id: Option<String>,
    /// Of this kind.
    pub event: Option<String>,
    /// By this person.
    pub owner: Option<String>,
    /// Only events of these kinds; none: all.
    pub included_events: Vec<String>,
    /// No events of these kinds.
    pub excluded_events: Vec<String>,
    /// Only before this.
    pub before: Option<Timestamp>,
    /// Only after this.
    pub after: Option<Timestamp>,
}

impl EventFilter {
    /// Whether an event is among those asked for.
    pub fn matches(&self, event: &EventLog) -> bool {
        self.dag_id.as_ref().is_none_or(|id| event.dag_id.as_ref() == Some(id))
            && self.task_id.as_ref().is_none_or(|id| event.task_id.as_ref() == Some(id))
            && self.run_id.as_ref().is_none_or(|id| event.run_id.as_ref() == Some(id))
            && self.event.as_ref().is_none_or(|name| event.event == *name)
            && self.owner.as_ref().is_none_or(|owner| event.owner.as_ref() == Some(owner))
            && (self.included_events.is_empty() || self.included_events.contains(&event.event))
            && !self.excluded_events.contains(&event.event)
            && self.before.is_none_or(|before| event.when < before)
            && self.after.is_none_or(|after| event.when > after)
    }
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Writes an event. One that cannot be written is no reason to say that what it tells of was not done: it is logged.
    pub async fn record_event(&self, new: NewEvent) {
        if let Err(error) = self.write_event(new).await {
            tracing::warn!(%error, "what was done is not in the event log");
        }
    }

    async fn write_event(&self, new: NewEvent) -> Result<(), Error> {
        let when = Timestamp::from_microsecond(self.clock.now().as_microsecond()).unwrap_or(Timestamp::MAX);
        let mut event = EventLog {
            event_log_id: when.as_microsecond(),
            when,
            event: new.event,
            dag_id: new.dag_id,
            task_id: new.task_id,
            map_index: new.map_index,
            run_id: new.run_id,
            logical_date: new.logical_date,
            try_number: None,
            owner: new.owner,
            extra: new.extra.map(cut),
        };
        // Several at one microsecond follow each other.
        for _ in 0..ROUNDS_MAX {
            if self.store.put_event_log(&event).await? {
                return Ok(());
            }
            event.event_log_id += 1;
        }
        Err(Error::Contention(event.event))
    }

    /// The events that are asked for, the latest first, at most so many.
    pub async fn event_logs(&self, filter: &EventFilter, limit: usize) -> Result<Vec<EventLog>, Error> {
        let mut found = Vec::new();
        let mut page = None;
        while found.len() < limit {
            let Page { items, next, .. } = self.store.list_event_logs(true, 200, page).await?;
            let is_over = items.last().is_some_and(|event| filter.after.is_some_and(|after| event.when <= after));
            found.extend(items.into_iter().filter(|event| filter.matches(event)));
            page = next;
            if page.is_none() || is_over {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// An event by its id.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn event_log(&self, event_log_id: i64) -> Result<EventLog, Error> {
        let found = self.store.event_log(event_log_id).await?;
        found.ok_or_else(|| Error::NotFound { what: "the event", name: event_log_id.to_string(), near: Vec::new() })
    }

    /// How many events are older than an instant; unless `dry_run`, they are removed.
    pub async fn remove_event_logs(&self, before: Timestamp, dry_run: bool) -> Result<usize, Error> {
        let mut removed = 0;
        let mut page = None;
        loop {
            let found = self.store.list_event_logs(false, 200, page).await?;
            for event in &found.items {
                if event.when >= before {
                    return Ok(removed);
                }
                if !dry_run {
                    self.store.delete_event_log(event.event_log_id).await?;
                }
                removed += 1;
            }
            page = found.next;
            if page.is_none() {
                return Ok(removed);
            }
        }
    }
}

fn cut(mut extra: String) -> String {
    if extra.len() > EXTRA_BYTES_MAX {
        let mut end = EXTRA_BYTES_MAX;
        while !extra.is_char_boundary(end) {
            end -= 1;
        }
        extra.truncate(end);
    }
    extra
}
