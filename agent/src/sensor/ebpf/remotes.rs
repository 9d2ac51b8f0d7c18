//! Tells the kernel side at which addresses stores lie on other hosts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jaga_rules::config::Target;
use libbpf_rs::{MapCore, MapFlags};

use super::attach::Attached;
use super::roots::set;
use crate::sensor::host::source::{Places, Root};

/// `struct range`: length of the prefix, address; IPv4 within ::ffff:0:0/96.
type Range = [u8; 20];

/// `struct remote`: the store's index, and the port, 0 for any.
type Place = [u8; 8];

/// Keeps the kernel's list of remote stores.
#[derive(Debug)]
pub struct Remotes {
    attached: Arc<Attached>,
    placed: BTreeMap<Range, Place>,
}

impl Remotes {
    /// None yet.
    #[must_use]
    pub fn new(attached: Arc<Attached>) -> Self {
        Self {
            attached,
            placed: BTreeMap::new(),
        }
    }
}

impl Places for Remotes {
    fn place(&mut self, _: &[Root]) -> Result<(), String> {
        Ok(()) // they have no place on this host
    }

    fn remotes(&mut self, remotes: &[(Target, u32)]) -> Result<(), String> {
        let wanted: BTreeMap<Range, Place> = remotes
            .iter()
            .map(|(target, store)| (key(target.net), place(*store, target.port)))
            .collect();
        let map = self.attached.map("remotes")?;
        for range in self
            .placed
            .keys()
            .filter(|range| !wanted.contains_key(*range))
        {
            map.delete(range)
                .map_err(|error| format!("cannot drop a remote store's address: {error}"))?;
        }
        for (range, store) in &wanted {
            map.update(range, store, MapFlags::ANY).map_err(|error| {
                format!("cannot tell the kernel a remote store's address: {error}")
            })?;
        }
        self.placed = wanted;
        let any = u32::from(!self.placed.is_empty());
        set(self.attached.map("settings")?, &any.to_ne_bytes())
    }
}

fn place(store: u32, port: Option<u16>) -> Place {
    let mut place = [0; 8];
    place[..4].copy_from_slice(&store.to_ne_bytes());
    place[4..].copy_from_slice(&u32::from(port.unwrap_or(0)).to_ne_bytes());
    place
}

fn key(range: IpNet) -> Range {
    let (bits, address) = match range.network() {
        IpAddr::V4(v4) => (u32::from(range.prefix_len()) + 96, v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => (u32::from(range.prefix_len()), v6),
    };
    let mut key = [0; 20];
    key[..4].copy_from_slice(&bits.to_ne_bytes());
    key[4..].copy_from_slice(&address.octets());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_lies_within_ipv6() {
        let key = |text: &str| key(text.parse().unwrap());
        assert_eq!(key("10.1.2.3/8")[..4], 104_u32.to_ne_bytes());
        assert_eq!(key("10.1.2.3/8")[14..], [255, 255, 10, 0, 0, 0]);
        assert_eq!(
            key("fd00::1/128")[..6],
            [&128_u32.to_ne_bytes()[..], &[0xfd, 0]].concat()
        );
    }
}
