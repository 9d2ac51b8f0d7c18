//! Who traces whom, by the process connector: where no hook tells of every way to another's memory.

use std::os::fd::AsRawFd;

use jaga_rules::event::{Gap, GapKind};

use super::{decode, listen};
use crate::sensor::host::MEMORY;
use crate::sensor::host::batch::{Peek, Round};
use crate::sensor::host::source::{self, Raised, Wish};
use crate::sensor::netlink::Netlink;

/// Who traces whom.
///
/// # Errors
/// Why it cannot be listened to, with the next step.
pub fn tracers(_: &Wish) -> Result<Raised<dyn source::Files>, String> {
    let refused = |error: &dyn std::fmt::Display| {
        format!(
            "the process connector does not answer: {error}; run as root or with CAP_NET_ADMIN, on a kernel with CONFIG_PROC_EVENTS"
        )
    };
    let socket = listen().map_err(|error| refused(&error))?;
    only_tracers(&socket).map_err(|error| refused(&error))?;
    Ok(Raised {
        rung: 3,
        how: "process connector: who traces whom (ptrace); process_vm_readv and /proc/PID/mem are not seen".to_owned(),
        sees_also: &[],
        open: Box::new(move || Ok(Box::new(Tracers(socket)))),
        places: None,
    })
}

struct Tracers(Netlink);

impl source::Files for Tracers {
    fn drain(&mut self, round: &mut Round, gaps: &mut Vec<Gap>) {
        loop {
            let taken = self.0.take(|message| {
                let traced = decode::decode_traced(message.body);
                round.peeks.extend(traced.map(|(by, of)| Peek { by, of }));
            });
            match taken {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let why = format!("who traces whom was lost: {error}; it goes on");
                    gaps.push(Gap::new(MEMORY, GapKind::Lost, 1, why));
                    return;
                }
            }
        }
    }
}

/// Lets only those messages through of which one is wanted in a day: forks and exits come by the thousand.
fn only_tracers(socket: &Netlink) -> std::io::Result<()> {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt,
        jf,
        k,
    };
    // The filter reads words in network order: `what` stands behind struct nlmsghdr and struct cn_msg.
    let mut program = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 36),
        step(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            decode::PTRACE.to_be(),
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    let filter = libc::sock_fprog {
        len: 4,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` says how many steps `program` has, which outlives the call; the kernel copies them.
    let result = unsafe {
        libc::setsockopt(
            std::os::fd::AsFd::as_fd(socket).as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).unwrap_or_default(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}
