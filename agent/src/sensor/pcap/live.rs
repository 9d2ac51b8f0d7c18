//! The live `pcap` sensor: names of addresses, relays, what is new in names looked up and ICMP messages, and what medical
//! systems ask of each other, from packets that interfaces pass. Other bytes it does not count.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ipnet::IpNet;
use jaga_rules::config::{Config, Interfaces};
use jaga_rules::event::{Event, Gap, GapKind, Name};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use pcap::{Active, Capture, Device};

use super::SENSOR;
use super::flow::{Key, Tick};
use super::frame::{Link, Packet, Seen, look, number};
use super::medical::Medical;
use super::novel::{Client, Novel};
use super::vantage::Vantage;
use super::witness::Witness;
use crate::sensor::{Feed, HealthTable, OFF, Probe};

/// Enough for a ClientHello with post-quantum key shares, which the sending host still sees in one piece.
const SNAPLEN: i32 = 4096;

/// Kernel buffer of an interface, bytes: what passes the filter is little, but ten thousand short connections in three
/// seconds begin with a request each, of up to [`SNAPLEN`].
const BUFFER_BYTES: i32 = 8 << 20;

/// Interfaces listened on at once. Further ones are not, and that is told.
const INTERFACE_LIMIT: usize = 64;

/// Frames taken from an interface in one drain; what is left waits in the kernel's buffer.
const FRAMES_PER_DRAIN: usize = 4096;

/// Interfaces come and go: they are looked for again, and blindness is told again, this often.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Runs in the kernel, so that bulk data costs next to nothing: DNS, ICMP, and segments that begin with a ClientHello, an
/// HTTP request, SOCKS, SMTP, an HL7 message, or with what opens or asks something of a DICOM association. `tcp[…]` knows
/// only IPv4; for IPv6 the header has a fixed place. Not `outbound`: libpcap filters what it finds in the ring at the start
/// once more by itself, where that word never holds.
fn filter() -> String {
    let v4 = beginnings(|at, size| format!("tcp[(((tcp[12] & 0xf0) >> 2) + {at}):{size}]"));
    let v6 = beginnings(|at, size| format!("ip6[(40 + ((ip6[52] & 0xf0) >> 2) + {at}):{size}]"));
    // A ping of less carries nothing.
    let icmp = "((icmp or icmp6) and greater 75)";
    format!("(port 53) or {icmp} or (ip and tcp and ({v4})) or (ip6 proto 6 and ({v6}))")
}

/// `at`: the payload's bytes from a place on, so many.
fn beginnings(at: impl Fn(u8, u8) -> String) -> String {
    let words = [
        "GET ", "PUT ", "POST", "HEAD", "PATC", "DELE", "OPTI", "PROP", "CONN", "EHLO", "HELO",
        "LHLO", "\x0bMSH",
    ];
    let is = |place: u8, value: u32| format!("{} = {value:#010x}", at(place, 4));
    let word = |text: &str| {
        let bytes: [u8; 4] = text.as_bytes().try_into().unwrap_or_default();
        is(0, u32::from_be_bytes(bytes))
    };
    // A TLS handshake record; SOCKS 4 CONNECT; SOCKS 5 with one to four methods.
    let short = [0x1603, 0x0401, 0x0501, 0x0502, 0x0503, 0x0504];
    let short = short.map(|value: u16| format!("{} = {value:#06x}", at(0, 2)));
    let all = |tests: [String; 3]| format!("({})", tests.join(" and "));
    let dicom = [
        // A-ASSOCIATE-RQ of version 1.
        all([
            format!("{} = 0x0100", at(0, 2)),
            is(6, 0x0001_0000),
            format!("{} != 0", at(10, 1)),
        ]),
        // A-ASSOCIATE-AC of version 1.
        all([
            format!("{} = 0x0200", at(0, 2)),
            is(6, 0x0001_0000),
            format!("{} >= 0", at(10, 1)),
        ]),
        // P-DATA with a whole command, which begins with its length.
        all([
            format!("{} = 0x0400", at(0, 2)),
            format!("{} = 3", at(11, 1)),
            is(12, 0),
        ]),
        // The command without its header: its length, and the first element behind it, of group 0000.
        all([is(0, 0), is(4, 0x0400_0000), format!("{} = 0", at(12, 2))]),
    ];
    // The shortest first: reading past the end of a packet ends the filter with no.
    let all: Vec<String> = short
        .into_iter()
        .chain(words.map(word))
        .chain(dicom)
        .collect();
    all.join(" or ")
}

