//! Entries of the table of file reads and writes.

use jaga_rules::event::FileId;

use super::{Fields, take_who};
use crate::sensor::host::seen::{By, FileCount, Gone, Kind, Moved, Origin};

/// Decodes an entry; `None` if it has another shape.
#[must_use]
pub fn decode(key: &[u8], value: &[u8]) -> Option<FileCount> {
    let mut key = Fields(key);
    let mut value = Fields(value);
    let file = take_file(&mut key)?;
    let _start = key.u64()?;
    let _tgid = key.u32()?;
    let kind = key.u32()?;
    let bytes = value.u64()?;
    let size = value.u64()?;
    let last_at = value.u64()?;
    let stores = value.u64()?;
    let store = usize::try_from(stores.cast_signed()).ok();
    let (kind, store) = match kind {
        0 => (Kind::Read, store),
        1 => (Kind::Mapped, store),
        2 => (Kind::Write, store),
        3 => (Kind::Below { stores }, None),
        _ => return None,
    };
    Some(FileCount {
        who: By::Process(take_who(&mut value)?),
        file,
        kind,
        store,
        bytes: whole_pages_end_with_the_file(kind, bytes, size),
        size,
        last_at,
    })
}

/// Decodes a record of the ring of files that are gone; `None` if it is cut.
#[must_use]
pub fn decode_gone(bytes: &[u8]) -> Option<Gone> {
    let mut fields = Fields(bytes);
    Some(Gone {
        file: take_file(&mut fields)?,
        at: fields.u64()?,
    })
}

/// Decodes a record of the ring of files that have left a store; `None` if it is cut.
#[must_use]
pub fn decode_moved(bytes: &[u8]) -> Option<Moved> {
    let mut fields = Fields(bytes);
    let file = take_file(&mut fields)?;
    let from = Origin::File(take_file(&mut fields)?);
    let (at, bytes) = (fields.u64()?, fields.u64()?);
    let store = usize::try_from(fields.u64()?.cast_signed());
    Some(Moved {
        file,
        at,
        bytes,
        from: store.map_or(from, Origin::Store),
    })
}

/// A page that several faults show is counted by each; nobody holds more of a file than there is of it.
fn whole_pages_end_with_the_file(kind: Kind, bytes: u64, size: u64) -> u64 {
    match kind {
        Kind::Mapped => bytes.min(size),
        Kind::Read | Kind::Estimated | Kind::Write | Kind::Below { .. } => bytes,
    }
}

/// `struct file_id`.
pub(crate) fn take_file(fields: &mut Fields<'_>) -> Option<FileId> {
    let fs = fields.u64()?;
    let inode = fields.u64()?;
    let generation = fields.u32()?;
    let _reserved = fields.u32()?;
    Some(FileId {
        fs,
        inode,
        generation,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bytes, WHO};
    use super::*;

    fn entry(kind: u32, bytes: u64, store: i64) -> (Vec<u8>, Vec<u8>) {
        let key = Bytes::default().u64(11).u64(12).u32(13).u32(0);
        let key = key.u64(1000).u32(7).u32(kind);
        let value = Bytes::default().u64(bytes).u64(4096).u64(77);
        (key.0, value.u64(store.cast_unsigned()).who().0)
    }

    #[test]
    fn a_read_of_a_store() {
        let (key, value) = entry(0, 100, 2);
        assert_eq!(
            decode(&key, &value),
            Some(FileCount {
                who: By::Process(WHO),
                file: FileId {
                    fs: 11,
                    inode: 12,
                    generation: 13,
                },
                kind: Kind::Read,
                store: Some(2),
                bytes: 100,
                size: 4096,
                last_at: 77,
            })
        );
    }

    #[test]
    fn outside_every_store_is_none() {
        let (key, value) = entry(2, 100, -1);
        assert_eq!(decode(&key, &value).unwrap().store, None);
    }

    #[test]
    fn a_mapped_file_is_not_read_beyond_its_size() {
        let (key, value) = entry(1, 9000, 0);
        assert_eq!(decode(&key, &value).unwrap().bytes, 4096);
        let (key, value) = entry(0, 9000, 0);
        assert_eq!(decode(&key, &value).unwrap().bytes, 9000);
    }

    #[test]
    fn a_device_is_of_every_store_on_it() {
        let (key, value) = entry(3, 9000, 0b101);
        let count = decode(&key, &value).unwrap();
        let kind = Kind::Below { stores: 0b101 };
        assert_eq!((count.kind, count.store, count.bytes), (kind, None, 9000));
    }

    #[test]
    fn a_file_that_is_gone() {
        let bytes = Bytes::default().u64(11).u64(12).u32(13).u32(0).u64(99).0;
        let file = FileId {
            fs: 11,
            inode: 12,
            generation: 13,
        };
        assert_eq!(decode_gone(&bytes), Some(Gone { file, at: 99 }));
        assert_eq!(decode_gone(&bytes[..31]), None);
    }

    #[test]
    fn a_file_that_holds_what_nobody_read() {
        let id = |inode| FileId {
            fs: 11,
            inode,
            generation: 13,
        };
        let record = |store: i64| {
            let bytes = Bytes::default().u64(11).u64(12).u32(13).u32(0);
            let bytes = bytes.u64(11).u64(14).u32(13).u32(0);
            bytes.u64(99).u64(4096).u64(store.cast_unsigned()).0
        };
        let moved = |from| Moved {
            file: id(12),
            at: 99,
            bytes: 4096,
            from,
        };
        assert_eq!(decode_moved(&record(2)), Some(moved(Origin::Store(2))));
        let from = Origin::File(id(14));
        assert_eq!(decode_moved(&record(-1)), Some(moved(from)));
        assert_eq!(decode_moved(&record(2)[..71]), None);
    }

    #[test]
    fn other_shapes_are_refused() {
        let (key, value) = entry(4, 1, 0);
        assert_eq!(decode(&key, &value), None);
        let (key, value) = entry(0, 1, 0);
        assert_eq!(decode(&key[..39], &value), None);
        assert_eq!(decode(&key, &value[..63]), None);
    }
}
