//! Turns the timestamps of a capture into engine time, whatever they are.

use jaga_rules::event::{SECOND, Stamp};

/// Packets of one capture are a little out of order where several queues of a card were captured.
const DISORDER: i64 = SECOND;

/// Engine time of a capture: it starts at 0 with the first packet that has a time, and never runs backward.
#[derive(Debug, Default)]
pub struct CaptureClock {
    start: Option<i64>,
    now: Stamp,
    wrong: Wrong,
}

/// Timestamps that could not be used as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wrong {
    /// No time at all: zero, or before 1970.
    pub zeroed: u64,
    /// More than a second before the largest so far.
    pub backward: u64,
}

impl Wrong {
    /// All of them.
    #[must_use]
    pub const fn sum(self) -> u64 {
        self.zeroed + self.backward
    }
}

impl CaptureClock {
    /// Engine time of a packet captured at `wall` (nanoseconds since the Unix epoch).
    pub fn stamp(&mut self, wall: i64) -> Stamp {
        if wall <= 0 {
            self.wrong.zeroed += 1;
            return self.now;
        }
        let start = *self.start.get_or_insert(wall);
        let at = Stamp(wall.saturating_sub(start));
        if at.plus(DISORDER) < self.now {
            self.wrong.backward += 1;
        }
        self.now = self.now.max(at);
        self.now
    }

    /// The largest time so far.
    #[must_use]
    pub const fn now(&self) -> Stamp {
        self.now
    }

    /// Wall time minus engine time, nanoseconds; 0 for a capture without times.
    #[must_use]
    pub fn wall_offset(&self) -> i64 {
        self.start.unwrap_or(0)
    }

    /// Timestamps that could not be used since the last call.
    pub fn take_wrong(&mut self) -> Wrong {
        std::mem::take(&mut self.wrong)
    }
}

/// Nanoseconds since the Unix epoch of a capture's seconds and nanoseconds, without overflow.
#[must_use]
pub const fn wall_nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(SECOND).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(walls: &[i64], stamps: &[i64], zeroed: u64, backward: u64) {
        let mut clock = CaptureClock::default();
        let seen: Vec<i64> = walls.iter().map(|wall| clock.stamp(*wall).0).collect();
        assert_eq!(seen, stamps);
        assert_eq!(clock.take_wrong(), Wrong { zeroed, backward });
    }

    #[test]
    fn starts_at_the_first_packet() {
        let day = 1_700_000_000 * SECOND;
        check(&[day, day + 5, day + SECOND], &[0, 5, SECOND], 0, 0);
    }

    #[test]
    fn a_little_disorder_is_straightened_and_no_fault() {
        let day = 1_700_000_000 * SECOND;
        check(&[day, day + 50, day + 20, day + 60], &[0, 50, 50, 60], 0, 0);
    }

    #[test]
    fn backward_time_is_clamped_and_counted() {
        let day = 1_700_000_000 * SECOND;
        let walls = [day + 10 * SECOND, day + 20 * SECOND, day, day + 21 * SECOND];
        check(&walls, &[0, 10 * SECOND, 10 * SECOND, 11 * SECOND], 0, 1);
    }

    #[test]
    fn zeroed_time_takes_the_time_so_far_and_starts_nothing() {
        let day = 1_700_000_000 * SECOND;
        check(&[0, -5, day, 0, day + 7], &[0, 0, 0, 0, 7], 3, 0);
    }

    #[test]
    fn absurd_times_do_not_overflow() {
        let far = wall_nanos(i64::MAX, i64::MAX);
        check(&[1, far, 1], &[0, far - 1, far - 1], 0, 1);
        assert_eq!(wall_nanos(i64::MIN, 0), i64::MIN);
    }
}
