//! The eBPF sensors against the truth: real tools read, write and send, and what is told must be what they did.

mod files;
mod processes;
mod sensor;
mod sockets;
