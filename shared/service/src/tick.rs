//! The tick: what the time index says is due. It keeps no cursor and reads nothing that is idle.

use crate::engine::{Engine, Error};
use crate::readable::tell;
use crate::runs::Leases;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use updraft_clock::Clock;
use updraft_metastore::{DueEntry, DueWhat, Items};
use updraft_task_queue::{Message, Outgoing, TaskQueue};

/// How many entries one tick takes; the rest stays due.
pub const DUE_MAX: usize = 1000;

/// How far a tick looks ahead in the cloud: ticks of "every minute" can be 119 s apart, and a message is on its way for a while.
pub const LOOK_AHEAD: SignedDuration = SignedDuration::from_secs(150);

/// What a tick did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ticked {
    /// Entries looked at.
    pub looked_at: usize,
    /// Entries sent ahead by delayed messages.
    pub sent_ahead: usize,
    /// Entries whose look failed, or that cannot be read; they stay due.
    pub failed: usize,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Looks at everything that is due. One that fails never keeps the others: it is logged and stays due.
    pub async fn tick(&self) -> Result<Ticked, Error> {
        let mut ticked = Ticked::default();
        self.look_at_due(Vec::new(), &mut ticked).await?;
        Ok(ticked)
    }

    /// Looks at everything that is due, and sends a delayed message for everything that falls due within [`LOOK_AHEAD`], so that runs
    /// start to the second between ticks.
    pub async fn tick_ahead(&self) -> Result<Ticked, Error> {
        let now = self.clock.now();
        let until = now.saturating_add(LOOK_AHEAD).unwrap_or(Timestamp::MAX);
        let entries = self.store.due(until, DUE_MAX).await?;
        tell(&entries.unreadable);
        let is_full = entries.items.len() >= DUE_MAX;
        let (mut due, ahead): (Vec<DueEntry>, Vec<DueEntry>) =
            entries.items.into_iter().partition(|entry| entry.wake_at <= now);
        let messages: Vec<Outgoing> = ahead.iter().filter_map(|entry| later(entry, now)).collect();
        let mut ticked = Ticked { sent_ahead: messages.len(), failed: entries.unreadable.len(), ..Ticked::default() };
        self.send(messages).await;
        in_turn(&mut due, now);
        let mut stuck = Vec::new();
        for entry in due {
            self.look_at_entry(entry, &mut stuck, &mut ticked).await;
        }
        if is_full && !stuck.is_empty() {
            self.look_at_due(stuck, &mut ticked).await?;
        }
        Ok(ticked)
    }

    /// Looks at everything that is due but what is stuck. What fails stays due and comes first; so that it hides nothing, those behind it are
    /// asked for, until a page has none that fails.
    async fn look_at_due(&self, mut stuck: Vec<DueWhat>, ticked: &mut Ticked) -> Result<(), Error> {
        let mut is_first = stuck.is_empty();
        loop {
            let most = DUE_MAX + stuck.len();
            let due = self.store.due(self.clock.now(), most).await?;
            if std::mem::take(&mut is_first) {
                tell(&due.unreadable);
                ticked.failed += due.unreadable.len();
            }
            let (is_full, before) = (due.items.len() >= most, stuck.len());
            for entry in due.items {
                if !stuck[..before].contains(&entry.what) {
                    self.look_at_entry(entry, &mut stuck, ticked).await;
                }
            }
            if !is_full || stuck.len() == before {
                return Ok(());
            }
        }
    }

    /// Looks at an entry. One that fails, and not only because the store is not to be had now, is stuck.
    async fn look_at_entry(&self, entry: DueEntry, stuck: &mut Vec<DueWhat>, ticked: &mut Ticked) {
        ticked.looked_at += 1;
        let Err(error) = Box::pin(self.look(&entry.what)).await else { return };
        ticked.failed += 1;
        tracing::error!(%error, what = ?entry.what, "a look failed; it stays due");
        if !matches!(error, Error::Metastore(updraft_metastore::Error::Unavailable(_))) {
            stuck.push(entry.what);
        }
    }

    /// Looks where a message says. One that names a task instance is for workers, and says nothing here.
    pub async fn look_where(&self, message: &Message) -> Result<(), Error> {
        match message {
            Message::Task { .. } | Message::Callback { .. } => Ok(()),
            Message::Run { incarnation } => self.look_at_run(incarnation, Leases::Heed).await,
            Message::Page { incarnation, unit, page } => Box::pin(self.look_at_pages(incarnation, *unit, *page)).await,
            Message::Dag { dag_id } => Box::pin(self.look_at_dag(dag_id)).await,
            Message::Holder { holder } => self.look_at_holder(holder).await,
            Message::Intervention { operation } => Box::pin(self.look_at_intervention(operation)).await,
            Message::Backfill { id } => Box::pin(self.look_at_backfill(id)).await,
        }
    }

    /// Looks at a document of the time index.
    pub async fn look(&self, what: &DueWhat) -> Result<(), Error> {
        match what {
            DueWhat::Run(incarnation) => self.look_at_run(incarnation, Leases::Heed).await,
            DueWhat::Page(key) => self.look_at_page(key, Leases::Heed).await,
            DueWhat::Dag(dag_id) => self.look_at_dag(dag_id).await,
            DueWhat::Holder(holder) => self.look_at_holder(holder).await,
            DueWhat::Topic(topic) => self.look_at_topic(topic).await,
            DueWhat::Intervention(operation) => Box::pin(self.look_at_intervention(operation)).await,
            DueWhat::Callback(key) => self.look_at_callback(key).await,
            DueWhat::Backfill(id) => Box::pin(self.look_at_backfill(id)).await,
        }
    }

    /// Looks at everything unfinished, due or not: what is queued is sent again, what is undecided is decided. It rebuilds a queue that was
    /// lost from what the metastore says. Attempts that hold their leases go on.
    pub async fn requeue(&self) -> Result<Ticked, Error> {
        let entries = self.store.due(Timestamp::MAX, usize::MAX >> 1).await?;
        tell(&entries.unreadable);
        let mut ticked = Ticked { failed: entries.unreadable.len(), ..Ticked::default() };
        for entry in entries.items {
            self.look_at_entry(entry, &mut Vec::new(), &mut ticked).await;
        }
        Ok(ticked)
    }

    /// Looks at everything unfinished as the only server that lives: after a start. Attempts of the server before are dead.
    pub async fn recover(&self) -> Result<Ticked, Error> {
        // Everything in the index, however far ahead. Pages end where nothing new comes.
        let entries = self.store.due(Timestamp::MAX, usize::MAX >> 1).await?;
        tell(&entries.unreadable);
        let mut ticked = Ticked { failed: entries.unreadable.len(), ..Ticked::default() };
        for entry in entries.items {
            ticked.looked_at += 1;
            let looked = match &entry.what {
                DueWhat::Run(incarnation) => self.look_at_run(incarnation, Leases::AllDead).await,
                DueWhat::Page(key) => self.look_at_page(key, Leases::AllDead).await,
                other => self.look(other).await,
            };
            if let Err(error) = looked {
                ticked.failed += 1;
                tracing::error!(%error, what = ?entry.what, "a look failed; it stays due");
            }
        }
        Ok(ticked)
    }

    /// When the next entry falls due, if one does before `until`.
    pub async fn next_due(&self, until: Timestamp) -> Result<Option<Timestamp>, Error> {
        Ok(self.store.due(until, 1).await?.items.first().map(|entry| entry.wake_at))
    }
}

