//! A DNS message: names are printable, bounded, and only a response tells any.

use jaga::sensor::pcap::dns::names;

/// Records that are looked at in one message.
const RECORDS: usize = 256;

/// The longest name: 255 bytes (RFC 1035, 2.3.4), each as `\xHH` at worst.
const NAME: usize = 4 * 255;

/// The message.
pub fn run(message: &[u8]) {
    let told = names(message);
    assert!(told.len() <= RECORDS);
    for (_, name) in &told {
        assert!(
            !name.is_empty() && name.len() <= NAME,
            "{} bytes",
            name.len()
        );
        let tame = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
        assert!(name.bytes().all(tame), "{name:?}");
    }
    let is_response = message.get(2).is_some_and(|flags| flags & 0x80 != 0);
    assert!(is_response || told.is_empty(), "a question told a name");
}
