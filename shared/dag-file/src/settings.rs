//! A DAG's own settings: what is neither its times nor its tasks.

use crate::callbacks;
use crate::callbacks::is_dotted_path;
use crate::json::as_written;
use crate::params::params;
use crate::paths::Paths;
use crate::reader::Cursor;
use crate::task::Fields;
use crate::yaml::Value;
use crate::yaml::compose::clip;
use serde_json::{Map as JsonMap, Value as Json};
use std::collections::BTreeSet;
use updraft_model::Dag;

/// Puts in what a DAG says about itself.
pub(crate) fn apply(dag: &mut Dag, fields: &Fields<'_>, paths: Paths<'_>) {
    let given = |name| fields.get(name).filter(|c| !c.is_none() && !c.is_not_given());
    let text = |name| fields.get(name).filter(|c| !c.is_null()).and_then(Cursor::text).map(str::to_owned);
    let flag = |name| given(name).and_then(Cursor::boolean);
    let count = |name| given(name).and_then(|c| c.count(1));
    dag.description = text("description");
    dag.doc_md = documentation(fields, paths).or_else(|| text("doc_md"));
    dag.dag_display_name = text("dag_display_name");
    dag.catchup = flag("catchup").unwrap_or(dag.catchup);
    dag.rerun_with_latest_version = flag("rerun_with_latest_version");
    // Of an older and a newer name only one is left here.
    dag.fail_fast = flag("fail_fast").or_else(|| flag("fail_stop")).unwrap_or(false);
    dag.render_template_as_native_obj = flag("render_template_as_native_obj").unwrap_or(false);
    dag.is_paused_upon_creation = flag("is_paused_upon_creation");
    dag.max_active_runs = count("max_active_runs");
    dag.max_active_tasks = count("max_active_tasks").or_else(|| count("concurrency"));
    let failed_runs = given("max_consecutive_failed_dag_runs").and_then(|c| c.count(0));
    dag.max_consecutive_failed_dag_runs = failed_runs.unwrap_or(0);
    let timeout = given("dagrun_timeout").or_else(|| given("dagrun_timeout_sec"));
    dag.dagrun_timeout = timeout.and_then(Cursor::duration_above_zero);
    if let Some(params) = fields.get("params").and_then(params) {
        (dag.params, dag.param_schemas) = (params.values, params.schemas);
    }
    let tags = given("tags").map(Cursor::texts).unwrap_or_default();
    dag.tags = distinct(tags.into_iter().map(|(tag, _)| tag));
    if let Some(links) = given("owner_links")
        && let Some(map) = links.mapping()
    {
        let link = |(owner, cursor): (&str, Cursor<'_>)| Some((owner.to_owned(), cursor.text()?.to_owned()));
        dag.owner_links = links.pairs(map).into_iter().filter_map(link).collect();
    }
    callbacks::apply(&mut dag.callbacks, fields.iter().map(|(n, c)| (*n, c)), paths);
    templates(dag, fields, paths);
}

/// Each text once, in order of appearance.
pub(crate) fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    texts.filter(|text| seen.insert(*text)).map(str::to_owned).collect()
}

/// Documentation that lies in a file of its own. A missing file is no reason to do without the DAG.
fn documentation(fields: &Fields<'_>, paths: Paths<'_>) -> Option<String> {
    let cursor = fields.get("doc_md_file_path").filter(|c| !c.is_none())?;
    let path = cursor.text()?;
    let (code, why) = match paths.resolve(path) {
        Err(why) => ("bad-path", why),
        Ok(resolved) => match cursor.sink.companion(&resolved) {
            None => ("missing-file", "is not there"),
            Some(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => return Some(text.to_owned()),
                Err(_) => ("not-utf8", "is not UTF-8"),
            },
        },
    };
    let hint = "name a file in the DAG folder, relative to this one";
    cursor.warn(code, format!("the documentation `{}` {why}", clip(path)), Some(hint.into()));
    None
}

/// How templates are read.
fn templates(dag: &mut Dag, fields: &Fields<'_>, paths: Paths<'_>) {
    let given = |name| fields.get(name).filter(|c| !c.is_none() && !c.is_not_given());
    dag.templates.undefined = given("template_undefined").and_then(Cursor::text).map(str::to_owned);
    if let Some(cursor) = given("template_searchpath") {
        let folders = match &cursor.node.value {
            Value::Text(text) => vec![(&**text, cursor.clone())],
            _ => cursor.texts(),
        };
        for (folder, at) in folders {
            match paths.resolve(folder) {
                Ok(folder) => dag.templates.searchpath.push(folder),
                // The DAG folder itself.
                Err("names no file") => dag.templates.searchpath.push(String::new()),
                Err(why) => {
                    let hint = "name a folder in the DAG folder, relative to this file";
                    at.warn("bad-path", format!("`{}` {why}; it is not searched", clip(folder)), Some(hint.into()));
                }
            }
        }
    }
    for (name, target) in
        [("user_defined_macros", &mut dag.templates.macros), ("user_defined_filters", &mut dag.templates.filters)]
    {
        if let Some(cursor) = given(name)
            && let Some(names) = functions(cursor)
        {
            *target = names;
        }
    }
    if let Some(cursor) = given("jinja_environment_kwargs")
        && cursor.mapping().is_some()
        && let Json::Object(environment) = as_written(cursor.node)
    {
        dag.templates.environment = environment;
    }
}

/// Functions by dotted paths, and other values; mappings nest.
fn functions(cursor: &Cursor<'_>) -> Option<JsonMap<String, Json>> {
    let mut found = JsonMap::new();
    for (name, value) in cursor.pairs(cursor.mapping()?) {
        let json = match &value.node.value {
            Value::Map(map) if map.get("__type__").is_none() => Json::Object(functions(&value)?),
            Value::Text(path) if !is_dotted_path(path) => {
                let hint = "write the function as `module.function`";
                let message = format!("`{}` is no dotted path to a function", clip(path));
                value.error("wrong-type", message, Some(hint.into()));
                return None;
            }
            _ => value.json_keeping()?,
        };
        found.insert(name.to_owned(), json);
    }
    Some(found)
}
