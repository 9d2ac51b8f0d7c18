//! What this host's processes do with files and sockets: each subject on its best rung that really attaches.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jaga_rules::config::{Choice, Config};
use jaga_rules::event::{Gap, GapKind};

use self::drain::{Drain, blind};
use self::source::{Files, Lives, Raised, Rung, Sockets, Wish};
use self::stores::{StoreNames, Stores};
use self::watch::Watch;
#[cfg(feature = "ebpf")]
use super::ebpf;
#[cfg(feature = "pcap")]
use super::pcap;
use super::{Feed, HealthTable, OFF, Probe, fanotify, inotify, proc, sock_diag};
use crate::state::rung::Rungs;

pub mod addresses;
pub mod batch;
mod containers;
pub mod devices;
mod drain;
mod hops;
mod media;
pub(crate) mod names;
pub mod nodes;
pub mod ports;
mod roster;
pub mod seen;
pub mod source;
pub mod stores;
pub mod touched;
pub mod watch;

/// Ways to see a subject with the numbers of their rungs, the best first.
type Ladder<S> = &'static [(u8, Rung<S>)];

/// Ways to see process life.
const PROCESSES: Ladder<dyn Lives> = &[
    #[cfg(feature = "ebpf")]
    (1, ebpf::processes),
    (3, proc::connector),
    (4, proc::scan),
];
/// Ways to see reads and writes.
const FILES: Ladder<dyn Files> = &[
    #[cfg(feature = "ebpf")]
    (1, ebpf::files),
    #[cfg(feature = "ebpf")]
    (1, ebpf::files_by_tracepoint),
    #[cfg(feature = "ebpf")]
    (2, ebpf::files_by_function),
    (3, fanotify::files),
    (4, inotify::files),
];
/// Ways to see what passes through local sockets and comes from remote stores.
const CHANNELS: Ladder<dyn Files> = &[
    #[cfg(feature = "ebpf")]
    (1, ebpf::channels),
    #[cfg(feature = "ebpf")]
    (1, ebpf::channels_by_tracepoint),
    #[cfg(feature = "ebpf")]
    (2, ebpf::channels_by_function),
];
/// Who gets at whose memory: the subject's name.
pub const MEMORY: &str = "memory";

/// Ways to see who gets at whose memory.
const PEEKS: Ladder<dyn Files> = &[
    #[cfg(feature = "ebpf")]
    (1, ebpf::memory),
    (3, proc::tracers),
];
/// Ways to see who opens decoys.
const DECOYS: Ladder<dyn Files> = &[(1, fanotify::decoys)];
/// Ways to see sends.
const SOCKETS: Ladder<dyn Sockets> = &[
    #[cfg(feature = "ebpf")]
    (1, ebpf::sockets),
    #[cfg(feature = "ebpf")]
    (2, ebpf::sockets_by_function),
    (3, sock_diag::sockets),
    #[cfg(feature = "pcap")]
    (4, pcap::booking::sockets),
];

/// Their subjects.
pub const SENSORS: [&str; 6] = [
    "channels",
    fanotify::decoys::SENSOR,
    "files",
    MEMORY,
    "processes",
    "sockets",
];

