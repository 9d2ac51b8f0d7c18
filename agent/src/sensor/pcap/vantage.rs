//! Which addresses are this side's: the point from which a capture is looked at.

use std::net::IpAddr;

use ipnet::IpNet;

/// The local networks, prepared for a look-up per packet.
#[derive(Debug, Clone, Default)]
pub struct Vantage {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Vantage {
    /// Everything in these networks is local.
    #[must_use]
    pub fn new(local: &[IpNet]) -> Self {
        let mut vantage = Self::default();
        for net in local {
            match net {
                IpNet::V4(net) => vantage
                    .v4
                    .push((net.netmask().to_bits(), net.network().to_bits())),
                IpNet::V6(net) => vantage
                    .v6
                    .push((net.netmask().to_bits(), net.network().to_bits())),
            }
        }
        vantage
    }

    /// Whether `address` is local.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                let bits = address.to_bits();
                self.v4.iter().any(|(mask, net)| bits & mask == *net)
            }
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                self.v6.iter().any(|(mask, net)| bits & mask == *net)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_its_networks_hold() {
        let nets = ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"].map(|net| net.parse().unwrap());
        let vantage = Vantage::new(&nets);
        let holds = |address: &str| vantage.holds(address.parse().unwrap());
        assert!(holds("10.255.0.1") && holds("192.0.2.7") && holds("fd00::1"));
        assert!(!holds("11.0.0.1") && !holds("192.0.2.8") && !holds("2001:db8::1"));
    }

    #[test]
    fn the_whole_internet_can_be_local() {
        let vantage = Vantage::new(&["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()]);
        assert!(vantage.holds("203.0.113.9".parse().unwrap()));
        assert!(vantage.holds("2001:db8::1".parse().unwrap()));
    }
}
