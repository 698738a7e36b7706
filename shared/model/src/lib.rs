//! The words of the field, spelled as Airflow spells them: ids, states, DAGs, runs, task instances.
//!
//! What is deliberately absent: clocks, randomness, I/O, and any knowledge of how the metastore stores these things.
//! `now`, tokens and incarnations are arguments everywhere.

pub mod asset;
pub mod attempt;
pub mod backfill;
pub mod callback;
pub mod cell;
pub mod change;
pub mod choice;
pub mod connection;
pub mod dag;
pub mod dag_doc;
pub mod dag_parts;
pub mod display;
pub mod hitl;
pub mod holder;
pub mod ids;
pub mod intervention;
pub mod mapped;
pub mod page;
mod percent;
pub mod plan;
pub mod rebase;
pub mod references;
pub mod run;
pub mod run_id;
pub mod secrets;
pub mod states;
pub mod unit;
pub mod user;
pub mod variable;
pub mod workers;

pub use asset::{AssetEvent, EventSource, OutletEvent, Queued, Topic, TopicChange, TopicDoc, TopicFacts};
pub use attempt::{Attempt, AttemptKey, AttemptOutcome, ValueRef};
pub use backfill::{Backfill, BackfillCounts, BackfillRun};
pub use callback::{CallbackDoc, CallbackKey, CallbackState, Means, Occasion};
pub use cell::{Cell, Lease};
pub use change::{DagChange, Held, RunChange};
pub use choice::{Choice, Chosen, LeftOut};
pub use connection::Connection;
pub use dag::{Dag, Task, WeightRule};
pub use dag_doc::{ActiveRun, DagDoc};
pub use dag_parts::{
    Asset, AssetCondition, AssetRef, Callback, CallbackKind, Callbacks, Deadline, DeadlineReference, ExpandInput,
    Mapping, SensorMode, SensorSettings, TaskGroup, TemplateSettings,
};
pub use hitl::{HitlDetail, HitlResponse, HitlThen, HitlUser};
pub use holder::{ANY_TURN, Claim, Generation, HolderChange, HolderDoc, HolderId, HolderName};
pub use ids::{BackfillId, DagId, Incarnation, OperationId, TaskId, TaskIndex, Token, TopicId, VersionId};
pub use intervention::{Intervention, RunIntent};
pub use mapped::{Expansion, Mapped, MappedEntry, MappedKey, Place, Summary, Tally};
pub use page::{PageChange, PageDoc, PageEffect, PageHeld, PageKey, Slot};
pub use plan::{Plan, PlanSettings};
pub use run::{
    Act, IndexSet, Intent, OPERATIONS_MAX, OutboxEntry, Resumed, RunDate, RunDoc, RunEndReason, RunFacts, RunName,
    RunOrigin, TaskSet, TryEnd,
};
pub use states::{DagRunState, DagRunType, ReprocessBehavior, TaskInstanceState, TriggerRule, TriggeredBy};
pub use unit::Unit;
/// The registry of operators.
pub use updraft_operators as operators;
pub use updraft_timetables::{DataInterval, Timetable};
pub use user::User;
pub use variable::Variable;
pub use workers::WorkerKind;
