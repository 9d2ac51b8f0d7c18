//! A client's first bytes: a ClientHello that is read whole is read as well when it comes in two segments.

use jaga::sensor::pcap::tls::{Hello, hello};

/// What the client sent.
pub fn run(bytes: &[u8]) {
    let whole = hello(bytes);
    let Hello::Whole(name) = &whole else { return };
    if let Some(name) = name {
        assert!(!name.is_empty() && name.len() <= 255);
        let tame = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
        assert!(name.bytes().all(tame), "{name:?}");
    }
    for cut in [2, 5, bytes.len() / 2, bytes.len() - 1] {
        let begun = hello(&bytes[..cut.clamp(2, bytes.len())]);
        assert!(
            begun == Hello::Begun || begun == whole,
            "cut at {cut}: {begun:?}"
        );
    }
}
