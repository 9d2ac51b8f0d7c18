//! jaga decides here. Pure: no clock, file, socket, thread or environment; same input, same bytes out.

pub mod alert;
pub mod backstop;
pub mod bucket;
mod compile;
pub mod config;
pub mod contracts;
pub mod deadline;
mod dialogs;
pub mod engine;
pub mod event;
pub mod firsts;
pub mod hold;
pub mod key;
pub mod line;
pub mod lineage;
pub mod map;
pub mod measure;
pub mod names;
pub mod observation;
pub mod output;
pub mod pack;
pub mod problem;
pub mod remote_names;
pub mod rule;
pub mod scenario;
pub mod scope;
pub mod select;
pub mod tally;
pub mod totals;
pub mod trail;
pub mod units;
pub mod who;
pub mod window;
pub mod yaml;

pub use compile::compile;
