//! A cron expression as sets of numbers, and the rule for days.

use jiff::civil::{Date, Weekday};

/// What each field allows.
pub(super) struct Fields {
    /// Bit n is minute n.
    pub(super) minutes: u64,
    /// Bit n is hour n.
    pub(super) hours: u64,
    /// Bit n is month n, from 1.
    pub(super) months: u64,
    /// Bit n is second n. Without a seconds field: second 0.
    pub(super) seconds: u64,
    /// Ascending; `None` is any year.
    pub(super) years: Option<Vec<i16>>,
    /// Whether there is a field for seconds, which lets a search start at any second rather than at a whole minute.
    pub(super) has_seconds: bool,
    /// Whether the hour field came out as a plain `*`.
    pub(super) covers_every_hour: bool,
    pub(super) days: Days,
}

/// What the day of month and the day of week fields allow together.
pub(super) struct Days {
    /// Bit n is day n of the month, from 1; `None` is any day.
    pub(super) of_month: Option<u64>,
    /// `L`: the last day of the month too.
    pub(super) last_of_month: bool,
    /// `15W`: the weekday, Monday to Friday, nearest to this day of the month. Replaces `of_month`.
    pub(super) nearest_weekday: Option<i8>,
    /// Bit n is weekday n, Sunday being 0; `None` is any weekday.
    pub(super) of_week: Option<u64>,
    /// `5#3`, `L5`: for each weekday, bit n is the n-th in the month and bit `LAST_IN_MONTH` the last. Replaces
    /// `of_week`.
    pub(super) nth_weekdays: Option<[u8; 7]>,
}

/// The bit of a weekday's last occurrence in a month; the n-th has bit n.
pub(super) const LAST_IN_MONTH: u8 = 7;

/// Which of the two day fields a search looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consider {
    Both,
    DayOfMonth,
    DayOfWeek,
}

impl Days {
    /// Both fields are restricted, so that a date needs to match one of them only.
    pub(super) fn either(&self) -> bool {
        self.of_month.is_some() && self.of_week.is_some()
    }

    /// No last day, nearest weekday or n-th weekday.
    pub(super) fn are_plain(&self) -> bool {
        !self.last_of_month && self.is_clean_split()
    }

    /// Each field can be left out of a search by itself. Nearest and n-th weekdays cannot: croniter keeps them apart
    /// from the two fields and applies them in both searches of an either-or expression. It therefore drops the other
    /// field, or finds no date at all where the two never meet. Ours must do the same to run when Airflow does.
    pub(super) fn is_clean_split(&self) -> bool {
        self.nearest_weekday.is_none() && self.nth_weekdays.is_none()
    }

    pub(super) fn contain(&self, date: Date, consider: Consider) -> bool {
        self.contain_day_of_month(date, consider) && self.contain_day_of_week(date, consider)
    }

    fn contain_day_of_month(&self, date: Date, consider: Consider) -> bool {
        if let Some(day) = self.nearest_weekday {
            return date.day() == nearest_weekday(date, day);
        }
        let Some(days) = self.of_month.filter(|_| consider != Consider::DayOfWeek) else {
            return true;
        };
        days & (1 << date.day()) != 0 || (self.last_of_month && date.day() == date.days_in_month())
    }

    fn contain_day_of_week(&self, date: Date, consider: Consider) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        if let Some(nth_weekdays) = &self.nth_weekdays {
            let nth = nth_weekdays[weekday as usize];
            let is_last = date.day() + 7 > date.days_in_month();
            return nth & (1 << ((date.day() + 6) / 7)) != 0 || (is_last && nth & (1 << LAST_IN_MONTH) != 0);
        }
        let Some(weekdays) = self.of_week.filter(|_| consider != Consider::DayOfMonth) else {
            return true;
        };
        weekdays & (1 << weekday) != 0
    }
}

/// The day, Monday to Friday, nearest to `day` in the month of `date`, without leaving the month.
fn nearest_weekday(date: Date, day: i8) -> i8 {
    let last = date.days_in_month();
    let day = day.min(last);
    // Weekdays repeat every seven days, so the weekday of `day` follows from that of `date`.
    let shift = i64::from(day) - i64::from(date.day());
    match date.weekday().wrapping_add(shift) {
        Weekday::Saturday if day > 1 => day - 1,
        Weekday::Saturday => day + 2,
        Weekday::Sunday if day < last => day + 1,
        Weekday::Sunday => day - 2,
        _ => day,
    }
}
