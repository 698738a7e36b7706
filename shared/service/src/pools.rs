//! Pools: what people set, and how they stand.

use crate::engine::{Engine, Error, near};
use crate::page_limits::Holding;
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::dag_parts::POOL_DEFAULT;
use updraft_model::{Cell, DagId, HolderChange, HolderDoc, HolderId, RunDoc, TaskInstanceState};
use updraft_scheduling::explain::{Around, Reason, explain};
use updraft_scheduling::past::Before;
use updraft_task_queue::{Message, Outgoing, TaskQueue};

/// The longest name of a pool, in characters, as in Airflow.
pub const NAME_LENGTH_MAX: usize = 256;

/// A pool, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolView {
    /// Its name.
    pub name: String,
    /// Its slots; -1: no end of them.
    pub slots: i64,
    /// What it is for.
    pub description: String,
    /// Whether deferred task instances keep their slots.
    pub include_deferred: bool,
    /// Slots held by running task instances.
    pub running_slots: i64,
    /// Slots held by queued ones, or about to be.
    pub queued_slots: i64,
    /// Slots wanted by those that wait.
    pub scheduled_slots: i64,
    /// Slots held by deferred ones.
    pub deferred_slots: i64,
    /// Free slots; none: no end of them.
    pub open_slots: Option<i64>,
}

/// What a pool is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolWish {
    /// Its name.
    pub name: String,
    /// Its slots; -1: no end of them, 0: nothing runs.
    pub slots: i64,
    /// What it is for.
    pub description: String,
    /// Whether deferred task instances keep their slots.
    pub include_deferred: bool,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Makes a pool, or changes it. Who waits for slots that there are now gets them; who holds slots that there are no more keeps them until
    /// it ends.
    ///
    /// # Errors
    /// [`Error::Refused`] for a name or a number that cannot be, and for the default pool where the deployment leaves it without limit.
    pub async fn set_pool(&self, wish: &PoolWish) -> Result<PoolView, Error> {
        check(wish)?;
        if wish.name == POOL_DEFAULT && self.settings.default_pool_slots.is_none() {
            return Err(Error::Refused(format!(
                "`{POOL_DEFAULT}` has no limit here, and tasks do not ask for its slots: start with a number of default pool \
                 slots first (Airflow has 128), then change it as you like"
            )));
        }
        let holder = HolderId::Pool(wish.name.clone());
        let mut new = HolderDoc::new(holder.clone(), Some(wish.slots));
        new.description.clone_from(&wish.description);
        new.include_deferred = wish.include_deferred;
        // The directory first: a pool that nobody finds cannot be mended.
        self.store.put_pool_entry(&wish.name).await?;
        if let Outcome::Refused(_) = self.store.put_holder(&new).await? {
            let change = HolderChange {
                size: Some(Some(wish.slots)),
                include_deferred: Some(wish.include_deferred),
                description: Some(wish.description.clone()),
                ..HolderChange::default()
            };
            self.store.update_holder(&holder, &change).await?;
        }
        // Hand out what is free now; if this process dies first, the look that every waiter has arranged does.
        self.look_at_holder(&holder).await?;
        self.send(vec![Outgoing::now(Message::Holder { holder })]).await;
        self.pool(&wish.name).await
    }

    /// Deletes a pool. Who holds slots goes on; who asks for some waits until there is such a pool again.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none, [`Error::Refused`] for the default pool.
    pub async fn delete_pool(&self, name: &str) -> Result<(), Error> {
        if name == POOL_DEFAULT {
            return Err(Error::Refused(format!("`{POOL_DEFAULT}` cannot be deleted")));
        }
        self.pool(name).await?;
        let change = HolderChange { size: Some(None), ..HolderChange::default() };
        self.store.update_holder(&HolderId::Pool(name.to_owned()), &change).await?;
        Ok(self.store.delete_pool_entry(name).await?)
    }

    /// A pool.
    ///
    /// # Errors
    /// [`Error::NotFound`], with names that are close.
    pub async fn pool(&self, name: &str) -> Result<PoolView, Error> {
        let found = self.store.holder(&HolderId::Pool(name.to_owned())).await?;
        match found.filter(|doc| doc.size.is_some()) {
            Some(doc) => Ok(self.pool_views(vec![doc]).await?.remove(0)),
            None if name == POOL_DEFAULT => Ok(self.default_pool()),
            None => {
                let known = self.pool_names().await?;
                Err(Error::NotFound { what: "the pool", name: name.to_owned(), near: near(name, known) })
            }
        }
    }

    /// All pools, by name; the default pool is always among them.
    pub async fn list_pools(&self) -> Result<Vec<PoolView>, Error> {
        let names = self.pool_names().await?;
        let ids: Vec<HolderId> = names.into_iter().map(HolderId::Pool).collect();
        let docs = self.store.holders(&ids).await?.into_iter().filter(|doc| doc.size.is_some()).collect();
        let mut pools = self.pool_views(docs).await?;
        if pools.iter().all(|pool| pool.name != POOL_DEFAULT) {
            pools.push(self.pool(POOL_DEFAULT).await?);
        }
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(pools)
    }

    /// The pools that tasks of a DAG ask for and that do not exist: their tasks wait.
    pub async fn missing_pools(&self, dag_id: &DagId) -> Result<Vec<String>, Error> {
        let Some(version) = self.store.dag(dag_id).await?.and_then(|dag| dag.version) else { return Ok(Vec::new()) };
        let version = self.version(&version).await?;
        let mut wanted: Vec<String> =
            version.plan.dag.tasks.iter().map(|t| t.pool.clone()).filter(|pool| pool != POOL_DEFAULT).collect();
        wanted.sort();
        wanted.dedup();
        let ids: Vec<HolderId> = wanted.iter().cloned().map(HolderId::Pool).collect();
        let there = self.store.holders(&ids).await?;
        let exists =
            |name: &String| there.iter().any(|doc| doc.size.is_some() && doc.id == HolderId::Pool(name.clone()));
        Ok(wanted.into_iter().filter(|name| !exists(name)).collect())
    }

    /// Why a task instance is not running: all reasons that hold.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a task that its run does not have.
    pub async fn why_not_running(&self, run: &RunDoc, task_id: &str) -> Result<Vec<Reason>, Error> {
        let version = self.version(&run.facts.version).await?;
        let plan = &version.plan;
        let Some(task) = plan.index_of(task_id) else {
            let known = plan.dag.tasks.iter().map(|task| task.task_id.to_string()).collect();
            return Err(Error::NotFound { what: "the task", name: task_id.to_owned(), near: near(task_id, known) });
        };
        let dag = self.store.dag(&run.facts.dag_id).await?;
        let before = if plan.looks_back(task) { self.run_before(&version, &run.facts).await? } else { None };
        let docs = self.store.holders(&plan.holders(task, &run.facts.incarnation)).await?;
        let around = Around {
            is_paused: dag.as_ref().is_some_and(|dag| dag.paused),
            has_room: dag.as_ref().is_none_or(updraft_model::DagDoc::has_room),
            before: before.as_ref().map(|(run, version)| Before { run, plan: &version.plan }),
            holders: &docs,
        };
        Ok(explain(plan, run, task, &around, self.clock.now()))
    }

    async fn pool_names(&self) -> Result<Vec<String>, Error> {
        let (mut names, mut page) = (Vec::new(), None);
        loop {
            let found = self.store.list_pool_names(500, page).await?;
            names.extend(found.items);
            page = found.next;
            if page.is_none() {
                return Ok(names);
            }
        }
    }

    fn default_pool(&self) -> PoolView {
        let slots = self.settings.default_pool_slots.unwrap_or(-1);
        PoolView {
            name: POOL_DEFAULT.to_owned(),
            slots,
            description: "Default pool".to_owned(),
            include_deferred: false,
            running_slots: 0,
            queued_slots: 0,
            scheduled_slots: 0,
            deferred_slots: 0,
            open_slots: (slots >= 0).then_some(slots),
        }
    }

    /// Pools as they are shown: how each holder stands is in its run.
    async fn pool_views(&self, docs: Vec<HolderDoc>) -> Result<Vec<PoolView>, Error> {
        let holding = self.holding(docs.iter().flat_map(|doc| doc.holders.keys())).await?;
        Ok(docs.iter().filter_map(|doc| view(doc, &holding)).collect())
    }
}

