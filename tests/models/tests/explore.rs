//! Explores every state a protocol can come to, with stateright's checker, and judges two things: that nothing wrong ever happens,
//! and that from wherever it has come to, the end can still be reached.
//!
//! The checker itself has no word for the second (its `eventually` follows single paths), so the edges it walks are noted as it asks
//! for them, and the end is walked back to over those.

use stateright::{Checker, Model, Property};
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// More states than this are a mistake in a model: it draws something without bound.
const STATES_MAX: usize = 6_000_000;

/// What one step is called in a counterexample: who, and what it does.
pub(crate) type Label = (&'static str, &'static str);

/// The steps that are possible from a state.
pub(crate) type Steps<S> = Vec<(Label, S)>;

/// A protocol at small size. Every step is one request to the store, or one thing that befalls a process.
pub(crate) trait Protocol: Send + Sync + 'static {
    type State: Clone + Debug + PartialEq + Hash + Send + Sync + 'static;

    fn begin(&self) -> Self::State;

    /// Adds what can happen next.
    fn steps(&self, state: &Self::State, steps: &mut Steps<Self::State>);

    /// What must never be, where it has come to be.
    fn wrong(&self, state: &Self::State) -> Option<&'static str>;

    /// Whether everything has come to its end.
    fn is_over(&self, state: &Self::State) -> bool;
}

/// What came of exploring.
pub(crate) enum Verdict {
    /// It holds in so many states.
    Holds { states: usize },
    /// It does not: what is wrong, and the steps that lead there.
    Broken { what: String, trace: Vec<Label>, states: usize },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds { states } => write!(f, "holds in {states} states"),
            Self::Broken { what, trace, states } => {
                writeln!(f, "{what} (after {states} states)")?;
                trace.iter().try_for_each(|(who, does)| writeln!(f, "    {who}: {does}"))
            }
        }
    }
}

/// A step with where it leads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Action<S> {
    label: Label,
    to: S,
}

#[derive(Debug, Default)]
struct Node {
    is_over: bool,
    next: Vec<(Label, u64)>,
}

struct Explored<P> {
    protocol: P,
    graph: Arc<Mutex<BTreeMap<u64, Node>>>,
}

fn name<S: Hash>(state: &S) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

impl<P: Protocol> Model for Explored<P> {
    type State = P::State;
    type Action = Action<P::State>;

    fn init_states(&self) -> Vec<Self::State> {
        vec![self.protocol.begin()]
    }

    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>) {
        let mut steps = Vec::new();
        self.protocol.steps(state, &mut steps);
        let next = steps.iter().map(|(label, to)| (*label, name(to))).collect();
        let node = Node { is_over: self.protocol.is_over(state), next };
        let mut graph = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(graph.len() < STATES_MAX, "more than {STATES_MAX} states; the last: {state:?}");
        graph.insert(name(state), node);
        drop(graph);
        actions.extend(steps.into_iter().map(|(label, to)| Action { label, to }));
    }

    fn next_state(&self, _: &Self::State, action: Self::Action) -> Option<Self::State> {
        Some(action.to)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("nothing is wrong", |explored: &Self, state| explored.protocol.wrong(state).is_none())]
    }
}

/// Explores a protocol.
pub(crate) fn explore<P: Protocol>(protocol: P) -> Verdict {
    let begin = name(&protocol.begin());
    let graph = Arc::new(Mutex::new(BTreeMap::new()));
    let model = Explored { protocol, graph: graph.clone() };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let checker = model.checker().threads(threads).spawn_bfs().join();
    let states = checker.unique_state_count();
    if let Some(path) = checker.discovery("nothing is wrong") {
        let what = checker.model().protocol.wrong(path.last_state()).unwrap_or("it is not wrong when looked at again");
        let trace = path.into_actions().into_iter().map(|action| action.label).collect();
        return Verdict::Broken { what: what.to_owned(), trace, states };
    }
    let graph = std::mem::take(&mut *graph.lock().unwrap_or_else(PoisonError::into_inner));
    match stuck(&graph, begin) {
        Some(trace) => {
            Verdict::Broken { what: "from here the end cannot be reached any more".to_owned(), trace, states }
        }
        None => Verdict::Holds { states },
    }
}

/// The shortest way to a state from which no end can be reached.
fn stuck(graph: &BTreeMap<u64, Node>, begin: u64) -> Option<Vec<Label>> {
    let index: BTreeMap<u64, usize> = graph.keys().enumerate().map(|(at, name)| (*name, at)).collect();
    let mut from: Vec<Vec<u32>> = vec![Vec::new(); graph.len()];
    for (at, node) in graph.values().enumerate() {
        for (_, to) in &node.next {
            from[index[to]].push(at as u32);
        }
    }
    let mut can = vec![false; graph.len()];
    let mut open: Vec<usize> = graph.values().enumerate().filter(|(_, n)| n.is_over).map(|(at, _)| at).collect();
    while let Some(at) = open.pop() {
        if !std::mem::replace(&mut can[at], true) {
            open.extend(from[at].iter().map(|before| *before as usize).filter(|before| !can[*before]));
        }
    }
    if can.iter().all(|can| *can) {
        return None;
    }
    let mut came: BTreeMap<u64, Option<(u64, Label)>> = BTreeMap::from([(begin, None)]);
    let mut wave = std::collections::VecDeque::from([begin]);
    while let Some(at) = wave.pop_front() {
        if !can[index[&at]] {
            let mut trace = Vec::new();
            let mut here = at;
            while let Some((before, label)) = came[&here] {
                trace.push(label);
                here = before;
            }
            trace.reverse();
            return Some(trace);
        }
        for (label, to) in &graph[&at].next {
            if !came.contains_key(to) {
                came.insert(*to, Some((at, *label)));
                wave.push_back(*to);
            }
        }
    }
    None
}

/// Expects a protocol to hold.
#[expect(clippy::print_stdout, reason = "a test's own words, shown under --nocapture")]
pub(crate) fn holds<P: Protocol>(what: &str, protocol: P) {
    let begun = std::time::Instant::now();
    let verdict = explore(protocol);
    println!("{what}: {verdict}, {:.1} s", begun.elapsed().as_secs_f64());
    assert!(matches!(verdict, Verdict::Holds { .. }), "{what}: {verdict}");
}

/// Expects a protocol to be broken in the way that is named: with one of its rules gone.
#[expect(clippy::print_stdout, reason = "a test's own words, shown under --nocapture")]
pub(crate) fn breaks<P: Protocol>(without: impl Debug, protocol: P) {
    let begun = std::time::Instant::now();
    let verdict = explore(protocol);
    println!("without {without:?}: {verdict}{:.1} s", begun.elapsed().as_secs_f64());
    assert!(matches!(verdict, Verdict::Broken { .. }), "without {without:?} nothing goes wrong: {verdict}");
}
