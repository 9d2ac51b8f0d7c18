//! Where a byte goes: contract, internal, relay or external.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Config, Contract, canonical};
use crate::event::{Flow, Stamp};
use crate::lineage::Member;
use crate::map::{Map, map};
use crate::names::{NOBODY, NameId, Names};
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

    /// The scope of bytes on a flow; `None` on this host itself. With the contract's index, if it is one.
    #[must_use]
    pub fn of(
        &mut self,
        config: &Config,
        names: &Names,
        flow: &Flow,
        member: Option<&Member>,
        wall: Option<Wall>,
        at: Stamp,
    ) -> Option<(Scope, Option<usize>)> {
        let remote = SocketAddr::new(canonical(flow.remote.ip()), flow.remote.port());
        if stays_here(canonical(flow.local.ip()), remote.ip()) {
            return None;
        }
        if let Some(index) = contract(&config.contracts, names, remote, member, wall) {
            return Some((Scope::Contract, Some(index)));
        }
        if !config.internal.iter().any(|net| net.contains(&remote.ip())) {
            return Some((Scope::External, None));
        }
        let seen = self.still_relays(remote, at);
        let named = config.relays.iter().any(|relay| relay.holds(remote));
        Some((
            if seen || named {
                Scope::Relay
            } else {
                Scope::Internal
            },
            None,
        ))
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

fn contract(
    contracts: &[Contract],
    names: &Names,
    remote: SocketAddr,
    member: Option<&Member>,
    wall: Option<Wall>,
) -> Option<usize> {
    let member = member?;
    contracts.iter().position(|contract| {
        contract.to.iter().any(|target| target.holds(remote))
            && is_who(contract, names, member)
            && is_in_time(contract, wall)
    })
}

/// In its hours, and not expired. A clock that was set a moment ago opens no hours: whoever sets it may want them.
fn is_in_time(contract: &Contract, wall: Option<Wall>) -> bool {
    let in_hours = |wall: Wall| match &contract.when {
        Some(when) => !wall.is_doubted && when.holds(wall.time),
        None => true,
    };
    let until = contract.until;
    match wall {
        Some(wall) => until.is_none_or(|until| wall.today() <= until) && in_hours(wall),
        None => until.is_none() && contract.when.is_none(),
    }
}

/// Everything that the contract names must hold. A contract that names nobody is nobody's.
fn is_who(contract: &Contract, names: &Names, member: &Member) -> bool {
    let who = &contract.who;
    let text = |id: NameId| (id != NOBODY).then(|| names.text(id));
    let glob = |glob: &Option<globset::GlobMatcher>, id| {
        glob.as_ref()
            .is_none_or(|glob| text(id).is_some_and(|name| glob.is_match(&**name)))
    };
    let name = |name: &Option<crate::event::Name>, id| {
        name.as_ref().is_none_or(|name| text(id) == Some(name))
    };
    let anybody = who.unit.is_none()
        && who.container.is_none()
        && who.exe.is_none()
        && who.user.is_none()
        && who.login.is_none();
    !anybody
        && glob(&who.unit, member.unit)
        && glob(&who.container, member.container)
        && glob(&who.exe, member.exe)
        && name(&who.user, member.user)
        && name(&who.login, member.login)
}
