//! Sizes, durations, rates and counts as users write them; every `Display` form reads back as the same value.

use std::fmt;
use std::str::FromStr;

use crate::event::SECOND;

/// Bytes, written with a unit: `100 MB` (SI, powers of 1000), `2 GiB` (powers of 1024), `900 B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A length of time in nanoseconds, never negative, in Prometheus' grammar: `10m`, `1h30m`, `30d`, `1m05s`, and
/// below a millisecond `us` and `ns`, which Prometheus does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub i64);

/// A number of things: `10000`, `10 000` or `10_000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u64);

/// A share, 0 to 1, written in per cent: `5 %`, `0.5%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(pub f64);

/// Hours of a day, perhaps over midnight: `22:00-05:00`. The first minute is in them, the last is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// Minutes after midnight, 0 to 1439.
    from: u16,
    /// Minutes after midnight, 0 to 1440; another than `from`.
    until: u16,
}

impl Hours {
    /// Whether those that a moment of the day may be in began on the day before.
    #[must_use]
    pub fn began_yesterday(self, time: i64) -> bool {
        self.from > self.until && time.rem_euclid(DAY) / MINUTE < self.until.into()
    }

    /// Whether a moment of the day is in them; `time` = nanoseconds after midnight.
    #[must_use]
    pub fn hold(self, time: i64) -> bool {
        let minute = time.rem_euclid(DAY) / MINUTE;
        let (from, until) = (self.from.into(), self.until.into());
        if from < until {
            (from..until).contains(&minute)
        } else {
            minute >= from || minute < until
        }
    }
}

/// So much in so long: `40 MB/s`, `10 files/s`, `200 MB/d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How much.
    pub amount: Quantity,
    /// In how long, nanoseconds: one second, minute, hour or day.
    pub per: i64,
}

/// Bytes or files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Bytes.
    Bytes(u64),
    /// Files.
    Files(u64),
}

const MINUTE: i64 = 60 * SECOND;
/// Nanoseconds in an hour.
pub const HOUR: i64 = 60 * MINUTE;
/// Nanoseconds in a day.
pub const DAY: i64 = 24 * HOUR;

/// Units of time from large to small. Prometheus demands this order, each at most once.
const TIME_UNITS: [(&str, i64); 9] = [
    ("y", 365 * DAY),
    ("w", 7 * DAY),
    ("d", DAY),
    ("h", HOUR),
    ("m", MINUTE),
    ("s", SECOND),
    ("ms", SECOND / 1_000),
    ("us", SECOND / 1_000_000),
    ("ns", 1),
];

const SI: [(&str, u64); 6] = [
    ("EB", bytesize::EB),
    ("PB", bytesize::PB),
    ("TB", bytesize::TB),
    ("GB", bytesize::GB),
    ("MB", bytesize::MB),
    ("KB", bytesize::KB),
];

const BINARY: [(&str, u64); 6] = [
    ("EiB", bytesize::EIB),
    ("PiB", bytesize::PIB),
    ("TiB", bytesize::TIB),
    ("GiB", bytesize::GIB),
    ("MiB", bytesize::MIB),
    ("KiB", bytesize::KIB),
];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_number(text.trim());
        let unit = unit.trim_start();
        if unit.is_empty() && number != "0" {
            return Err(format!("'{text}' has no unit; write for instance '100 MB'"));
        }
        let factor = match unit {
            "" => 1,
            _ => unit
                .parse::<bytesize::Unit>()
                .map(|unit| unit * 1_u64)
                .map_err(|_| {
                    format!(
                        "'{unit}' is no unit of size; use B, KB, MB, GB, TB or KiB, MiB, GiB, TiB"
                    )
                })?,
        };
        scaled(number, factor)
            .map(Self)
            .ok_or_else(|| format!("'{text}' is no size; write for instance '100 MB'"))
    }
}

/// `number` (digits, perhaps a point and digits) times `factor`, exactly; a fraction of a byte is cut.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.len() > 18 {
        return None;
    }
    let whole: u128 = digits(whole)?;
    let part: u128 = digits(fraction)?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let total = whole
        .checked_mul(u128::from(factor))?
        .checked_add(part * u128::from(factor) / scale)?;
    // Engine sums are u64 and window arithmetic is i64: half of the range is more than any store holds.
    u64::try_from(total)
        .ok()
        .filter(|total| *total <= i64::MAX as u64)
}

