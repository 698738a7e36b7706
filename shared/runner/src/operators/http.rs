//! HttpOperator, and what its sensor shares with it: a request made from arguments and a connection.

use std::time::Duration;

use base64::Engine as _;
use serde_json::{Map, Value};
use updraft_execution::{PythonCall, http_response};
use updraft_model::Connection;

use super::python;
use crate::arguments::Arguments;
use crate::attempt::{Attempt, Break, End, Ended};
use crate::http::{self, REDIRECTS_MAX, Request, Response, TIMEOUT};
use crate::processes;
use crate::services::Services;

/// The connection that is asked for when the task names none.
const DEFAULT: &str = "http_default";

pub(super) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    if !attempt.arguments.value("pagination_function").is_null() {
        return Err("`pagination_function` is not run by this version; write a PythonOperator for it"
            .to_owned()
            .into());
    }
    let response = ask(attempt, "data").await?.map_err(Ended::failed)?;
    if attempt.arguments.flag("log_response")? {
        let text = response.text.clone();
        attempt.say(&text).await;
    }
    if let Some(returned) = call(attempt, "response_check", &response).await?
        && !returned.truthy
    {
        return Err(Ended::failed("the response check returned False").into());
    }
    let value = match call(attempt, "response_filter", &response).await? {
        Some(returned) => match returned.not_json {
            None => returned.value,
            Some(why) => return Err(Ended::failed(format!("`response_filter`: {why}")).into()),
        },
        None => Value::String(response.text),
    };
    Ok(attempt.success_with(value))
}

/// Makes and sends the request. The inner error is a bad answer, or none.
pub(crate) async fn ask<S: Services>(
    attempt: &mut Attempt<'_, S>,
    data: &str,
) -> Result<Result<Response, String>, Break> {
    let conn_id = attempt.arguments.text("http_conn_id")?.unwrap_or_else(|| DEFAULT.to_owned());
    let endpoint = attempt.arguments.text("endpoint")?.unwrap_or_default();
    let whole = endpoint.starts_with("http://") || endpoint.starts_with("https://");
    let connection = if whole {
        None
    } else {
        let found = attempt.services.connection(&conn_id).await.map_err(|e| Ended::failed(e.to_string()))?;
        Some(found.ok_or_else(|| {
            format!(
                "there is no connection `{conn_id}`; make it with `updraft connections add {conn_id} --conn-uri \
                 https://HOST`, or write a whole URL as `endpoint`"
            )
        })?)
    };
    attempt.secrets.extend(connection.iter().flat_map(Connection::texts_to_mask));
    let (request, check) = request(&attempt.arguments, connection.as_ref(), &endpoint, data)?;
    attempt.say(&format!("{} {}", request.method, request.url.split('?').next().unwrap_or_default())).await;
    let response = match http::send(request).await {
        Ok(response) => response,
        Err(why) => return Ok(Err(why)),
    };
    attempt
        .say(&format!("{} {} after {:.3} s", response.status, response.reason, response.elapsed.as_secs_f64()))
        .await;
    if check && !response.ok() {
        return Ok(Err(format!("{}:{}", response.status, response.reason)));
    }
    Ok(Ok(response))
}

/// The request, and whether an error status is one.
fn request(
    arguments: &Arguments,
    connection: Option<&Connection>,
    endpoint: &str,
    data: &str,
) -> Result<(Request, bool), String> {
    let mut options = connection.map(Connection::extra_dejson).unwrap_or_default();
    let mut headers: Vec<(String, String)> = Vec::new();
    // What of a connection's extra is no option is a header, as in Airflow.
    let (known, of_headers): (Map<_, _>, Map<_, _>) = options.into_iter().partition(|(name, _)| is_option(name));
    options = known;
    set(&mut headers, &of_headers);
    options.extend(arguments.mapping("extra_options")?.unwrap_or_default());
    if let Some(connection) = connection
        && let Some(login) = connection.login.as_ref().filter(|login| !login.is_empty())
    {
        let text = format!("{login}:{}", connection.password.as_deref().unwrap_or_default());
        let basic = base64::engine::general_purpose::STANDARD.encode(text);
        headers.push(("Authorization".to_owned(), format!("Basic {basic}")));
    }
    set(&mut headers, &arguments.mapping("headers")?.unwrap_or_default());
    if [options.get("verify"), options.get("verify_ssl")].iter().any(|verify| *verify == Some(&Value::Bool(false))) {
        return Err("`verify: false` is not supported: add the server's certificate to the system's instead".to_owned());
    }
    let method = arguments.text("method")?.unwrap_or_default().to_uppercase();
    let mut url = connection.map_or_else(|| endpoint.to_owned(), |connection| join(&base(connection), endpoint));
    let more = arguments.mapping("request_kwargs")?.unwrap_or_default();
    if let Some(name) = more.keys().find(|name| !matches!(name.as_str(), "json" | "params")) {
        return Err(format!("`request_kwargs`: `{name}` is not supported here; `json` and `params` are"));
    }
    let data = arguments.value(data);
    let mut queries = vec![pairs(more.get("params").unwrap_or(&Value::Null))];
    let mut body = Vec::new();
    match method.as_str() {
        "GET" => queries.push(pairs(&data)),
        "HEAD" => {}
        _ => body = body_of(&data, &mut headers),
    }
    if let Some(json) = more.get("json").filter(|json| !json.is_null()) {
        body = json.to_string().into_bytes();
        default_header(&mut headers, "Content-Type", "application/json");
    }
    for query in queries.into_iter().filter(|query| !query.is_empty()) {
        url = format!("{url}{}{query}", if url.contains('?') { '&' } else { '?' });
    }
    default_header(&mut headers, "User-Agent", concat!("updraft/", env!("CARGO_PKG_VERSION")));
    default_header(&mut headers, "Accept", "*/*");
    let follows = options.get("allow_redirects").and_then(Value::as_bool).unwrap_or(true);
    let most = options.get("max_redirects").and_then(Value::as_u64).map_or(REDIRECTS_MAX, |most| most.min(100) as u32);
    let redirects_max = if follows { most } else { 0 };
    let check = options.get("check_response").and_then(Value::as_bool).unwrap_or(true);
    Ok((Request { method, url, headers, body, timeout: timeout(options.get("timeout"))?, redirects_max }, check))
}

