//! DAGs on virtual time: what would run when, what would fail, what overlaps, what it costs.
//!
//! The engine is the real one, on a store in memory. Only the world around it is imagined: a clock that leaps to whatever happens next,
//! a queue that delivers at once, and attempts that take a time and fail as often as they are said to. Nothing is executed.
//!
//! The same wishes give the same report: everything that is drawn is drawn from the seed.

mod cost;
mod grid;
mod guess;
mod history;
mod report;
mod runner;
mod simulation;
mod world;

pub use cost::{Costs, Prices};
pub use guess::{Guess, Guesses};
pub use history::history;
pub use report::{DagReport, Report, RunReport, TaskReport};
pub use simulation::{Error, Wish, simulate};
