//! Segments of medical protocols: what is read of them is bounded and can be shown.

use jaga::sensor::pcap::dicom::{Message, message};
use jaga::sensor::pcap::hl7::messages;

/// A segment's payload.
pub fn run(bytes: &[u8]) {
    assert!(messages(bytes) <= bytes.len() as u64 / 4);
    let titles = match message(bytes) {
        Some(Message::Associate { calling, called }) => vec![calling, called],
        Some(Message::Move { destination }) => vec![destination],
        Some(Message::Store | Message::Get) | None => Vec::new(),
    };
    for title in titles {
        assert!(!title.is_empty() && title.len() <= 16 * 4, "{title:?}");
        let tame = |byte: u8| (b' '..=b'~').contains(&byte);
        assert!(title.bytes().all(tame), "{title:?}");
    }
}
