//! `updraft dags state`

use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::Printer;
use crate::tasks::OfRun;
use serde_json::json;
use updraft_service::Error;

/// Which run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    run: OfRun,
}

/// Prints the run's state, with its conf where it has one. As in Airflow, a run that does not exist is `None` and no failure; why it
/// does not is said on standard error.
pub(crate) async fn run(arguments: &Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    super::existing(session, &arguments.run.dag_id).await?;
    let run = match arguments.run.look_for(session).await {
        Ok(run) => run,
        Err(Error::NotFound { what: "the run", name, near }) => {
            printer.note(format_args!("note: the run `{name}` does not exist"));
            if let Some(hint) = crate::failure::did_you_mean(&near) {
                printer.note(format_args!("  hint: {hint}"));
            }
            return if printer.is_for_programs() { printer.value(&json!(null)) } else { printer.text("None\n") };
        }
        Err(error) => return Err(error.into()),
    };
    let conf = &run.facts.conf;
    if printer.is_for_programs() {
        return printer.value(&json!({
            "dag_id": run.facts.dag_id, "run_id": run.facts.run_id, "state": run.state.as_str(), "conf": conf,
        }));
    }
    let has_conf = conf.as_object().is_some_and(|conf| !conf.is_empty());
    printer.text(&if has_conf { format!("{}, {conf}\n", run.state) } else { format!("{}\n", run.state) })
}