/// What these sensors cannot see, however well they are attached: its name for `accept:`, and what it is.
pub const NOT_SEEN: [(&str, &str); 7] = [
    (
        "tmpfs",
        "reads and writes of tmpfs and memfd (page-cache tracepoints leave them out), mapped ones aside",
    ),
    (
        "reflinks",
        "reflinks (cp on btrfs and XFS), renames and hard links out of a store: no data is read",
    ),
    (
        "block-devices",
        "snapshots of snapshots, LVM thin snapshots, a loop device's image; on rungs 3 and 4 every read of a block device and `btrfs send`",
    ),
    (
        "packet-destinations",
        "where a packet socket's frames go that pass by the queue (PACKET_QDISC_BYPASS): their bytes are counted",
    ),
    (
        "fuse",
        "what is written to a FUSE folder (a mounted cloud) and goes to its daemon at once, unless FUSE is built into the kernel and \
         that has BPF trampolines; without these, what is written to a removable disk past its file systems; of media, what was \
         written before they were noticed (0.2 s)",
    ),
    (
        "pipes",
        "what passes between sessions through a pipe without BPF trampolines; with them what vmsplice and tee put into one",
    ),
    (
        "kernel-sends",
        "who sends where the kernel itself does (WireGuard, tunnels): the wire is seen, without a process",
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
pub struct StoresHandle(Option<Sender<stores::Protected>>);

impl StoresHandle {
    /// Watches the stores of this configuration from now on.
    pub fn set_stores(&self, config: &Config) {
        if let Some(sender) = &self.0 {
            // The receiver ends only with the agent.
            let _ = sender.send(stores::Protected::by(config));
        }
    }
}

/// Raises every subject and starts to tell. Never fails: what does not attach is in `health`, with the next step,
/// and is told as a gap every ten seconds.
#[must_use]
pub fn start(config: &Config, feed: Feed, health: HealthTable, stop: Arc<AtomicBool>) -> Started {
    start_after(&Rungs::new(), config, feed, health, stop)
}

/// The same on a host on which subjects have stood on these rungs before: one that stands on a lower one tells.
#[must_use]
pub fn start_after(
    best: &Rungs,
    config: &Config,
    feed: Feed,
    health: HealthTable,
    stop: Arc<AtomicBool>,
) -> Started {
    let wanted = Wanted::new(config);
    let wish = wish(config);
    let mut unseen = Vec::new();
    let processes = raise(
        "processes",
        PROCESSES,
        wanted.processes,
        &wish,
        &health,
        &mut unseen,
    );
    let mut files = raise("files", FILES, wanted.files, &wish, &health, &mut unseen);
    let mut channels = raise(
        "channels",
        CHANNELS,
        wanted.channels,
        &wish,
        &health,
        &mut unseen,
    );
    let sockets = raise(
        "sockets",
        SOCKETS,
        wanted.sockets,
        &wish,
        &health,
        &mut unseen,
    );
    let memory = raise(MEMORY, PEEKS, wanted.processes, &wish, &health, &mut unseen);
    let mut decoys = match wanted.decoys {
        // They may be named at a reload.
        Choice::Off => {
            let raised = climb(DECOYS, Choice::Auto, &wish);
            Some(raised.unwrap_or_else(fanotify::decoys::refused))
        }
        choice => raise(
            fanotify::decoys::SENSOR,
            DECOYS,
            choice,
            &wish,
            &health,
            &mut unseen,
        ),
    };
    let rungs = [
        (
            "processes",
            wanted.processes,
            processes.as_ref().map(|raised| (raised.rung, &*raised.how)),
        ),
        (
            "files",
            wanted.files,
            files.as_ref().map(|raised| (raised.rung, &*raised.how)),
        ),
        (
            "sockets",
            wanted.sockets,
            sockets.as_ref().map(|raised| (raised.rung, &*raised.how)),
        ),
    ];
    unseen.extend(rungs.into_iter().filter_map(|(subject, choice, raised)| {
        let (rung, how) = raised?;
        lowered(subject, *best.get(subject)?, choice, rung, how)
    }));
    let names = StoreNames::default();
    let how = files.as_ref().map(|files| files.how.clone());
    let places = [files.as_mut(), channels.as_mut(), decoys.as_mut()];
    let places = places
        .into_iter()
        .flatten()
        .filter_map(|raised| raised.places.take());
    let stores = Stores::new(
        places.collect(),
        names.clone(),
        health.clone(),
        how.unwrap_or_default(),
        feed.clone(),
    );
    let drain = Drain {
        period: Duration::from_nanos(config.agent.periods.drain.max(1).unsigned_abs()),
        feed,
        health,
        stop,
        stores: names,
        unseen,
    };
    let subjects = Subjects {
        processes,
        files,
        channels,
        memory,
        decoys,
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
    memory: Option<Raised<dyn Files>>,
    decoys: Option<Raised<dyn Files>>,
    sockets: Option<Raised<dyn Sockets>>,
}

fn open_and_run(mut drain: Drain, subjects: Subjects) {
    let mut watch = Watch::nothing();
    watch.lives = open("processes", subjects.processes, &mut drain);
    watch.files = open("files", subjects.files, &mut drain);
    watch.channels = open("channels", subjects.channels, &mut drain);
    watch.memory = open(MEMORY, subjects.memory, &mut drain);
    watch.decoys = open(fanotify::decoys::SENSOR, subjects.decoys, &mut drain);
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
            drain.unseen.push(blind(subject, &why));
            None
        }
    }
}

/// Raises every subject that is wanted, lets go, and says how each sees or why it does not.
#[must_use]
pub fn probe(config: &Config) -> Vec<(&'static str, Probe)> {
    let wanted = Wanted::new(config);
    let wish = wish(config);
    let decoys = (wanted.decoys != Choice::Off).then(|| {
        (
            fanotify::decoys::SENSOR,
            tried(DECOYS, wanted.decoys, &wish),
        )
    });
    [
        ("files", tried(FILES, wanted.files, &wish)),
        ("channels", tried(CHANNELS, wanted.channels, &wish)),
        ("sockets", tried(SOCKETS, wanted.sockets, &wish)),
        ("processes", tried(PROCESSES, wanted.processes, &wish)),
        (MEMORY, tried(PEEKS, wanted.processes, &wish)),
    ]
    .into_iter()
    .chain(decoys)
    .collect()
}

fn tried<S: ?Sized>(ladder: Ladder<S>, choice: Choice, wish: &Wish) -> Probe {
    if choice == Choice::Off {
        return Probe::Off;
    }
    match climb(ladder, choice, wish) {
        Ok(raised) => Probe::Sees {
            rung: raised.rung,
            how: raised.how,
            sees_also: raised.sees_also,
        },
        Err(why) => Probe::Blind(why),
    }
}

/// The best rung that attaches, with why the better ones do not; else why none does.
fn climb<S: ?Sized>(ladder: Ladder<S>, choice: Choice, wish: &Wish) -> Result<Raised<S>, String> {
    let best = match choice {
        Choice::Auto => 1,
        Choice::From(rung) => rung,
        Choice::Off => return Err(OFF.to_owned()),
    };
    let mut refused: Vec<String> = Vec::new();
    for (_, rung) in ladder.iter().filter(|(number, _)| *number >= best) {
        match rung(wish) {
            Ok(mut raised) => {
                let better = refused
                    .iter()
                    .map(|why| format!("; not better, because {why}"));
                raised.how.extend(better);
                return Ok(raised);
            }
            // The same programs with and without functions may lack the same.
            Err(why) if refused.last() == Some(&why) => {}
            Err(why) => refused.push(why),
        }
    }
    if refused.is_empty() {
        return Err(format!("no rung from {best} on: choose `auto`"));
    }
    Err(refused.join("; "))
}

fn raise<S: ?Sized>(
    subject: &'static str,
    ladder: Ladder<S>,
    choice: Choice,
    wish: &Wish,
    health: &HealthTable,
    unseen: &mut Vec<Gap>,
) -> Option<Raised<S>> {
    let raised = climb(ladder, choice, wish);
    health.update(subject, |health| {
        health.up = raised.is_ok();
        health.rung = raised.as_ref().map_or(0, |raised| raised.rung);
        health.why = match &raised {
            Ok(raised) => raised.how.clone(),
            Err(why) => why.clone(),
        };
    });
    raised
        .map_err(|why| unseen.extend((choice != Choice::Off).then(|| blind(subject, &why))))
        .ok()
}

/// Whether a subject stands lower than it did, and than it was asked to.
fn lowered(subject: &str, best: u8, choice: Choice, rung: u8, how: &str) -> Option<Gap> {
    let asked = match choice {
        Choice::From(rung) => rung,
        Choice::Auto | Choice::Off => 1,
    };
    let why = format!(
        "{subject} were seen on rung {best} and now on rung {rung}: {how}; boot the former kernel, or let somebody \
         answer for '{subject}-rung-{rung}' under accept:"
    );
    let name = format!("{subject}-rung-{rung}");
    (rung > best.max(asked)).then(|| drain::unseen(&name, GapKind::LowerRung, &why))
}

/// Places the stores' roots now, and follows their changes on a thread of its own: a dead network file system
/// may hold up a look at it for minutes.
fn follow_stores(config: &Config, mut stores: Stores) -> StoresHandle {
    if stores.nobody_asks() {
        return StoresHandle(None);
    }
    stores.set(stores::Protected::by(config));
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
        interfaces: config.agent.sensors.interfaces.clone(),
    }
}

