//! What passing packets tell about the world: names of addresses, and relays.

use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};

use foldhash::fast::RandomState;
use jaga_rules::event::Fact;

use super::dns;
use super::flow::{Key, Tick};
use super::frame::{Packet, number};
use super::relay;
use super::tls::{Hello, hello};
use super::vantage::Vantage;

/// Facts that wait for a drain. At the limit further ones are dropped and counted: a name is for display, and whoever
/// speaks to a relay speaks to it again.
const FACT_LIMIT: usize = 4096;

/// Facts told lately are not told again for [`QUIET_TICKS`]. At the limit one takes another's place and both are told
/// more often.
const LATELY_LIMIT: usize = 4096;

const QUIET_TICKS: Tick = 60 * super::flow::TICKS_PER_SECOND;

/// ClientHellos that wait for their second segment. At the limit the oldest goes.
const BEGUN_LIMIT: usize = 32;

/// Gathers facts.
#[derive(Debug)]
pub struct Witness {
    /// Relays are looked for here: an external address needs no fact to be judged as external.
    internal: Vantage,
    facts: Vec<Fact>,
    lately: Vec<(u64, Tick)>,
    begun: Vec<(Key, Vec<u8>)>,
    hasher: RandomState,
    dropped: u64,
}

impl Witness {
    /// Looks for relays among `internal` addresses.
    #[must_use]
    pub fn new(internal: Vantage) -> Self {
        Self {
            internal,
            facts: Vec::new(),
            lately: vec![(0, 0); LATELY_LIMIT],
            begun: Vec::new(),
            hasher: RandomState::default(),
            dropped: 0,
        }
    }

    /// Takes a packet that came to a local host, or to its resolver.
    pub fn answer(&mut self, packet: &Packet<'_>, now: Tick) {
        if packet.protocol != number::UDP || packet.ports.0 != dns::PORT {
            return;
        }
        for (address, name) in dns::names(packet.payload) {
            self.name(address, &name, now);
        }
    }

    /// Takes the first payload of a conversation that a local host may have opened.
    pub fn first(&mut self, key: Key, payload: &[u8], now: Tick) {
        let remote = key.remote();
        if let Some(protocol) = relay::spoken(payload) {
            self.relay(remote, protocol, now);
            return;
        }
        self.hello(key, payload.to_vec(), now);
    }

    /// Takes later payload of any conversation; only those whose ClientHello was cut in two matter.
    pub fn more(&mut self, key: Key, payload: &[u8], now: Tick) {
        let waiting = self.begun.iter().position(|(begun, _)| *begun == key);
        if let Some(place) = waiting.filter(|_| !payload.is_empty()) {
            let (_, mut bytes) = self.begun.remove(place);
            bytes.extend_from_slice(payload);
            self.hello(key, bytes, now);
        }
    }

