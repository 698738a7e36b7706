//! The environment of an attempt's processes.

use std::collections::BTreeMap;
use std::ffi::OsString;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::spec::{AttemptSpec, OperatorCall};

/// Variables that configure this product, its credentials among them; tasks do not see them.
const OWN_PREFIX: &str = "UPDRAFT_";

/// What the attempt's process gets to see: `own` is the server's environment.
pub(crate) fn environment(
    spec: &AttemptSpec,
    own: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let inherited = own.filter(|(name, _)| !name.as_encoded_bytes().starts_with(OWN_PREFIX.as_bytes()));
    let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
    let given = match &spec.operator {
        OperatorCall::Bash(bash) => bash.env.as_ref().map(|given| (given, bash.append_env)),
        OperatorCall::Python(_) | OperatorCall::Empty => None,
    };
    match given {
        None => env.extend(inherited),
        Some((given, append)) => {
            if append {
                env.extend(inherited);
            }
            env.extend(given.iter().map(|(name, value)| (name.into(), value.into())));
        }
    }
    env.extend(context_variables(spec));
    env.into_iter().collect()
}

/// What Airflow tells every task's process, by the names it uses; an absent value is an absent variable.
fn context_variables(spec: &AttemptSpec) -> impl Iterator<Item = (OsString, OsString)> {
    let context = &spec.context;
    [
        ("AIRFLOW_CTX_DAG_OWNER", Some(context.owner.clone())),
        ("AIRFLOW_CTX_DAG_ID", Some(spec.dag_id.clone())),
        ("AIRFLOW_CTX_TASK_ID", Some(spec.task_id.clone())),
        ("AIRFLOW_CTX_LOGICAL_DATE", context.logical_date.map(iso_text)),
        ("AIRFLOW_CTX_TRY_NUMBER", Some(spec.try_number.to_string())),
        ("AIRFLOW_CTX_DAG_RUN_ID", Some(spec.run_id.clone())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.into(), value.filter(|text| !text.is_empty())?.into())))
}

/// An instant as Python's `datetime.isoformat` writes it in UTC: microseconds only if there are any.
pub(crate) fn iso_text(instant: Timestamp) -> String {
    let utc = instant.to_zoned(TimeZone::UTC);
    if utc.subsec_nanosecond() / 1000 == 0 {
        utc.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
    } else {
        utc.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string()
    }
}
