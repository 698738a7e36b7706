//! Callables in an interpreter of their own: one that the task names (ExternalPythonOperator), or one that is made for it
//! (PythonVirtualenvOperator).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use updraft_execution::{BashCall, OperatorCall, Outcome, OwnPython, PythonCall};

use super::bash::texts;
use super::{branch_python, python};
use crate::attempt::{Attempt, Break, End, Ended, end_of};
use crate::services::Services;

pub(super) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let (call, made) = call(attempt).await?;
    let report = attempt.process(OperatorCall::Python(call)).await;
    remove(made).await;
    Ok(end_of(&report?))
}

/// The same, where the callable says what to follow.
pub(super) async fn branch<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let (call, made) = call(attempt).await?;
    let returned = python::call_for_value(attempt, call).await;
    remove(made).await;
    branch_python::follow(attempt, returned?).await
}

/// The task's call in its interpreter, and what was made for it and goes with it.
async fn call<S: Services>(attempt: &mut Attempt<'_, S>) -> Result<(PythonCall, Option<tempfile::TempDir>), Break> {
    let mut call = python::own_call(attempt).await?;
    let arguments = &attempt.arguments;
    let own = OwnPython {
        interpreter: String::new(),
        env: arguments.mapping("env_vars")?.map(texts),
        only_env: !arguments.flag("inherit_env")?,
        skip_on_exit_code: arguments.integers("skip_on_exit_code")?,
        string_args: arguments.texts("string_args")?,
    };
    if let Some(interpreter) = arguments.text("python")? {
        call.own = Some(Box::new(OwnPython { interpreter, ..own }));
        return Ok((call, None));
    }
    let mut wanted = Wanted::read(attempt)?;
    for conn_id in attempt.arguments.texts("index_urls_from_connection_ids")?.unwrap_or_default() {
        let url = index_of(attempt, &conn_id).await?;
        wanted.index_urls.push(url);
    }
    let (python, made) = wanted.make(attempt).await?;
    call.own = Some(Box::new(OwnPython { interpreter: python.to_string_lossy().into_owned(), ..own }));
    Ok((call, made))
}

/// The package index that a connection names: its host is the address, as in Airflow's `PackageIndexHook`.
async fn index_of<S: Services>(attempt: &mut Attempt<'_, S>, conn_id: &str) -> Result<String, Break> {
    let found = attempt.services.connection(conn_id).await.map_err(|error| Ended::failed(error.to_string()))?;
    let connection = found.ok_or_else(|| format!("the connection `{conn_id}` is not defined"))?;
    attempt.secrets.extend(connection.texts_to_mask());
    let host = connection.host.clone().unwrap_or_default();
    let Some((scheme, rest)) = host.split_once("://") else {
        let why = format!(
            "the host of the connection `{conn_id}` must be the address of a package index, `https://` included"
        );
        return Err(why.into());
    };
    let part = |text: &Option<String>| text.as_deref().map(escaped).unwrap_or_default();
    Ok(match (&connection.login, &connection.password) {
        (None, None) => host.clone(),
        (login, password) => format!("{scheme}://{}:{}@{rest}", part(login), part(password)),
    })
}

/// A text as a part of an address.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// It may hold gigabytes.
async fn remove(made: Option<tempfile::TempDir>) {
    let _ = tokio::task::spawn_blocking(move || drop(made)).await;
}

/// An environment to make.
#[derive(Debug)]
struct Wanted {
    /// The interpreter it is made of.
    base: String,
    /// Lines of a requirements file.
    requirements: String,
    system_site_packages: bool,
    pip_install_options: Vec<String>,
    /// Where packages come from, the first before all others; not given: where pip is set up to look.
    index_urls: Vec<String>,
    /// Where environments are kept for the next task that wants the same.
    cache: Option<PathBuf>,
}

impl Wanted {
    fn read<S: Services>(attempt: &Attempt<'_, S>) -> Result<Self, String> {
        let arguments = &attempt.arguments;
        let python_version = arguments.text("python_version")?;
        Ok(Self {
            base: python_version.map_or_else(|| attempt.services.python(), |version| format!("python{version}")),
            requirements: arguments.texts("requirements")?.unwrap_or_default().join("\n").trim().to_owned(),
            system_site_packages: arguments.flag("system_site_packages")?,
            pip_install_options: arguments.texts("pip_install_options")?.unwrap_or_default(),
            index_urls: arguments.texts("index_urls")?.unwrap_or_default(),
            cache: arguments.text("venv_cache_path")?.map(PathBuf::from),
        })
    }

