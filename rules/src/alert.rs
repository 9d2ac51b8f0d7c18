//! The life of an alert: over the limit, pending, firing, told, resolved; and the case that stays open.

use serde::{Deserialize, Serialize};

use crate::event::Stamp;
use crate::key::Key;
use crate::map::{Map, map};
use crate::rule::{Amount, Rule, Severity};
use crate::tally::{Counted, Counter};
use crate::trail::Trail;

/// Alerts and open cases of a rule at the most; beyond, a new one is not opened and is counted.
pub const ALERTS_LIMIT: usize = 4_096;
/// While a case is open, that key's next limit is this part of the limit.
const OPEN_CASE: u64 = 10;
/// An alert ends when less than one in this many of the smallest limit came during `quiet`.
const QUIET_SHARE: u64 = 100;
/// A larger alert is told at these multiples of the limit.
const SIZES: [u32; 2] = [10, 100];

/// A rule and its alerts.
#[derive(Debug)]
pub struct Watch {
    /// The rule.
    pub rule: Rule,
    /// Where each limit is counted.
    pub counters: Vec<Counter>,
    /// Alerts fired since start.
    pub fired: u64,
    /// Alerts that did not fit.
    pub refused: u64,
    /// Keys of alerts that were closed since their rows were last written.
    pub closed: Vec<Key>,
    alerts: Vec<Option<Alert>>,
    by_key: Map<Key, u32>,
    free: Vec<u32>,
}

/// The alert of one key. It exists from its first crossing until its case is settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Of what.
    #[serde(skip)]
    pub key: Key,
    /// Where it is in its life.
    pub phase: Phase,
    /// Names it, the same from firing to resolved.
    pub id: String,
    /// Frozen at firing.
    pub severity: Severity,
    /// The limit that was crossed.
    pub limit: u32,
    /// How much was too much, units.
    pub threshold: u64,
    /// What was counted of that limit, from the untold amount that crossed it on.
    pub value: u64,
    /// 1, 10 or 100.
    pub size: u32,
    /// It fired, and no person has settled it.
    pub case_open: bool,
    /// When a person settled it: what was told then stays told until its windows are empty.
    #[serde(default)]
    pub settled: Option<Stamp>,
    /// Per limit: the tally's total up to which everything was told.
    pub told: Vec<u64>,
    /// Who, and where to.
    pub trail: Option<Box<Trail>>,
    /// Per limit: what came since it is quiet.
    #[serde(skip)]
    quiet: Vec<u64>,
    /// When it fired last, for its id.
    pub since: Stamp,
}

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Over the limit since then; fires after `hold`.
    Pending(Stamp),
    /// Fired; quiet since then.
    Firing(Stamp),
    /// Not over. Its case may be open.
    Idle,
}

/// What a count did to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to tell.
    Nothing,
    /// It is over its limit: this many units against this many.
    Over {
        /// What was counted and not told before.
        value: u64,
        /// How much is too much.
        threshold: u64,
    },
    /// It fires, and is now many times its limit.
    Raise,
}

impl Watch {
    /// A rule without alerts.
    #[must_use]
    pub fn new(seed: u64, rule: Rule) -> Self {
        let (counters, alerts, free) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            rule,
            counters,
            fired: 0,
            refused: 0,
            closed: Vec::new(),
            alerts,
            by_key: map(seed),
            free,
        }
    }

    /// The slot of a key's alert.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<u32> {
        if self.by_key.is_empty() {
            None
        } else {
            self.by_key.get(key).copied()
        }
    }

    /// The alert in a slot.
    #[must_use]
    pub fn alert(&self, slot: u32) -> Option<&Alert> {
        self.alerts.get(slot as usize)?.as_ref()
    }

    /// The alert in a slot, to change it.
    pub fn alert_mut(&mut self, slot: u32) -> Option<&mut Alert> {
        self.alerts.get_mut(slot as usize)?.as_mut()
    }

    /// All alerts, by slot.
    pub fn alerts(&self) -> impl Iterator<Item = (u32, &Alert)> {
        (0u32..)
            .zip(&self.alerts)
            .filter_map(|(slot, alert)| Some((slot, alert.as_ref()?)))
    }

    /// What a count means for its key. `threshold`: the limit, units.
    pub fn judge(&mut self, limit: u32, counted: Counted, threshold: u64, at: Stamp) -> Verdict {
        // What flows into a bucket is judged by the bucket: its sums are only shown.
        let rate = matches!(self.rule.limits[limit as usize].amount, Amount::Rate { .. });
        let compare = if rate { u64::MAX } else { threshold };
        let Some(slot) = self.find(&counted.key) else {
            return over(counted, counted.sum, compare, threshold);
        };
        let Some(alert) = self.alert_mut(slot) else {
            return Verdict::Nothing;
        };
        match alert.phase {
            Phase::Pending(_) => Verdict::Nothing,
            Phase::Firing(_) => alert.go_on(limit, counted, compare, at),
            Phase::Idle => {
                let untold = alert.untold(limit, counted.sum, counted.total);
                let tenth = if alert.case_open {
                    (compare / OPEN_CASE).max(1)
                } else {
                    compare
                };
                over(
                    counted,
                    untold,
                    if rate { compare } else { tenth },
                    threshold,
                )
            }
        }
    }

    /// The alert of a key, made if need be. `None` if there are too many, none of which may be forgotten.
    pub fn open(&mut self, key: Key, at: Stamp) -> Option<u32> {
        if let Some(slot) = self.find(&key) {
            return Some(slot);
        }
        if self.by_key.len() >= ALERTS_LIMIT {
            self.forget_idle()?;
        }
        let limits = self.rule.limits.len();
        let alert = Some(Alert {
            key,
            phase: Phase::Idle,
            id: String::new(),
            severity: self.rule.severity,
            limit: 0,
            threshold: 0,
            value: 0,
            size: 1,
            case_open: false,
            settled: None,
            told: vec![0; limits],
            trail: None,
            quiet: vec![0; limits],
            since: at,
        });
        let slot = match self.free.pop() {
            Some(slot) => {
                self.alerts[slot as usize] = alert;
                slot
            }
            None => {
                self.alerts.push(alert);
                u32::try_from(self.alerts.len() - 1).ok()?
            }
        };
        self.by_key.insert(key, slot);
        Some(slot)
    }

    /// Forgets an alert: its crossing did not last, or its case is settled.
    pub fn close(&mut self, slot: u32) {
        if let Some(alert) = self.alerts.get_mut(slot as usize).and_then(Option::take) {
            self.by_key.remove(&alert.key);
            self.closed.push(alert.key);
            self.free.push(slot);
        }
    }

    /// The slot of the alert that has this id.
    #[must_use]
    pub fn named(&self, id: &str) -> Option<u32> {
        let mut alerts = self.alerts();
        alerts
            .find(|(_, alert)| alert.id == id)
            .map(|(slot, _)| slot)
    }

    /// The oldest case whose flow has stopped makes room, a settled one first: a flood of small cases must not hide the next
    /// leak.
    fn forget_idle(&mut self) -> Option<()> {
        self.refused += 1;
        let idle = self
            .alerts()
            .filter(|(_, alert)| alert.phase == Phase::Idle)
            .min_by_key(|(_, alert)| (alert.case_open, alert.since));
        let slot = idle.map(|(slot, _)| slot)?;
        self.close(slot);
        Some(())
    }
}

