//! What PyYAML 6.0.3's `FullLoader` makes of these texts was written down once; ours must make the same of them.

use super::compose::{Composed, Fatal, compose};
use super::scalar::{Plain, resolve};
use super::*;

fn composed(text: &str) -> Result<Composed, Fatal> {
    compose(text, &|m| Position { file: 0, line: m.line() as u32, column: m.col() as u32 + 1 })
}

/// Scalars, and their type and value in Python.
const SCALARS: &[(&str, &str)] = &[
    ("yes", "true"),
    ("Yes", "true"),
    ("YES", "true"),
    ("yEs", "text"),
    ("y", "text"),
    ("no", "false"),
    ("No", "false"),
    ("on", "true"),
    ("On", "true"),
    ("off", "false"),
    ("OFF", "false"),
    ("true", "true"),
    ("True", "true"),
    ("tRue", "text"),
    ("null", "null"),
    ("Null", "null"),
    ("NULL", "null"),
    ("~", "null"),
    ("nULL", "text"),
    ("none", "text"),
    ("None", "text"),
    ("0", "int 0"),
    ("-0", "int 0"),
    ("+1", "int 1"),
    ("12", "int 12"),
    ("1_000", "int 1000"),
    ("_1", "text"),
    ("1_", "int 1"),
    ("0b101", "int 5"),
    ("0b_1", "int 1"),
    ("-0b11", "int -3"),
    ("0o17", "text"),
    ("010", "int 8"),
    ("-010", "int -8"),
    ("09", "text"),
    ("0_7", "int 7"),
    ("08", "text"),
    ("0x1F", "int 31"),
    ("0xg", "text"),
    ("-0x1f", "int -31"),
    ("1:30", "int 90"),
    ("01:30", "text"),
    ("-1:30", "int -90"),
    ("1:60", "text"),
    ("1:5", "int 65"),
    ("190:20:30", "int 685230"),
    ("12:30:00", "int 45000"),
    ("01:30:00", "text"),
    ("1:30:00", "int 5400"),
    ("1:2:3:4", "int 223384"),
    ("1.5", "float 1.5"),
    ("1.", "float 1"),
    (".5", "float 0.5"),
    ("+.5", "text"),
    ("-.5", "text"),
    ("1e3", "text"),
    ("1.0e3", "text"),
    ("1.0e+3", "float 1000"),
    ("1.e-2", "float 0.01"),
    (".5e+1", "float 5"),
    ("1_0.5", "float 10.5"),
    ("1.5_0", "float 1.5"),
    (".inf", "float inf"),
    ("-.inf", "float -inf"),
    ("+.Inf", "float inf"),
    (".INF", "float inf"),
    (".nan", "float NaN"),
    (".NaN", "float NaN"),
    ("-.nan", "text"),
    (".NAN", "float NaN"),
    (".iNF", "text"),
    ("1:30.5", "float 90.5"),
    ("190:20:30.15", "float 685230.15"),
    ("1.2.3", "text"),
    ("+", "text"),
    (".", "text"),
    ("..", "text"),
    ("1a", "text"),
    ("2025-01-31", "date 2025-01-31"),
    ("2025-1-31", "text"),
    ("2025-01-31 06:00:00", "time 2025-01-31T06:00:00"),
    ("2025-01-31T06:00:00", "time 2025-01-31T06:00:00"),
    ("2025-01-31t06:00:00Z", "time 2025-01-31T06:00:00 0"),
    ("2025-1-3 6:00:00", "time 2025-01-03T06:00:00"),
    ("2025-01-31 06:00:00 +02:00", "time 2025-01-31T06:00:00 7200"),
    ("2025-01-31T06:00:00-5", "time 2025-01-31T06:00:00 -18000"),
    ("2025-01-31T06:00:00.5", "time 2025-01-31T06:00:00.5"),
    ("2025-01-31T06:00:00.1234567", "time 2025-01-31T06:00:00.123456"),
    ("2025-01-31T06:00", "text"),
    ("20250131", "int 20250131"),
    ("2025-01-31T06:00:00+0200", "text"),
    ("2025-01-31 06:00:00 Z", "time 2025-01-31T06:00:00 0"),
    ("2025-01-31Z", "text"),
    ("18446744073709551615", "int 18446744073709551615"),
    ("9223372036854775808", "int 9223372036854775808"),
    ("-9223372036854775808", "int -9223372036854775808"),
    ("1 2", "text"),
];

#[test]
fn plain_scalars_mean_what_they_mean_to_pyyaml() {
    for (text, expected) in SCALARS {
        let shown = match resolve(text) {
            Plain::Value(Value::Null) => "null".to_owned(),
            Plain::Value(Value::Bool(b)) => b.to_string(),
            Plain::Value(Value::Int(i)) => format!("int {i}"),
            Plain::Value(Value::Float(f)) => format!("float {f}"),
            Plain::Value(Value::Text(t)) if &*t == *text => "text".to_owned(),
            Plain::Value(Value::Date(d)) => format!("date {d}"),
            Plain::Value(Value::DateTime(at, None)) => format!("time {at}"),
            Plain::Value(Value::DateTime(at, Some(offset))) => format!("time {at} {}", offset.seconds()),
            other => format!("{other:?}"),
        };
        assert_eq!(shown, *expected, "{text}");
    }
}

