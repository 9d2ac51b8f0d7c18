//! Who opened a connection whose beginning was not seen: its ports tell.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;

use jaga_rules::event::{Flow, Opener, Protocol};

/// What tells the opener of a connection whose beginning was not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// TCP ports that this host's namespace listened on when the sensor started.
    pub listening: BTreeSet<u16>,
    /// Ports that the kernel hands out (`ip_local_port_range`).
    pub ephemeral: RangeInclusive<u16>,
}

impl Ports {
    /// As they are now, in the calling thread's network namespace.
    #[must_use]
    pub fn of_this_host() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"].map(read);
        let range = read("/proc/sys/net/ipv4/ip_local_port_range");
        Self {
            listening: tables.iter().flat_map(|text| listening(text)).collect(),
            ephemeral: ephemeral(&range),
        }
    }

    /// Settles an unknown opener, and zeroes the port that then is no service's.
    #[must_use]
    pub fn settle(&self, mut flow: Flow) -> Flow {
        if flow.opener == Opener::Unknown && flow.protocol == Protocol::Tcp {
            let port = flow.local.port();
            if self.listening.contains(&port) || !self.ephemeral.contains(&port) {
                flow.opener = Opener::Remote;
                flow.remote.set_port(0);
            } else {
                flow.opener = Opener::Local;
                flow.local.set_port(0);
            }
        }
        flow
    }
}

/// Local ports of the listening sockets in the text of `/proc/net/tcp` or `/proc/net/tcp6`
/// (Documentation/networking/proc_net_tcp.rst: state 0A listens).
pub fn listening(text: &str) -> impl Iterator<Item = u16> {
    text.lines().skip(1).filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (_, port) = words.next()?.rsplit_once(':')?;
        let state = words.nth(1)?;
        (state == "0A")
            .then(|| u16::from_str_radix(port, 16).ok())
            .flatten()
    })
}

/// The text of `/proc/sys/net/ipv4/ip_local_port_range`; the kernel's default if it is unreadable.
#[must_use]
pub fn ephemeral(text: &str) -> RangeInclusive<u16> {
    let mut ports = text.split_ascii_whitespace().map(str::parse);
    match (ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last))) => first..=last,
        _ => 32768..=60999,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    #[test]
    fn an_old_connection_is_judged_by_its_local_port() {
        let ports = Ports {
            listening: BTreeSet::from([40000]),
            ephemeral: 32768..=60999,
        };
        let opener = |port: u16| {
            ports
                .settle(Flow {
                    protocol: Protocol::Tcp,
                    local: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
                    remote: "203.0.113.9:50000".parse().unwrap(),
                    opener: Opener::Unknown,
                })
                .opener
        };
        assert_eq!(opener(443), Opener::Remote);
        assert_eq!(opener(40000), Opener::Remote);
        assert_eq!(opener(40001), Opener::Local);
    }

    #[test]
    fn listening_ports_of_proc_net_tcp() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
            0: 00000000:0016 00000000:0000 0A 00000000:00000000\n   \
            1: 0100007F:A3F1 0100007F:0016 01 00000000:00000000\n   \
            2: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0\n";
        assert_eq!(listening(text).collect::<Vec<_>>(), [22, 8080]);
        assert_eq!(listening("garbage\n: \n").count(), 0);
    }

    #[test]
    fn the_ephemeral_range_has_a_default() {
        assert_eq!(ephemeral("1024\t65000\n"), 1024..=65000);
        assert_eq!(ephemeral(""), 32768..=60999);
    }
}
