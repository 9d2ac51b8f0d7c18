//! Where a byte goes: to the hospital itself, over a relay, or outside.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Config, canonical};
use crate::event::{Flow, Stamp};
use crate::map::{Map, map};
use crate::rule::Scope;

/// Addresses seen to be spoken to as relays, at the most; beyond, new ones are not added and counted.
pub const RELAYS_LIMIT: usize = 4_096;
/// A relay that was seen counts as one for this long after it was last spoken to, nanoseconds: 24 h.
const RELAY_LIFE: i64 = 24 * 3600 * crate::event::SECOND;

/// The time that a clock on the wall shows, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Wall {
    /// The time.
    pub time: jiff::Timestamp,
    /// The clock was set a short while ago.
    pub is_doubted: bool,
}

impl Wall {
    /// The day, UTC.
    #[must_use]
    pub fn today(self) -> jiff::civil::Date {
        self.time.to_zoned(jiff::tz::TimeZone::UTC).date()
    }
}

/// What the configuration and the wire tell about addresses.
#[derive(Debug)]
pub struct Scopes {
    relays_seen: Map<SocketAddr, Stamp>,
    /// Relays that did not fit.
    pub refused: u64,
}

impl Scopes {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            relays_seen: map(seed),
            refused: 0,
        }
    }

    /// An address was spoken to as a relay.
    pub fn relay(&mut self, address: SocketAddr, at: Stamp) {
        let address = SocketAddr::new(canonical(address.ip()), address.port());
        if self.relays_seen.len() >= RELAYS_LIMIT && !self.relays_seen.contains_key(&address) {
            // A flood of fresh relays pushes out none that is in use.
            self.relays_seen
                .retain(|_, last| at.since(*last) < RELAY_LIFE);
        }
        if self.relays_seen.len() >= RELAYS_LIMIT && !self.relays_seen.contains_key(&address) {
            self.refused += 1;
            return;
        }
        self.relays_seen.insert(address, at);
    }

    /// The scope of bytes on a flow that are under no contract; `None` on this host itself.
    #[must_use]
    pub fn of(&mut self, config: &Config, flow: &Flow, at: Stamp) -> Option<Scope> {
        let remote = SocketAddr::new(canonical(flow.remote.ip()), flow.remote.port());
        if stays_here(canonical(flow.local.ip()), remote.ip()) {
            return None;
        }
        if !config.internal.iter().any(|net| net.contains(&remote.ip())) {
            return Some(Scope::External);
        }
        let seen = self.still_relays(remote, at);
        let named = config.relays.iter().any(|relay| relay.holds(remote));
        Some(if seen || named {
            Scope::Relay
        } else {
            Scope::Internal
        })
    }

    /// The scope of bytes of nobody known, by their address alone; `None` for loopback. What no router passes on stays
    /// inside.
    #[must_use]
    pub fn of_address(config: &Config, address: IpAddr) -> Option<Scope> {
        let address = canonical(address);
        let named = config
            .relays
            .iter()
            .any(|relay| relay.net.contains(&address));
        if address.is_loopback() {
            None
        } else if stays_on_the_link(address) {
            Some(Scope::Internal)
        } else if !config.internal.iter().any(|net| net.contains(&address)) {
            Some(Scope::External)
        } else if named {
            Some(Scope::Relay)
        } else {
            Some(Scope::Internal)
        }
    }

    /// A tunnel greets once and may live for days: what goes through it keeps it known.
    fn still_relays(&mut self, remote: SocketAddr, at: Stamp) -> bool {
        match self.relays_seen.get_mut(&remote) {
            Some(last) if at.since(*last) < RELAY_LIFE => {
                *last = at;
                true
            }
            Some(_) | None => false,
        }
    }
}

/// Multicast and link-local addresses.
fn stays_on_the_link(address: IpAddr) -> bool {
    address.is_multicast()
        || match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        }
}

fn stays_here(local: IpAddr, remote: IpAddr) -> bool {
    remote.is_loopback() || (local == remote && !local.is_unspecified())
}
