//! Runs one attempt's process under a supervisor that outlives nothing.
