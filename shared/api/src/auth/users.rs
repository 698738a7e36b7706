//! Users, for admins: ours alone, since Airflow leaves users to its auth managers.
//!
//! | path | what |
//! |---|---|
//! | GET `/api/updraft/v1/users` | all of them |
//! | POST `/api/updraft/v1/users` | makes one: `username`, `role`, `password` |
//! | PATCH `/api/updraft/v1/users/{username}` | gives another `password`; everybody may do that for themselves, who say their `old_password` |
//! | DELETE `/api/updraft/v1/users/{username}` | removes one |

use super::Caller;
use crate::audit::{self, Origin};
use crate::parts::{Api, Parts};
use crate::v2::{Failure, NoContent, shapes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, patch};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_model::User;
use updraft_model::user::Role;
use updraft_service::users::Login;

pub(crate) fn routes<P: Parts>() -> Router<Api<P>> {
    Router::new()
        .route("/users", get(list::<P>).post(create::<P>))
        .route("/users/{username}", patch(set_password::<P>).delete(delete::<P>))
}

fn shown(user: &User) -> Value {
    json!({"username": user.username, "role": user.role, "created_at": shapes::time(user.created_at)})
}

fn only_admins(caller: &Caller) -> Result<(), Failure> {
    if caller.role == Role::Admin {
        Ok(())
    } else {
        Err(Failure::forbidden("Forbidden: only an admin sees and changes users"))
    }
}

/// Reads a body. The input is not repeated: it holds a password.
fn read<T: serde::de::DeserializeOwned>(body: Value) -> Result<T, Failure> {
    serde_json::from_value(body).map_err(|error| {
        Failure::unprocessable(vec![json!({"type": "value_error", "loc": ["body"], "msg": error.to_string()})])
    })
}

async fn list<P: Parts>(
    State(api): State<Api<P>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Failure> {
    only_admins(&caller)?;
    let users: Vec<Value> = api.engine.store.users().await?.iter().map(shown).collect();
    Ok(Json(json!({"total_entries": users.len(), "users": users})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    username: String,
    role: Role,
    password: String,
}

async fn create<P: Parts>(
    State(api): State<Api<P>>,
    Extension(caller): Extension<Caller>,
    origin: Origin,
    Json(body): Json<Value>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    only_admins(&caller)?;
    let new: New = read(body)?;
    if api.engine.store.user(&new.username).await?.is_some() {
        return Err(Failure::conflict(format!("there is a user `{}` already", new.username)));
    }
    let user = api.engine.create_user(&new.username, new.role, &new.password).await?;
    let told = [("username", json!(user.username)), ("role", json!(user.role))];
    audit::record(&api, "create_user", &caller, &origin, &told).await;
    Ok((StatusCode::CREATED, Json(shown(&user))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    password: String,
    /// The one until now, of whoever changes their own: a login that was left open is not enough to take a user over.
    #[serde(default)]
    old_password: String,
}

async fn set_password<P: Parts>(
    State(api): State<Api<P>>,
    Extension(caller): Extension<Caller>,
    Path(username): Path<String>,
    origin: Origin,
    Json(body): Json<Value>,
) -> Result<NoContent, Failure> {
    if caller.username != username {
        only_admins(&caller)?;
    }
    let NewPassword { password, old_password } = read(body)?;
    if caller.username == username {
        match api.engine.log_in(&username, &old_password).await? {
            Login::In(_) => {}
            Login::Wrong => return Err(Failure::forbidden("the old password is another; give it as `old_password`")),
            Login::Wait(left) => return Err(super::login::too_many(left)),
        }
    }
    api.engine.set_password(&username, &password).await?;
    audit::record(&api, "set_password", &caller, &origin, &[("username", json!(username))]).await;
    Ok(NoContent)
}

async fn delete<P: Parts>(
    State(api): State<Api<P>>,
    Extension(caller): Extension<Caller>,
    Path(username): Path<String>,
    origin: Origin,
) -> Result<NoContent, Failure> {
    only_admins(&caller)?;
    api.engine.delete_user(&username).await?;
    audit::record(&api, "delete_user", &caller, &origin, &[("username", json!(username))]).await;
    Ok(NoContent)
}