/// A run of ASCII digits as a number; `None` if it is empty, too long, or anything else.
fn digits<T: FromStr>(text: &str) -> Option<T> {
    (!text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(text.len());
    text.split_at(end)
}

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in SI {
            let tenth = factor / 10;
            if self.0 >= factor && self.0.is_multiple_of(tenth) {
                return match self.0 / tenth % 10 {
                    0 => write!(out, "{} {unit}", self.0 / factor),
                    tenths => write!(out, "{}.{tenths} {unit}", self.0 / factor),
                };
            }
        }
        for (unit, factor) in BINARY {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(out, "{} {unit}", self.0 / factor);
            }
        }
        write!(out, "{} B", self.0)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "0" {
            return Ok(Self(0));
        }
        let wrong =
            || format!("'{text}' is no length of time; write for instance '10m', '1h30m' or '30d'");
        let mut rest = text;
        let mut total: i64 = 0;
        let mut units = TIME_UNITS.as_slice();
        while !rest.is_empty() {
            let (number, tail) = split_number(rest);
            let unit_end = tail
                .find(|character: char| character.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_end);
            let place = units
                .iter()
                .position(|(name, _)| *name == unit)
                .ok_or_else(wrong)?;
            let number: i64 = digits(number).ok_or_else(wrong)?;
            let part = number.checked_mul(units[place].1).ok_or_else(wrong)?;
            total = total.checked_add(part).ok_or_else(wrong)?;
            units = &units[place + 1..];
            rest = tail;
        }
        if text.is_empty() {
            Err(wrong())
        } else {
            Ok(Self(total))
        }
    }
}

impl fmt::Display for Span {
    /// The inner units have two digits, so that columns of times read well: `1m05s`, `1h00m30s`. A single day is
    /// `24h`, as people say.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 <= 0 {
            return f_sign(self.0, out);
        }
        let mut rest = self.0;
        let days = if rest >= 2 * DAY { rest / DAY } else { 0 };
        rest -= days * DAY;
        let (hours, minutes, seconds) = (rest / HOUR, rest / MINUTE % 60, rest / SECOND % 60);
        let mut open = false;
        for (value, unit) in [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")] {
            let later = later_than(rest, unit);
            if open && (value > 0 || later) {
                write!(out, "{value:02}{unit}")?;
            } else if value > 0 {
                write!(out, "{value}{unit}")?;
            }
            open = open || value > 0;
        }
        let below = rest % SECOND;
        for (value, unit) in [
            (below / 1_000_000, "ms"),
            (below / 1_000 % 1_000, "us"),
            (below % 1_000, "ns"),
        ] {
            if value > 0 {
                write!(out, "{value}{unit}")?;
            }
        }
        Ok(())
    }
}

/// Zero, and what cannot be: a negative length.
fn f_sign(nanos: i64, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    match nanos {
        0 => out.write_str("0s"),
        _ => write!(out, "-{}", Span(nanos.saturating_neg())),
    }
}

/// Whether a unit of a minute or a second comes after `unit` in `rest`, so that a zero must hold its place.
fn later_than(rest: i64, unit: &str) -> bool {
    match unit {
        "h" => rest % HOUR >= SECOND,
        "m" => rest % MINUTE >= SECOND,
        _ => false,
    }
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no count; write for instance '10000' or '10 000'");
        let groups: Vec<&str> = text.trim().split([' ', '_']).collect();
        let grouped = groups.iter().skip(1).all(|group| group.len() == 3);
        if !grouped || (groups.len() > 1 && groups[0].len() > 3) {
            return Err(wrong());
        }
        digits(&groups.concat())
            .filter(|count| *count <= i64::MAX as u64)
            .map(Self)
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

impl Share {
    /// In whole per cent.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 100"
    )]
    pub fn per_cent(self) -> u8 {
        (self.0 * 100.0).round() as u8
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, until } = self;
        let (from, until) = ((from / 60, from % 60), (until / 60, until % 60));
        write!(
            out,
            "{:02}:{:02}-{:02}:{:02}",
            from.0, from.1, until.0, until.1
        )
    }
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hours = || {
            let (from, until) = text.split_once('-')?;
            let (from, until) = (minute_of_day(from)?, minute_of_day(until)?);
            (from < 24 * 60 && from != until).then_some(Self { from, until })
        };
        hours().ok_or_else(|| {
            format!("'{text}' are no hours of a day; write for instance '22:00-05:00'")
        })
    }
}

