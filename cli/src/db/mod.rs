//! `updraft db ...`

mod clean;

use crate::failure::Failure;
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::{Printer, count};
use clap::Subcommand;
use std::time::Duration;

/// What to do with the metastore.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say whether the metastore can be read; exit code 0 if it can
    Check {
        /// How often to try again
        #[arg(long, default_value_t = 0)]
        retry: u32,

        /// How many seconds to wait before each
        #[arg(long, default_value_t = 1, value_name = "SECONDS")]
        retry_delay: u32,
    },
    /// Remove runs that ended before an instant, with their attempts, logs and values (the latest of each DAG stay); and backfills, asset
    /// events and entries of the log from before
    Clean(clean::Arguments),
    /// Look at every unfinished run, DAG and pool at once, and send what waits again: after a queue was lost or purged, or the table was
    /// brought back from a backup. Harmless at any time; without it the sweep does the same within 15 minutes
    Requeue,
    /// Bring the metastore to the form that this version writes; there is nothing to be done, since it is made in that form
    Migrate,
}

/// Does it.
pub(crate) async fn run(command: Command, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    match command {
        Command::Check { retry, retry_delay } => check(retry, retry_delay, metastore, printer).await,
        Command::Clean(arguments) => Box::pin(clean::run(&arguments, &Session::open(metastore).await?, printer)).await,
        Command::Requeue => {
            let session = Session::open(metastore).await?;
            if let Some(note) = session.delay_note {
                return Err(Failure::user("there is no queue to send to").cause(note).hint(
                    "set the queues' URLs (outputs of the stack), or use a profile that `infra/deploy --save-as NAME` keeps",
                ));
            }
            let looked = Box::pin(session.engine.requeue()).await?;
            printer.note(format_args!("looked at {}", count(looked.looked_at, "document")));
            match looked.failed {
                0 => Ok(()),
                failed => Err(Failure::fault(format!("{} could not be looked at", count(failed, "document")))
                    .cause("the errors above say why")
                    .hint("ticks look at them again; `updraft doctor` tells which are overdue")),
            }
        }
        Command::Migrate => {
            let session = Session::open(metastore).await?;
            session.engine.store.list_dags(1, None).await?;
            printer.note(
                "there is nothing to migrate: there has been one form so far, and every part of Updraft reads it",
            );
            Ok(())
        }
    }
}

async fn check(retry: u32, retry_delay: u32, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let mut left = retry;
    loop {
        let tried = async {
            let session = Session::open(metastore).await?;
            Ok::<_, Failure>(session.engine.store.list_dags(1, None).await?)
        };
        match tried.await {
            Ok(_) => {
                printer.note(format_args!("the metastore `{metastore}` can be read"));
                return Ok(());
            }
            Err(failure) if left == 0 => return Err(failure),
            Err(_) => {
                left -= 1;
                tokio::time::sleep(Duration::from_secs(retry_delay.into())).await;
            }
        }
    }
}
