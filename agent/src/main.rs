//! The `jaga` command.

fn main() {}
