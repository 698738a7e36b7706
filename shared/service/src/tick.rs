//! The tick: what the time index says is due. It keeps no cursor and reads nothing that is idle.

use crate::engine::{Engine, Error};
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
    /// Entries whose look failed; they stay due.
    pub failed: usize,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Looks at everything that is due. One that fails never keeps the others: it is logged and stays due.
    pub async fn tick(&self) -> Result<Ticked, Error> {
        let due = self.store.due(self.clock.now(), DUE_MAX).await?;
        let mut ticked = Ticked::default();
        for entry in due {
            ticked.looked_at += 1;
            if let Err(error) = self.look(&entry.what).await {
                ticked.failed += 1;
                tracing::error!(%error, what = ?entry.what, "a look failed; it stays due");
            }
        }
        Ok(ticked)
    }

    /// Looks at everything that is due, and sends a delayed message for everything that falls due within [`LOOK_AHEAD`], so that runs
    /// start to the second between ticks.
    pub async fn tick_ahead(&self) -> Result<Ticked, Error> {
        let now = self.clock.now();
        let until = now.saturating_add(LOOK_AHEAD).unwrap_or(Timestamp::MAX);
        let entries = self.store.due(until, DUE_MAX).await?;
        let (due, ahead): (Vec<DueEntry>, Vec<DueEntry>) = entries.into_iter().partition(|e| e.wake_at <= now);
        let messages: Vec<Outgoing> = ahead.iter().filter_map(|entry| later(entry, now)).collect();
        let mut ticked = Ticked { sent_ahead: messages.len(), ..Ticked::default() };
        self.send(messages).await;
        for entry in due {
            ticked.looked_at += 1;
            if let Err(error) = self.look(&entry.what).await {
                ticked.failed += 1;
                tracing::error!(%error, what = ?entry.what, "a look failed; it stays due");
            }
        }
        Ok(ticked)
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
        let mut ticked = Ticked::default();
        for entry in self.store.due(Timestamp::MAX, usize::MAX >> 1).await? {
            ticked.looked_at += 1;
            if let Err(error) = self.look(&entry.what).await {
                ticked.failed += 1;
                tracing::error!(%error, what = ?entry.what, "a look failed; it stays due");
            }
        }
        Ok(ticked)
    }

    /// Looks at everything unfinished as the only server that lives: after a start. Attempts of the server before are dead.
    pub async fn recover(&self) -> Result<Ticked, Error> {
        let mut ticked = Ticked::default();
        // Everything in the index, however far ahead. Pages end where nothing new comes.
        let entries = self.store.due(Timestamp::MAX, usize::MAX >> 1).await?;
        for entry in entries {
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
        Ok(self.store.due(until, 1).await?.first().map(|entry| entry.wake_at))
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
