//! The `interfaces` sensor: what each interface sent by its own counter, the truth that everything else is held to.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jaga_rules::config::{Config, Interfaces};
use jaga_rules::event::{Event, Fact, Gap, GapKind, Name};

use super::{Feed, HealthTable};

/// Its name in health and gaps.
const SENSOR: &str = "interfaces";

/// Where the kernel shows interfaces.
const ROOT: &str = "/sys/class/net";

/// Interfaces told by name. What further ones (containers' by the hundred) send is told as of `other`.
const NAME_LIMIT: usize = 32;

/// `IFF_LOOPBACK` of linux/if.h.
const LOOPBACK: u32 = 0x8;

/// Blindness is told again this often.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// Starts to read the counters once a drain period.
#[must_use]
pub fn start(
    config: &Config,
    feed: Feed,
    health: HealthTable,
    stop: Arc<AtomicBool>,
) -> JoinHandle<()> {
    let period = Duration::from_nanos(config.agent.periods.drain.max(1).unsigned_abs());
    let wanted = config.agent.sensors.interfaces.clone();
    thread::Builder::new()
        .name(SENSOR.to_owned())
        .spawn(move || run(&wanted, period, &feed, &health, &stop))
        .expect("a thread can be made at start")
}

fn run(
    wanted: &Interfaces,
    period: Duration,
    feed: &Feed,
    health: &HealthTable,
    stop: &AtomicBool,
) {
    if *wanted == Interfaces::Off {
        health.update(SENSOR, |health| {
            health.why = "switched off in the configuration".to_owned();
        });
        return;
    }
    let mut counters = Counters::default();
    let mut until_told = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let batch = match read(Path::new(ROOT), wanted) {
            Ok(readings) => counters.differences(&readings),
            Err(_) if !until_told.is_zero() => Vec::new(),
            Err(error) => vec![blind(&error)],
        };
        until_told = match batch.first() {
            Some(Event::Gap(_)) => TELL_AGAIN,
            _ => until_told.saturating_sub(period),
        };
        show(&batch, health);
        if !batch.is_empty() && feed.send(batch).is_err() {
            return;
        }
        thread::sleep(period);
    }
}

fn show(batch: &[Event], health: &HealthTable) {
    health.update(SENSOR, |health| {
        health.events += batch.len() as u64;
        if let Some(Event::Gap(gap)) = batch.first() {
            health.up = false;
            health.rung = 0;
            health.why = gap.why.to_string();
        } else if !batch.is_empty() || health.why.is_empty() {
            health.up = true;
            health.rung = 1;
            health.why = format!("counters in {ROOT}");
        }
    });
}

fn blind(error: &io::Error) -> Event {
    Event::Gap(Gap {
        sensor: SENSOR.into(),
        kind: GapKind::Blind,
        events: 0,
        bytes: 0,
        why: format!("cannot read '{ROOT}': {error}; mount sysfs").into(),
    })
}

/// The wanted interfaces under `root` with their `tx_bytes`, by name. One that goes while it is read is left out.
fn read(root: &Path, wanted: &Interfaces) -> io::Result<Vec<(Name, u64)>> {
    let mut readings = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_wanted = match wanted {
            Interfaces::Off => false,
            Interfaces::Auto => !is_loopback(&entry.path()),
            Interfaces::Named(names) => names.iter().any(|wanted| **wanted == *name),
        };
        if is_wanted && let Some(bytes) = number(&entry.path().join("statistics/tx_bytes")) {
            readings.push((name.into(), bytes));
        }
    }
    readings.sort();
    Ok(readings)
}

fn is_loopback(interface: &Path) -> bool {
    let flags = fs::read_to_string(interface.join("flags")).unwrap_or_default();
    let flags = flags.trim().trim_start_matches("0x");
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & LOOPBACK != 0)
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// What the counters were.
#[derive(Debug, Default)]
struct Counters {
    before: Option<BTreeMap<Name, u64>>,
}

