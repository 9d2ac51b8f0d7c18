//! Addresses and protocols between their types and the plain numbers that the table keeps.

use std::net::{IpAddr, Ipv6Addr};

use jaga_rules::event::Protocol;

use crate::sensor::pcap::frame::number;

pub fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

pub fn address(octets: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(octets).to_canonical()
}

pub const fn protocol(number: u8) -> Protocol {
    match number {
        number::TCP => Protocol::Tcp,
        number::UDP => Protocol::Udp,
        number::ICMP => Protocol::Icmp,
        other => Protocol::Other(other),
    }
}
