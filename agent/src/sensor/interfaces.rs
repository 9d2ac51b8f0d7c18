//! The `interfaces` sensor: what each interface sent by its own counter, the truth that everything else is held to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jaga_rules::config::{Config, Interfaces};
use jaga_rules::event::{Event, Fact, Gap, GapKind, Interface, Name};

use super::{Feed, HealthTable, OFF, Probe};

/// Its name in health and gaps.
pub const SENSOR: &str = "interfaces";

/// Where the kernel shows the interfaces of the reading thread's network namespace. Not /sys/class/net: that shows
/// the namespace in which it was mounted.
const TABLE: &str = "/proc/thread-self/net/dev";

/// Interfaces told by name. What further ones (containers' by the hundred) send is told as of `other`.
const NAME_LIMIT: usize = 32;

/// What stays on the host.
const LOOPBACK: &str = "lo";

/// Where the kernel shows what an interface hangs on, of the namespace in which it was mounted: hardware is in the host's.
const CLASS: &str = "/sys/class/net";

/// Interfaces of hardware are told again this often.
const STILL_THERE: Duration = Duration::from_secs(3600);

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
    if wanted == Interfaces::Off {
        health.update(SENSOR, |health| health.why = OFF.to_owned());
    }
    thread::Builder::new()
        .name(SENSOR.to_owned())
        .spawn(move || run(&wanted, period, &feed, &health, &stop))
        .expect("a thread can be made at start")
}

/// Reads the counters once, as `start` would.
#[must_use]
pub fn probe(config: &Config) -> Probe {
    let wanted = &config.agent.sensors.interfaces;
    if *wanted == Interfaces::Off {
        return Probe::Off;
    }
    match read(Path::new(TABLE), wanted) {
        Ok(readings) => Ok(seen(wanted, &readings)).into(),
        Err(error) => Probe::Blind(cannot_read(&error)),
    }
}

fn seen(wanted: &Interfaces, readings: &[(Name, u64)]) -> String {
    let missing = |name: &&Name| !readings.iter().any(|(there, _)| there == *name);
    let missing: Vec<&str> = match wanted {
        Interfaces::Auto | Interfaces::Off => Vec::new(),
        Interfaces::Named(names) => names.iter().filter(missing).map(|name| &**name).collect(),
    };
    let seen = format!("counters of {} in {TABLE}", count(readings.len()));
    if missing.is_empty() {
        seen
    } else {
        format!(
            "{seen}; not there: {} ('ip link' lists those there are)",
            missing.join(", ")
        )
    }
}

fn count(interfaces: usize) -> String {
    match interfaces {
        1 => "1 interface".to_owned(),
        count => format!("{count} interfaces"),
    }
}

fn run(
    wanted: &Interfaces,
    period: Duration,
    feed: &Feed,
    health: &HealthTable,
    stop: &AtomicBool,
) {
    if *wanted == Interfaces::Off {
        return;
    }
    let mut counters = Counters::default();
    let mut until_told = Duration::ZERO;
    let (mut there, mut until_there) = (BTreeSet::new(), Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        if until_there.is_zero() {
            there.clear();
            until_there = STILL_THERE;
        }
        until_there = until_there.saturating_sub(period);
        let batch = match read(Path::new(TABLE), wanted) {
            Ok(readings) => {
                let mut batch = counters.differences(&readings);
                batch.extend(come(&readings, &mut there, Path::new(CLASS)));
                batch
            }
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

/// Interfaces of hardware that were not there before.
fn come(readings: &[(Name, u64)], there: &mut BTreeSet<Name>, class: &Path) -> Vec<Event> {
    there.retain(|name| readings.iter().any(|(now, _)| now == name));
    let new = readings.iter().map(|(name, _)| name);
    let new: Vec<Name> = new.filter(|name| !there.contains(*name)).cloned().collect();
    there.extend(new.iter().cloned());
    let interface = |name: Name| {
        let bus = bus(&class.join(&*name))?;
        Some(Event::Fact(Fact::Interface(Interface { name, bus })))
    };
    new.into_iter().filter_map(interface).collect()
}

/// What an interface hangs on; none of one that is no hardware (veth, bridges, tunnels).
fn bus(interface: &Path) -> Option<Name> {
    let bus = fs::canonicalize(interface.join("device/subsystem")).ok()?;
    Some(bus.file_name()?.to_str()?.into())
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
            health.why = format!("counters in {TABLE}");
        }
    });
}

