//! The metastore in one SQLite file.
