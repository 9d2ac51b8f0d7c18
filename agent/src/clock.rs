//! The one place that asks the system what time it is (I1).

use std::io;
use std::path::Path;

use jaga_rules::event::Stamp;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use nix::time::{ClockId, clock_gettime};

/// Now, as events are stamped: CLOCK_BOOTTIME.
#[must_use]
pub fn boottime() -> Stamp {
    Stamp(nanos(ClockId::CLOCK_BOOTTIME))
}

/// Now, in wall time: nanoseconds since the Unix epoch.
#[must_use]
pub fn wall() -> i64 {
    nanos(ClockId::CLOCK_REALTIME)
}

/// Today, UTC.
#[must_use]
pub fn today() -> Date {
    let seconds = Timestamp::from_second(wall().div_euclid(1_000_000_000));
    // The kernel's wall clock ends in 2262, jiff's in 9999.
    TimeZone::UTC
        .to_datetime(seconds.unwrap_or(Timestamp::MAX))
        .date()
}

/// Wall time minus CLOCK_BOOTTIME, nanoseconds: add it to a stamp to get wall time.
#[must_use]
pub fn wall_offset() -> i64 {
    wall().saturating_sub(boottime().0)
}

/// Names this boot of the machine; stamps are comparable within one.
///
/// # Errors
/// `/proc` is not mounted.
pub fn boot_id() -> io::Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let id = std::fs::read_to_string(path).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot read '{}': {error}; mount /proc", path.display()),
        )
    })?;
    Ok(id.trim().to_owned())
}

/// How long the host has slept since it was booted, nanoseconds: CLOCK_BOOTTIME minus CLOCK_MONOTONIC.
#[must_use]
pub fn slept() -> i64 {
    nanos(ClockId::CLOCK_BOOTTIME).saturating_sub(nanos(ClockId::CLOCK_MONOTONIC))
}

fn nanos(clock: ClockId) -> i64 {
    let time = clock_gettime(clock).expect("Linux has had both clocks since 2.6.39");
    time.tv_sec()
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_and_offset_make_wall_time() {
        let before = wall();
        let sum = boottime().0 + wall_offset();
        let after = wall();
        let second = 1_000_000_000;
        assert!((before - second..=after + second).contains(&sum));
    }

    #[test]
    fn a_boot_has_one_name() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
