//! Syntax by tables, dates by properties: the two ways of finding dates must agree, and dates must form one series.

use jiff::civil::{DateTime, date};
use proptest::prelude::*;

use super::engine::Engine;
use super::{CronExpression, civil, parse};

fn at(text: &str) -> DateTime {
    text.parse().unwrap()
}

/// The first four matches after `after`, and the last two before it.
fn around(expression: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let cron = CronExpression::parse(expression).unwrap();
    let walk = |step: &dyn Fn(DateTime) -> Option<DateTime>, count| {
        let mut current = at(after);
        let mut found = Vec::new();
        while found.len() < count
            && let Some(date) = step(current)
        {
            found.push(date.strftime("%F %T").to_string());
            current = date;
        }
        found
    };
    (walk(&|date| cron.next_after(date), 4), walk(&|date| cron.prev_before(date), 2))
}

#[track_caller]
fn assert_dates(expression: &str, after: &str, next: &[&str], prev: &[&str]) {
    let (found_next, found_prev) = around(expression, after);
    assert_eq!(found_next[..next.len()], *next, "after {after}: `{expression}`");
    assert_eq!(found_prev[..prev.len()], *prev, "before {after}: `{expression}`");
}

#[test]
fn a_match_is_strictly_after_and_strictly_before() {
    let daily = "0 0 * * *";
    assert_dates(daily, "2025-01-02T00:00:00", &["2025-01-03 00:00:00"], &["2025-01-01 00:00:00"]);
    assert_dates(daily, "2025-01-02T00:00:00.000001", &["2025-01-03 00:00:00"], &["2025-01-02 00:00:00"]);
    assert_dates(daily, "2025-01-01T23:59:59.999999", &["2025-01-02 00:00:00"], &["2025-01-01 00:00:00"]);
    let every_second = "* * * * * *";
    assert_dates(every_second, "2025-01-01T00:00:00.5", &["2025-01-01 00:00:01"], &["2025-01-01 00:00:00"]);
}

#[test]
fn two_restricted_day_fields_mean_either() {
    let next = ["2025-01-06 00:00:00", "2025-01-13 00:00:00", "2025-01-15 00:00:00", "2025-01-20 00:00:00"];
    assert_dates("0 0 15 * 1", "2025-01-01T00:00:00", &next, &["2024-12-30 00:00:00"]);
    // A step of one is no star, so that every day of the month matches.
    assert_dates("0 0 */1 * 1", "2025-01-01T00:00:00", &["2025-01-02 00:00:00"], &[]);
}

#[test]
fn days_count_from_the_end_of_a_month_and_within_it() {
    let from = "2025-01-01T00:00:00";
    assert_dates("0 0 l * *", from, &["2025-01-31 00:00:00", "2025-02-28 00:00:00"], &["2024-12-31 00:00:00"]);
    assert_dates("0 0 * * L5", from, &["2025-01-31 00:00:00", "2025-02-28 00:00:00"], &["2024-12-27 00:00:00"]);
    assert_dates("0 0 * * fri#3", from, &["2025-01-17 00:00:00", "2025-02-21 00:00:00"], &["2024-12-20 00:00:00"]);
    // The 15th of February and of March 2025 are Saturdays, the 1st of the two months as well.
    assert_dates("0 0 15w 2,3 *", from, &["2025-02-14 00:00:00", "2025-03-14 00:00:00"], &["2024-03-15 00:00:00"]);
    assert_dates("0 0 1w 2,3 *", from, &["2025-02-03 00:00:00", "2025-03-03 00:00:00"], &["2024-03-01 00:00:00"]);
    assert_dates("0 0 31w 5,8 *", from, &["2025-05-30 00:00:00", "2025-08-29 00:00:00"], &["2024-08-30 00:00:00"]);
}

