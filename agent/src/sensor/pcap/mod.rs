//! The `pcap` sensor: names and facts from live interfaces, and everything from recorded captures.

pub mod clock;
pub mod dns;
pub mod flow;
pub mod fragment;
pub mod frame;
pub mod live;
pub mod meter;
pub mod recording;
pub mod relay;
pub mod tls;
pub mod vantage;
pub mod witness;

pub use live::{SENSOR, probe, start};
