//! Amounts of a contract: how much in how many days.

use std::cmp::Ordering;
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

/// Reads one amount or several, and the time zone of their days, if one is written.
pub(super) fn at_most(at: At<'_>, when: Option<&When>) -> Option<(Vec<AtMost>, Option<TimeZone>)> {
    let read = at.list(|at| amount(at, when))?;
    let items = at.items();
    if read.len() < items.len() {
        // One could not be read, and has its problem.
        return None;
    }
    let mut amounts: Vec<AtMost> = Vec::new();
    for ((amount, _), item) in read.iter().zip(items) {
        let clash = |other: &&AtMost| match other.days.cmp(&amount.days) {
            Ordering::Less => other.bytes >= amount.bytes,
            Ordering::Equal => true,
            Ordering::Greater => other.bytes <= amount.bytes,
        };
        if let Some(other) = amounts.iter().find(clash) {
            return item.wrong(
                format!("'{amount}' beside '{other}': one of them is never reached"),
                "keep one of the same days, and give more days more bytes",
            );
        }
        amounts.push(*amount);
    }
    let mut zones: Vec<TimeZone> = read.into_iter().filter_map(|(_, zone)| zone).collect();
    if zones.windows(2).any(|pair| pair[0] != pair[1]) {
        return at.wrong(
            "days in two time zones",
            "write the same time zone behind each amount",
        );
    }
    Some((amounts, zones.pop()))
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
    let told = |error: String| at.refuse::<()>(&error, LIKE);
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