#[test]
fn ranges_wrap_around_and_steps_begin_where_they_say() {
    let from = "2025-01-01T00:00:00";
    assert_dates("0 23-1 * * *", from, &["2025-01-01 01:00:00", "2025-01-01 23:00:00"], &["2024-12-31 23:00:00"]);
    assert_dates("0 0 * * fri-mon", from, &["2025-01-03 00:00:00"], &["2024-12-30 00:00:00"]);
    assert_dates("59/15 0 * * *", from, &["2025-01-01 00:59:00", "2025-01-02 00:59:00"], &[]);
    assert_dates("50-10/7 0 * * *", from, &["2025-01-01 00:05:00", "2025-01-01 00:50:00", "2025-01-01 00:57:00"], &[]);
    assert_dates("0 0 * jan-jan *", from, &["2025-01-02 00:00:00"], &["2024-12-31 00:00:00"]);
}

#[test]
fn seconds_come_sixth_and_years_seventh() {
    assert_dates("0 12 * * * 0,30", "2025-01-01T12:00:00", &["2025-01-01 12:00:30", "2025-01-02 12:00:00"], &[]);
    let years = "0 0 1 1 * 0 2020,2027-2028";
    assert_dates(
        years,
        "2025-06-01T00:00:00",
        &["2027-01-01 00:00:00", "2028-01-01 00:00:00"],
        &["2020-01-01 00:00:00"],
    );
    // A date in an earlier listed year may lie later in that year than the search began.
    assert_dates("0 0 1 * * 0 2020", "2025-06-01T00:00:00", &[], &["2020-12-01 00:00:00", "2020-11-01 00:00:00"]);
    assert_eq!(around(years, "2028-06-01T00:00:00").0, [""; 0]);
}

#[test]
fn a_search_ends_after_fifty_years_and_not_with_the_century() {
    assert_eq!(around("0 0 30 2 *", "2025-01-01T00:00:00"), (vec![], vec![]));
    assert_dates("0 0 29 2 *", "2096-03-01T00:00:00", &["2104-02-29 00:00:00"], &["2096-02-29 00:00:00"]);
    assert_dates("0 0 1 1 *", "2150-01-01T00:00:00", &["2151-01-01 00:00:00"], &["2149-01-01 00:00:00"]);
    assert_dates("0 0 1 1 *", "1960-01-01T00:00:00", &["1961-01-01 00:00:00"], &["1959-01-01 00:00:00"]);
    let year = |year| format!("0 0 1 1 * 0 {year}");
    assert_eq!(around(&year(2074), "2024-06-01T00:00:00").0.len(), 1);
    assert_eq!(around(&year(2075), "2024-06-01T00:00:00").0.len(), 0);
}

#[test]
fn a_day_beside_an_nth_weekday_is_dropped_or_kills_the_schedule() {
    // As croniter has it. The 13th is now and then a second Friday, so the Fridays decide alone ...
    assert_dates("0 0 13 * 5#2", "2025-01-01T00:00:00", &["2025-01-10 00:00:00", "2025-02-14 00:00:00"], &[]);
    // ... while the 1st is never a third Friday, so nothing matches.
    assert_eq!(around("0 0 1 * 5#3", "2025-01-01T00:00:00"), (vec![], vec![]));
}

#[test]
fn an_expression_that_drops_one_of_its_fields_has_a_caveat() {
    let caveat = |expression| CronExpression::parse(expression).unwrap().caveat();
    assert!(caveat("0 0 13 * 5#2").unwrap().starts_with("an n-th or last weekday"));
    assert!(caveat("0 0 15w * 1").unwrap().starts_with("a nearest weekday"));
    for clear in ["0 0 13 * 5", "0 0 * * 5#2", "0 0 15w * *", "0 0 l * 1", "0 0 ? * L5"] {
        assert_eq!(caveat(clear), None, "{clear}");
    }
}

#[test]
fn presets_are_replaced_as_airflow_does() {
    for (preset, shown) in [
        ("@daily", "0 0 * * *"),
        ("@quarterly", "0 0 1 */3 *"),
        ("@Daily", "@Daily"),
        ("@midnight", "@midnight"),
        ("@ANNUALLY", "@ANNUALLY"),
    ] {
        let cron = CronExpression::parse(preset).unwrap();
        assert_eq!(cron.as_str(), shown);
    }
    assert_dates("@Weekly", "2025-01-01T00:00:00", &["2025-01-05 00:00:00"], &["2024-12-29 00:00:00"]);
    for unknown in ["@Quarterly", "@fortnightly", "@every 5m", "@reboot", " @daily", "@"] {
        let error = CronExpression::parse(unknown).unwrap_err();
        assert!(matches!(error, parse::CronError::UnknownPreset { .. }), "{unknown}: {error}");
    }
}

