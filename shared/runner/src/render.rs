//! Template fields: files loaded, XComs fetched, Jinja rendered.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use updraft_execution::AssetContext;
use updraft_log_store::LogStore;
use updraft_metastore::Items;
use updraft_model::{Dag, Task, references, variable};
use updraft_operators::{Operator, Runner};
use updraft_service::{Error, Lookup, Work, xcoms};
use updraft_templates::{
    Context, DagFacts, Options, Renderer, Stored, Syntax, TaskFacts, TemplateError, Undefined, Wanted, XComNeeds, XComs,
};

use crate::attempt::Ended;
use crate::caller::Told;
use crate::expand::Expanded;
use crate::handed;
use crate::lookups::AttemptLookups;

/// Where templates find what they name.
pub(crate) struct Source<'a, I, L> {
    pub(crate) renderer: &'a Renderer,
    pub(crate) lookups: AttemptLookups<'a, I, L>,
    /// The arguments of the mapped group around the task.
    pub(crate) of_group: Map<String, Value>,
    /// What the task is shown of assets.
    pub(crate) assets: AssetContext,
    /// What a callback is told besides; none for a task.
    pub(crate) told: Option<Told>,
}

impl<I: Items, L: LogStore> Source<'_, I, L> {
    /// The operator's arguments with its template fields rendered. An error is the attempt's failure.
    /// What must not appear in logs is added to `secrets`.
    pub(crate) async fn render(
        &self,
        operator: &Operator,
        params: Value,
        secrets: &mut Vec<String>,
        mut expanded: Expanded,
    ) -> Result<Map<String, Value>, Ended> {
        let task = self.lookups.work.definition();
        let mut arguments = task.arguments.clone();
        expanded.add_templates(operator, task, &mut arguments);
        // Taken out before and put in after: what a task hands over is a value, and no template.
        let handed = handed::take(&mut arguments);
        let fields =
            operator.template_fields().filter_map(|name| Some((name.to_owned(), arguments.get(name)?.clone())));
        let fields: Map<String, Value> = fields.collect();
        arguments.extend(self.fields(fields, operator, params, secrets).await?);
        for (place, wanted) in handed {
            place.put(&mut arguments, self.handed(&wanted).await?);
        }
        expanded.add_values(operator, task, &mut arguments);
        Ok(arguments)
    }

    /// What another task handed over. As in Airflow, a task that returned nothing returned `None`; any other key must be there.
    async fn handed(&self, wanted: &handed::Wanted) -> Result<Value, Ended> {
        let handed::Wanted { task_id, key } = wanted;
        match self.lookups.argument(task_id, key).await {
            Ok(Some(value)) => Ok(value),
            Ok(None) if key == updraft_execution::RETURN_VALUE => Ok(Value::Null),
            Ok(None) => Err(Ended::failed(format!(
                "`{task_id}` left no XCom `{key}`, which is an argument of this task; with `multiple_outputs: true` each key of what it \
                 returns is one"
            ))),
            Err(error) => Err(Ended::failed(error.to_string())),
        }
    }

    /// Templates rendered, by their names. An error is the attempt's failure.
    pub(crate) async fn fields(
        &self,
        mut fields: Map<String, Value>,
        operator: &Operator,
        params: Value,
        secrets: &mut Vec<String>,
    ) -> Result<Map<String, Value>, Ended> {
        let work = self.lookups.work;
        let task = work.definition();
        for value in fields.values_mut() {
            load_files(value, &operator.template_ext, &work.version.plan.dag, &work.version.files)
                .map_err(Ended::failed)?;
        }
        let mut options = options(&work.version.plan.dag, task).map_err(Ended::failed_for_good)?;
        options.tagged = options.native && calls_python(operator.runner);
        Box::pin(self.rendered(&Value::Object(fields), self.context(params), &options, secrets)).await
    }

    /// What templates of the task see.
    fn context(&self, params: Value) -> Context {
        let mut context = context(self.lookups.work, params);
        context.expand.clone_from(&self.of_group);
        if let Some(told) = &self.told {
            context.exception.clone_from(&told.exception);
            context.reason.clone_from(&told.reason);
        }
        context.inlets.clone_from(&self.assets.inlets);
        context.outlets.clone_from(&self.assets.outlets);
        context.triggering_asset_events.clone_from(&self.assets.triggering);
        context
    }

    /// Renders fields, with what they pull and name.
    async fn rendered(
        &self,
        fields: &Value,
        mut context: Context,
        options: &Options,
        secrets: &mut Vec<String>,
    ) -> Result<Map<String, Value>, Ended> {
        let template = |e: TemplateError| Ended::failed(format!("a template could not be rendered: {e}"));
        let unreachable = |e: Error| Ended::failed(e.to_string());
        let task_id = self.lookups.work.definition().task_id.as_str();
        let needs = self.renderer.needs(fields, task_id, &options.syntax).map_err(template)?;
        let xcoms = self.fetch(&needs.xcoms).await.map_err(unreachable)?;
        let spelled_out = needs.variables.into_iter().map(Wanted::Variable);
        for wanted in spelled_out.chain(needs.connections.into_iter().map(Wanted::Connection)) {
            self.note(&mut context.stored, secrets, wanted).await.map_err(unreachable)?;
        }
        // What a template computes the name of is only known once it asks; each round fetches one more.
        for _ in 0..LOOKUPS_MAX {
            let wanted = match self.renderer.render(fields, &context, &xcoms, options) {
                Ok(Value::Object(rendered)) => return Ok(rendered),
                Ok(_) => return Ok(Map::new()),
                Err(TemplateError { wanted: Some(wanted), .. }) => wanted,
                Err(error) => return Err(template(error)),
            };
            self.note(&mut context.stored, secrets, wanted).await.map_err(unreachable)?;
        }
        Err(Ended::failed(format!("a template asks for more than {LOOKUPS_MAX} variables and connections")))
    }

    /// The name of a mapped instance, as `map_index_template` renders it; none where there is no such template. `added`: what the task's
    /// callable put into its context.
    ///
    /// # Errors
    /// Why it cannot be rendered.
    pub(crate) async fn instance_name(
        &self,
        params: Value,
        arguments: Map<String, Value>,
        added: Map<String, Value>,
        secrets: &mut Vec<String>,
    ) -> Result<Option<String>, String> {
        let work = self.lookups.work;
        let Some(template) = work.definition().map_index_template.clone().filter(|_| work.on_page.is_some()) else {
            return Ok(None);
        };
        let fields = serde_json::json!({ "map_index_template": template });
        let options = options(&work.version.plan.dag, work.definition())?;
        let options = Options { native: false, ..options };
        let context = Context { arguments, added, ..self.context(params) };
        let rendered = Box::pin(self.rendered(&fields, context, &options, secrets)).await;
        let rendered = rendered.map_err(|ended| ended.message.unwrap_or_default())?;
        Ok(rendered.get("map_index_template").and_then(Value::as_str).map(str::to_owned))
    }

    /// Fetches a variable or a connection for templates, and notes what must not appear in logs.
    async fn note(&self, stored: &mut Stored, secrets: &mut Vec<String>, wanted: Wanted) -> Result<(), Error> {
        let lookup = Lookup { store: self.lookups.store, environment: self.lookups.environment };
        match wanted {
            Wanted::Variable(key) => {
                let text = lookup.variable(&key).await?;
                secrets.extend(text.iter().flat_map(|text| variable::texts_to_mask(&key, text)));
                stored.note_variable(key, text);
            }
            Wanted::Connection(conn_id) => {
                let connection = lookup.connection(&conn_id).await?;
                secrets.extend(connection.iter().flat_map(updraft_model::Connection::texts_to_mask));
                stored.note_connection(conn_id, connection);
            }
        }
        Ok(())
    }

    /// Fetches what templates pull.
    async fn fetch(&self, needs: &XComNeeds) -> Result<XComs, Error> {
        let mut found = XComs::new();
        for (task_id, key) in &needs.pulls {
            found.mark_fetched(task_id, key);
            for (map_index, value) in self.lookups.rows(task_id, key, None).await? {
                found.insert(task_id, key, map_index, value);
            }
        }
        if needs.dynamic {
            let AttemptLookups { store, logs, work, .. } = &self.lookups;
            let (plan, run) = (&work.version.plan, &work.run);
            let upstream: Vec<_> = plan.tasks().filter(|t| run.cell(*t).is_final()).collect();
            for (task, attempt) in xcoms::winners(store, run, upstream.iter().copied()).await? {
                for (key, value) in &attempt.xcoms {
                    let value = xcoms::resolve(*logs, value).await?;
                    found.insert(plan.task(task).task_id.as_str(), key, -1, value);
                }
            }
            for task in upstream.iter().copied().filter(|task| plan.unit_of(*task).is_some()) {
                for page in xcoms::pages_of(store, plan, run, task).await? {
                    for (key, attempt) in store.attempts(&xcoms::winners_on(&page, task)).await? {
                        let map_index = key.map_index.and_then(|index| i32::try_from(index).ok()).unwrap_or(-1);
                        for (name, value) in &attempt.xcoms {
                            let value = xcoms::resolve(*logs, value).await?;
                            found.insert(plan.task(task).task_id.as_str(), name, map_index, value);
                        }
                    }
                }
            }
            for task in upstream {
                found.mark_complete(plan.task(task).task_id.as_str());
            }
        }
        Ok(found)
    }
}

