//! What the metastore itself tells.

use super::Finding;
use crate::metastore::Session;
use crate::printer::count;
use jiff::{SignedDuration, Timestamp};
use updraft_clock::Clock as _;
use updraft_metastore::DueWhat;

/// What is overdue for longer than this is looked at by nobody: a tick comes every minute, and a look takes seconds.
const OVERDUE: SignedDuration = SignedDuration::from_mins(5);

/// How many overdue documents are named.
const NAMED_MOST: usize = 5;

/// Reads what lists, and what is due.
pub(super) async fn look(session: &Session) -> Vec<Finding> {
    vec![metastore(session).await, overdue(session).await, files(session).await]
}

async fn metastore(session: &Session) -> Finding {
    match session.engine.store.list_dags(1, None).await {
        Ok(_) => Finding::fine("metastore", "it can be read"),
        Err(error) => {
            Finding::wrong("metastore", error.to_string(), "see the error: whether it is there, and who may read it")
        }
    }
}

/// Runs, DAGs and pools whose time has passed and which nobody has looked at.
async fn overdue(session: &Session) -> Finding {
    let now: Timestamp = session.engine.clock.now();
    let due = match session.engine.store.due(now.saturating_sub(OVERDUE).unwrap_or(Timestamp::MIN), 1000).await {
        Ok(due) => due,
        Err(error) => {
            return Finding::wrong("stuck", error.to_string(), "the time index cannot be read; see the error");
        }
    };
    if let Some(unreadable) = due.unreadable.first() {
        let found = format!("{} in the time index: {unreadable}", count(due.unreadable.len(), "unknown item"));
        return Finding::wrong(
            "stuck",
            found,
            "everything else is looked at; run the version that wrote it, or remove the item",
        );
    }
    let due = due.items;
    let minutes = OVERDUE.as_secs() / 60;
    if due.is_empty() {
        return Finding::fine("stuck", format!("nothing is overdue for more than {minutes} minutes"));
    }
    let name = |what: &DueWhat| match what {
        DueWhat::Run(incarnation) => format!("run {incarnation}"),
        DueWhat::Dag(dag_id) => format!("DAG {dag_id}"),
        DueWhat::Page(key) => format!("page {} of a mapped task of run {}", key.page, key.incarnation),
        DueWhat::Holder(holder) => format!("pool or limit {holder}"),
        DueWhat::Intervention(operation) => format!("intervention {}", operation.as_str()),
        DueWhat::Backfill(id) => format!("backfill {id}"),
        DueWhat::Callback(_) => "a callback".to_owned(),
        DueWhat::Topic(topic) => format!("asset events {}", topic.as_str()),
    };
    let named: Vec<String> = due.iter().take(NAMED_MOST).map(|entry| name(&entry.what)).collect();
    let found = format!("{} overdue since {}: {}", count(due.len(), "document"), due[0].wake_at, named.join(", "));
    Finding::wrong(
        "stuck",
        found,
        "start the server, or see on AWS whether the schedule ticks and what the scheduler's log says; `updraft db requeue` looks at \
         everything once",
    )
}

/// Files that do not load.
async fn files(session: &Session) -> Finding {
    match session.engine.store.list_import_errors(1000, None).await {
        Ok(errors) if errors.items.iter().all(|error| error.is_notice) => Finding::fine("files", "all DAG files load"),
        Ok(errors) => {
            let broken: Vec<&str> = errors.items.iter().filter(|e| !e.is_notice).map(|e| e.path.as_str()).collect();
            let found = format!("{} not load: {}", count(broken.len(), "file"), broken.join(", "));
            Finding::unsure("files", found, "`updraft dags list-import-errors` says why; the last good versions run on")
        }
        Err(error) => Finding::wrong("files", error.to_string(), "see the error"),
    }
}
