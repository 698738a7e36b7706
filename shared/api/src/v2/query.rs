//! Query strings: filters, order and pages, in Airflow's spelling.

use super::Failure;
use axum::extract::FromRequestParts;
use axum::http::request::Parts as Head;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::str::FromStr;

/// `[api] maximum_page_limit`.
const LIMIT_MAX: usize = 100;

/// How many keys a list may be ordered by, as in Airflow.
const ORDERS_MAX: usize = 10;

/// `[api] fallback_page_limit`.
const LIMIT_DEFAULT: usize = 50;

/// The pairs of a query string; a name may occur more than once.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(head: &mut Head, _: &S) -> Result<Self, Self::Rejection> {
        let text = head.uri.query().unwrap_or_default();
        Ok(Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect()))
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) limit: usize,
    pub(crate) offset: usize,
}

impl Page {
    /// The page of a whole list.
    pub(crate) fn of<T>(self, items: Vec<T>) -> Vec<T> {
        items.into_iter().skip(self.offset).take(self.limit).collect()
    }
}

/// Bounds of a value, from `<name>_gte`, `_gt`, `_lte`, `_lt`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bounds<T> {
    bounds: [Option<T>; 4],
}

impl<T: PartialOrd + Copy> Bounds<T> {
    /// Whether a value lies inside; a missing one lies inside of no bound.
    pub(crate) fn hold(&self, value: Option<T>) -> bool {
        let [gte, gt, lte, lt] = self.bounds;
        let holds = |bound: Option<T>, fits: fn(Ordering) -> bool| match (bound, value) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(bound), Some(value)) => value.partial_cmp(&bound).is_some_and(fits),
        };
        holds(gte, Ordering::is_ge)
            && holds(gt, Ordering::is_gt)
            && holds(lte, Ordering::is_le)
            && holds(lt, Ordering::is_lt)
    }
}