/// The most variables and connections that one task's templates may compute the names of.
const LOOKUPS_MAX: usize = 200;

/// How templates are read and what they give, as the DAG and the task say.
fn options(dag: &Dag, task: &Task) -> Result<Options, String> {
    // A class that is not jinja2's own is taken for Airflow's default.
    let class = dag.templates.undefined.as_deref().and_then(|path| path.rsplit('.').next());
    let undefined = match class {
        Some("Undefined") => Undefined::Default,
        Some("DebugUndefined") => Undefined::Debug,
        Some("ChainableUndefined") => Undefined::Chainable,
        _ => Undefined::Strict,
    };
    let native = task.renders_native(dag);
    let syntax = Syntax::from_kwargs(&dag.templates.environment).map_err(|e| e.to_string())?;
    Ok(Options { undefined, native, tagged: false, syntax })
}

/// Whether what is rendered goes to a callable in Python, as the value it is.
fn calls_python(runner: Runner) -> bool {
    matches!(
        runner,
        Runner::Python | Runner::BranchPython | Runner::ShortCircuit | Runner::PythonSensor | Runner::DecoratedBash
    )
}

/// Values for people: dates, times and spans as their texts, tuples and sets as lists.
pub(crate) fn untagged(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(untagged).collect(),
        Value::Object(mut entries) => match (entries.len(), entries.remove("__var")) {
            (2, Some(inner)) if entries.contains_key("__type") => untagged(inner),
            (_, var) => {
                entries.extend(var.map(|var| ("__var".to_owned(), var)));
                Value::Object(entries.into_iter().map(|(name, entry)| (name, untagged(entry))).collect())
            }
        },
        other => other,
    }
}

