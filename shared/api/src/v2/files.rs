//! DAG files: their text, and reading them again.

use super::config::{Kind, accepted};
use super::{Failure, dags};
use crate::parts::{Api, Parts};
use crate::v2::Query;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use updraft_dag_store::{DagStore, Error as FolderError, is_inside};
use updraft_service::Error;
use updraft_service::views::DagView;

fn folder(error: FolderError) -> Failure {
    match error {
        FolderError::Unavailable(_) => Error::from(error).into(),
        other => Failure::not_found(other.to_string()),
    }
}

/// The text of the file that a version was read from; none where the DAG has had no such version.
async fn of_version<P: Parts>(api: &Api<P>, view: &DagView, number: i64) -> Result<Option<Vec<u8>>, Failure> {
    let dag_id = &view.summary.dag_id;
    let Ok(number) = u32::try_from(number) else { return Ok(None) };
    let kept = match api.engine.dag_source(dag_id, number).await {
        Err(Error::NotFound { .. }) => return Ok(None),
        kept => kept?,
    };
    let is_current = view.doc.as_ref().is_some_and(|doc| doc.version_number.max(1) == number);
    match kept {
        Some(bytes) => Ok(Some(bytes)),
        // Read before texts were kept: the current version's is that of the file.
        None if is_current => Ok(api.dags.read(&view.summary.file).await.map_err(folder)?.map(|file| file.bytes)),
        None => Ok(None),
    }
}

/// `GET /dagSources/{dag_id}`: the file as it is now, or as a version had it.
pub(super) async fn source<P: Parts>(
    State(api): State<Api<P>>,
    Path(dag_id): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let kind = accepted(&headers)?;
    let number = query.integer::<i64>("version_number")?;
    let shown_number = number.map_or_else(|| "None".to_owned(), |number| number.to_string());
    let missing = || {
        Failure::not_found(format!("The source code of the Dag {dag_id}, version_number {shown_number} was not found"))
    };
    let view =
        dags::find(&api, &dag_id).await.map_err(|failure| if failure.status() == 404 { missing() } else { failure })?;
    let bytes = match number {
        None => api.dags.read(&view.summary.file).await.map_err(folder)?.ok_or_else(missing)?.bytes,
        Some(number) => of_version(&api, &view, number).await?.ok_or_else(missing)?,
    };
    let content = String::from_utf8_lossy(&bytes).into_owned();
    if kind == Kind::Text {
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], content).into_response());
    }
    let name = dags::display_name(&api, &view).await?;
    let answer = json!({"content": content, "dag_id": dag_id, "version_number": number, "dag_display_name": name});
    Ok(Json(answer).into_response())
}

/// `PUT /parseDagFile/{file_token}`: reads a file again now, and not only when it has changed.
pub(super) async fn parse<P: Parts>(
    State(api): State<Api<P>>,
    Path(token): Path<String>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    if !is_inside(&token) || api.dags.read(&token).await.map_err(folder)?.is_none() {
        return Err(Failure::not_found("File not found"));
    }
    api.engine.ingest_changed(&*api.dags, &[token]).await?;
    Ok((StatusCode::CREATED, Json(Value::Null)))
}
