//! Fuzz targets: every parser that reads bytes which somebody else wrote, each with what must hold of its answer.
//!
//! A target panics when something does not hold. `make test` gives each target every file of `tests/corpus/<name>/`
//! (`tests/tests/fuzz.rs`); `make fuzz` lets libFuzzer look for more (`tests/fuzz.sh`).

mod bytes;
mod capture;
mod config;
mod dns;
mod fragments;
mod frame;
mod medical;
mod meter;
mod play;
mod ring;
mod rule;
mod scenario;
mod tape;
mod tls;
mod units;

/// A parser under hostile input.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in `tests/corpus/`.
    pub name: &'static str,
    /// Takes one input; panics if something does not hold.
    pub run: fn(&[u8]),
}

/// All targets, by name.
pub const TARGETS: [Target; 14] = [
    target("capture", capture::run),
    target("config", config::run),
    target("dns", dns::run),
    target("fragments", fragments::run),
    target("frame", frame::run),
    target("medical", medical::run),
    target("meter", meter::run),
    target("play", play::run),
    target("ring", ring::run),
    target("rule", rule::run),
    target("scenario", scenario::run),
    target("tape", tape::run),
    target("tls", tls::run),
    target("units", units::run),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
