//! What addresses are called: DNS answers and TLS server names, for display and for grouping by domain.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::config::canonical;
use crate::event::{Name, SECOND, Stamp};
use crate::map::{Map, map};

/// Addresses with a name, at the most; beyond, the oldest is forgotten.
pub const REMOTE_NAMES_LIMIT: usize = 65_536;
/// A name is forgotten this long after it was learnt, nanoseconds: 24 h.
const NAME_LIFE: i64 = 24 * 3600 * SECOND;

/// The last name seen of each address.
#[derive(Debug)]
pub struct RemoteNames {
    names: Map<IpAddr, (Stamp, Name)>,
    order: VecDeque<(Stamp, IpAddr)>,
}

impl RemoteNames {
    /// None known.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            names: map(seed),
            order: VecDeque::new(),
        }
    }

    /// An address was called by a name.
    pub fn learn(&mut self, address: IpAddr, name: &Name, at: Stamp) {
        self.forget(at);
        let address = canonical(address);
        if let Some((_, known)) = self.names.get_mut(&address) {
            known.clone_from(name);
            return;
        }
        self.names.insert(address, (at, name.clone()));
        self.order.push_back((at, address));
    }

    /// The name of an address.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<&Name> {
        self.names.get(&canonical(address)).map(|(_, name)| name)
    }

    fn forget(&mut self, at: Stamp) {
        while let Some((learnt, address)) = self.order.front().copied() {
            if at.since(learnt) < NAME_LIFE && self.order.len() < REMOTE_NAMES_LIMIT {
                return;
            }
            self.order.pop_front();
            self.names.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_expire() {
        let mut names = RemoteNames::new(1);
        for number in 0..REMOTE_NAMES_LIMIT as u128 + 10 {
            names.learn(
                std::net::Ipv6Addr::from_bits(number << 64).into(),
                &"a.example".into(),
                Stamp(0),
            );
        }
        assert_eq!(names.names.len(), REMOTE_NAMES_LIMIT);
        names.learn(
            IpAddr::from([203, 0, 113, 9]),
            &"b.example".into(),
            Stamp(NAME_LIFE),
        );
        assert_eq!(names.names.len(), 1);
        let mapped: IpAddr = "::ffff:203.0.113.9".parse().expect("an address");
        assert_eq!(names.of(mapped).map(|name| &**name), Some("b.example"));
    }
}
