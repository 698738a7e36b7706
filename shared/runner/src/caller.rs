//! Callbacks called for real: notifiers here, commands and Python callables as processes under the supervisor, as attempts are.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};
use updraft_clock::Clock;
use updraft_execution::{BashCall, CallStyle, Callable, Level, OperatorCall, Outcome, PythonCall, cancellation};
use updraft_log_store::LogStore;
use updraft_metastore::Items;
use updraft_model::{AttemptOutcome, Connection, Means, Occasion, TryEnd};
use updraft_service::callbacks::CALL_TIMEOUT;
use updraft_service::{CallEnded, Called, Caller, Finished, Lookup};
use updraft_task_queue::TaskQueue;

use crate::log::Log;
use crate::runner::ProcessRunner;
use crate::{http, mail, processes};

/// An operator whose fields are no files: callbacks' texts are texts.
const PLAIN: &str = "airflow.providers.standard.operators.empty.EmptyOperator";

/// The end of a callback's log that is kept with it, in bytes.
const LOG_KEPT: usize = 4096;

impl<I: Items, Q: TaskQueue, L: LogStore, C: Clock> Caller for ProcessRunner<I, Q, L, C> {
    async fn call(&self, called: &Called) -> CallEnded {
        // Callbacks of one occasion are called at the same time, each with a log of its own.
        let name = format!("logs/{}/callbacks/{}.{}", called.key.incarnation, called.key.id, called.try_number);
        let mut log = Log::open(&self.logs, name).await;
        let mut secrets = Vec::new();
        let calling = Box::pin(self.call_out(called, &mut log, &mut secrets));
        let ended = match tokio::time::timeout(CALL_TIMEOUT, calling).await {
            Ok(ended) => ended,
            Err(_) => Err(format!("it took longer than {} s", CALL_TIMEOUT.as_secs())),
        };
        let hidden = |text: String| {
            secrets.iter().fold(text, |text, secret| text.replace(secret, updraft_model::secrets::HIDDEN))
        };
        let error = ended.err().map(hidden);
        if let Some(error) = &error {
            log.conclude(self.engine.clock.now(), Level::Error, error).await;
        }
        let mut kept = Finished::new(AttemptOutcome::Success);
        log.keep(&self.logs, &mut kept).await;
        let log = kept.log.map(|text| {
            let from = (text.len().saturating_sub(LOG_KEPT)..=text.len()).find(|at| text.is_char_boundary(*at));
            text[from.unwrap_or(text.len())..].to_owned()
        });
        CallEnded { error, log: log.filter(|text| !text.is_empty()) }
    }
}

/// What templates and callables are told beside the context of the task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// Why the try failed.
    pub(crate) exception: Option<String>,
    /// Why the run ended.
    pub(crate) reason: Option<String>,
    /// How the task instance stands.
    pub(crate) state: Option<&'static str>,
}

impl Told {
    fn of(called: &Called) -> Self {
        let message = called.attempt.as_ref().and_then(|attempt| attempt.message.clone());
        match &called.occasion {
            Occasion::Execute { .. } => Self { state: Some("running"), ..Self::default() },
            Occasion::Try { end, .. } => {
                let state = match end {
                    TryEnd::Success => "success",
                    TryEnd::Skipped => "skipped",
                    TryEnd::Retry => "up_for_retry",
                    TryEnd::Failed => "failed",
                };
                let failed = matches!(end, TryEnd::Retry | TryEnd::Failed);
                let why = || message.unwrap_or_else(|| "its worker died".to_owned());
                Self { exception: failed.then(why), reason: None, state: Some(state) }
            }
            Occasion::Ended { reason, .. } => {
                Self { exception: message, reason: Some(reason.as_str().to_owned()), state: None }
            }
            Occasion::Deadline { .. } => Self { reason: Some("deadline_missed".to_owned()), ..Self::default() },
        }
    }
}

