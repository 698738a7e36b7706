//! `updraft config ...`: Airflow's options with the values that hold here, and where each comes from.

use crate::failure::{Failure, did_you_mean};
use crate::metastore::MetastoreUrl;
use crate::printer::{Cell, Printer, Rows};
use crate::settings;
use clap::Subcommand;
use updraft_api::ConfigOption;
use updraft_service::engine::near;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the options with their values and where those come from
    List {
        /// Only this section
        #[arg(long)]
        section: Option<String>,

        /// Only options that somebody has set
        #[arg(long)]
        changed: bool,
    },
    /// Print the value of an option
    GetValue {
        /// The option's section
        section: String,

        /// The option
        option: String,
    },
}

/// An option.
struct Setting {
    section: &'static str,
    option: &'static str,
    value: String,
    source: Source,
}

/// Where a value comes from.
enum Source {
    /// Somebody set this environment variable.
    Environment(&'static str),
    /// It was given on the command line.
    Option(&'static str),
    /// Nobody set it; it can be set so.
    Default(&'static str),
    /// It cannot be set.
    Fixed,
}

impl Source {
    fn text(&self) -> String {
        match self {
            Self::Environment(name) => format!("environment `{name}`"),
            Self::Option(name) => format!("option `{name}`"),
            Self::Default(how) => format!("default; set by {how}"),
            Self::Fixed => "fixed".to_owned(),
        }
    }
}

/// Does it.
pub(crate) fn run(command: Command, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let all = all(metastore);
    match command {
        Command::List { section, changed } => {
            if let Some(section) = &section
                && !all.iter().any(|setting| setting.section == section)
            {
                return Err(no_such("section", section, all.iter().map(|setting| setting.section)));
            }
            let mut rows = Rows::new(&["section", "option", "value", "source"]);
            for setting in all {
                let is_meant = section.as_ref().is_none_or(|section| setting.section == section)
                    && (!changed || matches!(setting.source, Source::Environment(_) | Source::Option(_)));
                if is_meant {
                    rows.push(vec![
                        Cell::text(setting.section),
                        Cell::text(setting.option),
                        Cell::Text(setting.value),
                        Cell::Text(setting.source.text()),
                    ]);
                }
            }
            note_airflows(printer);
            printer.rows(&rows)
        }
        Command::GetValue { section, option } => {
            match all.iter().find(|setting| setting.section == section && setting.option == option) {
                Some(setting) => printer.text(&format!("{}\n", setting.value)),
                None if !all.iter().any(|setting| setting.section == section) => {
                    Err(no_such("section", &section, all.iter().map(|setting| setting.section)))
                }
                None => {
                    let known = all.iter().filter(|setting| setting.section == section).map(|setting| setting.option);
                    Err(no_such("option", &option, known))
                }
            }
        }
    }
}

/// The options as a server shows them, with what it was started with.
pub(crate) fn of_server(started_with: &crate::standalone::Arguments) -> Vec<ConfigOption> {
    let metastore = MetastoreUrl::File(crate::home::Home::new(&started_with.home));
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let python = |is: bool| if is { "True" } else { "False" }.to_owned();
    let given = |setting: &Setting| match setting.option {
        "dags_folder" => Some(started_with.dags.display().to_string()),
        "executor" => Some(format!("{:?}", started_with.executor).to_lowercase()),
        "parallelism" => Some(started_with.parallelism.to_string()),
        "dags_are_paused_at_creation" => Some(python(started_with.pause_new_dags)),
        "max_active_tasks_per_dag" => number(started_with.max_active_tasks_per_dag),
        "port" => Some(started_with.port.to_string()),
        _ => None,
    };
    let option = |setting: Setting| ConfigOption {
        value: given(&setting).unwrap_or(setting.value),
        section: setting.section.to_owned(),
        option: setting.option.to_owned(),
    };
    all(&metastore).into_iter().map(option).collect()
}

fn no_such<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    let mut known: Vec<String> = known.map(str::to_owned).collect();
    known.dedup();
    let hint = did_you_mean(&near(name, known.clone())).unwrap_or_else(|| {
        "`updraft config list` shows what there is; Airflow has more, which Updraft does not know".to_owned()
    });
    Failure::user(format!("the {what} `{name}` does not exist")).hint(hint)
}

/// Airflow's own environment variables mean nothing here, and whoever sets them should know.
fn note_airflows(printer: Printer) {
    let names: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("AIRFLOW__"))
        .collect();
    if !names.is_empty() {
        printer.note(format_args!("note: Updraft does not read {}", names.join(", ")));
    }
}

/// All options. The values of those that cannot be set are what the engine does.
fn all(metastore: &MetastoreUrl) -> Vec<Setting> {
    let set = |name: &'static str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let from = |section, option, name: &'static str, default: &str| Setting {
        section,
        option,
        value: set(name).unwrap_or_else(|| default.to_owned()),
        source: if set(name).is_some() { Source::Environment(name) } else { Source::Default(name) },
    };
    let option = |section, option, value: &str, how| Setting {
        section,
        option,
        value: value.to_owned(),
        source: Source::Default(how),
    };
    let fixed =
        |section, option, value: &str| Setting { section, option, value: value.to_owned(), source: Source::Fixed };
    vec![
        option("core", "dags_folder", "./dags", "`updraft standalone --dags`"),
        option("core", "executor", "local", "`updraft standalone --executor`"),
        option("core", "parallelism", "32", "`updraft standalone --parallelism`"),
        option("core", "dags_are_paused_at_creation", "False", "`updraft standalone --pause-new-dags`"),
        from("core", "dag_ignore_file_syntax", settings::IGNORE_SYNTAX, "glob"),
        fixed("core", "default_timezone", "utc"),
        fixed("core", "max_active_runs_per_dag", "16"),
        from("core", "max_active_tasks_per_dag", updraft_service::engine::MAX_ACTIVE_TASKS_PER_DAG, "none"),
        fixed("core", "max_consecutive_failed_dag_runs_per_dag", "0"),
        fixed("core", "default_task_retries", "0"),
        fixed("core", "default_task_retry_delay", "300"),
        fixed("core", "max_task_retry_delay", "86400"),
        fixed("core", "default_task_weight_rule", "downstream"),
        fixed("core", "dag_run_conf_overrides_params", "True"),
        fixed("core", "hide_sensitive_var_conn_fields", "True"),
        fixed("core", "test_connection", "Disabled"),
        Setting {
            section: "database",
            option: "metastore",
            value: metastore.to_string(),
            source: match set(settings::METASTORE) {
                Some(set) if set == metastore.to_string() => Source::Environment(settings::METASTORE),
                None if metastore.to_string() == settings::METASTORE_DEFAULT => {
                    Source::Default("`--metastore`, or `UPDRAFT_METASTORE`")
                }
                _ => Source::Option("--metastore"),
            },
        },
        from("logging", "logging_level", settings::LOG, "warn"),
        option("api", "port", "8080", "`updraft standalone --port`"),
        fixed("scheduler", "catchup_by_default", "False"),
        fixed("scheduler", "create_cron_data_intervals", "False"),
        fixed("scheduler", "ignore_first_depends_on_past_by_default", "True"),
        fixed("scheduler", "allowed_run_id_pattern", "^[A-Za-z0-9_.~:+-]+$"),
        from("aws", "bucket", settings::BUCKET, ""),
    ]
}
