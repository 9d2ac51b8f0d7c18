//! The world in which the real agent is tested: other hosts, users, services, leaks.

pub mod program;
