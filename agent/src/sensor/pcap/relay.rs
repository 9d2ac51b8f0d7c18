//! Whether a client's first bytes ask the other side to pass data on.

/// What a client speaks to a relay, if these are the first bytes of one of: HTTP CONNECT and absolute form (RFC 9112,
/// 3.2), SOCKS 4 and 5 (RFC 1928), SMTP (RFC 5321).
#[must_use]
pub fn spoken(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [4, 1, rest @ ..] => is_socks4(rest).then_some("socks"),
        [5, count, methods @ ..] => is_socks5(*count, methods).then_some("socks"),
        _ => http(bytes).or_else(|| is_smtp(bytes).then_some("smtp")),
    }
}

/// Port, address, a user's name that ends with 0 (4A: and a host's).
fn is_socks4(rest: &[u8]) -> bool {
    let port = rest.first_chunk().copied().map_or(0, u16::from_be_bytes);
    port != 0 && rest.len() >= 7 && rest.last() == Some(&0)
}

/// As many methods as it says, and nothing behind: other protocols begin with a 5, too.
fn is_socks5(count: u8, methods: &[u8]) -> bool {
    count > 0
        && methods.len() == usize::from(count)
        && methods.iter().all(|method| *method < 10 || *method >= 0x80)
}

fn http(bytes: &[u8]) -> Option<&'static str> {
    const METHODS: [&[u8]; 8] = [
        b"GET ",
        b"PUT ",
        b"POST ",
        b"HEAD ",
        b"PATCH ",
        b"DELETE ",
        b"OPTIONS ",
        b"PROPFIND ",
    ];
    if let Some(authority) = bytes.strip_prefix(b"CONNECT ") {
        return is_authority(authority).then_some("http-connect");
    }
    let target = METHODS
        .iter()
        .find_map(|method| bytes.strip_prefix(*method))?;
    let head = target.get(..8)?.to_ascii_lowercase();
    let absolute = [b"http://".as_slice(), b"https://", b"ftp://"];
    absolute
        .iter()
        .any(|scheme| head.starts_with(scheme))
        .then_some("http-absolute")
}

/// `host:port` and a blank.
fn is_authority(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|byte| *byte == b' ') else {
        return false;
    };
    let authority = &text[..end];
    let port = authority
        .iter()
        .rposition(|byte| *byte == b':')
        .map(|at| &authority[at + 1..]);
    port.is_some_and(|port| !port.is_empty() && port.iter().all(u8::is_ascii_digit))
}

fn is_smtp(bytes: &[u8]) -> bool {
    let Some(verb) = bytes.get(..5) else {
        return false;
    };
    let verb = verb.to_ascii_uppercase();
    matches!(verb.as_slice(), b"EHLO " | b"HELO " | b"LHLO ") && bytes.ends_with(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Option<&str>) {
        assert_eq!(
            spoken(bytes),
            expected,
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
    }

    #[test]
    fn proxies_are_known() {
        check(
            b"CONNECT upload.example.org:443 HTTP/1.1\r\n\r\n",
            Some("http-connect"),
        );
        check(
            b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n",
            Some("http-connect"),
        );
        check(
            b"GET http://example.org/ HTTP/1.1\r\n",
            Some("http-absolute"),
        );
        check(
            b"PUT HTTPS://example.org/f HTTP/1.1\r\n",
            Some("http-absolute"),
        );
        check(
            b"POST ftp://example.org/f HTTP/1.1\r\n",
            Some("http-absolute"),
        );
        check(&[5, 1, 0], Some("socks"));
        check(&[5, 2, 0, 2], Some("socks"));
        check(&[4, 1, 1, 0xbb, 203, 0, 113, 9, 0], Some("socks"));
        check(b"EHLO pacs1\r\n", Some("smtp"));
        check(b"helo pacs1\r\n", Some("smtp"));
    }

    #[test]
    fn what_only_looks_alike_is_not() {
        check(b"GET /path?u=http://example.org HTTP/1.1\r\n", None);
        check(b"GET /", None);
        check(b"CONNECT ", None);
        check(b"CONNECT mqtt", None);
        check(b"CONNECT host HTTP/1.1\r\n", None);
        check(b"HELLO\r\n", None);
        check(&[5, 2, 0], None);
        check(&[5, 0], None);
        check(&[4, 1, 0, 0, 0, 0, 0, 0, 0], None);
        check(&[1, 0, 0, 0, 0, 205], None);
        check(&[], None);
        check(&[5], None);
        check(&[4], None);
    }
}