/// The network namespace of the calling thread, by its inode; 0 where /proc does not tell.
pub(crate) fn own_netns() -> u32 {
    fs::metadata("/proc/thread-self/ns/net")
        .ok()
        .and_then(|found| u32::try_from(found.ino()).ok())
        .unwrap_or_default()
}

/// Whoever chose a rung of files that has no channels beside it has chosen not to see them.
fn channels_beside(files: Choice) -> Choice {
    match files {
        Choice::From(rung) if CHANNELS.iter().all(|(number, _)| *number < rung) => Choice::Off,
        Choice::From(_) | Choice::Auto | Choice::Off => files,
    }
}

/// Which subjects somebody wants, and from which rung on.
struct Wanted {
    files: Choice,
    channels: Choice,
    decoys: Choice,
    sockets: Choice,
    processes: Choice,
}

impl Wanted {
    /// Processes are what the other two are told of: wanted as soon as one of these is.
    fn new(config: &Config) -> Self {
        let sensors = &config.agent.sensors;
        let (files, sockets) = (sensors.files, sensors.sockets);
        let none = files == Choice::Off && sockets == Choice::Off;
        Self {
            files,
            channels: channels_beside(files),
            decoys: match config.decoys.as_slice() {
                [] => Choice::Off,
                [..] => Choice::Auto,
            },
            sockets,
            processes: if none { Choice::Off } else { sensors.processes },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stands_lower_than_before_tells_unless_it_was_asked_to() {
        let told =
            |best, choice, rung| lowered("files", best, choice, rung, "how").map(|gap| gap.sensor);
        assert_eq!(told(1, Choice::Auto, 3).as_deref(), Some("files-rung-3"));
        assert_eq!(told(3, Choice::Auto, 3), None);
        assert_eq!(told(3, Choice::Auto, 1), None);
        assert_eq!(told(1, Choice::From(3), 3), None);
        assert_eq!(told(1, Choice::From(3), 4).as_deref(), Some("files-rung-4"));
    }
}
