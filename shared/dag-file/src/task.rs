//! One task: its operator, its arguments, its place among the others.

use crate::argument::{self, Zone};
use crate::assets::{self, AssetFiles};
use crate::callbacks::{self, is_dotted_path, is_identifier};
use crate::common;
use crate::hitl;
use crate::keys::{self, Standing};
use crate::mapping;
use crate::others;
use crate::paths::Paths;
use crate::reader::Cursor;
use crate::sensor;
use crate::setup;
use crate::time::Moment;
use crate::yaml::compose::clip;
use crate::yaml::{Entry, Map, Value};
use jiff::Timestamp;
use serde_json::{Map as JsonMap, Value as Json};
use std::collections::BTreeMap;
use updraft_model::operators::{self, Operator};
use updraft_model::workers::FUNCTION_LIFE_MOST;
use updraft_model::{SensorSettings, Task, TaskId};
use updraft_timetables::Timezone;

/// Classes of operators that are not known here and that have moved: dag-factory's own conversion knows them, too.
const MOVED: &[(&str, &str)] = &[
    (
        "airflow.providers.cncf.kubernetes.operators.kubernetes_pod.KubernetesPodOperator",
        "airflow.providers.cncf.kubernetes.operators.pod.KubernetesPodOperator",
    ),
    (
        "airflow.contrib.operators.kubernetes_pod_operator.KubernetesPodOperator",
        "airflow.providers.cncf.kubernetes.operators.pod.KubernetesPodOperator",
    ),
];

/// Names of tasks and groups, each with the place where it stands.
pub(crate) type Names<'a> = Vec<(&'a str, Cursor<'a>)>;

/// Arguments by name.
pub(crate) type Fields<'a> = BTreeMap<&'a str, Cursor<'a>>;

/// What tasks take where they say nothing themselves: those of a group, or those of the DAG.
pub(crate) struct Defaults<'a> {
    /// A task with everything that the default arguments say.
    pub(crate) template: Task,
    /// What copying `template` costs.
    pub(crate) weight: u32,
    /// By name, for operators' own arguments.
    pub(crate) fields: Fields<'a>,
}

/// What the tasks of a DAG have in common.
pub(crate) struct TaskContext<'a, 's> {
    /// Those of the DAG first, then those of each group in the order of the groups.
    pub(crate) defaults: Vec<Defaults<'a>>,
    pub(crate) zone: &'s Timezone,
    pub(crate) now: Timestamp,
    pub(crate) paths: Paths<'s>,
    pub(crate) asset_files: AssetFiles<'s>,
    /// The id of each task by its name in the file.
    pub(crate) ids: BTreeMap<&'a str, String>,
    /// For each group the arguments of the mapped group that it is or is in, if any.
    pub(crate) mapped_groups: Vec<Option<Vec<String>>>,
}

/// A task that still names its upstreams.
pub(crate) struct Draft<'a> {
    pub(crate) task: Task,
    /// As the file names it.
    pub(crate) name: &'a str,
    /// Where the task's name stands.
    pub(crate) cursor: Cursor<'a>,
    /// The place of the innermost group around it.
    pub(crate) group: Option<usize>,
    pub(crate) dependencies: Names<'a>,
    pub(crate) start: Option<Moment>,
    pub(crate) end: Option<Moment>,
}

/// A task's name, its place, and the group around it, before anything inside is read.
pub(crate) struct Heading<'a> {
    pub(crate) name: &'a str,
    pub(crate) cursor: Cursor<'a>,
    pub(crate) group: Option<usize>,
    /// The id of that group.
    pub(crate) group_id: Option<String>,
    pub(crate) task_id: String,
}

