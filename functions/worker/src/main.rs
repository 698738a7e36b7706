//! Lambda: claim, run, finish, continue in place.

fn main() {}