impl<I: Items, Q: TaskQueue, L: LogStore, C: Clock> ProcessRunner<I, Q, L, C> {
    async fn call_out(&self, called: &Called, log: &mut Log, secrets: &mut Vec<String>) -> Result<(), String> {
        let callback = &called.callback;
        let what = callback.means();
        if what == Means::Python {
            return self.call_python(called, log).await;
        }
        let told = Told::of(called);
        let params = called.work.version.plan.dag.params_for(called.work.definition(), &called.work.run.facts.conf);
        let assets = crate::assets::context(&self.engine, &called.work).await.map_err(|e| e.to_string())?;
        let mut source = self.source(&called.work);
        (source.assets, source.told) = (assets, Some(told.clone()));
        let operator = updraft_operators::find(PLAIN).ok_or("there is no EmptyOperator")?;
        let rendered = Box::pin(source.fields(callback.arguments.clone(), operator, params.clone(), secrets)).await;
        let arguments = Said(rendered.map_err(|ended| ended.message.unwrap_or_default())?);
        match what {
            Means::Sns => self.publish(&arguments, log).await,
            Means::Webhook => self.post(&arguments, log, secrets).await,
            Means::Mail => self.mail(&arguments, log, secrets).await,
            Means::Bash => {
                let mut call = BashCall::new(arguments.required("bash_command")?);
                call.append_env = true;
                call.env = Some(environment(called, &told));
                self.process_of(called, OperatorCall::Bash(call), &told, secrets, log).await
            }
            Means::Python => Ok(()),
        }
    }

    async fn call_python(&self, called: &Called, log: &mut Log) -> Result<(), String> {
        let callback = &called.callback;
        let folder = processes::lay_out(&self.versions, &called.work).await;
        let folder = folder.map_err(|e| format!("the files of the DAG's version could not be laid out: {e}"))?;
        let callable = match &callback.file {
            Some(file) => Callable::File { path: folder.join(file), name: callback.callback.clone() },
            None => Callable::Import(callback.callback.clone()),
        };
        let is_deadline = matches!(called.occasion, Occasion::Deadline { .. });
        let call = PythonCall {
            op_kwargs: callback.arguments.clone(),
            search_path: std::iter::once(folder).chain(self.search_path.iter().cloned()).collect(),
            style: if is_deadline { CallStyle::Deadline } else { CallStyle::Callback },
            ..PythonCall::new(callable)
        };
        self.process_of(called, OperatorCall::Python(call), &Told::of(called), &mut Vec::new(), log).await
    }

    async fn process_of(
        &self,
        called: &Called,
        call: OperatorCall,
        told: &Told,
        secrets: &mut Vec<String>,
        log: &mut Log,
    ) -> Result<(), String> {
        let params = called.work.version.plan.dag.params_for(called.work.definition(), &called.work.run.facts.conf);
        let mut spec = processes::spec(&called.work, &params, call);
        spec.do_xcom_push = false;
        spec.secrets.clone_from(secrets);
        // Less than the whole call may take, so that the process is gone by then.
        spec.execution_timeout = Some(CALL_TIMEOUT.saturating_sub(Duration::from_secs(20)));
        let extra = [
            ("exception", told.exception.as_deref()),
            ("reason", told.reason.as_deref()),
            ("updraft_ti_state", told.state),
        ];
        for (name, value) in extra {
            if let Some(value) = value {
                spec.context.extra.insert(name.to_owned(), json!(value));
            }
        }
        let (_handle, cancel) = cancellation();
        let report = updraft_execution::run(&spec, &self.launcher, log, &self.lookups(&called.work), cancel).await;
        match report.outcome {
            Outcome::Success | Outcome::Skipped { .. } => Ok(()),
            other => Err(other.message()),
        }
    }

    async fn connection_of(&self, conn_id: &str, secrets: &mut Vec<String>) -> Result<Option<Connection>, String> {
        let lookup = Lookup { store: &self.engine.store, environment: &self.environment };
        let found = lookup.connection(conn_id).await.map_err(|e| e.to_string())?;
        secrets.extend(found.iter().flat_map(Connection::texts_to_mask));
        Ok(found)
    }

