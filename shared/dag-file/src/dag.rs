//! One DAG: its own settings, its defaults, its tasks.

use crate::LoadOptions;
use crate::assets::AssetFiles;
use crate::callbacks;
use crate::common;
use crate::groups::{self, Group, listed};
use crate::keys::{self, Standing};
use crate::mapping;
use crate::paths::Paths;
use crate::reader::Cursor;
use crate::schedule::{self, Schedule, Settings};
use crate::settings;
use crate::setup;
use crate::task::{self, Defaults, Draft, Fields, Heading, TaskContext};
use crate::time::Moment;
use crate::yaml::Value;
use crate::yaml::compose::clip;
use jiff::Timestamp;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use updraft_model::{Dag, DagId, Task, TaskId};
use updraft_timetables::{Timetable, Timezone};

/// Whether a key could stand in a DAG; a block without any is no DAG.
pub(crate) fn is_dag_key(name: &str) -> bool {
    keys::find(keys::DAG, name).is_some()
}

/// Reads a DAG; `cursor` stands on its block.
pub(crate) fn dag<'a>(id: &'a str, cursor: &Cursor<'a>, options: &'a LoadOptions, file: &'a str) -> Option<Dag> {
    let dag_id = DagId::parse(id).map_err(|e| cursor.key_error("bad-id", e.to_string(), None)).ok();
    let map = cursor.mapping()?;
    let mut fields: Fields<'a> = cursor.pairs(map).into_iter().collect();
    common::settle_old(&mut fields, keys::DAG);
    check_keys(id, &fields);
    let mut defaults: Fields<'a> = match given(&fields, "default_args") {
        Some(cursor) => cursor.mapping().map(|map| cursor.pairs(map)).unwrap_or_default().into_iter().collect(),
        None => Fields::new(),
    };
    common::settle_old(&mut defaults, keys::TASK);
    let dates = Dates::read(&fields, &defaults, options);
    let paths = Paths { file, folder: options.dags_folder.as_deref() };
    let asset_files = AssetFiles { paths, options };
    let mut groups = groups::groups(fields.get("task_groups"));
    let headings = headings(&fields, &groups);
    let mut context = TaskContext {
        defaults: layers(&defaults, &groups, paths),
        zone: &dates.task_zone,
        now: options.now,
        paths,
        asset_files,
        ids: headings.iter().map(|h| (h.name, h.task_id.clone())).collect(),
        mapped_groups: Vec::new(),
    };
    mapping::of_groups(&mut groups, &mut context);
    let drafts: Vec<Draft<'a>> = headings.into_iter().filter_map(|h| task::task(h, &context)).collect();
    let (start_date, end_date) = dates.bounds(&drafts);
    for draft in &drafts {
        dates.warn_own(draft);
    }
    let places = drafts.iter().map(|d| (d.task.task_id.to_string(), d.cursor.clone())).collect();
    let tasks = crate::graph::order(drafts, &groups, &context.ids);
    let settings = Settings { zone: &dates.zone, style: options.cron_style, now: options.now, asset_files };
    let Schedule { timetable, assets } = schedule(&fields, settings);
    let mut dag = Dag {
        file: file.to_owned(),
        timetable,
        assets,
        timezone: dates.zone.name().to_owned(),
        start_date,
        end_date,
        catchup: options.catchup_by_default,
        default_args: dates.understood(&defaults),
        groups: groups.into_iter().map(|g| g.model).collect(),
        ..Dag::new(dag_id.unwrap_or_else(|| DagId::trusted(id)), tasks.unwrap_or_default())
    };
    settings::apply(&mut dag, &fields, paths);
    if let Some(cursor) = given(&fields, "deadline") {
        dag.deadlines = crate::deadlines::deadlines(cursor, &dates.zone, options.now);
    }
    setup::check(&dag, &places);
    dag.owners = settings::distinct(dag.tasks.iter().map(|t| t.owner.as_str()));
    if dag.timetable == Timetable::Continuous && dag.max_active_runs != Some(1) {
        let at = fields.get("max_active_runs").or(fields.get("schedule")).unwrap_or(cursor);
        let message = "the schedule `@continuous` allows one active run only";
        at.error("schedule", message, Some("set `max_active_runs: 1`".into()));
    }
    if dag.catchup && dag.timetable != Timetable::Null && dag.start_date.is_none() {
        let at = fields.get("catchup").or(fields.get("schedule")).unwrap_or(cursor);
        let message = "`catchup` needs a `start_date`: there is no telling where to begin";
        at.error("missing-key", message, Some("give the DAG a `start_date`, or set `catchup: false`".into()));
    }
    (!cursor.sink.has_failed(id)).then_some(dag)
}

