//! Store data in one place, split by who first read it: the arithmetic of conservation (I13).

use serde::{Deserialize, Serialize};

use crate::event::{SECOND, Stamp};

/// Held data counts for this long after it was taken, nanoseconds; longer while a taker lives.
pub const HOLD_LIFE: i64 = 24 * HOUR;
const HOUR: i64 = 3600 * SECOND;

/// Compression that an exposure estimate allows for when nothing better is known: HL7, CSV and dumps shrink 5:1.
const COMPRESSION: f64 = 5.0;

/// Parts kept apart in one place; beyond, all further origins share one part, which holds at most what the largest
/// of them read: it errs on the side of conservation.
const PARTS_LIMIT: usize = 256;
/// The origin of that shared part.
const OTHERS: RunNo = RunNo(0);

/// A session run's number, never used again.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RunNo(pub u64);

/// An amount of store data. Files and records are fractions once they are shared out by bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// Bytes.
    pub bytes: u64,
    /// Distinct files.
    pub files: f64,
    /// Patient records, about.
    pub records: f64,
}

impl Amount {
    fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.files += other.files;
        self.records += other.records;
    }

    /// The share that `bytes` of this amount are.
    fn share(self, bytes: u64) -> Self {
        if bytes >= self.bytes {
            return self;
        }
        let ratio = bytes as f64 / self.bytes as f64;
        Self {
            bytes,
            files: self.files * ratio,
            records: self.records * ratio,
        }
    }
}

/// What one reader took of one store, as far as it is in this place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Part {
    origin: RunNo,
    /// What the origin had read in all: nobody can hold more of it.
    taken: Amount,
    /// It went through a staging file: what is sent of it is sent at the size that was staged.
    staged: bool,
    /// By hour of taking, so that it can expire.
    hours: Vec<(i64, Amount)>,
}

impl Part {
    fn total(&self) -> Amount {
        let mut total = Amount::default();
        for (_, amount) in &self.hours {
            total.add(*amount);
        }
        total
    }

    fn put(&mut self, at: Stamp, amount: Amount) {
        let hour = at.0.div_euclid(HOUR);
        match self.hours.last_mut() {
            Some((last, held)) if *last >= hour => held.add(amount),
            _ => self.hours.push((hour, amount)),
        }
    }
}

/// What of one store is in one place.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Contents(Vec<Part>);

impl Contents {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Amount {
        let mut total = Amount::default();
        for part in &self.0 {
            total.add(part.total());
        }
        total
    }

