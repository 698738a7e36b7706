//! `updraft pools ...`

mod exchange;

use crate::failure::Failure;
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::{Cell, Printer, Rows};
use clap::Subcommand;
use std::path::PathBuf;
use updraft_service::pools::{PoolView, PoolWish};

/// What to do with pools.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the pools, with who holds their slots
    List,
    /// Show a pool
    Get {
        /// The pool's name
        pool: String,
    },
    /// Make a pool, or change it
    Set {
        /// The pool's name
        pool: String,

        /// Its slots; -1: no end of them, 0: nothing runs
        #[arg(allow_negative_numbers = true)]
        slots: i64,

        /// What it is for
        description: String,

        /// Deferred task instances keep their slots
        #[arg(long)]
        include_deferred: bool,
    },
    /// Remove a pool; tasks that ask for it then wait
    Delete {
        /// The pool's name
        pool: String,
    },
    /// Make or change all pools of a file: `.json` or `.yaml`; `-` reads JSON from standard input
    Import {
        /// The file
        file: PathBuf,
    },
    /// Write all pools to a JSON file; `-` is standard output
    Export {
        /// The file
        file: PathBuf,
    },
}

/// Does it.
pub(crate) async fn run(command: Command, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let session = Session::open(metastore).await?;
    match command {
        Command::List => printer.rows(&rows(&session.engine.list_pools().await?)),
        Command::Get { pool } => printer.rows(&rows(&[session.engine.pool(&pool).await?])),
        Command::Set { pool, slots, description, include_deferred } => {
            let wish = PoolWish { name: pool, slots, description, include_deferred };
            printer.rows(&rows(&[session.engine.set_pool(&wish).await?]))
        }
        Command::Delete { pool } => {
            session.engine.delete_pool(&pool).await?;
            printer.note(format_args!("the pool `{pool}` was removed"));
            Ok(())
        }
        Command::Import { file } => exchange::import(&session, &file, printer).await,
        Command::Export { file } => exchange::export(&session, &file, printer).await,
    }
}

/// Pools under Airflow's keys: those of its command line first, those of its API after them.
fn rows(pools: &[PoolView]) -> Rows {
    let mut rows = Rows::new(&[
        "pool",
        "slots",
        "description",
        "include_deferred",
        "running_slots",
        "queued_slots",
        "scheduled_slots",
        "deferred_slots",
        "open_slots",
    ]);
    for pool in pools {
        rows.push(vec![
            Cell::text(&pool.name),
            Cell::Json(pool.slots.into()),
            Cell::text(&pool.description),
            Cell::Json(pool.include_deferred.into()),
            Cell::Json(pool.running_slots.into()),
            Cell::Json(pool.queued_slots.into()),
            Cell::Json(pool.scheduled_slots.into()),
            Cell::Json(pool.deferred_slots.into()),
            // Airflow's number for no end of them.
            Cell::Json(pool.open_slots.unwrap_or(-1).into()),
        ]);
    }
    rows
}
