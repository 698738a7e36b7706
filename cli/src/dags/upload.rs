//! `updraft dags upload`

use super::sources::{self, Alone, Reading, Scope};
use super::{files, report};
use crate::failure::Failure;
use crate::printer::{Cell, Printer, Rows};
use crate::settings;
use crate::stores::DagFolder;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
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

    #[command(flatten)]
    reading: Reading,
}

/// Checks the files and, if nothing is wrong with them, copies them.
pub(crate) async fn run(arguments: &Arguments, printer: Printer) -> Result<(), Failure> {
    let scopes = sources::collect(&arguments.paths, Alone::ByItself, arguments.reading.ignore_syntax()).await?;
    let checked = files::check(&scopes, &arguments.reading, Timestamp::now()).await?;
    let problems = report::render_all(&checked, crate::printer::colors_on_stderr());
    if !problems.is_empty() {
        printer.note(problems.trim_end());
    }
    if checked.iter().any(files::Checked::has_errors) {
        return Err(Failure::user("nothing was uploaded").cause("the files have the errors above"));
    }
    // What DAG files name goes first: a DAG file that arrives before its callable would not load.
    let mut helpers: BTreeMap<String, usize> = BTreeMap::new();
    let mut declaring: BTreeMap<String, usize> = BTreeMap::new();
    for (at, scope) in scopes.iter().enumerate() {
        let all = scope.listed.iter().flatten().map(|entry| &entry.path).chain(&scope.files);
        for path in all.collect::<BTreeSet<_>>() {
            let is_declaring = Scope::is_dag_file(path) && scope.files.contains(path);
            let before =
                if is_declaring { declaring.insert(path.clone(), at) } else { helpers.insert(path.clone(), at) };
            if let Some(other) = before.filter(|other| *other != at) {
                return Err(Failure::user("nothing was uploaded").cause(format!(
                    "`{}` and `{}` would both become `{path}`",
                    scopes[other].shown(path),
                    scope.shown(path)
                )));
            }
        }
        // Of a file by itself, what it names comes along; of a folder, everything does anyway.
        for file in checked.iter().filter(|file| scope.listed.is_none() && scope.shown(&file.path) == file.shown) {
            helpers.extend(file.references.iter().map(|path| (path.clone(), at)));
            for defaults in &file.defaults {
                printer.note(format_args!(
                    "note: `{}` holds for `{}` and does not go with it; upload the folder to keep them together",
                    scope.shown(defaults),
                    file.shown
                ));
            }
        }
    }
    if helpers.is_empty() && declaring.is_empty() {
        return Err(Failure::user("nothing was uploaded").cause("there are no files in what was named"));
    }
    let folder = open(arguments).await?;
    let mut rows = Rows::new(&["filepath", "size", "location"]);
    for (name, at) in helpers.into_iter().chain(declaring) {
        let file = scopes[at].store.read(&name).await?;
        let file = file.ok_or_else(|| Failure::user(format!("`{}` is gone", scopes[at].shown(&name))))?;
        folder.write(&name, &file.bytes).await?;
        rows.push(vec![Cell::text(name), Cell::Json(file.bytes.len().into()), Cell::text(folder.location())]);
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
    pub(crate) async fn open_bucket(uri: &str) -> Result<Self, Failure> {
        crate::aws::dag_folder(uri).await.map(Self::S3)
    }

    /// Where a URI names one file: the DAG folder around it, and its path in that.
    #[cfg(feature = "aws")]
    pub(crate) async fn open_object(uri: &str) -> Result<Option<(Self, &str)>, Failure> {
        let found = crate::aws::dag_folder_of(uri).await?;
        Ok(found.map(|(store, path)| (Self::S3(store), path)))
    }

    /// Every file of a bucket is beyond this program, as the bucket is: [`Self::open_bucket`] says so.
    #[cfg(not(feature = "aws"))]
    #[expect(
        clippy::unused_async,
        clippy::unnecessary_wraps,
        reason = "the same call with AWS built in waits, and fails"
    )]
    pub(crate) async fn open_object(_: &str) -> Result<Option<(Self, &str)>, Failure> {
        Ok(None)
    }

    #[cfg(not(feature = "aws"))]
    #[expect(clippy::unused_async, reason = "the same call with AWS built in waits")]
    pub(crate) async fn open_bucket(uri: &str) -> Result<Self, Failure> {
        Err(Failure::user(format!("`{uri}` cannot be used"))
            .cause("this program was built without AWS")
            .hint("build it with the feature `aws`, or copy into a folder with `--dags DIR`"))
    }
}
