//! croniter's syntax, version 7.0.0.
//!
//! What surprises in it: a range may wrap around (`22-2`, `fri-mon`); a range whose ends are equal (`5-5`) means the
//! whole field; `5/15` runs from 5 to the field's end, and at the field's end means that number alone; a range that
//! amounts to the whole day field is a star only if the other day field has a `*` in it.

use std::collections::BTreeSet;
use std::fmt;

use super::fields::{Days, Fields, LAST_IN_MONTH};

/// A position in a cron expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CronField {
    /// First field, 0 to 59.
    Minute,
    /// Second field, 0 to 23.
    Hour,
    /// Third field, 1 to 31.
    DayOfMonth,
    /// Fourth field, 1 to 12.
    Month,
    /// Fifth field, 0 to 7, of which 0 and 7 are Sunday.
    DayOfWeek,
    /// Sixth field, 0 to 59.
    Second,
    /// Seventh field, 1970 to 2099.
    Year,
}

/// A text that is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The text has too few or too many fields.
    #[error(
        "`{expression}` has {found} fields, but a cron expression has 5 (minute, hour, day of month, month, day of week), \
         6 (and second) or 7 (and year)"
    )]
    FieldCount {
        /// The text as written.
        expression: String,
        /// How many fields it has.
        found: usize,
    },

    /// The text looks like a preset and is none.
    #[error(
        "`{preset}` is no known preset; use a cron expression, or one of `@hourly`, `@daily`, `@midnight`, `@weekly`, \
         `@monthly`, `@quarterly` (in lower case), `@yearly`, `@annually`"
    )]
    UnknownPreset {
        /// The text as written.
        preset: String,
    },

    /// One field is wrong.
    #[error("{field} `{text}` of cron expression `{expression}` {reason}; allowed are {}", field.allowed())]
    Field {
        /// The whole text as written.
        expression: String,
        /// Which field.
        field: CronField,
        /// The field's text.
        text: String,
        /// What is wrong with it, as the rest of a sentence.
        reason: String,
    },

    /// Weekdays and n-th weekdays in one list.
    #[error(
        "day of week `{text}` of cron expression `{expression}` mixes weekdays of every week with n-th or last weekdays \
         of the month; list the n-th ones only, such as `1#1,1#2`, or use two schedules"
    )]
    MixedWeekdays {
        /// The whole text as written.
        expression: String,
        /// The field's text.
        text: String,
    },
}

/// The fields in the order they are written.
const FIELDS: [CronField; 7] = [
    CronField::Minute,
    CronField::Hour,
    CronField::DayOfMonth,
    CronField::Month,
    CronField::DayOfWeek,
    CronField::Second,
    CronField::Year,
];

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// `L5` is the last Friday; occurrences are counted to 5.
const NTH_MAX: u64 = 5;

impl CronField {
    /// Least and greatest number.
    const fn bounds(self) -> (u16, u16) {
        match self {
            Self::Minute | Self::Second => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 6),
            Self::Year => (1970, 2099),
        }
    }

    /// How many numbers there are.
    const fn size(self) -> usize {
        let (min, max) = self.bounds();
        (max - min + 1) as usize
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &MONTHS,
            Self::DayOfWeek => &WEEKDAYS,
            _ => &[],
        }
    }

    fn allowed(self) -> &'static str {
        match self {
            Self::Minute | Self::Second => "0-59, `*`, ranges `10-20`, steps `*/15` and lists `0,30`",
            Self::Hour => "0-23, `*`, ranges `8-17`, steps `*/6` and lists `9,12`",
            Self::DayOfMonth => {
                "1-31, `*`, ranges `1-7`, steps `*/2`, lists `1,15`, `L` (last day) and `15W` (nearest weekday)"
            }
            Self::Month => "1-12 or jan-dec, `*`, ranges `6-8`, steps `*/3` and lists `1,7`",
            Self::DayOfWeek => {
                "0-7 or sun-sat (0 and 7 are Sunday), `*`, ranges `1-5`, lists `1,3`, `5#3` (third Friday) and `L5` (last Friday)"
            }
            Self::Year => "1970-2099, `*`, ranges `2025-2027`, steps and lists",
        }
    }
}

