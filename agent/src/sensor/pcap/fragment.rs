//! The ports of fragmented packets: only the first fragment carries them.

use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::frame::Packet;

/// Fragmented packets that are remembered at once. At the limit one forgets another; the later fragments of the
/// forgotten are booked to port 0: no byte is lost.
const LIMIT: usize = 1024;

/// Ports by packet, each in the one place that its hash gives.
#[derive(Debug)]
pub struct Fragments {
    places: Vec<Option<(Id, (u16, u16))>>,
    hasher: RandomState,
}

/// What the parts of a packet have in common (RFC 791, 3.2; RFC 8200, 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Id {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    id: u32,
}

impl Default for Fragments {
    fn default() -> Self {
        Self {
            places: vec![None; LIMIT],
            hasher: RandomState::default(),
        }
    }
}

impl Fragments {
    /// The ports of `packet`, as far as they are known.
    pub fn ports(&mut self, packet: &Packet<'_>) -> (u16, u16) {
        let Some(fragment) = packet.fragment else {
            return packet.ports;
        };
        let id = Id {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            id: fragment.id,
        };
        let place = self.hasher.hash_one(id) as usize % LIMIT;
        if fragment.first {
            self.places[place] = Some((id, packet.ports));
            return packet.ports;
        }
        match self.places[place] {
            Some((known, ports)) if known == id => ports,
            _ => packet.ports,
        }
    }
}
