//! jaga decides here. Pure: no clock, file, socket, thread or environment; same input, same bytes out.

mod compile;
pub mod config;
pub mod engine;
pub mod event;
pub mod line;
pub mod output;
pub mod pack;
pub mod problem;
pub mod rule;
pub mod scenario;
pub mod units;
pub mod yaml;

pub use compile::compile;
