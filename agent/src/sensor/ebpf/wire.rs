//! The `wire` sensor: what is queued to leave by an interface, per remote, whatever any socket says of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jaga_rules::config::{Choice, Config, Namespaces};
use jaga_rules::event::{Egress, Event, Fact, GapKind, Name, Origin, Protocol};
use nix::net::if_::if_indextoname;

use super::attach::{self, attach as load};
use super::decode::wire::{WireCount, decode};
use super::roots;
use super::tables::Counter;
use crate::sensor::absent::Absent;
use crate::sensor::host::own_netns;
use crate::sensor::wire::SENSOR;
use crate::sensor::{Batch, Feed, HealthTable, OFF, Probe};

/// How it sees.
const HOW: &str = "tp_btf: net_dev_queue, per remote";

/// Interfaces told by name. What further ones (containers' by the hundred) queue is told as of `other`.
const NAME_LIMIT: usize = 32;

/// The sensor, attached or not; [`Wire::start`] lets it tell.
pub struct Wire {
    counter: Result<Counter, Absent>,
    told: Told,
}

/// Where it tells, and how often.
struct Told {
    period: Duration,
    feed: Feed,
    health: HealthTable,
}

/// Attaches, and says on the feed that the wire is watched, so that what sockets send from now on is remembered. What
/// does not attach is in `health`, and told as a gap.
#[must_use]
pub fn attach(config: &Config, feed: Feed, health: &HealthTable) -> Wire {
    let wanted = is_wanted(config);
    let counter = match wanted {
        true => open(config),
        false => Err(OFF.to_owned()),
    };
    let counter = counter.map_err(|why| Absent {
        sensor: SENSOR,
        why,
        wanted,
    });
    match &counter {
        Ok(_) => {
            health.update(SENSOR, |health| {
                health.up = true;
                health.rung = 1;
                health.why = HOW.to_owned();
            });
            // Nobody takes batches once the engine has ended, which ends the sensors too.
            let _ = feed.send(vec![nothing()]);
        }
        Err(absent) => absent.show(health),
    }
    let told = Told {
        period: Duration::from_nanos(config.agent.periods.drain.max(1).unsigned_abs()),
        feed,
        health: health.clone(),
    };
    Wire { counter, told }
}

/// Attaches as `jaga run` would, and lets go.
#[must_use]
pub fn probe(config: &Config) -> Probe {
    match is_wanted(config) {
        true => open(config).map(|_| HOW.to_owned()).into(),
        false => Probe::Off,
    }
}

/// There is nothing to hold it against where no sends are told.
fn is_wanted(config: &Config) -> bool {
    config.agent.sensors.sockets != Choice::Off
}

fn open(config: &Config) -> Result<Counter, String> {
    let attached = load(&attach::wire())?;
    let elsewhere = match config.agent.sensors.namespaces {
        Namespaces::All => 1,
        Namespaces::Own => 0,
    };
    let settings: Vec<u8> = [own_netns(), elsewhere]
        .iter()
        .flat_map(|field| u32::to_ne_bytes(*field))
        .collect();
    roots::set(attached.map("settings")?, &settings)?;
    Counter::open(Arc::new(attached))
}

/// No bytes of anybody.
fn nothing() -> Event {
    Event::Fact(Fact::Egress(Egress {
        interface: None,
        remote: None,
        meant: None,
        origin: Origin::Frames,
        protocol: Protocol::Other(0),
        bytes: 0,
        again: 0,
        frame_bytes: 0,
        frames: 0,
    }))
}

impl Wire {
    /// Tells from now on; what was queued until now is not news: its sends may have begun before anybody counted.
    #[must_use]
    pub fn start(self, stop: Arc<AtomicBool>) -> JoinHandle<()> {
        let Self { counter, told } = self;
        let mut counter = match counter {
            Ok(counter) => counter,
            Err(absent) => return absent.start(told.feed, stop),
        };
        counter.drain(SENSOR, &mut Vec::new(), |_, _| {});
        thread::Builder::new()
            .name(SENSOR.to_owned())
            .spawn(move || told.run(&mut counter, &stop))
            .expect("a thread can be made at start")
    }
}

