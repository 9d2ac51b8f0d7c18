//! One interface: its own counter, held against what was queued to it.

use super::TUNNEL_HEADERS;
use super::aging::Aging;
use crate::event::{Egress, Origin};

/// What an interface may count of a frame beyond the frame itself, bytes: check sum, VLAN tag, padding of short ones.
const BEYOND_A_FRAME: u64 = 12;
/// One in so many bytes may differ otherwise.
const SLACK: u64 = 256;

/// What waits for its counterpart.
#[derive(Debug, Default)]
pub struct Line {
    /// By the counter, not seen in the queue.
    counted: Aging,
    /// Queued, not in the counter yet, or dropped.
    queued: Aging,
    slack: u64,
    /// The counter was told before: an interface may come from another network namespace with a counter of its own.
    known: bool,
}

impl Line {
    /// The counter went on.
    pub fn counted(&mut self, bytes: u64) {
        if std::mem::replace(&mut self.known, true) {
            let left = self.queued.meet(bytes);
            self.slack = self.slack.saturating_add((bytes - left) / SLACK);
            self.counted.add(left);
        }
    }

    /// Packets were queued.
    pub fn queued(&mut self, egress: &Egress) {
        let more = match egress.origin {
            Origin::Tunnel => TUNNEL_HEADERS,
            _ => BEYOND_A_FRAME,
        };
        let most = egress.frames.saturating_mul(more);
        let left = self.counted.meet(egress.frame_bytes.saturating_add(most));
        self.queued.add(left);
    }

    /// What was counted and did not pass the queue in time. `forget`: what was queued and not counted was dropped.
    pub fn age(&mut self, forget: bool) -> u64 {
        let waited = self.counted.age();
        let slack = self.slack.min(waited);
        self.slack -= slack;
        if forget {
            self.queued.age();
            self.slack = 0;
        }
        waited - slack
    }

    /// Whether anything waits.
    pub const fn is_waiting(&self) -> bool {
        !self.counted.is_empty() || !self.queued.is_empty()
    }
}
