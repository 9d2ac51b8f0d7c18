//! The flow table: what each local address sent over each conversation, every TCP sequence byte once.

use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;
use jaga_rules::event::{Event, Flow, Opener, Sender, Sent};

use super::frame::{Tcp, number};

mod plain;

use plain::{address, octets, protocol};

/// Conversations that are remembered at once: 64 MiB, and 10 MiB of index. At the limit the longest idle of a few is
/// forgotten, after its bytes were put with the others to tell: no total is lost, but a later retransmit of the
/// forgotten counts again. Counted in [`Totals::evicted`].
pub const FLOW_LIMIT: usize = 1 << 20;

/// Conversations with something to tell after which the table asks to be drained at once. Bounds what a drain makes.
const DIRTY_LIMIT: usize = 1 << 17;

/// A hole in the sequence numbers of up to this many bytes is data that left and was not captured; a larger one is
/// another conversation or nonsense. Larger than any window in use, far smaller than a random number.
const HOLE_LIMIT: u32 = 1 << 26;

/// Time in the table: quarters of a second of the capture's time.
pub type Tick = u32;

/// Ticks in a second.
pub const TICKS_PER_SECOND: u32 = 4;

/// Idle conversations are forgotten after this long. An open TCP connection may be silent for minutes.
const OPEN_TICKS: Tick = 300 * TICKS_PER_SECOND;
const DATAGRAM_TICKS: Tick = 60 * TICKS_PER_SECOND;
const CLOSED_TICKS: Tick = 10 * TICKS_PER_SECOND;

/// All entries are looked at for idleness once in this long.
const ROUND_TICKS: Tick = 30 * TICKS_PER_SECOND;

/// One conversation as its local end sends it. Addresses as IPv6, IPv4 mapped into it.
#[derive(Debug, Clone, Copy, Eq)]
pub struct Key {
    local: [u8; 16],
    remote: [u8; 16],
    local_port: u16,
    remote_port: u16,
    protocol: u8,
}

/// As numbers: comparing arrays of bytes is a call, for every packet.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        u128::from_ne_bytes(self.local) == u128::from_ne_bytes(other.local)
            && u128::from_ne_bytes(self.remote) == u128::from_ne_bytes(other.remote)
            && self.ports_and_protocol() == other.ports_and_protocol()
    }
}

impl Key {
    /// From IP protocol number, local and remote end.
    #[must_use]
    pub fn new(protocol: u8, local: IpAddr, remote: IpAddr, ports: (u16, u16)) -> Self {
        Self {
            local: octets(local),
            remote: octets(remote),
            local_port: ports.0,
            remote_port: ports.1,
            protocol,
        }
    }

    /// The other end.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(address(self.remote), self.remote_port)
    }

    fn hash(&self, state: &RandomState) -> u64 {
        state.hash_one((
            u128::from_ne_bytes(self.local),
            u128::from_ne_bytes(self.remote),
            self.ports_and_protocol(),
        ))
    }

    fn ports_and_protocol(&self) -> u64 {
        u64::from(self.local_port) << 32
            | u64::from(self.remote_port) << 8
            | u64::from(self.protocol)
    }
}

/// What is known of a conversation: one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Entry {
    key: Key,
    /// Sent and not yet told.
    untold_bytes: u64,
    /// The sequence number after the highest that was sent.
    next_seq: u32,
    /// Of the SYN that this end sent; a second SYN with the same number is a retransmit.
    first_seq: u32,
    last: Tick,
    /// Opened and not yet told.
    untold_connections: u16,
    marks: u8,
}

/// Marks of an entry.
mod mark {
    pub const OPENED_LOCALLY: u8 = 1;
    pub const OPENED_REMOTELY: u8 = 2;
    /// `next_seq` means something.
    pub const SEQUENCED: u8 = 4;
    /// `first_seq` means something.
    pub const SYN_SENT: u8 = 8;
    /// This end sent FIN or RST.
    pub const CLOSED: u8 = 16;
    /// In the list of those with something to tell. Belongs to the place in the table, not to the conversation.
    pub const DIRTY: u8 = 32;
    /// Its first payload was looked at.
    pub const LOOKED_AT: u8 = 64;
    /// The place holds no conversation.
    pub const FREE: u8 = 128;
}

