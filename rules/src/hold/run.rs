//! One session run and what it holds, and what sending exposes of it.

use serde::{Deserialize, Serialize};

use crate::event::{Actor, Stamp};
use crate::lineage::RunKey;
use crate::map::Map;
use crate::names::NameId;
use crate::rule::Scope;
use crate::window::Window;

use super::{Contents, HOLD_LIFE, RunNo};

/// An exposure is booked up to this many times what is held: base64, a retry.
const EXPOSURE_CAP: u64 = 2;

/// A session run that holds something.
#[derive(Debug, Clone)]
pub struct Run {
    /// Which; `None` = the slot is free.
    pub key: Option<RunKey>,
    /// Its number.
    pub no: RunNo,
    /// Its session's name.
    pub session: NameId,
    /// Processes alive that took something: while there are any, nothing expires.
    pub takers: Vec<Actor>,
    /// Per store, in the order in which they were first read.
    pub held: Vec<Held>,
    pub(super) dirty: bool,
}

/// What a run holds of one store.
#[derive(Debug, Clone)]
pub struct Held {
    /// The store.
    pub store: NameId,
    /// How much, and from whom.
    pub contents: Contents,
    /// Bytes counted per file, so that reading twice is holding once.
    pub(super) seen: Map<u64, u64>,
    pub(super) exposed: Vec<(Scope, Exposed)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Exposed {
    bytes: Window,
    records: Window,
}

/// What a send exposed of one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposure {
    /// The store.
    pub store: NameId,
    /// Bytes booked.
    pub bytes: u64,
    /// Records that became exposed, about.
    pub records: u64,
    /// Bytes of the session's last 24 h in this scope, these included.
    pub bytes_so_far: u64,
    /// Records of the session's last 24 h in this scope, these included.
    pub records_so_far: u64,
}

impl Run {
    /// Lets go of what is older than a day. What was forgotten may be read, and counted, again.
    pub(super) fn expire(&mut self, at: Stamp, seen: &mut usize) -> bool {
        let mut any = false;
        for held in &mut self.held {
            if held.contents.expire(at) {
                *seen -= held.seen.len();
                held.seen.clear();
                any = true;
            }
        }
        any
    }
}

/// What a restart keeps of what a run holds: which files it was is forgotten, how much was exposed is not.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kept {
    contents: Contents,
    exposed: Vec<(Scope, Parts, Parts)>,
}

/// A window's slots: bytes, or records.
type Parts = Vec<(Stamp, u64)>;

fn window(parts: &[(Stamp, u64)]) -> Window {
    let mut window = Window::default();
    for (at, amount) in parts {
        window.add(HOLD_LIFE, *at, *amount);
    }
    window
}

impl Kept {
    pub(super) fn newest_origin(&self) -> RunNo {
        self.contents.newest_origin().unwrap_or_default()
    }
}

impl Held {
    /// Takes back what a restart kept.
    pub(super) fn put_back(&mut self, kept: Kept) {
        self.contents = kept.contents;
        for (scope, bytes, records) in kept.exposed {
            self.exposed.push((
                scope,
                Exposed {
                    bytes: window(&bytes),
                    records: window(&records),
                },
            ));
        }
    }

    /// What a restart keeps.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let parts = |window: &Window| window.parts(HOLD_LIFE).collect();
        let exposed = |(scope, exposed): &(Scope, Exposed)| {
            (*scope, parts(&exposed.bytes), parts(&exposed.records))
        };
        Kept {
            contents: self.contents.clone(),
            exposed: self.exposed.iter().map(exposed).collect(),
        }
    }

    pub(super) fn is_idle(&self, at: Stamp) -> bool {
        self.contents.is_empty()
            && self
                .exposed
                .iter()
                .all(|(_, exposed)| exposed.bytes.sum_at(HOLD_LIFE, at) == 0)
    }

    /// `served`: bytes a record, if the session serves the store.
    pub(super) fn expose(
        &mut self,
        scope: Scope,
        bytes: u64,
        at: Stamp,
        served: Option<f64>,
    ) -> Option<Exposure> {
        let holds = self.contents.total().bytes;
        if holds == 0 && served.is_none() {
            return None;
        }
        let index = self
            .exposed
            .iter()
            .position(|(of, _)| *of == scope)
            .unwrap_or_else(|| {
                self.exposed.push((scope, Exposed::default()));
                self.exposed.len() - 1
            });
        let exposed = &mut self.exposed[index].1;
        let before = exposed.bytes.sum_at(HOLD_LIFE, at);
        let room = holds.saturating_mul(EXPOSURE_CAP).saturating_sub(before);
        let bytes = if served.is_some() {
            bytes
        } else {
            bytes.min(room)
        };
        exposed.bytes.add(HOLD_LIFE, at, bytes);
        let total = before.saturating_add(bytes);
        let held = self.contents.exposed_records(total);
        let records = held.max(served.map_or(0.0, |each| total as f64 / each)) as u64;
        let more = records.saturating_sub(exposed.records.sum_at(HOLD_LIFE, at));
        exposed.records.add(HOLD_LIFE, at, more);
        let records_so_far = exposed.records.sum();
        let exposure = Exposure {
            store: self.store,
            bytes,
            records: more,
            bytes_so_far: total,
            records_so_far,
        };
        (bytes > 0).then_some(exposure)
    }
}
