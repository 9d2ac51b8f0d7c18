//! jaga touches the world here, and decides nothing.

pub mod sensor;
