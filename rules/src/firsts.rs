//! What was never seen before: where store data goes to, who reads which store, which data ports answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Name, Stamp};
use crate::map::{Map, map};
use crate::rule::First;
use crate::rule::words::FIRSTS;
use crate::units::DAY;

/// Things of each kind that are remembered; at the limit new ones are neither told nor kept, and are counted. Whoever makes up
/// titles must not use up what destinations need.
pub const KIND_LIMIT: usize = 4_096;
/// Things that are remembered.
pub const FIRSTS_LIMIT: usize = KIND_LIMIT * FIRSTS.len();
/// Forgotten after so long without being seen, nanoseconds: then it is the first time again.
const LIFE: i64 = 30 * DAY;
/// In the first week after it was installed nearly everything is seen for the first time.
const LEARNING: i64 = 7 * DAY;
/// What was first seen within this long is new.
const NEW: i64 = 7 * DAY;
/// What is seen on and on is written down once in so long.
const NOTED: i64 = DAY;

/// What was seen, and when.
#[derive(Debug)]
pub struct Firsts {
    since: Option<Stamp>,
    known: BTreeMap<(First, Name), Seen>,
    /// How many there are of each kind.
    counts: [usize; FIRSTS.len()],
    /// Numbers of what was noted lately, so that nothing is put into words for each read: when, and when it was seen first.
    lately: Map<(First, u64, u64), (Stamp, Stamp)>,
    changed: BTreeSet<(First, Name)>,
    since_changed: bool,
    /// What did not fit.
    pub refused: u64,
}

/// What a look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sight {
    /// It was not seen in the last 30 days, and what is ordinary is known.
    pub is_first: bool,
    /// It was seen for the first time a short while ago.
    pub is_new: bool,
}

/// When something was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Seen {
    /// First.
    pub first: Stamp,
    /// Last, to within a day.
    pub last: Stamp,
}

impl Firsts {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            since: None,
            known: BTreeMap::new(),
            counts: [0; FIRSTS.len()],
            lately: map(seed),
            changed: BTreeSet::new(),
            since_changed: false,
            refused: 0,
        }
    }

    /// From the first event on it learns.
    pub fn begin(&mut self, at: Stamp) {
        if self.since.is_none() {
            (self.since, self.since_changed) = (Some(at), true);
        }
    }

    /// It is seen. `numbers`: the same for the same name, this run.
    pub fn see(
        &mut self,
        first: First,
        numbers: (u64, u64),
        at: Stamp,
        name: impl FnOnce() -> Name,
    ) -> Sight {
        let numbers = (first, numbers.0, numbers.1);
        if let Some((noted, seen)) = self.lately.get(&numbers)
            && at.since(*noted) < NOTED
        {
            return Sight {
                is_first: false,
                is_new: self.is_new(*seen, at),
            };
        }
        let what = (first, name());
        let was_known = self.known.contains_key(&what);
        let Some(seen) = self.note(what, at) else {
            return Sight::default();
        };
        if self.lately.len() >= FIRSTS_LIMIT {
            self.lately.clear();
        }
        self.lately.insert(numbers, (at, seen));
        // What is wrong from the first day on; the rest has to be learnt.
        let at_once = matches!(first, First::Port | First::EncryptedDns);
        Sight {
            is_first: !was_known && (at_once || !self.is_learning(at)),
            is_new: self.is_new(seen, at),
        }
    }

    /// When it was seen first; `None` if there is no room for it.
    fn note(&mut self, what: (First, Name), at: Stamp) -> Option<Stamp> {
        let count = &mut self.counts[what.0 as usize];
        if !self.known.contains_key(&what) {
            if *count >= KIND_LIMIT {
                self.refused += 1;
                return None;
            }
            *count += 1;
        }
        let new = Seen {
            first: at,
            last: at,
        };
        let seen = self.known.entry(what.clone()).or_insert(new);
        seen.last = at;
        let first = seen.first;
        self.changed.insert(what);
        Some(first)
    }

    fn is_new(&self, first: Stamp, at: Stamp) -> bool {
        at.since(first) < NEW && !self.is_learning(first)
    }

    fn is_learning(&self, at: Stamp) -> bool {
        self.since.is_none_or(|since| at.since(since) < LEARNING)
    }

    /// Forgets what was not seen for long; when to look again.
    pub fn expire(&mut self, at: Stamp) -> Option<Stamp> {
        let (changed, counts) = (&mut self.changed, &mut self.counts);
        self.known.retain(|what, seen| {
            let is_over = at.since(seen.last) >= LIFE;
            if is_over {
                counts[what.0 as usize] -= 1;
                changed.insert(what.clone());
            }
            !is_over
        });
        self.lately.retain(|_, (noted, _)| at.since(*noted) < NOTED);
        self.next()
    }

    /// When the first of them may be forgotten.
    #[must_use]
    pub fn next(&self) -> Option<Stamp> {
        let last = self.known.values().map(|seen| seen.last).min()?;
        Some(last.plus(LIFE))
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Since when it learns, if that was not taken yet, and what changed since the last call; without a time = forgotten.
    #[allow(clippy::type_complexity, reason = "two lists that are written down")]
    pub fn take_changed(&mut self) -> (Option<Stamp>, Vec<((First, Name), Option<Seen>)>) {
        let since = self
            .since
            .filter(|_| std::mem::take(&mut self.since_changed));
        let changed = std::mem::take(&mut self.changed);
        let seen = |what: (First, Name)| {
            let seen = self.known.get(&what).copied();
            (what, seen)
        };
        (since, changed.into_iter().map(seen).collect())
    }

    /// An earlier run learnt since then.
    pub fn restore_since(&mut self, since: Stamp) {
        self.since = Some(self.since.map_or(since, |present| present.min(since)));
    }

    /// An earlier run saw this.
    pub fn restore(&mut self, what: (First, Name), seen: Seen) {
        let count = &mut self.counts[what.0 as usize];
        if *count < KIND_LIMIT && self.known.insert(what, seen).is_none() {
            *count += 1;
        }
    }
}

