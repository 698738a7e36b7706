//! `updraft completion`

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::printer::Printer;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

/// A shell whose completion can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// The friendly interactive shell.
    Fish,
}

/// Prints a script that makes the shell complete commands and options.
pub(crate) fn run(kind: Kind, printer: Printer) -> Result<(), Failure> {
    let shell = match kind {
        Kind::Bash => Shell::Bash,
        Kind::Zsh => Shell::Zsh,
        Kind::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "updraft", &mut script);
    printer.text(&String::from_utf8_lossy(&script))
}