impl fmt::Display for CronField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
            Self::Second => "second",
            Self::Year => "year",
        })
    }
}

/// Reads an expression of which presets have been replaced.
pub(super) fn parse(expression: &str) -> Result<Fields, CronError> {
    let lower = expression.to_ascii_lowercase();
    let texts: Vec<&str> = lower.split(is_space).filter(|text| !text.is_empty()).collect();
    if texts.first().is_some_and(|text| text.starts_with('@')) {
        return Err(CronError::UnknownPreset { preset: expression.to_owned() });
    }
    if !(5..=7).contains(&texts.len()) {
        return Err(CronError::FieldCount { expression: expression.to_owned(), found: texts.len() });
    }
    let lists = FIELDS
        .into_iter()
        .zip(&texts)
        .map(|(field, text)| {
            let list = List::parse(field, text).map_err(|reason| CronError::Field {
                expression: expression.to_owned(),
                field,
                text: (*text).to_owned(),
                reason,
            })?;
            Ok(list.simplified(field, texts[2], texts[4]))
        })
        .collect::<Result<Vec<List>, CronError>>()?;
    let [minutes, hours, days, months, weekdays, rest @ ..] = lists.as_slice() else {
        unreachable!("the number of fields was checked above");
    };
    if weekdays.mixes_weekdays() {
        return Err(CronError::MixedWeekdays { expression: expression.to_owned(), text: texts[4].to_owned() });
    }
    Ok(Fields {
        minutes: minutes.bits_or_all(CronField::Minute),
        hours: hours.bits_or_all(CronField::Hour),
        months: months.bits_or_all(CronField::Month),
        seconds: rest.first().map_or(1, |seconds| seconds.bits_or_all(CronField::Second)),
        years: rest
            .get(1)
            .filter(|years| !years.star)
            .map(|years| years.numbers.iter().map(|year| year.cast_signed()).collect()),
        has_seconds: !rest.is_empty(),
        covers_every_hour: hours.star && hours.numbers.is_empty(),
        days: Days {
            of_month: days.bits(),
            last_of_month: days.last,
            nearest_weekday: days.nearest_weekday,
            of_week: weekdays.bits(),
            nth_weekdays: (weekdays.nth_weekdays != [0; 7]).then_some(weekdays.nth_weekdays),
        },
    })
}

/// croniter splits at the white space of ASCII, which has one character more than Rust's.
fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

/// One field's list, read.
#[derive(Default)]
struct List {
    star: bool,
    numbers: BTreeSet<u16>,
    /// `L` among the days of the month.
    last: bool,
    nearest_weekday: Option<i8>,
    nth_weekdays: [u8; 7],
}

/// An element `low-high/step` or `low/step`, as text.
struct Range<'a> {
    low: &'a str,
    high: Option<&'a str>,
    step: u64,
}

impl List {
    fn parse(field: CronField, text: &str) -> Result<Self, String> {
        if matches!(text.as_bytes(), [b'h' | b'r'] | [b'h' | b'r', b'(' | b'/', ..]) {
            return Err("asks for a hashed or random value, which is not supported".to_owned());
        }
        let takes_question_mark = matches!(field, CronField::DayOfMonth | CronField::DayOfWeek);
        if text == "?" && takes_question_mark {
            return Ok(Self { star: true, ..Self::default() });
        }
        if text.contains('?') {
            return Err("has a `?`, which must stand alone, and only for a day".to_owned());
        }
        let mut list = Self::default();
        if field == CronField::DayOfMonth
            && let Some(day) = nearest_weekday(text)?
        {
            list.nearest_weekday = Some(day);
            list.numbers.insert(day.cast_unsigned().into());
            return Ok(list);
        }
        for element in text.split(',') {
            list.add(field, element)?;
        }
        Ok(list)
    }

