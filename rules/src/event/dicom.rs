//! What a DICOM association did, as packets tell; no image and no patient's name is among it.

use serde::{Deserialize, Serialize};

use super::{Flow, Name, is_zero};

/// An association since the last such event; aggregated per flow and titles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dicom {
    /// Between whom. The port of who opened it is 0.
    pub flow: Flow,
    /// Application entity title of who opened it; empty = its opening was not seen.
    pub calling: Name,
    /// Application entity title that was called; empty = its opening was not seen.
    pub called: Name,
    /// Requests to take an object (C-STORE).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stores: u64,
    /// Requests to get objects over the same association (C-GET).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gets: u64,
    /// Requests to send objects elsewhere (C-MOVE), by the title that they shall go to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<(Name, u64)>,
}
