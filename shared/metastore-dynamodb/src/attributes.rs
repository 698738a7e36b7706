//! Items as DynamoDB has them, and back.

use crate::{PK, Raw, SK};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use updraft_metastore::Error;
use updraft_metastore::item::{Item, Key, Value};

/// A text value.
pub(crate) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A value as DynamoDB has it.
pub(crate) fn attribute_value(value: &Value) -> AttributeValue {
    match value {
        Value::S(text) => AttributeValue::S(text.clone()),
        Value::N(number) => AttributeValue::N(number.to_string()),
        Value::B(bytes) => AttributeValue::B(Blob::new(bytes.clone())),
        Value::M(map) => AttributeValue::M(map.iter().map(|(k, v)| (k.clone(), attribute_value(v))).collect()),
    }
}

/// The attributes that name an item.
pub(crate) fn key_attributes(key: &Key) -> Raw {
    Raw::from([(PK.to_owned(), text(&key.pk)), (SK.to_owned(), text(&key.sk))])
}

/// An item with its key, as it is stored.
pub(crate) fn stored(key: &Key, item: &Item) -> Raw {
    let mut raw = key_attributes(key);
    raw.extend(item.iter().map(|(name, value)| (name.clone(), attribute_value(value))));
    raw
}

/// Reads the key out of an item.
pub(crate) fn key_of(raw: &Raw) -> Result<Key, Error> {
    match (raw.get(PK), raw.get(SK)) {
        (Some(AttributeValue::S(pk)), Some(AttributeValue::S(sk))) => Ok(Key { pk: pk.clone(), sk: sk.clone() }),
        other => Err(Error::Corrupt(format!("an item whose keys are no texts: {other:?}"))),
    }
}

/// Reads a place in the time index. The index holds numbers only; one that is none of ours is taken for the nearest one that could be, so that
/// whoever looks finds the item, and says what is wrong with it.
pub(crate) fn place(raw: &Raw, name: &str) -> i64 {
    let Some(AttributeValue::N(number)) = raw.get(name) else { return 0 };
    number.parse().unwrap_or_else(|_| number.parse::<f64>().map_or(0, |number| number.floor() as i64))
}

/// Reads an item, its key left out.
///
/// # Errors
/// [`Error::Corrupt`] for types that this adapter never writes.
pub(crate) fn item_of(key: &Key, mut raw: Raw) -> Result<Item, Error> {
    raw.remove(PK);
    raw.remove(SK);
    raw.into_iter()
        .map(|(name, found)| {
            let value = value_of(found).map_err(|what| {
                Error::Corrupt(format!("attribute `{name}` of item `{}` / `{}` is {what}", key.pk, key.sk))
            })?;
            Ok((name, value))
        })
        .collect()
}

/// Reads a value, or says what is wrong with it.
fn value_of(found: AttributeValue) -> Result<Value, String> {
    match found {
        AttributeValue::S(text) => Ok(Value::S(text)),
        AttributeValue::N(number) => {
            number.parse().map(Value::N).map_err(|_| format!("the number {number}, not a whole one of 64 bits"))
        }
        AttributeValue::B(bytes) => Ok(Value::B(bytes.into_inner())),
        AttributeValue::M(map) => {
            let entries = map.into_iter().map(|(name, entry)| value_of(entry).map(|value| (name, value)));
            entries.collect::<Result<_, _>>().map(Value::M)
        }
        other => Err(format!("of a type that is never written: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key { pk: "p".to_owned(), sk: "s".to_owned() }
    }

    #[test]
    fn a_stored_item_has_its_key_and_is_read_without_it() {
        let map = Value::M([("1".to_owned(), Value::N(i64::MIN)), ("2".to_owned(), Value::text(""))].into());
        let item = Item::from([
            ("m".to_owned(), map),
            ("e".to_owned(), Value::M([].into())),
            ("b".to_owned(), Value::B(vec![0, 200])),
            ("n".to_owned(), Value::N(i64::MAX)),
        ]);
        let raw = stored(&key(), &item);
        assert_eq!(key_of(&raw).unwrap(), key());
        assert_eq!(raw.len(), 6);
        assert_eq!(item_of(&key(), raw).unwrap(), item);
    }

    #[test]
    fn what_is_never_written_is_corrupt_and_named() {
        for (value, part) in [
            (AttributeValue::Bool(true), "Bool(true)"),
            (AttributeValue::N("1.5".to_owned()), "1.5"),
            (AttributeValue::M([("x".to_owned(), AttributeValue::Null(true))].into()), "Null"),
        ] {
            let raw = Raw::from([("odd".to_owned(), value)]);
            let Err(Error::Corrupt(message)) = item_of(&key(), raw) else { panic!("{part} was read") };
            assert!(message.contains("`odd`") && message.contains("`p` / `s`") && message.contains(part), "{message}");
        }
        assert!(matches!(key_of(&Raw::new()), Err(Error::Corrupt(_))));
    }

    #[test]
    fn a_place_in_the_index_is_found_whatever_number_it_is() {
        for (number, read) in [
            ("12", 12),
            ("-3", -3),
            ("1.5", 1),
            ("-1.5", -2),
            ("2E3", 2000),
            ("1E100", i64::MAX),
            ("-99999999999999999999", i64::MIN),
        ] {
            let raw = Raw::from([("wake_at".to_owned(), AttributeValue::N(number.to_owned()))]);
            assert_eq!(place(&raw, "wake_at"), read, "{number}");
        }
    }
}
