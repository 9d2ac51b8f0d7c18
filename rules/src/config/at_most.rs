//! Amounts of a contract: how much in how many days.

use std::collections::BTreeSet;
use std::fmt;

use jiff::tz::TimeZone;

use super::when::{When, zone};
use crate::units::{Bytes, DAY, Span};
use crate::yaml::At;

/// So much in so many days: `40 GB per 1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtMost {
    /// How much, bytes; at least one.
    pub bytes: u64,
    /// In how many days, the one that runs among them; 1 to 366.
    pub days: u16,
}

/// As the user wrote it, without the time zone.
impl fmt::Display for AtMost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} per {}d", Bytes(self.bytes), self.days)
    }
}

const LIKE: &str = "write for instance '40 GB per 1d', or '40 GB per 1d Asia/Jakarta'";

/// Reads one amount or several, and the time zone of their days: that of the hours, else the one written, else UTC.
pub(super) fn at_most(at: At<'_>, when: Option<&When>) -> Option<(Vec<AtMost>, TimeZone)> {
    let read = at.list(|at| amount(at, when))?;
    let items = at.items();
    let (mut days, mut zones) = (BTreeSet::new(), Vec::new());
    let mut amounts: Vec<AtMost> = Vec::new();
    for ((amount, zone), item) in read.into_iter().zip(items) {
        if !days.insert(amount.days) {
            return item.wrong(
                format!("a second amount per {}d", amount.days),
                "keep the smaller one",
            );
        }
        let never = amounts
            .iter()
            .find(|other| (other.days < amount.days) != (other.bytes < amount.bytes));
        if let Some(other) = never {
            return item.wrong(
                format!("'{amount}' beside '{other}': one of them is never reached"),
                "give more days more bytes",
            );
        }
        zones.extend(zone);
        amounts.push(amount);
    }
    if zones.windows(2).any(|pair| pair[0] != pair[1]) {
        return at.wrong(
            "days in two time zones",
            "write the same time zone behind each amount",
        );
    }
    let zone = when.map(|when| when.zone().clone());
    Some((amounts, zone.or(zones.pop()).unwrap_or(TimeZone::UTC)))
}

fn amount(at: At<'_>, when: Option<&When>) -> Option<(AtMost, Option<TimeZone>)> {
    let text = at.text()?;
    let Some((bytes, span)) = text.split_once(" per ") else {
        return at.wrong(format!("'{text}' is no amount in some days"), LIKE);
    };
    let (span, named) = match span.trim().split_once(char::is_whitespace) {
        Some((span, name)) => (span, Some(name.trim())),
        None => (span.trim(), None),
    };
    let told = |error: String| {
        let (message, help) = error.split_once("; ").unwrap_or((&error, LIKE));
        at.wrong::<()>(message, help);
    };
    let Bytes(bytes) = bytes.parse().map_err(told).ok()?;
    let Span(nanos) = span.parse().map_err(told).ok()?;
    let days = u16::try_from(nanos / DAY).unwrap_or(u16::MAX);
    if nanos % DAY != 0 || !(1..=366).contains(&days) {
        return at.wrong(
            format!("'{span}' is not a number of days from 1 to 366"),
            "write '1d' to '366d'",
        );
    }
    if bytes == 0 {
        return at.wrong(
            "a contract for nothing",
            "write an amount, or remove the contract",
        );
    }
    if named.is_some() && when.is_some() {
        return at.wrong(
            "its days are those of 'when', in the time zone of that",
            "remove the time zone here",
        );
    }
    let zone = match named {
        Some(name) => Some(zone(at, name)?),
        None => None,
    };
    Some((AtMost { bytes, days }, zone))
}
