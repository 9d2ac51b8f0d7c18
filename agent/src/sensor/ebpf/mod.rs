//! The `ebpf` sensors: files, sockets and processes, counted in the kernel and told a few times a second.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jaga_rules::config::{Choice, Config, Namespaces, Store};

use self::attach::{Attached, Subject, attach};
use self::decode::socket::{Ports, ephemeral, listening};
use self::drain::Drain;
use self::roots::{Roots, StoreNames};
use self::watch::{Subjects, Watch};
use super::{Feed, HealthTable, OFF, Probe};

mod attach;
mod batch;
pub mod decode;
mod drain;
mod interfaces;
mod names;
mod roots;
mod roster;
mod table;
mod watch;

/// What these sensors cannot see, however well they are attached: its name for `accept:`, and what it is.
pub const NOT_SEEN: [(&str, &str); 4] = [
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
        "reads of a store through an overlay mounted over it, or of its block device",
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

/// Attaches what attaches and starts to tell. Never fails: what does not attach is in `health`, with the next
/// step, and is told as a gap every ten seconds.
#[must_use]
pub fn start(config: &Config, feed: Feed, health: HealthTable, stop: Arc<AtomicBool>) -> Started {
    let wanted = Wanted::new(config);
    let mut blind = Vec::new();
    let mut up = |subject: Subject, wanted: bool| raise(&subject, wanted, &health, &mut blind);
    let processes = up(attach::processes(), wanted.processes);
    let files = up(attach::files(), wanted.files);
    let sockets = up(attach::sockets(), wanted.sockets);

    let names = StoreNames::default();
    let stores = follow_stores(config, files.as_ref(), &names, &health);
    let drain = Drain {
        period: Duration::from_nanos(config.agent.periods.drain.max(1).unsigned_abs()),
        feed,
        health,
        stop,
        stores: names,
        blind,
    };
    let netns = own_netns();
    if let Some(sockets) = &sockets {
        only_namespace(sockets, config.agent.sensors.namespaces, netns);
    }
    let subjects = Subjects {
        processes,
        files,
        sockets,
        netns,
        ports: old_ports(),
    };
    let thread = thread::Builder::new()
        .name("ebpf".to_owned())
        .spawn(move || open_and_run(drain, subjects))
        .expect("a thread can be made at start");
    Started { thread, stores }
}

fn open_and_run(mut drain: Drain, subjects: Subjects) {
    match Watch::open(subjects) {
        Ok(watch) => drain.run(watch),
        Err(why) => {
            let subjects = ["files", "sockets", "processes"];
            drain.blind = subjects.iter().map(|name| (*name, why.clone())).collect();
            drain.run(Watch::nothing());
        }
    }
}

/// Attaches every subject that is wanted, lets go, and says how each sees or why it does not.
#[must_use]
pub fn probe(config: &Config) -> Vec<(&'static str, Probe)> {
    let wanted = Wanted::new(config);
    let probe = |(subject, wanted): (Subject, bool)| {
        let tried = || attach(&subject).map(|_| how(subject.name).to_owned());
        let probe = if wanted { tried().into() } else { Probe::Off };
        (subject.name, probe)
    };
    [
        (attach::files(), wanted.files),
        (attach::sockets(), wanted.sockets),
        (attach::processes(), wanted.processes),
    ]
    .map(probe)
    .into()
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

fn how(subject: &str) -> &'static str {
    match subject {
        "files" => "tp_btf: page cache, direct IO and write-back tracepoints",
        "sockets" => "tp_btf: sock_send_length, with the task",
        _ => "tp_btf: fork, exec and exit",
    }
}

/// Why the file sensor sees what it sees.
pub(crate) fn files_why(problems: &[String]) -> String {
    let mut why = vec![how("files").to_owned()];
    why.extend_from_slice(problems);
    why.join("; ")
}

fn raise(
    subject: &Subject,
    wanted: bool,
    health: &HealthTable,
    blind: &mut Vec<(&'static str, String)>,
) -> Option<Arc<Attached>> {
    let attached = if wanted {
        attach(subject)
    } else {
        Err(OFF.to_owned())
    };
    health.update(subject.name, |health| {
        health.up = attached.is_ok();
        health.rung = u8::from(health.up);
        health.why = attached
            .as_ref()
            .map_or_else(Clone::clone, |_| how(subject.name).to_owned());
    });
    match attached {
        Ok(attached) => Some(Arc::new(attached)),
        Err(why) => {
            if wanted {
                blind.push((subject.name, why));
            }
            None
        }
    }
}

/// Places the stores' roots now, and follows their changes on a thread of its own: a dead network file system
/// may hold up a look at it for minutes.
fn follow_stores(
    config: &Config,
    files: Option<&Arc<Attached>>,
    names: &StoreNames,
    health: &HealthTable,
) -> StoresHandle {
    let Some(files) = files else {
        return StoresHandle(None);
    };
    let mut roots = Roots::new(Arc::clone(files), names.clone(), health.clone());
    roots.set(config.stores.clone());
    let (sender, changes) = mpsc::channel();
    thread::Builder::new()
        .name("stores".to_owned())
        .spawn(move || roots.run(&changes))
        .expect("a thread can be made at start");
    StoresHandle(Some(sender))
}

fn only_namespace(sockets: &Attached, namespaces: Namespaces, own: u32) {
    let only = match namespaces {
        Namespaces::All => 0,
        Namespaces::Own => own,
    };
    let settings: Vec<u8> = [only, 0]
        .iter()
        .flat_map(|field| u32::to_ne_bytes(*field))
        .collect();
    if let Err(error) = sockets
        .map("settings")
        .and_then(|map| roots::set(map, &settings))
    {
        tracing::warn!("sockets of all network namespaces are counted: {error}");
    }
}

fn own_netns() -> u32 {
    fs::metadata("/proc/thread-self/ns/net")
        .ok()
        .and_then(|found| u32::try_from(found.ino()).ok())
        .unwrap_or_default()
}

fn old_ports() -> Ports {
    let read = |path: &str| fs::read_to_string(Path::new("/proc").join(path)).unwrap_or_default();
    let tables = [read("thread-self/net/tcp"), read("thread-self/net/tcp6")];
    let ports: BTreeSet<u16> = tables.iter().flat_map(|text| listening(text)).collect();
    Ports {
        listening: ports,
        ephemeral: ephemeral(&read("sys/net/ipv4/ip_local_port_range")),
    }
}
