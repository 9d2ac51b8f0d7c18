//! Waiting for a condition, with an end: the only place in the live tests where time passes on purpose.

use std::time::{Duration, Instant};

/// Every limit is this many times as long: a disk that writes back a whole build, or processors that others have, stretch
/// seconds to minutes, and only what never comes has to wait for them.
const PATIENCE: u32 = 6;

/// The time that is given to what takes at most `seconds` on a machine that has nothing else to do.
#[must_use]
pub fn patience(seconds: u64) -> Duration {
    Duration::from_secs(seconds) * PATIENCE
}

/// Calls `probe` until it answers, at most with the [`patience`] for `seconds`.
///
/// # Panics
/// When the time is over: with `what`, so that the message says what never happened.
pub fn until<T>(what: &str, seconds: u64, probe: impl FnMut() -> Option<T>) -> T {
    within(seconds, probe)
        .unwrap_or_else(|| panic!("waited {:?} in vain for {what}", patience(seconds)))
}

/// The same; absent when the time is over.
pub fn within<T>(seconds: u64, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let found = probe();
        if found.is_some() || start.elapsed() >= patience(seconds) {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
