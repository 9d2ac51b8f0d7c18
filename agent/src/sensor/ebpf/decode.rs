//! The bytes that the kernel side hands over, as values. Pure; the shapes are those of `bpf/*.bpf.c`.

use jaga_rules::event::Actor;

use crate::sensor::host::seen::{Facts, Who};

pub mod file;
pub mod process;
pub mod socket;

/// Reads fields off the front, in the machine's byte order. `None` once the bytes run out.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_ne_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }
}

/// "None" in `loginuid` and `sessionid`.
const UNSET: u32 = u32::MAX;

/// `struct who`.
pub(crate) fn take_who(fields: &mut Fields<'_>) -> Option<Who> {
    let start = fields.u64()?;
    let cgroup = fields.u64()?;
    let pid = fields.u32()?;
    let uid = fields.u32()?;
    let loginuid = fields.u32()?;
    let session = fields.u32()?;
    let login = (loginuid != UNSET && session != UNSET).then_some((loginuid, session));
    Some(Who {
        actor: Actor { pid, start },
        facts: Facts { uid, login, cgroup },
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Bytes as the kernel side writes them.
    #[derive(Default)]
    pub(crate) struct Bytes(pub Vec<u8>);

    impl Bytes {
        pub(crate) fn u8(mut self, value: u8) -> Self {
            self.0.push(value);
            self
        }

        pub(crate) fn u16(mut self, value: u16) -> Self {
            self.0.extend(value.to_ne_bytes());
            self
        }

        pub(crate) fn u32(mut self, value: u32) -> Self {
            self.0.extend(value.to_ne_bytes());
            self
        }

        pub(crate) fn u64(mut self, value: u64) -> Self {
            self.0.extend(value.to_ne_bytes());
            self
        }

        pub(crate) fn bytes(mut self, value: &[u8]) -> Self {
            self.0.extend(value);
            self
        }

        /// Process 7, started at 1000, user 33, no audit session, cgroup 5.
        pub(crate) fn who(self) -> Self {
            self.u64(1000).u64(5).u32(7).u32(33).u32(UNSET).u32(UNSET)
        }
    }

    pub(crate) const WHO: Who = Who {
        actor: Actor {
            pid: 7,
            start: 1000,
        },
        facts: Facts {
            uid: 33,
            login: None,
            cgroup: 5,
        },
    };

    #[test]
    fn an_unset_audit_session_is_none() {
        let bytes = Bytes::default().who();
        assert_eq!(take_who(&mut Fields(&bytes.0)), Some(WHO));
        let set = Bytes::default()
            .u64(1)
            .u64(2)
            .u32(3)
            .u32(4)
            .u32(1000)
            .u32(9);
        let login = take_who(&mut Fields(&set.0)).unwrap().facts.login;
        assert_eq!(login, Some((1000, 9)));
    }

    #[test]
    fn cut_bytes_are_refused() {
        let bytes = Bytes::default().who();
        assert_eq!(take_who(&mut Fields(&bytes.0[..31])), None);
    }
}
