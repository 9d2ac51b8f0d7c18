//! A process in another cgroup.

use serde::{Deserialize, Serialize};

use super::{Actor, Identity};

/// A process was put into another cgroup, or was born into another than its maker's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Regrouped {
    /// Which process.
    pub actor: Actor,
    /// By whom; itself, perhaps.
    pub by: Actor,
    /// Users, session and cgroup after it.
    pub identity: Identity,
}
