//! Hours of the week in a time zone: when a contract holds.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::units::Hours;
use crate::yaml::{At, nearest};

/// What users type, Monday first.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Hours of the week: `mon-fri 22:00-05:00 Asia/Jakarta`. Hours over midnight are of the day on which they begin, and times
/// are those that a clock on the wall shows: where it is put forward, some do not come, and where it is put back, twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// Which, Monday first.
    days: [bool; 7],
    hours: Hours,
    zone: TimeZone,
    text: String,
}

impl When {
    /// The day on which the hours began that a moment is in; `None` if it is in none.
    #[must_use]
    pub fn day(&self, moment: Timestamp) -> Option<Date> {
        let local = moment.to_zoned(self.zone.clone());
        let time = local.time().duration_since(jiff::civil::Time::midnight());
        let nanos = i64::try_from(time.as_nanos()).ok()?;
        let day = if self.hours.began_yesterday(nanos) {
            local.date().yesterday().ok()?
        } else {
            local.date()
        };
        (self.hours.hold(nanos) && self.days[place(day.weekday())]).then_some(day)
    }

    /// The time zone of its days.
    #[must_use]
    pub const fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

/// As the user wrote it.
impl fmt::Display for When {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

fn place(day: Weekday) -> usize {
    usize::from(day.to_monday_zero_offset().unsigned_abs())
}

/// Reads `[DAYS] HOURS ZONE`.
pub(super) fn when(at: At<'_>) -> Option<When> {
    const LIKE: &str = "write for instance '22:00-05:00 Asia/Jakarta' or 'mon-fri 07:00-19:00 UTC'";
    let text = at.text()?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let (days, hours, zone) = match words[..] {
        [hours, zone] => (None, hours, zone),
        [days, hours, zone] => (Some(days), hours, zone),
        [hours] if hours.parse::<Hours>().is_ok() => {
            return at.wrong(format!("'{text}' in which time zone?"), LIKE);
        }
        _ => return at.wrong(format!("'{text}' are no hours of a week"), LIKE),
    };
    let days = match days.map(week) {
        None => [true; 7],
        Some(Some(days)) => days,
        Some(None) => {
            let message = format!("'{}' are no days of a week", words[0]);
            return at.wrong(message, "write for instance 'mon-fri' or 'sat,sun'");
        }
    };
    let hours: Result<Hours, String> = hours.parse();
    let hours = hours.map_or_else(|error| at.refuse(&error, LIKE), Some)?;
    let zone = self::zone(at, zone)?;
    Some(When {
        days,
        hours,
        zone,
        text: words.join(" "),
    })
}

/// `mon-fri`, `sat,sun`, `fri-mon,wed`.
fn week(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let mut days = [false; 7];
    for part in text.split(',') {
        let (from, until) = part.split_once('-').unwrap_or((part, part));
        let (from, until) = (day(from)?, day(until)?);
        let many = (until + 7 - from) % 7;
        for step in 0..=many {
            days[(from + step) % 7] = true;
        }
    }
    Some(days)
}

/// From the database that the program brings along: the host's own may be old, missing, or changed.
pub(super) fn zone(at: At<'_>, name: &str) -> Option<TimeZone> {
    let zones = TimeZoneDatabase::bundled();
    if let Some(zone) = zones.get(name).ok().filter(|zone| !zone.is_unknown()) {
        return Some(zone);
    }
    let known: Vec<String> = zones.available().map(|zone| zone.to_string()).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let help = match nearest(name, &known) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "write it as in /usr/share/zoneinfo, for instance 'Asia/Jakarta'".to_owned(),
    };
    at.wrong(format!("unknown time zone '{name}'"), help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn read(text: &str) -> When {
        let text = format!(
            "contracts: [{{ name: a, who: {{ unit: a.service }}, to: 10.0.0.1, owner: b, when: \"{text}\" }}]"
        );
        let config = config::parse("test", &text).unwrap_or_else(|wrong| panic!("{wrong}"));
        config.contracts[0].when.clone().unwrap()
    }

    /// Of these moments, those that are in the hours.
    #[track_caller]
    fn check(when: &str, moments: &[(&str, bool)]) {
        let when = read(when);
        for (moment, expected) in moments {
            let time: Timestamp = moment.parse().unwrap();
            assert_eq!(when.day(time).is_some(), *expected, "{when}: {moment}");
        }
    }

    #[test]
    fn hours_are_those_of_their_zone() {
        check(
            "22:00-05:00 Asia/Jakarta",
            &[
                ("2026-11-23T21:59:59+07:00", false),
                ("2026-11-23T22:00:00+07:00", true),
                ("2026-11-23T22:00:00Z", false),
                ("2026-11-24T04:59:59+07:00", true),
                ("2026-11-24T05:00:00+07:00", false),
            ],
        );
    }

    #[test]
    fn the_night_is_of_the_day_on_which_it_begins() {
        // 2026-11-27 is a Friday.
        check(
            "mon-fri 22:00-05:00 UTC",
            &[
                ("2026-11-27T22:00:00Z", true),
                ("2026-11-28T04:59:00Z", true),
                ("2026-11-28T22:00:00Z", false),
                ("2026-11-30T04:00:00Z", false),
            ],
        );
        let night = read("mon-fri 22:00-05:00 UTC").day("2026-11-28T04:59:00Z".parse().unwrap());
        assert_eq!(night, Some(Date::constant(2026, 11, 27)));
        check(
            "sat,sun 00:00-24:00 UTC",
            &[
                ("2026-11-27T23:59:00Z", false),
                ("2026-11-28T00:00:00Z", true),
                ("2026-11-29T23:59:59Z", true),
                ("2026-11-30T00:00:00Z", false),
            ],
        );
        check("fri-mon 00:00-24:00 UTC", &[("2026-11-29T12:00:00Z", true)]);
    }

    #[test]
    fn clocks_are_put_forward_and_back() {
        // In Berlin 02:00 to 03:00 does not come on 2026-03-29, and comes twice on 2026-10-25.
        check(
            "02:00-03:00 Europe/Berlin",
            &[
                ("2026-03-29T00:59:59Z", false),
                ("2026-03-29T01:00:00Z", false),
                ("2026-10-25T00:30:00Z", true),
                ("2026-10-25T01:30:00Z", true),
                ("2026-10-25T02:00:00Z", false),
            ],
        );
    }
}