    /// A list of every number is a star. For the day fields, where a star decides whether both must match, croniter
    /// sees it so only if the other field has a star in its text.
    fn simplified(mut self, field: CronField, day_text: &str, weekday_text: &str) -> Self {
        let entries = self.numbers.len() + usize::from(self.star) + usize::from(self.last);
        let is_star = match field {
            CronField::DayOfMonth => weekday_text.contains('*'),
            CronField::DayOfWeek => day_text.contains('*'),
            _ => true,
        };
        if entries == field.size() && is_star {
            self.star = true;
            self.last = false;
            self.numbers.clear();
        }
        self
    }

    fn add(&mut self, field: CronField, element: &str) -> Result<(), String> {
        let (element, nth) = match field {
            CronField::DayOfWeek => split_nth(element)?,
            _ => (element, 0),
        };
        if let Some(range) = Range::parse(element)? {
            for number in range.numbers(field)? {
                self.add_number(field, number, nth)?;
            }
            return Ok(());
        }
        match element {
            "" => Err("has an empty entry".to_owned()),
            "*" => {
                self.star = true;
                Ok(())
            }
            "l" if field == CronField::DayOfMonth => {
                self.last = true;
                Ok(())
            }
            _ => {
                let number = number(field, element)?;
                self.add_number(field, number, nth)
            }
        }
    }

    fn add_number(&mut self, field: CronField, number: u16, nth: u8) -> Result<(), String> {
        let (min, max) = field.bounds();
        if !(min..=max).contains(&number) {
            return Err(format!("has `{number}`, which is out of range"));
        }
        self.numbers.insert(number);
        if nth != 0 {
            self.nth_weekdays[usize::from(number)] |= nth;
        }
        Ok(())
    }

    fn bits(&self) -> Option<u64> {
        (!self.star).then(|| self.numbers.iter().fold(0, |bits, number| bits | 1 << number))
    }

    fn bits_or_all(&self, field: CronField) -> u64 {
        let (min, max) = field.bounds();
        self.bits().unwrap_or_else(|| (min..=max).fold(0, |bits, number| bits | 1 << number))
    }

    /// croniter takes n-th weekdays only without others beside them, unless all seven are listed.
    fn mixes_weekdays(&self) -> bool {
        let counted = |number: &u16| self.nth_weekdays[usize::from(*number)] != 0;
        self.nth_weekdays != [0; 7]
            && self.numbers.len() + usize::from(self.star) != CronField::DayOfWeek.size()
            && !self.numbers.iter().all(counted)
    }
}

impl<'a> Range<'a> {
    /// `None` if the element has neither a range nor a step.
    fn parse(element: &'a str) -> Result<Option<Self>, String> {
        let (range, step) = match element.split_once('/') {
            None => (element, 1),
            Some((range, step)) => match digits(step) {
                Some(0) => return Err("has a step of 0".to_owned()),
                Some(step) => (range, step),
                None => return Err(format!("has the step `{step}`, which is no number")),
            },
        };
        let has_step = range.len() < element.len();
        match range.split_once('-') {
            Some(("", _)) => Err("has a negative number".to_owned()),
            Some((low, high)) => Ok(Some(Self { low, high: Some(high), step })),
            None if has_step => Ok(Some(Self { low: range, high: None, step })),
            None => Ok(None),
        }
    }

