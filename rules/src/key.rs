//! Per what a rule counts, as a few numbers: keys are compared and stored by the hundred thousand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::canonical;
use crate::event::Name;
use crate::names::{NameId, Names};
use crate::observation::Observation;
use crate::rule::KeyField;

/// Fields that a rule may group by, at most.
pub const KEY_FIELDS: usize = 3;

/// The values of a rule's key fields, in the rule's order: names by number, and one remote address, which every
/// field that is an address reads its value from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key {
    names: [u32; KEY_FIELDS],
    address: [u64; 2],
}

/// The key that all further keys merge into once a table is full.
pub const OTHER_KEY: Key = Key {
    names: [u32::MAX; KEY_FIELDS],
    address: [u64::MAX; 2],
};

/// Its text, in every field.
const OTHER: &str = "other";

impl Key {
    /// The key of what was seen.
    #[must_use]
    pub fn of(by: &[KeyField], seen: &Observation) -> Self {
        let mut key = Self::default();
        for (name, field) in key.names.iter_mut().zip(by) {
            *name = match field {
                KeyField::Store => seen.store.0,
                KeyField::Session => seen.session.0,
                KeyField::Exe => seen.exe.0,
                KeyField::User => seen.user.0,
                KeyField::Domain => seen.domain.0,
                KeyField::Interface => seen.interface.0,
                KeyField::Host => seen.host.0,
                KeyField::Sensor => seen.sensor.0,
                KeyField::AeTitle => seen.ae_title.0,
                KeyField::Port => seen.port.0,
                KeyField::Destination | KeyField::Peer | KeyField::Network => 0,
            };
        }
        if let (Some(remote), true) = (seen.remote, by.iter().any(is_address)) {
            // A network beside an address would be told by the address: the finer field counts.
            let whole = by
                .iter()
                .any(|field| matches!(field, KeyField::Destination | KeyField::Peer));
            key.address = bits(if whole {
                remote.ip()
            } else {
                network(remote.ip())
            });
        }
        key
    }

    /// The values as text, in the order of `by`.
    #[must_use]
    pub fn texts(&self, by: &[KeyField], names: &Names) -> Vec<(KeyField, Name)> {
        by.iter()
            .zip(&self.names)
            .map(|(field, name)| (*field, self.text(*field, *name, names)))
            .collect()
    }

    fn text(&self, field: KeyField, name: u32, names: &Names) -> Name {
        if *self == OTHER_KEY {
            return Name::from(OTHER);
        }
        match field {
            KeyField::Destination | KeyField::Peer => address(self.address).to_string().into(),
            KeyField::Network => match network(address(self.address)) {
                IpAddr::V4(net) => format!("{net}/24").into(),
                IpAddr::V6(net) => format!("{net}/48").into(),
            },
            _ => names.text(NameId(name)).clone(),
        }
    }

    /// The key whose texts these are; `None` for a text that is no value of its field.
    #[must_use]
    pub fn parse(by: &[KeyField], texts: &[Name], names: &mut Names) -> Option<Self> {
        if by.len() != texts.len() || by.len() > KEY_FIELDS {
            return None;
        }
        let mut key = Self::default();
        for ((name, field), text) in key.names.iter_mut().zip(by).zip(texts) {
            match field {
                _ if is_address(field) && **text == *OTHER => return Some(OTHER_KEY),
                KeyField::Destination | KeyField::Peer => key.address = bits(text.parse().ok()?),
                KeyField::Network if key.address == [0; 2] => {
                    key.address = bits(text.split('/').next()?.parse().ok()?);
                }
                KeyField::Network => {}
                _ => *name = names.intern(text).0,
            }
        }
        Some(key)
    }

    /// The value of `field`, if it is a name and the rule groups by it.
    #[must_use]
    pub fn name(&self, by: &[KeyField], field: KeyField) -> Option<NameId> {
        let index = by.iter().position(|of| *of == field)?;
        (*self != OTHER_KEY).then_some(NameId(self.names[index]))
    }
}

fn is_address(field: &KeyField) -> bool {
    matches!(
        field,
        KeyField::Destination | KeyField::Peer | KeyField::Network
    )
}

/// IPv4 addresses as their IPv6 mapping, so that one form holds both.
fn bits(address: IpAddr) -> [u64; 2] {
    let bits = match canonical(address) {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    [(bits >> 64) as u64, bits as u64]
}

fn address([high, low]: [u64; 2]) -> IpAddr {
    canonical(IpAddr::V6(Ipv6Addr::from_bits(
        u128::from(high) << 64 | u128::from(low),
    )))
}

fn network(address: IpAddr) -> IpAddr {
    match canonical(address) {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & !0xff)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> 48))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Subject;

    #[test]
    fn a_key_survives_its_text() {
        let mut names = Names::new(1);
        for remote in [
            "203.0.113.9:443",
            "[::ffff:203.0.113.9]:443",
            "[2001:db8:1:2::9]:443",
        ] {
            let mut seen = Observation::new(Subject::Send);
            seen.remote = remote.parse().ok();
            seen.session = names.intern(&"login:alice".into());
            let by = [KeyField::Session, KeyField::Destination, KeyField::Network];
            let key = Key::of(&by, &seen);
            let texts: Vec<Name> = key
                .texts(&by, &names)
                .into_iter()
                .map(|(_, text)| text)
                .collect();
            assert_eq!(Key::parse(&by, &texts, &mut names), Some(key), "{texts:?}");
        }
    }

    #[test]
    fn what_was_merged_survives_its_text() {
        let by = [KeyField::Session, KeyField::Destination];
        let texts: Vec<Name> = OTHER_KEY
            .texts(&by, &Names::new(1))
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        assert_eq!(Key::parse(&by, &texts, &mut Names::new(1)), Some(OTHER_KEY));
    }

    #[test]
    fn networks() {
        let text = |address: &str| network(address.parse().expect("an address")).to_string();
        assert_eq!(text("203.0.113.9"), "203.0.113.0");
        assert_eq!(text("2001:db8:1:2::9"), "2001:db8:1::");
    }
}