impl Alert {
    /// What of a window's `sum` has not been told: told amounts are always the oldest.
    #[must_use]
    pub fn untold(&self, limit: u32, sum: u64, total: u64) -> u64 {
        let told = self.told.get(limit as usize).copied().unwrap_or(0);
        sum.min(total.saturating_sub(told))
    }

    /// It fires now. `totals`: of each limit's tally.
    pub fn fire(&mut self, at: Stamp, totals: Vec<u64>) {
        self.phase = Phase::Firing(at);
        self.since = at;
        self.size = 1;
        (self.case_open, self.settled) = (true, None);
        self.quiet = vec![0; totals.len()];
        self.told = totals;
    }

    /// When it ends if nothing more comes; a settled one is forgotten when nothing of what it told is in a window.
    #[must_use]
    pub fn deadline(&self, rule: &Rule) -> Option<Stamp> {
        match self.phase {
            Phase::Pending(since) => Some(since.plus(rule.hold)),
            Phase::Firing(since) => Some(since.plus(rule.quiet)),
            Phase::Idle => {
                let windows = rule.limits.iter().map(|limit| limit.window);
                let longest = windows.max().unwrap_or(0);
                // A window covers up to a sixtieth more.
                Some(self.settled?.plus(longest.saturating_add(longest / 60)))
            }
        }
    }

    /// Takes over an alert from before a reload or a restart. What it had not told cannot be known of a new limit: for a
    /// firing alert all is told. A window that has ended since, or that is another now, is counted anew: what was told of
    /// it must not hide what comes.
    pub fn adopt(&mut self, old: &Self, limits: usize, totals: Vec<u64>) {
        let told = if old.told.len() == limits {
            let told = old.told.iter().zip(&totals);
            told.map(|(told, total)| *told.min(total)).collect()
        } else {
            totals
        };
        let limit = if (old.limit as usize) < limits {
            old.limit
        } else {
            0
        };
        *self = Self {
            told,
            limit,
            quiet: vec![0; limits],
            ..old.clone()
        };
    }

    fn go_on(&mut self, limit: u32, counted: Counted, threshold: u64, at: Stamp) -> Verdict {
        let index = limit as usize;
        self.told[index] = counted.total;
        self.quiet[index] = self.quiet[index].saturating_add(counted.amount);
        if counted.over || self.quiet[index] >= (threshold / QUIET_SHARE).max(1) {
            self.phase = Phase::Firing(at);
            self.quiet.fill(0);
        }
        if limit != self.limit {
            return Verdict::Nothing;
        }
        self.value = self.value.saturating_add(counted.amount);
        let times = self.value / self.threshold.max(1);
        match SIZES.into_iter().rfind(|size| times >= u64::from(*size)) {
            Some(size) if size > self.size => {
                self.size = size;
                Verdict::Raise
            }
            _ => Verdict::Nothing,
        }
    }
}

fn over(counted: Counted, value: u64, compare: u64, shown: u64) -> Verdict {
    if counted.over || value >= compare {
        Verdict::Over {
            value,
            threshold: compare.min(shown),
        }
    } else {
        Verdict::Nothing
    }
}
