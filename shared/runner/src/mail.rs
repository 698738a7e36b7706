//! Mail by SMTP, with the settings of Airflow's connections to mail servers.

use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{Message, SmtpTransport, Transport};
use std::time::Duration;
use updraft_model::Connection;

/// A letter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Letter {
    /// Who writes; none: as the connection says.
    pub(crate) from: Option<String>,
    pub(crate) to: Vec<String>,
    pub(crate) cc: Vec<String>,
    pub(crate) bcc: Vec<String>,
    pub(crate) subject: String,
    pub(crate) html: String,
}

/// Sends a letter.
pub(crate) async fn send(letter: Letter, connection: &Connection) -> Result<(), String> {
    let extra = serde_json::Value::Object(connection.extra_dejson());
    let from = letter.from.clone().or_else(|| extra["from_email"].as_str().map(str::to_owned));
    let from = from.ok_or("a mail needs `from_email`, or the connection an extra `from_email`")?;
    let message = message(&letter, &from)?;
    let server = server(connection, &extra)?;
    // The transport waits without yielding.
    let sent = tokio::task::spawn_blocking(move || server.send(&message)).await;
    let sent = sent.map_err(|e| format!("the mail was not sent: {e}"))?;
    sent.map(|_| ()).map_err(|e| format!("the mail server did not take the message: {e}"))
}

fn message(letter: &Letter, from: &str) -> Result<Message, String> {
    let address = |text: &str| text.parse::<Mailbox>().map_err(|e| format!("`{text}` is no mail address: {e}"));
    let mut message = Message::builder().from(address(from)?).subject(&letter.subject);
    for to in &letter.to {
        message = message.to(address(to)?);
    }
    for cc in &letter.cc {
        message = message.cc(address(cc)?);
    }
    for bcc in &letter.bcc {
        message = message.bcc(address(bcc)?);
    }
    let message = message.header(ContentType::TEXT_HTML).body(letter.html.clone());
    message.map_err(|e| format!("the mail cannot be written: {e}"))
}

/// As in Airflow: TLS from the start unless `disable_ssl`, then STARTTLS unless `disable_tls`.
fn server(connection: &Connection, extra: &serde_json::Value) -> Result<SmtpTransport, String> {
    let is = |name: &str| match &extra[name] {
        serde_json::Value::Bool(is) => *is,
        serde_json::Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    };
    let host = connection.host.as_deref().filter(|host| !host.is_empty()).ok_or("the connection has no host")?;
    let unusable = |e: lettre::transport::smtp::Error| format!("the mail server `{host}` cannot be used: {e}");
    let mut server = if !is("disable_ssl") {
        SmtpTransport::relay(host).map_err(unusable)?
    } else if !is("disable_tls") {
        SmtpTransport::starttls_relay(host).map_err(unusable)?
    } else {
        SmtpTransport::builder_dangerous(host)
    };
    if let Some(port) = connection.port {
        server = server.port(port);
    }
    if let (Some(login), Some(password)) = (&connection.login, &connection.password) {
        server = server.credentials(Credentials::new(login.clone(), password.clone()));
    }
    Ok(server.timeout(Some(Duration::from_secs(30))).build())
}