    /// The environment's interpreter, and the folder that goes with the attempt, if there is one.
    async fn make<S: Services>(
        &self,
        attempt: &mut Attempt<'_, S>,
    ) -> Result<(PathBuf, Option<tempfile::TempDir>), Break> {
        let io = |error: std::io::Error| Ended::failed(format!("no environment can be made for the task: {error}"));
        let Some(cache) = &self.cache else {
            let made = attempt.services.scratch().map_err(io)?;
            let folder = made.path().join("venv");
            self.build(attempt, &folder).await?;
            return Ok((folder.join("bin/python"), Some(made)));
        };
        let folder = cache.join(format!("venv-{}", self.digest()));
        let ready = folder.join("updraft-ready");
        if !ready.exists() {
            std::fs::create_dir_all(cache).map_err(|error| {
                let cache = cache.display();
                Ended::failed(format!("`venv_cache_path` is `{cache}`, and nothing can be kept there: {error}"))
            })?;
            let lock = File::create(folder.with_extension("lock")).map_err(io)?;
            // Another attempt may be making the same.
            while lock.try_lock().is_err() {
                attempt.services.sleep(Duration::from_millis(200)).await;
            }
            if !ready.exists() {
                let _ = std::fs::remove_dir_all(&folder);
                self.build(attempt, &folder).await?;
                std::fs::write(&ready, "").map_err(io)?;
            }
        }
        Ok((folder.join("bin/python"), None))
    }

    /// Tells environments from each other.
    fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for text in [&self.base, &self.requirements] {
            digest.update(text.as_bytes());
            digest.update([0]);
        }
        digest.update([u8::from(self.system_site_packages)]);
        for text in self.pip_install_options.iter().chain(&self.index_urls) {
            digest.update(text.as_bytes());
            digest.update([0]);
        }
        digest.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    async fn build<S: Services>(&self, attempt: &mut Attempt<'_, S>, folder: &Path) -> Result<(), Break> {
        let mut call = BashCall::new(self.script(folder));
        // In the environment and not in the command, which is shown: an address may hold a password.
        let mut env = BTreeMap::from([("UPDRAFT_REQUIREMENTS".to_owned(), self.requirements.clone())]);
        if let Some((first, others)) = self.index_urls.split_first() {
            env.insert("PIP_INDEX_URL".to_owned(), first.clone());
            env.insert("PIP_EXTRA_INDEX_URL".to_owned(), others.join(" "));
        }
        (call.env, call.append_env, call.skip_on_exit_code) = (Some(env), true, Vec::new());
        attempt.secrets.extend(self.index_urls.iter().filter_map(|url| password(url)));
        let report = attempt.helper_process(OperatorCall::Bash(call)).await?;
        if report.outcome == Outcome::Success {
            return Ok(());
        }
        let why = match &report.outcome {
            Outcome::TimedOut { .. } => report.outcome.message(),
            _ => last_words(&report.log.tail),
        };
        let base = &self.base;
        let hint = if self.requirements.is_empty() {
            format!("`{base}` must be Python 3.8 or later with its module `venv`, where workers run")
        } else {
            format!(
                "`{base}` needs its modules `venv` and `ensurepip` where workers run, and a package index that can be reached"
            )
        };
        Err(Ended::failed(format!("the task's Python environment could not be made: {why}; {hint}; the log has more"))
            .into())
    }

    /// Makes the environment, without pip where there is nothing to install: that takes a tenth of the time, and no network.
    fn script(&self, folder: &Path) -> String {
        let folder = quoted(&folder.to_string_lossy());
        let site = if self.system_site_packages { " --system-site-packages" } else { "" };
        let base = quoted(&self.base);
        if self.requirements.is_empty() {
            return format!("{base} -m venv --without-pip{site} {folder}");
        }
        let options =
            self.pip_install_options.iter().fold(String::new(), |options, option| options + " " + &quoted(option));
        format!(
            "set -e\n{base} -m venv{site} {folder}\nprintf '%s\\n' \"$UPDRAFT_REQUIREMENTS\" > {folder}/requirements.txt\n\
             {folder}/bin/python -m pip install --disable-pip-version-check --no-input{options} -r {folder}/requirements.txt"
        )
    }
}

/// What was said last before the line that tells of the end.
fn last_words(log: &str) -> String {
    let line = log.lines().rev().nth(1).unwrap_or_default();
    line.split_once(" - ").map_or(line, |(_, text)| text).trim().to_owned()
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The password in an address.
fn password(url: &str) -> Option<String> {
    let (user, _) = url.split_once("://")?.1.split('/').next()?.rsplit_once('@')?;
    Some(user.split_once(':')?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_are_quoted() {
        assert_eq!(quoted("it's; rm -rf /"), r"'it'\''s; rm -rf /'");
    }

    #[test]
    fn passwords_of_addresses_are_found() {
        assert_eq!(password("https://me:hunter22@index.example/simple@x").as_deref(), Some("hunter22"));
        assert_eq!(password("https://index.example/simple"), None);
    }
}
