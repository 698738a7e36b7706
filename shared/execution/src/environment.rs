//! The environment of an attempt's processes.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::spec::{AttemptSpec, OperatorCall};

/// Variables that configure this product, its credentials among them; tasks do not see them.
const OWN_PREFIX: &str = "UPDRAFT_";

/// Where Python looks before its own folders.
const PYTHONPATH: &str = "PYTHONPATH";

/// What the attempt's process gets to see: `own` is the server's environment, and Pythons that a command starts look into `packages`.
pub(crate) fn environment(
    spec: &AttemptSpec,
    own: impl Iterator<Item = (OsString, OsString)>,
    packages: &[PathBuf],
) -> Vec<(OsString, OsString)> {
    let mut inherited: BTreeMap<OsString, OsString> = inherited(own).collect();
    if matches!(spec.operator, OperatorCall::Bash(_)) && !packages.is_empty() {
        let before = inherited.remove(OsStr::new(PYTHONPATH));
        let folders = packages.iter().cloned().chain(before.iter().flat_map(std::env::split_paths));
        // None of them has a colon in it, or it could not have been named.
        inherited.extend(std::env::join_paths(folders).ok().map(|joined| (PYTHONPATH.into(), joined)));
    }
    let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
    let given = match &spec.operator {
        OperatorCall::Bash(bash) => bash.env.as_ref().map(|given| (given, bash.append_env)),
        OperatorCall::Python(call) => call.own.as_deref().and_then(|own| {
            static NOTHING: BTreeMap<String, String> = BTreeMap::new();
            let given = own.env.as_ref();
            (given.is_some() || own.only_env).then(|| (given.unwrap_or(&NOTHING), !own.only_env))
        }),
        OperatorCall::Empty => None,
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

/// What every attempt's process may see of the server's environment.
pub(crate) fn inherited(own: impl Iterator<Item = (OsString, OsString)>) -> impl Iterator<Item = (OsString, OsString)> {
    own.filter(|(name, _)| !name.as_encoded_bytes().starts_with(OWN_PREFIX.as_bytes()))
}

/// What Airflow tells every task's process, by the names it uses; an absent value is an absent variable.
pub(crate) fn context_variables(spec: &AttemptSpec) -> impl Iterator<Item = (OsString, OsString)> {
    let context = &spec.context;
    [
        ("AIRFLOW_CTX_DAG_OWNER", Some(context.owner.clone())),
        ("AIRFLOW_CTX_DAG_ID", Some(spec.dag_id.clone())),
        ("AIRFLOW_CTX_TASK_ID", Some(spec.task_id.clone())),
        ("AIRFLOW_CTX_LOGICAL_DATE", context.logical_date.map(iso_text)),
        ("AIRFLOW_CTX_TRY_NUMBER", Some(spec.try_number.to_string())),
        ("AIRFLOW_CTX_DAG_RUN_ID", Some(spec.run_id.clone())),
        // Ours alone: what a service is to be given so that it does nothing twice.
        ("UPDRAFT_IDEMPOTENCY_KEY", spec.task_instance_id.clone()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::BashCall;

    #[test]
    fn our_own_variables_stay_here_unless_the_task_names_them() {
        let own = || [("UPDRAFT_TOKEN", "secret"), ("AWS_PROFILE", "dev"), ("UPDRAFTED", "1")];
        let own = || own().into_iter().map(|(name, value)| (name.into(), value.into()));
        let names = |call: BashCall| {
            let spec = AttemptSpec::new("d", "t", "r", OperatorCall::Bash(call));
            let names = environment(&spec, own(), &[]).into_iter().map(|(name, _)| name.into_string());
            names.filter_map(Result::ok).filter(|name| !name.starts_with("AIRFLOW_")).collect::<Vec<_>>()
        };
        assert_eq!(names(BashCall::new("true")), ["AWS_PROFILE", "UPDRAFTED"]);
        let given = Some([("UPDRAFT_MINE".to_owned(), "1".to_owned())].into());
        let call = BashCall { env: given.clone(), ..BashCall::new("true") };
        assert_eq!(names(call), ["UPDRAFT_MINE"]);
        let call = BashCall { env: given, append_env: true, ..BashCall::new("true") };
        assert_eq!(names(call), ["AWS_PROFILE", "UPDRAFTED", "UPDRAFT_MINE"]);
    }

    #[test]
    fn pythons_of_commands_find_packages_before_anything_else() {
        let packages = [PathBuf::from("/p/python"), PathBuf::from("/p")];
        let path = |call: BashCall, own: &[(&str, &str)], packages: &[PathBuf]| {
            let spec = AttemptSpec::new("d", "t", "r", OperatorCall::Bash(call));
            let own = own.iter().map(|(name, value)| (name.into(), value.into()));
            let found = environment(&spec, own, packages).into_iter().find(|(name, _)| name == PYTHONPATH);
            found.map(|(_, value)| value.into_string().expect("text"))
        };
        let plain = || BashCall::new("true");
        assert_eq!(path(plain(), &[], &packages).as_deref(), Some("/p/python:/p"));
        let own = [("PYTHONPATH", "/a:/b")];
        assert_eq!(path(plain(), &own, &packages).as_deref(), Some("/p/python:/p:/a:/b"));
        assert_eq!(path(plain(), &own, &[]).as_deref(), Some("/a:/b"));
        assert_eq!(path(plain(), &[], &[]), None);
        let given = |value: &str| Some([("PYTHONPATH".to_owned(), value.to_owned())].into());
        assert_eq!(
            path(BashCall { env: given("/mine"), append_env: true, ..plain() }, &own, &packages).as_deref(),
            Some("/mine")
        );
        assert_eq!(
            path(BashCall { env: Some(BTreeMap::new()), ..plain() }, &own, &packages),
            None,
            "it is given all it gets"
        );
    }

    #[test]
    fn instants_are_written_as_python_writes_them() {
        let text = |instant: &str| iso_text(instant.parse().expect("an instant"));
        assert_eq!(text("2025-01-02T00:00:00Z"), "2025-01-02T00:00:00+00:00");
        assert_eq!(text("2025-01-02T00:00:00.000000001Z"), "2025-01-02T00:00:00+00:00");
        assert_eq!(text("2025-01-02T01:02:03.000450Z"), "2025-01-02T01:02:03.000450+00:00");
    }
}
