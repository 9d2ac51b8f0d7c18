//! The sensors' thread: takes what the kernel counted, hands it over as one batch, and waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use jaga_rules::event::{Event, Fact, Gap, GapKind};

use super::MEMORY;
use super::stores::StoreNames;
use super::watch::Watch;
use crate::sensor::{Batch, Feed, HealthTable, fanotify};

/// How often blindness is told again.
const BLIND: Duration = Duration::from_secs(10);

/// What the thread needs beside the sensors.
#[derive(Debug)]
pub struct Drain {
    /// Between rounds.
    pub period: Duration,
    /// Where batches go. A full queue blocks this thread, while the kernel goes on counting.
    pub feed: Feed,
    /// Where the sensors' state is told.
    pub health: HealthTable,
    /// Set to end it.
    pub stop: Arc<AtomicBool>,
    /// The stores' names.
    pub stores: StoreNames,
    /// What is not seen, told again and again.
    pub unseen: Vec<Gap>,
}

impl Drain {
    /// Drains until told to stop, then once more.
    pub fn run(mut self, mut watch: Watch) {
        let mut batch = watch.first_batch();
        let rounds_between = (BLIND.as_nanos() / self.period.as_nanos()).max(1);
        for round in 0_u128.. {
            let last = self.stop.load(Ordering::Relaxed);
            let (events, gaps) = watch.round(&self.stores.all());
            batch.extend(events);
            self.add_gaps(gaps, &mut batch);
            if round % rounds_between == 0 {
                batch.extend(self.unseen.iter().cloned().map(Event::Gap));
            }
            if !self.hand_over(std::mem::take(&mut batch)) || last {
                return;
            }
            thread::park_timeout(self.period);
        }
    }

    /// Losses are told, and added up in the sensor's health. A subject that fails while running goes blind.
    fn add_gaps(&mut self, gaps: Vec<Gap>, batch: &mut Batch) {
        for gap in gaps {
            let name = subject(&gap.sensor);
            self.health.update(name, |health| {
                health.lost_events += gap.events;
                health.lost_bytes += gap.bytes;
                health.up = health.up && gap.kind != GapKind::Blind;
            });
            batch.push(Event::Gap(gap));
        }
    }

    /// False once nobody takes batches any more.
    fn hand_over(&self, batch: Batch) -> bool {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        for event in &batch {
            let name = match event {
                Event::Fact(Fact::Decoy { .. }) => fanotify::decoys::SENSOR,
                Event::Fact(Fact::MemoryRead { .. }) => MEMORY,
                Event::Read(_) | Event::Wrote(_) | Event::Fact(_) | Event::Pass(_) => "files",
                Event::Sent(_) => "sockets",
                Event::Known(_) | Event::Fork(_) | Event::Exec(_) | Event::Exit { .. } => {
                    "processes"
                }
                Event::Gap(_)
                | Event::Clock { .. }
                | Event::Restore(_)
                | Event::Reload(_)
                | Event::Settle(_)
                | Event::Wake => continue,
            };
            *counts.entry(name).or_default() += 1;
        }
        for (name, count) in counts {
            self.health.update(name, |health| health.events += count);
        }
        batch.is_empty() || self.feed.send(batch).is_ok()
    }
}

fn subject(name: &str) -> &'static str {
    match name {
        "files" => "files",
        "channels" => "channels",
        MEMORY => MEMORY,
        fanotify::decoys::SENSOR => fanotify::decoys::SENSOR,
        "sockets" => "sockets",
        _ => "processes",
    }
}

/// That a subject sees nothing.
pub fn blind(subject: &str, why: &str) -> Gap {
    unseen(subject, GapKind::Blind, why)
}

/// That a subject sees less, by the name under which somebody may answer for it.
pub fn unseen(name: &str, kind: GapKind, why: &str) -> Gap {
    Gap::new(name, kind, 0, why)
}
