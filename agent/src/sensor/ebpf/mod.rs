//! The `ebpf` sensors.
