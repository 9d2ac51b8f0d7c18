//! What each socket has sent, what of it was told, and whose it is.

use std::collections::{BTreeMap, BTreeSet};

use jaga_rules::event::{Flow, Opener, Protocol};

use super::decode::Socket;
use super::owners::Owners;
use crate::sensor::host::ports::Ports;
use crate::sensor::host::seen::{By, SocketCount, Who};

/// Sockets that are known at once. Further ones are told when they end, without an owner.
const LIMIT: usize = 1 << 18;

/// Looks at which an owner is searched for before a socket is told without one.
const SEARCHES: u8 = 3;

/// All sockets.
#[derive(Debug)]
pub(super) struct Books {
    netns: u32,
    known: BTreeMap<u64, Entry>,
    owners: Owners,
    ports: Ports,
    /// Ports on which sockets of this look listen.
    listening: BTreeSet<u16>,
    look: u64,
    /// Of those that ended, not told yet.
    told: Vec<SocketCount>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    socket: Socket,
    owner: By,
    searches: u8,
    /// Bytes that were told.
    told: u64,
    /// It was told as a connection.
    counted: bool,
    /// The look at which it was seen last.
    look: u64,
}

impl Entry {
    fn wants_owner(&self) -> bool {
        self.owner == By::Nobody && self.searches < SEARCHES && self.socket.inode != 0
    }

    /// Who is to be told as the sender of what waits.
    fn sender(&self) -> Option<Who> {
        match self.owner {
            By::Process(who) if self.socket.sent > self.told => Some(who),
            _ => None,
        }
    }
}

impl Books {
    pub(super) fn new(netns: u32) -> Self {
        Self {
            netns,
            known: BTreeMap::new(),
            owners: Owners::default(),
            ports: Ports::of_this_host(),
            listening: BTreeSet::new(),
            look: 0,
            told: Vec::new(),
        }
    }

    /// A socket of this look. What one that is older than the sensor sent before is no news.
    pub(super) fn seen(&mut self, socket: Socket) {
        if socket.listens {
            self.listening.insert(socket.local.port());
            return;
        }
        if !leaves(&socket) {
            return;
        }
        let look = self.look;
        if let Some(entry) = self.known.get_mut(&socket.cookie) {
            entry.look = look;
            entry.socket.sent = entry.socket.sent.max(socket.sent);
            return;
        }
        if self.known.len() < LIMIT {
            let mut entry = self.entry(socket);
            if look == 0 {
                (entry.told, entry.counted) = (socket.sent, true);
            }
            self.known.insert(socket.cookie, entry);
        }
    }

    /// The last that is told of a connection.
    pub(super) fn ended(&mut self, socket: Socket) {
        if socket.listens || !leaves(&socket) {
            return;
        }
        let known = self.known.remove(&socket.cookie);
        let mut entry = known.unwrap_or_else(|| self.entry(socket));
        entry.socket.sent = entry.socket.sent.max(socket.sent);
        let last = self.count(&mut entry);
        self.told.extend(last);
    }

    /// Gives the new ones owners, and forgets those that are gone without having said so.
    pub(super) fn end_of_look(&mut self) {
        self.ports.listening = std::mem::take(&mut self.listening);
        // Whose owner has ended and who sends on, somebody else has, too. A server's many sockets are one look.
        let mut lives = BTreeMap::new();
        for entry in self.known.values_mut() {
            if let Some(who) = entry.sender()
                && !*lives.entry(who.actor).or_insert_with(|| Owners::lives(who))
            {
                (entry.owner, entry.searches) = (By::Nobody, 0);
            }
        }
        let new = self.known.values().filter(|entry| entry.wants_owner());
        let wanted: BTreeSet<u32> = new.map(|entry| entry.socket.inode).collect();
        let found = self.owners.search(&wanted);
        for entry in self.known.values_mut().filter(|entry| entry.wants_owner()) {
            entry.searches += 1;
            if let Some(who) = found.get(&entry.socket.inode) {
                entry.owner = By::Process(*who);
            }
        }
        // A look later than it ended: its end may be told until then.
        let long_gone = |entry: &Entry| entry.look + 2 < self.look;
        let gone: Vec<u64> = self
            .known
            .iter()
            .filter(|(_, entry)| long_gone(entry))
            .map(|(cookie, _)| *cookie)
            .collect();
        for cookie in gone {
            if let Some(mut entry) = self.known.remove(&cookie) {
                let last = self.count(&mut entry);
                self.told.extend(last);
            }
        }
        self.look += 1;
    }

