//! How long tasks take, and how often they fail: as given, as seen before, or assumed.

use crate::world::Draw;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is assumed of a task about which nothing is known.
const DURATION_DEFAULT: Duration = Duration::from_secs(10);

/// What is known of one task.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Guess {
    /// Its durations in seconds; one of them is drawn for each try. None: not known.
    pub seconds: Vec<f64>,
    /// How many tries of a hundred fail, as a fraction. None: not known.
    pub failures: Option<f64>,
}

/// What is known of all tasks.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Guesses {
    /// What somebody said, by `task`, by `dag.task`, or by nothing for all of them.
    pub given: BTreeMap<String, Guess>,
    /// What was seen, by DAG and task.
    pub seen: BTreeMap<(String, String), Guess>,
    /// Whether tries fail as often as they were seen to.
    pub fail_as_seen: bool,
}

impl Guesses {
    /// What was given for a task, the nearest first.
    fn given(&self, dag_id: &str, task_id: &str) -> impl Iterator<Item = &Guess> {
        let names = [format!("{dag_id}.{task_id}"), task_id.to_owned(), dag_id.to_owned()];
        names.into_iter().filter_map(|name| self.given.get(&name))
    }

    fn seen(&self, dag_id: &str, task_id: &str) -> Option<&Guess> {
        self.seen.get(&(dag_id.to_owned(), task_id.to_owned()))
    }

    /// How long a try takes.
    pub(crate) fn duration(&self, dag_id: &str, task_id: &str, draw: &mut Draw) -> Duration {
        let all = self.given.get("");
        let known = self.given(dag_id, task_id).chain(self.seen(dag_id, task_id)).chain(all);
        let seconds = known.map(|guess| &guess.seconds).find(|seconds| !seconds.is_empty());
        let drawn = seconds.map(|seconds| seconds[draw.below(seconds.len())]);
        drawn.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(DURATION_DEFAULT)
    }

    /// Whether a try fails.
    pub(crate) fn fails(&self, dag_id: &str, task_id: &str, draw: &mut Draw) -> bool {
        let seen = self.seen(dag_id, task_id).filter(|_| self.fail_as_seen);
        let mut known = self.given(dag_id, task_id).chain(seen).chain(self.given.get(""));
        let rate = known.find_map(|guess| guess.failures).unwrap_or(0.0);
        draw.fraction() < rate
    }
}

/// A length of time in seconds.
pub(crate) fn seconds(duration: SignedDuration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_of_a_task_goes_before_what_was_seen_and_that_before_what_holds_for_all() {
        let guess = |seconds: f64, failures| Guess { seconds: vec![seconds], failures: Some(failures) };
        let mut guesses = Guesses::default();
        let of = |guesses: &Guesses, task: &str| {
            let mut draw = Draw::of(1, &[task], &[]);
            (guesses.duration("d", task, &mut draw).as_secs(), guesses.fails("d", task, &mut draw))
        };
        assert_eq!(of(&guesses, "t"), (10, false));
        guesses.given.insert(String::new(), guess(1.0, 1.0));
        assert_eq!(of(&guesses, "t"), (1, true));
        guesses.seen.insert(("d".into(), "t".into()), guess(2.0, 0.0));
        assert_eq!(of(&guesses, "t"), (2, true), "what was seen of failures counts where it is asked for");
        guesses.fail_as_seen = true;
        assert_eq!(of(&guesses, "t"), (2, false));
        guesses.given.insert("t".into(), guess(3.0, 1.0));
        assert_eq!(of(&guesses, "t"), (3, true));
        guesses.given.insert("d.t".into(), guess(4.0, 0.0));
        assert_eq!((of(&guesses, "t"), of(&guesses, "u")), ((4, false), (1, true)));
    }

    #[test]
    fn as_many_fail_as_were_said_to() {
        let half = Guess { seconds: Vec::new(), failures: Some(0.5) };
        let guesses = Guesses { given: [(String::new(), half)].into(), ..Guesses::default() };
        let failed = (0..1000).filter(|n| guesses.fails("d", "t", &mut Draw::of(7, &[], &[*n]))).count();
        assert!((400..600).contains(&failed), "{failed}");
    }
}
