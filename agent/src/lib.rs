//! jaga touches the world here, and decides nothing.

pub mod command;
pub mod sensor;
