//! Waiting for a condition, with an end: the only place in the live tests where time passes on purpose.

use std::time::{Duration, Instant};

/// Calls `probe` until it answers, at most `seconds`.
///
/// # Panics
/// When the time is over: with `what`, so that the message says what never happened.
pub fn until<T>(what: &str, seconds: u64, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(
            start.elapsed() < Duration::from_secs(seconds),
            "waited {seconds} s in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
