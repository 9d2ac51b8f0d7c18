//! What this host's processes do with files and sockets: each subject on its best rung that really attaches.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jaga_rules::config::{Choice, Config, Store};

use self::drain::Drain;
use self::source::{Files, Lives, Raised, Rung, Sockets, Wish};
use self::stores::{StoreNames, Stores};
use self::watch::Watch;
use super::{Feed, HealthTable, OFF, Probe, ebpf};

pub mod addresses;
pub mod batch;
mod containers;
mod drain;
mod hops;
mod names;
mod roster;
pub mod seen;
pub mod source;
pub mod stores;
pub mod watch;

/// Ways to see process life, the best first.
const PROCESSES: [Rung<dyn Lives>; 1] = [ebpf::processes];
/// Ways to see reads and writes, the best first.
const FILES: [Rung<dyn Files>; 2] = [ebpf::files, ebpf::files_by_function];
/// Ways to see what passes through local sockets and comes from remote stores, the best first.
const CHANNELS: [Rung<dyn Files>; 2] = [ebpf::channels, ebpf::channels_by_function];
/// Ways to see sends, the best first.
const SOCKETS: [Rung<dyn Sockets>; 2] = [ebpf::sockets, ebpf::sockets_by_function];

/// What these sensors cannot see, however well they are attached: its name for `accept:`, and what it is.
pub const NOT_SEEN: [(&str, &str); 5] = [
    (
        "tmpfs",
        "reads and writes of tmpfs and memfd (page-cache tracepoints leave them out), mapped ones aside",
    ),
    (
        "reflinks",
        "reflinks (cp on btrfs and XFS) and renames out of a store: no data is read",
    ),
    (
        "block-devices",
        "reads of a store's block device, and of a snapshot of it",
    ),
    (
        "packet-destinations",
        "where a packet socket's frames go that pass by the queue (PACKET_QDISC_BYPASS): their bytes are counted",
    ),
    (
        "kernel-sends",
        "sends by the kernel itself (WireGuard, tunnels): pcap sees them, without a process",
    ),
];

/// The running sensors.
#[derive(Debug)]
pub struct Started {
    /// Ends after `stop` is set and the last round is told.
    pub thread: JoinHandle<()>,
    /// For reloads.
    pub stores: StoresHandle,
}

/// Changes the stores of running sensors.
#[derive(Debug, Clone)]
pub struct StoresHandle(Option<Sender<Vec<Store>>>);

impl StoresHandle {
    /// Watches the stores of this configuration from now on.
    pub fn set_stores(&self, config: &Config) {
        if let Some(sender) = &self.0 {
            // The receiver ends only with the agent.
            let _ = sender.send(config.stores.clone());
        }
    }
}

/// Raises every subject and starts to tell. Never fails: what does not attach is in `health`, with the next step,
/// and is told as a gap every ten seconds.
#[must_use]
pub fn start(config: &Config, feed: Feed, health: HealthTable, stop: Arc<AtomicBool>) -> Started {
    let wanted = Wanted::new(config);
    let wish = wish(config);
    let mut blind = Vec::new();
    let processes = raise(
        "processes",
        &PROCESSES,
        wanted.processes,
        &wish,
        &health,
        &mut blind,
    );
    let mut files = raise("files", &FILES, wanted.files, &wish, &health, &mut blind);
    let mut channels = raise(
        "channels",
        &CHANNELS,
        wanted.files,
        &wish,
        &health,
        &mut blind,
    );
    let sockets = raise(
        "sockets",
        &SOCKETS,
        wanted.sockets,
        &wish,
        &health,
        &mut blind,
    );
    let names = StoreNames::default();
    let how = files.as_ref().map(|files| files.how.clone());
    let places = [files.as_mut(), channels.as_mut()];
    let places = places
        .into_iter()
        .flatten()
        .filter_map(|raised| raised.places.take());
    let stores = Stores::new(
        places.collect(),
        names.clone(),
        health.clone(),
        how.unwrap_or_default(),
    );
    let drain = Drain {
        period: Duration::from_nanos(config.agent.periods.drain.max(1).unsigned_abs()),
        feed,
        health,
        stop,
        stores: names,
        blind,
    };
    let subjects = Subjects {
        processes,
        files,
        channels,
        sockets,
    };
    let stores = follow_stores(config, stores);
    let thread = thread::Builder::new()
        .name("host".to_owned())
        .spawn(move || open_and_run(drain, subjects))
        .expect("a thread can be made at start");
    Started { thread, stores }
}

/// What attached, by subject.
struct Subjects {
    processes: Option<Raised<dyn Lives>>,
    files: Option<Raised<dyn Files>>,
    channels: Option<Raised<dyn Files>>,
    sockets: Option<Raised<dyn Sockets>>,
}