/// Reads one task.
pub(crate) fn task<'a>(heading: Heading<'a>, context: &TaskContext<'a, '_>) -> Option<Draft<'a>> {
    let Heading { name, cursor, group, group_id, task_id } = heading;
    let task_id = match TaskId::parse(&task_id) {
        Ok(id) => id,
        Err(error) => {
            cursor.key_error("bad-id", error.to_string(), None);
            return None;
        }
    };
    let map = cursor.mapping()?;
    // Missing where its group's were too large, which is noted.
    let defaults = context.defaults.get(group.map_or(0, |g| g + 1))?;
    if !cursor.sink.may_copy(defaults.weight) {
        cursor.error("too-large", "`default_args`, copied into all tasks, take too much space", None);
        return None;
    }
    let mut draft = Draft {
        task: Task { task_id, group: group_id, ..defaults.template.clone() },
        name,
        cursor: cursor.clone(),
        group,
        dependencies: Vec::new(),
        start: None,
        end: None,
    };
    let mut fields = fields(&cursor, map);
    common::settle_old(&mut fields, keys::TASK);
    let operator = operator(&cursor, map, &mut draft.task);
    let mut reader =
        Reader { context, defaults, operator, own: Fields::new(), expanded: Fields::new(), takes_any: false, draft };
    for (name, value) in &fields {
        reader.field(name, value);
    }
    reader.mapped(&fields);
    reader.rule_of_mapped();
    callbacks::apply(&mut reader.draft.task.callbacks, fields.iter().map(|(n, c)| (*n, c)), context.paths);
    reader.sensor();
    match operator {
        Some(operator) => reader.known_arguments(operator),
        None => reader.unknown_arguments(),
    }
    setup::settle(&mut reader.draft.task, &fields);
    let says_outputs = fields.contains_key("multiple_outputs") || defaults.fields.contains_key("multiple_outputs");
    warn_of_long_life(&fields, &reader.draft);
    if let Some(operator) = operator {
        hitl::check(&reader.draft.task, operator, &fields, &cursor);
        others::check(operator, &fields);
    }
    let task = &mut reader.draft.task;
    task.multiple_outputs_as_annotated = task.decorator.is_some() && !says_outputs;
    task.has_effects = !(task.callbacks.is_empty() && task.inlets.is_empty() && task.outlets.is_empty());
    Some(reader.draft)
}

/// Says of a task that no function can run to its end. It loads all the same: a machine can.
fn warn_of_long_life(fields: &Fields<'_>, draft: &Draft<'_>) {
    let task = &draft.task;
    let Some(timeout) = task.execution_timeout.filter(|timeout| *timeout > FUNCTION_LIFE_MOST) else { return };
    if task.holds_its_worker() {
        let (most, minutes) = (FUNCTION_LIFE_MOST.as_secs() / 60, timeout.as_secs_f64() / 60.0);
        let message = format!(
            "`execution_timeout` is {minutes} minutes; on AWS a worker lives for {most}, so the task fails there at its start"
        );
        let hint =
            "make it shorter, or cut the task in several; on one machine (`updraft standalone`) it runs as it is";
        let place = fields.get("execution_timeout").unwrap_or(&draft.cursor);
        place.warn("outlives-functions", message, Some(hint.to_owned()));
    }
}

/// The pairs of a task; those under `partial` among them, which are the task's own as well.
fn fields<'a>(cursor: &Cursor<'a>, map: &'a Map) -> Fields<'a> {
    let mut fields: Fields<'a> = cursor.pairs(map).into_iter().collect();
    let Some(partial) = fields.get("partial").filter(|c| !c.is_none()).cloned() else { return fields };
    let Some(inside) = partial.mapping() else { return fields };
    let is_given = |name: &str| fields.get(name).is_some_and(|c| !c.is_none());
    if !is_given("expand") && !is_given("expand_kwargs") {
        let message = "`partial` has no effect of its own without `expand`; its arguments are read as the task's";
        partial.warn("ignored-key", message, Some("move the arguments one level up".into()));
    }
    for (name, value) in partial.pairs(inside) {
        if fields.contains_key(name) {
            let message = format!("`{}` is given both here and by the task itself", clip(name));
            value.key_error("duplicate-argument", message, Some("remove one of the two".into()));
        } else {
            fields.insert(name, value);
        }
    }
    fields
}