impl Told {
    fn run(&self, counter: &mut Counter, stop: &AtomicBool) {
        loop {
            let last = stop.load(Ordering::Relaxed);
            let batch = self.round(counter);
            if (!batch.is_empty() && self.feed.send(batch).is_err()) || last {
                return;
            }
            thread::park_timeout(self.period);
        }
    }

    fn round(&self, counter: &mut Counter) -> Batch {
        let (mut counts, mut gaps) = (Vec::new(), Vec::new());
        counter.drain(SENSOR, &mut gaps, |key, value| {
            counts.extend(decode(key, value));
        });
        let batch: Batch = told(counts, interface_name)
            .map(|egress| Event::Fact(Fact::Egress(egress)))
            .collect();
        self.health.update(SENSOR, |health| {
            health.events += batch.len() as u64;
            for gap in &gaps {
                health.lost_events += gap.events;
                health.lost_bytes += gap.bytes;
                health.up = health.up && gap.kind != GapKind::Blind;
            }
        });
        batch
            .into_iter()
            .chain(gaps.into_iter().map(Event::Gap))
            .collect()
    }
}

fn interface_name(index: u32) -> Option<Name> {
    Some(if_indextoname(index).ok()?.to_string_lossy().into())
}

/// Counts as facts, with the names of interfaces; the same order for the same counts. An interface that is gone
/// meanwhile is `other` too.
fn told(
    mut counts: Vec<WireCount>,
    name_of: impl Fn(u32) -> Option<Name>,
) -> impl Iterator<Item = Egress> {
    counts.sort_by_key(|count| (count.ifindex, count.remote, count.meant, count.origin));
    let mut names: BTreeMap<u32, Name> = BTreeMap::new();
    counts.into_iter().map(move |count| {
        let interface = (count.ifindex != 0).then(|| {
            let full = names.len() >= NAME_LIMIT;
            let name = || name_of(count.ifindex).filter(|_| !full);
            let name = names.get(&count.ifindex).cloned().or_else(name);
            let name = name.unwrap_or_else(|| "other".into());
            names.insert(count.ifindex, name.clone());
            name
        });
        Egress {
            interface,
            remote: count.remote,
            meant: count.meant,
            origin: count.origin,
            protocol: count.protocol,
            bytes: count.bytes,
            again: count.again,
            frame_bytes: count.frame_bytes,
            frames: count.frames,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(ifindex: u32) -> WireCount {
        WireCount {
            ifindex,
            remote: Some("203.0.113.9".parse().unwrap()),
            meant: None,
            origin: Origin::Socket,
            protocol: Protocol::Tcp,
            bytes: 10,
            again: 0,
            frame_bytes: 76,
            frames: 1,
        }
    }

    fn names(indices: impl Iterator<Item = u32>, name_of: fn(u32) -> Option<Name>) -> Vec<String> {
        let told = told(indices.map(count).collect(), name_of);
        told.map(|egress| egress.interface.as_deref().unwrap_or("none").to_owned())
            .collect()
    }

    #[test]
    fn interfaces_have_names_and_other_namespaces_none() {
        let name_of = |index| (index != 9).then(|| format!("eth{index}").into());
        let told = names([9, 2, 0, 2].into_iter(), name_of);
        assert_eq!(told, ["none", "eth2", "eth2", "other"]);
    }

    #[test]
    fn beyond_the_limit_interfaces_are_other() {
        let told = names(1..=40, |index| Some(format!("veth{index}").into()));
        assert_eq!(
            told.iter().filter(|name| *name == "other").count(),
            40 - NAME_LIMIT
        );
    }
}
