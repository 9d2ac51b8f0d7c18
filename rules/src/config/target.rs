//! Reads and shows addresses and networks, with a port or without.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

use super::{Target, canonical};
use crate::yaml::At;

impl FromStr for Target {
    type Err = String;

    /// `10.0.0.5`, `10.0.0.5:3128`, `10.0.0.0/8`, `fd00::/8`, `[fd00::1]:443`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                net: host(address.ip()),
                port: Some(address.port()).filter(|port| *port != 0),
            });
        }
        text.parse::<IpAddr>()
            .map(host)
            .or_else(|_| text.parse::<IpNet>().map(|net| net.trunc()))
            .map(|net| Self { net, port: None })
            .map_err(|_| no_target(text))
    }
}

fn no_target(text: &str) -> String {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let network = text.split_once('/').filter(|(_, prefix)| is_number(prefix));
    let address = network.and_then(|(address, _)| address.parse::<IpAddr>().ok());
    match address.map(|address| IpNet::from(address).max_prefix_len()) {
        Some(longest) => format!(
            "'{text}' has a prefix that there is not; write a number from 0 to {longest} after the '/'"
        ),
        None => {
            format!(
                "'{text}' is no address; write for instance '10.20.0.9:8000', '10.20.0.9' or '10.20.0.0/16'"
            )
        }
    }
}

fn host(address: IpAddr) -> IpNet {
    IpNet::from(canonical(address))
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.net.prefix_len() == self.net.max_prefix_len();
        match (self.port, whole) {
            (Some(port), _) => write!(out, "{}", SocketAddr::new(self.net.addr(), port)),
            (None, true) => write!(out, "{}", self.net.addr()),
            (None, false) => write!(out, "{}", self.net),
        }
    }
}

/// A network of the hospital. All addresses at once are refused: then nothing would ever leave.
pub fn network(at: At<'_>) -> Option<IpNet> {
    let target: Target = at.parse()?;
    if target.port.is_some() {
        return at.wrong("a network has no port", "remove ':…' from its end");
    }
    if target.net.prefix_len() == 0 {
        return at.wrong(
            format!("'{}' makes every address internal", target.net),
            "name the hospital's own networks",
        );
    }
    Some(target.net)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_back() {
        for text in [
            "10.0.0.5",
            "10.0.0.5:3128",
            "10.0.0.0/8",
            "fd00::/8",
            "[fd00::1]:443",
            "fd00::1",
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.to_string(), text);
        }
        assert_eq!(
            "10.1.2.3/8".parse::<Target>().unwrap().to_string(),
            "10.0.0.0/8"
        );
        assert_eq!(
            "::ffff:10.1.2.3".parse::<Target>().unwrap().to_string(),
            "10.1.2.3"
        );
        assert!("pacs1:104".parse::<Target>().is_err());
    }

    #[test]
    fn a_wrong_prefix_is_told_with_those_there_are() {
        for (text, longest) in [("10.0.0.0/33", 32), ("10.0.0.0/", 32), ("fd00::/129", 128)] {
            let error = text.parse::<Target>().unwrap_err();
            let expected = format!("; write a number from 0 to {longest} after the '/'");
            assert!(error.ends_with(&expected), "{error}");
        }
    }
}