fn operator(cursor: &Cursor<'_>, map: &Map, task: &mut Task) -> Option<&'static Operator> {
    let is_given =
        |value: &Value| !matches!(value, Value::Null) && !matches!(value, Value::Text(t) if t.trim().is_empty());
    let given = |key: &str| map.entry(key).filter(|e| is_given(&e.value.value));
    let (entry, is_decorator) = match (given("operator"), given("decorator")) {
        (Some(entry), _) => (entry, false),
        (None, Some(entry)) => (entry, true),
        (None, None) => {
            let is_near =
                |e: &&Entry| &*e.name != "operator" && cursor.sink.did_you_mean(&e.name, ["operator"]).is_some();
            let hint = match map.entries().iter().find(is_near) {
                Some(entry) => format!("did you mean `operator` instead of `{}`?", clip(&entry.name)),
                None => "add one, e.g. `operator: BashOperator`".to_owned(),
            };
            cursor.key_error("missing-key", format!("the task `{}` has no `operator`", task.task_id), Some(hint));
            return None;
        }
    };
    let Value::Text(name) = &entry.value.value else {
        let message = format!("`{}` must be a class name, but is {}", entry.name, entry.value.value.kind());
        let hint = Some("write e.g. `operator: BashOperator`".into());
        Cursor { node: &entry.value, ..cursor.clone() }.error("wrong-type", message, hint);
        return None;
    };
    let name = name.trim();
    let here = Cursor { node: &entry.value, key_at: entry.value.at, ..cursor.clone() };
    if is_decorator {
        name.clone_into(task.decorator.insert(String::new()));
        let class = mapping::operator_of(name);
        class.unwrap_or(name).clone_into(&mut task.operator);
        let found = class.and_then(operators::find);
        if found.is_none() {
            let message = format!("the decorator `{}` is not known here; the task will fail when it runs", clip(name));
            here.warn(
                "unknown-operator",
                message,
                Some("known is `airflow.sdk.task`, with `.branch` and others after it".into()),
            );
        }
        return found;
    }
    let name = MOVED.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| *new);
    let found = operators::find(name);
    found.map_or(name, |o| o.class_path).clone_into(&mut task.operator);
    if found.is_none() {
        let short = name.rsplit('.').next().unwrap_or(name);
        let known = || operators::all().iter().filter(|o| !o.abstract_base).map(Operator::short_name);
        // `bash` is far from `BashOperator` by letters, and near it for people.
        let whole = |name: &&str| {
            ["operator", "sensor"].iter().any(|kind| name.eq_ignore_ascii_case(&format!("{short}{kind}")))
        };
        let hint = match known().find(whole) {
            Some(meant) => Some(format!("did you mean `{meant}`?")),
            None => cursor.sink.did_you_mean(short, known()),
        };
        let message = format!("the operator `{}` is not known here; the task will fail when it runs", clip(name));
        here.warn("unknown-operator", message, hint);
    }
    if let Some(found) = found {
        warn_of_operator(name, found, &here);
    }
    found
}

/// Says what a person would want to know of an operator that loads: that its name is of an earlier release, that it will not run.
fn warn_of_operator(name: &str, operator: &Operator, here: &Cursor<'_>) {
    // The asynchronous variants of some sensors are no older names.
    if operator.old_class_paths.contains(&name) && !name.ends_with("Async") {
        let message = format!("`{}` is a class path of an earlier release, which Airflow 3 no longer has", clip(name));
        here.warn("old-class-path", message, Some(format!("write `{}`", operator.class_path)));
    }
    if operator.runner == operators::Runner::Deferred && !operator.abstract_base {
        let message = format!(
            "`{}` is known and its arguments are checked, but this version cannot run it: the task will fail when it runs",
            operator.short_name()
        );
        let hint = "call the service from a BashOperator or PythonOperator meanwhile";
        here.warn("operator-not-run", message, Some(hint.to_owned()));
    }
}

/// Names of upstreams: a list, or one name (of which dag-factory would take each letter for a task).
pub(crate) fn dependencies<'a>(value: &Cursor<'a>) -> Names<'a> {
    match &value.node.value {
        _ if value.is_none() => Vec::new(),
        Value::Text(text) => {
            let hint = Some(format!("write `[{}]`", clip(text)));
            value.warn("not-a-list", "`dependencies` should be a list; the text is taken for one task", hint);
            vec![(text, value.clone())]
        }
        _ => value.texts(),
    }
}

/// A task on its way.
struct Reader<'a, 'c, 's> {
    context: &'c TaskContext<'a, 's>,
    defaults: &'c Defaults<'a>,
    operator: Option<&'static Operator>,
    /// Arguments that are the operator's own, or unknown.
    own: Fields<'a>,
    /// Arguments that the task is expanded over.
    expanded: Fields<'a>,
    /// Whether values bring arguments of any names (`expand_kwargs`).
    takes_any: bool,
    draft: Draft<'a>,
}

impl<'a> Reader<'a, '_, '_> {
    fn field(&mut self, name: &'a str, value: &Cursor<'a>) {
        // An operator's own argument wins over a general one of the same name.
        let is_own = self.operator.is_some_and(|o| o.argument(name).is_some());
        match keys::find(keys::TASK, name).filter(|_| !is_own) {
            None => drop(self.own.insert(name, value.clone())),
            Some(_) if common::STRUCTURE.contains(&name) => self.structure(name, value),
            Some(key) if callbacks::is_key(key.name) => {}
            Some(_) => common::apply(&mut self.draft.task, value),
        }
    }

