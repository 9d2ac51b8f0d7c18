//! DNS answers: which addresses were given for which name.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::RData;
use simple_dns::{Name, Packet, PacketFlag};

/// Port of DNS.
pub const PORT: u16 = 53;

/// More records in one answer than this are not looked at: no resolver sends them, and each costs memory.
const RECORD_LIMIT: u16 = 256;

/// Aliases (CNAME) that are followed for one address.
const ALIAS_LIMIT: usize = 16;

/// The addresses that a DNS response gives, each with the name that was asked for: the first of its chain of
/// aliases. Empty if it is no response, or one that cannot be read whole (cut, hostile).
#[must_use]
pub fn names(message: &[u8]) -> Vec<(IpAddr, String)> {
    if records(message) > RECORD_LIMIT {
        return Vec::new();
    }
    let Ok(packet) = Packet::parse(message) else {
        return Vec::new();
    };
    if !packet.has_flags(PacketFlag::RESPONSE) {
        return Vec::new();
    }
    let mut aliases = BTreeMap::new();
    let mut addresses = Vec::new();
    for answer in &packet.answers {
        let owner = text(&answer.name);
        match &answer.rdata {
            RData::A(a) => addresses.push((Ipv4Addr::from(a.address).into(), owner)),
            RData::AAAA(a) => addresses.push((Ipv6Addr::from(a.address).into(), owner)),
            RData::CNAME(target) => drop(aliases.insert(text(&target.0), owner)),
            _ => {}
        }
    }
    for (_, name) in &mut addresses {
        *name = asked(&aliases, std::mem::take(name));
    }
    addresses.retain(|(_, name)| !name.is_empty());
    addresses
}

/// The labels of the first name that a message asks for, raw bytes as they came; absent if it is a response, asks for
/// nothing, or is cut (RFC 1035, 4.1.2).
#[must_use]
pub fn question(message: &[u8]) -> Option<Vec<&[u8]>> {
    let asks = message.get(4..6)? != [0, 0];
    if is_response(message) || !asks {
        return None;
    }
    let mut rest = message.get(12..)?;
    let mut labels = Vec::new();
    loop {
        let (length, behind) = rest.split_first()?;
        match length {
            // The type and the class follow.
            0 => return (behind.len() >= 4).then_some(labels),
            // A name of 255 bytes has 127 labels at the most; pointers there are none before the first name.
            1..=63 if labels.len() < 127 => {
                let (label, behind) = behind.split_at_checked(usize::from(*length))?;
                labels.push(label);
                rest = behind;
            }
            _ => return None,
        }
    }
}

