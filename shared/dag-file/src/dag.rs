//! One DAG: its own settings, its defaults, its tasks.

use crate::LoadOptions;
use crate::common::{self, Kind};
use crate::reader::Cursor;
use crate::schedule;
use crate::task::{self, Draft, Paths, TaskContext};
use crate::time::Moment;
use crate::yaml::Value;
use crate::yaml::compose::clip;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use updraft_model::{Dag, DagId, Task, TaskId};
use updraft_timetables::{Timetable, Timezone};

/// Keys of a DAG that are acted on.
const KEYS: &[&str] = &[
    "schedule",
    "schedule_interval",
    "start_date",
    "end_date",
    "timezone",
    "default_args",
    "tasks",
    "task_groups",
    "params",
    "description",
    "dag_display_name",
    "tags",
    "catchup",
    "max_active_runs",
    "max_active_tasks",
    "concurrency",
    "dagrun_timeout",
    "dagrun_timeout_sec",
    "render_template_as_native_obj",
    "doc_md",
    "is_paused_upon_creation",
    "fail_fast",
];

/// Keys that are accepted and change nothing: looks, rights, holders of anchors, what dag-factory ignores too.
const NO_EFFECT: &[&str] = &["dag_id", "default_view", "orientation", "owner_links", "access_control", "vars"];

/// Keys that Airflow would act on and we do not.
const IGNORED: &[&str] = &[
    "template_searchpath",
    "user_defined_macros",
    "user_defined_filters",
    "jinja_environment_kwargs",
    "doc_md_file_path",
    "doc_md_python_callable_file",
    "doc_md_python_callable_name",
    "doc_md_python_arguments",
    "on_success_callback",
    "on_success_callback_name",
    "on_success_callback_file",
    "on_failure_callback",
    "on_failure_callback_name",
    "on_failure_callback_file",
    "on_execute_callback",
    "on_execute_callback_name",
    "on_execute_callback_file",
    "sla_miss_callback",
    "sla_miss_callback_name",
    "sla_miss_callback_file",
    "max_consecutive_failed_dag_runs",
    "deadline",
];

/// Whether a key could stand in a DAG; a block without any is no DAG.
pub(crate) fn is_dag_key(name: &str) -> bool {
    [KEYS, NO_EFFECT, IGNORED].iter().any(|keys| keys.contains(&name)) || name == "timetable"
}

/// Reads a DAG; `cursor` stands on its block. Files it refers to are added to `references`.
pub(crate) fn dag<'a>(
    id: &'a str,
    cursor: &Cursor<'a>,
    options: &LoadOptions,
    file: &str,
    references: &mut BTreeSet<String>,
) -> Option<Dag> {
    let dag_id = DagId::parse(id).map_err(|e| cursor.key_error("bad-id", e.to_string(), None)).ok();
    let map = cursor.mapping()?;
    let fields = Fields { all: cursor.pairs(map).into_iter().collect() };
    keys(id, &fields);
    let defaults = match fields.get("default_args").filter(|c| !c.is_none()) {
        Some(cursor) => cursor.mapping().map(|map| cursor.pairs(map)).unwrap_or_default(),
        None => Vec::new(),
    };
    let defaults = Fields { all: defaults.into_iter().collect() };
    let dates = Dates::read(&fields, &defaults, options);
    let context = TaskContext {
        template: template(&defaults),
        template_weight: defaults.get("params").map_or(0, |c| c.node.weight),
        zone: &dates.task_zone,
        now: options.now,
        has_groups: fields.get("task_groups").is_some(),
        paths: Paths { file, folder: options.dags_folder.as_deref() },
        defaults: defaults.all.clone(),
    };
    let groups = groups(&fields);
    let drafts = drafts(&fields, &context);
    let (start_date, end_date) = dates.bounds(&drafts);
    for draft in &drafts {
        references.extend(draft.references.iter().cloned());
        dates.warn_own(draft);
    }
    let tasks = crate::graph::order(cursor, drafts, &groups);
    let timetable = timetable(&fields, &dates.zone, options);
    let mut dag = Dag {
        file: file.to_owned(),
        timetable: timetable.unwrap_or(Timetable::Null),
        timezone: dates.zone.name().to_owned(),
        start_date,
        end_date,
        catchup: options.catchup_by_default,
        ..Dag::new(dag_id.unwrap_or_else(|| DagId::trusted(id)), tasks.unwrap_or_default())
    };
    settings(&mut dag, &fields);
    dag.owners = distinct(dag.tasks.iter().map(|t| t.owner.as_str()));
    if dag.timetable == Timetable::Continuous && dag.max_active_runs != Some(1) {
        let at = fields.get("max_active_runs").or(fields.get("schedule")).unwrap_or(cursor);
        let message = "the schedule `@continuous` allows one active run only";
        at.error("schedule", message, Some("set `max_active_runs: 1`".into()));
    }
    (!cursor.sink.has_failed(id)).then_some(dag)
}