    fn structure(&mut self, name: &str, value: &Cursor<'a>) {
        let (draft, context) = (&mut self.draft, self.context);
        match name {
            "dependencies" => draft.dependencies = dependencies(value),
            "start_date" | "end_date" if value.is_none() || value.is_not_given() => {}
            "start_date" => {
                draft.start = value.moment(context.zone, context.now);
                draft.task.start_date = draft.start.as_ref().map(|m| m.at);
            }
            "end_date" => {
                draft.end = value.moment(context.zone, context.now);
                draft.task.end_date = draft.end.as_ref().map(|m| m.at);
            }
            "task_id" => {
                if let Some(id) = value.text().filter(|id| *id != draft.name) {
                    let message = format!("`task_id` is `{}`, but the key `{}` is the task's id", clip(id), draft.name);
                    value.warn("ignored-key", message, Some("remove `task_id`, or make both the same".into()));
                }
            }
            "is_setup" => draft.task.is_setup = setup::flag(value),
            "is_teardown" => draft.task.is_teardown = setup::flag(value),
            "on_failure_fail_dagrun" => draft.task.on_failure_fail_dagrun = setup::flag(value),
            "inlets" | "outlets" => {
                let Some(references) = assets::references(value, context.asset_files) else { return };
                let target = if name == "inlets" { &mut draft.task.inlets } else { &mut draft.task.outlets };
                *target = references;
            }
            // `operator`, `decorator` and `partial` were read before, `expand` is read after; groups and variables stand above.
            _ => {}
        }
    }

    /// What the task is expanded over.
    fn mapped(&mut self, fields: &Fields<'a>) {
        let given = |name: &str| fields.get(name).filter(|c| !c.is_none());
        let Some(at) = given("expand").or_else(|| given("expand_kwargs")) else { return };
        if let Some(expand) = given("expand")
            && let Value::Map(map) = &expand.node.value
        {
            self.expanded = expand.pairs(map).into_iter().collect();
        }
        self.takes_any = given("expand_kwargs").is_some();
        let found = mapping::mapping(given("expand"), given("expand_kwargs"), self.context);
        let Some((mut mapping, upstreams)) = found else { return };
        for name in self.expanded.keys() {
            let Some(given) = fields.get(name) else { continue };
            let message = format!("`{}` is given both here and under `expand`", clip(name));
            given.key_error("duplicate-argument", message, Some("remove one of the two".into()));
        }
        for (name, value) in &self.expanded {
            let is_own = self.operator.is_some_and(|o| o.argument(name).is_some());
            if !is_own && keys::find(keys::TASK, name).is_some_and(|key| !matches!(key.standing, Standing::Old(_))) {
                let message =
                    format!("a task cannot be expanded over `{}`: it is the same for all its instances", clip(name));
                value.key_error("not-possible", message, Some("give it beside `expand`".into()));
            }
        }
        if let Some(Value::Map(map)) = fields.get("partial").map(|c| &c.node.value) {
            mapping.partial = map.entries().iter().map(|e| e.name.to_string()).collect();
        }
        if self.group_arguments().is_some() {
            let message = "a mapped task inside of a mapped group is not possible, as in Airflow";
            let hint = "expand the group over both, or move the task out of the group";
            at.key_error("not-possible", message, Some(hint.into()));
        }
        self.draft.task.mapping = Some(mapping);
        self.draft.dependencies.extend(upstreams);
    }

    /// The arguments of the mapped group around the task, if there is one.
    fn group_arguments(&self) -> Option<&[String]> {
        self.context.mapped_groups.get(self.draft.group?)?.as_deref()
    }

    /// The value of the group's argument that a text stands for: `+name` inside of a mapped group.
    fn of_group(&self, value: &Cursor<'a>) -> Option<Json> {
        let Value::Text(text) = &value.node.value else { return None };
        mapping::of_group(text, self.group_arguments()?)
    }

    /// What goes wrong with a mapped task, or one in a mapped group, whose rule does not wait for the values.
    fn rule_of_mapped(&self) {
        let task = &self.draft.task;
        let takes_values = task.mapping.as_ref().is_some_and(|m| m.inputs().any(|input| !input.sources().is_empty()));
        if task.trigger_rule == updraft_model::TriggerRule::Always && (takes_values || self.group_arguments().is_some())
        {
            let message = "trigger rule `always` does not wait for the values that the task is expanded over, so that it cannot be expanded";
            self.draft.cursor.key_error(
                "not-possible",
                message,
                Some("use another trigger rule, e.g. `all_done`".into()),
            );
        }
    }

