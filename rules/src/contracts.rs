//! Which contract bytes are under, and how much of it is left.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use jiff::ToSpan;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::config::{AtMost, Contract};
use crate::dialogs::{Dialog, fits};
use crate::event::Name;
use crate::lineage::Member;
use crate::names::Names;
use crate::scope::Wall;
use crate::who::is_who;

/// A contract that bytes are under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// Its place in the configuration.
    pub contract: usize,
    /// How much of them at the most; the rest is not under it.
    pub bytes: u64,
}

/// Who asks, for what.
#[derive(Debug, Clone, Copy)]
pub struct Asks<'a> {
    /// Names by number.
    pub names: &'a Names,
    /// Where to.
    pub remote: SocketAddr,
    /// The sender.
    pub member: &'a Member,
    /// What is spoken.
    pub dialog: Option<&'a Dialog>,
}

/// Why a contract that is for this sender and destination does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Its last day is over.
    Expired,
    /// It is not one of its hours, or nobody knows what time it is.
    OutOfHours,
    /// The clock was set within a day: whoever set it may have wanted these hours.
    ClockSet,
    /// Its amount was sent.
    UsedUp,
    /// It names DICOM titles, and others were heard, or none.
    OtherTitles,
    /// Somebody changed the sender's cgroup or login by hand.
    Disguised,
}

impl Refusal {
    /// For an alert, behind the contract's name.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Expired => "has expired",
            Self::OutOfHours => "does not hold at this hour",
            Self::ClockSet => "gets no new day or hour for 24 h: the clock was set",
            Self::UsedUp => "is used up",
            Self::OtherTitles => {
                "names AE titles, and others were heard, or none since the agent started"
            }
            Self::Disguised => {
                "is not for a process whose cgroup or login was changed by hand: let the service manager start it"
            }
        }
    }
}

/// Bytes of a day.
type Day = (Date, u64);

/// What has been sent under contracts that have an amount, by name, a day each: the day on which its hours began.
#[derive(Debug, Default)]
pub struct Contracts {
    spent: BTreeMap<Name, Vec<Day>>,
    changed: BTreeSet<Name>,
}

impl Contracts {
    /// The first contract at or after a place in the configuration that holds and has something left; else the first that
    /// would, and why it does not.
    ///
    /// # Errors
    /// No contract holds.
    pub fn find(
        &self,
        contracts: &[Contract],
        from: usize,
        who: &Asks<'_>,
        wall: Option<Wall>,
    ) -> Result<Granted, Option<(usize, Refusal)>> {
        let mut refused = None;
        for (place, contract) in contracts.iter().enumerate().skip(from) {
            let is_for = contract.to.iter().any(|target| target.holds(who.remote))
                && is_who(&contract.who, who.names, who.member);
            if !is_for {
                continue;
            }
            let left = if who.member.is_disguised {
                Err(Refusal::Disguised)
            } else if fits(contract, who.dialog) {
                self.left(contract, wall)
            } else {
                Err(Refusal::OtherTitles)
            };
            match left {
                Ok(bytes) => {
                    let contract = place;
                    return Ok(Granted { contract, bytes });
                }
                Err(why) => refused = refused.or(Some((place, why))),
            }
        }
        Err(refused)
    }

    /// How many bytes may still be sent under a contract, at least one.
    ///
    /// # Errors
    /// It does not hold.
    pub fn left(&self, contract: &Contract, wall: Option<Wall>) -> Result<u64, Refusal> {
        is_in_time(contract, wall)?;
        let left = self
            .tightest(contract, wall)
            .map_or(u64::MAX, |(_, left)| left);
        if left == 0 {
            let is_doubted = wall.is_some_and(|wall| wall.is_doubted);
            return Err(if is_doubted {
                Refusal::ClockSet
            } else {
                Refusal::UsedUp
            });
        }
        Ok(left)
    }