fn open_and_run(mut drain: Drain, subjects: Subjects) {
    let mut watch = Watch::nothing();
    watch.lives = open("processes", subjects.processes, &mut drain);
    watch.files = open("files", subjects.files, &mut drain);
    watch.channels = open("channels", subjects.channels, &mut drain);
    watch.sockets = open("sockets", subjects.sockets, &mut drain);
    drain.run(watch);
}

/// A subject that attached and whose tables cannot be opened sees nothing after all.
fn open<S: ?Sized>(
    subject: &'static str,
    raised: Option<Raised<S>>,
    drain: &mut Drain,
) -> Option<Box<S>> {
    match (raised?.open)() {
        Ok(source) => Some(source),
        Err(why) => {
            drain.blind.push((subject, why));
            None
        }
    }
}

/// Raises every subject that is wanted, lets go, and says how each sees or why it does not.
#[must_use]
pub fn probe(config: &Config) -> Vec<(&'static str, Probe)> {
    let wanted = Wanted::new(config);
    let wish = wish(config);
    vec![
        ("files", tried(wanted.files, || climb(&FILES, &wish))),
        ("channels", tried(wanted.files, || climb(&CHANNELS, &wish))),
        ("sockets", tried(wanted.sockets, || climb(&SOCKETS, &wish))),
        (
            "processes",
            tried(wanted.processes, || climb(&PROCESSES, &wish)),
        ),
    ]
}

fn tried<S: ?Sized>(wanted: bool, climb: impl FnOnce() -> Result<Raised<S>, String>) -> Probe {
    if wanted {
        let tried = climb().map(|raised| (raised.rung, raised.how));
        tried.map_or_else(Probe::Blind, |(rung, how)| Probe::Sees { rung, how })
    } else {
        Probe::Off
    }
}

/// The best rung that attaches, with why the better ones do not; else why none does.
fn climb<S: ?Sized>(rungs: &[Rung<S>], wish: &Wish) -> Result<Raised<S>, String> {
    let mut refused: Vec<String> = Vec::new();
    for rung in rungs {
        match rung(wish) {
            Ok(mut raised) => {
                let better = refused
                    .iter()
                    .map(|why| format!("; not better, because {why}"));
                raised.how.extend(better);
                return Ok(raised);
            }
            Err(why) => refused.push(why),
        }
    }
    Err(refused.join("; "))
}

fn raise<S: ?Sized>(
    subject: &'static str,
    rungs: &[Rung<S>],
    wanted: bool,
    wish: &Wish,
    health: &HealthTable,
    blind: &mut Vec<(&'static str, String)>,
) -> Option<Raised<S>> {
    let raised = if wanted {
        climb(rungs, wish)
    } else {
        Err(OFF.to_owned())
    };
    health.update(subject, |health| {
        health.up = raised.is_ok();
        health.rung = raised.as_ref().map_or(0, |raised| raised.rung);
        health.why = match &raised {
            Ok(raised) => raised.how.clone(),
            Err(why) => why.clone(),
        };
    });
    raised
        .map_err(|why| blind.extend(wanted.then_some((subject, why))))
        .ok()
}

/// Places the stores' roots now, and follows their changes on a thread of its own: a dead network file system
/// may hold up a look at it for minutes.
fn follow_stores(config: &Config, mut stores: Stores) -> StoresHandle {
    if stores.nobody_asks() {
        return StoresHandle(None);
    }
    stores.set(config.stores.clone());
    let (sender, changes) = mpsc::channel();
    thread::Builder::new()
        .name("stores".to_owned())
        .spawn(move || stores.run(&changes))
        .expect("a thread can be made at start");
    StoresHandle(Some(sender))
}

fn wish(config: &Config) -> Wish {
    Wish {
        namespaces: config.agent.sensors.namespaces,
        netns: own_netns(),
    }
}

fn own_netns() -> u32 {
    fs::metadata("/proc/thread-self/ns/net")
        .ok()
        .and_then(|found| u32::try_from(found.ino()).ok())
        .unwrap_or_default()
}

/// Which subjects somebody wants.
struct Wanted {
    files: bool,
    sockets: bool,
    processes: bool,
}

impl Wanted {
    /// Processes are what the other two are told of: wanted as soon as one of these is.
    fn new(config: &Config) -> Self {
        let sensors = &config.agent.sensors;
        let (files, sockets) = (
            sensors.files == Choice::Auto,
            sensors.sockets == Choice::Auto,
        );
        Self {
            files,
            sockets,
            processes: files || sockets,
        }
    }
}
