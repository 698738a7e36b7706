//! How far long work has come: a bar on terminals, nothing elsewhere.

use super::colors_on_stderr;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// A bar that counts.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A bar up to `total` of something.
    pub(crate) fn new(total: u64, what: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { bar: None };
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let drawn = if colors_on_stderr() { "{bar:24.green}" } else { "{bar:24}" };
        if let Ok(style) = ProgressStyle::with_template(&format!("{drawn} {{pos}}/{{len}} {what}, {{elapsed}}")) {
            bar.set_style(style);
        }
        Self { bar: Some(bar) }
    }

    /// One more is done.
    pub(crate) fn advance(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// All is done; the bar goes away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