/// Puts a file's text where a template field names the file by one of the operator's endings.
fn load_files(value: &mut Value, endings: &[&str], dag: &Dag, files: &BTreeMap<String, String>) -> Result<(), String> {
    if endings.is_empty() {
        return Ok(());
    }
    match value {
        Value::String(name) if references::is_template_file(endings, name) => {
            let candidates = references::template_files(dag, name);
            match candidates.iter().find_map(|path| files.get(path)) {
                Some(text) => text.clone_into(name),
                None => return Err(missing(name, &candidates)),
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| load_files(item, endings, dag, files)),
        Value::Object(map) => map.values_mut().try_for_each(|item| load_files(item, endings, dag, files)),
        _ => Ok(()),
    }
}

fn missing(name: &str, candidates: &[String]) -> String {
    let looked = match candidates {
        [] => "it leads out of the DAG folder".to_owned(),
        candidates => format!("the DAG folder had no `{}` when the DAG was read", candidates.join("`, `")),
    };
    format!(
        "the template file `{name}` was not found: {looked}; put the file beside the DAG's, or add a space at the end if the \
         text is no file"
    )
}

/// What templates see.
fn context(work: &Work, params: Value) -> Context {
    let facts = &work.run.facts;
    let (dag, task) = (&work.version.plan.dag, work.definition());
    Context {
        dag_id: dag.dag_id.to_string(),
        task_id: task.task_id.to_string(),
        run_id: facts.run_id.clone(),
        run_type: facts.run_type.to_string(),
        run_state: work.run.state.to_string(),
        logical_date: facts.logical_date,
        data_interval: facts.data_interval.map(|i| (i.start, i.end)),
        partition_key: facts.partition.as_ref().map(|partition| partition.key.clone()),
        partition_date: facts.partition.as_ref().map(|partition| partition.date),
        run_after: facts.run_after,
        run_start_date: work.run.start_date,
        task_start_date: Some(work.lease.since),
        ti_id: work.task_instance_id(),
        try_number: work.try_number,
        max_tries: work.max_tries(),
        map_index: work.map_index().map_or(-1, |index| i32::try_from(index).unwrap_or(i32::MAX)),
        reschedule_count: work.resumed().map_or(0, |resumed| resumed.count),
        params,
        // Airflow's conf is an empty mapping where nobody gave one.
        conf: if facts.conf.is_null() { serde_json::json!({}) } else { facts.conf.clone() },
        dag: DagFacts {
            description: dag.description.clone(),
            tags: dag.tags.clone(),
            start_date: dag.start_date,
            end_date: dag.end_date,
            catchup: dag.catchup,
            max_active_runs: dag.max_active_runs_effective(),
        },
        task: TaskFacts {
            owner: task.owner.clone(),
            pool: task.pool.clone(),
            queue: task.queue.clone(),
            retries: task.retries,
            trigger_rule: task.trigger_rule.to_string(),
        },
        now: work.lease.since,
        ..Context::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use updraft_model::{DagId, TaskId};

    #[test]
    fn templates_are_read_as_the_dag_and_its_task_say() {
        let mut dag = Dag::new(DagId::trusted("d"), vec![Task::new(TaskId::trusted("t"), "x")]);
        let of = |dag: &Dag| options(dag, &dag.tasks[0]).map(|options| (options.undefined, options.native)).unwrap();
        assert_eq!(of(&dag), (Undefined::Strict, false));
        dag.render_template_as_native_obj = true;
        dag.templates.undefined = Some("jinja2.ChainableUndefined".to_owned());
        assert_eq!(of(&dag), (Undefined::Chainable, true));
        dag.tasks[0].render_template_as_native_obj = Some(false);
        dag.templates.undefined = Some("my.Undefined2".to_owned());
        assert_eq!(of(&dag), (Undefined::Strict, false));
    }

    #[test]
    fn files_are_loaded_wherever_a_field_names_one() {
        let mut dag = Dag::new(DagId::parse("d").expect("an id"), Vec::new());
        dag.file = "team/d.yaml".to_owned();
        dag.templates.searchpath = vec!["sql".to_owned()];
        let files: BTreeMap<String, String> = [("team/run.sh", "echo {{ ds }}\n"), ("sql/deep/x.bash", "deep")]
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .into();
        let mut value = json!({"a": "run.sh", "b": ["deep/x.bash", "run.sh ", 5], "c": "echo run.sh | cat"});
        load_files(&mut value, &[".sh", ".bash"], &dag, &files).expect("all are there");
        assert_eq!(value, json!({"a": "echo {{ ds }}\n", "b": ["deep", "run.sh ", 5], "c": "echo run.sh | cat"}));
        load_files(&mut json!("no.sh"), &[], &dag, &files).expect("no ending names files");
        let said = load_files(&mut json!("no.sh"), &[".sh"], &dag, &files).unwrap_err();
        assert!(said.contains("`no.sh`") && said.contains("`team/no.sh`, `sql/no.sh`"), "{said}");
        let said = load_files(&mut json!("../no.sh"), &[".sh"], &dag, &files).unwrap_err();
        assert!(said.contains("out of the DAG folder"), "{said}");
    }
}