/// What services of data listen on, and what they are, as IANA and their makers say.
const DATA_PORTS: [(u16, &str); 20] = [
    (104, "DICOM"),
    (445, "SMB"),
    (873, "rsync"),
    (1433, "SQL Server"),
    (1521, "Oracle"),
    (2049, "NFS"),
    (2575, "HL7"),
    (2761, "DICOM"),
    (3306, "MySQL"),
    (4242, "Orthanc's DICOM"),
    (5432, "PostgreSQL"),
    (5984, "CouchDB"),
    (6379, "Redis"),
    (8042, "Orthanc's REST"),
    (8086, "InfluxDB"),
    (9042, "Cassandra"),
    (9200, "Elasticsearch"),
    (11112, "DICOM"),
    (11211, "memcached"),
    (27017, "MongoDB"),
];

/// What usually listens on a port, if that is a service of data.
#[must_use]
pub fn data_port(port: u16) -> Option<&'static str> {
    let place = DATA_PORTS.binary_search_by_key(&port, |(port, _)| *port);
    place.ok().map(|place| DATA_PORTS[place].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(firsts: &mut Firsts, first: First, number: u64, at: i64) -> Sight {
        firsts.see(first, (number, 0), Stamp(at), || number.to_string().into())
    }

    #[test]
    fn what_is_seen_once_a_month_is_told_once() {
        let mut firsts = Firsts::new(1);
        firsts.begin(Stamp(0));
        let learnt = see(&mut firsts, First::Destination, 1, 0);
        assert_eq!(learnt, Sight::default());
        assert!(see(&mut firsts, First::Port, 9_200, 0).is_first);
        assert!(see(&mut firsts, First::Destination, 2, 8 * DAY).is_first);
        let again = see(&mut firsts, First::Destination, 2, 8 * DAY + 1);
        assert!(!again.is_first && again.is_new);
        assert_eq!(
            see(&mut firsts, First::Destination, 1, 9 * DAY),
            Sight::default()
        );
        for day in 1..100 {
            assert!(!see(&mut firsts, First::Port, 9_200, day * DAY).is_first);
        }
        let next = firsts.expire(Stamp(100 * DAY));
        assert_eq!((firsts.len(), next), (1, Some(Stamp(129 * DAY))));
        assert!(see(&mut firsts, First::Destination, 2, 100 * DAY).is_first);
    }

    #[test]
    fn at_its_limit_a_kind_is_silent_and_counted_and_the_others_are_not() {
        let mut firsts = Firsts::new(1);
        firsts.begin(Stamp(0));
        for number in 0..2 * KIND_LIMIT as u64 {
            let sight = see(&mut firsts, First::AePeer, number, 8 * DAY);
            assert_eq!(sight.is_first, number < KIND_LIMIT as u64);
        }
        assert_eq!(firsts.refused, KIND_LIMIT as u64);
        assert!(see(&mut firsts, First::Destination, 1, 8 * DAY).is_first);
        firsts.expire(Stamp(40 * DAY));
        assert!(firsts.is_empty());
        assert!(see(&mut firsts, First::AePeer, 1, 40 * DAY).is_first);
    }

    #[test]
    fn ports_are_in_order() {
        assert!(DATA_PORTS.is_sorted_by_key(|(port, _)| *port));
        assert_eq!(data_port(9_200), Some("Elasticsearch"));
        assert_eq!(data_port(22), None);
    }
}
