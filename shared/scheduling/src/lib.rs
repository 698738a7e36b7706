//! What follows from the image of a run. Decisions, and nothing else: no clock, no randomness, no I/O.
//!
//! - [`trigger_rules`]: may this task run, given how its upstreams ended.
//! - [`pass`]: one look over a run, as Airflow's scheduler takes it.
//! - [`mod@decide`]: all that follows from an image, cascades included.
//! - [`backfill`]: which date of a backfill comes next.
//! - [`choices`]: what a branch or a short circuit leaves out.
//! - [`step`]: the conditional writes in a run's life: start, claim, finish, renew, sweep, and the interventions.
//! - [`deadlines`]: promises on the time of a run, and which it has missed.
//! - [`explain`]: why a task instance is not running.
//! - [`holders`]: the conditional writes on a holder document: pools, limits that span runs, and `max_active_tasks` of runs with mapped tasks.
//! - [`mapped`]: how a mapped task stands, and what its instances count for.
//! - [`pages`]: the conditional writes in the life of a page of mapped instances.
//! - [`past`]: whether the runs of earlier dates let a task go.
//! - [`places`]: the conditional writes on a DAG document: who takes a place among the active runs, who gives it back.
//! - [`retries`]: whether and when a failed try is tried again.
//! - [`attention`]: when a run must be looked at next.

pub mod attention;
pub mod backfill;
pub mod choices;
pub mod deadlines;
pub mod decide;
mod effects;
pub mod explain;
pub mod hitl;
pub mod holders;
pub mod mapped;
pub mod pages;
pub mod pass;
pub mod past;
pub mod places;
pub mod retries;
mod settle;
pub mod step;
pub mod trigger_rules;

pub use decide::{Decision, decide};
pub use step::Step;
