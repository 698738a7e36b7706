//! The task queue port, and its in-process twin.
