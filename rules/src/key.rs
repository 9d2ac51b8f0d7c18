//! Per what a rule counts, as three numbers: keys are compared and stored by the hundred thousand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::canonical;
use crate::event::Name;
use crate::names::{NOBODY, NameId, Names};
use crate::observation::Observation;
use crate::rule::KeyField;

/// Fields that a rule may group by, at most.
pub const KEY_FIELDS: usize = 3;

/// The values of a rule's key fields, in the rule's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key([u128; KEY_FIELDS]);

/// The key that all further keys merge into once a table is full.
pub const OTHER_KEY: Key = Key([u128::MAX; KEY_FIELDS]);

impl Key {
    /// The key of what was seen.
    #[must_use]
    pub fn of(by: &[KeyField], seen: &Observation) -> Self {
        let mut parts = [0; KEY_FIELDS];
        for (part, field) in parts.iter_mut().zip(by) {
            *part = match field {
                KeyField::Store => number(seen.store),
                KeyField::Session => number(seen.session),
                KeyField::Exe => number(seen.exe),
                KeyField::User => number(seen.user),
                KeyField::Domain => number(seen.domain),
                KeyField::Interface => number(seen.interface),
                KeyField::Host => number(seen.host),
                KeyField::Sensor => number(seen.sensor),
                KeyField::Destination | KeyField::Peer => {
                    seen.remote.map_or(0, |remote| bits(remote.ip()))
                }
                KeyField::Network => seen.remote.map_or(0, |remote| bits(network(remote.ip()))),
            };
        }
        Self(parts)
    }

    /// The values as text, in the order of `by`.
    #[must_use]
    pub fn texts(&self, by: &[KeyField], names: &Names) -> Vec<(KeyField, Name)> {
        let text = |(field, part): (&KeyField, &u128)| (*field, self.text(*field, *part, names));
        by.iter().zip(&self.0).map(text).collect()
    }

    fn text(&self, field: KeyField, part: u128, names: &Names) -> Name {
        if *self == OTHER_KEY {
            return Name::from("other");
        }
        match field {
            KeyField::Destination | KeyField::Peer => address(part).to_string().into(),
            KeyField::Network => match address(part) {
                IpAddr::V4(net) => format!("{net}/24").into(),
                IpAddr::V6(net) => format!("{net}/48").into(),
            },
            _ => names
                .text(NameId(u32::try_from(part).unwrap_or(NOBODY.0)))
                .clone(),
        }
    }

    /// The key whose texts these are; `None` for a text that is no value of its field.
    #[must_use]
    pub fn parse(by: &[KeyField], texts: &[Name], names: &mut Names) -> Option<Self> {
        if by.len() != texts.len() || by.len() > KEY_FIELDS {
            return None;
        }
        let mut parts = [0; KEY_FIELDS];
        for ((part, field), text) in parts.iter_mut().zip(by).zip(texts) {
            *part = match field {
                KeyField::Destination | KeyField::Peer => bits(text.parse().ok()?),
                KeyField::Network => bits(text.split('/').next()?.parse().ok()?),
                _ => number(names.intern(text)),
            };
        }
        Some(Self(parts))
    }

    /// The value of `field`, if it is a name and the rule groups by it.
    #[must_use]
    pub fn name(&self, by: &[KeyField], field: KeyField) -> Option<NameId> {
        let index = by.iter().position(|of| *of == field)?;
        u32::try_from(self.0[index]).ok().map(NameId)
    }
}

fn number(name: NameId) -> u128 {
    u128::from(name.0)
}

/// IPv4 addresses as their IPv6 mapping, so that one number holds both.
fn bits(address: IpAddr) -> u128 {
    match canonical(address) {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(bits: u128) -> IpAddr {
    canonical(IpAddr::V6(Ipv6Addr::from_bits(bits)))
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
    fn networks() {
        let text = |address: &str| network(address.parse().expect("an address")).to_string();
        assert_eq!(text("203.0.113.9"), "203.0.113.0");
        assert_eq!(text("2001:db8:1:2::9"), "2001:db8:1::");
    }
}