#[test]
fn refusals_name_the_field_the_reason_and_what_is_allowed() {
    for (expression, message) in [
        ("61 * * * *", "minute `61` of cron expression `61 * * * *` has `61`, which is out of range; allowed are 0-59"),
        ("* 24 * * *", "hour `24` of"),
        ("* * 0 * *", "day of month `0` of"),
        (
            "0 0 LW * *",
            "day of month `lw` of cron expression `0 0 LW * *` has `lw`, which is no day of month; allowed are 1-31",
        ),
        ("0 0 15W,3 * *", "has a `W` in a list"),
        ("0 0 32W * *", "has a `W` at no day"),
        ("0 0 * foo *", "month `foo` of cron expression `0 0 * foo *` has `foo`, which is no month; allowed are 1-12"),
        ("0 0 * * 8", "day of week `8` of"),
        ("0 0 * * mon#6", "has the occurrence `6`"),
        ("0 0 * * 1-3#2", "has before `#` neither a weekday nor a range of names"),
        ("0 0 * * 1,2#3", "mixes weekdays of every week with n-th"),
        ("* * * * * 60", "second `60` of"),
        ("* * * * * * 2100", "year `2100` of"),
        ("*/0 * * * *", "has a step of 0"),
        ("*/x * * * *", "has the step `x`, which is no number"),
        ("-5 * * * *", "has a negative number"),
        ("1,,2 * * * *", "has an empty entry"),
        ("99999999999999999999 * * * *", "has `99999999999999999999`, which is out of range"),
        ("? * * * *", "has a `?`, which must stand alone"),
        ("H * * * *", "asks for a hashed or random value"),
        ("R/5 * * * *", "asks for a hashed or random value"),
        ("* * * *", "`* * * *` has 4 fields, but a cron expression has 5"),
        ("", "`` has 0 fields"),
        ("* * * * * * * *", "has 8 fields"),
    ] {
        let error = CronExpression::parse(expression).unwrap_err().to_string();
        assert!(error.contains(message), "`{expression}`: {error}");
    }
}

#[test]
fn only_a_plain_star_covers_every_hour() {
    for (expression, covers) in [
        ("* * * * *", true),
        ("0 */1 * * *", true),
        ("0 0-23 * * *", true),
        ("0 *,5 * * *", false),
        ("0 */2 * * *", false),
        ("0 0-22 * * *", false),
    ] {
        assert_eq!(CronExpression::parse(expression).unwrap().covers_every_hour(), covers, "{expression}");
    }
}

#[test]
fn the_cron_crate_is_the_engine_of_plain_expressions() {
    let has_engine = |expression| Engine::new(&parse::parse(expression).unwrap()).is_some();
    for plain in ["* * * * *", "0 0 15 * 1", "*/5 22-2 * nov-feb fri-mon", "0 0 * * * */15"] {
        assert!(has_engine(plain), "{plain}");
    }
    for special in ["0 0 l * *", "0 0 15w * *", "0 0 * * 5#3", "0 0 * * L5", "0 0 * * * 0 2027"] {
        assert!(!has_engine(special), "{special}");
    }
}

/// One field's text: stars, numbers, ranges that may wrap, and steps.
fn field(min: u16, max: u16) -> impl Strategy<Value = String> {
    let number = min..=max;
    let element = prop_oneof![
        2 => Just("*".to_owned()),
        3 => number.clone().prop_map(|n| n.to_string()),
        2 => (number.clone(), number.clone()).prop_map(|(low, high)| format!("{low}-{high}")),
        1 => (1..=max).prop_map(|step| format!("*/{step}")),
        1 => (number.clone(), number.clone(), 1..=max).prop_map(|(low, high, step)| format!("{low}-{high}/{step}")),
        1 => (number, 1..=max).prop_map(|(low, step)| format!("{low}/{step}")),
    ];
    prop::collection::vec(element, 1..=2).prop_map(|elements| elements.join(","))
}

