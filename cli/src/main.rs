//! The command line, and the standalone server.

fn main() {}
