//! What is known about one operator.

use crate::argument::{Argument, SENSOR_ARGUMENTS};

/// How an operator's attempt is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runner {
    /// Nothing to run: the decision itself ends it.
    Empty,
    /// A shell command.
    Bash,
    /// A Python callable, in a process of its own.
    Python,
    /// A Python callable in an interpreter that the task names or that is made for it.
    PythonEnvironment,
    /// The same, where the callable says what to follow.
    BranchPythonEnvironment,
    /// A shell command that a Python callable returns.
    DecoratedBash,
    /// A Python callable which says what to follow.
    BranchPython,
    /// A Python callable which says whether to go on.
    ShortCircuit,
    /// Goes on in the latest interval only.
    LatestOnly,
    /// Follows one of two branches, by the day of the week.
    BranchDayOfWeek,
    /// Follows one of two branches, by the time.
    BranchDateTime,
    /// Creates a run of a DAG.
    TriggerDagRun,
    /// An HTTP request.
    Http,
    /// Waits for a time of day.
    TimeSensor,
    /// Waits until some time after the data interval.
    TimeDeltaSensor,
    /// Waits for some time after its own start.
    WaitSensor,
    /// Waits for a point in time.
    DateTimeSensor,
    /// Waits for a file.
    FileSensor,
    /// Waits for tasks of another DAG.
    ExternalTaskSensor,
    /// Waits until a shell command succeeds.
    BashSensor,
    /// Waits until a Python callable says so.
    PythonSensor,
    /// Waits until an HTTP request succeeds.
    HttpSensor,
    /// Waits for a day of the week.
    DayOfWeekSensor,
    /// Asks people to choose, and waits for the answer without a worker.
    Hitl,
    /// Asks people to approve.
    Approval,
    /// Asks people which branch to follow.
    HitlBranch,
    /// Asks people to fill in a form.
    HitlEntry,
    /// Known, so that DAGs load and are checked; not run by this version.
    Deferred,
}

/// One operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The class path of Airflow 3.
    pub class_path: &'static str,
    /// Class paths that mean the same: those of earlier releases, and asynchronous variants.
    pub old_class_paths: Vec<&'static str>,
    /// Its own arguments, by name. Those of every task, and of every sensor, are not repeated here.
    pub arguments: Vec<Argument>,
    /// How it runs.
    pub runner: Runner,
    /// Whether it is a sensor, which also takes [`SENSOR_ARGUMENTS`].
    pub sensor: bool,
    /// Whether the class is only a base for others: such a task cannot be.
    pub abstract_base: bool,
    /// A text in a template field that ends in one of these names a file, whose content is the template.
    pub template_ext: Vec<&'static str>,
    /// What it works with, in a word: `standard`, `http`, `athena`.
    pub service: &'static str,
}

impl Operator {
    /// An operator without arguments.
    pub(crate) fn new(class_path: &'static str, runner: Runner) -> Self {
        let service = if class_path.contains(".http.") { "http" } else { "standard" };
        let (old_class_paths, arguments, template_ext) = (Vec::new(), Vec::new(), Vec::new());
        let (sensor, abstract_base) = (class_path.contains(".sensors."), false);
        Self { class_path, old_class_paths, arguments, runner, sensor, abstract_base, template_ext, service }
    }

    /// The same, found by these class paths too.
    pub(crate) fn was(mut self, paths: &[&'static str]) -> Self {
        self.old_class_paths.extend_from_slice(paths);
        self
    }

    /// The same with these arguments.
    pub(crate) fn takes(mut self, arguments: &[Argument]) -> Self {
        self.arguments.extend_from_slice(arguments);
        self
    }

    /// The same, whose templates may be files with these endings.
    pub(crate) fn files(mut self, endings: &[&'static str]) -> Self {
        self.template_ext.extend_from_slice(endings);
        self
    }

    /// The same as what is no sensor, though it lies among them.
    pub(crate) fn no_sensor(mut self) -> Self {
        self.sensor = false;
        self
    }

    /// The class name: the last part of the path.
    pub fn short_name(&self) -> &'static str {
        last_part(self.class_path)
    }

    /// The keywords in which Jinja is rendered.
    pub fn template_fields(&self) -> impl Iterator<Item = &'static str> {
        self.arguments.iter().filter(|a| a.template).map(|a| a.name)
    }

    /// Its own argument of this name; for a sensor, those of every sensor too. One that every sensor takes and that stands among
    /// its own has another default here.
    pub fn argument(&self, name: &str) -> Option<&Argument> {
        let of_sensors = if self.sensor { SENSOR_ARGUMENTS } else { &[] };
        self.arguments.iter().chain(of_sensors).find(|a| a.name == name)
    }

    /// The names of the arguments it takes.
    pub fn argument_names(&self) -> impl Iterator<Item = &'static str> {
        let of_sensors = if self.sensor { SENSOR_ARGUMENTS } else { &[] };
        self.arguments.iter().chain(of_sensors).map(|a| a.name)
    }

    /// Whether it is built around a `python_callable`.
    pub fn calls_python(&self) -> bool {
        self.arguments.iter().any(|a| a.name == "python_callable")
    }
}

/// The class name in a class path.
pub(crate) fn last_part(path: &'static str) -> &'static str {
    path.rsplit('.').next().unwrap_or(path)
}