    /// How it waits, if it is a sensor.
    fn sensor(&mut self) {
        if !self.operator.is_some_and(|o| o.sensor) {
            return;
        }
        let mut settings = SensorSettings::default();
        // What the task says itself comes last, and wins.
        for (name, value) in &self.defaults.fields {
            if !self.own.contains_key(name) {
                sensor::apply(&mut settings, name, value);
            }
        }
        let own = std::mem::take(&mut self.own);
        for (name, value) in own {
            if !sensor::apply(&mut settings, name, &value) {
                self.own.insert(name, value);
            }
        }
        sensor::check(&settings, &self.draft.cursor);
        self.draft.task.sensor = Some(settings);
    }

    /// Arguments of an operator that nobody here knows: kept as they are.
    fn unknown_arguments(&mut self) {
        for (name, value) in &self.own {
            if let Some(json) = value.json_keeping() {
                self.draft.task.arguments.insert((*name).to_owned(), json);
            }
        }
        self.files_of_callables();
    }

    /// Checks and takes the arguments of an operator from the registry.
    fn known_arguments(&mut self, operator: &'static Operator) {
        let cursor = self.draft.cursor.clone();
        if operator.abstract_base {
            let message =
                format!("`{}` is only a base for other operators: such a task cannot run", operator.short_name());
            cursor.key_error("abstract-operator", message, Some("name one of the operators made from it".into()));
            return;
        }
        let is_decorated = self.draft.task.decorator.is_some();
        let mut call = JsonMap::new();
        for (name, value) in &self.own {
            if operator.argument(name).is_some() {
                continue;
            }
            if is_decorated {
                // An argument of the function.
                if let Some(json) = self.of_group(value) {
                    call.insert((*name).to_owned(), json);
                    continue;
                }
                let json = match mapping::argument(value, self.context) {
                    mapping::Argument::Handed(handed) => {
                        self.draft.dependencies.push((handed.name, value.clone()));
                        Some(handed.json())
                    }
                    mapping::Argument::Unknown => None,
                    mapping::Argument::Plain => value.json_keeping(),
                };
                call.extend(json.map(|json| ((*name).to_owned(), json)));
                continue;
            }
            unknown_argument(operator, value);
        }
        if !is_decorated {
            let known = |name: &str| operator.argument(name).is_some() || keys::find(keys::TASK, name).is_some();
            for (_, value) in self.expanded.iter().filter(|(name, _)| !known(name)) {
                unknown_argument(operator, value);
            }
        }
        for argument in &operator.arguments {
            let value = self.own.get(argument.name).or_else(|| self.defaults.fields.get(argument.name));
            // Of sensors these are settings, read before.
            let is_setting = operator.sensor && operators::SENSOR_ARGUMENTS.iter().any(|a| a.name == argument.name);
            // The word `None` as Amazon's converter writes it; where something must be given it may be meant as text.
            let says_nothing = |v: &Cursor<'a>| v.is_not_given() || v.is_null() || v.is_none() && !argument.required;
            match value.filter(|v| !says_nothing(v)) {
                Some(value) => {
                    if let Some(json) = self.of_group(value) {
                        self.draft.task.arguments.insert(argument.name.to_owned(), json);
                        continue;
                    }
                    let zone = Zone { zone: self.context.zone, now: self.context.now };
                    if let Some(json) = argument::read(value, argument, operator, &zone) {
                        self.draft.task.arguments.insert(argument.name.to_owned(), json);
                    }
                }
                None if argument.required
                    && !is_setting
                    && !self.takes_any
                    && !self.expanded.contains_key(argument.name) =>
                {
                    let message = format!("`{}` needs the argument `{}`", operator.short_name(), argument.name);
                    let hint = format!("add `{}: ...`{}", argument.name, said_of(argument.doc));
                    cursor.key_error("missing-argument", message, Some(hint));
                }
                None => {}
            }
        }
        if !call.is_empty() {
            match self.draft.task.arguments.entry("op_kwargs").or_insert_with(|| Json::Object(JsonMap::new())) {
                Json::Object(kwargs) => kwargs.extend(call),
                other => *other = Json::Object(call),
            }
        }
        self.files_of_callables();
        if operator.calls_python() && !self.takes_any && !self.expanded.contains_key("python_callable") {
            self.python_callable(operator);
        }
    }

