//! What a TCP segment says of a DICOM association: who calls whom, and which service is asked for (DICOM PS3.8 9.3, PS3.7 9.3).

/// Bytes of an application entity title, filled up with blanks.
const TITLE: usize = 16;

/// What is read of an association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// It is opened (A-ASSOCIATE-RQ).
    Associate {
        /// Title of who opens it.
        calling: String,
        /// Title that is called.
        called: String,
    },
    /// It is accepted (A-ASSOCIATE-AC).
    Accept,
    /// An object shall be taken (C-STORE-RQ).
    Store,
    /// Objects shall come back over the same association (C-GET-RQ).
    Get,
    /// Objects shall be sent elsewhere (C-MOVE-RQ).
    Move {
        /// The title that they shall go to.
        destination: String,
    },
}

/// What a segment's payload says, PDU by PDU from its beginning. Programs write a header and its command together, or one
/// after the other (dcmtk): either way a command begins a segment or follows a header in it.
#[must_use]
pub fn messages(payload: &[u8]) -> Vec<Message> {
    let mut messages: Vec<Message> = command(payload).into_iter().collect();
    let mut rest = payload;
    while let Some((pdu, behind)) = pdu(rest) {
        messages.extend(match pdu {
            [1, 0, _, _, _, _, body @ ..] => associate(body),
            [2, 0, _, _, _, _, 0, 1, 0, 0, ..] => Some(Message::Accept),
            // Contexts are odd; the lowest bit of the header says command, the next one that it is the last part.
            [4, 0, _, _, _, _, _, _, _, _, context, 3, set @ ..] if context % 2 == 1 => {
                command(set)
            }
            _ => None,
        });
        rest = behind;
    }
    messages
}

/// A protocol data unit, as far as it was captured, and what is behind it. Type, nothing, length.
fn pdu(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, body) = bytes.split_first_chunk::<6>()?;
    let [1..=7, 0, length @ ..] = *head else {
        return None;
    };
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    // Nothing of it would keep the walk where it is.
    let whole = head.len() + length.min(body.len());
    (length > 0).then(|| bytes.split_at(whole))
}

/// Version 1, two bytes of nothing, called title, calling title.
fn associate(body: &[u8]) -> Option<Message> {
    let titles = body.strip_prefix(&[0, 1, 0, 0])?.get(..2 * TITLE)?;
    let (called, calling) = titles.split_at(TITLE);
    Some(Message::Associate {
        calling: title(calling)?,
        called: title(called)?,
    })
}

/// A command set is little-endian with implicit types, whatever was agreed on; it begins with its own length.
fn command(set: &[u8]) -> Option<Message> {
    const LENGTH: [u8; 8] = [0, 0, 0, 0, 4, 0, 0, 0];
    let (mut field, mut destination) = (None, None);
    let mut rest = set.strip_prefix(&LENGTH)?.get(4..)?;
    while let Some((tag, value, behind)) = element(rest) {
        match tag {
            0x0100 => field = value.first_chunk().copied().map(u16::from_le_bytes),
            0x0600 => destination = title(value),
            _ => {}
        }
        rest = behind;
    }
    match field? {
        0x0001 => Some(Message::Store),
        0x0010 => Some(Message::Get),
        0x0021 => Some(Message::Move {
            destination: destination?,
        }),
        _ => None,
    }
}

/// Number within group 0000, value, and what is behind.
fn element(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    let [0, 0, tag @ .., _, _, _, _] = head else {
        return None;
    };
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let (value, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((u16::from_le_bytes(*tag), value, behind))
}

/// Without the blanks around it; what is no letter, digit or sign as `\xHH`: it is shown to people.
fn title(bytes: &[u8]) -> Option<String> {
    let is_blank = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let end = bytes.iter().rposition(|byte| !is_blank(byte))? + 1;
    let text = bytes[..end].trim_ascii_start();
    let shown = |byte: &u8| match byte {
        b' ' | b'!'..=b'[' | b']'..=b'~' => char::from(*byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    (bytes.len() <= TITLE && !text.is_empty()).then(|| text.iter().map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(called: &str, calling: &str) -> Vec<u8> {
        let head = [1, 0, 0, 0, 0, 68, 0, 1, 0, 0];
        let titles = format!("{called:16}{calling:16}");
        [head.as_slice(), titles.as_bytes(), &[0; 32]].concat()
    }

    fn set(elements: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (tag, value) in elements {
            bytes.extend([0, 0]);
            bytes.extend(tag.to_le_bytes());
            bytes.extend((value.len() as u32).to_le_bytes());
            bytes.extend(*value);
        }
        let length = (bytes.len() as u32).to_le_bytes();
        [&[0, 0, 0, 0, 4, 0, 0, 0], length.as_slice(), &bytes].concat()
    }

    fn pdata(kind: u8, set: &[u8]) -> Vec<u8> {
        let length = |more: usize| (set.len() as u32 + more as u32).to_be_bytes();
        let head = [&[4, 0], length(6).as_slice(), &length(2), &[1, kind]].concat();
        [head.as_slice(), set].concat()
    }

    #[test]
    fn an_association_is_opened() {
        let expected = Message::Associate {
            calling: "WARD 3".to_owned(),
            called: "ORTHANC".to_owned(),
        };
        assert_eq!(messages(&open("ORTHANC\0\0", "  WARD 3")), [expected]);
        let opened = messages(&open("A\u{1b}[31m\\", "B"));
        let [Message::Associate { called, .. }] = &opened[..] else {
            panic!("no association");
        };
        assert_eq!(called, "A\\x1b[31m\\x5c");
    }

    #[test]
    fn requests_come_with_their_header_or_behind_it() {
        let requests = [
            (set(&[(0x0100, &[1, 0])]), Message::Store),
            (
                set(&[(0x0002, b"1.2\0"), (0x0100, &[0x10, 0])]),
                Message::Get,
            ),
            (
                set(&[(0x0100, &[0x21, 0]), (0x0600, b"ROGUE ")]),
                Message::Move {
                    destination: "ROGUE".to_owned(),
                },
            ),
        ];
        for (set, expected) in requests {
            assert_eq!(messages(&set), std::slice::from_ref(&expected));
            let whole = pdata(3, &set);
            assert_eq!(messages(&whole), std::slice::from_ref(&expected));
            let echo = pdata(3, &self::set(&[(0x0100, &[0x30, 0])]));
            assert_eq!(messages(&[echo, whole].concat()), [expected]);
        }
    }

    #[test]
    fn what_only_looks_alike_is_not() {
        let store = set(&[(0x0100, &[1, 0])]);
        assert_eq!(
            messages(&pdata(2, &store)),
            [],
            "a data set may hold anything"
        );
        let response = set(&[(0x0100, &[1, 0x80])]);
        assert_eq!(messages(&response), []);
        assert_eq!(messages(&set(&[(0x0100, &[0x21, 0])])), [], "nowhere to");
        assert_eq!(messages(&open("", "B")), []);
        for cut in 0..store.len() - 1 {
            assert_eq!(messages(&store[..cut]), [], "cut at {cut}");
        }
        let whole = open("A", "B");
        for cut in 0..42 {
            assert_eq!(messages(&whole[..cut]), [], "cut at {cut}");
        }
    }
}
