//! Which interface a local address belongs to.

use std::net::IpAddr;

use hashbrown::HashMap;
use jaga_rules::event::Name;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

/// Addresses of this network namespace, looked up again at most once a round, when an address is new.
#[derive(Debug, Default)]
pub struct Addresses {
    names: HashMap<IpAddr, Name>,
    fresh: bool,
}

impl Addresses {
    /// A new round: an unknown address may be looked for again.
    pub fn next_round(&mut self) {
        self.fresh = false;
    }

    /// The interface with this address.
    pub fn name(&mut self, address: IpAddr) -> Option<Name> {
        if !self.names.contains_key(&address) && !self.fresh {
            self.names = addresses().unwrap_or_default();
            self.fresh = true;
        }
        self.names.get(&address).cloned()
    }
}

fn addresses() -> nix::Result<HashMap<IpAddr, Name>> {
    let all = getifaddrs()?;
    Ok(all
        .filter_map(|entry| Some((ip(&entry.address?)?, entry.interface_name.into())))
        .collect())
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_a_name_and_a_strange_address_none() {
        let mut interfaces = Addresses::default();
        let name = |interfaces: &mut Addresses, text: &str| interfaces.name(text.parse().unwrap());
        assert_eq!(name(&mut interfaces, "127.0.0.1").as_deref(), Some("lo"));
        assert_eq!(name(&mut interfaces, "203.0.113.9"), None);
    }
}