    /// Whether [`Witness::more`] waits for anything.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Facts since the last call.
    pub fn take(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.facts)
    }

    /// Facts dropped at the limit since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn hello(&mut self, key: Key, bytes: Vec<u8>, now: Tick) {
        match hello(&bytes) {
            Hello::Whole(Some(name)) => self.name(key.remote().ip(), &name, now),
            Hello::Whole(None) | Hello::No => {}
            Hello::Begun => {
                if self.begun.len() >= BEGUN_LIMIT {
                    self.begun.remove(0);
                }
                self.begun.push((key, bytes));
            }
        }
    }

    fn name(&mut self, address: IpAddr, name: &str, now: Tick) {
        if self.is_news((address, name), now) {
            self.tell(Fact::Name {
                address,
                name: name.into(),
            });
        }
    }

    fn relay(&mut self, address: SocketAddr, protocol: &str, now: Tick) {
        let internal = self.internal.holds(address.ip());
        if internal && self.is_news((address, protocol), now) {
            self.tell(Fact::Relay {
                address,
                protocol: protocol.into(),
            });
        }
    }

    fn is_news(&mut self, fact: impl std::hash::Hash, now: Tick) -> bool {
        // A place is empty while it is 0.
        let hash = self.hasher.hash_one(fact) | 1;
        let place = &mut self.lately[(hash >> 32) as usize % LATELY_LIMIT];
        if place.0 == hash && now.saturating_sub(place.1) < QUIET_TICKS {
            return false;
        }
        *place = (hash, now);
        true
    }

    fn tell(&mut self, fact: Fact) {
        if self.facts.len() < FACT_LIMIT {
            self.facts.push(fact);
        } else {
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness() -> Witness {
        Witness::new(Vantage::new(&["10.0.0.0/8".parse().unwrap()]))
    }

    fn key(remote: &str) -> Key {
        let ends = ("10.0.0.5".parse().unwrap(), remote.parse().unwrap());
        Key::new(number::TCP, ends.0, ends.1, (40000, 3128))
    }

    fn told(witness: &mut Witness) -> Vec<String> {
        witness.take().iter().map(line).collect()
    }

    fn line(fact: &Fact) -> String {
        match fact {
            Fact::Name { address, name } => format!("{address} is {name}"),
            Fact::Relay { address, protocol } => format!("{address} relays {protocol}"),
            other => format!("{other:?}"),
        }
    }

    /// A ClientHello of TLS 1.2 for `a.example`, as short as can be.
    fn client_hello() -> Vec<u8> {
        let name = b"a.example";
        let mut sni = vec![0, 0, 0, 14, 0, 12, 0, 0, 9];
        sni.extend_from_slice(name);
        let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
        let mut body = vec![3, 3];
        body.extend_from_slice(&[7; 32]);
        body.extend_from_slice(&[0, 0, 2, 0xc0, 0x2b, 1, 0]);
        let extensions = [sni.as_slice(), &signatures].concat();
        body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
        body.extend_from_slice(&extensions);
        let length = body.len() as u8;
        let record = [22, 3, 1, 0, length + 4, 1, 0, 0, length];
        [record.as_slice(), &body].concat()
    }

    #[test]
    fn an_internal_relay_is_told_once_a_minute() {
        let mut witness = witness();
        for now in [0, 10, QUIET_TICKS - 1, QUIET_TICKS] {
            witness.first(
                key("10.0.0.9"),
                b"CONNECT example.org:443 HTTP/1.1\r\n",
                now,
            );
        }
        let line = "10.0.0.9:3128 relays http-connect";
        assert_eq!(told(&mut witness), [line, line]);
    }

    #[test]
    fn an_external_relay_needs_no_fact() {
        let mut witness = witness();
        witness.first(
            key("203.0.113.9"),
            b"CONNECT example.org:443 HTTP/1.1\r\n",
            0,
        );
        assert!(told(&mut witness).is_empty());
    }

    #[test]
    fn a_hello_may_come_in_two_segments() {
        let bytes = client_hello();
        let mut witness = witness();
        witness.first(key("203.0.113.9"), &bytes, 0);
        assert_eq!(told(&mut witness), ["203.0.113.9 is a.example"]);
        witness.first(key("203.0.113.10"), &bytes[..20], 0);
        assert!(witness.is_waiting() && told(&mut witness).is_empty());
        witness.more(key("203.0.113.11"), &bytes[20..], 0);
        witness.more(key("203.0.113.10"), &bytes[20..], 0);
        assert_eq!(told(&mut witness), ["203.0.113.10 is a.example"]);
        assert!(!witness.is_waiting());
    }

    #[test]
    fn hellos_that_never_end_are_bounded() {
        let mut witness = witness();
        for host in 0..100 {
            witness.first(key(&format!("203.0.113.{host}")), &client_hello()[..20], 0);
        }
        assert_eq!(witness.begun.len(), BEGUN_LIMIT);
        for _ in 0..10_000 {
            witness.more(key("203.0.113.99"), &[0; 1000], 0);
        }
        assert_eq!(witness.begun.len(), BEGUN_LIMIT - 1);
    }

    #[test]
    fn a_flood_of_facts_is_bounded_and_counted() {
        let mut witness = witness();
        for number in 0..5000_u32 {
            witness.name(std::net::Ipv4Addr::from(number).into(), "x.example", 0);
        }
        assert_eq!(told(&mut witness).len(), FACT_LIMIT);
        assert_eq!(witness.take_dropped(), 5000 - FACT_LIMIT as u64);
    }
}