    fn numbers(&self, field: CronField) -> Result<Vec<u16>, String> {
        let (min, max) = field.bounds();
        let (mut low, mut high) = match (self.low, self.high) {
            ("*", None) => (min, max),
            (low, None) => (number(field, low)?, max),
            (low, Some("l")) if field == CronField::DayOfMonth => (number(field, low)?, max),
            (low, Some(high)) => (number(field, low)?, number(field, high)?),
        };
        if low.max(high) > max {
            return Err(format!("has `{}`, which is out of range", low.max(high)));
        }
        if low == high {
            // `59/15` begins at the field's end and is that number alone; `jan-jan` goes once around.
            if self.high.is_none() && self.low != "*" {
                return Ok(vec![low]);
            }
            (low, high) = (min, max);
        }
        // A step beyond the field is the same as one just beyond it.
        let step = usize::try_from(self.step).unwrap_or(usize::MAX).min(field.size() + 1);
        if low <= high {
            return Ok((low..=high).step_by(step).collect());
        }
        let mut numbers: Vec<u16> = (low..=max).step_by(step).collect();
        let skip = numbers.last().map_or(0, |last| skipped_after_wrap(field, *last, step));
        numbers.extend((min + skip..=high).step_by(step));
        Ok(numbers)
    }
}

/// How many numbers a wrapping range with a step leaves out at the field's begin. That is croniter's own count, which
/// is not always the even continuation: `50-10/7` goes 50, 57, 5.
fn skipped_after_wrap(field: CronField, last: u16, step: usize) -> u16 {
    let (min, max) = field.bounds();
    let unused = usize::from(max - last);
    let overshoots = usize::from(last - min) + step > field.size();
    if overshoots && unused < step { (step - unused) as u16 } else { 0 }
}

/// A number or name of the field. Weekday 7 is 0.
fn number(field: CronField, text: &str) -> Result<u16, String> {
    if let Some(number) = digits(text) {
        let number = u16::try_from(number).map_err(|_| format!("has `{text}`, which is out of range"))?;
        return Ok(if field == CronField::DayOfWeek && number == 7 { 0 } else { number });
    }
    let (min, _) = field.bounds();
    match field.names().iter().position(|name| *name == text) {
        Some(position) => Ok(position as u16 + min),
        None => Err(format!("has `{text}`, which is no {field}")),
    }
}

/// The value of a text of ASCII digits; the greatest possible value where it is greater.
fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// `15w` or `w15`. It must be the only entry.
fn nearest_weekday(text: &str) -> Result<Option<i8>, String> {
    let is_nearest = |text: &str| {
        let day = text.strip_suffix('w').or_else(|| text.strip_prefix('w'));
        day.and_then(digits)
    };
    if text.contains(',') && text.split(',').any(|element| is_nearest(element).is_some()) {
        return Err("has a `W` in a list, where only a single day may have one".to_owned());
    }
    match is_nearest(text) {
        None => Ok(None),
        Some(day @ 1..=31) => Ok(Some(day as i8)),
        Some(_) => Err("has a `W` at no day of a month".to_owned()),
    }
}

/// Splits `5#3` and `L5` into the weekdays and the bit of their occurrence in the month; 0 for every occurrence.
fn split_nth(element: &str) -> Result<(&str, u8), String> {
    if let Some((weekdays, nth)) = element.split_once('#') {
        // A range before `#` is taken in names only, as in `mon-wed#2`.
        let is_numeric_range =
            weekdays.split_once('-').is_some_and(|(low, high)| digits(low).is_some() || digits(high).is_some());
        if is_numeric_range || weekdays.contains(['/', '*']) {
            return Err("has before `#` neither a weekday nor a range of names such as `mon-wed`".to_owned());
        }
        return match digits(nth) {
            Some(nth @ 1..=NTH_MAX) => Ok((weekdays, 1 << nth)),
            _ => Err(format!("has the occurrence `{nth}`, but a weekday occurs up to {NTH_MAX} times a month")),
        };
    }
    match element.strip_prefix('l') {
        Some(weekday) if digits(weekday).is_some() => Ok((weekday, 1 << LAST_IN_MONTH)),
        _ => Ok((element, 0)),
    }
}
