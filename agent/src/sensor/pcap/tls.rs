//! The name that a TLS client asks for: SNI (RFC 6066, 3) of its ClientHello.

use rustls::server::Acceptor;

/// The most of a ClientHello that is kept while it is not whole, bytes; post-quantum ones have 2 kB.
const HELLO_LIMIT: usize = 16 * 1024;

/// What the first bytes of a client turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// A whole ClientHello; the name, if it has one.
    Whole(Option<String>),
    /// The begin of one: more bytes may tell.
    Begun,
    /// Something else.
    No,
}

/// Reads the first bytes that a client sent.
#[must_use]
pub fn hello(bytes: &[u8]) -> Hello {
    if !is_handshake(bytes) || bytes.len() > HELLO_LIMIT {
        return Hello::No;
    }
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        if !matches!(acceptor.read_tls(&mut rest), Ok(1..)) {
            return Hello::No;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let name = accepted
                    .client_hello()
                    .server_name()
                    .map(str::to_ascii_lowercase);
                return Hello::Whole(name);
            }
            Ok(None) => {}
            Err(_) => return Hello::No,
        }
    }
    Hello::Begun
}

/// A record of type handshake (22) and version 3.x (RFC 8446, 5.1).
fn is_handshake(bytes: &[u8]) -> bool {
    matches!(bytes, [22, 3, ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    /// What rustls itself sends to `name`.
    fn client_hello(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes
    }

    fn check(bytes: &[u8], expected: &Hello) {
        assert_eq!(&hello(bytes), expected);
    }

    #[test]
    fn tells_the_name() {
        let name = Hello::Whole(Some("upload.example.org".to_owned()));
        check(&client_hello("Upload.Example.org"), &name);
    }

    #[test]
    fn a_hello_without_a_name_is_whole() {
        check(&client_hello("203.0.113.9"), &Hello::Whole(None));
    }

    #[test]
    fn what_is_cut_is_begun() {
        let bytes = client_hello("upload.example.org");
        for cut in 2..bytes.len() {
            check(&bytes[..cut], &Hello::Begun);
        }
    }

    #[test]
    fn what_is_no_tls_is_none() {
        check(b"GET / HTTP/1.1\r\n", &Hello::No);
        check(b"", &Hello::No);
        check(&[22, 3, 1, 0, 4, 9, 9, 9, 9], &Hello::No);
        check(&[22, 3, 1, 0xff, 0xff].repeat(10_000), &Hello::No);
    }

    proptest! {
        #[test]
        fn mutated_hellos_do_not_panic(
            mutations in proptest::collection::vec((0_usize..400, any::<u8>()), 0..6),
        ) {
            let mut bytes = client_hello("upload.example.org");
            let length = bytes.len();
            for (at, byte) in mutations {
                bytes[at % length] = byte;
            }
            let _ = hello(&bytes);
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = hello(&[&[22, 3, 1], bytes.as_slice()].concat());
        }
    }
}
