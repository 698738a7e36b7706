//! Lambda: minute tick, bucket notification, due work.

fn main() {}