impl Counters {
    /// What was sent since the last reading. The first tells nothing: what left before the start is not news.
    fn differences(&mut self, readings: &[(Name, u64)]) -> Vec<Event> {
        let after: BTreeMap<Name, u64> = readings.iter().cloned().collect();
        let Some(before) = self.before.replace(after) else {
            return Vec::new();
        };
        let mut events = Vec::new();
        let mut other = 0;
        for (place, (name, bytes)) in readings.iter().enumerate() {
            let earlier = before.get(name).copied().unwrap_or(0);
            // A counter that runs backward belongs to an interface that was made anew.
            let sent = bytes.checked_sub(earlier).unwrap_or(*bytes);
            match sent {
                0 => {}
                _ if place >= NAME_LIMIT => other += sent,
                _ => events.push(wire(name.clone(), sent)),
            }
        }
        if other > 0 {
            events.push(wire("other".into(), other));
        }
        events
    }
}

fn wire(interface: Name, bytes: u64) -> Event {
    Event::Fact(Fact::Wire { interface, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(text: &str) -> Vec<(Name, u64)> {
        text.split_whitespace()
            .map(|part| {
                let (name, bytes) = part.split_once('=').unwrap();
                (name.into(), bytes.parse().unwrap())
            })
            .collect()
    }

    fn check(steps: &[(&str, &str)]) {
        let mut counters = Counters::default();
        for (reading, expected) in steps {
            let told: Vec<String> = counters
                .differences(&readings(reading))
                .iter()
                .map(|event| match event {
                    Event::Fact(Fact::Wire { interface, bytes }) => format!("{interface}={bytes}"),
                    other => format!("{other:?}"),
                })
                .collect();
            assert_eq!(told.join(" "), *expected);
        }
    }

    #[test]
    fn differences_are_told_once() {
        check(&[
            ("eth0=1000 eth1=5", ""),
            ("eth0=1500 eth1=5", "eth0=500"),
            ("eth0=1500 eth1=6", "eth1=1"),
        ]);
    }

    #[test]
    fn interfaces_come_go_and_come_again() {
        check(&[
            ("eth0=1000", ""),
            ("eth0=1000 veth1=70", "veth1=70"),
            ("eth0=1000", ""),
            ("eth0=1000 veth1=30", "veth1=30"),
            ("eth0=10 veth1=30", "eth0=10"),
        ]);
    }

    #[test]
    fn beyond_the_limit_totals_stay() {
        let all = |bytes: u64| -> Vec<(Name, u64)> {
            (0..40)
                .map(|number| (format!("veth{number:02}").into(), bytes))
                .collect()
        };
        let mut counters = Counters::default();
        counters.differences(&all(0));
        let events = counters.differences(&all(10));
        assert_eq!(events.len(), NAME_LIMIT + 1);
        assert_eq!(events.last(), Some(&wire("other".into(), 80)));
    }

    #[test]
    fn reads_what_the_kernel_shows() {
        let root = tempfile::tempdir().unwrap();
        for (name, flags, bytes) in [
            ("lo", "0x9", "77"),
            ("eth0", "0x1003", "1234"),
            ("bad", "0x1003", "x"),
        ] {
            let statistics = root.path().join(name).join("statistics");
            fs::create_dir_all(&statistics).unwrap();
            fs::write(root.path().join(name).join("flags"), format!("{flags}\n")).unwrap();
            fs::write(statistics.join("tx_bytes"), format!("{bytes}\n")).unwrap();
        }
        let read = |wanted: &Interfaces| super::read(root.path(), wanted).unwrap();
        assert_eq!(read(&Interfaces::Auto), readings("eth0=1234"));
        assert_eq!(
            read(&Interfaces::Named(vec!["lo".into()])),
            readings("lo=77")
        );
        assert_eq!(read(&Interfaces::Off), []);
        assert!(super::read(Path::new("/no/such"), &Interfaces::Auto).is_err());
    }
}