    /// The amount of which the least is left, and how much that is; `None` for any amount, or after the last day.
    #[must_use]
    pub fn tightest(&self, contract: &Contract, wall: Option<Wall>) -> Option<(AtMost, u64)> {
        if is_in_time(contract, wall) == Err(Refusal::Expired) {
            return None;
        }
        let days = self
            .spent
            .get(&contract.name)
            .map_or(&[][..], Vec::as_slice);
        let today = wall.and_then(|wall| day(contract, days, wall));
        let is_doubted = wall.is_none_or(|wall| wall.is_doubted);
        let left = contract.at_most.iter().map(|at_most| {
            let since = today.and_then(|today| first_day(today, at_most.days));
            let counts = |(day, _): &&Day| {
                since.is_none_or(|since| *day >= since) && (is_doubted || today >= Some(*day))
            };
            let spent = days.iter().filter(counts).map(|(_, bytes)| bytes);
            let spent = spent.fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
            (*at_most, at_most.bytes.saturating_sub(spent))
        });
        left.min_by_key(|(_, left)| *left)
    }

    /// So much was sent under a contract.
    pub fn spend(&mut self, contract: &Contract, bytes: u64, wall: Option<Wall>) {
        let Some(longest) = contract.at_most.iter().map(|at_most| at_most.days).max() else {
            return;
        };
        let days = self.spent.entry(contract.name.clone()).or_default();
        let Some(today) = wall.and_then(|wall| day(contract, days, wall)) else {
            return;
        };
        match days.binary_search_by_key(&today, |(day, _)| *day) {
            Ok(place) => days[place].1 = days[place].1.saturating_add(bytes),
            Err(place) => days.insert(place, (today, bytes)),
        }
        let since = first_day(today, longest);
        // A day to come is of a clock that was wrong, and was told.
        let is_doubted = wall.is_none_or(|wall| wall.is_doubted);
        days.retain(|(day, _)| {
            since.is_none_or(|since| *day >= since) && (is_doubted || *day <= today)
        });
        self.changed.insert(contract.name.clone());
    }

    /// What was spent of those that changed since the last call.
    pub fn take_changed(&mut self) -> Vec<(Name, Vec<Day>)> {
        let changed = std::mem::take(&mut self.changed);
        let spent = |name: Name| {
            let days = self.spent.get(&name).cloned().unwrap_or_default();
            (name, days)
        };
        changed.into_iter().map(spent).collect()
    }

    /// What an earlier run of the agent saw spent. Not of a contract that is gone: whoever takes its name begins anew.
    pub fn restore(&mut self, contracts: &[Contract], name: &Name, days: Vec<Day>) -> bool {
        let known = contracts.iter().any(|contract| contract.name == *name);
        if known {
            self.spent.insert(name.clone(), days);
        }
        known
    }

    /// Forgets contracts that a new configuration has no more; their names.
    pub fn keep(&mut self, contracts: &[Contract]) -> Vec<Name> {
        let is_gone = |name: &Name| !contracts.iter().any(|contract| contract.name == *name);
        let gone: Vec<Name> = self
            .spent
            .keys()
            .filter(|name| is_gone(name))
            .cloned()
            .collect();
        for name in &gone {
            self.spent.remove(name);
            self.changed.remove(name);
        }
        gone
    }
}

/// The day that counts: of the contract's hours, else of its time zone. No new one begins while the clock is doubted: that
/// would fill every amount again.
fn day(contract: &Contract, days: &[Day], wall: Wall) -> Option<Date> {
    let last = days.last().map(|(day, _)| *day);
    if let Some(last) = last.filter(|_| wall.is_doubted) {
        return Some(last);
    }
    match &contract.when {
        Some(when) => when.day(wall.time).or(last),
        None => Some(wall.time.to_zoned(contract.zone.clone()).date()),
    }
}

/// The first of so many days that end today.
fn first_day(today: Date, days: u16) -> Option<Date> {
    today.checked_sub((i64::from(days) - 1).days()).ok()
}

/// In its hours, and not expired. A clock that was set a moment ago opens no hours: whoever sets it may want them.
fn is_in_time(contract: &Contract, wall: Option<Wall>) -> Result<(), Refusal> {
    let Some(wall) = wall else {
        let always =
            contract.until.is_none() && contract.when.is_none() && contract.at_most.is_empty();
        return if always {
            Ok(())
        } else {
            Err(Refusal::OutOfHours)
        };
    };
    if contract.until.is_some_and(|until| wall.today() > until) {
        return Err(Refusal::Expired);
    }
    match &contract.when {
        Some(_) if wall.is_doubted => Err(Refusal::ClockSet),
        Some(when) if when.day(wall.time).is_none() => Err(Refusal::OutOfHours),
        Some(_) | None => Ok(()),
    }
}