fn blind(error: &io::Error) -> Event {
    Event::Gap(Gap {
        sensor: SENSOR.into(),
        kind: GapKind::Blind,
        events: 0,
        bytes: 0,
        why: cannot_read(error).into(),
    })
}

fn cannot_read(error: &io::Error) -> String {
    format!("cannot read '{TABLE}': {error}; mount proc")
}

fn read(table: &Path, wanted: &Interfaces) -> io::Result<Vec<(Name, u64)>> {
    let mut readings = readings(&fs::read_to_string(table)?);
    readings.retain(|(name, _)| match wanted {
        Interfaces::Off => false,
        Interfaces::Auto => **name != *LOOPBACK,
        Interfaces::Named(names) => names.contains(name),
    });
    Ok(readings)
}

/// Names and sent bytes of the kernel's table (net/core/net-procfs.c): after the name and a colon, eight columns
/// received, then eight sent, bytes first. Sorted by name.
fn readings(table: &str) -> Vec<(Name, u64)> {
    let mut readings: Vec<(Name, u64)> = table
        .lines()
        .filter_map(|line| {
            let (name, columns) = line.split_once(':')?;
            let sent = columns.split_whitespace().nth(8)?.parse().ok()?;
            Some((name.trim().into(), sent))
        })
        .collect();
    readings.sort();
    readings
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

    fn written(text: &str) -> Vec<(Name, u64)> {
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
                .differences(&written(reading))
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
    fn hardware_is_told_when_it_comes_and_when_it_comes_again() {
        let class = tempfile::tempdir().unwrap();
        for (name, bus) in [("eth0", "pci"), ("usb0", "usb")] {
            let device = class.path().join(name).join("device");
            let folder = class.path().join("bus").join(bus);
            fs::create_dir_all(&device).unwrap();
            fs::create_dir_all(&folder).unwrap();
            std::os::unix::fs::symlink(folder, device.join("subsystem")).unwrap();
        }
        let mut there = BTreeSet::new();
        let mut check = |now: &str, expected: &str| {
            let told = come(&written(now), &mut there, class.path());
            let told: Vec<String> = told
                .into_iter()
                .map(|event| match event {
                    Event::Fact(Fact::Interface(Interface { name, bus })) => {
                        format!("{name}={bus}")
                    }
                    other => format!("{other:?}"),
                })
                .collect();
            assert_eq!(told.join(" "), expected);
        };
        check("eth0=1 veth1=1", "eth0=pci");
        check("eth0=1 usb0=0 veth1=1", "usb0=usb");
        check("eth0=2 veth1=1", "");
        check("eth0=2 usb0=0", "usb0=usb");
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
    fn reads_the_kernels_table() {
        let table = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
  eth0: 6503 9 0 0 0 0 0 0 1234 12 0 0 0 0 0 0
    lo: 100 1 0 0 0 0 0 0 77 1 0 0 0 0 0 0
broken: 1 2
";
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), table).unwrap();
        let read = |wanted: &Interfaces| super::read(file.path(), wanted).unwrap();
        assert_eq!(read(&Interfaces::Auto), written("eth0=1234"));
        assert_eq!(
            read(&Interfaces::Named(vec!["lo".into()])),
            written("lo=77")
        );
        assert_eq!(read(&Interfaces::Off), []);
        assert!(super::read(Path::new("/no/such"), &Interfaces::Auto).is_err());
    }

    #[test]
    fn this_machine_has_the_table() {
        assert!(
            super::read(Path::new(TABLE), &Interfaces::Named(vec!["lo".into()]))
                .is_ok_and(|all| all.len() == 1)
        );
    }
}
