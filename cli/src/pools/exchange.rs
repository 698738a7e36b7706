//! `updraft pools import` and `export`, in Airflow's form.

use crate::exchange;
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Printer, count};
use serde_json::{Map, Value, json};
use std::path::Path;
use updraft_service::pools::PoolWish;

/// Makes or changes the pools of a file. All are looked at before any is.
pub(super) async fn import(session: &Session, file: &Path, printer: Printer) -> Result<(), Failure> {
    let mut wishes = Vec::new();
    for (name, value) in exchange::read(file)? {
        wishes.push(wish(name, &value).map_err(|why| Failure::user("nothing was imported").cause(why))?);
    }
    // What is as it is to be stays: an export tells of the default pool too, which not every deployment lets be set.
    let there = session.engine.list_pools().await?;
    let is_there = |wish: &PoolWish| {
        there.iter().any(|pool| {
            (&pool.name, pool.slots, &pool.description, pool.include_deferred)
                == (&wish.name, wish.slots, &wish.description, wish.include_deferred)
        })
    };
    wishes.retain(|wish| !is_there(wish));
    for wish in &wishes {
        session.engine.set_pool(wish).await?;
    }
    printer.note(format_args!("made or changed {}", count(wishes.len(), "pool")));
    Ok(())
}

fn wish(name: String, value: &Value) -> Result<PoolWish, String> {
    let slots = value.get("slots").and_then(Value::as_i64);
    let description = value.get("description").and_then(Value::as_str);
    let include_deferred = value.get("include_deferred").map_or(Some(false), Value::as_bool);
    match (slots, description, include_deferred) {
        (Some(slots), Some(description), Some(include_deferred)) => {
            Ok(PoolWish { name, slots, description: description.to_owned(), include_deferred })
        }
        _ => Err(format!(
            "the pool `{name}` needs `slots` (a whole number) and `description` (text), and `include_deferred` is true or false"
        )),
    }
}

/// Writes all pools.
pub(super) async fn export(session: &Session, file: &Path, printer: Printer) -> Result<(), Failure> {
    let pools = session.engine.list_pools().await?;
    let entry = |pool: &updraft_service::pools::PoolView| json!({ "slots": pool.slots, "description": pool.description, "include_deferred": pool.include_deferred });
    let all: Map<String, Value> = pools.iter().map(|pool| (pool.name.clone(), entry(pool))).collect();
    exchange::write(file, &format!("{:#}\n", Value::Object(all)), printer)?;
    printer.note(format_args!("wrote {}", count(pools.len(), "pool")));
    Ok(())
}
