//! Waiting for a condition, with an end: the only place in the live tests where time passes on purpose.

use std::time::{Duration, Instant};

/// Calls `probe` until it answers, at most `seconds`.
///
/// # Panics
/// When the time is over: with `what`, so that the message says what never happened.
pub fn until<T>(what: &str, seconds: u64, probe: impl FnMut() -> Option<T>) -> T {
    within(seconds, probe).unwrap_or_else(|| panic!("waited {seconds} s in vain for {what}"))
}

/// The same; absent when the time is over.
pub fn within<T>(seconds: u64, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let found = probe();
        if found.is_some() || start.elapsed() >= Duration::from_secs(seconds) {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
