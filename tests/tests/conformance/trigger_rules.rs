//! What a trigger rule says of a task, given how its upstreams stand: `trigger_rules.json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use updraft_model::cell::End;
use updraft_model::{
    Cell, ExpandInput, Expansion, MappedEntry, MappedKey, Mapping, PageDoc, PageKey, Plan, RunDoc, Slot, Summary,
    Tally as Ends, Task, TaskId, TaskIndex, TaskInstanceState, TriggerRule,
};
use updraft_scheduling::pages;
use updraft_scheduling::trigger_rules::{self, Upstreams, evaluate, evaluate_task};

use crate::harness::{Tally, Verdict, judge_cases, load};
use crate::shapes::{dag, declare_with, parse, plans, run};

pub(crate) fn judge_file() -> Option<Tally> {
    let recorded = load("trigger_rules")?;
    let plans = plans(&recorded.header);
    Some(judge_cases("trigger_rules", &recorded.cases, |case| match case["set"].as_str() {
        // Instances of a mapped upstream count like upstreams of their own.
        Some("plain" | "mapped_upstream_3_instances") => judge_counts(&parse(case), true),
        Some("plain_no_flag") => judge_counts(&parse(case), false),
        Some("shape") => judge_shape(&parse(case), &plans),
        Some("declare") => judge_declaration(&parse(case)),
        Some("mapped_target_and_mapped_upstream") => judge_instance(&parse(case), false),
        Some("mapped_task_group") => judge_instance(&parse(case), true),
        set => Verdict::Unbound(format!("set={set:?}")),
    }))
}

/// A rule and the states of the upstreams.
#[derive(Deserialize)]
struct Counts {
    trigger_rule: TriggerRule,
    upstream: Vec<TaskInstanceState>,
    decision: String,
}

/// A task of a DAG and the states of everything above it.
#[derive(Deserialize)]
struct InShape {
    shape: String,
    target: String,
    states: BTreeMap<String, TaskInstanceState>,
    decision: String,
}

/// Whether a task of this kind may be declared with this rule.
#[derive(Deserialize)]
struct Declaration {
    trigger_rule: Value,
    kind: String,
    accepted: bool,
    effective_trigger_rule: Option<TriggerRule>,
}

fn judge_counts(case: &Counts, flag_upstream_failed: bool) -> Verdict {
    let mut upstreams = Upstreams::default();
    for state in &case.upstream {
        upstreams.add(*state, false);
    }
    compare(&case.decision, evaluate(case.trigger_rule, upstreams, flag_upstream_failed))
}

/// An instance of a mapped task, and the instances of the one above it.
#[derive(Deserialize)]
struct Instance {
    trigger_rule: TriggerRule,
    target_map_index: u32,
    upstream: Vec<TaskInstanceState>,
    decision: String,
}

/// In a mapped group an instance looks at its own upstream only; else at all of them.
fn judge_instance(case: &Instance, of_group: bool) -> Verdict {
    let group = of_group.then(|| "g".to_owned());
    let mapping = || {
        let input = ExpandInput::Literal(vec![0; case.upstream.len()].into());
        Some(Mapping { expand: vec![("x".to_owned(), input)], ..Mapping::default() })
    };
    let task = |id: &str, upstream: Vec<TaskIndex>, trigger_rule| Task {
        upstream,
        trigger_rule,
        group: group.clone(),
        mapping: if of_group { None } else { mapping() },
        ..Task::new(TaskId::trusted(id), "x")
    };
    let tasks = vec![task("up", vec![], TriggerRule::AllSuccess), task("target", vec![TaskIndex(0)], case.trigger_rule)];
    let mut dag = dag(tasks);
    if of_group {
        dag.groups.push(serde_json::from_value(json!({ "group_id": "g" })).expect("a group"));
        dag.groups[0].mapping = mapping();
    }
    let plan = Plan::new(dag);
    let (run, page) = scene(&plan, &case.upstream);
    let slot = Slot { map_index: case.target_map_index, task: TaskIndex(1) };
    compare(&case.decision, pages::rule_says(&plan, &run, &page, slot))
}

