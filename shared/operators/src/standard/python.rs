//! Operators that call Python.

use crate::argument::{Argument, ArgumentType as Type};
use crate::operator::{Operator, Runner};

/// How the function is named: a dotted path, or a name and a file of the DAG folder.
pub(super) const CALLABLE: &[Argument] = &[
    Argument::new("python_callable", Type::Callable).doc("the function's dotted path"),
    Argument::new("python_callable_name", Type::Text).doc("the function's name, with `python_callable_file`"),
    Argument::new("python_callable_file", Type::Text).doc("the file with the function"),
];

/// What it is called with.
pub(super) const CALL: &[Argument] = &[
    Argument::new("op_args", Type::List).template().or("null").doc("positional arguments of the function"),
    Argument::new("op_kwargs", Type::Mapping).template().or("null").doc("keyword arguments of the function"),
    Argument::new("templates_dict", Type::Mapping)
        .template()
        .or("null")
        .doc("templates whose results the function finds in its context"),
];

const TEMPLATES_EXTS: Argument =
    Argument::new("templates_exts", Type::List).or("null").doc("endings of files in templates_dict and op_args");
const SHOW: Argument = Argument::new("show_return_value_in_logs", Type::Boolean)
    .or("true")
    .doc("the log shows what the function returned");
const IGNORE_RULES: Argument = Argument::new("ignore_downstream_trigger_rules", Type::Boolean)
    .or("true")
    .doc("a false result skips everything downstream, not only what is next");

/// What every operator with an interpreter of its own takes.
const ENVIRONMENT: &[Argument] = &[
    Argument::new("serializer", Type::Text).or("null").doc("how arguments and the result travel"),
    Argument::new("string_args", Type::List).or("null").doc("texts the function finds in its module"),
    Argument::new("expect_airflow", Type::Boolean).or("true").doc("whether Airflow should be there"),
    Argument::new("skip_on_exit_code", Type::IntegerOrList).or("null").doc("exit codes that skip the task"),
    Argument::new("env_vars", Type::Mapping).or("null").doc("environment variables of the interpreter"),
    Argument::new("inherit_env", Type::Boolean).or("true").doc("`env_vars` is added to the worker's environment"),
];

/// What an operator takes that makes an environment.
const VIRTUALENV: &[Argument] = &[
    Argument::new("requirements", Type::TextOrList).template().or("null").doc("what to install"),
    Argument::new("python_version", Type::Text).or("null").doc("the version of Python"),
    Argument::new("system_site_packages", Type::Boolean).or("true").doc("the worker's packages are there too"),
    Argument::new("pip_install_options", Type::List).or("null").doc("options of pip"),
    Argument::new("index_urls", Type::TextOrList).template().or("null").doc("where packages come from"),
    Argument::new("index_urls_from_connection_ids", Type::TextOrList)
        .template()
        .or("null")
        .doc("connections that say where packages come from"),
    Argument::new("venv_cache_path", Type::Text).template().or("null").doc("where environments are kept"),
];

const PYTHON: Argument =
    Argument::new("python", Type::Text).required().template().doc("the interpreter to call the function in");
const EXPECT_PENDULUM: Argument =
    Argument::new("expect_pendulum", Type::Boolean).or("false").doc("whether pendulum should be there");

fn plain(path: &'static str, runner: Runner, was: &[&'static str]) -> Operator {
    Operator::new(path, runner).was(was).takes(CALLABLE).takes(CALL).takes(&[TEMPLATES_EXTS, SHOW])
}

fn environment(path: &'static str, was: &[&'static str]) -> Operator {
    let branches = path.rsplit('.').next().is_some_and(|name| name.contains("Branch"));
    let runner = if branches { Runner::BranchPythonEnvironment } else { Runner::PythonEnvironment };
    plain(path, runner, was).takes(ENVIRONMENT)
}

/// Every operator, and what decorators make of a function.
pub(super) fn operators() -> Vec<Operator> {
    let mut all = vec![
        plain(
            "airflow.providers.standard.operators.python.PythonOperator",
            Runner::Python,
            &["airflow.operators.python.PythonOperator", "airflow.operators.python_operator.PythonOperator"],
        ),
        plain(
            "airflow.providers.standard.operators.python.BranchPythonOperator",
            Runner::BranchPython,
            &[
                "airflow.operators.python.BranchPythonOperator",
                "airflow.operators.python_operator.BranchPythonOperator",
            ],
        ),
        plain(
            "airflow.providers.standard.operators.python.ShortCircuitOperator",
            Runner::ShortCircuit,
            &[
                "airflow.operators.python.ShortCircuitOperator",
                "airflow.operators.python_operator.ShortCircuitOperator",
            ],
        )
        .takes(&[IGNORE_RULES]),
    ];
    for (path, was) in [
        (
            "airflow.providers.standard.operators.python.PythonVirtualenvOperator",
            &[
                "airflow.operators.python.PythonVirtualenvOperator",
                "airflow.operators.python_operator.PythonVirtualenvOperator",
            ][..],
        ),
        (
            "airflow.providers.standard.operators.python.BranchPythonVirtualenvOperator",
            &["airflow.operators.python.BranchPythonVirtualenvOperator"],
        ),
        ("airflow.providers.standard.decorators.python_virtualenv._PythonVirtualenvDecoratedOperator", &[]),
        ("airflow.providers.standard.decorators.branch_virtualenv._BranchPythonVirtualenvDecoratedOperator", &[]),
    ] {
        all.push(environment(path, was).takes(VIRTUALENV).files(&[".txt"]));
    }
    for (path, was) in [
        (
            "airflow.providers.standard.operators.python.ExternalPythonOperator",
            &["airflow.operators.python.ExternalPythonOperator"][..],
        ),
        (
            "airflow.providers.standard.operators.python.BranchExternalPythonOperator",
            &["airflow.operators.python.BranchExternalPythonOperator"],
        ),
        ("airflow.providers.standard.decorators.external_python._PythonExternalDecoratedOperator", &[]),
        ("airflow.providers.standard.decorators.branch_external_python._BranchExternalPythonDecoratedOperator", &[]),
    ] {
        all.push(environment(path, was).takes(&[PYTHON, EXPECT_PENDULUM]));
    }
    all.extend([
        plain("airflow.providers.standard.decorators.python._PythonDecoratedOperator", Runner::Python, &[]),
        plain(
            "airflow.providers.standard.decorators.branch_python._BranchPythonDecoratedOperator",
            Runner::BranchPython,
            &[],
        ),
        plain(
            "airflow.providers.standard.decorators.short_circuit._ShortCircuitDecoratedOperator",
            Runner::ShortCircuit,
            &[],
        )
        .takes(&[IGNORE_RULES]),
    ]);
    all
}

/// The sensors.
pub(super) fn sensors() -> Vec<Operator> {
    let sensor = |path, was| Operator::new(path, Runner::PythonSensor).was(was).takes(CALLABLE).takes(CALL);
    let decorated = sensor("airflow.providers.standard.decorators.sensor.DecoratedSensorOperator", &[]);
    vec![
        sensor(
            "airflow.providers.standard.sensors.python.PythonSensor",
            &["airflow.sensors.python.PythonSensor", "airflow.contrib.sensors.python_sensor.PythonSensor"],
        ),
        Operator { sensor: true, ..decorated },
    ]
}