fn plain() -> impl Strategy<Value = String> {
    let second = prop::option::of(field(0, 59));
    (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7), second).prop_map(
        |(minute, hour, day, month, weekday, second)| {
            let second = second.map_or(String::new(), |second| format!(" {second}"));
            format!("{minute} {hour} {day} {month} {weekday}{second}")
        },
    )
}

fn special() -> impl Strategy<Value = String> {
    let day =
        prop_oneof!["[Ll]", (1..=31).prop_map(|day| format!("{day}w")), (1..=28).prop_map(|day| format!("{day},l"))];
    let weekday = prop_oneof![
        (0..=7, 1..=5).prop_map(|(day, nth)| format!("{day}#{nth}")),
        (0..=7).prop_map(|day| format!("L{day}"))
    ];
    let years = (1990_u16..2080, 0_u16..40).prop_map(|(from, count)| format!("{from}-{}", (from + count).min(2099)));
    prop_oneof![
        (field(0, 59), day).prop_map(|(minute, day)| format!("{minute} 3 {day} * *")),
        (field(0, 59), weekday).prop_map(|(minute, weekday)| format!("{minute} 3 * * {weekday}")),
        (field(1, 12), years).prop_map(|(month, years)| format!("30 3 5 {month} * 10 {years}")),
    ]
}

fn moment() -> impl Strategy<Value = DateTime> {
    (0_i64..60 * 366 * 86_400, prop_oneof![Just(0), 0_i32..1_000_000_000]).prop_map(|(seconds, nanos)| {
        let offset = jiff::SignedDuration::new(seconds, nanos);
        date(2000, 1, 1).at(0, 0, 0, 0).checked_add(offset).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cron_crate_and_the_calendar_walk_find_the_same_dates(expression in plain(), from in moment()) {
        let fields = parse::parse(&expression).unwrap();
        let engine = Engine::new(&fields).unwrap();
        if let Some(found) = engine.next_after(from).filter(|found| found.year() <= from.year() + 40) {
            prop_assert_eq!(civil::next_after(&fields, from), Some(found), "{}", expression);
        }
        if let Some(found) = engine.prev_before(from).filter(|found| found.year() >= from.year() - 40) {
            prop_assert_eq!(civil::prev_before(&fields, from), Some(found), "{}", expression);
        }
    }

    #[test]
    fn dates_form_one_series(expression in prop_oneof![plain(), special()], from in moment()) {
        let cron = CronExpression::parse(&expression).unwrap();
        if let Some(next) = cron.next_after(from) {
            prop_assert!(next > from);
            let after = cron.next_after(next);
            prop_assert!(after.is_none_or(|after| after > next));
            // Between a date and the next lies no third, seen from either side.
            if let Some(after) = after {
                prop_assert_eq!(cron.prev_before(after), Some(next), "{}", expression);
            }
            prop_assert!(cron.prev_before(next).is_none_or(|prev| prev <= from), "{}", expression);
        }
        if let Some(prev) = cron.prev_before(from) {
            prop_assert!(prev < from);
            prop_assert!(cron.next_after(prev).is_none_or(|next| next >= from), "{}", expression);
        }
    }

    #[test]
    fn the_text_is_the_expression(expression in prop_oneof![plain(), special()], from in moment()) {
        let cron = CronExpression::parse(&expression).unwrap();
        let stored = serde_json::to_string(&cron).unwrap();
        prop_assert_eq!(&stored, &format!("\"{cron}\""));
        let restored: CronExpression = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(&restored, &cron);
        prop_assert_eq!(restored.next_after(from), cron.next_after(from));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-0-9a-z*/,#?@LWR() ]{0,24}") {
        if let Ok(cron) = CronExpression::parse(&text) {
            let _ = cron.next_after(at("2025-01-01T00:00:00"));
        }
    }
}