/// A run and the target's page, with the upstream's instances in these states: on that page in a group, else as the run knows them.
fn scene(plan: &Plan, upstream: &[TaskInstanceState]) -> (RunDoc, PageDoc) {
    let mut run = run();
    let count = upstream.len() as u32;
    for unit in plan.units() {
        let expansion = Expansion { count, epoch: 0 };
        run.mapped.0.insert(MappedKey::Expansion(unit.unit), MappedEntry::Expansion(expansion));
    }
    let unit = plan.unit_of(TaskIndex(1)).expect("the target is mapped");
    let key = PageKey { incarnation: run.facts.incarnation.clone(), unit: unit.unit, page: 0 };
    let mut page = PageDoc::new(key, 0, 0);
    let mut tally = Ends::default();
    for (map_index, state) in upstream.iter().enumerate() {
        let end = End::ALL.into_iter().find(|end| end.state() == *state);
        let cell = end.map_or(Cell::Queued { try_number: 1 }, |end| Cell::ended(end, 1));
        let map_index = map_index as u32;
        if unit.members.len() > 1 {
            page.cells.insert(Slot { map_index, task: TaskIndex(0) }, cell);
        } else if let Some(end) = end {
            tally.add(end, false);
        }
        page.cells.insert(Slot { map_index, task: TaskIndex(1) }, Cell::Cleared { try_number: 0 });
    }
    if unit.members.len() == 1 {
        let summary = Summary { epoch: 0, tallies: BTreeMap::from([(TaskIndex(0), tally)]) };
        run.mapped.0.insert(MappedKey::Summary(TaskIndex(0), 0), MappedEntry::Summary(summary));
    }
    (run, page)
}

fn judge_shape(case: &InShape, plans: &BTreeMap<String, Plan>) -> Verdict {
    let plan = &plans[&case.shape];
    let target = plan.index_of(&case.target).expect("the target is a task of the shape");
    let state_of = |task| case.states.get(plan.task(task).task_id.as_str()).copied();
    compare(&case.decision, evaluate_task(plan, target, |task| state_of(task).unwrap_or(TaskInstanceState::None)))
}

fn compare(expected: &str, found: trigger_rules::Verdict) -> Verdict {
    let found = match found {
        trigger_rules::Verdict::Run => "run".to_owned(),
        trigger_rules::Verdict::Wait => "wait".to_owned(),
        trigger_rules::Verdict::Set(end) => format!("set_{}", end.state()),
    };
    if found == expected { Verdict::Passed } else { Verdict::Failed(format!("expected {expected}, found {found}")) }
}

fn judge_declaration(case: &Declaration) -> Verdict {
    let mut keys = serde_json::Map::new();
    keys.insert("trigger_rule".to_owned(), case.trigger_rule.clone());
    match case.kind.as_str() {
        "work" => {}
        "setup" | "teardown" => drop(keys.insert(format!("is_{}", case.kind), true.into())),
        kind => return Verdict::Unbound(format!("kind={kind}")),
    }
    match declare_with(keys) {
        Ok(task) if case.effective_trigger_rule == Some(task.trigger_rule) => Verdict::Passed,
        Err(_) if !case.accepted => Verdict::Passed,
        Ok(task)
            if !case.accepted && case.trigger_rule.as_str().is_some_and(|old| is_renamed(old, task.trigger_rule)) =>
        {
            Verdict::Divergent("a rule's old name is taken for the rule, with a warning")
        }
        Ok(task) if !case.accepted && task.is_teardown && is_old_name(&case.trigger_rule) => {
            Verdict::Divergent("a rule's old name is taken for the rule, with a warning")
        }
        found => Verdict::Failed(format!("expected {:?}, found {found:?}", case.effective_trigger_rule)),
    }
}

/// Whether it was a rule's name in Airflow 2; a teardown's rule is replaced in any case.
fn is_old_name(rule: &Value) -> bool {
    matches!(rule.as_str(), Some("dummy" | "none_failed_or_skipped"))
}

/// Whether a rule is what Airflow 2 called `old`.
fn is_renamed(old: &str, rule: TriggerRule) -> bool {
    matches!(
        (old, rule),
        ("dummy", TriggerRule::Always) | ("none_failed_or_skipped", TriggerRule::NoneFailedMinOneSuccess)
    )
}
