//! The registry of operators: what each accepts, which of its arguments are templates, and how it runs.
//!
//! One table, used by the loader (to refuse unknown arguments), by the renderer (template fields) and by the worker (how to
//! run). A new operator is a new row and, where it runs something new, a new [`Runner`].

/// How an operator's attempt is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// Nothing to run: the decision itself ends it.
    Empty,
    /// A shell command.
    Bash,
    /// A Python callable, in a process of its own.
    Python,
}

/// The type an argument must have, as far as the loader checks it. Templates are text and always pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentType {
    /// Text.
    Text,
    /// True or false.
    Boolean,
    /// A list.
    List,
    /// A mapping.
    Mapping,
    /// A whole number or a list of them.
    IntegerOrList,
    /// Anything.
    Any,
}

/// One argument of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// Its keyword.
    pub name: &'static str,
    /// Its type.
    pub kind: ArgumentType,
    /// Whether the task cannot be built without it.
    pub required: bool,
    /// Whether Jinja is rendered in it.
    pub template: bool,
}

/// One operator.
#[derive(Debug, PartialEq, Eq)]
pub struct Operator {
    /// The class path of Airflow 3.
    pub class_path: &'static str,
    /// Class paths of earlier releases that mean the same.
    pub old_class_paths: &'static [&'static str],
    /// Its own arguments; those of every task are not repeated here.
    pub arguments: &'static [Argument],
    /// How it runs.
    pub runner: Runner,
}

impl Operator {
    /// The class name: the last part of the path.
    pub fn short_name(&self) -> &'static str {
        self.class_path.rsplit('.').next().unwrap_or(self.class_path)
    }

    /// The keywords in which Jinja is rendered.
    pub fn template_fields(&self) -> impl Iterator<Item = &'static str> {
        self.arguments.iter().filter(|a| a.template).map(|a| a.name)
    }
}

const fn arg(name: &'static str, kind: ArgumentType) -> Argument {
    Argument { name, kind, required: false, template: false }
}

const fn template(name: &'static str, kind: ArgumentType) -> Argument {
    Argument { name, kind, required: false, template: true }
}

/// Every operator this version runs, after the standard provider 1.21.0.
pub const OPERATORS: &[Operator] = &[
    Operator {
        class_path: "airflow.providers.standard.operators.empty.EmptyOperator",
        old_class_paths: &[
            "airflow.operators.empty.EmptyOperator",
            "airflow.operators.dummy.DummyOperator",
            "airflow.operators.dummy_operator.DummyOperator",
        ],
        arguments: &[],
        runner: Runner::Empty,
    },
    Operator {
        class_path: "airflow.providers.standard.operators.bash.BashOperator",
        old_class_paths: &["airflow.operators.bash.BashOperator", "airflow.operators.bash_operator.BashOperator"],
        arguments: &[
            Argument { name: "bash_command", kind: ArgumentType::Text, required: true, template: true },
            template("env", ArgumentType::Mapping),
            arg("append_env", ArgumentType::Boolean),
            arg("skip_on_exit_code", ArgumentType::IntegerOrList),
            template("cwd", ArgumentType::Text),
            arg("output_encoding", ArgumentType::Text),
        ],
        runner: Runner::Bash,
    },
    Operator {
        class_path: "airflow.providers.standard.operators.python.PythonOperator",
        old_class_paths: &[
            "airflow.operators.python.PythonOperator",
            "airflow.operators.python_operator.PythonOperator",
        ],
        arguments: &[
            arg("python_callable", ArgumentType::Text),
            arg("python_callable_name", ArgumentType::Text),
            arg("python_callable_file", ArgumentType::Text),
            template("op_args", ArgumentType::List),
            template("op_kwargs", ArgumentType::Mapping),
            template("templates_dict", ArgumentType::Mapping),
            arg("show_return_value_in_logs", ArgumentType::Boolean),
        ],
        runner: Runner::Python,
    },
];

/// Finds an operator by class path (old ones too) or by class name alone.
pub fn find(name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().find(|o| {
        o.class_path == name
            || o.old_class_paths.contains(&name)
            || (!name.contains('.')
                && (o.short_name() == name || o.old_class_paths.iter().any(|p| p.rsplit('.').next() == Some(name))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_found_by_every_name_people_use() {
        let bash = find("airflow.providers.standard.operators.bash.BashOperator").map(|o| o.runner);
        for name in
            ["BashOperator", "airflow.operators.bash.BashOperator", "airflow.operators.bash_operator.BashOperator"]
        {
            assert_eq!(find(name).map(|o| o.runner), bash, "{name}");
        }
        assert_eq!(find("DummyOperator").map(|o| o.runner), Some(Runner::Empty));
        assert!(find("bash.BashOperator").is_none());
    }
}
