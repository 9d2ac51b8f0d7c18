//! Where names can be looked up so that nobody sees them: DNS over TLS and over HTTPS (RFC 7858, RFC 8484).

use std::net::{IpAddr, SocketAddr};

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
const ADDRESSES: [&str; 16] = [
    "1.0.0.1",
    "1.1.1.1",
    "8.8.4.4",
    "8.8.8.8",
    "9.9.9.9",
    "94.140.14.14",
    "94.140.15.15",
    "149.112.112.112",
    "208.67.220.220",
    "208.67.222.222",
    "2001:4860:4860::8844",
    "2001:4860:4860::8888",
    "2606:4700:4700::1001",
    "2606:4700:4700::1111",
    "2620:fe::9",
    "2620:fe::fe",
];

/// Whether a service looks up names under encryption, by its address, its port and the name that it was called by.
#[must_use]
pub fn is_encrypted_dns(remote: SocketAddr, name: Option<&str>) -> bool {
    let is_address = |address: IpAddr| ADDRESSES.iter().any(|known| known.parse() == Ok(address));
    let is_name = |name: &str| {
        NAMES.iter().any(|known| {
            let above = name.strip_suffix(known);
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        })
    };
    match remote.port() {
        TLS => true,
        443 => name.is_some_and(is_name) || is_address(remote.ip()),
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