    /// What was sent since the last call.
    pub(super) fn take(&mut self) -> Vec<SocketCount> {
        let mut told = std::mem::take(&mut self.told);
        let mut known = std::mem::take(&mut self.known);
        let ready = |entry: &&mut Entry| !entry.wants_owner();
        told.extend(
            known
                .values_mut()
                .filter(ready)
                .filter_map(|entry| self.count(entry)),
        );
        self.known = known;
        told
    }

    fn entry(&self, socket: Socket) -> Entry {
        Entry {
            socket,
            owner: By::Nobody,
            searches: 0,
            told: 0,
            counted: false,
            look: self.look,
        }
    }

    fn count(&self, entry: &mut Entry) -> Option<SocketCount> {
        let bytes = entry.socket.sent - entry.told;
        if bytes == 0 {
            return None;
        }
        entry.told = entry.socket.sent;
        if let By::Process(who) = entry.owner {
            entry.owner = By::Process(self.owners.again(who));
        }
        let connections = u32::from(!std::mem::replace(&mut entry.counted, true));
        let flow = Flow {
            protocol: Protocol::Tcp,
            local: entry.socket.local,
            remote: entry.socket.remote,
            opener: Opener::Unknown,
        };
        Some(SocketCount {
            who: entry.owner,
            flow: self.ports.settle(flow),
            netns: self.netns,
            bytes,
            connections,
        })
    }
}

/// Loopback stays on the host.
fn leaves(socket: &Socket) -> bool {
    !socket.remote.ip().is_loopback() && !socket.remote.ip().is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(cookie: u64, remote: &str, sent: u64) -> Socket {
        Socket {
            cookie,
            inode: 0,
            local: "10.0.0.5:40000".parse().unwrap(),
            remote: remote.parse().unwrap(),
            listens: false,
            sent,
        }
    }

    /// Books after their first look, which saw `socket(1, …, 100)`.
    fn books() -> Books {
        let mut books = Books::new(1);
        books.seen(socket(1, "203.0.113.9:443", 100));
        books.end_of_look();
        assert_eq!(books.take(), []);
        books
    }

    #[track_caller]
    fn check(books: &mut Books, expected: &[(u64, u32)]) {
        let told = books.take();
        let told: Vec<_> = told.iter().map(|c| (c.bytes, c.connections)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn differences_are_told_and_what_was_before_is_not() {
        let mut books = books();
        books.seen(socket(1, "203.0.113.9:443", 150));
        books.seen(socket(2, "203.0.113.9:443", 7));
        books.end_of_look();
        check(&mut books, &[(50, 0), (7, 1)]);
        check(&mut books, &[]);
    }

    #[test]
    fn an_end_tells_the_rest_once() {
        let mut books = books();
        books.ended(socket(1, "203.0.113.9:443", 160));
        books.ended(socket(3, "203.0.113.9:443", 9));
        check(&mut books, &[(60, 0), (9, 1)]);
        books.end_of_look();
        check(&mut books, &[]);
    }

    #[test]
    fn who_is_gone_without_a_word_is_forgotten() {
        let mut books = books();
        books.seen(socket(1, "203.0.113.9:443", 150));
        (0..4).for_each(|_| books.end_of_look());
        assert!(books.known.is_empty());
        check(&mut books, &[(50, 0)]);
    }

    #[test]
    fn what_stays_on_the_host_is_left_out() {
        let mut books = books();
        books.seen(socket(2, "127.0.0.1:5432", 9));
        books.ended(socket(3, "127.0.0.1:5432", 9));
        books.end_of_look();
        check(&mut books, &[]);
    }

    #[test]
    fn a_socket_that_outlives_its_owner_gets_another() {
        let mut books = books();
        let open = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open));
        let link = std::fs::read_link(link).unwrap();
        let ours = Socket {
            inode: super::super::owners::inode(&link.to_string_lossy()).unwrap(),
            ..socket(5, "203.0.113.9:443", 7)
        };
        books.seen(ours);
        books.end_of_look();
        let [told] = &books.take()[..] else { panic!() };
        let By::Process(us) = told.who else { panic!() };
        assert_eq!(us.actor.pid, std::process::id());
        let mut gone = us;
        gone.actor.start += 1;
        books.known.get_mut(&5).unwrap().owner = By::Process(gone);
        books.seen(Socket { sent: 9, ..ours });
        books.end_of_look();
        assert_eq!(books.take()[0].who, By::Process(us));
    }

    #[test]
    fn who_listens_tells_who_opened() {
        let mut books = books();
        let listener = Socket {
            listens: true,
            ..socket(9, "0.0.0.0:0", 0)
        };
        books.seen(listener);
        books.seen(socket(2, "203.0.113.9:50000", 5));
        books.end_of_look();
        assert_eq!(books.take()[0].flow.opener, Opener::Remote);
    }
}
