//! Ways out that hang on the host's hardware.

use serde::{Deserialize, Serialize};

use super::{Actor, Name};

/// A device node was opened through which data can leave past every file system and socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceOpened {
    /// By whom; [`Actor::NOBODY`] where a rung cannot tell.
    pub actor: Actor,
    /// The node, such as `/dev/sg1`.
    pub device: Name,
    /// How often, since the last such fact.
    pub opens: u64,
}

/// A network interface that is hardware came, or is still there: told when it comes and once an hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: Name,
    /// What it hangs on: `usb`, `pci`, `virtio` and the like, as the kernel calls the bus.
    pub bus: Name,
}
