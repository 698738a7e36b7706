//! The status page: plain HTML, no script, reloaded by the browser every few seconds.

use std::fmt::Write;
use updraft_clock::Clock;
use updraft_metastore::Items;
use updraft_model::run_id::isoformat;
use updraft_model::{DagRunState, RunDoc};
use updraft_service::{Engine, Error};
use updraft_task_queue::TaskQueue;

/// How many DAGs the page shows; the command line lists all.
const DAGS_MAX: usize = 200;

/// How many of a DAG's latest runs it shows.
const RUNS_MAX: usize = 10;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--ok:#1a7f37;--bad:#cf222e;--run:#0969da;--wait:#7d8590}\
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;padding:1.5rem}\
h1{font-size:1.4rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.45rem .7rem .45rem 0;border-bottom:1px solid var(--line);vertical-align:top;white-space:nowrap}\
th{font-weight:600}.quiet{color:var(--wait)}ul{list-style:none;padding:0;margin:0}\
.success{color:var(--ok)}.failed{color:var(--bad)}.running{color:var(--run)}.queued{color:var(--wait)}\
pre{overflow-x:auto;border-left:3px solid var(--bad);padding:.5rem .8rem;background:#8881}";

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A state as a mark and a word, so that it can be read without colour.
fn state(state: DagRunState) -> String {
    let mark = match state {
        DagRunState::Success => '✓',
        DagRunState::Failed => '✗',
        DagRunState::Running => '▶',
        DagRunState::Queued => '…',
    };
    format!("<span class=\"{state}\">{mark} {state}</span>")
}

fn runs(latest: &[RunDoc]) -> String {
    if latest.is_empty() {
        return "<span class=quiet>no runs yet</span>".to_owned();
    }
    let mut list = "<ul>".to_owned();
    for run in latest {
        let _ = write!(list, "<li>{} <span class=quiet>{}</span></li>", state(run.state), escape(&run.facts.run_id));
    }
    list + "</ul>"
}

/// A number of things.
fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// The page.
pub(crate) async fn render<I: Items, Q: TaskQueue, C: Clock>(engine: &Engine<I, Q, C>) -> Result<String, Error> {
    let dags = engine.all_dags().await?;
    let errors = engine.store.list_import_errors(100, None).await?.items;
    let mut html = format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=refresh content=5><title>Updraft</title><style>{STYLE}</style></head><body>\
         <h1>Updraft</h1><p class=quiet>{} · {} · {} UTC</p>",
        count(dags.len(), "DAG"),
        count(errors.len(), "import error"),
        engine.clock.now().strftime("%Y-%m-%d %H:%M:%S")
    );
    if dags.is_empty() && errors.is_empty() {
        html.push_str("<p>No DAG yet. Put a YAML file into the DAG folder; it appears here within a second.</p>");
    }
    if !errors.is_empty() {
        html.push_str("<h2>Import errors</h2>");
        for error in &errors {
            let _ = write!(html, "<p>{}</p><pre>{}</pre>", escape(&error.path), escape(&error.stack_trace));
        }
    }
    if !dags.is_empty() {
        html.push_str("<h2>DAGs</h2><div class=wide><table><tr><th>DAG<th>Schedule<th>Next run<th>Latest runs</tr>");
        for dag in dags.iter().take(DAGS_MAX) {
            let latest = engine.store.list_runs(&dag.summary.dag_id, RUNS_MAX, None).await?.items;
            let next = match &dag.doc {
                _ if dag.summary.is_stale => "file is gone".to_owned(),
                Some(doc) if doc.paused => "paused".to_owned(),
                Some(doc) => doc.next_due.map_or_else(|| "by hand".to_owned(), isoformat),
                None => String::new(),
            };
            let _ = write!(
                html,
                "<tr><td>{}<br><span class=quiet>{}</span><td>{}<td>{}<td>{}</tr>",
                escape(dag.summary.dag_id.as_str()),
                escape(&dag.summary.file),
                escape(&dag.summary.timetable),
                escape(&next),
                runs(&latest)
            );
        }
        html.push_str("</table></div>");
        if dags.len() > DAGS_MAX {
            let _ =
                write!(html, "<p class=quiet>and {} more; `updraft dags list` shows all</p>", dags.len() - DAGS_MAX);
        }
    }
    html.push_str("</body></html>");
    Ok(html)
}