/// The value under a name, where it says something.
fn given<'c, 'a>(fields: &'c Fields<'a>, name: &str) -> Option<&'c Cursor<'a>> {
    fields.get(name).filter(|c| !c.is_none() && !c.is_not_given())
}

/// Notes keys that are unknown, old, or without effect yet.
fn check_keys(id: &str, fields: &Fields<'_>) {
    for (name, cursor) in fields {
        if *name == "dag_id" && !matches!(&cursor.node.value, Value::Text(text) if &**text == id) {
            let message = format!("`dag_id` has no effect; the key `{}` is the DAG's id", clip(id));
            cursor.warn("ignored-key", message, Some("remove `dag_id`, or make both the same".into()));
        }
        match keys::find(keys::DAG, name) {
            Some(key) => common::warn_by_standing(key, cursor),
            None if name.starts_with("x-") => {}
            None => {
                let current = keys::DAG.iter().filter(|k| !matches!(k.standing, Standing::Old(_)));
                let near = cursor.sink.did_you_mean(name, current.map(|k| k.name));
                let hint = near.or_else(|| hint_of_task_key(name, cursor));
                cursor.warn("unknown-key", format!("a DAG has no key `{}`; it is ignored", clip(name)), hint);
            }
        }
    }
}

/// Where a key that a DAG does not have belongs, if tasks have it or one that is much like it.
fn hint_of_task_key(name: &str, cursor: &Cursor<'_>) -> Option<String> {
    let current = || keys::TASK.iter().filter(|k| !matches!(k.standing, Standing::Old(_))).map(|k| k.name);
    if current().any(|known| known == name) {
        return Some(format!("tasks have `{name}`: write it below `default_args`, for all of them, or in a task"));
    }
    let meant = task::WORDS.iter().find(|(word, meant)| *word == name && current().any(|known| known == *meant));
    let near = match meant {
        Some((_, meant)) => format!("did you mean `{meant}`?"),
        None => cursor.sink.did_you_mean(name, current())?,
    };
    Some(format!("{near} That is a key of tasks: write it below `default_args`"))
}

/// The tasks by name, with the groups around them and their ids.
fn headings<'a>(fields: &Fields<'a>, groups: &[Group<'a>]) -> Vec<Heading<'a>> {
    let Some(cursor) = given(fields, "tasks") else { return Vec::new() };
    let named = match &cursor.node.value {
        Value::Map(map) => cursor.pairs(map),
        Value::List(items) => listed(cursor, items, "task_id", "a task"),
        _ => {
            cursor.wrong_type("a mapping of tasks by their ids, or a list of tasks", None);
            return Vec::new();
        }
    };
    let places: BTreeMap<&str, usize> = groups.iter().enumerate().map(|(i, g)| (g.name, i)).collect();
    let mut taken: BTreeSet<String> = groups.iter().map(|g| g.model.group_id.clone()).collect();
    let mut headings = Vec::with_capacity(named.len());
    for (name, cursor) in named {
        let group = group_of(&cursor, groups, &places);
        let task_id = group.map_or_else(|| name.to_owned(), |g| groups[g].id_of(name));
        if !taken.insert(task_id.clone()) {
            let message = format!("the id `{}` belongs to another task or group as well", clip(&task_id));
            cursor.key_error("duplicate-id", message, Some("give one of them another name".into()));
            continue;
        }
        let group_id = group.map(|g| groups[g].model.group_id.clone());
        headings.push(Heading { name, cursor, group, group_id, task_id });
    }
    headings
}

/// The place of the group that a task names.
fn group_of(task: &Cursor<'_>, groups: &[Group<'_>], places: &BTreeMap<&str, usize>) -> Option<usize> {
    let Value::Map(map) = &task.node.value else { return None };
    let at = map.entry("task_group_name").map(|e| task.down(e)).filter(|c| !c.is_none())?;
    let name = at.text()?;
    let found = places.get(name).copied();
    if found.is_none() && groups.is_empty() {
        let message = "`task_group_name` has no effect: the DAG has no `task_groups`";
        at.warn("ignored-key", message, None);
    } else if found.is_none() {
        let hint = at.sink.did_you_mean(name, places.keys().copied());
        at.error("unknown-group", format!("there is no task group `{}`", clip(name)), hint);
    }
    found
}