impl Query {
    /// The last value of a name.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// All values of a name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    fn parsed<T>(
        &self,
        name: &str,
        kind: &str,
        message: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => Err(Failure::invalid(kind, "query", name, message, &Value::from(text))),
        }
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, Failure> {
        let message = "Input should be a valid boolean, unable to interpret input";
        self.parsed(name, "bool_parsing", message, crate::contract::boolean)
    }

    pub(crate) fn integer<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let message = "Input should be a valid integer, unable to parse string as an integer";
        self.parsed(name, "int_parsing", message, |text| text.trim().parse().ok())
    }

    /// An instant.
    pub(crate) fn instant(&self, name: &str) -> Result<Option<Timestamp>, Failure> {
        let message = "Input should be a valid datetime with a time zone, e.g. 2026-01-31T12:00:00Z";
        self.parsed(name, "timezone_aware", message, crate::contract::instant)
    }

    /// The bounds of an instant.
    pub(crate) fn times(&self, name: &str) -> Result<Bounds<Timestamp>, Failure> {
        let bound = |suffix: &str| self.instant(&format!("{name}_{suffix}"));
        Ok(Bounds { bounds: [bound("gte")?, bound("gt")?, bound("lte")?, bound("lt")?] })
    }

    /// The bounds of a number.
    pub(crate) fn numbers(&self, name: &str) -> Result<Bounds<f64>, Failure> {
        let message = "Input should be a valid number, unable to parse string as a number";
        let bound = |suffix: &str| {
            self.parsed(&format!("{name}_{suffix}"), "float_parsing", message, |text| text.trim().parse().ok())
        };
        Ok(Bounds { bounds: [bound("gte")?, bound("gt")?, bound("lte")?, bound("lt")?] })
    }

    /// `limit` and `offset`, bounded as Airflow bounds them.
    pub(crate) fn page(&self) -> Result<Page, Failure> {
        let count = |name: &str| -> Result<Option<usize>, Failure> {
            match self.integer::<i64>(name)? {
                Some(n) if n < 0 => {
                    let message = "Input should be greater than or equal to 0";
                    Err(Failure::invalid("greater_than_equal", "query", name, message, &Value::from(n.to_string())))
                }
                n => Ok(n.map(|n| n as usize)),
            }
        };
        let limit = count("limit")?.filter(|n| *n > 0).unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
        Ok(Page { limit, offset: count("offset")?.unwrap_or(0) })
    }

    /// Whether a value matches `<name>_pattern` (SQL's wildcards, any case, alternatives by `|`) and `<name>_prefix_pattern`.
    pub(crate) fn matches(&self, name: &str, value: &str) -> bool {
        let pattern = self.asked(name, "pattern").is_none_or(|p| p.split('|').any(|p| Self::like(p.trim(), value)));
        pattern && self.asked(name, "prefix_pattern").is_none_or(|p| p.split('|').any(|p| value.starts_with(p.trim())))
    }

    /// What `<name>_<suffix>` asks for, if anything. Nothing is allocated: this is asked of each row.
    fn asked(&self, name: &str, suffix: &str) -> Option<&str> {
        let is_it = |given: &str| given.strip_prefix(name).and_then(|rest| rest.strip_prefix('_')) == Some(suffix);
        let last = self.0.iter().rev().find(|(given, _)| is_it(given));
        last.map(|(_, value)| value.as_str()).filter(|value| *value != "~")
    }

    /// As [`Query::matches`], for a value that may be missing: it matches where nothing is asked for.
    pub(crate) fn matches_optional(&self, name: &str, value: Option<&str>) -> bool {
        match value {
            Some(value) => self.matches(name, value),
            None => self.asked(name, "pattern").is_none() && self.asked(name, "prefix_pattern").is_none(),
        }
    }

    /// The part of the query that is about these bounds and these patterns.
    pub(crate) fn only(&self, bounds: &[&str], patterns: &[&str]) -> Self {
        let among = |name: &str, names: &[&str], suffixes: &[&str]| {
            names.iter().any(|n| suffixes.iter().any(|suffix| name.strip_prefix(*n) == Some(*suffix)))
        };
        let is_meant = |name: &str| {
            among(name, bounds, &["_gte", "_gt", "_lte", "_lt"])
                || among(name, patterns, &["_pattern", "_prefix_pattern"])
        };
        Self(self.0.iter().filter(|(name, _)| is_meant(name)).cloned().collect())
    }

    /// The names that are given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The query that says what the body of a batch request says. `renamed`: names there, and here.
    pub(crate) fn of_body(body: &Value, renamed: &[(&str, &str)]) -> Self {
        let mut pairs = Vec::new();
        for (name, value) in body.as_object().into_iter().flatten() {
            let name = renamed.iter().find(|(there, _)| there == name).map_or(name.as_str(), |(_, here)| here);
            let items = match value {
                Value::Null => Vec::new(),
                Value::Array(items) => items.clone(),
                one => vec![one.clone()],
            };
            let text = |item: &Value| match item {
                // A task instance without a state is found by this name.
                Value::Null => "none".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            pairs.extend(items.iter().map(|item| (name.to_owned(), text(item))));
        }
        Self(pairs)
    }

    /// Cuts a sorted list to the page that is asked for, by `offset` or by `cursor`, and says how the whole stands.
    ///
    /// A cursor names the entry at the edge of its page, and how many came before: so it stands where entries come and go before it.
    pub(crate) fn window<T>(&self, items: &mut Vec<T>, id: impl Fn(&T) -> String) -> Result<Value, Failure> {
        let page = self.page()?;
        let total = items.len();
        let Some(cursor) = self.text("cursor") else {
            *items = page.of(std::mem::take(items));
            return Ok(total_alone(total));
        };
        let (from, to) = if cursor.is_empty() {
            (0, page.limit.min(total))
        } else {
            let (back, token) = cursor.strip_prefix('~').map_or((false, cursor), |token| (true, token));
            let edge = token.split_once('-').and_then(|(at, id)| Some((at.parse::<usize>().ok()?, id)));
            let (at, edge) = edge.ok_or_else(|| Failure::bad_request("Invalid cursor token"))?;
            let at = items.iter().position(|item| id(item) == edge).unwrap_or(at.min(total));
            if back {
                (at.saturating_sub(page.limit), at)
            } else {
                ((at + 1).min(total), at.saturating_add(1).saturating_add(page.limit).min(total))
            }
        };
        let token = |at: usize| items.get(at).map(|item| format!("{at}-{}", id(item)));
        let next = if to < total && to > from { token(to - 1) } else { None };
        let previous = if from > 0 && to > from { token(from).map(|token| format!("~{token}")) } else { None };
        items.truncate(to);
        items.drain(..from);
        Ok(
            json!({"total_entries": total, "total_entries_limit": null, "next_cursor": next, "previous_cursor": previous}),
        )
    }

    /// Whether a value is one of those given for a name, if any are.
    pub(crate) fn is_one_of(&self, name: &str, value: &str) -> bool {
        self.any_is(name, |wanted| wanted == value)
    }

    /// Whether one of the values of a name is this number, if any are given.
    pub(crate) fn is_number(&self, name: &str, value: i64) -> bool {
        // As text, so that `007` is no 7: it is none of the values that were listed.
        self.any_is(name, |wanted| *wanted == value.to_string())
    }

    fn any_is(&self, name: &str, is_it: impl Fn(&str) -> bool) -> bool {
        let mut wanted = self.0.iter().filter(|(given, _)| given == name).peekable();
        wanted.peek().is_none() || wanted.any(|(_, wanted)| is_it(wanted))
    }

    /// The sort keys of `order_by`, each with whether it is descending.
    ///
    /// # Errors
    /// For a name that is not among `known`, and for more than [`ORDERS_MAX`].
    pub(crate) fn order_by<'q>(&'q self, default: &'q str, known: &[&str]) -> Result<Vec<(&'q str, bool)>, Failure> {
        let given = self.all("order_by");
        let given = if given.is_empty() { vec![default] } else { given };
        if given.len() > ORDERS_MAX {
            return Err(Failure::bad_request(format!(
                "Ordering with more than {ORDERS_MAX} parameters is not allowed. Provided: {}",
                given.join(", ")
            )));
        }
        let read = |key: &'q str| {
            let (name, descending) = key.strip_prefix('-').map_or((key, false), |name| (name, true));
            if known.contains(&name) {
                return Ok((name, descending));
            }
            Err(Failure::bad_request(format!(
                "Ordering with '{name}' is disallowed or the attribute does not exist; known are {}",
                known.join(", ")
            )))
        };
        given.into_iter().map(read).collect()
    }

    /// SQL's `LIKE '%pattern%'` without regard to case: `%` is any text, `_` any character.
    pub(crate) fn like(pattern: &str, value: &str) -> bool {
        let pattern: Vec<char> = format!("%{}%", pattern.to_lowercase()).chars().collect();
        let value: Vec<char> = value.to_lowercase().chars().collect();
        // Positions in the value that the pattern so far can have reached.
        let mut reached = vec![false; value.len() + 1];
        reached[0] = true;
        for p in pattern {
            let mut next = vec![false; value.len() + 1];
            for (i, _) in reached.iter().enumerate().filter(|(_, r)| **r) {
                match p {
                    '%' => next[i..].fill(true),
                    p if i < value.len() && (p == '_' || p == value[i]) => next[i + 1] = true,
                    _ => {}
                }
            }
            reached = next;
        }
        reached[value.len()]
    }
}

