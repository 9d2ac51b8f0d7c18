//! Lets the demo end in order when it is told to: what it made is removed first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

/// Whether somebody told the demo to end: SIGINT, SIGTERM or SIGHUP.
#[derive(Debug, Clone)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Takes these signals from now on, on a thread of its own. Call it before any other thread is made; programs that
    /// are started get their own signals back.
    ///
    /// # Errors
    /// The system has no thread, or no such mask.
    pub(super) fn listen() -> Result<Self, String> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
            .into_iter()
            .collect();
        signals
            .thread_block()
            .map_err(|error| format!("cannot wait for signals: {error}"))?;
        let told = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&told);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                while signals.wait().is_ok() {
                    tell.store(true, Ordering::Relaxed);
                }
            })
            .map_err(|error| format!("cannot wait for signals: {error}"))?;
        Ok(Self(told))
    }

    /// To be asked between steps.
    ///
    /// # Errors
    /// Somebody told it to end.
    pub(super) fn go_on(&self) -> Result<(), String> {
        if self.0.load(Ordering::Relaxed) {
            Err("it was told to end; what it made is removed".to_owned())
        } else {
            Ok(())
        }
    }
}