    /// The largest number of a run whose data is here.
    #[must_use]
    pub fn newest_origin(&self) -> Option<RunNo> {
        self.0.iter().map(|part| part.origin).max()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `origin` itself read this much of the store.
    pub fn read(&mut self, origin: RunNo, at: Stamp, amount: Amount) {
        let origin = self.kept_as(origin);
        let part = self.part(origin, false);
        part.taken.add(amount);
        part.put(at, amount);
    }

    /// Takes at most `bytes` out of `source`. Never more than the origins read, so nothing that the
    /// taker still holds. Returns the bytes that came to be held.
    pub fn take(&mut self, source: &Self, bytes: u64, staged: bool, at: Stamp) -> u64 {
        let mut left = bytes;
        for part in &source.0 {
            left -= self.take_part(part, left, staged, at);
        }
        bytes - left
    }

    fn take_part(&mut self, source: &Part, bytes: u64, staged: bool, at: Stamp) -> u64 {
        let from = source.total();
        let origin = self.kept_as(source.origin);
        let held = self.total_of(origin);
        let room = source.taken.bytes.saturating_sub(held.bytes);
        let taken = bytes.min(from.bytes).min(room);
        if taken > 0 {
            let mut share = from.share(taken);
            share.records = share
                .records
                .min((source.taken.records - held.records).max(0.0));
            share.files = share.files.min((source.taken.files - held.files).max(0.0));
            let mine = self.part(origin, staged || source.staged);
            mine.taken = if source.taken.bytes > mine.taken.bytes {
                source.taken
            } else {
                mine.taken
            };
            mine.put(at, share);
        }
        taken
    }

    /// `writer`, which holds this, put `bytes` into a staging file: what the file then holds of it more.
    /// The written bytes may be compressed, so they carry up to five times their share of the records.
    pub fn stage(&self, into: &mut Self, bytes: u64, at: Stamp) {
        let held = self.total();
        if held.bytes == 0 {
            return;
        }
        for part in &self.0 {
            let total = part.total();
            let share = (bytes as f64 * total.bytes as f64 / held.bytes as f64).ceil() as u64;
            let packed = if part.staged { 1.0 } else { COMPRESSION };
            let origin = into.kept_as(part.origin);
            let inside = into.total_of(origin);
            let file = into.part(origin, true);
            file.taken = if part.taken.bytes > file.taken.bytes {
                part.taken
            } else {
                file.taken
            };
            let more = share.min(total.bytes.saturating_sub(inside.bytes));
            let ratio = if total.bytes == 0 {
                0.0
            } else {
                packed * share as f64 / total.bytes as f64
            };
            let records = (total.records * ratio).min((total.records - inside.records).max(0.0));
            let files = (total.files * ratio).min((total.files - inside.files).max(0.0));
            file.put(
                at,
                Amount {
                    bytes: more,
                    files,
                    records,
                },
            );
        }
    }

    /// Records that `sent` bytes can be, about: all of them once a fifth of the bytes went (or all of what was
    /// staged, whose size is real).
    #[must_use]
    pub fn exposed_records(&self, sent: u64) -> f64 {
        let bytes = self.total().bytes.max(1) as f64;
        let of = |part: &Part| {
            let packed = if part.staged { 1.0 } else { COMPRESSION };
            part.total().records * (packed * sent as f64 / bytes).min(1.0)
        };
        self.0.iter().map(of).sum()
    }

    /// Lets go of what was taken more than a day before `at`. Tells whether something went.
    pub fn expire(&mut self, at: Stamp) -> bool {
        let oldest = at.plus(-HOLD_LIFE).0.div_euclid(HOUR);
        let before = self.0.iter().map(|part| part.hours.len()).sum::<usize>();
        for part in &mut self.0 {
            part.hours.retain(|(hour, _)| *hour >= oldest);
        }
        self.0.retain(|part| !part.hours.is_empty());
        before != self.0.iter().map(|part| part.hours.len()).sum::<usize>()
    }

    /// The same, `nanos` later: rows of an earlier boot have that boot's stamps.
    pub fn shift(&mut self, nanos: i64) {
        for part in &mut self.0 {
            for (hour, _) in &mut part.hours {
                *hour = hour.saturating_add(nanos.div_euclid(HOUR));
            }
        }
    }

    fn total_of(&self, origin: RunNo) -> Amount {
        let mut total = Amount::default();
        for part in self.0.iter().filter(|part| part.origin == origin) {
            total.add(part.total());
        }
        total
    }

    /// `origin` itself while there is room for its parts, else the shared one.
    fn kept_as(&self, origin: RunNo) -> RunNo {
        let known = self.0.iter().any(|part| part.origin == origin);
        if known || self.0.len() < PARTS_LIMIT {
            origin
        } else {
            OTHERS
        }
    }

    fn part(&mut self, origin: RunNo, staged: bool) -> &mut Part {
        let found = self
            .0
            .iter()
            .position(|part| part.origin == origin && part.staged == staged);
        let index = found.unwrap_or_else(|| {
            self.0.push(Part {
                origin,
                taken: Amount::default(),
                staged,
                hours: Vec::new(),
            });
            self.0.len() - 1
        });
        &mut self.0[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: RunNo = RunNo(1);

    fn amount(bytes: u64, files: f64) -> Amount {
        Amount {
            bytes,
            files,
            records: files,
        }
    }

    fn alice() -> Contents {
        let mut held = Contents::default();
        held.read(ALICE, Stamp(0), amount(1_000_000, 10.0));
        held
    }

    #[test]
    fn one_log_line_hands_over_one_log_line() {
        let mut log = Contents::default();
        alice().stage(&mut log, 100, Stamp(0));
        let mut shipper = Contents::default();
        shipper.take(&log, 2_000_000_000, true, Stamp(0));
        assert_eq!(shipper.total().bytes, 100);
    }

    #[test]
    fn data_that_comes_home_does_not_grow() {
        let mut held = alice();
        let mut archive = Contents::default();
        held.stage(&mut archive, 2_000_000, Stamp(0));
        assert_eq!(archive.total().bytes, 1_000_000);
        let mut second = Contents::default();
        assert_eq!(second.take(&archive, u64::MAX, true, Stamp(1)), 1_000_000);
        assert_eq!(second.take(&archive, u64::MAX, true, Stamp(2)), 0);
        assert_eq!(held.take(&second, u64::MAX, false, Stamp(3)), 0);
        let mut third = Contents::default();
        third.take(&second, 600_000, false, Stamp(4));
        third.take(&archive, 600_000, false, Stamp(4));
        assert_eq!(third.total().bytes, 1_000_000);
    }

    #[test]
    fn an_archive_five_times_smaller_carries_all_records_and_then_counts_them_by_its_own_size() {
        let mut archive = Contents::default();
        alice().stage(&mut archive, 200_000, Stamp(0));
        let mut bob = Contents::default();
        bob.take(&archive, 200_000, true, Stamp(0));
        assert_eq!(
            (bob.total().bytes, bob.total().records.round()),
            (200_000, 10.0)
        );
        assert_eq!(bob.exposed_records(100_000).round(), 5.0);
        assert_eq!(alice().exposed_records(100_000).round(), 5.0);
        assert_eq!(alice().exposed_records(200_000).round(), 10.0);
    }

    #[test]
    fn it_expires_by_the_hour() {
        let mut held = alice();
        held.read(ALICE, Stamp(23 * HOUR), amount(5, 1.0));
        assert!(!held.expire(Stamp(24 * HOUR)));
        assert!(held.expire(Stamp(25 * HOUR)));
        assert_eq!(held.total().bytes, 5);
        held.expire(Stamp(48 * HOUR));
        assert!(held.is_empty());
    }
}