/// Starts to listen. Never fails: what cannot be listened on is in `health`, and is told as a gap.
#[must_use]
pub fn start(
    config: &Config,
    feed: Feed,
    health: HealthTable,
    stop: Arc<AtomicBool>,
) -> JoinHandle<()> {
    let period = Duration::from_nanos(config.agent.periods.drain.max(1).unsigned_abs());
    let mut live = Live {
        wanted: config.agent.sensors.interfaces.clone(),
        witness: Witness::new(Vantage::new(&config.internal)),
        novel: Novel::new(Client::Somebody),
        medical: Medical::default(),
        own: Vantage::default(),
        captures: BTreeMap::new(),
        drops: BTreeMap::new(),
        health,
        period,
        tick: 0,
    };
    if live.wanted == Interfaces::Off {
        live.health
            .update(SENSOR, |health| health.why = OFF.to_owned());
    }
    thread::Builder::new()
        .name(SENSOR.to_owned())
        .spawn(move || live.run(&feed, &stop))
        .expect("a thread can be made at start")
}

/// Opens what `start` would, lets go, and says on what it listens and why not on what it does not.
#[must_use]
pub fn probe(config: &Config) -> Probe {
    let wanted = &config.agent.sensors.interfaces;
    if *wanted == Interfaces::Off {
        return Probe::Off;
    }
    let mut captures = BTreeMap::new();
    let problems = open_missing(wanted, &mut captures);
    said(captures.keys(), &problems).into()
}

struct Live {
    wanted: Interfaces,
    witness: Witness,
    novel: Novel,
    medical: Medical,
    /// This host's addresses: what others say to it is not looked at.
    own: Vantage,
    captures: BTreeMap<Name, (Capture<Active>, Link)>,
    /// Frames that the kernel dropped, as last asked.
    drops: BTreeMap<Name, u32>,
    health: HealthTable,
    period: Duration,
    tick: Tick,
}

impl Live {
    fn run(&mut self, feed: &Feed, stop: &AtomicBool) {
        if self.wanted == Interfaces::Off {
            return;
        }
        let mut until_look = Duration::ZERO;
        while !stop.load(Ordering::Relaxed) {
            let mut batch = Vec::new();
            if until_look.is_zero() {
                batch.extend(self.look_for_interfaces());
                until_look = LOOK_AGAIN;
            }
            self.drain(&mut batch);
            if !batch.is_empty() && feed.send(batch).is_err() {
                return;
            }
            thread::sleep(self.period);
            until_look = until_look.saturating_sub(self.period);
        }
    }

    /// Opens interfaces that came, and says so; a gap if nothing is left to listen on.
    fn look_for_interfaces(&mut self) -> Option<Event> {
        let problems = open_missing(&self.wanted, &mut self.captures);
        self.own = own_addresses();
        let said = said(self.captures.keys(), &problems);
        self.health.update(SENSOR, |health| {
            health.up = said.is_ok();
            health.rung = u8::from(health.up);
            health.why = said.clone().unwrap_or_else(|why| why);
        });
        said.err().map(|why| gap(GapKind::Blind, 0, &why))
    }

    fn drain(&mut self, batch: &mut Vec<Event>) {
        // Four ticks are a second, whatever the period.
        let ticks = self.period.as_millis() / 250;
        self.tick = self
            .tick
            .saturating_add(Tick::try_from(ticks.max(1)).unwrap_or(1));
        let mut gone = Vec::new();
        for (name, (capture, link)) in &mut self.captures {
            if let Err(error) = take(capture, *link, |packet| {
                notice(packet, &self.own, &mut self.witness, self.tick);
                let leaves = self.own.holds(packet.source);
                if leaves {
                    self.novel.sent(packet, self.tick);
                }
                if leaves || self.own.holds(packet.destination) {
                    self.medical.packet(packet, &self.own, self.tick);
                }
            }) {
                gone.push((name.clone(), error));
            }
        }
        for (name, error) in gone {
            self.captures.remove(&name);
            self.drops.remove(&name);
            batch.push(gap(
                GapKind::Lost,
                0,
                &format!("listening on '{name}' ended: {error}"),
            ));
        }
        batch.extend(self.dropped());
        let facts = self.witness.take().into_iter().chain(self.novel.take());
        batch.extend(facts.chain(self.medical.take()).map(Event::Fact));
        self.health
            .update(SENSOR, |health| health.events += batch.len() as u64);
    }

    /// What the kernel and the witness dropped since the last drain.
    fn dropped(&mut self) -> Option<Event> {
        let mut dropped = self.witness.take_dropped() + self.medical.take_dropped();
        for (name, (capture, _)) in &mut self.captures {
            if let Ok(stats) = capture.stats() {
                let before = self.drops.insert(name.clone(), stats.dropped).unwrap_or(0);
                dropped += u64::from(stats.dropped.wrapping_sub(before));
            }
        }
        if dropped == 0 {
            return None;
        }
        self.health
            .update(SENSOR, |health| health.lost_events += dropped);
        Some(gap(
            GapKind::Lost,
            dropped,
            "packets with names were dropped: more came than could be looked at",
        ))
    }
}

