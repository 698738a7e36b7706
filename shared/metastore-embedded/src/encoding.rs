//! Items as JSON text, for people and for SQLite's own JSON functions.
//!
//! Text is a string, a number a number, a map an object. Bytes are an array of one hexadecimal string, since nothing else
//! needs arrays: `select unhex(v ->> '$.z[0]')` gives them back.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use updraft_metastore::{Item, Value};

/// The item as JSON.
pub(crate) fn encode(item: &Item) -> String {
    serde_json::to_string(&Map(item)).expect("maps of text, numbers and bytes have a JSON form")
}

/// The item a JSON text stands for, or why it stands for none.
pub(crate) fn decode(text: &str) -> Result<Item, String> {
    let read: BTreeMap<String, Read> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    Ok(unwrap(read))
}

/// Borrowed values on their way out.
struct Map<'a>(&'a BTreeMap<String, Value>);

impl Serialize for Map<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            match value {
                Value::S(text) => map.serialize_entry(name, text),
                Value::N(number) => map.serialize_entry(name, number),
                Value::B(bytes) => map.serialize_entry(name, &[hex(bytes)]),
                Value::M(inner) => map.serialize_entry(name, &Map(inner)),
            }?;
        }
        map.end()
    }
}

/// A value on its way in.
struct Read(Value);

fn unwrap(map: BTreeMap<String, Read>) -> BTreeMap<String, Value> {
    map.into_iter().map(|(name, value)| (name, value.0)).collect()
}

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadVisitor).map(Read)
    }
}

struct ReadVisitor;

impl<'de> Visitor<'de> for ReadVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a whole number of 64 bits, an object, or an array of one hexadecimal text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::S(text.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::S(text))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::N(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::N).map_err(|_| E::custom(format!("`{number}` is too large a number")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let text: String = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        if seq.next_element::<String>()?.is_some() {
            return Err(A::Error::invalid_length(2, &self));
        }
        unhex(&text).map(Value::B).ok_or_else(|| A::Error::custom("bytes are not hexadecimal"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((name, Read(value))) = access.next_entry()? {
            map.insert(name, value);
        }
        Ok(Value::M(map))
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    rest.is_empty().then_some(())?;
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            ".*".prop_map(Value::S),
            any::<i64>().prop_map(Value::N),
            proptest::collection::vec(any::<u8>(), 0..50).prop_map(Value::B),
        ];
        leaf.prop_recursive(1, 8, 4, |inner| proptest::collection::btree_map(".*", inner, 0..4).prop_map(Value::M))
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(item in proptest::collection::btree_map(".*", value(), 0..6)) {
            prop_assert_eq!(decode(&encode(&item)), Ok(item));
        }
    }

    #[test]
    fn the_text_is_what_a_person_expects() {
        let item = Item::from([
            ("b".to_owned(), Value::B(vec![0, 255])),
            ("m".to_owned(), Value::M(BTreeMap::from([("1".to_owned(), Value::text("q1"))]))),
            ("n".to_owned(), Value::N(-7)),
        ]);
        assert_eq!(encode(&item), r#"{"b":["00ff"],"m":{"1":"q1"},"n":-7}"#);
    }

    #[test]
    fn what_is_no_item_is_refused_with_a_reason() {
        for (text, reason) in [
            ("{", "EOF"),
            ("[]", "expected a map"),
            (r#"{"a":1.5}"#, "floating point"),
            (r#"{"a":null}"#, "null"),
            (r#"{"a":["0"]}"#, "hexadecimal"),
            (r#"{"a":["zz"]}"#, "hexadecimal"),
            (r#"{"a":["00","11"]}"#, "length 2"),
            (r#"{"a":9223372036854775808}"#, "too large"),
        ] {
            let error = decode(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
