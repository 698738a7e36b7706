//! What crosses crates: conformance, corpus, simulation, command line, architecture.