/// A look at an entry once it falls due; none for what only repairs.
fn later(entry: &DueEntry, now: Timestamp) -> Option<Outgoing> {
    let message = match &entry.what {
        DueWhat::Run(incarnation) => Message::Run { incarnation: incarnation.clone() },
        DueWhat::Page(key) => {
            Message::Page { incarnation: key.incarnation.clone(), unit: key.unit, page: Some(key.page) }
        }
        DueWhat::Dag(dag_id) => Message::Dag { dag_id: dag_id.clone() },
        DueWhat::Holder(holder) => Message::Holder { holder: holder.clone() },
        DueWhat::Topic(_) | DueWhat::Callback(_) => return None,
        DueWhat::Intervention(operation) => Message::Intervention { operation: operation.clone() },
        DueWhat::Backfill(id) => Message::Backfill { id: id.clone() },
    };
    Some(Outgoing { message, delay: Duration::try_from(entry.wake_at.duration_since(now)).unwrap_or_default() })
}

/// Puts the next one first in each minute: a look that takes the process down, or all of its time, shall not always keep the same ones from
/// theirs. Ticks come by the minute, so counting seconds would put the same one first for ever where sixty is so many times their number.
fn in_turn<T>(due: &mut [T], now: Timestamp) {
    if let Some(first) = ((now.as_second().unsigned_abs() / 60) as usize).checked_rem(due.len()) {
        due.rotate_left(first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_comes_first_in_turn() {
        for count in 1..130 {
            let first = |second: i64| {
                let mut due: Vec<i64> = (0..count).collect();
                in_turn(&mut due, Timestamp::from_second(second).unwrap());
                due[0]
            };
            // Ticks come each minute, at any second of it.
            let mut seen: Vec<i64> = (0..count).map(|minute| first(1_767_225_600 + count + minute * 60)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
        in_turn::<i32>(&mut [], Timestamp::UNIX_EPOCH);
    }
}
