//! `updraft doctor`: looks a deployment over, and says what to do.

#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "aws")]
mod deployment;
#[cfg(feature = "aws")]
mod permissions;
#[cfg(feature = "aws")]
mod schedule;
mod state;

use crate::failure::Failure;
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::{Cell, Printer, Rows};

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should be.
    Fine,
    /// Could not be told, or may be meant so.
    Unsure,
    /// Not as it should be.
    Wrong,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Unsure => "warning",
            Self::Wrong => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    advice: Option<String>,
}

impl Finding {
    pub(crate) fn fine(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fine, found: found.into(), advice: None }
    }

    pub(crate) fn unsure(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unsure, advice: Some(advice.into()), ..Self::fine(check, found) }
    }

    pub(crate) fn wrong(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Wrong, advice: Some(advice.into()), ..Self::fine(check, found) }
    }
}

/// Looks over the state, and on AWS what runs on it. Findings are the data; exit code 1 says that something is wrong.
pub(crate) async fn run(metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let session = Session::open(metastore).await?;
    let findings = state::look(&session).await;
    #[cfg(feature = "aws")]
    let findings: Vec<Finding> = match metastore {
        MetastoreUrl::DynamoDb(table) => findings.into_iter().chain(deployment::look(table).await?).collect(),
        MetastoreUrl::File(_) => findings,
    };
    let mut rows = Rows::new(&["check", "state", "found", "advice"]);
    for Finding { check, verdict, found, advice } in &findings {
        rows.push(vec![
            Cell::text(check),
            Cell::text(verdict.word()),
            Cell::text(found),
            Cell::optional(advice.as_ref()),
        ]);
    }
    printer.rows(&rows)?;
    let wrong = findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count();
    match wrong {
        0 => {
            printer.note("nothing is wrong");
            Ok(())
        }
        _ => Err(Failure::told()),
    }
}
