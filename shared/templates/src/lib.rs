//! Jinja templates with Airflow's context.
//!
//! A [`Renderer`] renders the template fields of a task for one try: strings inside lists and objects, with the names that
//! Airflow 3.3.2 gives (`ds`, `dag_run.conf`, `ti.xcom_pull(...)`, `macros.ds_add(...)`), printing as Python prints. The crate
//! is pure: the clock is [`Context::now`], XComs, variables and connections are fetched beforehand ([`Renderer::needs`]), and nothing
//! is random.
//!
//! A template is somebody else's program, so it runs under limits: steps and memory (fuel), nesting, the size of the text
//! and the width of formats. No error shows a value of the context.
//!
//! ```
//! use updraft_templates::{Context, Options, Renderer, XComs};
//!
//! let renderer = Renderer::new();
//! let mut xcoms = XComs::new();
//! xcoms.insert("extract", "return_value", -1, serde_json::json!({"rows": 7}));
//! let context = Context {
//!     logical_date: Some("2025-01-02T00:00:00Z".parse()?),
//!     ..Context::default()
//! };
//! let fields = serde_json::json!({"bash_command": "load {{ ds }} {{ ti.xcom_pull(task_ids='extract').rows }}"});
//! let rendered = renderer.render(&fields, &context, &xcoms, &Options::default())?;
//! assert_eq!(rendered["bash_command"], "load 2025-01-02 7");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here: user-defined macros and filters, which are Python, and templates in files, which whoever calls reads.

mod assets;
mod context;
mod corners;
mod depth;
mod draw;
mod error;
mod filters;
mod formats;
mod fuel;
mod globals;
mod literal;
mod macros;
mod native;
mod operators;
mod python;
mod renderer;
mod rewrite;
mod stored;
mod survey;
mod syntax;
#[cfg(test)]
mod tests;
mod uuids;
mod xcoms;

pub use context::{Context, DagFacts, PreviousRun, TaskFacts};
pub use error::{ErrorKind, TemplateError};
pub use native::Native;
pub use renderer::{OUTPUT_BYTES_MAX, Options, Renderer, TEMPLATE_BYTES_MAX, Undefined};
pub use stored::{Needs, Stored, Wanted};
pub use syntax::{Delimiters, Syntax, SyntaxError};
pub use xcoms::{RETURN_VALUE, XComNeeds, XComs};

/// Names that only our own code looks up; a space keeps them out of every template's reach.
mod names {
    /// The context's present moment.
    pub(crate) const NOW: &str = "context now";
    /// Where the filter `random` draws.
    pub(crate) const DRAW: &str = "context draw";
    /// Takes a native template's pieces.
    pub(crate) const EMIT: &str = "native emit";
    /// Holds a block's text on its way there.
    pub(crate) const BLOCK: &str = "native block";
    /// The filter that reads a captured text as a literal. The engine drops spaces from names of filters; a dash is a minus to it.
    pub(crate) const LITERAL: &str = "native-literal";
}
