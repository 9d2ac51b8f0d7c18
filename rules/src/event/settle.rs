//! What a person says of an alert.

use serde::{Deserialize, Serialize};

/// What a person found out about an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// The alert's id.
    pub id: String,
    /// What it was.
    pub verdict: Verdict,
}

/// What an alert turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Data was stolen.
    Theft,
    /// The transfer was meant.
    Allowed,
    /// Somebody tried the alarm.
    Test,
}
