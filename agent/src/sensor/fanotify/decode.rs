//! Events as the kernel hands them over (struct fanotify_event_metadata, include/uapi/linux/fanotify.h). Pure.

use crate::sensor::fields::Fields;

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happened<'a> {
    /// It was opened.
    pub opened: bool,
    /// It was closed, by whoever could not write.
    pub closed: bool,
    /// It was closed, by whoever could.
    pub written: bool,
    /// Events before this one were dropped.
    pub overflow: bool,
    /// A descriptor of the file, to be closed; absent with an overflow.
    pub fd: Option<i32>,
    /// Who; 0 for one whom this process cannot see.
    pub pid: u32,
    /// In the place of a descriptor: the file by its handle (struct file_handle), where the group asks for that.
    pub handle: Option<&'a [u8]>,
}

/// Of an information record: its head, and the file system's number.
const BEFORE_HANDLE: usize = 4 + 8;

const VERSION: u8 = 3;

/// The events in what one read brought; ends at the first that is cut or of another version.
pub fn events(bytes: &[u8]) -> impl Iterator<Item = Happened<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let mut fields = Fields(rest);
        let length = usize::try_from(fields.u32()?).ok()?;
        let version = fields.u8()?;
        let _reserved_and_metadata_length = fields.take(3)?;
        let mask = fields.u64()?;
        let fd = i32::from_ne_bytes(fields.array()?);
        let pid = fields.u32()?;
        if version != VERSION || length < 24 {
            return None;
        }
        let (event, behind) = rest.split_at_checked(length)?;
        rest = behind;
        let has = |bit| mask & bit != 0;
        Some(Happened {
            opened: has(libc::FAN_OPEN),
            closed: has(libc::FAN_CLOSE_NOWRITE),
            written: has(libc::FAN_CLOSE_WRITE),
            overflow: has(libc::FAN_Q_OVERFLOW),
            fd: (fd >= 0).then_some(fd),
            pid,
            handle: handle(&event[24..]),
        })
    })
}

/// The handle of the first information record (FAN_EVENT_INFO_TYPE_FID).
fn handle(record: &[u8]) -> Option<&[u8]> {
    let [1, ..] = record else {
        return None;
    };
    let handle = record.get(BEFORE_HANDLE..)?;
    let bytes = usize::try_from(Fields(handle).u32()?).ok()?;
    handle.get(..bytes.checked_add(8)?) // behind its size and its type
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(version: u8, mask: u64, fd: i32) -> Vec<u8> {
        let mut bytes = 24_u32.to_ne_bytes().to_vec();
        bytes.extend([version, 0, 24, 0]);
        bytes.extend(mask.to_ne_bytes());
        bytes.extend(fd.to_ne_bytes());
        bytes.extend(7_u32.to_ne_bytes());
        bytes
    }

    #[test]
    fn events_follow_each_other_until_one_is_cut() {
        let both = [event(3, 0x20 | 0x10, 5), event(3, 0x4000, -1)].concat();
        let found: Vec<Happened<'_>> = events(&both).collect();
        let first = Happened {
            opened: true,
            closed: true,
            written: false,
            overflow: false,
            fd: Some(5),
            pid: 7,
            handle: None,
        };
        assert_eq!(found[0], first);
        assert!(found[1].overflow && found[1].fd.is_none());
        assert_eq!(events(&both[..47]).count(), 1);
        assert_eq!(events(&event(2, 0x20, 5)).count(), 0);
    }

    #[test]
    fn a_file_is_told_by_its_handle_unless_that_is_cut() {
        let handle = [&4_u32.to_ne_bytes()[..], &1_u32.to_ne_bytes(), b"abcd"].concat();
        let record = [&[1, 0, 24, 0][..], &[9; 8], &handle].concat();
        let mut whole = event(3, 0x20, -1);
        whole[..4].copy_from_slice(&48_u32.to_ne_bytes());
        whole.extend(&record);
        assert_eq!(events(&whole).next().unwrap().handle, Some(&handle[..]));
        let mut longer = whole.clone();
        longer[36] = 5;
        assert_eq!(events(&longer).next().unwrap().handle, None);
        assert_eq!(events(&whole[..47]).count(), 0);
    }
}