/// Whether a message says that it is a response.
#[must_use]
pub fn is_response(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

/// Records that the message says it has (RFC 1035, 4.1.1), all sections together.
fn records(message: &[u8]) -> u16 {
    [4, 6, 8, 10]
        .iter()
        .filter_map(|at| message.get(*at..)?.first_chunk().copied())
        .map(u16::from_be_bytes)
        .fold(0, u16::saturating_add)
}

/// Goes from an alias's target back to the name that led to it.
fn asked(aliases: &BTreeMap<String, String>, mut name: String) -> String {
    for _ in 0..ALIAS_LIMIT {
        match aliases.get(&name) {
            Some(alias) => name.clone_from(alias),
            None => break,
        }
    }
    name
}

fn text(name: &Name<'_>) -> String {
    let mut text = String::new();
    for label in name.as_bytes() {
        if !text.is_empty() {
            text.push('.');
        }
        escape_into(label, &mut text);
    }
    text
}

/// Writes a name's bytes in lower case; what is not printable ASCII, a dot inside a label among it, as `\xHH`.
pub fn escape_into(label: &[u8], text: &mut String) {
    for byte in label {
        match byte {
            b'.' | b'\\' => escape(*byte, text),
            byte if byte.is_ascii_graphic() => text.push(char::from(byte.to_ascii_lowercase())),
            byte => escape(*byte, text),
        }
    }
}

fn escape(byte: u8, text: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use simple_dns::rdata::{A, AAAA, CNAME, TXT};
    use simple_dns::{CLASS, Label, ResourceRecord};

    fn record<'a>(name: &'a str, data: RData<'a>) -> ResourceRecord<'a> {
        ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, 60, data)
    }

    fn a(address: &str) -> RData<'static> {
        RData::A(A {
            address: address.parse::<Ipv4Addr>().unwrap().to_bits(),
        })
    }

    fn cname(target: &str) -> RData<'_> {
        RData::CNAME(CNAME(Name::new_unchecked(target)))
    }

    fn response(answers: Vec<ResourceRecord<'_>>) -> Vec<u8> {
        let mut packet = Packet::new_reply(7);
        packet.answers = answers;
        packet.build_bytes_vec_compressed().unwrap()
    }

    fn check(message: &[u8], expected: &[&str]) {
        let told: Vec<String> = names(message)
            .into_iter()
            .map(|(address, name)| format!("{address} {name}"))
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn addresses_get_the_name_that_was_asked() {
        let six = AAAA {
            address: "2001:db8::1".parse::<Ipv6Addr>().unwrap().to_bits(),
        };
        let message = response(vec![
            record("Store.Example.org", cname("cdn.example.net")),
            record("cdn.example.net", cname("edge7.example.com")),
            record("edge7.example.com", a("203.0.113.9")),
            record("edge7.example.com", a("203.0.113.10")),
            record("other.example", RData::AAAA(six)),
            record(
                "x.example",
                RData::TXT(TXT::new().with_string("v=1").unwrap()),
            ),
        ]);
        check(
            &message,
            &[
                "203.0.113.9 store.example.org",
                "203.0.113.10 store.example.org",
                "2001:db8::1 other.example",
            ],
        );
    }

    #[test]
    fn raw_bytes_are_escaped() {
        let labels = [
            Label::new_unchecked(b"\xff\x00a.b\\".as_slice()),
            Label::new_unchecked(b"evil".as_slice()),
        ];
        let owner = Name::new_with_labels(&labels);
        let message = response(vec![ResourceRecord::new(
            owner,
            CLASS::IN,
            1,
            a("203.0.113.9"),
        )]);
        check(&message, &["203.0.113.9 \\xff\\x00a\\x2eb\\x5c.evil"]);
    }

    #[test]
    fn aliases_in_a_circle_end() {
        let message = response(vec![
            record("a.example", cname("b.example")),
            record("b.example", cname("a.example")),
            record("a.example", a("203.0.113.9")),
        ]);
        assert_eq!(names(&message).len(), 1);
    }

    #[test]
    fn a_question_tells_nothing() {
        let mut message = response(vec![record("a.example", a("203.0.113.9"))]);
        message[2] &= 0x7f;
        check(&message, &[]);
    }

    #[test]
    fn a_message_that_boasts_of_records_is_left_alone() {
        let mut message = response(vec![record("a.example", a("203.0.113.9"))]);
        message[10..12].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(records(&message), u16::MAX);
        check(&message, &[]);
    }

    /// A compression pointer to itself would never end.
    #[test]
    fn pointers_in_a_circle_end() {
        let mut message = vec![0, 7, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4]);
        check(&message, &[]);
    }

    proptest! {
        #[test]
        fn nothing_panics(message in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = names(&message);
        }

        #[test]
        fn mutated_answers_do_not_panic(
            mutations in proptest::collection::vec((0_usize..200, any::<u8>()), 0..6),
            cut in 0_usize..200,
        ) {
            let mut message = response(vec![
                record("a.example", cname("b.example")),
                record("b.example", a("203.0.113.9")),
            ]);
            let length = message.len();
            for (at, byte) in mutations {
                message[at % length] = byte;
            }
            message.truncate(cut);
            for (_, name) in names(&message) {
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
