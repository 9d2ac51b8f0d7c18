//! Where names can be looked up so that nobody sees them: DNS over TLS and over HTTPS (RFC 7858, RFC 8484).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// DNS over TLS, and over QUIC (RFC 7858 3.1, RFC 9250 4.1.1).
const TLS: u16 = 853;

/// Names of public servers, as their operators publish them; what is below one counts as well.
const NAMES: [&str; 12] = [
    "adguard-dns.com",
    "cleanbrowsing.org",
    "cloudflare-dns.com",
    "dns.adguard.com",
    "dns.alidns.com",
    "dns.google",
    "dns.nextdns.io",
    "dns.sb",
    "dns0.eu",
    "doh.opendns.com",
    "one.one.one.one",
    "quad9.net",
];

/// Their addresses.
const ADDRESSES: [IpAddr; 16] = [
    IpAddr::V4(Ipv4Addr::new(1, 0, 0, 1)),
    IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)),
    IpAddr::V4(Ipv4Addr::new(94, 140, 14, 14)),
    IpAddr::V4(Ipv4Addr::new(94, 140, 15, 15)),
    IpAddr::V4(Ipv4Addr::new(149, 112, 112, 112)),
    IpAddr::V4(Ipv4Addr::new(208, 67, 220, 220)),
    IpAddr::V4(Ipv4Addr::new(208, 67, 222, 222)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8844)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888)),
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1001)),
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111)),
    IpAddr::V6(Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 0x9)),
    IpAddr::V6(Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 0xfe)),
];

/// Whether a service looks up names under encryption, by its address, its port and the name that it was called by.
#[must_use]
pub fn is_encrypted_dns(remote: SocketAddr, name: Option<&str>) -> bool {
    let is_name = |name: &str| {
        NAMES.iter().any(|known| {
            let above = name.strip_suffix(known);
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        })
    };
    match remote.port() {
        TLS => true,
        443 => name.is_some_and(is_name) || ADDRESSES.contains(&remote.ip()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(remote: &str, name: Option<&str>) -> bool {
        is_encrypted_dns(remote.parse().unwrap(), name)
    }

    #[test]
    fn by_port_by_name_and_by_address() {
        assert!(is("203.0.113.9:853", None));
        assert!(is("203.0.113.9:443", Some("mozilla.cloudflare-dns.com")));
        assert!(is("203.0.113.9:443", Some("dns.google")));
        assert!(is("1.1.1.1:443", None) && is("[2620:fe::fe]:443", None));
        assert!(!is("203.0.113.9:443", Some("notdns.google")));
        assert!(!is("1.1.1.1:53", None) && !is("203.0.113.9:443", None));
    }
}
