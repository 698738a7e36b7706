//! Use cases: what the scheduler, the workers, the command line and the web server do, written once over the ports.
//!
//! Standalone and cloud call the same functions with other adapters. No rule about DAGs, runs or tasks stands here: rules are in
//! the pure crates, and this crate reads, asks them, writes, and sends.
//!
//! - [`Engine::tick`]: what the time index says is due.
//! - [`Engine::look_at_run`], [`Engine::look_at_dag`]: start, sweep, deliver; create runs.
//! - [`Engine::work`]: claim an attempt, run it by a [`Runner`], finish it, continue in place.
//! - [`ingest`]: files to versions and import errors.
//! - [`Engine::trigger`], [`Engine::set_paused`]: what people ask for.
//! - [`pages`], [`instances`]: mapped tasks.
//! - [`interventions`]: clear, mark, end.
//! - [`backfill`]: runs for dates of the past.
//! - [`versions`]: what each change of a DAG made of it.
//! - [`events`]: who has changed what.
//! - [`named`], [`lookup`]: variables and connections.
//! - [`assets`]: who has to do with them, their events, and the runs that these make.
//! - [`users`]: who may use the web server.
//! - [`hitl`]: what people are asked, and their answers.
//! - [`history`]: what is removed of the past.
//! - [`spans`]: what traces are made of.
//! - [`views`]: what people are shown.

pub mod assets;
mod attended;
pub mod backfill;
pub mod callbacks;
pub mod closing;
pub mod dags;
mod dates;
pub mod deletion;
pub mod engine;
pub mod events;
mod figures;
pub mod history;
pub mod hitl;
pub mod ingest;
pub mod instances;
pub mod interventions;
pub mod limits;
pub mod lookup;
pub mod mapped_views;
pub mod named;
mod page_limits;
pub mod pages;
pub mod past;
pub mod pools;
mod readable;
pub mod runs;
pub mod spans;
pub mod tick;
pub mod trigger;
pub mod users;
pub mod versions;
pub mod views;
pub mod work;
pub mod xcom_edits;
pub mod xcoms;

pub use callbacks::{CallEnded, Called, Caller};
pub use engine::{Engine, Error, Settings};
pub use lookup::{Environment, Lookup};
pub use trigger::{Origin, Trigger};
/// How mapped tasks stand.
pub use updraft_scheduling::mapped;
pub use work::{Continuation, Finished, Runner, TaskRef, TimeoutMost, Work, Worked, identity, task_instance_id};
