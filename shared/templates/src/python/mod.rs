//! Python's values as templates see them: how they print, and the objects the engine does not know.

pub(crate) mod delta;
pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod moment;
pub(crate) mod moment_methods;
pub(crate) mod objects;
pub(crate) mod strftime;
pub(crate) mod text;
