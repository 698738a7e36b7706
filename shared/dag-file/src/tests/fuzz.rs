//! The loader under texts that are nearly right: real-looking files, cut, repeated and mixed.
//!
//! A few seconds by default; `UPDRAFT_FUZZ_CASES=1000000 cargo test --release -p updraft-dag-file fuzz` goes on for longer.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Files that use most of what the loader knows.
const SEEDS: [&str; 4] = [
    "default: &d\n  default_args: {owner: a, retries: 2, retry_delay: 5m, start_date: 2 days}\n  tasks: [{task_id: t, operator: BashOperator, bash_command: 'echo {{ ds }}'}]\n\
     one:\n  schedule: cron(0/5 12 ? * 2#1 *)\n  task_groups: {g: {dependencies: [t], parent_group_name: h}, h: {prefix_group_id: false}}\n  tasks:\n    t: {retries: 010}\n    u: {operator: EmptyOperator, task_group_name: g, dependencies: [t]}\n",
    "two:\n  schedule: {datasets: '((a & b) | c)', timetable: {__type__: airflow.timetables.trigger.CronTriggerTimetable, cron: '* * * * *', timezone: UTC}}\n  <<: {tags: [x]}\n  params: {p: {__type__: airflow.sdk.Param, default: 1, type: integer}}\n  tasks:\n    a: {decorator: airflow.sdk.task, python_callable: m.f}\n    b: {decorator: airflow.sdk.task, python_callable: m.g, x: +a, expand: {y: a.output}, partial: {z: 1}}\n",
    "three: &three\n  schedule_interval: !or [!and [a, b], c]\n  start_date: {__type__: datetime.datetime, year: 2026, month: 1, day: 31, tzinfo: Europe/Paris}\n  tasks:\n    s: {operator: TimeDeltaSensor, delta: PT5M, mode: reschedule, on_failure_callback: [a.b, {callback: c.d, x: 1}], outlets: [s3://x, {__type__: airflow.sdk.AssetAlias, name: n}]}\n    v: {operator: BashOperator, variables_as_arguments: [{variable: A, attribute: bash_command}]}\nfour: *three\n",
    "five:\n  timetable: {__type__: dateutil.relativedelta.relativedelta, months: 1}\n  user_defined_macros: {m: a.b}\n  template_searchpath: [x]\n  tasks:\n    - task_id: p\n      operator: PythonOperator\n      python_callable_name: f\n      python_callable_file: f.py\n      op_kwargs: {d: {__join__: [a, 1]}, e: !!binary aGk=, l: {__type__: builtins.list, items: [1]}}\n",
];

/// Pieces that are put between others.
const PIECES: [&str; 24] = [
    "&a ",
    "*a",
    "<<: *a\n",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "\n",
    "  ",
    "'",
    "\"",
    "|\n",
    "!!int ",
    "!join ",
    "$A",
    "${A}",
    "__type__: ",
    "__or__: [a]",
    "null",
    "1e999",
    "task_group_name: g",
    "dependencies: [t, u]",
];

/// One change of a text.
#[derive(Debug, Clone)]
enum Change {
    Remove(usize, usize),
    Repeat(usize, usize),
    Put(usize, usize),
    Byte(usize, u8),
    Take(usize, usize, usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<usize>;
    prop_oneof![
        (at(), 1usize..40).prop_map(|(from, length)| Change::Remove(from, length)),
        (at(), 1usize..80).prop_map(|(from, length)| Change::Repeat(from, length)),
        (at(), at()).prop_map(|(from, piece)| Change::Put(from, piece)),
        (at(), any::<u8>()).prop_map(|(from, byte)| Change::Byte(from, byte)),
        (at(), at(), at(), 1usize..60).prop_map(|(to, seed, from, length)| Change::Take(to, seed, from, length)),
    ]
}

fn changed(mut text: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let place = |n: usize| n % (text.len() + 1);
        match *change {
            Change::Remove(from, length) => {
                let from = place(from);
                let to = (from + length).min(text.len());
                text.drain(from..to);
            }
            Change::Repeat(from, length) => {
                let from = place(from);
                let piece = text[from..(from + length).min(text.len())].to_vec();
                text.splice(from..from, piece);
            }
            Change::Put(at, piece) => {
                let at = place(at);
                text.splice(at..at, PIECES[piece % PIECES.len()].bytes());
            }
            Change::Byte(at, byte) => {
                let at = place(at);
                text.splice(at..at, [byte]);
            }
            Change::Take(to, seed, from, length) => {
                let seed = SEEDS[seed % SEEDS.len()].as_bytes();
                let from = from % seed.len();
                let to = place(to);
                text.splice(to..to, seed[from..(from + length).min(seed.len())].iter().copied());
            }
        }
    }
    text
}

#[test]
fn any_mutation_of_a_file_is_answered() {
    let cases = std::option_env!("UPDRAFT_FUZZ_CASES").and_then(|n| n.parse().ok()).unwrap_or(3_000);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let strategy = (0..SEEDS.len(), prop::collection::vec(change(), 0..12));
    let outcome = runner.run(&strategy, |(seed, changes)| {
        let text = changed(SEEDS[seed].as_bytes().to_vec(), &changes);
        properties::check(&text);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_files_that_are_mutated_are_mostly_sound() {
    for seed in SEEDS {
        let loaded = loaded(seed);
        assert!(
            !loaded.dags.is_empty() || loaded.diagnostics.iter().all(|d| d.code != "yaml-syntax"),
            "{:?}",
            loaded.diagnostics
        );
    }
}
