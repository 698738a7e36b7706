//! The one place that writes to standard output and standard error.
//!
//! Data goes to standard output, in the format that was asked for; everything else goes to standard error. A reader that goes
//! away (`| head`) ends the output, and is no failure.

mod cell;
mod progress;
mod table;
mod words;
mod yaml;

pub(crate) use cell::{Cell, iso};
pub(crate) use progress::Progress;
pub(crate) use words::count;

use crate::failure::Failure;
use serde_json::Value;
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Framed columns, for people.
    Table,
    /// JSON, for programs.
    Json,
    /// YAML, for both.
    Yaml,
    /// Columns without a frame, for pipes.
    Plain,
}

/// Rows of named columns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rows {
    /// The columns' names, which are the keys in JSON.
    pub(crate) columns: Vec<&'static str>,
    /// The rows, each as long as `columns`.
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl Rows {
    /// No rows yet.
    pub(crate) fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.columns.len(), "a row has a cell for every column");
        self.rows.push(row);
    }

    /// The rows as JSON objects, keys in the order of the columns.
    pub(crate) fn to_json(&self) -> Value {
        let object = |row: &Vec<Cell>| {
            let pairs = self.columns.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), cell.to_json()));
            Value::Object(pairs.collect())
        };
        Value::Array(self.rows.iter().map(object).collect())
    }
}

/// Whether standard error takes colours: a terminal, and nobody said no (`NO_COLOR`).
pub(crate) fn colors_on_stderr() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// A value as a YAML document.
pub(crate) fn to_yaml(value: &Value) -> String {
    yaml::render(value)
}

/// Writes what commands have to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    format: Format,
    color: bool,
}

impl Printer {
    /// A printer for this format; not given: a table on a terminal, plain columns elsewhere.
    pub(crate) fn new(format: Option<Format>) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let format = format.unwrap_or(if terminal { Format::Table } else { Format::Plain });
        let color = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
        Self { format, color }
    }

    /// Whether standard output takes colours.
    pub(crate) fn color(self) -> bool {
        self.color
    }

    /// Whether programs read the output.
    pub(crate) fn is_for_programs(self) -> bool {
        matches!(self.format, Format::Json | Format::Yaml)
    }

    /// Writes rows.
    pub(crate) fn rows(self, rows: &Rows) -> Result<(), Failure> {
        if rows.rows.is_empty() && !self.is_for_programs() {
            self.note("nothing found");
            return Ok(());
        }
        match self.format {
            Format::Table => self.text(&table::framed(rows, self.color)),
            Format::Plain => self.text(&table::plain(rows)),
            Format::Json | Format::Yaml => self.value(&rows.to_json()),
        }
    }

    /// Writes rows of many columns: in a frame, each as a list of its properties, for a screen is not that wide.
    pub(crate) fn records(self, rows: &Rows) -> Result<(), Failure> {
        if self.format != Format::Table {
            return self.rows(rows);
        }
        let mut properties = Rows::new(&["property_name", "property_value"]);
        for row in &rows.rows {
            for (name, cell) in rows.columns.iter().zip(row) {
                properties.push(vec![Cell::text(name), cell.clone()]);
            }
        }
        self.rows(&properties)
    }

    /// Writes a value: as YAML where that was asked for, else as JSON.
    pub(crate) fn value(self, value: &Value) -> Result<(), Failure> {
        match self.format {
            Format::Yaml => self.text(&yaml::render(value)),
            _ => self.text(&format!("{value:#}\n")),
        }
    }

    /// Writes text as it is.
    #[expect(clippy::unused_self, reason = "who has no printer has nothing to print")]
    pub(crate) fn text(self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }

    /// Writes what a task prints, while it does: to standard output, or to standard error where programs read the data.
    pub(crate) fn live(self, text: &str) -> Result<(), Failure> {
        if !self.is_for_programs() {
            return self.text(text);
        }
        // Nobody is left to be told when standard error is gone.
        let _ = std::io::stderr().write_all(text.as_bytes());
        Ok(())
    }

    /// Says something on standard error that is not data.
    #[expect(clippy::unused_self, reason = "who has no printer has nothing to print")]
    pub(crate) fn note(self, text: impl Display) {
        // Nobody is left to be told when standard error is gone.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}
