//! jaga touches the world here, and decides nothing.

pub mod clock;
pub mod command;
pub mod replay;
pub mod sensor;
pub mod tape;
pub mod state;