/// A sent packet as the flow table needs it.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// Payload, bytes.
    pub bytes: u32,
    /// TCP's header, where it could be read.
    pub tcp: Option<Tcp>,
}

/// Whether somebody should look at what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The first payload of a TCP conversation that this end may have opened.
    First,
    /// Anything else.
    No,
}

/// What the table did since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Payload bytes that were booked.
    pub bytes: u64,
    /// Conversations that were begun.
    pub flows: u64,
    /// Conversations that were forgotten at [`FLOW_LIMIT`].
    pub evicted: u64,
    /// Jumps in sequence numbers too large to be a hole.
    pub jumps: u64,
}

/// The conversations of a capture.
#[derive(Debug)]
pub struct FlowTable {
    /// Places in `entries`, by key.
    index: HashTable<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    dirty: Vec<u32>,
    /// What was evicted before it was told.
    orphans: Vec<Entry>,
    /// The next entry to look at for idleness.
    hand: usize,
    hand_tick: Tick,
    limit: usize,
    hasher: RandomState,
    totals: Totals,
}

impl Default for FlowTable {
    fn default() -> Self {
        Self::with_limit(FLOW_LIMIT)
    }
}

impl FlowTable {
    /// A table of at most `limit` conversations.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self {
            index: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            orphans: Vec::new(),
            hand: 0,
            hand_tick: 0,
            limit: limit.clamp(1, u32::MAX as usize),
            hasher: RandomState::default(),
            totals: Totals::default(),
        }
    }

    /// Books a packet that the local end of `key` sent.
    pub fn sent(&mut self, key: Key, segment: Segment, now: Tick) -> Look {
        let place = self.place(key, now);
        let entry = &mut self.entries[place as usize];
        entry.last = now;
        let fresh = match segment.tcp {
            Some(tcp) => {
                let fresh = entry.advance(tcp, segment.bytes);
                self.totals.jumps += u64::from(fresh.jumped);
                fresh.bytes
            }
            None => segment.bytes,
        };
        self.totals.bytes += u64::from(fresh);
        entry.untold_bytes += u64::from(fresh);
        if entry.marks & mark::DIRTY == 0 && entry.has_untold() {
            entry.marks |= mark::DIRTY;
            self.dirty.push(place);
        }
        entry.look(segment)
    }

    /// Conversations with something to tell.
    #[must_use]
    pub fn untold(&self) -> usize {
        self.dirty.len() + self.orphans.len()
    }

    /// Whether enough has something to tell that a drain should not wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.untold() >= DIRTY_LIMIT
    }

    /// What happened since the start.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Conversations that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Tells the differences since the last drain, in the order in which they began, one event per local address,
    /// remote address and service; then forgets who was idle for long.
    pub fn drain(&mut self, now: Tick, events: &mut Vec<Event>) {
        let mut sums = Sums::new(self.hasher.clone());
        for entry in &mut self.orphans {
            sums.add(entry);
        }
        self.orphans.clear();
        for place in &self.dirty {
            let entry = &mut self.entries[*place as usize];
            entry.marks &= !mark::DIRTY;
            sums.add(entry);
        }
        self.dirty.clear();
        sums.tell(events);
        self.forget_idle(now);
    }

    /// The place of `key`, made if need be.
    fn place(&mut self, key: Key, now: Tick) -> u32 {
        let hash = key.hash(&self.hasher);
        let entries = &self.entries;
        if let Some(place) = self
            .index
            .find(hash, |place| entries[*place as usize].key == key)
        {
            return *place;
        }
        self.totals.flows += 1;
        let place = self.free_place(now);
        let entry = &mut self.entries[place as usize];
        *entry = Entry::new(key, now, entry.marks & mark::DIRTY);
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.insert_unique(hash, place, |place| {
            entries[*place as usize].key.hash(hasher)
        });
        place
    }

    fn free_place(&mut self, now: Tick) -> u32 {
        if let Some(place) = self.free.pop() {
            return place;
        }
        if self.entries.len() < self.limit {
            let nobody = Key::new(
                0,
                Ipv6Addr::UNSPECIFIED.into(),
                Ipv6Addr::UNSPECIFIED.into(),
                (0, 0),
            );
            self.entries.push(Entry::new(nobody, now, 0));
            // The limit fits 32 bits.
            return (self.entries.len() - 1) as u32;
        }
        self.evict(now)
    }

    /// Forgets the longest idle of the next few, and returns its place.
    fn evict(&mut self, now: Tick) -> u32 {
        const FEW: usize = 8;
        let idle = |place: &usize| now.saturating_sub(self.entries[*place].last);
        let count = self.entries.len();
        let oldest = (0..FEW)
            .map(|step| (self.hand + step) % count)
            .max_by_key(idle)
            .unwrap_or(0);
        self.hand = (self.hand + FEW) % count;
        self.totals.evicted += 1;
        if self.entries[oldest].has_untold() {
            self.orphans.push(self.entries[oldest]);
        }
        self.forget(oldest);
        self.free.pop().unwrap_or(oldest as u32)
    }

    /// Looks at as many entries as the time that passed asks for, and forgets those that are idle and told.
    fn forget_idle(&mut self, now: Tick) {
        let passed = now.saturating_sub(self.hand_tick).min(ROUND_TICKS);
        self.hand_tick = self.hand_tick.max(now);
        let count = self.entries.len();
        let steps = (count * passed as usize).div_ceil(ROUND_TICKS as usize);
        for _ in 0..steps {
            self.hand = (self.hand + 1) % count;
            if self.entries[self.hand].is_idle(now) {
                self.forget(self.hand);
            }
        }
        if self.index.is_empty() {
            self.release();
        }
    }

    /// Gives the memory back when the last conversation is over.
    fn release(&mut self) {
        self.index = HashTable::new();
        self.entries = Vec::new();
        self.free = Vec::new();
        self.hand = 0;
    }

    fn forget(&mut self, place: usize) {
        let key = self.entries[place].key;
        let hash = key.hash(&self.hasher);
        if let Ok(found) = self
            .index
            .find_entry(hash, |candidate| *candidate as usize == place)
        {
            found.remove();
        }
        let entry = &mut self.entries[place];
        entry.untold_bytes = 0;
        entry.untold_connections = 0;
        entry.marks = mark::FREE | (entry.marks & mark::DIRTY);
        self.free.push(place as u32);
    }
}

