//! jaga touches the world here, and decides nothing.

pub mod blindness;
pub mod clock;
pub mod command;
pub mod courier;
pub mod demo;
pub mod discover;
pub mod http;
pub mod ingest;
pub mod metrics;
pub mod output;
pub mod reload;
pub mod replay;
pub mod run;
pub mod sensor;
pub mod setup;
pub mod state;
pub mod store_size;
pub mod tape;
#[cfg(test)]
mod testing;
pub mod warning;
