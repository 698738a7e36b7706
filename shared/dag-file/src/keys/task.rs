//! Keys of a task, whatever its operator: those of the file format, and the arguments of Airflow's `BaseOperator`.

use super::{Key, Shape, kept, key, no_effect, old};
use updraft_model::TriggerRule;

const TRIGGER_RULES: [&str; TriggerRule::ALL.len()] = {
    let mut names = [""; TriggerRule::ALL.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = TriggerRule::ALL[i].as_str();
        i += 1;
    }
    names
};

/// Keys of every task. Those of its operator, and for sensors [`updraft_model::operators::SENSOR_ARGUMENTS`], come on top.
pub const TASK: &[Key] = &[
    key("operator", Shape::Operator, "what the task does: a class name or class path"),
    key("decorator", Shape::DottedPath, "makes the task of a Python function, instead of an operator"),
    key("task_id", Shape::Text, "the task's id, where tasks are a list"),
    key("dependencies", Shape::Dependencies, "tasks and groups that must end before this one begins"),
    key("task_group_name", Shape::Text, "the group it belongs to"),
    key("expand", Shape::Expand, "makes one task of each value when it runs"),
    key("partial", Shape::Mapping, "arguments that stay the same for every value of expand"),
    key(
        "variables_as_arguments",
        Shape::VariablesAsArguments,
        "arguments whose values are those of Variables, where they are set",
    ),
    key("owner", Shape::Text, "who answers for it"),
    key("retries", Shape::Count(0), "tries after the first"),
    key("retry_delay", Shape::Duration, "the wait before a retry; 5 minutes unless set"),
    key("retry_exponential_backoff", Shape::BooleanOrNumber, "whether, or by what factor, waits grow"),
    key("max_retry_delay", Shape::Duration, "the longest wait with backoff"),
    key("execution_timeout", Shape::Duration, "a try is killed after this"),
    key("trigger_rule", Shape::OneOf(&TRIGGER_RULES), "which ends of its upstreams let it run"),
    key("priority_weight", Shape::Integer, "its own weight among waiting tasks"),
    key("weight_rule", Shape::OneOf(&["downstream", "upstream", "absolute"]), "how weights add up"),
    key("start_date", Shape::Moment, "no run before this; the DAG's unless set"),
    key("end_date", Shape::Moment, "no run after this"),
    key("do_xcom_push", Shape::Boolean, "whether what it returns is kept for others"),
    key("params", Shape::Params, "over the DAG's params"),
    key("doc_md", Shape::Text, "documentation in Markdown"),
    key("task_display_name", Shape::Text, "shown instead of the id"),
    key("depends_on_past", Shape::Boolean, "waits for its own success in the previous run"),
    key("wait_for_downstream", Shape::Boolean, "waits for its direct downstreams in the previous run, too"),
    key("ignore_first_depends_on_past", Shape::Boolean, "the first run does not wait for the past"),
    key("wait_for_past_depends_before_skipping", Shape::Boolean, "waits for the past before it is skipped, too"),
    key("max_active_tis_per_dag", Shape::Count(1), "how many instances may run at once, in all runs"),
    key("max_active_tis_per_dagrun", Shape::Count(1), "how many instances may run at once, in one run"),
    key("pool", Shape::Text, "the pool it takes slots of"),
    key("pool_slots", Shape::Count(1), "how many slots it takes"),
    kept("queue", Shape::Text, "the queue that its messages go to"),
    key("multiple_outputs", Shape::Boolean, "each key of a returned mapping is kept by itself, too"),
    key("render_template_as_native_obj", Shape::Boolean, "templates give native values instead of text"),
    kept("map_index_template", Shape::Text, "names the instances of a mapped task"),
    kept("inlets", Shape::Assets, "assets it reads"),
    kept("outlets", Shape::Assets, "assets it writes"),
    kept("on_execute_callback", Shape::Callback, "called before a try"),
    kept("on_execute_callback_name", Shape::Text, "the name of a function in on_execute_callback_file"),
    kept("on_execute_callback_file", Shape::Text, "the Python file with that function"),
    kept("on_success_callback", Shape::Callback, "called when it has succeeded"),
    kept("on_success_callback_name", Shape::Text, "the name of a function in on_success_callback_file"),
    kept("on_success_callback_file", Shape::Text, "the Python file with that function"),
    kept("on_failure_callback", Shape::Callback, "called when it has failed for good"),
    kept("on_failure_callback_name", Shape::Text, "the name of a function in on_failure_callback_file"),
    kept("on_failure_callback_file", Shape::Text, "the Python file with that function"),
    kept("on_retry_callback", Shape::Callback, "called when it will be tried again"),
    kept("on_retry_callback_name", Shape::Text, "the name of a function in on_retry_callback_file"),
    kept("on_retry_callback_file", Shape::Text, "the Python file with that function"),
    kept("on_skipped_callback", Shape::Callback, "called when it has skipped itself"),
    kept("on_skipped_callback_name", Shape::Text, "the name of a function in on_skipped_callback_file"),
    kept("on_skipped_callback_file", Shape::Text, "the Python file with that function"),
    kept("resources", Shape::Mapping, "what it needs of the machine"),
    kept("run_as_user", Shape::Text, "the user it runs as"),
    kept("executor", Shape::Text, "the executor that runs it"),
    kept("executor_config", Shape::Mapping, "settings of the executor"),
    kept("retry_policy", Shape::Any, "decides on retries by the error"),
    kept("pre_execute", Shape::DottedPath, "called right before it runs"),
    kept("post_execute", Shape::DottedPath, "called right after it has run"),
    no_effect("email", Shape::TextOrTexts, "whom to write to; gone in Airflow 3"),
    no_effect("email_on_retry", Shape::Boolean, "gone in Airflow 3"),
    no_effect("email_on_failure", Shape::Boolean, "gone in Airflow 3"),
    no_effect("sla", Shape::Duration, "gone in Airflow 3"),
    no_effect("doc", Shape::Text, "documentation"),
    no_effect("doc_json", Shape::Text, "documentation in JSON"),
    no_effect("doc_yaml", Shape::Text, "documentation in YAML"),
    no_effect("doc_rst", Shape::Text, "documentation in reStructuredText"),
    no_effect("logger_name", Shape::Text, "the name of its logger"),
    no_effect("allow_nested_operators", Shape::Boolean, "whether an operator may run inside of it"),
    no_effect("ui_color", Shape::Text, "background in the graph"),
    no_effect("ui_fgcolor", Shape::Text, "foreground in the graph"),
    old("retry_delay_sec", Shape::Duration, "retry_delay"),
    old("execution_timeout_secs", Shape::Duration, "execution_timeout"),
    old("sla_secs", Shape::Duration, "sla"),
    old("task_concurrency", Shape::Count(1), "max_active_tis_per_dag"),
];
