//! A value against a schema, with pydantic's words for what is wrong.

use super::resolved;
use serde_json::{Value, json};

/// Where a value stands: names and positions, outermost first.
type Place = Vec<Value>;

fn problem(kind: &str, place: &Place, message: String, input: &Value) -> Value {
    json!({"type": kind, "loc": place, "msg": message, "input": input})
}

/// Notes all that is wrong with a value.
pub(super) fn value(schema: &Value, value: &Value, place: &mut Place, found: &mut Vec<Value>) {
    let schema = resolved(schema);
    if let Some(branches) = schema["anyOf"].as_array() {
        return any_of(branches, value, place, found);
    }
    if let Some(branches) = schema["oneOf"].as_array() {
        return one_of(branches, value, place, found);
    }
    if let Some(wanted) = schema.get("const") {
        if wanted != value {
            found.push(problem("literal_error", place, format!("Input should be '{}'", plain(wanted)), value));
        }
        return;
    }
    if let Some(wanted) = schema["enum"].as_array() {
        if !wanted.contains(value) {
            found.push(problem("enum", place, format!("Input should be {}", alternatives(wanted)), value));
        }
        return;
    }
    let mut wrong = |kind: &str, message: &str| found.push(problem(kind, place, message.to_owned(), value));
    match schema["type"].as_str() {
        Some("string") => match value.as_str() {
            Some(text) => string(schema, text, place, found),
            None => wrong("string_type", "Input should be a valid string"),
        },
        Some("integer") if !value.is_i64() => wrong("int_type", "Input should be a valid integer"),
        Some("number") if !value.is_number() => wrong("float_type", "Input should be a valid number"),
        Some("integer" | "number") => bounds(schema, value, place, found),
        Some("boolean") if !value.is_boolean() => wrong("bool_type", "Input should be a valid boolean"),
        Some("null") if !value.is_null() => wrong("none_required", "Input should be None"),
        Some("array") => match value.as_array() {
            Some(items) => array(schema, value, items, place, found),
            None => wrong("list_type", "Input should be a valid list"),
        },
        Some("object") => match value.as_object() {
            Some(_) => object(schema, value, place, found),
            None if schema.get("properties").is_none() => wrong("dict_type", "Input should be a valid dictionary"),
            None => {
                wrong("model_attributes_type", "Input should be a valid dictionary or object to extract fields from");
            }
        },
        _ => {}
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `'a', 'b' or 'c'`.
fn alternatives(all: &[Value]) -> String {
    let quoted: Vec<String> = all.iter().map(|one| format!("'{}'", plain(one))).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Fits one of several. Of what is wrong, that is told which comes nearest to what was meant.
fn any_of(branches: &[Value], given: &Value, place: &mut Place, found: &mut Vec<Value>) {
    let mut wrong: Vec<Vec<Value>> = Vec::new();
    for branch in branches.iter().filter(|branch| branch["type"] != "null" || given.is_null()) {
        let mut of_branch = Vec::new();
        value(branch, given, place, &mut of_branch);
        if of_branch.is_empty() {
            return;
        }
        wrong.push(of_branch);
    }
    found.extend(wrong.concat());
}

/// Fits the one that its `action` names: such are the parts of a bulk request.
fn one_of(branches: &[Value], given: &Value, place: &mut Place, found: &mut Vec<Value>) {
    let named =
        branches.iter().find(|branch| resolved(branch)["properties"]["action"].get("const") == given.get("action"));
    match named {
        Some(branch) if given.get("action").is_some() => value(branch, given, place, found),
        _ => any_of(branches, given, place, found),
    }
}

fn string(schema: &Value, text: &str, place: &Place, found: &mut Vec<Value>) {
    let input = Value::from(text);
    let mut wrong = |kind: &str, message: String| found.push(problem(kind, place, message, &input));
    if let Some(most) = schema["maxLength"].as_u64()
        && text.chars().count() as u64 > most
    {
        wrong("string_too_long", format!("String should have at most {most} characters"));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && !matches_pattern(pattern, text)
    {
        wrong("string_pattern_mismatch", format!("String should match pattern '{pattern}'"));
    }
    match schema["format"].as_str() {
        Some("date-time") if instant(text).is_some() => {}
        Some("date-time") if text.trim().parse::<jiff::civil::DateTime>().is_ok() => {
            wrong("timezone_aware", "Input should have timezone info".to_owned());
        }
        Some("date-time") => {
            let why = if text.len() < 10 { "input is too short" } else { "it is none" };
            let message = format!("Input should be a valid datetime or date, {why}");
            found.push(json!({"type": "datetime_from_date_parsing", "loc": place, "msg": message, "input": text, "ctx": {"error": why}}));
        }
        Some("date") if text.parse::<jiff::civil::Date>().is_err() => {
            wrong("date_from_datetime_parsing", "Input should be a valid date, e.g. 2026-01-31".to_owned());
        }
        Some("uuid") if uuid::Uuid::parse_str(text).is_err() => {
            wrong("uuid_parsing", "Input should be a valid UUID".to_owned());
        }
        _ => {}
    }
}

/// An instant as clients write it. A `+` of a query that nobody encoded arrives as a blank.
pub(crate) fn instant(text: &str) -> Option<jiff::Timestamp> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.replacen(' ', "+", 1).parse().ok())
}

/// The two patterns that the contract has.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    match pattern {
        r"^[\w.-]+$" => !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_.-".contains(c)),
        _ => text.chars().any(|c| !c.is_whitespace()),
    }
}

