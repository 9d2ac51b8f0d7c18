//! The world in which the real agent is tested: other hosts, users, services, leaks.

pub mod agent;
pub mod byte_truth;
pub mod daemons;
pub mod detection;
pub mod disk;
pub mod fuzz;
pub mod guest;
pub mod leak;
pub mod login;
pub mod net;
pub mod process;
pub mod program;
pub mod sink;
pub mod table;
pub mod tools;
pub mod truth;
pub mod wait;
pub mod ways_out;
pub mod world;
