//! Every operator, and how one is found.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::operator::{Operator, Runner, last_part};
use crate::{deferred, http, standard};

struct Registry {
    operators: Vec<Operator>,
    by_name: BTreeMap<&'static str, usize>,
}

/// Built at the first look: some thousand lines of text, in less than a millisecond when optimised.
static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let mut operators = standard::operators();
    operators.extend(http::operators());
    operators.extend(deferred::operators());
    let mut by_name = BTreeMap::new();
    // Whole paths first, so that no class name stands in for a path; then the names, those of today before older ones.
    for (index, operator) in operators.iter().enumerate() {
        for path in std::iter::once(&operator.class_path).chain(&operator.old_class_paths) {
            by_name.entry(*path).or_insert(index);
        }
    }
    for (index, operator) in operators.iter().enumerate() {
        by_name.entry(operator.short_name()).or_insert(index);
    }
    for (index, operator) in operators.iter().enumerate() {
        for path in &operator.old_class_paths {
            by_name.entry(last_part(path)).or_insert(index);
        }
    }
    Registry { operators, by_name }
});

/// Every operator, those that run first.
pub fn all() -> &'static [Operator] {
    &REGISTRY.operators
}

/// Finds an operator by class path (old ones too) or by class name alone.
pub fn find(name: &str) -> Option<&'static Operator> {
    REGISTRY.by_name.get(name).map(|index| &REGISTRY.operators[*index])
}

/// Every name that [`find`] knows, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    REGISTRY.by_name.keys().copied()
}

/// The class names of what this version runs, for messages. Classes that only decorators name are left out.
pub fn runnable() -> impl Iterator<Item = &'static str> {
    let runs = |o: &&Operator| o.runner != Runner::Deferred && !o.short_name().starts_with('_');
    all().iter().filter(runs).map(Operator::short_name)
}