/// What a segment brought.
struct Fresh {
    bytes: u32,
    jumped: bool,
}

impl Fresh {
    const fn of(bytes: u32) -> Self {
        Self {
            bytes,
            jumped: false,
        }
    }
}

impl Entry {
    fn new(key: Key, now: Tick, marks: u8) -> Self {
        Self {
            key,
            untold_bytes: 0,
            next_seq: 0,
            first_seq: 0,
            last: now,
            untold_connections: u16::from(key.protocol != number::TCP),
            marks,
        }
    }

    const fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    const fn has_untold(&self) -> bool {
        self.untold_bytes > 0 || self.untold_connections > 0
    }

    fn is_idle(&self, now: Tick) -> bool {
        let limit = if self.has(mark::CLOSED) {
            CLOSED_TICKS
        } else if self.key.protocol == number::TCP {
            OPEN_TICKS
        } else {
            DATAGRAM_TICKS
        };
        !self.has(mark::FREE) && !self.has_untold() && now.saturating_sub(self.last) > limit
    }

    /// Moves on by a TCP segment, and returns how many of its bytes are new. Data in a hole counts when the hole is
    /// seen: it left, in another order or past the capture; when it comes later, it is old.
    fn advance(&mut self, tcp: Tcp, bytes: u32) -> Fresh {
        if tcp.fin || tcp.rst {
            self.marks |= mark::CLOSED;
        }
        let mut seq = tcp.seq;
        if tcp.syn {
            self.open(tcp);
            seq = seq.wrapping_add(1); // the SYN takes one
        }
        if bytes == 0 || tcp.rst {
            return Fresh::of(0);
        }
        let end = seq.wrapping_add(bytes);
        if !self.has(mark::SEQUENCED) {
            self.marks |= mark::SEQUENCED;
            self.next_seq = end;
            return Fresh::of(bytes);
        }
        let ahead = end.wrapping_sub(self.next_seq);
        let behind = self.next_seq.wrapping_sub(end);
        if ahead.saturating_sub(bytes) <= HOLE_LIMIT {
            self.next_seq = end;
            return Fresh::of(ahead);
        }
        if behind <= HOLE_LIMIT {
            return Fresh::of(0);
        }
        self.next_seq = end;
        Fresh {
            bytes,
            jumped: true,
        }
    }