fn is_option(name: &str) -> bool {
    const OPTIONS: [&str; 12] = [
        "allow_redirects",
        "cert",
        "check_response",
        "max_redirects",
        "proxies",
        "proxy",
        "srv_lookup",
        "stream",
        "timeout",
        "trust_env",
        "verify",
        "verify_ssl",
    ];
    OPTIONS.contains(&name)
}

/// Seconds, or a pair of them for connecting and reading, of which the sum counts.
fn timeout(value: Option<&Value>) -> Result<Duration, String> {
    let seconds = match value {
        None | Some(Value::Null) => return Ok(TIMEOUT),
        Some(Value::Array(parts)) => parts.iter().map(Value::as_f64).sum::<Option<f64>>(),
        Some(one) => one.as_f64(),
    };
    let timeout = seconds.filter(|s| *s > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    timeout.ok_or_else(|| "`extra_options`: `timeout` must be a number of seconds".to_owned())
}

/// Where a connection leads, as Airflow's hook reads it.
fn base(connection: &Connection) -> String {
    let host = connection.host.as_deref().unwrap_or_default();
    let mut base = if host.contains("://") {
        host.to_owned()
    } else {
        format!("{}://{host}", connection.schema.as_deref().filter(|s| !s.is_empty()).unwrap_or("http"))
    };
    if let Some(port) = connection.port {
        base = format!("{base}:{port}");
    }
    base
}

fn join(base: &str, endpoint: &str) -> String {
    if !base.ends_with('/') && !endpoint.is_empty() && !endpoint.starts_with('/') {
        format!("{base}/{endpoint}")
    } else {
        format!("{base}{endpoint}")
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A mapping as a query; text as it stands.
fn pairs(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => http::form(map.iter().flat_map(|(name, value)| match value {
            Value::Array(items) => items.iter().map(|item| (name.as_str(), plain(item))).collect(),
            Value::Null => Vec::new(),
            one => vec![(name.as_str(), plain(one))],
        })),
        _ => String::new(),
    }
}

/// A body: text as it stands, a mapping as a form, or as JSON where the content type says so.
fn body_of(data: &Value, headers: &mut Vec<(String, String)>) -> Vec<u8> {
    let is_json = headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("content-type") && value.to_ascii_lowercase().contains("application/json")
    });
    match data {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        Value::Object(map) if map.is_empty() => Vec::new(),
        Value::Object(_) if !is_json => {
            default_header(headers, "Content-Type", "application/x-www-form-urlencoded");
            pairs(data).into_bytes()
        }
        other => {
            default_header(headers, "Content-Type", "application/json");
            other.to_string().into_bytes()
        }
    }
}

/// Sets headers; a later one of a name replaces an earlier one.
fn set(headers: &mut Vec<(String, String)>, more: &Map<String, Value>) {
    for (name, value) in more {
        headers.retain(|(there, _)| !there.eq_ignore_ascii_case(name));
        headers.push((name.clone(), plain(value)));
    }
}

fn default_header(headers: &mut Vec<(String, String)>, name: &str, value: &str) {
    if !headers.iter().any(|(there, _)| there.eq_ignore_ascii_case(name)) {
        headers.push((name.to_owned(), value.to_owned()));
    }
}

/// Calls the function that the task names under `name` with the answer; none where it names none.
pub(crate) async fn call<S: Services>(
    attempt: &mut Attempt<'_, S>,
    name: &str,
    response: &Response,
) -> Result<Option<python::Returned>, Break> {
    if attempt.arguments.is_given(&format!("{name}_lambda")) {
        return Err(
            format!("`{name}_lambda` is not run here: put the function into a module and name it by `{name}`").into()
        );
    }
    let named = [name.to_owned(), format!("{name}_name")];
    if !named.iter().any(|name| !attempt.arguments.value(name).is_null()) {
        return Ok(None);
    }
    let search_path = attempt.services.search_path(attempt.work).await.map_err(|e| Ended::failed(e.to_string()))?;
    let folder = search_path.first().cloned().unwrap_or_default();
    let callable = processes::callable(&attempt.arguments, name, &folder)?
        .ok_or_else(|| format!("`{name}_name` needs `{name}_file`"))?;
    let Response { status, reason, url, headers, text, elapsed } = response;
    let native = http_response(*status, reason, url, headers, text, *elapsed);
    let call = PythonCall { native_args: vec![native], search_path, ..PythonCall::new(callable) };
    python::call_for_value(attempt, call).await.map(Some)
}
