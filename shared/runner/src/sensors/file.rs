//! FileSensor: waits for a file on the worker's file system.

use serde_json::Value;

use super::{Look, Sensor, Trouble, watch};
use crate::attempt::{Attempt, End};
use crate::glob;
use crate::services::Services;

/// The connection that Airflow has when nobody made one, and where its relative paths begin.
const DEFAULT: (&str, &str) = ("fs_default", "/");

pub(crate) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let pattern = attempt.arguments.required_text("filepath")?;
    let conn_id = attempt.arguments.text("fs_conn_id")?.unwrap_or_else(|| DEFAULT.0.to_owned());
    let base = base(attempt, &conn_id).await?;
    let recursive = attempt.arguments.flag("recursive")?;
    watch(attempt, File { pattern: join(&base, &pattern), recursive }).await
}

/// The folder in which a connection's relative paths begin.
async fn base<S: Services>(attempt: &Attempt<'_, S>, conn_id: &str) -> Result<String, crate::attempt::Break> {
    let found = attempt.services.connection(conn_id).await.map_err(|e| crate::attempt::Ended::failed(e.to_string()))?;
    match found {
        Some(connection) => {
            let extra = connection.extra_dejson();
            Ok(extra.get("path").and_then(Value::as_str).unwrap_or_default().to_owned())
        }
        None if conn_id == DEFAULT.0 => Ok(DEFAULT.1.to_owned()),
        None => Err(format!(
            "there is no connection `{conn_id}`; make it with `updraft connections add {conn_id} --conn-type fs \
             --conn-extra '{{\"path\": \"/data\"}}'`, or leave `fs_conn_id` out and write whole paths"
        )
        .into()),
    }
}

fn join(base: &str, path: &str) -> String {
    if path.starts_with('/') || base.is_empty() {
        path.to_owned()
    } else {
        format!("{}/{path}", base.trim_end_matches('/'))
    }
}

struct File {
    pattern: String,
    recursive: bool,
}

impl Sensor for File {
    async fn look<S: Services>(&mut self, attempt: &mut Attempt<'_, S>) -> Result<Look, Trouble> {
        attempt.say(&format!("is there a file `{}`?", self.pattern)).await;
        let (pattern, recursive) = (self.pattern.clone(), self.recursive);
        let found = tokio::task::spawn_blocking(move || glob::first_file(&pattern, recursive)).await;
        match found.map_err(|e| Trouble::Error(e.to_string()))?.map_err(Trouble::Error)? {
            Some(path) => {
                attempt.say(&format!("found `{}`", path.display())).await;
                Ok(Look::Done(Value::Null))
            }
            None => Ok(Look::NotYet),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_begin_at_the_connections_folder() {
        for (base, path, joined) in [
            ("/", "a/b", "/a/b"),
            ("/data", "a", "/data/a"),
            ("/data/", "a", "/data/a"),
            ("", "a", "a"),
            ("/d", "/a", "/a"),
        ] {
            assert_eq!(join(base, path), joined);
        }
    }
}
