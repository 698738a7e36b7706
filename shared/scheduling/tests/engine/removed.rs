//! Instances that a later expansion has no more, as rules below see them.

use crate::generate::{dag_of, plain, run};
use std::collections::BTreeMap;
use updraft_model::ExpandInput;
use updraft_model::cell::End;
use updraft_model::{
    Cell, DagRunState, Expansion, MappedEntry, MappedKey, Mapping, PageDoc, PageKey, Plan, Slot, Summary, Tally, Task,
    TaskIndex,
};
use updraft_scheduling::pages;
use updraft_scheduling::trigger_rules::Verdict;

const ABOVE: TaskIndex = TaskIndex(0);
const BELOW: TaskIndex = TaskIndex(1);

fn mapped(id: &str, items: usize, upstream: &[u32]) -> Task {
    let input = ExpandInput::Literal(vec![0; items].into());
    let mapping = Mapping { expand: vec![("x".to_owned(), input)], ..Mapping::default() };
    Task { mapping: Some(mapping), ..plain(id, upstream) }
}

/// A map of 200 instances has shrunk to 70, on two pages; below it, a map over 68 literals. While the second page runs no instance below falls
/// away for what it has not ended yet.
#[test]
fn no_instance_below_falls_away_while_one_above_runs() {
    let plan = Plan::new(dag_of(vec![mapped("above", 70, &[]), mapped("below", 68, &[0])]));
    let mut run = run(DagRunState::Running, vec![Cell::None, Cell::None], 0);
    let epoch = run.epoch;
    let put = |run: &mut updraft_model::RunDoc, key, entry| {
        run.mapped.0.insert(key, entry);
    };
    for (unit, count) in [(ABOVE, 70), (BELOW, 68)] {
        put(&mut run, MappedKey::Expansion(unit), MappedEntry::Expansion(Expansion { count, epoch }));
    }
    put(&mut run, MappedKey::Before(ABOVE), MappedEntry::Number(200));
    let full = |success| {
        let tally = Tally { success, ..Tally::default() };
        MappedEntry::Summary(Summary { epoch, tallies: BTreeMap::from([(ABOVE, tally)]) })
    };
    let key = PageKey { incarnation: run.facts.incarnation.clone(), unit: BELOW, page: 1 };
    let mut page = PageDoc::new(key, epoch, 64);
    let slot = |map_index| Slot { map_index, task: BELOW };
    page.cells.insert(slot(65), Cell::Cleared { try_number: 1 });
    put(&mut run, MappedKey::Summary(ABOVE, 0), full(64));
    assert_eq!(pages::rule_says(&plan, &run, &page, slot(65)), Verdict::Wait);
    let mut ended = run.clone();
    put(&mut ended, MappedKey::Summary(ABOVE, 1), full(6));
    assert_eq!(pages::rule_says(&plan, &ended, &page, slot(65)), Verdict::Run);
    // Where only 65 of the 70 have an item for it, it falls away.
    let shrunk = MappedEntry::Expansion(Expansion { count: 65, epoch });
    put(&mut run, MappedKey::Expansion(ABOVE), shrunk);
    put(&mut run, MappedKey::Summary(ABOVE, 1), full(1));
    assert_eq!(pages::rule_says(&plan, &run, &page, slot(65)), Verdict::Set(End::Removed));
}