    /// Airflow's SnsNotifier.
    async fn publish(&self, arguments: &Said, log: &mut Log) -> Result<(), String> {
        let signer = self.sns.as_ref().ok_or(
            "messages to SNS leave from a deployment with an AWS account; this program was built without (feature `aws`)",
        )?;
        let arn = arguments.required("target_arn")?;
        let mut pairs = vec![
            ("Action".to_owned(), "Publish".to_owned()),
            ("Version".to_owned(), "2010-03-31".to_owned()),
            ("TopicArn".to_owned(), arn.clone()),
            ("Message".to_owned(), arguments.required("message")?),
        ];
        pairs.extend(arguments.text("subject").map(|subject| ("Subject".to_owned(), subject)));
        let attributes = arguments.0.get("message_attributes").and_then(Value::as_object);
        for (number, (name, value)) in attributes.into_iter().flatten().enumerate() {
            let entry = format!("MessageAttributes.entry.{}", number + 1);
            let (kind, value) = match value {
                Value::Number(number) => ("Number", number.to_string()),
                Value::String(text) => ("String", text.clone()),
                other => ("String", other.to_string()),
            };
            pairs.push((format!("{entry}.Name"), name.clone()));
            pairs.push((format!("{entry}.Value.DataType"), kind.to_owned()));
            pairs.push((format!("{entry}.Value.StringValue"), value));
        }
        let form = http::form(pairs.iter().map(|(name, value)| (name.as_str(), value.clone())));
        // The topic's own region, where nobody says another.
        let of_arn = arn.split(':').nth(3).map(str::to_owned).filter(|region| !region.is_empty());
        let region = arguments.text("region_name").or(of_arn);
        let content_type = "application/x-www-form-urlencoded";
        let signed = signer.sign(region.as_deref(), content_type, &form).await?;
        let headers =
            std::iter::once(("content-type".to_owned(), content_type.to_owned())).chain(signed.headers).collect();
        let answer = http::send(http::Request {
            method: "POST".to_owned(),
            url: signed.url,
            headers,
            body: form.into_bytes(),
            timeout: Duration::from_secs(30),
            redirects_max: 0,
        })
        .await?;
        if !answer.ok() {
            return Err(format!(
                "SNS refused the message to `{arn}` with status {}: {}",
                answer.status,
                short(&answer.text)
            ));
        }
        log.say(self.engine.clock.now(), Level::Info, &format!("published to `{arn}`")).await;
        Ok(())
    }

    /// Airflow's SlackWebhookNotifier, and webhooks of others that take JSON.
    async fn post(&self, arguments: &Said, log: &mut Log, secrets: &mut Vec<String>) -> Result<(), String> {
        let conn_id = arguments.text("slack_webhook_conn_id").or_else(|| arguments.text("http_conn_id"));
        let url = if let Some(url) = arguments.text("url") {
            url
        } else {
            let conn_id = conn_id.unwrap_or_else(|| "slack_default".to_owned());
            let connection = self.connection_of(&conn_id, secrets).await?;
            let missing = || format!("there is no connection `{conn_id}`, and no `url` is given");
            webhook_url(&connection.ok_or_else(missing)?)
        };
        secrets.push(url.clone());
        let mut body = match arguments.0.get("body") {
            Some(Value::Object(body)) => body.clone(),
            _ => Map::new(),
        };
        for name in ["text", "blocks", "attachments", "unfurl_links", "unfurl_media"] {
            if let Some(value) = arguments.0.get(name).filter(|value| !value.is_null()) {
                body.insert(name.to_owned(), value.clone());
            }
        }
        if body.is_empty() {
            return Err("a webhook needs a `text`, `blocks` or a `body`".to_owned());
        }
        let more = arguments.0.get("headers").and_then(Value::as_object).into_iter().flatten();
        let more =
            more.map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        let request = http::Request {
            method: "POST".to_owned(),
            url,
            headers: std::iter::once(("content-type".to_owned(), "application/json".to_owned())).chain(more).collect(),
            body: Value::Object(body).to_string().into_bytes(),
            timeout: Duration::from_secs(30),
            redirects_max: 0,
        };
        let answer = http::send(request).await?;
        if !answer.ok() {
            return Err(format!("the webhook answered with status {}: {}", answer.status, short(&answer.text)));
        }
        log.say(self.engine.clock.now(), Level::Info, "the webhook took the message").await;
        Ok(())
    }

