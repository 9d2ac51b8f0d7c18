//! The `pcap` sensor.