    fn given(&self, name: &str) -> Option<&Cursor<'a>> {
        self.own.get(name).or_else(|| self.defaults.fields.get(name)).filter(|v| !v.is_null())
    }

    /// Functions that are named by a name and a file: the file belongs to the DAG's version.
    fn files_of_callables(&mut self) {
        let names: Vec<String> = self.draft.task.arguments.keys().filter(|k| k.ends_with("_file")).cloned().collect();
        for key in names {
            let stem = key.trim_end_matches("_file");
            let has_name = self.draft.task.arguments.get(&format!("{stem}_name")).is_some_and(Json::is_string);
            let Some(file) = self.given(&key).filter(|_| has_name) else { continue };
            if let Value::Text(text) = &file.node.value {
                let path = self.context.paths.of_version(file, text);
                self.draft.task.arguments.insert(key, path.into());
            }
        }
    }

    /// Checks how the function is named: a dotted path, or its name and a file in the DAG folder.
    fn python_callable(&self, operator: &Operator) {
        if let Some(value) = self.given("python_callable") {
            let Value::Text(path) = &value.node.value else { return };
            if path.contains("<lambda>") || path.contains("<locals>") {
                let message = format!(
                    "the function of `{}` has no name by which it can be found; the task will fail when it runs",
                    clip(path)
                );
                value.warn("bad-callable", message, Some("give the function a name of its own in its module".into()));
            } else if !is_dotted_path(path) {
                let message = format!("`{}` is no dotted path to a function", clip(path));
                let hint = "write `module.function`, or use `python_callable_name` with `python_callable_file`";
                value.error("wrong-type", message, Some(hint.into()));
            }
            return;
        }
        let (Some(name), Some(_)) = (self.given("python_callable_name"), self.given("python_callable_file")) else {
            let what = self.draft.task.decorator.as_deref().unwrap_or_else(|| operator.short_name());
            let message = format!(
                "`{what}` needs `python_callable`, or `python_callable_name` together with `python_callable_file`"
            );
            self.draft.cursor.key_error("missing-argument", message, None);
            return;
        };
        if let Value::Text(text) = &name.node.value
            && !is_identifier(text)
        {
            name.error("wrong-type", format!("`{}` is no name of a function", clip(text)), None);
        }
    }
}

fn unknown_argument(operator: &Operator, value: &Cursor<'_>) {
    let of_sensors = if operator.sensor { operators::SENSOR_ARGUMENTS } else { &[] };
    let known = operator.arguments.iter().chain(of_sensors).map(|a| a.name);
    let common = keys::TASK.iter().filter(|k| !matches!(k.standing, Standing::Old(_))).map(|k| k.name);
    let meant = WORDS.iter().find(|(word, meant)| {
        let is_argument = |name: &str| operator.argument(name).is_some() || keys::find(keys::TASK, name).is_some();
        *word == &*value.name && is_argument(meant)
    });
    let hint = match meant {
        Some((_, meant)) => Some(format!("did you mean `{meant}`?")),
        None => value.sink.did_you_mean(&value.name, known.chain(common)),
    };
    let hint = hint.unwrap_or_else(|| {
        if &*value.name == "provide_context" {
            return "remove it: callables always get the context that they name".to_owned();
        }
        let own: Vec<String> = operator.arguments.iter().map(|a| format!("`{}`", a.name)).collect();
        let own = if own.is_empty() { "nothing of its own".to_owned() } else { own.join(", ") };
        format!("it takes {own}, and what every task takes, such as `retries` and `dependencies`")
    });
    let message = format!("`{}` has no argument `{}`", operator.short_name(), value.name);
    value.key_error("unknown-argument", message, Some(hint));
}

/// Words of other tools, and those that come to mind, with the arguments they stand for.
pub(crate) const WORDS: &[(&str, &str)] = &[
    ("retry", "retries"),
    ("max_retries", "retries"),
    ("depends_on", "dependencies"),
    ("depends", "dependencies"),
    ("needs", "dependencies"),
    ("upstream", "dependencies"),
    ("upstream_tasks", "dependencies"),
    ("command", "bash_command"),
    ("cmd", "bash_command"),
    ("script", "bash_command"),
    ("run", "bash_command"),
    ("group", "task_group_name"),
    ("task_group", "task_group_name"),
    ("timeout", "execution_timeout"),
    ("function", "python_callable"),
    ("callable", "python_callable"),
    ("args", "op_args"),
    ("kwargs", "op_kwargs"),
    ("url", "endpoint"),
];

/// What an argument is for, to stand after its name.
fn said_of(doc: &str) -> String {
    if doc.is_empty() { String::new() } else { format!(", {doc}") }
}
