//! Where the DAG of a trial is read.

use super::TrialEngine;
use crate::dags::Reading;
use crate::failure::{Failure, did_you_mean};
use crate::printer::Printer;
use std::path::PathBuf;
use updraft_dag_store::{DagStore, Directory};
use updraft_model::DagId;
use updraft_service::Settings;
use updraft_service::engine::near;

/// How many DAGs are named where none is close.
const NAMED_MAX: usize = 10;

/// Which DAG folder, or which file.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The DAG folder
    #[arg(long, value_name = "DIR", default_value = "./dags")]
    dags: PathBuf,

    /// Read this file alone; its folder is then the DAG folder, unless it lies in the one that is named
    #[arg(long, short = 'f', visible_alias = "file", value_name = "FILE")]
    dagfile_path: Option<PathBuf>,

    #[command(flatten)]
    reading: Reading,
}

impl Place {
    /// The settings that reading depends on.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        let limits = Settings::default().with_limits(|name| std::env::var(name).ok())?;
        Ok(Settings {
            max_map_length: limits.max_map_length,
            ignore_syntax: self.reading.ignore_syntax(),
            dag_environment: self.reading.environment(),
            dag_variables: crate::dags::Reading::variables(),
            ..Settings::default()
        })
    }

    /// Takes the files in, and makes sure that the DAG is among what they declare. Returns the DAG folder.
    pub(super) async fn read(
        &self,
        engine: &TrialEngine,
        dag_id: &DagId,
        printer: Printer,
    ) -> Result<PathBuf, Failure> {
        let (root, file) = self.root()?;
        let folder = Directory::new(&root);
        match file {
            Some(file) => engine.ingest_changed(&folder, &[file]).await?,
            None => engine.ingest_all(&folder).await?,
        };
        let errors = engine.store.list_import_errors(1000, None).await?.items;
        if engine.store.dag(dag_id).await?.is_some_and(|dag| dag.version.is_some()) {
            // Other DAGs' mistakes are not this one's.
            engine.set_paused(dag_id, false).await?;
            return Ok(root);
        }
        for error in &errors {
            printer.note(&error.stack_trace);
        }
        let known: Vec<String> =
            engine.all_dags().await?.into_iter().map(|dag| dag.summary.dag_id.to_string()).collect();
        let failure = Failure::user(format!("the DAG `{dag_id}` does not exist"));
        Err(if !errors.is_empty() {
            failure.cause(format!("what was read in `{}` has the errors above", folder.location()))
        } else if let Some(hint) = did_you_mean(&near(dag_id.as_str(), known.clone())) {
            failure.hint(hint)
        } else {
            let names = known.iter().take(NAMED_MAX).map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { "no DAG".to_owned() } else { names };
            failure
                .cause(format!("the files in `{}` declare {names}", folder.location()))
                .hint("name another DAG folder with `--dags DIR`, or a file with `--dagfile-path FILE`")
        })
    }

    /// The DAG folder, and the file in it, where one was named.
    fn root(&self) -> Result<(PathBuf, Option<String>), Failure> {
        let real = |path: &PathBuf, what: &str| {
            path.canonicalize()
                .map_err(|e| Failure::user(format!("there is no {what} `{}`", path.display())).cause(e.to_string()))
        };
        let Some(file) = &self.dagfile_path else {
            let root = real(&self.dags, "DAG folder").map_err(|failure| {
                failure.hint("name it with `--dags DIR`, or a file by itself with `--dagfile-path FILE`")
            })?;
            return Ok((root, None));
        };
        let file = real(file, "file")?;
        let inside = self.dags.canonicalize().ok().filter(|root| file.starts_with(root));
        let Some(root) = inside.or_else(|| file.parent().map(PathBuf::from)) else {
            return Err(Failure::user(format!("`{}` is no file", file.display())));
        };
        let name = file.strip_prefix(&root).unwrap_or(&file).to_string_lossy().into_owned();
        Ok((root, Some(name)))
    }
}
