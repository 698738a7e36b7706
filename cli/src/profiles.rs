//! Deployments by name: `updraft --profile NAME ...`.
//!
//! A profile is a set of environment variables, in a JSON file that `infra/deploy --save-as NAME` keeps. The program starts itself anew with
//! them, so that whatever reads the environment finds them, AWS's own settings among it.

use crate::failure::{Failure, did_you_mean};
use crate::settings;
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use updraft_service::engine::near;

/// Variables by name, by the name of the profile.
type Profiles = BTreeMap<String, BTreeMap<String, String>>;

/// Goes on as the same command with the variables of the profile, where one is named and they are not there yet. Returns where there is
/// nothing to be done.
///
/// # Errors
/// If there is no such profile.
pub(crate) fn enter(name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name else { return Ok(()) };
    if std::env::var(settings::PROFILE_IN_USE).is_ok_and(|used| used == name) {
        return Ok(());
    }
    let file = file()?;
    let profiles = read(&file)?;
    let Some(variables) = profiles.get(name) else {
        let known: Vec<String> = profiles.into_keys().collect();
        let failure = Failure::user(format!("there is no profile `{name}` in `{}`", file.display()));
        return Err(match did_you_mean(&near(name, known.clone())) {
            Some(hint) => failure.hint(hint),
            None if known.is_empty() => failure.hint(format!("`infra/deploy --save-as {name}` makes it")),
            None => failure.hint(format!("those there are: {}", known.join(", "))),
        });
    };
    let program =
        std::env::current_exe().map_err(|e| Failure::fault("this program is not found").cause(e.to_string()))?;
    let error = Command::new(program)
        .args(std::env::args_os().skip(1))
        .envs(variables)
        .env(settings::PROFILE_IN_USE, name)
        .exec();
    Err(Failure::fault("this program could not be started with the profile's variables").cause(error.to_string()))
}

/// The file of profiles: where `UPDRAFT_PROFILES` says, else among the user's settings.
fn file() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let ours = |config: PathBuf| config.join("updraft").join("profiles.json");
    set(settings::PROFILES)
        .or_else(|| set("XDG_CONFIG_HOME").map(ours))
        .or_else(|| set("HOME").map(|home| ours(home.join(".config"))))
        .ok_or_else(|| Failure::user("there is no file of profiles: neither `UPDRAFT_PROFILES` nor `HOME` is set"))
}

fn read(file: &PathBuf) -> Result<Profiles, Failure> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Profiles::new()),
        Err(error) => {
            return Err(Failure::user(format!("`{}` cannot be read", file.display())).cause(error.to_string()));
        }
    };
    serde_json::from_str(&text).map_err(|error| {
        Failure::user(format!("`{}` is no file of profiles", file.display()))
            .cause(error.to_string())
            .hint("it maps names to variables: {\"prod\": {\"UPDRAFT_METASTORE\": \"dynamodb://TABLE\", \"AWS_REGION\": \"eu-west-1\"}}")
    })
}
