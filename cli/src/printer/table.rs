//! Rows as columns.

use super::{Cell, Rows};
use comfy_table::{Cell as Framed, Color, ContentArrangement, Table, presets};

/// Columns in a frame, as wide as the terminal allows.
pub(super) fn framed(rows: &Rows, color: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(rows.columns.clone());
    for row in &rows.rows {
        table.add_row(row.iter().map(|cell| {
            let framed = Framed::new(one_line(&cell.to_text()));
            match cell {
                Cell::State(Some(state)) if color => color_of(state).map_or(framed.clone(), |c| framed.fg(c)),
                _ => framed,
            }
        }));
    }
    format!("{table}\n")
}

/// How wide a plain column gets at most for the sake of the others; what is longer sticks out.
const WIDTH_MAX: usize = 120;

/// Columns apart by two spaces, a line a row, however wide.
pub(super) fn plain(rows: &Rows) -> String {
    let header = rows.columns.iter().map(|name| (*name).to_owned()).collect();
    let body = rows.rows.iter().map(|row| row.iter().map(|cell| escaped(&cell.to_text())).collect());
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(body).collect();
    // One long value is not to pad every other row.
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0).min(WIDTH_MAX);
    let widths: Vec<usize> = (0..rows.columns.len()).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(text, width)| padded(text, *width)).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// A text with spaces up to a width; a longer one stays whole.
fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.chars().count());
    format!("{text}{}", " ".repeat(missing))
}

/// Line breaks stay in a frame; other control characters could move the cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

/// A row must stay one line where lines are counted.
fn escaped(text: &str) -> String {
    text.replace('\n', "\\n").chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn color_of(state: &str) -> Option<Color> {
    Some(match state {
        "success" => Color::Green,
        "failed" | "upstream_failed" => Color::Red,
        "running" | "restarting" => Color::Cyan,
        "queued" | "scheduled" | "up_for_retry" | "up_for_reschedule" => Color::Yellow,
        "skipped" | "removed" => Color::DarkGrey,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows {
        let mut rows = Rows::new(&["task_id", "state"]);
        rows.push(vec![Cell::text("a\tb\nc"), Cell::State(Some("success"))]);
        rows.push(vec![Cell::text("long_name"), Cell::State(None)]);
        rows
    }

    #[test]
    fn plain_rows_are_lines() {
        assert_eq!(plain(&rows()), "task_id    state\na b\\nc     success\nlong_name  none\n");
    }

    #[test]
    fn colours_are_escapes_only_when_wanted() {
        assert!(!framed(&rows(), false).contains('\x1b'));
        assert!(framed(&rows(), false).contains("success"));
    }
}