fn bounds(schema: &Value, value: &Value, place: &Place, found: &mut Vec<Value>) {
    if let (Some(least), Some(given)) = (schema["minimum"].as_f64(), value.as_f64())
        && given < least
    {
        let message = format!("Input should be greater than or equal to {least}");
        found.push(problem("greater_than_equal", place, message, value));
    }
}

fn array(schema: &Value, given: &Value, items: &[Value], place: &mut Place, found: &mut Vec<Value>) {
    let least = schema["minItems"].as_u64().unwrap_or(0);
    if (items.len() as u64) < least {
        let message = format!(
            "List should have at least {least} item{} after validation, not {}",
            if least == 1 { "" } else { "s" },
            items.len()
        );
        found.push(problem("too_short", place, message, given));
    }
    if let Some(most) = schema["maxItems"].as_u64()
        && items.len() as u64 > most
    {
        found.push(problem(
            "too_long",
            place,
            format!("List should have at most {most} items after validation, not {}", items.len()),
            given,
        ));
    }
    for (number, item) in items.iter().enumerate() {
        let form = schema["prefixItems"].get(number).or_else(|| schema.get("items"));
        if let Some(form) = form {
            place.push(number.into());
            value(form, item, place, found);
            place.pop();
        }
    }
}

fn object(schema: &Value, given: &Value, place: &mut Place, found: &mut Vec<Value>) {
    let known = schema["properties"].as_object();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if given.get(name).is_none() {
            place.push(name.into());
            found.push(problem("missing", place, "Field required".to_owned(), given));
            place.pop();
        }
    }
    for (name, item) in given.as_object().into_iter().flatten() {
        place.push(name.as_str().into());
        match (known.and_then(|known| known.get(name)), &schema["additionalProperties"]) {
            (Some(form), _) | (None, form @ Value::Object(_)) => value(form, item, place, found),
            (None, Value::Bool(false)) => {
                found.push(problem("extra_forbidden", place, "Extra inputs are not permitted".to_owned(), item));
            }
            (None, _) => {}
        }
        place.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CONTRACT, problems};
    use serde_json::{Value, json};

    fn kinds(schema: &str, value: &Value) -> Vec<String> {
        let found = problems(&CONTRACT.schemas[schema], value);
        found.iter().map(|p| format!("{} {}", p["type"].as_str().unwrap_or_default(), p["loc"])).collect()
    }

    #[test]
    fn bodies_are_held_to_their_form() {
        let none: [&str; 0] = [];
        assert_eq!(kinds("PoolBody", &json!({"name": "p", "slots": 3})), none);
        assert_eq!(kinds("PoolBody", &json!({"name": "p"})), [r#"missing ["slots"]"#]);
        assert_eq!(
            kinds("PoolBody", &json!({"name": 1, "slots": -2})),
            [r#"string_type ["name"]"#, r#"greater_than_equal ["slots"]"#]
        );
        assert_eq!(
            kinds("PoolBody", &json!({"name": "p", "slots": 3, "colour": 1})),
            [r#"extra_forbidden ["colour"]"#]
        );
        assert_eq!(kinds("PoolBody", &json!([])), ["model_attributes_type []"]);
        assert_eq!(kinds("PoolBody", &json!({"name": "p".repeat(257), "slots": 3})), [r#"string_too_long ["name"]"#]);
        assert_eq!(
            kinds("ConnectionBody", &json!({"connection_id": "a b", "conn_type": "x"})),
            [r#"string_pattern_mismatch ["connection_id"]"#]
        );
    }

    #[test]
    fn parts_of_bulk_requests_are_told_by_their_action() {
        let bulk = |action: Value| json!({"actions": [action]});
        let none: [&str; 0] = [];
        assert_eq!(kinds("BulkBody_PoolBody_", &bulk(json!({"action": "delete", "entities": ["p"]}))), none);
        let wrong = kinds("BulkBody_PoolBody_", &bulk(json!({"action": "create", "entities": [{"name": "p"}]})));
        assert_eq!(wrong, [r#"missing ["actions",0,"entities",0,"slots"]"#]);
        assert!(!kinds("BulkBody_PoolBody_", &bulk(json!({"action": "paint", "entities": []}))).is_empty());
    }

    #[test]
    fn instants_need_a_zone() {
        let run = |at: &str| kinds("TriggerDAGRunPostBody", &json!({"logical_date": at}));
        assert!(run("2026-01-01T00:00:00+00:00").is_empty() && run("2026-01-01T00:00:00Z").is_empty());
        for naive in ["2026-01-01T00:00:00", "2026-01-01"] {
            assert_eq!(run(naive), [r#"timezone_aware ["logical_date"]"#]);
        }
        assert_eq!(run("x"), [r#"datetime_from_date_parsing ["logical_date"]"#]);
        assert!(kinds("TriggerDAGRunPostBody", &json!({"logical_date": null})).is_empty());
    }
}