/// The pairs of a mapping by their names.
struct Fields<'a> {
    all: BTreeMap<&'a str, Cursor<'a>>,
}

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&Cursor<'a>> {
        self.all.get(name)
    }

    /// The value, where it says something.
    fn given(&self, name: &str) -> Option<&Cursor<'a>> {
        self.get(name).filter(|c| !c.is_none())
    }
}

/// Notes keys that are unknown or without effect.
fn keys(id: &str, fields: &Fields<'_>) {
    for (name, cursor) in &fields.all {
        if KEYS.contains(name) {
            common::old_name(cursor, "_sec");
            continue;
        }
        match *name {
            "dag_id" => {
                if !matches!(&cursor.node.value, Value::Text(text) if &**text == id) {
                    let message = format!("`dag_id` has no effect; the key `{}` is the DAG's id", clip(id));
                    cursor.warn("ignored-key", message, Some("remove `dag_id`, or make both the same".into()));
                }
            }
            "timetable" => {
                let hint =
                    "write it as `schedule`, e.g. with `__type__: airflow.timetables.trigger.CronTriggerTimetable`";
                cursor.key_error("unsupported", "`timetable` is not accepted by Airflow 3", Some(hint.into()));
            }
            name if NO_EFFECT.contains(&name) || name.starts_with("x-") => {}
            name if IGNORED.contains(&name) => common::warn_ignored(cursor),
            name => {
                let hint = cursor.sink.did_you_mean(name, KEYS.iter().copied());
                cursor.warn("unknown-key", format!("a DAG has no key `{}`; it is ignored", clip(name)), hint);
            }
        }
    }
}

/// A task as `default_args` makes it. Keys that are no argument of any task are harmless there, but near misses are told.
fn template(defaults: &Fields<'_>) -> Task {
    let mut template = Task::new(TaskId::trusted(""), "");
    for (name, cursor) in &defaults.all {
        match common::kind(name) {
            Some(Kind::Common) => common::apply(&mut template, cursor),
            Some(Kind::Ignored) => common::warn_ignored(cursor),
            Some(Kind::Structure | Kind::NoEffect | Kind::Refused) => {}
            None => {
                if updraft_model::operators::all().iter().any(|o| o.argument(name).is_some()) {
                    continue;
                }
                let known = common::KEYS.iter().filter(|(_, kind)| *kind == Kind::Common).map(|(key, _)| *key);
                if let Some(hint) = cursor.sink.did_you_mean(name, known) {
                    let message = format!("no task has an argument `{}`; it is ignored", clip(name));
                    cursor.warn("unknown-key", message, Some(hint));
                }
            }
        }
    }
    template
}

/// Dates and zones of a DAG, its own and those of `default_args`.
struct Dates {
    start: Option<Moment>,
    end: Option<Moment>,
    default_start: Option<Moment>,
    default_end: Option<Moment>,
    /// The zone of the DAG: that of its `start_date`, else of the one in `default_args`.
    zone: Timezone,
    /// The zone of dates in tasks, which have no `timezone` of their own.
    task_zone: Timezone,
}