/// What tasks take where they say nothing: in the DAG, and in each group, whose arguments come over those around it.
fn layers<'a>(defaults: &Fields<'a>, groups: &[Group<'a>], paths: Paths<'_>) -> Vec<Defaults<'a>> {
    let weight = |fields: &Fields<'a>| fields.values().map(|c| c.node.weight).fold(0, u32::saturating_add);
    let mut layers = vec![Defaults {
        template: template(Task::new(TaskId::trusted(""), ""), defaults, paths),
        weight: weight(defaults),
        fields: defaults.clone(),
    }];
    for group in groups {
        let above = &layers[group.parent.map_or(0, |p| p + 1)];
        let mut fields = above.fields.clone();
        fields.extend(group.defaults.iter().map(|(name, cursor)| (*name, cursor.clone())));
        // Every group holds its own copy.
        if !group.cursor.sink.may_copy(weight(&fields)) {
            group.cursor.key_error("too-large", "`default_args`, copied into all groups, take too much space", None);
            break;
        }
        let template = template(above.template.clone(), &group.defaults, paths);
        layers.push(Defaults { template, weight: weight(&fields), fields });
    }
    layers
}

/// A task with what default arguments say over it. Keys that are no argument of any task are harmless there, but near misses
/// are told.
fn template(mut template: Task, defaults: &Fields<'_>, paths: Paths<'_>) -> Task {
    for (name, cursor) in defaults {
        if keys::find(keys::TASK, name).is_some() {
            if !common::STRUCTURE.contains(name) && !callbacks::is_key(name) {
                common::apply(&mut template, cursor);
            }
            setup::warn_lent(name, cursor);
            continue;
        }
        if updraft_model::operators::all().iter().any(|o| o.argument(name).is_some()) {
            continue;
        }
        let known = keys::TASK.iter().filter(|k| k.standing == Standing::Effective).map(|k| k.name);
        if let Some(hint) = cursor.sink.did_you_mean(name, known) {
            let message = format!("no task has an argument `{}`; it is ignored", clip(name));
            cursor.warn("unknown-key", message, Some(hint));
        }
    }
    callbacks::apply(&mut template.callbacks, defaults.iter().map(|(n, c)| (*n, c)), paths);
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
    fn read(fields: &Fields, defaults: &Fields<'_>, options: &LoadOptions) -> Self {
        let level = |fields: &Fields| {
            let named = given(fields, "timezone").and_then(Cursor::timezone);
            let is_named = named.is_some();
            let zone = named.unwrap_or_else(|| options.default_timezone.clone());
            let read = |name| given(fields, name).and_then(|c| c.moment_of_level(&zone, is_named, options.now));
            (read("start_date"), read("end_date"))
        };
        let (start, end) = level(fields);
        let (default_start, default_end) = level(defaults);
        let of_start = start.as_ref().or(default_start.as_ref()).map(|m| m.zone.clone());
        let zone = of_start.unwrap_or_else(|| options.default_timezone.clone());
        for fields in [fields, defaults] {
            let Some(cursor) = given(fields, "timezone") else { continue };
            if given(fields, "start_date").is_none() && given(fields, "end_date").is_none() {
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

    /// Default arguments as they were understood: dates as instants, everything else as written.
    fn understood(&self, defaults: &Fields<'_>) -> serde_json::Map<String, Json> {
        let mut understood = common::understood(defaults);
        for (name, moment) in [("start_date", &self.default_start), ("end_date", &self.default_end)] {
            if let Some(moment) = moment {
                understood.insert(name.to_owned(), Json::String(moment.at.to_string()));
            }
        }
        understood
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

fn schedule(fields: &Fields<'_>, settings: Settings<'_>) -> Schedule {
    let cursor = ["schedule", "schedule_interval", "timetable"].iter().find_map(|name| fields.get(name));
    cursor.map_or(Some(Schedule::NONE), |cursor| schedule::schedule(cursor, settings)).unwrap_or(Schedule::NONE)
}
