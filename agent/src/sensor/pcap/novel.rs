//! What is new in names that are looked up and in ICMP messages: ordinary ones repeat themselves, a tunnel does not.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};

use foldhash::fast::RandomState;
use jaga_rules::event::{Fact, Name, Sender};

use super::dns;
use super::flow::{TICKS_PER_SECOND, Tick};
use super::frame::{Packet, number};

/// Names and messages that are remembered. In a fuller table one takes another's place, and that counts as new once more.
const SEEN_LIMIT: usize = 65_536;

/// They are forgotten after so long: a day.
const LATELY: Tick = 86_400 * TICKS_PER_SECOND;

/// Domains and remotes told apart between two drains; those beyond are told together.
const TELL_LIMIT: usize = 1_024;

/// Endings of a site's own: nobody can register below them (RFC 6762, RFC 8375, RFC 9476, ICANN's `.internal`), and hosts below
/// them are looked up all day.
const PRIVATE: [&[u8]; 10] = [
    b"alt",
    b"corp",
    b"home",
    b"internal",
    b"intern",
    b"intranet",
    b"lan",
    b"local",
    b"localdomain",
    b"private",
];

/// The domain of names that have none that anybody could have registered.
const NO_DOMAIN: &str = "(no domain)";
/// That of what goes to port 53 and is no question.
const NOT_DNS: &str = "(not DNS)";
/// That of what did not fit.
const OTHER: &str = "(other)";

/// A ping begins with the time, and monitoring with a number beside it, bytes.
const STAMP: usize = 32;

/// Who it is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// The sending host of a recording.
    Host,
    /// Somebody on this host: packets do not tell who.
    Somebody,
}

/// Remembers what was sent, and gathers what is new.
#[derive(Debug)]
pub struct Novel {
    client: Client,
    seen: Vec<(u64, Tick)>,
    hasher: RandomState,
    lookups: BTreeMap<(Sender, SocketAddr, Name), (u64, u64)>,
    icmp: BTreeMap<(Sender, IpAddr), u64>,
}

impl Novel {
    /// Nothing sent yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            seen: vec![(0, 0); SEEN_LIMIT],
            hasher: RandomState::default(),
            lookups: BTreeMap::new(),
            icmp: BTreeMap::new(),
        }
    }

    /// Takes a packet that a local host sent.
    pub fn sent(&mut self, packet: &Packet<'_>, now: Tick) {
        let later_part = packet.fragment.is_some_and(|part| !part.first);
        if later_part && packet.protocol != number::ICMP {
            return;
        }
        match (packet.protocol, packet.ports.1) {
            (number::UDP, dns::PORT) => self.asked(packet, packet.payload, now),
            // Each message has its length before it (RFC 1035, 4.2.2); further ones in a segment are part of the first.
            (number::TCP, dns::PORT) if packet.payload.len() > 2 => {
                self.asked(packet, &packet.payload[2..], now);
            }
            (number::ICMP, _) => self.icmp(packet, now),
            _ => {}
        }
    }

    /// What was new since the last call.
    pub fn take(&mut self) -> Vec<Fact> {
        let lookups = std::mem::take(&mut self.lookups).into_iter();
        let lookups = lookups.map(|((client, server, domain), (names, bytes))| Fact::Lookup {
            client,
            server,
            domain,
            names,
            bytes,
        });
        let icmp = std::mem::take(&mut self.icmp).into_iter();
        let icmp = icmp.map(|((client, remote), bytes)| Fact::Icmp {
            client,
            remote,
            bytes,
        });
        lookups.chain(icmp).collect()
    }

    fn client(&self, source: IpAddr) -> Sender {
        match self.client {
            Client::Host => Sender::Host(source),
            Client::Somebody => Sender::Unknown,
        }
    }

    fn asked(&mut self, packet: &Packet<'_>, message: &[u8], now: Tick) {
        let (domain, bytes) = match dns::question(message) {
            Some(labels) => {
                let name = labels.join(&b'.').to_ascii_lowercase();
                if is_reverse(&labels) || !self.is_new(&name, now) {
                    return;
                }
                let (domain, below) = split(&labels);
                (domain, below.iter().map(|label| label.len()).sum())
            }
            // A resolver that answers another: both on the port of DNS.
            None if packet.ports.0 == dns::PORT && dns::is_response(message) => return,
            None if !self.is_new((message, packet.destination), now) => return,
            None => (NOT_DNS.to_owned(), packet.payload_bytes as usize),
        };
        if bytes == 0 {
            return;
        }
        let server = SocketAddr::new(packet.destination, packet.ports.1);
        let mut key = (self.client(packet.source), server, Name::from(domain));
        if self.lookups.len() >= TELL_LIMIT && !self.lookups.contains_key(&key) {
            key.2 = OTHER.into();
        }
        let sum = self.lookups.entry(key).or_default();
        *sum = (sum.0 + 1, sum.1 + bytes as u64);
    }

    fn icmp(&mut self, packet: &Packet<'_>, now: Tick) {
        let later_part = packet.fragment.is_some_and(|part| !part.first);
        let is_error = match (packet.source, packet.icmp) {
            (_, None) => !later_part,
            // Errors bring back the packet that they are about (RFC 792, RFC 4443); routers and neighbours find each other
            // (RFC 1256, RFC 4861, RFC 3810).
            (IpAddr::V4(_), Some(kind)) => {
                matches!(kind, 3 | 4 | 5 | 9 | 10 | 11 | 12) && packet.payload_bytes <= 576
            }
            (IpAddr::V6(_), Some(kind)) => {
                matches!(kind, 1..=4 | 130..=143) && packet.payload_bytes <= 1_280
            }
        };
        let Some(content) = packet.payload.get(STAMP..).filter(|rest| !rest.is_empty()) else {
            return;
        };
        if is_error || !self.is_new((content, packet.destination), now) {
            return;
        }
        let mut key = (self.client(packet.source), packet.destination);
        if self.icmp.len() >= TELL_LIMIT && !self.icmp.contains_key(&key) {
            key.1 = match key.1 {
                IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
            };
        }
        *self.icmp.entry(key).or_default() += u64::from(packet.payload_bytes);
    }

    fn is_new(&mut self, what: impl std::hash::Hash, now: Tick) -> bool {
        // A place is empty while it is 0.
        let hash = self.hasher.hash_one(what) | 1;
        let place = &mut self.seen[(hash >> 32) as usize % SEEN_LIMIT];
        let known = place.0 == hash && now.saturating_sub(place.1) < LATELY;
        *place = (hash, now);
        !known
    }
}