/// What a page says of its list where nobody asked by a cursor.
pub(crate) fn total_alone(total: usize) -> Value {
    json!({"total_entries": total, "total_entries_limit": null, "next_cursor": null, "previous_cursor": null})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    #[test]
    fn patterns_are_sqls() {
        for (pattern, value, fits) in [
            ("etl", "daily_ETL", true),
            ("e_l", "etl", true),
            ("e_l", "el", false),
            ("a%c", "xabbcx", true),
            ("", "anything", true),
            ("b", "", false),
        ] {
            assert_eq!(Query::like(pattern, value), fits, "{pattern} {value}");
        }
        assert!(query("dag_id_pattern=a|b").matches("dag_id", "xbx"));
        assert!(!query("dag_id_prefix_pattern=b").matches("dag_id", "xb"));
        assert!(query("dag_id_pattern=~").matches("dag_id", "x"));
    }

    #[test]
    fn pages_are_bounded() {
        assert_eq!(query("").page(), Ok(Page { limit: 50, offset: 0 }));
        assert_eq!(query("limit=1000&offset=3").page(), Ok(Page { limit: 100, offset: 3 }));
        assert_eq!(query("limit=0").page(), Ok(Page { limit: 50, offset: 0 }));
        assert!(query("limit=-1").page().is_err() && query("offset=x").page().is_err());
    }

    #[test]
    fn bounds_keep_out_what_is_missing() {
        let bounds =
            query("end_date_gte=2026-01-01T00:00:00Z&end_date_lt=2026-01-02T00:00:00%2B00:00").times("end_date");
        let bounds = bounds.unwrap();
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert!(bounds.hold(at("2026-01-01T00:00:00Z")) && !bounds.hold(at("2026-01-02T00:00:00Z")));
        assert!(!bounds.hold(None));
        assert!(query("").times("end_date").unwrap().hold(None));
        assert!(query("end_date_gte=2026-01-01").times("end_date").is_err(), "a naive date says no instant");
    }

    #[test]
    fn cursors_go_there_and_back() {
        let walk = |text: &str, all: &[u32]| {
            let mut items = all.to_vec();
            let said = query(text).window(&mut items, u32::to_string).unwrap();
            let cursor = |name: &str| said[name].as_str().map(|c| format!("limit=2&cursor={c}"));
            (items, cursor("next_cursor"), cursor("previous_cursor"))
        };
        let all = [1, 2, 3, 4, 5];
        let (first, next, previous) = walk("limit=2&cursor=", &all);
        assert_eq!((first, previous), (vec![1, 2], None));
        let (second, next, previous) = walk(&next.unwrap(), &all);
        assert_eq!(second, [3, 4]);
        assert_eq!(walk(&previous.unwrap(), &all).0, [1, 2]);
        let next = next.unwrap();
        let (last, after, _) = walk(&next, &all);
        assert_eq!((last, after), (vec![5], None));
        // One that came before the edge moves nothing, and one that went away from it neither.
        assert_eq!(walk(&next, &[0, 1, 2, 3, 4, 5]).0, [5]);
        assert_eq!(walk(&next, &[1, 2, 3, 5]).0, Vec::<u32>::new());
        assert!(query("cursor=x").window(&mut vec![1], u32::to_string).is_err());
    }

    #[test]
    fn batches_say_what_queries_say() {
        let body = json!({"states": ["failed", null], "page_limit": 3, "dag_ids": null, "order_by": "-id"});
        let asked = Query::of_body(&body, &[("states", "state"), ("page_limit", "limit")]);
        assert_eq!(asked.all("state"), ["failed", "none"]);
        assert_eq!((asked.page().unwrap().limit, asked.all("dag_ids").len()), (3, 0));
        assert_eq!(asked.order_by("x", &["id"]), Ok(vec![("id", true)]));
    }

    #[test]
    fn unknown_orders_are_refused() {
        assert_eq!(query("order_by=-dag_id").order_by("dag_id", &["dag_id"]), Ok(vec![("dag_id", true)]));
        assert!(query("order_by=colour").order_by("dag_id", &["dag_id"]).is_err());
        assert!(query(&["order_by=dag_id"; 10].join("&")).order_by("dag_id", &["dag_id"]).is_ok());
        assert!(query(&["order_by=dag_id"; 11].join("&")).order_by("dag_id", &["dag_id"]).is_err());
    }
}
