//! Why a command failed, as a person reads it, and the exit code that follows.

use owo_colors::OwoColorize;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use updraft_service::Error;

/// Who can do something about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The person who typed the command: exit code 1.
    User,
    /// The deployment, this program, or wrong usage: exit code 2.
    Fault,
}

/// What went wrong, why, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    blame: Blame,
    /// What happened, to which thing. None where the command's own output has said it already, as a linter's has.
    error: Option<String>,
    cause: Option<String>,
    hint: Option<String>,
}

impl Failure {
    /// Something the person who typed the command can mend.
    pub(crate) fn user(error: impl Into<String>) -> Self {
        Self { blame: Blame::User, error: Some(error.into()), cause: None, hint: None }
    }

    /// Something that person cannot mend by typing another command.
    pub(crate) fn fault(error: impl Into<String>) -> Self {
        Self { blame: Blame::Fault, ..Self::user(error) }
    }

    /// A command that names what is not there, where exit code 1 has a meaning of its own: exit code 2, as for wrong usage.
    pub(crate) fn wrong_use(error: impl Into<String>) -> Self {
        Self::fault(error)
    }

    /// Exit code 1 without another word: the output has said what is wrong.
    pub(crate) fn told() -> Self {
        Self { blame: Blame::User, error: None, cause: None, hint: None }
    }

    /// Adds why.
    pub(crate) fn cause(self, cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// Adds how to mend it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.blame {
            Blame::User => ExitCode::from(1),
            Blame::Fault => ExitCode::from(2),
        }
    }

    /// The text for standard error; empty where everything has been said.
    pub(crate) fn render(&self, color: bool) -> String {
        let mut out = String::new();
        let Some(error) = &self.error else { return out };
        // Writing to a `String` cannot fail.
        let _ =
            if color { writeln!(out, "{} {error}", "error:".red().bold()) } else { writeln!(out, "error: {error}") };
        for (name, text) in [("cause:", &self.cause), ("hint:", &self.hint)] {
            let Some(text) = text else { continue };
            let text = text.replace('\n', "\n    ");
            let _ =
                if color { writeln!(out, "  {} {text}", name.cyan().bold()) } else { writeln!(out, "  {name} {text}") };
        }
        out
    }

    /// Says it on standard error.
    pub(crate) fn report(&self) {
        let text = self.render(crate::printer::colors_on_stderr());
        // Nobody is left to be told when standard error is gone.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// "did you mean" for a few names; none for none.
pub(crate) fn did_you_mean(near: &[String]) -> Option<String> {
    let quoted: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => None,
        [one] => Some(format!("did you mean {one}?")),
        [many @ .., last] => Some(format!("did you mean {} or {last}?", many.join(", "))),
    }
}

/// Which instances a task has, by the first and the last of them.
fn instances(near: &[String]) -> String {
    match near {
        [] => "the task has no instances; leave `--map-index` out".to_owned(),
        [only] => format!("the task has one instance, `{only}`"),
        [first, .., last] => format!("the task has the instances `{first}` to `{last}`"),
    }
}

/// Which command lists the things of a kind.
fn how_to_list(what: &str) -> Option<&'static str> {
    match what {
        "the DAG" => Some("`updraft dags list` shows the DAGs there are"),
        "the run" => Some("`updraft dags list-runs DAG_ID` shows the runs there are"),
        "the task" => Some("`updraft tasks list DAG_ID` shows the tasks there are"),
        "the variable" => Some("`updraft variables list` shows the variables there are"),
        "the pool" => Some("`updraft pools list` shows the pools there are"),
        "the connection" => Some("`updraft connections list` shows the connections there are"),
        "the asset" => Some("`updraft assets list` shows the assets there are"),
        _ => None,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound { what, name, near } => {
                let failure = Self::user(format!("{what} `{name}` does not exist"));
                let instances = (what == updraft_service::mapped_views::MAP_INDEX).then(|| instances(&near));
                match instances.or_else(|| did_you_mean(&near)).or_else(|| how_to_list(what).map(str::to_owned)) {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            }
            Error::Refused(text) | Error::Conflict(text) | Error::Invalid(text) | Error::Forbidden(text) => {
                Self::user(text)
            }
            Error::Metastore(error) => error.into(),
            Error::Queue(error) => Self::fault("the messages were not sent").cause(error.to_string()),
            Error::DagStore(error) => error.into(),
            Error::LogStore(error) => Self::fault("the log could not be read").cause(error.to_string()),
            Error::Contention(_) => Self::fault(error.to_string()),
        }
    }
}

impl From<updraft_metastore::Error> for Failure {
    fn from(error: updraft_metastore::Error) -> Self {
        use updraft_metastore::Error;
        match error {
            Error::Unavailable(text) => Self::fault("could not reach the metastore").cause(text),
            Error::Corrupt(text) => Self::fault("the metastore holds something this version cannot read").cause(text),
            // Adapters put the way out behind the cause, in one line.
            Error::Unusable(text) => match text.split_once("; hint: ") {
                Some((cause, hint)) => Self::user("could not use the metastore").cause(cause).hint(hint),
                None => Self::user("could not use the metastore").cause(text),
            },
        }
    }
}

impl From<updraft_dag_store::Error> for Failure {
    fn from(error: updraft_dag_store::Error) -> Self {
        use updraft_dag_store::Error;
        match error {
            Error::Unavailable(text) => Self::user("could not use the DAG folder").cause(text),
            Error::TooLarge { .. } | Error::Path(_) | Error::Unreadable { .. } => Self::user(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::fault("could not write the output").cause(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_error_cause_hint() {
        let failure = Failure::user("DAG `a` was not loaded").cause("one\ntwo").hint("three");
        assert_eq!(failure.render(false), "error: DAG `a` was not loaded\n  cause: one\n    two\n  hint: three\n");
        assert!(failure.render(true).contains("\x1b["));
    }

    #[test]
    fn suggestions_are_sentences() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(did_you_mean(&[]), None);
        assert_eq!(did_you_mean(&names(&["a"])).as_deref(), Some("did you mean `a`?"));
        assert_eq!(did_you_mean(&names(&["a", "b", "c"])).as_deref(), Some("did you mean `a`, `b` or `c`?"));
    }

    #[test]
    fn an_adapters_hint_becomes_a_hint() {
        let failure = Failure::from(updraft_metastore::Error::Unusable("no region; hint: set one".to_owned()));
        assert_eq!(failure, Failure::user("could not use the metastore").cause("no region").hint("set one"));
    }
}
