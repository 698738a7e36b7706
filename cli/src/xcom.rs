//! `updraft xcom ...`

use crate::failure::{Failure, did_you_mean};
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::{Cell, Printer, Rows};
use crate::tasks::OfRun;
use clap::Subcommand;
use serde_json::Value;
use updraft_service::engine::near;

/// What to do with XComs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what the tasks of a run returned or pushed
    List {
        #[command(flatten)]
        run: OfRun,
    },
    /// Print one value: text as it is, anything else as JSON; with `--output json` always as JSON
    Get {
        #[command(flatten)]
        run: OfRun,

        /// The task's id
        task_id: String,

        /// The value's key
        #[arg(long, default_value = updraft_execution::RETURN_VALUE)]
        key: String,

        /// The instance, if the task is mapped; without it the values of all its instances are a list
        #[arg(long, value_name = "N")]
        map_index: Option<u32>,
    },
}

/// Does it.
pub(crate) async fn run(command: Command, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let session = Session::open(metastore).await?;
    match command {
        Command::List { run } => list(&run, &session, printer).await,
        Command::Get { run, task_id, key, map_index } => get(&run, &task_id, &key, map_index, &session, printer).await,
    }
}

async fn list(run: &OfRun, session: &Session, printer: Printer) -> Result<(), Failure> {
    let run = run.find(session).await?;
    let of_whole = session.engine.xcoms(&session.blobs, &run, None, None).await?;
    let mapped = session.engine.mapped_xcoms(&session.blobs, &run, None, None, None).await?;
    let is_mapped = !mapped.is_empty();
    let mut columns = vec!["dag_id", "run_id", "task_id", "key", "value"];
    columns.extend(is_mapped.then_some("map_index"));
    let mut rows = Rows::new(&columns);
    let of_whole = of_whole.into_iter().map(|(task_id, key, value)| (task_id, -1, key, value));
    let mapped = mapped.into_iter().map(|x| (x.task_id, i64::from(x.map_index), x.key, x.value));
    for (task_id, map_index, key, value) in of_whole.chain(mapped) {
        let mut row = vec![
            Cell::text(&run.facts.dag_id),
            Cell::text(&run.facts.run_id),
            Cell::Text(task_id),
            Cell::Text(key),
            if printer.is_for_programs() { Cell::Json(plain(value)) } else { Cell::Text(brief(&plain(value))) },
        ];
        row.extend(is_mapped.then(|| Cell::text(map_index)));
        rows.push(row);
    }
    printer.rows(&rows)
}

async fn get(
    run: &OfRun,
    task_id: &str,
    key: &str,
    map_index: Option<u32>,
    session: &Session,
    printer: Printer,
) -> Result<(), Failure> {
    let run = run.find(session).await?;
    let mapped = session.engine.mapped_xcoms(&session.blobs, &run, Some(task_id), map_index, Some(key)).await?;
    let mut values = mapped.into_iter().map(|found| found.value);
    let found = match map_index {
        Some(_) => values.next(),
        None => match values.collect::<Vec<Value>>() {
            values if values.is_empty() => {
                let found = session.engine.xcoms(&session.blobs, &run, Some(task_id), Some(key)).await?;
                found.into_iter().next().map(|(_, _, value)| value)
            }
            values => Some(Value::Array(values)),
        },
    };
    match found.map(plain) {
        Some(Value::String(text)) if !printer.is_for_programs() => printer.text(&format!("{text}\n")),
        Some(value) => printer.value(&value),
        None => Err(absent(&run, task_id, key, session).await?),
    }
}

/// As much of a value as a line of a list has room for.
const BRIEF_CHARS: usize = 120;

/// A value as one cell of a list: text as it is, anything else as JSON, and of what is long the beginning. `xcom get` prints all of it.
fn brief(value: &Value) -> String {
    let whole = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match whole.char_indices().nth(BRIEF_CHARS) {
        Some((end, _)) => format!("{}... ({} characters)", &whole[..end], whole.chars().count()),
        None => whole,
    }
}

/// A value without the tags by which Python tasks keep what JSON has no word for: dates and decimals are text, sets are lists, and a
/// time span is its seconds.
fn plain(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        Value::Object(mut map) => {
            if map.len() == 2
                && let (Some(Value::String(_)), Some(_)) = (map.get("__type"), map.get("__var"))
            {
                let inner = map.remove("__var").unwrap_or_default();
                return match inner {
                    // A dictionary that only looks like a tag is kept inside one: its entries are values again.
                    Value::Object(entries) => Value::Object(entries.into_iter().map(|(k, v)| (k, plain(v))).collect()),
                    other => plain(other),
                };
            }
            Value::Object(map.into_iter().map(|(key, value)| (key, plain(value))).collect())
        }
        other => other,
    }
}

/// Why there is no such value.
async fn absent(run: &updraft_model::RunDoc, task_id: &str, key: &str, session: &Session) -> Result<Failure, Failure> {
    let task = session.engine.task_of_run(run, task_id).await?;
    let state = run.task_state(task);
    let failure = Failure::user(format!("the XCom `{key}` of the task `{task_id}` does not exist"));
    if !state.is_finished() {
        return Ok(failure.cause(format!("the task has not ended; its state is `{state}`")));
    }
    let known = session.engine.xcoms(&session.blobs, run, Some(task_id), None).await?;
    let keys: Vec<String> = known.into_iter().map(|(_, key, _)| key).collect();
    if keys.is_empty() {
        return Ok(failure.cause(format!("the task returned and pushed nothing; its state is `{state}`")));
    }
    let hint = did_you_mean(&near(key, keys.clone())).unwrap_or_else(|| format!("it has: `{}`", keys.join("`, `")));
    Ok(failure.hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tags_are_taken_off() {
        for (kept, shown) in [
            (json!({"__type": "datetime", "__var": "2026-01-05T00:00:00"}), json!("2026-01-05T00:00:00")),
            (json!([{"__type": "set", "__var": [1, {"__type": "decimal", "__var": "1.5"}]}]), json!([[1, "1.5"]])),
            (json!({"a": {"__type": "timedelta", "__var": 60.0}}), json!({"a": 60.0})),
            (json!({"__type": "dict", "__var": {"__type": "mine", "x": 1}}), json!({"__type": "mine", "x": 1})),
            (json!({"__type": "mine"}), json!({"__type": "mine"})),
            (json!({"__type": 1, "__var": 2}), json!({"__type": 1, "__var": 2})),
            (json!("plain"), json!("plain")),
        ] {
            assert_eq!(plain(kept.clone()), shown, "{kept}");
        }
    }

    #[test]
    fn a_list_tells_lists_from_text_and_shows_the_beginning_of_what_is_long() {
        for (value, shown) in [
            (json!([1, 2]), "[1,2]"),
            (json!("1,2"), "1,2"),
            (json!({"a": [1]}), r#"{"a":[1]}"#),
            (json!(null), "null"),
            (json!("ö".repeat(120)), &*"ö".repeat(120)),
            (json!("ö".repeat(121)), &*format!("{}... (121 characters)", "ö".repeat(120))),
        ] {
            assert_eq!(brief(&value), shown);
        }
    }
}
