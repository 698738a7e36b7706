//! Questions before something is lost.

use crate::failure::Failure;
use crate::printer::Printer;
use std::io::{BufRead, IsTerminal};

/// Asks whether to go on; `yes` has answered already. Where nobody can be asked, nothing is done.
///
/// # Errors
/// A failure where the answer is no, or nobody can be asked.
pub(crate) fn confirm(yes: bool, question: &str, printer: Printer) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::user("nothing was done")
            .cause("standard input is no terminal, so nobody could be asked")
            .hint("say `--yes` to do it without a question"));
    }
    printer.note(format_args!("{question} [y/N]"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(Failure::user("nothing was done").cause("the answer was no"))
    }
}