    /// Airflow's SmtpNotifier.
    async fn mail(&self, arguments: &Said, log: &mut Log, secrets: &mut Vec<String>) -> Result<(), String> {
        let conn_id = arguments.text("smtp_conn_id").unwrap_or_else(|| "smtp_default".to_owned());
        let connection = self.connection_of(&conn_id, secrets).await?;
        let connection = connection.ok_or_else(|| format!("there is no connection `{conn_id}` to a mail server"))?;
        let mut letter = mail::Letter {
            from: arguments.text("from_email"),
            to: arguments.texts("to"),
            cc: arguments.texts("cc"),
            bcc: arguments.texts("bcc"),
            subject: arguments.text("subject").unwrap_or_default(),
            html: arguments.text("html_content").unwrap_or_default(),
        };
        if letter.to.is_empty() {
            return Err("a mail needs `to`".to_owned());
        }
        letter.subject = letter.subject.replace(['\r', '\n'], " ");
        mail::send(letter, &connection).await?;
        log.say(self.engine.clock.now(), Level::Info, "the mail server took the message").await;
        Ok(())
    }
}

/// The URL that a connection to a webhook has: its host, its schema where the host has none, and its password as the secret part.
fn webhook_url(connection: &Connection) -> String {
    let host = connection.host.clone().unwrap_or_else(|| "https://hooks.slack.com/services".to_owned());
    let secret = connection.password.clone().unwrap_or_default();
    if secret.starts_with("http") {
        return secret;
    }
    let base = if host.contains("://") {
        host
    } else {
        format!("{}://{host}", connection.schema.as_deref().unwrap_or("https"))
    };
    let port = connection.port.map(|port| format!(":{port}")).unwrap_or_default();
    let mut url = format!("{}{port}", base.trim_end_matches('/'));
    if !secret.is_empty() {
        let _ = write!(url, "/{}", secret.trim_start_matches('/'));
    }
    url
}

/// What a command is told besides Airflow's `AIRFLOW_CTX_*`.
fn environment(called: &Called, told: &Told) -> std::collections::BTreeMap<String, String> {
    let kind = called.occasion.kind().map_or("deadline", updraft_model::CallbackKind::key);
    let mut variables = std::collections::BTreeMap::from([("AIRFLOW_CTX_CALLBACK".to_owned(), kind.to_owned())]);
    for (name, value) in [
        ("AIRFLOW_CTX_EXCEPTION", told.exception.clone()),
        ("AIRFLOW_CTX_REASON", told.reason.clone()),
        ("AIRFLOW_CTX_TASK_STATE", told.state.map(str::to_owned)),
    ] {
        variables.extend(value.map(|value| (name.to_owned(), value)));
    }
    variables
}

fn short(text: &str) -> String {
    text.chars().take(300).collect()
}

/// A notifier's arguments, rendered.
struct Said(Map<String, Value>);

impl Said {
    fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::Null => None,
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    fn required(&self, name: &str) -> Result<String, String> {
        self.text(name).ok_or_else(|| format!("the callback needs `{name}`"))
    }

    /// A list, or a text with commas or semicolons between.
    fn texts(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(text)) => {
                text.split([',', ';']).map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhooks_address_is_its_connections() {
        let of = |host: Option<&str>, schema: Option<&str>, password: Option<&str>, port: Option<u16>| {
            let mut connection: Connection =
                serde_json::from_value(json!({"conn_id": "c", "conn_type": "http"})).unwrap();
            connection.host = host.map(str::to_owned);
            connection.schema = schema.map(str::to_owned);
            connection.password = password.map(str::to_owned);
            connection.port = port;
            webhook_url(&connection)
        };
        assert_eq!(of(None, None, Some("/T/B/x"), None), "https://hooks.slack.com/services/T/B/x");
        assert_eq!(of(None, None, Some("https://h/s"), None), "https://h/s");
        assert_eq!(of(Some("localhost"), Some("http"), Some("x"), Some(81)), "http://localhost:81/x");
        assert_eq!(of(Some("http://a/b/"), None, None, None), "http://a/b");
    }
}
