//! Segments of medical protocols: what is read of them is bounded and can be shown.

use jaga::sensor::pcap::dicom::{Message, messages};
use jaga::sensor::pcap::hl7;

/// A segment's payload.
pub fn run(bytes: &[u8]) {
    assert!(hl7::messages(bytes) <= bytes.len() as u64 / 4);
    let mut titles = Vec::new();
    for message in messages(bytes) {
        match message {
            Message::Associate { calling, called } => titles.extend([calling, called]),
            Message::Move { destination } => titles.push(destination),
            Message::Accept | Message::Store | Message::Get => {}
        }
    }
    for title in titles {
        assert!(!title.is_empty() && title.len() <= 16 * 4, "{title:?}");
        let tame = |byte: u8| (b' '..=b'~').contains(&byte);
        assert!(title.bytes().all(tame), "{title:?}");
    }
}