/// The registrable domain, and the labels below it; below a site's own ending as if it were one. Names under an ending that
/// there is not have none: all of their text counts, for it may change from one to the next.
fn split<'l, 'm>(labels: &'l [&'m [u8]]) -> (String, &'l [&'m [u8]]) {
    let name = labels.join(&b'.').to_ascii_lowercase();
    let registered = psl::domain(&name).filter(|domain| domain.suffix().is_known());
    let Some(domain) = registered else {
        return match labels {
            [below @ .., site, ending]
                if PRIVATE.iter().any(|of| ending.eq_ignore_ascii_case(of)) =>
            {
                let mut text = String::new();
                dns::escape_into(site, &mut text);
                text.push('.');
                dns::escape_into(ending, &mut text);
                (text, &labels[..below.len()])
            }
            _ => (NO_DOMAIN.to_owned(), labels),
        };
    };
    let of = domain.as_bytes().split(|byte| *byte == b'.').count();
    let mut text = String::new();
    dns::escape_into(domain.as_bytes(), &mut text);
    // The labels' own dots are no part of them.
    let text = text.replace("\\x2e", ".");
    (text, &labels[..labels.len().saturating_sub(of)])
}

/// Whose name an address is: such questions come by the thousand from whoever reads logs.
fn is_reverse(labels: &[&[u8]]) -> bool {
    let is_arpa = |zone: &[u8], count: usize, size: usize| match labels {
        [address @ .., of, arpa] => {
            of.eq_ignore_ascii_case(zone)
                && arpa.eq_ignore_ascii_case(b"arpa")
                && address.len() <= count
                && address
                    .iter()
                    .all(|part| part.len() <= size && part.iter().all(u8::is_ascii_hexdigit))
        }
        _ => false,
    };
    is_arpa(b"in-addr", 4, 3) || is_arpa(b"ip6", 32, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query(name: &str) -> Vec<u8> {
        let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.as_bytes());
        }
        message.extend([0, 0, 16, 0, 1]);
        message
    }

    fn packet(protocol: u8, port: u16, icmp: Option<u8>, payload: &[u8]) -> Packet<'_> {
        Packet {
            source: "10.0.0.5".parse().unwrap(),
            destination: "203.0.113.53".parse().unwrap(),
            protocol,
            ports: (40_000, port),
            payload_bytes: u32::try_from(payload.len()).unwrap(),
            payload,
            tcp: None,
            icmp,
            fragment: None,
        }
    }

    fn asked(names: &[&str]) -> Vec<String> {
        let mut novel = Novel::new(Client::Somebody);
        for name in names {
            novel.sent(&packet(number::UDP, 53, None, &query(name)), 1);
        }
        told(&mut novel)
    }

    fn told(novel: &mut Novel) -> Vec<String> {
        let line = |fact| match fact {
            Fact::Lookup {
                domain,
                names,
                bytes,
                ..
            } => format!("{domain} {names} {bytes}"),
            Fact::Icmp { remote, bytes, .. } => format!("{remote} {bytes}"),
            other => format!("{other:?}"),
        };
        novel.take().into_iter().map(line).collect()
    }

    #[test]
    fn text_below_the_registrable_domain_counts_once() {
        let names = [
            "aaaa.bb.t.example.com",
            "AAAA.bb.t.example.com",
            "cc.t.example.com",
            "www.hospital.co.id",
        ];
        assert_eq!(asked(&names), ["example.com 2 10", "hospital.co.id 1 3"]);
    }

    #[test]
    fn the_domain_itself_and_addresses_carry_nothing() {
        let names = [
            "example.com",
            "7.113.0.203.in-addr.arpa",
            "1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
        ];
        assert_eq!(asked(&names), [""; 0]);
        assert_eq!(asked(&["secret.113.0.203.in-addr.arpa"]).len(), 1);
    }

    #[test]
    fn names_of_no_domain_are_one() {
        let names = ["aaaa.bbbb", "cccc.dddd", "pacs1.hospital.local"];
        assert_eq!(asked(&names), ["(no domain) 2 16", "hospital.local 1 5"]);
    }

    #[test]
    fn what_is_no_question_counts_whole() {
        let mut novel = Novel::new(Client::Somebody);
        for number in 0..3_u8 {
            let raw = [&[0x10, 0xd1, 0x9e, number][..], &[7; 96]].concat();
            novel.sent(&packet(number::UDP, 53, None, &raw), 1);
            let answer = [&[0, number, 0x81][..], &[number; 30]].concat();
            let answers = packet(number::UDP, 53, None, &answer);
            novel.sent(
                &Packet {
                    ports: (53, 53),
                    ..answers
                },
                1,
            );
        }
        assert_eq!(told(&mut novel), ["(not DNS) 3 300"]);
    }

    #[test]
    fn over_tcp_as_well() {
        let mut novel = Novel::new(Client::Host);
        let message = query("aaaa.example.com");
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        let segment = [&length[..], &message].concat();
        novel.sent(&packet(number::TCP, 53, None, &segment), 1);
        novel.sent(&packet(number::TCP, 53, None, &[]), 1);
        assert_eq!(told(&mut novel), ["example.com 1 4"]);
    }

    #[test]
    fn a_ping_repeats_itself_and_a_tunnel_does_not() {
        let mut novel = Novel::new(Client::Somebody);
        for second in 0..100_u8 {
            let ping = [&[second; STAMP][..], &[0x55; 24]].concat();
            novel.sent(&packet(number::ICMP, 0, Some(8), &ping), 1);
        }
        assert_eq!(told(&mut novel), ["203.0.113.53 56"]);
        for second in 0..100_u8 {
            let tunnel = [second; 1_000];
            novel.sent(&packet(number::ICMP, 0, Some(0), &tunnel), 1);
            novel.sent(&packet(number::ICMP, 0, Some(3), &[second ^ 0xff; 500]), 1);
        }
        assert_eq!(told(&mut novel), ["203.0.113.53 100000"]);
        for second in 0..100_u8 {
            let content = [second; 1_000];
            let rest = packet(number::ICMP, 0, None, &content);
            let fragment = Some(crate::sensor::pcap::frame::Fragment {
                id: 1,
                first: false,
            });
            novel.sent(&Packet { fragment, ..rest }, LATELY + 2);
        }
        assert_eq!(told(&mut novel), ["203.0.113.53 100000"]);
    }

    #[test]
    fn a_flood_of_domains_is_told_together() {
        let mut novel = Novel::new(Client::Somebody);
        for number in 0..5_000 {
            let message = query(&format!("a.d{number}.com"));
            novel.sent(&packet(number::UDP, 53, None, &message), 1);
        }
        let facts = told(&mut novel);
        assert_eq!(facts.len(), TELL_LIMIT + 1);
        let rest = format!("(other) {0} {0}", 5_000 - TELL_LIMIT);
        assert!(facts.contains(&rest), "{facts:?}");
    }

    #[test]
    fn what_was_sent_yesterday_is_new_today() {
        let mut novel = Novel::new(Client::Somebody);
        let message = query("aaaa.example.com");
        for now in [1, LATELY, 2 * LATELY + 1] {
            novel.sent(&packet(number::UDP, 53, None, &message), now);
        }
        assert_eq!(told(&mut novel), ["example.com 2 8"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in any::<u8>()) {
            let mut novel = Novel::new(Client::Host);
            for (protocol, port) in [(number::UDP, 53), (number::TCP, 53), (number::ICMP, 0)] {
                novel.sent(&packet(protocol, port, Some(kind), &bytes), 1);
            }
            for fact in novel.take() {
                match fact {
                    Fact::Lookup { bytes: counted, domain, .. } => {
                        prop_assert!(counted <= 2 * bytes.len() as u64);
                        prop_assert!(domain.is_ascii());
                    }
                    Fact::Icmp { bytes: counted, .. } => prop_assert!(counted <= bytes.len() as u64),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }
}
