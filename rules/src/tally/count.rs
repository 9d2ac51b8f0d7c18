//! What one window of one key came to, and what a measure needs besides sums.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::{Addition, Tally};
use crate::bucket::Bucket;
use crate::event::Stamp;
use crate::measure::How;
use crate::observation::Observation;
use crate::rule::Amount;
use crate::trail::Trail;
use crate::units::HOUR;
use crate::window::{SLOTS, Window};

/// Distinct things told apart per key; beyond, each counts.
const DISTINCT_LIMIT: usize = 4_096;

/// One window of one key.
#[derive(Debug)]
pub struct Count {
    /// Its amounts.
    pub window: Window,
    /// All that was ever counted, from the tally's base on.
    pub total: u64,
    /// Who and where to, once it is worth remembering.
    pub trail: Option<Box<Trail>>,
    /// When it was empty last, and something came.
    pub(super) first: Stamp,
    pub(super) more: Option<Box<More>>,
}

/// What some measures keep besides sums.
#[derive(Debug)]
pub(super) enum More {
    Distinct(Distinct),
    Rate(Bucket),
    /// The hour that was counted last, since the boot.
    Hour(i64),
}

#[derive(Debug, Default)]
pub(super) struct Distinct {
    seen: BTreeMap<IpAddr, Stamp>,
    order: VecDeque<(Stamp, IpAddr)>,
}

impl Count {
    pub(super) fn new(tally: &Tally) -> Self {
        let more = match (tally.definition.how, tally.rate) {
            (How::Distinct(_), _) => Some(Box::new(More::Distinct(Distinct::default()))),
            (How::Rate(_), Some(Amount::Rate { per_second, burst })) => {
                let bucket = Bucket::new(per_second, burst, tally.clock.clone());
                Some(Box::new(More::Rate(bucket)))
            }
            (How::Hours, _) => Some(Box::new(More::Hour(i64::MIN))),
            _ => None,
        };
        Self {
            window: Window::default(),
            total: tally.base,
            trail: None,
            first: Stamp(i64::MIN),
            more,
        }
    }

    /// Adds; what was added in this measure's units, and whether the bucket overflowed.
    pub(super) fn add(&mut self, length: i64, at: Stamp, addition: Addition) -> (u64, bool) {
        let (amount, over) = match (addition, self.more.as_deref_mut()) {
            (Addition::Item(item), Some(More::Distinct(distinct))) => {
                (u64::from(distinct.add(length, at, item)), false)
            }
            (Addition::Item(_), _) => (1, false),
            (Addition::Hour, Some(More::Hour(last))) => {
                let is_new = std::mem::replace(last, hour(at)) != hour(at);
                (u64::from(is_new), false)
            }
            (Addition::Hour, _) => (1, false),
            (Addition::Amount(amount), Some(More::Rate(bucket))) => (amount, bucket.add(amount)),
            (Addition::Amount(amount), _) => (amount, false),
        };
        self.window.add(length, at, amount);
        if self.window.sum() == amount {
            self.first = at;
        }
        self.total = self.total.saturating_add(amount);
        (amount, over)
    }

    /// A part of the window of an earlier run.
    pub(super) fn put_back(&mut self, length: i64, at: Stamp, amount: u64) {
        self.window.add(length, at, amount);
        if let Some(More::Hour(last)) = self.more.as_deref_mut() {
            // A part holds what came within its width: the hour in which it ended was counted, if not the one before.
            *last = hour(at.plus(length / SLOTS - 1));
        }
    }

    /// Follows who and where to, from the moment on that the window holds `worth`.
    pub(super) fn follow(&mut self, seen: &Observation, at: Stamp, before: u64, worth: u64) {
        if let Some(trail) = &mut self.trail {
            trail.follow(seen, at);
        } else if self.window.sum() >= worth {
            self.trail = Some(Box::new(Trail::start(seen, at, self.first, before)));
        }
    }

    /// Its time has passed: only the total stays.
    pub(super) fn clear(&mut self) {
        self.window = Window::default();
        self.trail = None;
    }
}

fn hour(at: Stamp) -> i64 {
    at.0.div_euclid(HOUR)
}

impl Distinct {
    fn add(&mut self, window: i64, at: Stamp, item: IpAddr) -> bool {
        while let Some((then, old)) = self
            .order
            .front()
            .copied()
            .filter(|(then, _)| then.plus(window) < at)
        {
            self.order.pop_front();
            if self.seen.get(&old) == Some(&then) {
                self.seen.remove(&old);
            }
        }
        if self.seen.contains_key(&item) {
            return false;
        }
        if self.seen.len() < DISTINCT_LIMIT {
            self.seen.insert(item, at);
            self.order.push_back((at, item));
        }
        true
    }
}
