//! The `pcap` sensor: names and facts from live interfaces, and everything from recorded captures.

#[cfg(not(feature = "pcap"))]
mod absent;
#[cfg(feature = "pcap")]
pub mod booking;
pub mod clock;
pub mod dicom;
pub mod dns;
pub mod flow;
pub mod fragment;
pub mod frame;
pub mod hl7;
#[cfg(feature = "pcap")]
pub mod live;
pub mod medical;
pub mod meter;
pub mod novel;
#[cfg(feature = "pcap")]
pub mod recording;
pub mod relay;
pub mod tls;
pub mod vantage;
pub mod witness;

#[cfg(not(feature = "pcap"))]
pub use absent::{probe, start};
#[cfg(feature = "pcap")]
pub use live::{probe, start};

/// Its name in health and gaps.
pub const SENSOR: &str = "pcap";
