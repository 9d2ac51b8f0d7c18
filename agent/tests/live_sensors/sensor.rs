//! A running eBPF sensor and the commands it watches, for the tests beside it.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jaga::sensor::host::{self, StoresHandle};
use jaga::sensor::{Batch, FEED_LIMIT, HealthTable, Probe};
use jaga_rules::config::{self, Config};
use jaga_rules::event::{Actor, Event, Name, Read, Sender, Sent, Wrote};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sensor and everything that it told.
pub struct Sensor {
    pub events: Vec<Event>,
    pub stores: StoresHandle,
    pub health: HealthTable,
    batches: Option<Receiver<Batch>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Whether eBPF programs attach here. Says so aloud if not; in CI that is a failure.
pub fn can_run(test: &str) -> bool {
    static REFUSED: LazyLock<Vec<String>> = LazyLock::new(|| {
        let all = host::probe(&config("/nowhere")).into_iter();
        all.filter_map(|(subject, probe)| match probe {
            Probe::Blind(why) => Some(format!("{subject}: {why}")),
            Probe::Sees { .. } | Probe::Off => None,
        })
        .collect()
    });
    if REFUSED.is_empty() {
        return true;
    }
    let why = REFUSED.join("; ");
    eprintln!("NOT RUN: {test}: {why}");
    assert!(std::env::var("CI").is_err(), "cannot run in CI: {why}");
    false
}

/// A configuration with one store, `lab`, and a short period.
pub fn config(store: &str) -> Config {
    let text = format!(
        "stores:\n  - {{ name: lab, paths: [{store:?}], records: {{ per-file: 1 }} }}\n\
         periods: {{ drain: 50ms }}\n"
    );
    config::parse("jaga.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"))
}

impl Sensor {
    pub fn start(config: &Config) -> Self {
        let (feed, batches) = mpsc::sync_channel(FEED_LIMIT);
        let health = HealthTable::default();
        let stop = Arc::new(AtomicBool::new(false));
        let started = host::start(config, feed, health.clone(), Arc::clone(&stop));
        let mut sensor = Self {
            events: Vec::new(),
            stores: started.stores,
            health,
            batches: Some(batches),
            stop,
            thread: Some(started.thread),
        };
        let me = std::process::id();
        sensor.until("the agent itself", |events| {
            events
                .iter()
                .any(|event| matches!(event, Event::Known(process) if process.actor.pid == me))
        });
        sensor
    }

    /// Takes batches until the events are as they must be.
    pub fn until(&mut self, what: &str, done: impl Fn(&[Event]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.events) {
            let left = deadline.saturating_duration_since(Instant::now());
            let batches = self.batches.as_ref().unwrap();
            match batches.recv_timeout(left) {
                Ok(batch) => self.events.extend(batch),
                Err(_) => panic!("waited {PATIENCE:?} for {what}"),
            }
        }
    }

    /// Runs a shell script to its end, and takes batches until that is told. Gives everybody who ran.
    pub fn run(&mut self, script: &str) -> Family {
        let child = Command::new("bash")
            .args(["-ec", script])
            .stdin(Stdio::null())
            .spawn();
        self.wait(child.unwrap())
    }

    /// Waits for a child that runs already.
    pub fn wait(&mut self, mut child: Child) -> Family {
        let status = child.wait().unwrap();
        assert!(status.success(), "the watched command failed: {status}");
        self.exit_of(child.id())
    }

    /// Takes batches until the process's end is told: by then all that it did was.
    pub fn exit_of(&mut self, pid: u32) -> Family {
        let ended = |event: &Event| matches!(event, Event::Exit { actor } if actor.pid == pid);
        self.until("an exit", |events| events.iter().any(ended));
        let family = Family::of(pid, &self.events);
        for member in &family.0 {
            let left = Event::Exit { actor: *member };
            self.until("a descendant's exit", |events| events.contains(&left));
        }
        family
    }

    pub fn reads(&self, family: &Family) -> Vec<&Read> {
        let reads = self.events.iter().filter_map(|event| match event {
            Event::Read(read) if family.0.contains(&read.actor) => Some(read),
            _ => None,
        });
        reads.collect()
    }

    pub fn writes(&self, family: &Family) -> Vec<&Wrote> {
        let writes = self.events.iter().filter_map(|event| match event {
            Event::Wrote(wrote) if family.0.contains(&wrote.actor) => Some(wrote),
            _ => None,
        });
        writes.collect()
    }

    pub fn sends(&self, family: &Family) -> Vec<&Sent> {
        let sends = self.events.iter().filter_map(|event| match event {
            Event::Sent(sent) => match sent.sender {
                Sender::Actor(actor) if family.0.contains(&actor) => Some(sent),
                _ => None,
            },
            _ => None,
        });
        sends.collect()
    }

    /// Bytes that the family read of the store `lab`.
    pub fn store_bytes(&self, family: &Family) -> u64 {
        let lab: Name = "lab".into();
        let reads = self.reads(family).into_iter();
        reads
            .filter(|read| read.store.as_ref() == Some(&lab))
            .map(|read| read.bytes)
            .sum()
    }

    /// Nothing was lost, and no sensor went blind.
    pub fn assert_no_gap(&self) {
        let gaps = self
            .events
            .iter()
            .filter(|event| matches!(event, Event::Gap(_)));
        assert_eq!(gaps.collect::<Vec<_>>(), Vec::<&Event>::new());
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A process and its descendants.
pub struct Family(pub BTreeSet<Actor>);

impl Family {
    /// By the forks that were told. The last process of this pid is meant.
    fn of(pid: u32, events: &[Event]) -> Self {
        let mut members = BTreeSet::new();
        for event in events {
            if let Event::Fork(fork) = event {
                if fork.child.pid == pid {
                    members.clear();
                    members.insert(fork.child);
                } else if members.contains(&fork.parent) {
                    members.insert(fork.child);
                }
            }
        }
        assert!(!members.is_empty(), "the fork of {pid} was not told");
        Self(members)
    }
}

/// `told` is within 1 % of `truth`.
pub fn assert_near(what: &str, told: u64, truth: u64) {
    let off = told.abs_diff(truth);
    assert!(off * 100 <= truth, "{what}: told {told} B of {truth} B");
}