#[test]
fn what_no_number_of_64_bits_holds_is_kept_as_written() {
    for text in ["18446744073709551616", "-9223372036854775809", "0xfffffffffffffffff", &"9".repeat(100)] {
        assert!(matches!(resolve(text), Plain::Value(Value::Huge(_))), "{text}");
    }
}

#[test]
fn days_that_do_not_exist_are_told_from_text() {
    for text in ["2025-02-30", "2025-13-01 00:00:00", "2025-01-01 25:00:00"] {
        assert!(matches!(resolve(text), Plain::Invalid(_)), "{text}");
    }
}

/// Documents, and what Python prints for them (in JSON's notation; `true` as a key is 1).
const DOCUMENTS: &[(&str, &str)] = &[
    ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\n", r#"{"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}"#),
    (
        "a: &x {b: 1}\ne: &y {b: 2, f: 3}\nd: {<<: [*x, *y], g: 4}\n",
        r#"{"a": {"b": 1}, "e": {"b": 2, "f": 3}, "d": {"b": 1, "f": 3, "g": 4}}"#,
    ),
    ("a: &x {b: 1}\ne: &y {b: 2}\nd:\n  <<: *x\n  <<: *y\n", r#"{"a": {"b": 1}, "e": {"b": 2}, "d": {"b": 2}}"#),
    ("a: &x {b: 1}\nd:\n  b: 0\n  <<: *x\n", r#"{"a": {"b": 1}, "d": {"b": 0}}"#),
    ("'<<': 1\n", r#"{"<<": 1}"#),
    ("a: 1\nb: 2\na: 3\n", r#"{"a": 3, "b": 2}"#),
    ("1: a\ntrue: b\n1.0: c\n'1': d\n", r#"{1: "c", "1": "d"}"#),
    ("on: 1\n", "{1: 1}"),
    ("a: [1, {b: }, ~]\n", r#"{"a": [1, {"b": null}, null]}"#),
    ("a: !!str 12\nb: !!int '0x10'\nc: ! 12\nd: !!float 1\n", r#"{"a": "12", "b": 16, "c": 12, "d": 1.0}"#),
    ("a: |\n  x\n  y\nb: >-\n  x\n  y\nc: |+\n  z\n\n", "{\"a\": \"x\\ny\\n\", \"b\": \"x y\", \"c\": \"z\\n\\n\"}"),
    ("a: |\n  x", r#"{"a": "x"}"#),
    ("a: 'it''s'\nb: \"\\u00e9\\n\"\n", "{\"a\": \"it's\", \"b\": \"é\\n\"}"),
    ("k: [\nx,\n]\n", r#"{"k": ["x"]}"#),
    ("a:\n  k: [{\"a\":\"b\"},\n  {c: d}\n  ]\n", r#"{"a": {"k": [{"a": "b"}, {"c": "d"}]}}"#),
    ("a:\n- 1\n- 2\n", r#"{"a": [1, 2]}"#),
    ("a: x # c\nb: x#c\n", r#"{"a": "x", "b": "x#c"}"#),
    ("=: 1\n", r#"{"=": 1}"#),
    ("a: &x 1\nb: *x\n*x : 2\n", r#"{"a": 1, "b": 1, 1: 2}"#),
    ("? a\n: b\n", r#"{"a": "b"}"#),
    ("{a: 1, b}\n", r#"{"a": 1, "b": null}"#),
    ("a: [b: 1, c]\n", r#"{"a": [{"b": 1}, "c"]}"#),
    ("", "null"),
    ("# only\n", "null"),
];

fn show(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Float(f) => format!("{f:?}"),
        Value::Text(t) => serde_json::to_string(&**t).unwrap(),
        Value::List(items) => format!("[{}]", items.iter().map(|n| show(n)).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let key = |k: &Key| match k {
                Key::Null => "null".to_owned(),
                Key::Text(t) => serde_json::to_string(&**t).unwrap(),
                Key::Number(n) | Key::Date(n) => n.to_string(),
            };
            let pairs = map.entries().iter().map(|e| format!("{}: {}", key(&e.key), show(&e.value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn documents_mean_what_they_mean_to_pyyaml() {
    for (text, expected) in DOCUMENTS {
        let composed = composed(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let shown = composed.root.map_or_else(|| "null".to_owned(), |root| show(&root));
        assert_eq!(shown, *expected, "{text}");
        assert!(composed.notes.iter().all(|n| !n.error), "{text}: {:?}", composed.notes);
    }
}

#[test]
fn every_node_knows_its_place() {
    let root = composed("a:\n  b: [x,\n    'y']\n").unwrap().root.unwrap();
    let Value::Map(map) = &root.value else { panic!() };
    let Value::Map(inner) = &map.get("a").unwrap().value else { panic!() };
    let entry = inner.entry("b").unwrap();
    assert_eq!(entry.at, Position { file: 0, line: 2, column: 3 });
    let Value::List(items) = &entry.value.value else { panic!() };
    assert_eq!(items[0].at, Position { file: 0, line: 2, column: 7 });
    assert_eq!(items[1].at, Position { file: 0, line: 3, column: 5 });
}

#[test]
fn refusals_of_one_value_mark_it_and_let_the_rest_be_read() {
    for (text, code) in [
        ("a: {{ ds }}\nb: 1\n", "unhashable-key"),
        ("a: {[1]: 2}\nb: 1\n", "unhashable-key"),
        ("a: !join x\nb: 1\n", "unknown-tag"),
        ("a: !!python/object/apply:os.system [x]\nb: 1\n", "unknown-tag"),
        ("a: !!python/name:os.system x\nb: 1\n", "yaml-value"),
        ("a: !!binary '*'\nb: 1\n", "yaml-value"),
        ("a: [!!omap [x: 1]]\nb: 1\n", "unknown-tag"),
        ("a: !!int x\nb: 1\n", "yaml-value"),
        ("a: 2025-02-30\nb: 1\n", "yaml-value"),
        ("a: =\nb: 1\n", "yaml-value"),
        ("a: <<\nb: 1\n", "yaml-value"),
        ("a: {<<: 1}\nb: 1\n", "yaml-value"),
        ("a: &x [*x]\nb: 1\n", "recursive-alias"),
    ] {
        let composed = composed(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let errors: Vec<_> = composed.notes.iter().filter(|n| n.error).collect();
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        assert_eq!((errors[0].code, errors[0].at.line, &*errors[0].path[0]), (code, 1, "a"), "{text}");
        let root = composed.root.unwrap();
        let Value::Map(map) = &root.value else { panic!() };
        assert!(map.get("a").unwrap().broken && !map.get("b").unwrap().broken, "{text}");
    }
}

#[test]
fn a_key_given_twice_is_noted_where_it_comes_again() {
    let composed = composed("a:\n  x: 1\n  y: 2\n  x: 3\n").unwrap();
    let note = &composed.notes[0];
    assert_eq!((note.code, note.error, note.at), ("duplicate-key", false, Position { file: 0, line: 4, column: 3 }));
    assert_eq!(note.path.iter().map(|p| &**p).collect::<Vec<_>>(), ["a", "x"]);
    assert_eq!(composed.notes.len(), 1);
}

#[test]
fn what_cannot_be_read_on_has_a_place() {
    for (text, code, line) in [
        ("a: 1\n---\nb: 2\n", "several-documents", 2),
        ("a: [1\nb: 2\n", "yaml-syntax", 2),
        ("a: 1\n b: 2\n", "yaml-syntax", 2),
        ("a: *x\n", "yaml-syntax", 1),
        ("a: 'x\n", "yaml-syntax", 1),
    ] {
        let fatal = composed(text).expect_err(text);
        assert_eq!((fatal.code, fatal.at.line), (code, line), "{text}: {fatal:?}");
    }
    assert!(composed("a: {{ x }}.csv\n").expect_err("text after a brace").hint.is_some_and(|h| h.contains("quotes")));
}

/// Nine levels of nine aliases each: 50 lines that stand for 400 million values.
fn laughs() -> String {
    let line = |i: usize| {
        let inside = if i == 0 { ["x"; 9].join(", ") } else { vec![format!("*a{}", i - 1); 9].join(", ") };
        format!("a{i}: &a{i} [{inside}]\n")
    };
    (0..9).map(line).collect()
}

#[test]
fn bombs_are_refused() {
    let list = "[".repeat(101) + &"]".repeat(101);
    let blocks: String = (0..150).map(|i| " ".repeat(i) + "a:\n").collect();
    let chain: String = (1..90)
        .fold("a0: &a0 [[[[[[[[[[[[1]]]]]]]]]]]]\n".to_owned(), |t, i| t + &format!("a{i}: &a{i} [*a{}]\n", i - 1));
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1_000_000), "*a, ".repeat(1000));
    let merges: String = (0..20).fold("a0: &a0 {k: 1}\n".to_owned(), |t, i| {
        let sources = vec![format!("*a{i}"); 10].join(", ");
        t + &format!("a{}: &a{} {{x{i}: [{sources}]}}\n", i + 1, i + 1)
    });
    for (name, text, code) in [
        ("aliases of aliases", laughs(), "too-large"),
        ("one long text many times", long, "too-large"),
        ("mappings of aliases", merges, "too-large"),
        ("brackets", list.clone(), "too-deep"),
        ("dashes", "- ".repeat(150) + "x", "too-deep"),
        ("blocks", blocks, "too-deep"),
        ("depth by aliases", chain, "too-deep"),
    ] {
        let fatal = composed(&text).expect_err(name);
        assert_eq!(fatal.code, code, "{name}: {}", fatal.message);
    }
    let fits = "[".repeat(100) + &"]".repeat(100);
    assert!(composed(&fits).is_ok());
}