/// `05:30` as minutes after midnight; `24:00` is the day's end.
fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |digits: &str| {
        let fits = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let minute = two(hours)? * 60 + two(minutes).filter(|minutes| *minutes < 60)?;
    (minute <= 24 * 60).then_some(minute)
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.trim()
            .strip_suffix('%')
            .map(str::trim_end)
            .filter(|number| number.len() <= 20)
            .filter(|number| {
                number
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'.')
            })
            .and_then(|number| number.parse::<f64>().ok())
            .filter(|share| *share <= 100.0)
            .map(|share| Self(share / 100.0))
            .ok_or_else(|| format!("'{text}' is no share; write for instance '5 %'"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nine digits: what a float does to 5 % (0.05 * 100 = 5.000000000000001) stays out of sight.
        let text = format!("{:.9}", self.0 * 100.0);
        write!(
            out,
            "{} %",
            text.trim_end_matches('0').trim_end_matches('.')
        )
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no rate; write for instance '40 MB/s' or '10 files/s'");
        let (amount, per) = text.trim().rsplit_once('/').ok_or_else(wrong)?;
        let per = match per.trim() {
            "s" => SECOND,
            "m" => MINUTE,
            "h" => HOUR,
            "d" => DAY,
            _ => return Err(wrong()),
        };
        Ok(Self {
            amount: amount.trim().parse()?,
            per,
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = TIME_UNITS
            .iter()
            .find(|(_, nanos)| *nanos == self.per)
            .map_or("s", |(unit, _)| unit);
        write!(out, "{}/{per}", self.amount)
    }
}

impl FromStr for Quantity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text
            .strip_suffix("files")
            .or_else(|| text.strip_suffix("file"))
        {
            Some(count) => Ok(Self::Files(count.parse::<Count>()?.0)),
            None => Ok(Self::Bytes(text.parse::<Bytes>()?.0)),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(out, "{}", Bytes(*bytes)),
            Self::Files(files) => write!(out, "{files} files"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check<T: FromStr<Err = String> + fmt::Display>(text: &str, expected: &str) {
        let said = match text.parse::<T>() {
            Ok(value) => value.to_string(),
            Err(message) => message,
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn hours_of_a_day() {
        check::<Hours>("22:00-05:30", "22:00-05:30");
        check::<Hours>("00:00-24:00", "00:00-24:00");
        let wrong =
            |text| format!("'{text}' are no hours of a day; write for instance '22:00-05:00'");
        for text in [
            "",
            "22-05",
            "24:00-05:00",
            "25:00-05:00",
            "5:00-6:00",
            "05:60-06:00",
            "05:00-05:00",
        ] {
            check::<Hours>(text, &wrong(text));
        }
        let night: Hours = "22:00-05:30".parse().unwrap();
        let at = |hour: i64, minute: i64| night.hold(hour * HOUR + minute * MINUTE);
        assert!(at(22, 0) && at(0, 0) && at(5, 29) && at(46, 0));
        assert!(!at(21, 59) && !at(5, 30) && !at(12, 0));
    }

    #[test]
    fn sizes() {
        check::<Bytes>("100 MB", "100 MB");
        check::<Bytes>("2GiB", "2 GiB");
        check::<Bytes>("1.5 gb", "1.5 GB");
        check::<Bytes>("120 kB", "120 KB");
        check::<Bytes>("1234567 B", "1234567 B");
        check::<Bytes>("0", "0 B");
        check::<Bytes>("100", "'100' has no unit; write for instance '100 MB'");
        check::<Bytes>(
            "1.2.3 MB",
            "'1.2.3 MB' is no size; write for instance '100 MB'",
        );
        check::<Bytes>(
            "9999999 EB",
            "'9999999 EB' is no size; write for instance '100 MB'",
        );
        check::<Bytes>(
            "-1 MB",
            "'-1 MB' is no unit of size; use B, KB, MB, GB, TB or KiB, MiB, GiB, TiB",
        );
        assert_eq!("1.001 KB".parse(), Ok(Bytes(1001)));
    }

    #[test]
    fn lengths_of_time() {
        check::<Span>("10m", "10m");
        check::<Span>("1h30m", "1h30m");
        check::<Span>("1m5s", "1m05s");
        check::<Span>("90s", "1m30s");
        check::<Span>("3605s", "1h00m05s");
        check::<Span>("24h", "24h");
        check::<Span>("30d", "30d");
        check::<Span>("2d1s", "2d00h00m01s");
        check::<Span>("250ms", "250ms");
        check::<Span>("0", "0s");
        for wrong in [
            "",
            "5",
            "m",
            "5s10m",
            "1m1m",
            "-5s",
            "1.5h",
            "9999999999y",
            "5 m",
        ] {
            assert!(wrong.parse::<Span>().is_err(), "'{wrong}' was read");
        }
    }

    #[test]
    fn counts_shares_and_rates() {
        check::<Count>("10 000", "10000");
        check::<Count>("1_000_000", "1000000");
        check::<Count>(
            "10 00",
            "'10 00' is no count; write for instance '10000' or '10 000'",
        );
        check::<Share>("5%", "5 %");
        check::<Share>("0.5 %", "0.5 %");
        check::<Share>("101 %", "'101 %' is no share; write for instance '5 %'");
        check::<Rate>("40 MB/s", "40 MB/s");
        check::<Rate>("10 files/s", "10 files/s");
        check::<Rate>("200 MB/d", "200 MB/d");
        check::<Rate>(
            "40 MB",
            "'40 MB' is no rate; write for instance '40 MB/s' or '10 files/s'",
        );
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(bytes in 0..=i64::MAX as u64, shift in 0_u32..60, nanos in 0..=i64::MAX) {
            let bytes = Bytes(bytes >> shift);
            prop_assert_eq!(bytes.to_string().parse(), Ok(bytes));
            let round = Bytes((bytes.0 >> shift).saturating_mul(100_000).min(i64::MAX as u64));
            prop_assert_eq!(round.to_string().parse(), Ok(round));
            for span in [Span(nanos >> shift), Span((nanos / SECOND * SECOND) >> shift)] {
                prop_assert_eq!(span.to_string().parse(), Ok(span), "{}", span);
            }
        }

        #[test]
        fn anything_is_read_or_refused(text in "\\PC{0,12}") {
            let _ = (text.parse::<Bytes>(), text.parse::<Span>(), text.parse::<Count>(), text.parse::<Rate>(), text.parse::<Share>());
        }
    }
}
