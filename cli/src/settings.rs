//! Every environment variable the command line reads, once.

/// Which metastore: `file:HOME` or `dynamodb://TABLE`. The option `--metastore` goes before it.
pub(crate) const METASTORE: &str = "UPDRAFT_METASTORE";

/// Which profile: a name in the file of profiles. The option `--profile` goes before it.
pub(crate) const PROFILE: &str = "UPDRAFT_PROFILE";

/// The file of profiles; if not set, `updraft/profiles.json` among the user's settings.
pub(crate) const PROFILES: &str = "UPDRAFT_PROFILES";

/// The profile whose variables are set: the program sets it, when it starts itself anew with them.
pub(crate) const PROFILE_IN_USE: &str = "UPDRAFT_PROFILE_IN_USE";

/// Which metastore where nobody names one.
pub(crate) const METASTORE_DEFAULT: &str = "file:./.updraft";

/// The bucket of a deployment, with its DAG files, logs and large values: its name, as `infra` puts it out.
pub(crate) const BUCKET: &str = "UPDRAFT_BUCKET";

/// The URL of the SQS queue that workers are fed from.
#[cfg(feature = "aws")]
pub(crate) const TASK_QUEUE_URL: &str = "UPDRAFT_TASK_QUEUE_URL";

/// The URL of the SQS queue that workers with Python are fed from.
#[cfg(feature = "aws")]
pub(crate) const PYTHON_QUEUE_URL: &str = "UPDRAFT_PYTHON_QUEUE_URL";

/// The URL of the SQS queue that the scheduler is fed from.
#[cfg(feature = "aws")]
pub(crate) const SCHEDULER_QUEUE_URL: &str = "UPDRAFT_SCHEDULER_QUEUE_URL";

/// What is logged on standard error, as `tracing` filters are written; `warn` if not set.
pub(crate) const LOG: &str = "UPDRAFT_LOG";

/// How `.airflowignore` is read: `glob` or `regexp`. The option `--dag-ignore-file-syntax` goes before it.
pub(crate) const IGNORE_SYNTAX: &str = "UPDRAFT_DAG_IGNORE_FILE_SYNTAX";
