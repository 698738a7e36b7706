//! `updraft tasks hitl ...`: what people are asked, and their answers.

use super::OfRun;
use crate::dags::parse_dag_id;
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows};
use clap::Subcommand;
use serde_json::{Map, Value, json};
use updraft_model::hitl::WITHOUT_END;
use updraft_model::{DagId, HitlUser};
use updraft_service::hitl::{Answer, HitlFilter, HitlView};

/// What to do with questions to people.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the questions that wait for an answer
    List(ListArguments),
    /// Print what a task instance asks, and what was answered
    Show(ShowArguments),
    /// Answer what a task instance asks
    Respond(RespondArguments),
}

/// Which questions.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    /// Only those of this DAG
    #[arg(value_parser = parse_dag_id)]
    dag_id: Option<DagId>,

    /// Only those of this run of it
    #[arg(value_name = "RUN_ID")]
    run_id: Option<String>,

    /// Also those that are answered, or that nobody waits for any more
    #[arg(long)]
    all: bool,
}

/// Which task instance.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArguments {
    #[command(flatten)]
    run: OfRun,

    /// The task's id
    task_id: String,

    /// The try that asked; if not given, the latest
    #[arg(long, value_name = "NUMBER")]
    try_number: Option<u32>,
}

/// An answer.
#[derive(Debug, clap::Args)]
pub(crate) struct RespondArguments {
    #[command(flatten)]
    run: OfRun,

    /// The task's id
    task_id: String,

    /// What is chosen, e.g. `Approve`; give it again for several
    #[arg(long, required = true, value_name = "OPTION")]
    option: Vec<String>,

    /// What is filled into the form, as a JSON object
    #[arg(long, value_name = "JSON", value_parser = crate::dags::parse_conf)]
    params_input: Option<Value>,

    /// Who answers; if not given, the user of this machine
    #[arg(long, value_name = "ID", env = "USER", hide_env = true, default_value = "cli")]
    user: String,
}

/// Does it.
pub(crate) async fn run(command: Command, session: &Session, printer: Printer) -> Result<(), Failure> {
    match command {
        Command::List(arguments) => list(arguments, session, printer).await,
        Command::Show(arguments) => show(arguments, session, printer).await,
        Command::Respond(arguments) => Box::pin(respond(arguments, session, printer)).await,
    }
}

async fn list(arguments: ListArguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let ListArguments { dag_id, run_id, all } = arguments;
    let views = session.engine.list_hitl_details(&HitlFilter { dag_id, run_id, answered: all }).await?;
    if printer.is_for_programs() {
        return printer.value(&Value::Array(views.iter().map(json_of).collect()));
    }
    let mut rows = Rows::new(&["dag_id", "run_id", "task_id", "subject", "options", "due", "state", "answer"]);
    for view in views {
        let detail = &view.detail;
        let answer = detail.response.as_ref().map(|response| response.chosen_options.join(", "));
        rows.push(vec![
            Cell::text(&view.run.facts.dag_id),
            Cell::text(&view.run.facts.run_id),
            Cell::text(&view.task_id),
            Cell::text(&detail.subject),
            Cell::text(detail.options.join(", ")),
            Cell::Time(view.due.filter(|due| *due < WITHOUT_END)),
            Cell::State(Some(view.state.as_str())),
            Cell::optional(answer),
        ]);
    }
    printer.rows(&rows)
}

async fn show(arguments: ShowArguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let run = arguments.run.find(session).await?;
    let task = session.engine.task_of_run(&run, &arguments.task_id).await?;
    printer.value(&json_of(&session.engine.hitl_detail(&run, task, arguments.try_number).await?))
}

async fn respond(arguments: RespondArguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let run = arguments.run.find(session).await?;
    let task = session.engine.task_of_run(&run, &arguments.task_id).await?;
    let params_input = match arguments.params_input {
        Some(Value::Object(values)) => values,
        _ => Map::new(),
    };
    let user = HitlUser { id: arguments.user.clone(), name: arguments.user };
    let answer = Answer { chosen_options: arguments.option, params_input, user };
    let view = Box::pin(session.engine.respond(&run, task, &answer)).await?;
    if printer.is_for_programs() {
        return printer.value(&json_of(&view));
    }
    printer.text(&format!("answered {}: {}\n", view.task_id, answer.chosen_options.join(", ")))
}

/// A question by Airflow's names.
fn json_of(view: &HitlView) -> Value {
    let (facts, detail, response) = (&view.run.facts, &view.detail, view.detail.response.as_ref());
    json!({
        "dag_id": facts.dag_id,
        "dag_run_id": facts.run_id,
        "task_id": view.task_id,
        "map_index": -1,
        "try_number": view.try_number,
        "state": view.state,
        "subject": detail.subject,
        "body": detail.body,
        "options": detail.options,
        "defaults": detail.defaults,
        "multiple": detail.multiple,
        "params": detail.params,
        "assigned_users": detail.assigned_users,
        "created_at": detail.created_at,
        "due": view.due.filter(|due| *due < WITHOUT_END),
        "response_received": response.is_some(),
        "chosen_options": response.map(|r| &r.chosen_options),
        "params_input": response.map(|r| r.params_input.clone()).unwrap_or_default(),
        "responded_at": response.map(|r| r.responded_at),
        "responded_by_user": response.and_then(|r| r.responded_by_user.as_ref()),
    })
}
