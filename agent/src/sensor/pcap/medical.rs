//! What medical systems say to each other, as facts: associations of DICOM, messages of HL7. No payload is kept.

use std::net::{IpAddr, SocketAddr};

use jaga_rules::event::{Dicom, Fact, Flow, Name, Opener, Protocol};

use super::dicom::{self, Message};
use super::flow::{TICKS_PER_SECOND, Tick};
use super::frame::{Packet, number};
use super::hl7;
use super::vantage::Vantage;

/// Associations whose titles are remembered. At the limit the one that was silent for longest goes: what it asks for later
/// is told without titles.
const ASSOCIATIONS_LIMIT: usize = 1_024;

/// An association that nothing was heard of for so long is over.
const SILENT_TICKS: Tick = 3_600 * TICKS_PER_SECOND;

/// Facts of one drain at the most; beyond, further ones are dropped and counted.
const FACTS_LIMIT: usize = 1_024;

/// Titles of one drain that objects shall be moved to, for each association; beyond, they are told as one, `(other)`.
const DESTINATIONS_LIMIT: usize = 64;

/// Gathers facts.
#[derive(Debug, Default)]
pub struct Medical {
    associations: Vec<Association>,
    dicom: Vec<Dicom>,
    hl7: Vec<(Flow, u64)>,
    dropped: u64,
}

#[derive(Debug)]
struct Association {
    client: SocketAddr,
    server: SocketAddr,
    calling: Name,
    called: Name,
    /// The server took it: who only calls, at a port that nobody listens on, is heard of by nobody.
    is_open: bool,
    last: Tick,
}

impl Medical {
    /// Takes a packet of which one end is local.
    pub fn packet(&mut self, packet: &Packet<'_>, local: &Vantage, now: Tick) {
        if packet.protocol != number::TCP || packet.payload.is_empty() {
            return;
        }
        let from = SocketAddr::new(packet.source, packet.ports.0);
        let to = SocketAddr::new(packet.destination, packet.ports.1);
        for message in dicom::messages(packet.payload) {
            self.associated(message, (from, to), local, now);
        }
        let messages = hl7::messages(packet.payload);
        if messages > 0 && local.holds(from.ip()) {
            let (client, server) = by_port(from, to);
            self.messages(flow(client, server, local), messages);
        }
    }

    /// Facts since the last call.
    pub fn take(&mut self) -> impl Iterator<Item = Fact> {
        let dicom = std::mem::take(&mut self.dicom).into_iter();
        let hl7 = std::mem::take(&mut self.hl7).into_iter();
        dicom
            .map(Fact::Dicom)
            .chain(hl7.map(|(flow, messages)| Fact::Hl7 { flow, messages }))
    }

    /// Facts dropped at the limit since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn associated(
        &mut self,
        message: Message,
        (from, to): (SocketAddr, SocketAddr),
        local: &Vantage,
        now: Tick,
    ) {
        if let Message::Associate { calling, called } = &message {
            return self.open(Association {
                client: from,
                server: to,
                calling: calling.as_str().into(),
                called: called.as_str().into(),
                is_open: false,
                last: now,
            });
        }
        let ends = [(from, to), (to, from)];
        let known = self
            .associations
            .iter_mut()
            .find(|of| ends.contains(&(of.client, of.server)));
        let (client, server, calling, called) = match known {
            Some(of) => {
                of.last = now;
                of.is_open |= message == Message::Accept && of.server == from;
                if !of.is_open {
                    return;
                }
                (of.client, of.server, of.calling.clone(), of.called.clone())
            }
            None if message == Message::Accept => return,
            None => {
                let (client, server) = by_port(from, to);
                (client, server, "".into(), "".into())
            }
        };
        let Some(fact) = self.fact(flow(client, server, local), calling, called) else {
            return;
        };
        match message {
            Message::Associate { .. } | Message::Accept => {}
            Message::Store => fact.stores += 1,
            Message::Get => fact.gets += 1,
            Message::Move { destination } => moved(&mut fact.moves, destination.into()),
        }
    }

    fn open(&mut self, association: Association) {
        let now = association.last;
        let ends = (association.client, association.server);
        self.associations.retain(|of| {
            (of.client, of.server) != ends && now.saturating_sub(of.last) < SILENT_TICKS
        });
        if self.associations.len() >= ASSOCIATIONS_LIMIT {
            let oldest =
                (0..self.associations.len()).min_by_key(|place| self.associations[*place].last);
            oldest.map(|place| self.associations.swap_remove(place));
        }
        self.associations.push(association);
    }

    /// What is told of an association, made if need be.
    fn fact(&mut self, flow: Flow, calling: Name, called: Name) -> Option<&mut Dicom> {
        let same = |of: &Dicom| of.flow == flow && of.calling == calling && of.called == called;
        if let Some(place) = self.dicom.iter().position(same) {
            return self.dicom.get_mut(place);
        }
        if self.dicom.len() >= FACTS_LIMIT {
            self.dropped += 1;
            return None;
        }
        self.dicom.push(Dicom {
            flow,
            calling,
            called,
            stores: 0,
            gets: 0,
            moves: Vec::new(),
        });
        self.dicom.last_mut()
    }

    fn messages(&mut self, flow: Flow, messages: u64) {
        if let Some((_, count)) = self.hl7.iter_mut().find(|(of, _)| *of == flow) {
            *count += messages;
        } else if self.hl7.len() < FACTS_LIMIT {
            self.hl7.push((flow, messages));
        } else {
            self.dropped += 1;
        }
    }
}

