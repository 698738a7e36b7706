//! `macros.uuid`.

use minijinja::value::from_args;
use minijinja::{Error, Value};
use uuid::{Builder, Uuid as Id};

use crate::draw::Draw;
use crate::error::type_error;
use crate::macros;
use crate::python::objects::{Callable, Uuid};

/// The module `uuid`, as far as templates use it.
pub(crate) fn module(draw: Draw) -> Value {
    let drawn = move || {
        let bytes = (u128::from(draw.next()) << 64 | u128::from(draw.next())).to_be_bytes();
        value(Builder::from_random_bytes(bytes).into_uuid())
    };
    macros::module(
        "uuid",
        &[
            ("uuid4", Value::from_function(drawn)),
            ("uuid3", Callable::value("uuid3", |args| named(args, Id::new_v3))),
            ("uuid5", Callable::value("uuid5", |args| named(args, Id::new_v5))),
            ("UUID", Callable::value("uuid.UUID", parsed)),
            ("NAMESPACE_DNS", value(Id::NAMESPACE_DNS)),
            ("NAMESPACE_URL", value(Id::NAMESPACE_URL)),
            ("NAMESPACE_OID", value(Id::NAMESPACE_OID)),
            ("NAMESPACE_X500", value(Id::NAMESPACE_X500)),
        ],
    )
}

fn value(id: Id) -> Value {
    Value::from_object(Uuid(id.to_string()))
}

fn named(args: &[Value], make: fn(&Id, &[u8]) -> Id) -> Result<Value, Error> {
    let (namespace, name): (Value, &str) = from_args(args)?;
    let namespace = namespace
        .downcast_object_ref::<Uuid>()
        .and_then(|namespace| Id::parse_str(&namespace.0).ok())
        .ok_or_else(|| type_error("the namespace must be a UUID, such as `macros.uuid.NAMESPACE_DNS`"))?;
    Ok(value(make(&namespace, name.as_bytes())))
}

fn parsed(args: &[Value]) -> Result<Value, Error> {
    let (text,): (&str,) = from_args(args)?;
    Id::parse_str(text.trim()).map(value).map_err(|_| type_error("the text is no UUID of 32 hexadecimal digits"))
}
