//! A netlink socket, and the messages in what it hands over.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, recv, send, setsockopt, sockopt};

use super::fields::Fields;

/// Room for one read; the kernel fills at most 32 KiB of it at a dump.
const READ_BYTES: usize = 64 << 10;

/// Kernel buffer of a socket that listens, bytes.
const BUFFER_BYTES: usize = 4 << 20;

/// A header (struct nlmsghdr, include/uapi/linux/netlink.h), bytes.
const HEADER: usize = 16;

/// An open socket that never blocks.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its kind, of the protocol.
    pub kind: u16,
    /// What follows the header.
    pub body: &'a [u8],
}

/// The end of a dump, and an error (include/uapi/linux/netlink.h).
pub const DONE: u16 = 3;
/// See [`DONE`].
pub const ERROR: u16 = 2;
/// A request that asks for all there is: NLM_F_REQUEST | NLM_F_DUMP.
pub const DUMP: u16 = 0x301;

impl Netlink {
    /// A socket of this protocol (`libc::NETLINK_…`) that hears these groups (a mask).
    ///
    /// # Errors
    /// The kernel refuses; most groups need CAP_NET_ADMIN.
    pub fn open(protocol: libc::c_int, groups: u32) -> nix::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: takes numbers alone. Not nix's: it does not know the connector's protocol.
        let fd = Errno::result(unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) })?;
        // SAFETY: a new descriptor that nobody else has.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // Needs CAP_NET_ADMIN; without, the system's default must do.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES);
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        let buffer = vec![0; READ_BYTES];
        Ok(Self { socket, buffer })
    }

    /// Sends one message.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send(&self, kind: u16, flags: u16, body: &[u8]) -> nix::Result<()> {
        let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]); // sequence number and port: the kernel answers in order, and to the sender
        message.extend(body);
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty()).map(drop)
    }

    /// Hands over the messages of one read; false if nothing waits.
    ///
    /// # Errors
    /// ENOBUFS: the buffer was full, and messages were lost.
    pub fn take(&mut self, each: impl FnMut(Message<'_>)) -> nix::Result<bool> {
        match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
            Ok(length) => {
                messages(&self.buffer[..length]).for_each(each);
                Ok(true)
            }
            Err(Errno::EAGAIN) => Ok(false),
            Err(Errno::EINTR) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The messages in what one read brought; ends at the first that is cut.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let mut fields = Fields(rest);
        let length = usize::try_from(fields.u32()?).ok()?;
        let kind = fields.u16()?;
        let body = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, body })
    })
}

/// The attributes in a body: kind and payload (include/uapi/linux/rtnetlink.h).
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let mut fields = Fields(rest);
        let length = usize::from(fields.u16()?);
        let kind = fields.u16()?;
        let payload = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// Runs `open` in the network namespace of the process with this id, on a thread of its own.
///
/// # Errors
/// The namespace cannot be entered, or what `open` says.
pub fn in_namespace_of<T: Send + 'static>(
    process: &str,
    open: impl FnOnce() -> nix::Result<T> + Send + 'static,
) -> io::Result<T> {
    let namespace = std::fs::File::open(format!("/proc/{process}/ns/net"))?;
    let opened = std::thread::spawn(move || {
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET)?;
        open()
    });
    let opened = opened
        .join()
        .map_err(|_| io::Error::other("its thread ended by a fault"))?;
    Ok(opened?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn messages_follow_each_other_aligned_until_one_is_cut() {
        let both = [message(20, b"abcde"), message(3, b"")].concat();
        let found: Vec<_> = messages(&both).map(|each| (each.kind, each.body)).collect();
        assert_eq!(found, [(20, b"abcde".as_slice()), (3, b"")]);
        assert_eq!(messages(&both[..20]).count(), 0);
        assert_eq!(messages(&[0; 16]).count(), 0, "no length, no end");
    }

    #[test]
    fn attributes_follow_each_other_aligned_until_one_is_cut() {
        let bytes = [5, 0, 2, 0, 9, 0, 0, 0, 4, 0, 7, 0];
        let found: Vec<_> = attributes(&bytes).collect();
        assert_eq!(found, [(2, [9].as_slice()), (7, &[])]);
        assert_eq!(attributes(&bytes[..4]).count(), 0);
    }
}