    fn open(&mut self, tcp: Tcp) {
        if self.has(mark::SYN_SENT) && self.first_seq == tcp.seq {
            return;
        }
        let opener = if tcp.ack {
            mark::OPENED_REMOTELY
        } else {
            mark::OPENED_LOCALLY
        };
        self.marks = (self.marks & mark::DIRTY) | opener | mark::SYN_SENT | mark::SEQUENCED;
        self.first_seq = tcp.seq;
        self.next_seq = tcp.seq.wrapping_add(1);
        self.untold_connections = self.untold_connections.saturating_add(1);
    }

    fn look(&mut self, segment: Segment) -> Look {
        if self.has(mark::LOOKED_AT) || segment.bytes == 0 || self.key.protocol != number::TCP {
            return Look::No;
        }
        self.marks |= mark::LOOKED_AT;
        match self.opener() {
            Opener::Local | Opener::Unknown => Look::First,
            Opener::Remote => Look::No,
        }
    }

    /// Who sent the SYN; if that was not seen, who has the higher port.
    fn opener(&self) -> Opener {
        if self.has(mark::OPENED_LOCALLY) {
            return Opener::Local;
        }
        if self.has(mark::OPENED_REMOTELY) {
            return Opener::Remote;
        }
        match self.key.local_port.cmp(&self.key.remote_port) {
            std::cmp::Ordering::Greater => Opener::Local,
            std::cmp::Ordering::Less => Opener::Remote,
            std::cmp::Ordering::Equal => Opener::Unknown,
        }
    }

    /// The conversation as it is told: the ephemeral port of who opened it is 0.
    fn told(&self) -> (Key, Opener) {
        let opener = self.opener();
        let mut key = self.key;
        match opener {
            Opener::Local => key.local_port = 0,
            Opener::Remote => key.remote_port = 0,
            Opener::Unknown => {}
        }
        (key, opener)
    }
}

/// What one drain tells.
struct Sums {
    index: HashTable<u32>,
    sums: Vec<Sum>,
    hasher: RandomState,
}

struct Sum {
    key: Key,
    opener: Opener,
    bytes: u64,
    connections: u32,
}

impl Sums {
    fn new(hasher: RandomState) -> Self {
        Self {
            index: HashTable::new(),
            sums: Vec::new(),
            hasher,
        }
    }

    /// Takes what `entry` has to tell.
    fn add(&mut self, entry: &mut Entry) {
        if !entry.has_untold() {
            return;
        }
        let (key, opener) = entry.told();
        let (sums, hasher) = (&mut self.sums, &self.hasher);
        let slot = self.index.entry(
            key.hash(hasher),
            |place| sums[*place as usize].key == key && sums[*place as usize].opener == opener,
            |place| sums[*place as usize].key.hash(hasher),
        );
        let place = match slot {
            Slot::Occupied(slot) => *slot.get() as usize,
            Slot::Vacant(slot) => {
                let place = sums.len();
                slot.insert(place as u32);
                sums.push(Sum {
                    key,
                    opener,
                    bytes: 0,
                    connections: 0,
                });
                place
            }
        };
        sums[place].bytes += entry.untold_bytes;
        sums[place].connections += u32::from(entry.untold_connections);
        entry.untold_bytes = 0;
        entry.untold_connections = 0;
    }

    fn tell(self, events: &mut Vec<Event>) {
        events.extend(self.sums.into_iter().map(Sum::event));
    }
}

impl Sum {
    fn event(self) -> Event {
        let local = address(self.key.local);
        Event::Sent(Sent {
            sender: Sender::Host(local),
            flow: Flow {
                protocol: protocol(self.key.protocol),
                local: SocketAddr::new(local, self.key.local_port),
                remote: self.key.remote(),
                opener: self.opener,
            },
            bytes: self.bytes,
            connections: self.connections,
            interface: None,
        })
    }
}

#[cfg(test)]
mod tests;
