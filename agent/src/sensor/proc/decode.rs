//! Messages of the process connector (include/uapi/linux/cn_proc.h). Pure.

use crate::sensor::fields::Fields;

/// CN_IDX_PROC and CN_VAL_PROC.
const ID: (u32, u32) = (1, 1);
/// PROC_CN_MCAST_LISTEN.
const LISTEN: u32 = 1;
/// PROC_EVENT_FORK, _EXEC, _EXIT.
const FORK: u32 = 1;
const EXEC: u32 = 2;
const EXIT: u32 = 0x8000_0000;

/// PROC_EVENT_PTRACE.
pub const PTRACE: u32 = 0x100;

/// Something that happened to a process; threads are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// Its id.
    pub pid: u32,
    /// When, CLOCK_MONOTONIC nanoseconds.
    pub at: u64,
    /// What.
    pub what: Event,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It was made by this process.
    Fork(u32),
    /// It became a program.
    Exec,
    /// It ended.
    Exit,
}

/// The body that asks for events (struct cn_msg with an operation).
#[must_use]
pub fn listen() -> Vec<u8> {
    let mut body = Vec::new();
    for field in [ID.0, ID.1, 0, 0] {
        body.extend(field.to_ne_bytes());
    }
    body.extend(4_u16.to_ne_bytes());
    body.extend(0_u16.to_ne_bytes());
    body.extend(LISTEN.to_ne_bytes());
    body
}

/// Decodes a message's body; `None` if it is cut, of another kind, or of a thread.
#[must_use]
pub fn decode(body: &[u8]) -> Option<News> {
    let mut fields = Fields(body);
    let id = (fields.u32()?, fields.u32()?);
    let _sequence_acknowledgement_length_flags = fields.take(12)?;
    if id != ID {
        return None;
    }
    let kind = fields.u32()?;
    let _cpu = fields.u32()?;
    let at = fields.u64()?;
    let (thread, pid) = (fields.u32()?, fields.u32()?);
    let (thread, pid, what) = match kind {
        FORK => {
            let parent = pid;
            (fields.u32()?, fields.u32()?, Event::Fork(parent))
        }
        EXEC => (thread, pid, Event::Exec),
        EXIT => (thread, pid, Event::Exit),
        _ => return None,
    };
    // Any thread may call exec; it then is the process.
    (thread == pid || what == Event::Exec).then_some(News { pid, at, what })
}

/// Who began to trace whom; `None` if the message is cut, of another kind, or of an end of it.
#[must_use]
pub fn decode_traced(body: &[u8]) -> Option<(u32, u32)> {
    let mut fields = Fields(body);
    let id = (fields.u32()?, fields.u32()?);
    let _sequence_acknowledgement_length_flags = fields.take(12)?;
    let kind = fields.u32()?;
    let _cpu_and_time = fields.take(12)?;
    let (_thread, of) = (fields.u32()?, fields.u32()?);
    let (_tracers_thread, by) = (fields.u32()?, fields.u32()?);
    (id == ID && kind == PTRACE && by != 0 && by != of).then_some((by, of))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u32, ids: &[u32]) -> Vec<u8> {
        let head = [1, 1, 5, 0, 40, kind, 0].map(u32::to_ne_bytes).concat();
        let at = 77_u64.to_ne_bytes().to_vec();
        let ids = ids.iter().flat_map(|id| id.to_ne_bytes()).collect();
        [head, at, ids].concat()
    }

    #[track_caller]
    fn check(kind: u32, ids: &[u32], expected: Option<(u32, Event)>) {
        let expected = expected.map(|(pid, what)| News { pid, at: 77, what });
        assert_eq!(decode(&message(kind, ids)), expected);
    }

    #[test]
    fn a_process_is_told_and_a_thread_is_not() {
        check(FORK, &[10, 10, 11, 11], Some((11, Event::Fork(10))));
        check(FORK, &[12, 10, 13, 13], Some((13, Event::Fork(10))));
        check(FORK, &[10, 10, 12, 10], None);
        check(EXEC, &[11, 11], Some((11, Event::Exec)));
        check(EXIT, &[11, 11, 0, 17], Some((11, Event::Exit)));
        check(EXIT, &[12, 11, 0, 17], None);
        check(4, &[11, 11, 0, 0], None);
    }

    #[test]
    fn a_tracer_is_told_and_its_leave_is_not() {
        let traced = |ids: &[u32]| decode_traced(&message(PTRACE, ids));
        assert_eq!(traced(&[10, 10, 21, 20]), Some((20, 10)));
        assert_eq!(traced(&[10, 10, 0, 0]), None);
        assert_eq!(traced(&[10, 10, 11]), None);
        assert_eq!(decode_traced(&message(FORK, &[10, 10, 21, 20])), None);
    }

    #[test]
    fn cut_messages_are_refused() {
        let whole = message(FORK, &[10, 10, 11, 11]);
        assert_eq!(decode(&whole[..whole.len() - 1]), None);
        assert_eq!(decode(&[]), None);
    }

    #[test]
    fn what_is_asked_is_of_the_connector() {
        assert_eq!(listen().len(), 24);
    }
}