fn moved(moves: &mut Vec<(Name, u64)>, destination: Name) {
    let destination = if moves.len() < DESTINATIONS_LIMIT {
        destination
    } else {
        "(other)".into()
    };
    match moves.iter_mut().find(|(to, _)| *to == destination) {
        Some((_, count)) => *count += 1,
        None => moves.push((destination, 1)),
    }
}

/// Client and server, where the opening was not seen: whoever opens has the higher port.
fn by_port(one: SocketAddr, other: SocketAddr) -> (SocketAddr, SocketAddr) {
    if one.port() >= other.port() {
        (one, other)
    } else {
        (other, one)
    }
}

/// As sends are told: from this host's end, without the port of who opened it.
fn flow(client: SocketAddr, server: SocketAddr, local: &Vantage) -> Flow {
    let any = |address: IpAddr| SocketAddr::new(address, 0);
    let (local, remote, opener) = if local.holds(client.ip()) {
        (any(client.ip()), server, Opener::Local)
    } else {
        (server, any(client.ip()), Opener::Remote)
    };
    Flow {
        protocol: Protocol::Tcp,
        local,
        remote,
        opener,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "10.0.0.5:4242";
    const THEIRS: &str = "10.0.3.9:51000";

    fn send(medical: &mut Medical, from: &str, to: &str, payload: &[u8]) {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let packet = Packet {
            source: from.ip(),
            destination: to.ip(),
            protocol: number::TCP,
            ports: (from.port(), to.port()),
            payload_bytes: payload.len() as u32,
            payload,
            tcp: None,
            icmp: None,
            fragment: None,
        };
        let local = Vantage::new(&["10.0.0.5/32".parse().unwrap()]);
        medical.packet(&packet, &local, 0);
    }

    fn opening(called: &str, calling: &str) -> Vec<u8> {
        let titles = format!("{called:16}{calling:16}");
        [&[1, 0, 0, 0, 0, 36, 0, 1, 0, 0], titles.as_bytes()].concat()
    }

    const ACCEPT: [u8; 10] = [2, 0, 0, 0, 0, 4, 0, 1, 0, 0];

    /// A C-MOVE to `ROGUE`.
    fn move_request() -> Vec<u8> {
        let length = [0, 0, 0, 0, 4, 0, 0, 0, 24, 0, 0, 0];
        let field = [0, 0, 0, 1, 2, 0, 0, 0, 0x21, 0];
        let to = [0, 0, 0, 6, 6, 0, 0, 0];
        [length.as_slice(), &field, &to, b"ROGUE "].concat()
    }

    fn told(medical: &mut Medical) -> Vec<Dicom> {
        let dicom = |fact| match fact {
            Fact::Dicom(dicom) => dicom,
            other => panic!("{other:?}"),
        };
        medical.take().map(dicom).collect()
    }

    #[test]
    fn an_association_keeps_its_titles_over_drains() {
        let mut medical = Medical::default();
        send(&mut medical, THEIRS, OURS, &opening("ORTHANC", "WARD3"));
        send(&mut medical, THEIRS, OURS, &ACCEPT);
        assert!(told(&mut medical).is_empty(), "nobody took it");
        send(&mut medical, OURS, THEIRS, &ACCEPT);
        let opened = told(&mut medical);
        assert_eq!(opened.len(), 1);
        assert_eq!(
            (&*opened[0].calling, &*opened[0].called),
            ("WARD3", "ORTHANC")
        );
        assert_eq!(opened[0].flow.opener, Opener::Remote);
        assert_eq!(opened[0].flow.local, OURS.parse().unwrap());
        assert_eq!(opened[0].flow.remote, "10.0.3.9:0".parse().unwrap());
        for _ in 0..2 {
            send(&mut medical, THEIRS, OURS, &move_request());
        }
        let moved = told(&mut medical);
        assert_eq!(moved[0].moves, [("ROGUE".into(), 2)]);
        assert_eq!(&*moved[0].calling, "WARD3");
        assert!(told(&mut medical).is_empty());
    }

    #[test]
    fn one_whose_opening_was_not_seen_has_no_titles() {
        let mut medical = Medical::default();
        send(&mut medical, THEIRS, OURS, &move_request());
        let moved = told(&mut medical);
        assert_eq!((moved[0].moves.len(), &*moved[0].calling), (1, ""));
        assert_eq!(moved[0].flow.opener, Opener::Remote);
    }

    #[test]
    fn what_others_make_of_it_is_bounded() {
        let mut medical = Medical::default();
        for port in 1_024..6_000 {
            let from = format!("10.0.3.9:{port}");
            send(
                &mut medical,
                &from,
                OURS,
                &opening("ORTHANC", &port.to_string()),
            );
            send(&mut medical, OURS, &from, &ACCEPT);
        }
        assert_eq!(medical.associations.len(), ASSOCIATIONS_LIMIT);
        assert_eq!(told(&mut medical).len(), FACTS_LIMIT);
        assert_eq!(medical.take_dropped(), 4_976 - FACTS_LIMIT as u64);
    }

    #[test]
    fn messages_that_leave_are_counted() {
        let mut medical = Medical::default();
        let message = b"\x0bMSH|^~\\&|LIS\rPID|1\r\x1c\r";
        send(&mut medical, "10.0.0.5:40000", "10.2.0.7:2575", message);
        send(&mut medical, "10.2.0.7:2575", "10.0.0.5:40000", message);
        let facts: Vec<Fact> = medical.take().collect();
        let [Fact::Hl7 { flow, messages }] = &facts[..] else {
            panic!("{facts:?}");
        };
        assert_eq!((*messages, flow.remote.port()), (1, 2_575));
    }
}