fn view(doc: &HolderDoc, holding: &Holding) -> Option<PoolView> {
    let HolderId::Pool(name) = &doc.id else { return None };
    let slots = doc.size?;
    let (mut running_slots, mut queued_slots, mut deferred_slots) = (0, 0, 0);
    for (holder, claim) in &doc.holders {
        // What the dead hold is free for whoever asks.
        if !holding.is_alive(doc, holder, claim) {
            continue;
        }
        let slots = i64::from(claim.slots);
        match holding.cell(holder).map(Cell::state) {
            Some(TaskInstanceState::Running | TaskInstanceState::Restarting) => running_slots += slots,
            Some(TaskInstanceState::Deferred) => deferred_slots += slots,
            _ => queued_slots += slots,
        }
    }
    let used = running_slots + queued_slots + deferred_slots;
    Some(PoolView {
        name: name.clone(),
        slots,
        description: doc.description.clone(),
        include_deferred: doc.include_deferred,
        running_slots,
        queued_slots,
        scheduled_slots: doc.waiters.values().map(|claim| i64::from(claim.slots)).sum(),
        deferred_slots,
        open_slots: (slots >= 0).then(|| slots - used),
    })
}

fn check(wish: &PoolWish) -> Result<(), Error> {
    let length = wish.name.chars().count();
    if length == 0 || length > NAME_LENGTH_MAX || wish.name.chars().any(char::is_control) {
        return Err(Error::Refused(format!(
            "a pool's name has 1 to {NAME_LENGTH_MAX} characters and none that cannot be printed; this one has {length}"
        )));
    }
    if wish.slots < -1 {
        return Err(Error::Refused(format!(
            "the pool `{}` cannot have {} slots: give 0 or more, or -1 for no end of them",
            wish.name, wish.slots
        )));
    }
    Ok(())
}
