//! jaga touches the world here, and decides nothing.

pub mod clock;
pub mod command;
pub mod courier;
pub mod http;
pub mod metrics;
pub mod output;
pub mod replay;
pub mod sensor;
pub mod state;
pub mod tape;
#[cfg(test)]
mod testing;
