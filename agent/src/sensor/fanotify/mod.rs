//! Reads and writes without eBPF: who opened and closed which file, and an estimate of how much of it was read (rung 3).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use jaga_rules::config::Target;
use jaga_rules::event::{Gap, GapKind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub use self::decoys::decoys;
use self::eyes::Eyes;
use super::host::batch::Round;
use super::host::source::{self, Places, Raised, Root, Wish};

pub mod books;
pub mod decode;
pub mod decoys;
mod eyes;
pub mod mounts;
mod open_files;
mod place;
mod sys;

/// How long the reading thread waits before it looks whether it is still wanted, milliseconds.
const PATIENCE_MS: u16 = 200;

/// Reads and writes.
///
/// # Errors
/// Why it cannot be listened, with the next step.
pub fn files(_: &Wish) -> Result<Raised<dyn source::Files>, String> {
    let mut eyes = Eyes::open().map_err(|error| {
        format!(
            "fanotify refuses: {error}; run as root or with CAP_SYS_ADMIN (under systemd: \
             /usr/share/doc/jaga/older-kernel.conf), on Linux 4.20 or later"
        )
    })?;
    let marked = eyes.mark_file_systems().map_err(|error| {
        format!("fanotify marks no file system: {error}; use Linux 4.20 or later")
    })?;
    let eyes = Arc::new(Mutex::new(eyes));
    let places = Box::new(Roots(Arc::clone(&eyes)));
    Ok(Raised {
        rung: 3,
        how: format!(
            "fanotify: opens and closes on {marked} file systems; bytes are estimates, by positions and read counters"
        ),
        sees_also: &["tmpfs"],
        open: Box::new(move || Ok(Box::new(Files::open(eyes)))),
        places: Some(places),
    })
}

struct Roots(Arc<Mutex<Eyes>>);

impl Places for Roots {
    fn place(&mut self, roots: &[Root]) -> Result<(), String> {
        lock(&self.0).place(roots)
    }

    fn file_systems(&mut self, folders: &[File]) -> Result<Vec<Option<u64>>, String> {
        let mut eyes = lock(&self.0);
        Ok(folders
            .iter()
            .map(|folder| match folder.metadata() {
                Ok(found) if found.is_dir() => eyes.file_system_of(folder),
                Ok(_) | Err(_) => None, // writes to a disk itself are not seen
            })
            .collect())
    }

    fn remotes(&mut self, _: &[(Target, u32)]) -> Result<(), String> {
        Ok(()) // files are on this host
    }
}

/// Reads on a thread of its own: what `/proc` tells of a process is there only while it lives.
struct Files {
    eyes: Arc<Mutex<Eyes>>,
    stop: Arc<AtomicBool>,
}

impl Files {
    fn open(eyes: Arc<Mutex<Eyes>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (sees, ended) = (Arc::clone(&eyes), Arc::clone(&stop));
        let group = lock(&eyes).duplicate();
        let mounts = File::open("/proc/self/mountinfo");
        if let (Ok(group), Ok(mounts)) = (group, mounts) {
            // Without the thread the drain reads, later.
            let _ = thread::Builder::new()
                .name("fanotify".to_owned())
                .spawn(move || watch(&sees, &group, &mounts, &ended));
        }
        Self { eyes, stop }
    }
}

fn watch(eyes: &Mutex<Eyes>, group: &OwnedFd, mounts: &File, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        let mut waits = [
            PollFd::new(group.as_fd(), PollFlags::POLLIN),
            // A mount came or went (proc_pid_mounts(5)).
            PollFd::new(mounts.as_fd(), PollFlags::POLLPRI),
        ];
        let Ok(1..) = poll(&mut waits, PollTimeout::from(PATIENCE_MS)) else {
            continue;
        };
        let changed = waits[1].any().unwrap_or(false);
        let mut eyes = lock(eyes);
        if changed {
            eyes.mounts_changed();
        }
        eyes.take_events();
        if eyes.is_full() {
            // The drain is held up: what comes waits in the kernel's queue.
            drop(eyes);
            thread::park_timeout(std::time::Duration::from_millis(PATIENCE_MS.into()));
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl source::Files for Files {
    fn drain(&mut self, round: &mut Round, gaps: &mut Vec<Gap>) {
        let mut eyes = lock(&self.eyes);
        eyes.take_events();
        eyes.look_at_open_files();
        round.files.append(&mut eyes.take_counts());
        gaps.append(&mut eyes.take_gaps());
    }
}

fn gap(kind: GapKind, events: u64, why: String) -> Gap {
    Gap::new("files", kind, events, why)
}

/// The next step after an error of reading events.
fn next_step(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => "raise LimitNOFILE=",
        _ => "restart the agent",
    }
}

fn lock(eyes: &Mutex<Eyes>) -> MutexGuard<'_, Eyes> {
    eyes.lock().unwrap_or_else(PoisonError::into_inner)
}
