//! The log and blob store port, and its directory twin.
