//! `updraft dags upload`

use super::files::{self, Source};
use crate::failure::Failure;
use crate::printer::{Cell, Printer, Rows};
use crate::settings;
use crate::stores::DagFolder;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use updraft_dag_store::{DagStore, Directory};

/// What to copy, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// DAG files with what they name, or DAG folders with all that is in them
    #[arg(required = true)]
    paths: Vec<PathBuf>,

    /// The bucket, with the prefix of the DAG folder in it, e.g. `s3://bucket/dags`
    #[arg(long, value_name = "S3_URI", conflicts_with = "dags")]
    to: Option<String>,

    /// The DAG folder of a server on this machine
    #[arg(long, value_name = "DIR")]
    dags: Option<PathBuf>,
}

/// Checks the files and, if nothing is wrong with them, copies them.
pub(crate) async fn run(arguments: &Arguments, printer: Printer) -> Result<(), Failure> {
    let sources = files::collect(&arguments.paths).await?;
    let (dag_files, others): (Vec<Source>, Vec<Source>) = sources.into_iter().partition(Source::is_dag_file);
    let checked = files::check(dag_files, Timestamp::now())?;
    let problems: String = checked.iter().map(|file| file.render(crate::printer::colors_on_stderr())).collect();
    if !problems.is_empty() {
        printer.note(problems.trim_end());
    }
    if checked.iter().any(files::Checked::has_errors) {
        return Err(Failure::user("nothing was uploaded").cause("the files have the errors above"));
    }
    // What DAG files name goes first: a DAG file that arrives before its callable would not load.
    let mut helpers: BTreeMap<String, PathBuf> = others.into_iter().map(|file| (file.name, file.path)).collect();
    let mut declaring: BTreeMap<String, PathBuf> = BTreeMap::new();
    for file in checked {
        helpers.extend(file.references);
        if let Some(other) = declaring.insert(file.source.name.clone(), file.source.path.clone()) {
            return Err(Failure::user("nothing was uploaded").cause(format!(
                "`{}` and `{}` would both become `{}`",
                other.display(),
                file.source.path.display(),
                file.source.name
            )));
        }
    }
    if helpers.is_empty() && declaring.is_empty() {
        return Err(Failure::user("nothing was uploaded").cause("there are no files in what was named"));
    }
    let folder = open(arguments).await?;
    let mut rows = Rows::new(&["filepath", "size", "location"]);
    for (name, path) in helpers.into_iter().chain(declaring) {
        let bytes = std::fs::read(&path)
            .map_err(|e| Failure::user(format!("`{}` could not be read", path.display())).cause(e.to_string()))?;
        folder.write(&name, &bytes).await?;
        rows.push(vec![Cell::text(name), Cell::Json(bytes.len().into()), Cell::text(folder.location())]);
    }
    printer.rows(&rows)
}

/// The place to copy to.
async fn open(arguments: &Arguments) -> Result<DagFolder, Failure> {
    if let Some(folder) = &arguments.dags {
        return Ok(DagFolder::Directory(Directory::new(folder)));
    }
    let bucket = std::env::var(settings::BUCKET).ok().filter(|bucket| !bucket.is_empty());
    match (&arguments.to, bucket) {
        (Some(uri), _) => DagFolder::open_bucket(uri).await,
        (None, Some(bucket)) => DagFolder::open_bucket(&format!("s3://{bucket}")).await,
        (None, None) => Err(Failure::user("it is not known where to upload to").hint(format!(
            "name a bucket with `--to s3://BUCKET/PREFIX` or `{}`, or a folder with `--dags DIR`",
            settings::BUCKET
        ))),
    }
}

impl DagFolder {
    #[cfg(feature = "aws")]
    async fn open_bucket(uri: &str) -> Result<Self, Failure> {
        crate::aws::dag_folder(uri).await.map(Self::S3)
    }

    #[cfg(not(feature = "aws"))]
    #[expect(clippy::unused_async, reason = "the same call with AWS built in waits")]
    async fn open_bucket(uri: &str) -> Result<Self, Failure> {
        Err(Failure::user(format!("`{uri}` cannot be used"))
            .cause("this program was built without AWS")
            .hint("build it with the feature `aws`, or copy into a folder with `--dags DIR`"))
    }
}
