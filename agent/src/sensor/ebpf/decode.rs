//! The bytes that the kernel side hands over, as values. Pure; the shapes are those of `bpf/*.bpf.c`.

pub(crate) use crate::sensor::fields::Fields;
use crate::sensor::host::batch::Peek;
use crate::sensor::host::seen::{Facts, Who, actor};

pub mod file;
pub mod process;
pub mod socket;
pub mod wire;

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
        actor: actor(pid, start),
        facts: Facts { uid, login, cgroup },
    })
}

/// `struct pair` of `bpf/memory.bpf.c`.
#[must_use]
pub(crate) fn peek(bytes: &[u8]) -> Option<Peek> {
    let mut fields = Fields(bytes);
    let _starts = fields.take(16)?;
    let (by, of) = (fields.u32()?, fields.u32()?);
    Some(Peek { by, of })
}

#[cfg(test)]
pub(crate) mod tests {
    use jaga_rules::event::Actor;

    use super::*;
    use crate::sensor::host::seen::NANOS_A_TICK as TICK;

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

        /// Process 7, started after a tick, user 33, no audit session, cgroup 5.
        pub(crate) fn who(self) -> Self {
            self.u64(TICK).u64(5).u32(7).u32(33).u32(UNSET).u32(UNSET)
        }
    }

    pub(crate) const WHO: Who = Who {
        actor: Actor {
            pid: 7,
            start: TICK,
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