/// Takes what waits in the kernel's buffer.
fn take(
    capture: &mut Capture<Active>,
    link: Link,
    mut each: impl FnMut(&Packet<'_>),
) -> Result<(), String> {
    for _ in 0..FRAMES_PER_DRAIN {
        match capture.next_packet() {
            Ok(frame) => {
                if let Seen::Ip(packet) = look(link, frame.data, frame.header.len as usize) {
                    each(&packet);
                }
            }
            Err(pcap::Error::TimeoutExpired) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

fn notice(packet: &Packet<'_>, own: &Vantage, witness: &mut Witness, now: Tick) {
    if packet.protocol != number::TCP {
        witness.answer(packet, now);
    } else if own.holds(packet.source) {
        let (from, to) = (packet.source, packet.destination);
        let key = Key::new(number::TCP, from, to, packet.ports);
        witness.first(key, packet.payload, now);
    }
}

/// The addresses of all interfaces; none if they cannot be listed, which opening interfaces then tells.
pub(super) fn own_addresses() -> Vantage {
    let devices = Device::list().unwrap_or_default();
    let addresses = devices.iter().flat_map(|device| &device.addresses);
    let nets: Vec<IpNet> = addresses.map(|address| address.addr.into()).collect();
    Vantage::new(&nets)
}

/// Opens every wanted interface that is not open yet, and returns what stands in the way.
fn open_missing(
    wanted: &Interfaces,
    captures: &mut BTreeMap<Name, (Capture<Active>, Link)>,
) -> Vec<String> {
    let names = match wanted_names(wanted) {
        Ok(names) => names,
        Err(problem) => return vec![problem],
    };
    let mut problems = Vec::new();
    for name in names {
        if captures.contains_key(&name) {
            continue;
        }
        if captures.len() >= INTERFACE_LIMIT {
            problems.push(format!(
                "more than {INTERFACE_LIMIT} interfaces: name those that matter in 'sensors: interfaces'"
            ));
            break;
        }
        match open(&name) {
            Ok(capture) => drop(captures.insert(name, capture)),
            Err(error) => problems.push(format!("cannot listen on '{name}': {error}")),
        }
    }
    problems
}

pub(super) fn wanted_names(wanted: &Interfaces) -> Result<Vec<Name>, String> {
    match wanted {
        Interfaces::Off => Ok(Vec::new()),
        Interfaces::Named(names) => Ok(names.clone()),
        Interfaces::Auto => {
            let devices =
                Device::list().map_err(|error| format!("cannot list interfaces: {error}"))?;
            Ok(devices
                .iter()
                .filter(|device| is_real(device))
                .map(|device| device.name.as_str().into())
                .collect())
        }
    }
}

/// Up, and an interface of IP: libpcap also lists `any`, USB, Bluetooth and netfilter queues.
fn is_real(device: &Device) -> bool {
    let flags = &device.flags;
    let pseudo = ["any", "usbmon", "bluetooth", "nflog", "nfqueue", "dbus-"];
    flags.is_up()
        && !flags.is_loopback()
        && !pseudo.iter().any(|prefix| device.name.starts_with(prefix))
}

fn open(name: &str) -> Result<(Capture<Active>, Link), String> {
    let words = |error: pcap::Error| why_not(name, &error);
    let capture = Capture::from_device(name)
        .and_then(|capture| {
            capture
                .promisc(false)
                .snaplen(SNAPLEN)
                .buffer_size(BUFFER_BYTES)
                .timeout(100)
                .open()
        })
        .map_err(words)?;
    let mut capture = capture.setnonblock().map_err(words)?;
    let number = capture.get_datalink().0;
    let link = Link::from_number(number)
        .ok_or_else(|| format!("its link type {number} is not understood"))?;
    capture
        .filter(&filter(), true)
        .map_err(|error| format!("its filter: {error}"))?;
    Ok((capture, link))
}

/// libpcap's words for an interface that is not there differ by version and right: the system is asked.
pub(super) fn why_not(name: &str, error: &pcap::Error) -> String {
    match if_nametoindex(name) {
        Err(Errno::ENODEV) => {
            "there is no such interface; 'ip link' lists those there are, name one in 'sensors: interfaces'"
                .to_owned()
        }
        Ok(_) | Err(_) => format!("{error}; run as root or with CAP_NET_RAW"),
    }
}

fn said<'a>(
    listening: impl Iterator<Item = &'a Name>,
    problems: &[String],
) -> Result<String, String> {
    let names: Vec<&str> = listening.map(|name| &**name).collect();
    let problems = problems.join("; ");
    match (names.is_empty(), problems.is_empty()) {
        (true, true) => Err("no interface is up; name one in 'sensors: interfaces'".to_owned()),
        (true, false) => Err(problems),
        (false, true) => Ok(format!("names and relays on {}", names.join(", "))),
        (false, false) => Ok(format!(
            "names and relays on {}; {problems}",
            names.join(", ")
        )),
    }
}

fn gap(kind: GapKind, events: u64, why: &str) -> Event {
    Event::Gap(Gap::new(SENSOR, kind, events, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use pcap::Linktype;

    /// Whether the kernel would let it pass.
    fn passes(frame: &[u8]) -> bool {
        let capture = Capture::dead(Linktype::ETHERNET).unwrap();
        capture.compile(&filter(), true).unwrap().filter(frame)
    }

    fn tcp(payload: &[u8], six: bool) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let ip = if six {
            ethernet.ipv6([0xfd; 16], [0x20; 16], 64)
        } else {
            ethernet.ipv4([10, 0, 0, 5], [203, 0, 113, 9], 64)
        };
        let options = [etherparse::TcpOptionElement::Timestamp(1, 2)];
        let mut frame = Vec::new();
        ip.tcp(40000, 443, 1, 9000)
            .options(&options)
            .unwrap()
            .write(&mut frame, payload)
            .unwrap();
        frame
    }

    fn udp(ports: (u16, u16)) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 5], [203, 0, 113, 9], 64)
            .udp(ports.0, ports.1)
            .write(&mut frame, &[0; 40])
            .unwrap();
        frame
    }

    #[test]
    fn the_kernel_passes_what_is_looked_at() {
        let first = [
            b"\x16\x03\x01\x02\x00\x01".as_slice(),
            b"CONNECT example.org:443 HTTP/1.1\r\n",
            b"PUT http://example.org/ HTTP/1.1\r\n",
            b"EHLO pacs1\r\n",
            &[5, 1, 0],
            &[4, 1, 1, 0xbb, 203, 0, 113, 9, 0],
            b"\x0bMSH|^~\\&|LIS",
            b"\x01\0\0\0\0\xcd\0\x01\0\0ORTHANC         WARD3           ",
            b"\x02\0\0\0\0\xcd\0\x01\0\0ORTHANC         WARD3           ",
            b"\x04\0\0\0\0\x5a\0\0\0\x56\x01\x03\0\0\0\0\x04\0\0\0\x4c\0\0\0\0\0\x02\0",
            b"\0\0\0\0\x04\0\0\0\x4c\0\0\0\0\0\x02\0",
        ];
        for payload in first {
            assert!(passes(&tcp(payload, false)), "{payload:?}");
            assert!(passes(&tcp(payload, true)), "{payload:?} over IPv6");
        }
        assert!(passes(&udp((53, 40000))));
        assert!(passes(&udp((40000, 53))));
    }

    #[test]
    fn the_kernel_holds_back_the_rest() {
        for payload in [
            b"".as_slice(),
            b"x",
            &[0; 1400],
            b"\x17\x03\x03\x05\x00data",
            b"\x04\0\0\0\x40\0\0\0\x3f\xfc\x01\x00a part of an image",
        ] {
            assert!(!passes(&tcp(payload, false)), "{payload:?}");
            assert!(!passes(&tcp(payload, true)), "{payload:?} over IPv6");
        }
        assert!(!passes(&udp((40000, 443))));
    }

    #[test]
    fn what_is_said_names_problems_beside_what_works() {
        let eth0: Name = "eth0".into();
        let problem = ["cannot listen on 'eth1': no".to_owned()];
        assert_eq!(
            said([&eth0].into_iter(), &problem).unwrap(),
            "names and relays on eth0; cannot listen on 'eth1': no"
        );
        assert_eq!(said([].into_iter(), &problem).unwrap_err(), problem[0]);
        assert!(
            said([].into_iter(), &[])
                .unwrap_err()
                .contains("no interface is up")
        );
    }

    #[test]
    fn an_interface_that_is_not_there_is_a_problem_with_its_name() {
        let wanted = Interfaces::Named(vec!["jaga-no-such".into()]);
        let problems = open_missing(&wanted, &mut BTreeMap::new());
        assert_eq!(problems.len(), 1);
        let expected = "cannot listen on 'jaga-no-such': there is no such interface; 'ip link'";
        assert!(problems[0].starts_with(expected), "{problems:?}");
    }
}