impl Dates {
    fn read(fields: &Fields<'_>, defaults: &Fields<'_>, options: &LoadOptions) -> Self {
        let level = |fields: &Fields<'_>| {
            let zone = fields.given("timezone").and_then(Cursor::timezone);
            let zone = zone.unwrap_or_else(|| options.default_timezone.clone());
            let read =
                |name| fields.given(name).filter(|c| !c.is_not_given()).and_then(|c| c.moment(&zone, options.now));
            (read("start_date"), read("end_date"))
        };
        let (start, end) = level(fields);
        let (default_start, default_end) = level(defaults);
        let of_start = start.as_ref().or(default_start.as_ref()).map(|m| m.zone.clone());
        let zone = of_start.unwrap_or_else(|| options.default_timezone.clone());
        for fields in [fields, defaults] {
            let Some(cursor) = fields.given("timezone") else { continue };
            if fields.given("start_date").is_none() && fields.given("end_date").is_none() {
                let message = "`timezone` has no effect without a `start_date` beside it; the schedule is in `UTC`";
                let message = message.replace("UTC", zone.name());
                cursor.warn("ignored-key", message, Some("add a `start_date`".into()));
            }
        }
        Self { start, end, default_start, default_end, task_zone: zone.clone(), zone }
    }

    /// The bounds of scheduled runs: those of the DAG, else the earliest start of a task and, if every task has one, the
    /// latest end.
    fn bounds(&self, drafts: &[Draft<'_>]) -> (Option<Timestamp>, Option<Timestamp>) {
        let at = |m: &Moment| m.at;
        let starts = drafts.iter().filter_map(|d| d.start.as_ref().or(self.default_start.as_ref()).map(at));
        let ends = drafts.iter().map(|d| d.end.as_ref().or(self.default_end.as_ref()).map(at));
        let start = self.start.as_ref().map(at).or_else(|| starts.min());
        let latest = || ends.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max());
        (start, self.end.as_ref().map(at).or_else(latest))
    }

    /// Warns of a task's own dates where they would keep it out of runs that the DAG has.
    fn warn_own(&self, draft: &Draft<'_>) {
        let start = self.start.as_ref().or(self.default_start.as_ref());
        let end = self.end.as_ref().or(self.default_end.as_ref());
        let later = draft.start.as_ref().is_some_and(|own| start.is_some_and(|s| own.at > s.at));
        let earlier = draft.end.as_ref().is_some_and(|own| end.is_none_or(|e| own.at < e.at));
        if later || earlier {
            let message = format!(
                "the task `{}` has dates of its own that are narrower than the DAG's; they do not keep it out of a run yet",
                draft.task.task_id
            );
            draft.cursor.warn("ignored-key", message, None);
        }
    }
}

fn timetable(fields: &Fields<'_>, zone: &Timezone, options: &LoadOptions) -> Option<Timetable> {
    let old = fields.get("schedule_interval");
    if let Some(cursor) = old {
        let message = "`schedule_interval` is not accepted by Airflow 3; it is read as `schedule`";
        cursor.warn("old-key", message, Some("write `schedule`".into()));
    }
    match fields.get("schedule").or(old) {
        Some(cursor) => schedule::timetable(cursor, zone, options.cron_style),
        None => Some(Timetable::Null),
    }
}

