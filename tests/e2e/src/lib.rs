//! End to end on AWS interfaces: what the tests of this crate share.
//!
//! The tests see AWS by its interfaces only; which emulator answers them is the business of `localstack/`. They
//! install what they need (`localstack/start` makes a Python venv) and fail, rather than skip, where that is not
//! possible.

pub mod cloud;
pub mod emulator;
pub mod runtime;
pub mod script;
pub mod template;

use std::path::PathBuf;

/// The root of the repository, where `infra/` and `localstack/` lie.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the crate lies two levels below the root of the repository")
}
