//! What the kernel side hands over: records of the rings, entries of the tables, and the text of two `/proc` files.

use jaga::sensor::ebpf::decode::{file, process, socket};
use jaga::sensor::host::ports::{self, Ports};
use jaga::sensor::host::seen::Kind;
use jaga::sensor::host::seen::{Life, What};
use jaga_rules::event::{Opener, Protocol};

use super::bytes::Bytes;

/// The smallest record of a process, bytes.
const LIFE: usize = 56;

/// Which kind, then its bytes; of a table the length of the key first.
pub fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    match bytes.u8() % 5 {
        0 => lives(bytes.0),
        1 => file_count(bytes),
        2 => assert_eq!(file::decode_gone(bytes.0).is_some(), bytes.0.len() >= 32),
        3 => socket_count(bytes),
        _ => proc_text(bytes.0),
    }
}

fn lives(record: &[u8]) {
    let list = process::decode_list(record);
    assert!(list.len() <= record.len() / LIFE);
    assert_eq!(list.first(), process::decode(record).as_ref());
    for life in &list {
        path_is_sound(exe(life), record.len());
        path_is_sound(life.cgroup.as_deref().unwrap_or_default(), record.len());
    }
}

fn exe(life: &Life) -> &str {
    match &life.what {
        What::Known { exe, .. } | What::Exec { exe } => exe,
        What::Fork { .. } | What::Regrouped { .. } | What::Exit => "",
    }
}

/// Absolute, or marked as cut; a byte becomes three at most (U+FFFD), and there is no NUL.
fn path_is_sound(path: &str, record: usize) {
    assert!(path.is_empty() || path.starts_with('/') || path.starts_with("…/"));
    assert!(path.len() <= 3 * record && !path.contains('\0'));
}

fn file_count(mut bytes: Bytes<'_>) {
    let key = bytes.sized();
    if let Some(count) = file::decode(key, bytes.0) {
        assert!(count.kind != Kind::Mapped || count.bytes <= count.size);
    }
}

fn socket_count(mut bytes: Bytes<'_>) {
    let key = bytes.sized();
    let Some(count) = socket::decode(key, bytes.0) else {
        return;
    };
    let ports = Ports {
        listening: [22, 443].into(),
        ephemeral: 32768..=60999,
    };
    let settled = ports.settle(count.flow);
    assert!(settled.protocol != Protocol::Tcp || settled.opener != Opener::Unknown);
    if count.flow.opener != Opener::Unknown {
        assert_eq!(settled, count.flow);
    }
}

fn proc_text(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    assert!(ports::listening(&text).count() <= text.lines().count());
    let _ = ports::ephemeral(&text);
}
