//! Use cases: ingest, tick, run an attempt, sweep, trigger.