fn settings(dag: &mut Dag, fields: &Fields<'_>) {
    let text = |name| fields.get(name).filter(|c| !c.is_null()).and_then(Cursor::text).map(str::to_owned);
    let given = |name| fields.given(name).inspect(|c| common::warn_not_enforced(c));
    let flag = |name| given(name).and_then(Cursor::boolean);
    let count = |name| given(name).and_then(|c| c.count(1));
    dag.description = text("description");
    dag.doc_md = text("doc_md");
    dag.dag_display_name = text("dag_display_name");
    dag.catchup = flag("catchup").unwrap_or(dag.catchup);
    dag.fail_fast = flag("fail_fast").unwrap_or(false);
    dag.render_template_as_native_obj = flag("render_template_as_native_obj").unwrap_or(false);
    dag.is_paused_upon_creation = flag("is_paused_upon_creation");
    dag.max_active_runs = count("max_active_runs");
    // The older name wins where both are given, as in dag-factory.
    dag.max_active_tasks = count("max_active_tasks");
    dag.max_active_tasks = count("concurrency").or(dag.max_active_tasks);
    let timeout = given("dagrun_timeout").or_else(|| given("dagrun_timeout_sec"));
    dag.dagrun_timeout = timeout.and_then(Cursor::duration_above_zero);
    dag.params = fields.get("params").and_then(common::params).unwrap_or_default();
    let tags = fields.given("tags").map(Cursor::texts).unwrap_or_default();
    dag.tags = distinct(tags.into_iter().map(|(tag, _)| tag));
}

/// Each text once, in order of appearance.
fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    texts.filter(|text| seen.insert(*text)).map(str::to_owned).collect()
}

/// The names of task groups, which are refused as a whole.
fn groups<'a>(fields: &Fields<'a>) -> BTreeSet<&'a str> {
    let Some(cursor) = fields.given("task_groups") else { return BTreeSet::new() };
    let names: BTreeSet<&str> = match &cursor.node.value {
        Value::Map(map) => cursor.pairs(map).into_iter().map(|(name, _)| name).collect(),
        Value::List(items) => items
            .iter()
            .filter_map(|n| match &n.value {
                Value::Map(map) => map.get("group_name"),
                _ => None,
            })
            .filter_map(|n| match &n.value {
                Value::Text(name) => Some(&**name),
                _ => None,
            })
            .collect(),
        _ => BTreeSet::new(),
    };
    let is_empty = matches!(&cursor.node.value, Value::Map(m) if m.entries().is_empty())
        || matches!(&cursor.node.value, Value::List(l) if l.is_empty());
    if !is_empty {
        let hint = "give the tasks ids such as `group.task`, and name tasks instead of groups in `dependencies`";
        cursor.key_error("unsupported", "task groups are not supported yet", Some(hint.into()));
    }
    names
}

/// The tasks, from a mapping or from a list.
fn drafts<'a>(fields: &Fields<'a>, context: &TaskContext<'a, '_>) -> Vec<Draft<'a>> {
    let Some(cursor) = fields.given("tasks") else { return Vec::new() };
    match &cursor.node.value {
        Value::Map(map) => {
            cursor.pairs(map).into_iter().filter_map(|(id, task)| task::task(id, &task, context)).collect()
        }
        Value::List(items) => listed(cursor, items, context),
        _ => {
            cursor.wrong_type("a mapping of tasks by their ids, or a list of tasks", None);
            Vec::new()
        }
    }
}

fn listed<'a>(
    cursor: &Cursor<'a>,
    items: &'a [std::rc::Rc<crate::yaml::Node>],
    context: &TaskContext<'a, '_>,
) -> Vec<Draft<'a>> {
    let mut seen = BTreeSet::new();
    let mut drafts = Vec::new();
    for (i, node) in items.iter().enumerate() {
        let item = cursor.item(i, node);
        let id = match &node.value {
            Value::Map(map) => map.entry("task_id").map(|entry| item.down(entry)),
            _ => None,
        };
        let Some(id) = id else {
            item.error("missing-key", "a task in a list must be a mapping with a `task_id`", None);
            continue;
        };
        let Some(name) = id.text() else { continue };
        if !seen.insert(name) {
            id.error("duplicate-task", format!("the task id `{}` is given twice", clip(name)), None);
            continue;
        }
        drafts.extend(task::task(name, &item, context));
    }
    drafts
}
