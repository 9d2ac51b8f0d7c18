//! Sends without eBPF: the kernel's own byte counters of TCP sockets, looked at many times a second (rung 3).

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jaga_rules::config::Namespaces;
use jaga_rules::event::{Gap, GapKind, Name};

use self::books::Books;
use super::host::addresses::Addresses;
use super::host::seen::SocketCount;
use super::host::source::{self, Raised, Wish};
use super::netlink::{DONE, DUMP, ERROR, Netlink};

mod books;
pub mod decode;
mod owners;

/// The shortest time between two looks. A connection that lives longer has an owner.
const SHORTEST: Duration = Duration::from_millis(10);
/// The longest.
const LONGEST: Duration = Duration::from_millis(250);
/// A look may take one part in so many of the time.
const SHARE: u32 = 50;

/// Sends over TCP.
///
/// # Errors
/// Why the kernel does not answer, with the next step.
pub fn sockets(wish: &Wish) -> Result<Raised<dyn source::Sockets>, String> {
    let refused = |error: io::Error| {
        format!(
            "sock_diag does not answer: {error}; use a kernel with CONFIG_INET_DIAG (modprobe inet_diag tcp_diag)"
        )
    };
    let mut eyes = Eyes::open(wish.netns).map_err(refused)?;
    eyes.look().map_err(refused)?;
    let ended = if eyes.endings.is_some() {
        "what ends between two looks is booked to `unknown`"
    } else {
        "what ends between two looks is not seen: run as root or with CAP_NET_ADMIN"
    };
    let where_ = match wish.namespaces {
        Namespaces::Own => "",
        Namespaces::All => " of the agent's own network namespace alone",
    };
    Ok(Raised {
        rung: 3,
        how: format!(
            "sock_diag: byte counters of TCP sockets{where_}; {ended}; UDP and raw sockets have no counter"
        ),
        sees_also: &[],
        open: Box::new(move || Ok(Box::new(Sockets::open(eyes)))),
        places: None,
    })
}

/// Looks on a thread of its own, so that short connections are met while they have an owner.
struct Sockets {
    eyes: Arc<Mutex<Eyes>>,
    stop: Arc<AtomicBool>,
    interfaces: Addresses,
}

impl Sockets {
    fn open(eyes: Eyes) -> Self {
        let eyes = Arc::new(Mutex::new(eyes));
        let stop = Arc::new(AtomicBool::new(false));
        let (sees, ended) = (Arc::clone(&eyes), Arc::clone(&stop));
        // Without the thread the drain looks, less often.
        let _ = thread::Builder::new()
            .name("sock_diag".to_owned())
            .spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    lock(&sees).look_and_remember();
                    thread::sleep((began.elapsed() * SHARE).clamp(SHORTEST, LONGEST));
                }
            });
        Self {
            eyes,
            stop,
            interfaces: Addresses::default(),
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl source::Sockets for Sockets {
    fn drain(&mut self, sends: &mut Vec<(SocketCount, Option<Name>)>, gaps: &mut Vec<Gap>) {
        let mut eyes = lock(&self.eyes);
        eyes.look_and_remember();
        let told = eyes.books.take();
        gaps.extend(eyes.gap());
        drop(eyes);
        self.interfaces.next_round();
        for count in told {
            let interface = self.interfaces.name(count.flow.local.ip());
            sends.push((count, interface));
        }
    }
}

struct Eyes {
    questions: Netlink,
    /// Tells of connections that ended; absent without the right to.
    endings: Option<Netlink>,
    books: Books,
    lost: u64,
    failed: Option<String>,
}

impl Eyes {
    fn open(netns: u32) -> io::Result<Self> {
        Ok(Self {
            questions: Netlink::open(libc::NETLINK_SOCK_DIAG, 0)?,
            endings: Netlink::open(libc::NETLINK_SOCK_DIAG, decode::DESTROYED).ok(),
            books: Books::new(netns),
            lost: 0,
            failed: None,
        })
    }

    fn look_and_remember(&mut self) {
        self.failed = self.look().err().map(|error| error.to_string());
    }

    /// One look at all sockets, after what ended since the last one.
    fn look(&mut self) -> io::Result<()> {
        self.hear_endings();
        for family in decode::FAMILIES {
            self.ask(family)?;
        }
        // What ended during the look was in it, or is told now.
        self.hear_endings();
        self.books.end_of_look();
        Ok(())
    }

    fn ask(&mut self, family: u8) -> io::Result<()> {
        self.questions
            .send(decode::BY_FAMILY, DUMP, &decode::request(family))?;
        let books = &mut self.books;
        loop {
            let (mut done, mut error) = (false, 0);
            let came = self.questions.take(|message| match message.kind {
                DONE => done = true,
                ERROR => error = i32::from_ne_bytes(first(message.body)),
                _ => {
                    if let Some(socket) = decode::decode(message.body) {
                        books.seen(socket);
                    }
                }
            })?;
            if error != 0 {
                return Err(io::Error::from_raw_os_error(-error));
            }
            if done || !came {
                return Ok(());
            }
        }
    }

    fn hear_endings(&mut self) {
        let Some(endings) = &mut self.endings else {
            return;
        };
        let books = &mut self.books;
        loop {
            match endings.take(|message| {
                if let Some(socket) = decode::decode(message.body) {
                    books.ended(socket);
                }
            }) {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => {
                    self.lost += 1;
                    return;
                }
            }
        }
    }

    fn gap(&mut self) -> Option<Gap> {
        let lost = std::mem::take(&mut self.lost);
        let (kind, why) = match &self.failed {
            Some(error) => (
                GapKind::Blind,
                format!("sock_diag no longer answers: {error}; restart the agent"),
            ),
            None if lost > 0 => (
                GapKind::Lost,
                "more connections ended between two looks than the buffer holds".to_owned(),
            ),
            None => return None,
        };
        Some(Gap {
            sensor: "sockets".into(),
            kind,
            events: lost,
            bytes: 0,
            why: why.into(),
        })
    }
}

fn first(body: &[u8]) -> [u8; 4] {
    body.first_chunk().copied().unwrap_or_default()
}

fn lock(eyes: &Mutex<Eyes>) -> MutexGuard<'_, Eyes> {
    eyes.lock().unwrap_or_else(PoisonError::into_inner)
}
