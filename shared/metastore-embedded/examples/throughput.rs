//! How many conditional updates a second the file takes, each on disk before it is answered.
//!
//! `cargo run --release -p updraft-metastore-embedded --example throughput [directory] [cells] [seconds]`
//!
//! Every client claims and gives back one cell of a document of its own, with `cells` cells.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for a person at a terminal")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use updraft_metastore::item::Path as At;
use updraft_metastore::{Change, Condition, Item, Items, Key, Outcome, Update, Value};
use updraft_metastore_embedded::Embedded;

fn key(client: usize) -> Key {
    Key { pk: format!("RUN#{client}"), sk: "DOC".to_owned() }
}

fn document(cells: usize) -> Item {
    let cells = (0..cells).map(|n| (n.to_string(), Value::text("r1.0123456789")));
    Item::from([("cells".to_owned(), Value::M(cells.collect())), ("rv".to_owned(), Value::N(0))])
}

fn step(client: usize, from: &str, to: &str) -> Update {
    let cell = || At::Entry("cells", "1".to_owned());
    Update {
        key: key(client),
        conditions: vec![Condition::Equals(cell(), Value::text(from))],
        changes: vec![Change::Set(cell(), Value::text(to)), Change::Add("rv", 1)],
    }
}

async fn client(items: Arc<Embedded>, client: usize, until: Instant) -> Vec<Duration> {
    let (mut from, mut to) = ("r1.0123456789", "success");
    let mut took = Vec::new();
    while Instant::now() < until {
        let begun = Instant::now();
        let outcome = items.update(&step(client, from, to)).await.unwrap();
        took.push(begun.elapsed());
        assert!(matches!(outcome, Outcome::Updated(_)), "each client has its own document");
        (from, to) = (to, from);
    }
    took
}

fn report(name: &str, mut took: Vec<Duration>, elapsed: Duration) {
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let rate = took.len() as f64 / elapsed.as_secs_f64();
    println!("{name:<22} {rate:>8.0}/s   p50 {:>9.3?}   p99 {:>9.3?}   max {:>9.3?}", at(0.5), at(0.99), at(1.0));
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let home = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let cells = arguments.next().map_or(20, |n| n.parse().unwrap());
    let seconds = arguments.next().map_or(5, |n| n.parse().unwrap());
    let directory = home.join(format!("updraft-throughput-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let items = Arc::new(Embedded::open(&directory.join("metastore.db")).unwrap());
    for client in 0..2000 {
        items.put(&key(client), &document(if client < 64 { cells } else { 20 })).await.unwrap();
    }
    println!("documents of {cells} cells in {}", directory.display());
    for clients in [1, 8, 64] {
        // An even number of steps may not have been made: begin afresh.
        for n in 0..clients {
            items.put(&key(n), &document(cells)).await.unwrap();
        }
        let begun = Instant::now();
        let until = begun + Duration::from_secs(seconds);
        let running: Vec<_> = (0..clients).map(|n| tokio::spawn(client(items.clone(), n, until))).collect();
        let mut took = Vec::new();
        for client in running {
            took.extend(client.await.unwrap());
        }
        report(&format!("{clients} clients, updates"), took, begun.elapsed());
    }
    let begun = Instant::now();
    let mut took = Vec::new();
    for n in 0..20_000 {
        let one = Instant::now();
        assert!(items.get(&key(n % 2000)).await.unwrap().is_some());
        took.push(one.elapsed());
    }
    report("1 client, reads", took, begun.elapsed());
    let begun = Instant::now();
    let mut took = Vec::new();
    for _ in 0..20_000 {
        let one = Instant::now();
        items.changed_elsewhere().unwrap();
        took.push(one.elapsed());
    }
    report("changed elsewhere?", took, begun.elapsed());
    drop(items);
    std::fs::remove_dir_all(&directory).unwrap();
}
