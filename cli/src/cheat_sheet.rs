//! `updraft cheat-sheet`: all commands on a page.

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::printer::{Cell, Printer, Rows};
use clap::{Command, CommandFactory};

/// Lists every command with what it does, from the grammar itself.
pub(crate) fn run(printer: Printer) -> Result<(), Failure> {
    let mut rows = Rows::new(&["command", "about"]);
    below("updraft", &Arguments::command(), &mut rows);
    printer.rows(&rows)
}

fn below(before: &str, command: &Command, rows: &mut Rows) {
    for child in command.get_subcommands() {
        let name = format!("{before} {}", child.get_name());
        if child.has_subcommands() {
            below(&name, child, rows);
        } else {
            let positionals = child.get_positionals().map(|argument| {
                let name = argument
                    .get_value_names()
                    .and_then(|names| names.first())
                    .map_or_else(|| argument.get_id().to_string().to_uppercase(), ToString::to_string);
                if argument.is_required_set() { format!(" {name}") } else { format!(" [{name}]") }
            });
            let about = child.get_about().map(ToString::to_string).unwrap_or_default();
            rows.push(vec![Cell::Text(format!("{name}{}", positionals.collect::<String>())), Cell::Text(about)]);
        }
    }
}
