//! Process life without eBPF: the kernel's process connector with `/proc` read at once (rung 3), else `/proc` alone.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use jaga_rules::event::{Gap, GapKind};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::people::People;
use super::host::seen::Life;
use super::host::source::{self, Raised, Wish};
use super::netlink::{self, Netlink};

pub mod decode;
pub mod look;
mod people;
mod scan;
mod tracers;

pub use tracers::tracers;

/// The group of process events (include/uapi/linux/connector.h: CN_IDX_PROC).
const GROUP: u32 = 1;

/// How long the listening thread waits before it looks whether it is still wanted, milliseconds.
const PATIENCE_MS: u16 = 200;

/// Process life by the connector.
///
/// # Errors
/// Why it cannot be listened to, with the next step.
pub fn connector(_: &Wish) -> Result<Raised<dyn source::Lives>, String> {
    let socket = listen().map_err(|error| {
        format!(
            "the process connector does not answer: {error}; run as root or with CAP_NET_ADMIN, on a kernel with \
             CONFIG_PROC_EVENTS"
        )
    })?;
    Ok(Raised {
        rung: 3,
        how: "process connector: fork, exec and exit, with /proc read at once; whoever ends within a millisecond may \
              lack a program"
            .to_owned(),
        sees_also: &[],
        open: Box::new(move || Ok(Box::new(Lives::open(socket)))),
        places: None,
    })
}

/// Process life by reading `/proc` at each drain.
///
/// # Errors
/// There is no `/proc`.
pub fn scan(_: &Wish) -> Result<Raised<dyn source::Lives>, String> {
    let scan = scan::Scan::new();
    if !scan.sees() {
        return Err("nobody is listed in /proc; mount it, without hidepid".to_owned());
    }
    Ok(Raised {
        rung: 4,
        how: "/proc, read at each drain: whoever ends in between is not seen".to_owned(),
        sees_also: &[],
        open: Box::new(move || Ok(Box::new(scan))),
        places: None,
    })
}

/// Only the initial network namespace has the connector: an agent that runs in another goes there for a moment.
fn listen() -> std::io::Result<Netlink> {
    let open = || {
        let socket = Netlink::open(libc::NETLINK_CONNECTOR, GROUP)?;
        socket.send(DONE, 0, &decode::listen())?;
        Ok(socket)
    };
    let away = |process| netlink::in_namespace_of(process, open);
    // The kernel's threads are in the initial one, too, and nobody minds being asked.
    open().or_else(|_: Errno| away("1").or_else(|_| away("2")))
}

/// What the connector's messages are sent as (Documentation/driver-api/connector.rst).
const DONE: u16 = netlink::DONE;

/// Listens on a thread of its own: what `/proc` tells of a short life is there only while it lasts.
struct Lives {
    ear: Arc<Mutex<Ear>>,
    stop: Arc<AtomicBool>,
}

impl Lives {
    fn open(socket: Netlink) -> Self {
        let fd = socket.as_fd().try_clone_to_owned();
        let ear = Arc::new(Mutex::new(Ear {
            socket,
            people: People::default(),
            heard: Vec::new(),
            lost: false,
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let (hears, ended) = (Arc::clone(&ear), Arc::clone(&stop));
        if let Ok(fd) = fd {
            // Without the thread the drain hears them, later.
            let _ = thread::Builder::new()
                .name("connector".to_owned())
                .spawn(move || {
                    while !ended.load(Ordering::Relaxed) {
                        let mut waits = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
                        if poll(&mut waits, PollTimeout::from(PATIENCE_MS)).is_ok_and(|n| n > 0) {
                            lock(&hears).hear();
                        }
                    }
                });
        }
        Self { ear, stop }
    }
}

impl Drop for Lives {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl source::Lives for Lives {
    fn take(&mut self) -> Vec<Life> {
        let mut ear = lock(&self.ear);
        ear.hear();
        std::mem::take(&mut ear.heard)
    }

    fn gap(&mut self) -> Option<Gap> {
        let lost = std::mem::take(&mut lock(&self.ear).lost);
        lost.then(|| Gap {
            sensor: "processes".into(),
            kind: GapKind::Lost,
            events: 1,
            bytes: 0,
            why: "more processes came and went than the connector's buffer holds; the list of processes was read again"
                .into(),
        })
    }

    fn list(&mut self) -> Vec<Life> {
        let mut ear = lock(&self.ear);
        let listed = ear.people.list();
        // Told in the list already.
        ear.heard.clear();
        listed
    }
}

struct Ear {
    socket: Netlink,
    people: People,
    heard: Vec<Life>,
    lost: bool,
}

impl Ear {
    /// Takes all that waits.
    fn hear(&mut self) {
        loop {
            let (people, heard) = (&mut self.people, &mut self.heard);
            let taken = self.socket.take(|message| {
                if let Some(news) = decode::decode(message.body) {
                    heard.extend(people.hear(news));
                }
            });
            match taken {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => {
                    self.lost = true;
                    return;
                }
            }
        }
    }
}

fn lock(ear: &Mutex<Ear>) -> std::sync::MutexGuard<'_, Ear> {
    ear.lock().unwrap_or_else(PoisonError::into_inner)
}
