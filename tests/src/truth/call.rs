//! System calls that the standard library has no name for, safe to call; each answers what it moved.

use std::ffi::{CStr, CString, c_int, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The result of a call that answers a count, or -1 and `errno`.
pub(super) fn moved(result: isize) -> io::Result<u64> {
    u64::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The result of a call that answers a small number, or -1 and `errno`.
pub(super) fn done(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// `preadv2` into the parts.
pub(super) fn preadv2(
    file: &impl AsRawFd,
    parts: &mut [io::IoSliceMut<'_>],
    at: i64,
) -> io::Result<u64> {
    let count = c_int::try_from(parts.len()).expect("a handful of parts");
    // SAFETY: IoSliceMut has the layout of iovec (its documentation), and the parts are writable for the call.
    moved(unsafe { libc::preadv2(file.as_raw_fd(), parts.as_mut_ptr().cast(), count, at, 0) })
}

/// `readv` into the parts.
pub(super) fn readv(file: &impl AsRawFd, parts: &mut [io::IoSliceMut<'_>]) -> io::Result<u64> {
    let count = c_int::try_from(parts.len()).expect("a handful of parts");
    // SAFETY: as in `preadv2`.
    moved(unsafe { libc::readv(file.as_raw_fd(), parts.as_mut_ptr().cast(), count) })
}

/// `sendfile` of up to `most` bytes from the file's position.
pub(super) fn sendfile(to: &impl AsRawFd, from: &impl AsRawFd, most: usize) -> io::Result<u64> {
    // SAFETY: no memory of ours is involved.
    moved(unsafe { libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), std::ptr::null_mut(), most) })
}

/// `splice` of up to `most` bytes; one of both is a pipe.
pub(super) fn splice(from: &impl AsRawFd, to: &impl AsRawFd, most: usize) -> io::Result<u64> {
    let (from, to, nowhere) = (from.as_raw_fd(), to.as_raw_fd(), std::ptr::null_mut());
    // SAFETY: no memory of ours is involved.
    moved(unsafe { libc::splice(from, nowhere, to, nowhere, most, 0) })
}

/// `copy_file_range` of up to `most` bytes between the files' positions.
pub(super) fn copy_file_range(
    from: &impl AsRawFd,
    to: &impl AsRawFd,
    most: usize,
) -> io::Result<u64> {
    let (from, to, nowhere) = (from.as_raw_fd(), to.as_raw_fd(), std::ptr::null_mut());
    // SAFETY: no memory of ours is involved.
    moved(unsafe { libc::copy_file_range(from, nowhere, to, nowhere, most, 0) })
}

/// Makes `to` share the blocks of `from`.
pub(super) fn clone(from: &impl AsRawFd, to: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: FICLONE takes a descriptor.
    done(unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) }).map(drop)
}

/// Forgets what the page cache holds of a file that is on disk.
pub(super) fn forget(file: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: no memory of ours is involved.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Opens a file by its handle, with no folder of it cached: then nobody knows its path (open_by_handle_at(2)).
pub(super) fn open_by_handle(folder: &File, name: &CStr) -> io::Result<File> {
    const ROOM: u32 = 128; // MAX_HANDLE_SZ
    let mut handle = [0_u32; 2 + ROOM as usize / 4];
    handle[0] = ROOM;
    let (mut mount, at) = (0, folder.as_raw_fd());
    let place = handle.as_mut_ptr();
    // SAFETY: the name ends with a zero; there is room for a handle and for a number.
    done(unsafe {
        let name = name.as_ptr();
        libc::syscall(
            libc::SYS_name_to_handle_at,
            at,
            name,
            place,
            &raw mut mount,
            0,
        )
    } as c_int)?;
    std::fs::write("/proc/sys/vm/drop_caches", "2")?;
    // SAFETY: it reads the handle.
    let opened = unsafe { libc::syscall(libc::SYS_open_by_handle_at, at, place, libc::O_RDONLY) };
    let opened = done(opened as c_int)?;
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { File::from_raw_fd(opened) })
}

/// `mount`; `kind` and `data` may be empty.
pub(super) fn mount(
    what: &Path,
    place: &Path,
    kind: &str,
    flags: libc::c_ulong,
    data: &str,
) -> io::Result<()> {
    let words = [
        what.as_os_str().as_bytes(),
        place.as_os_str().as_bytes(),
        kind.as_bytes(),
        data.as_bytes(),
    ];
    let [what, place, kind, data] =
        words.map(|word| CString::new(word).expect("no zero in a path of ours"));
    // SAFETY: four strings that end with zero and live through the call.
    done(unsafe {
        libc::mount(
            what.as_ptr(),
            place.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast::<c_void>(),
        )
    })
    .map(drop)
}

/// Moves this process into a mount namespace of its own, in which nothing spreads to others.
pub(super) fn own_mounts() -> io::Result<()> {
    // SAFETY: no memory of ours is involved.
    done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    mount(
        Path::new("none"),
        Path::new("/"),
        "",
        libc::MS_REC | libc::MS_PRIVATE,
        "",
    )
}

/// Runs a btrfs ioctl that takes a descriptor and a name (`struct btrfs_ioctl_vol_args`, include/uapi/linux/btrfs.h).
pub(super) fn subvolume(folder: &impl AsRawFd, what: Subvolume<'_>, name: &str) -> io::Result<()> {
    let mut words = [0_u8; 4096];
    let (number, from) = match what {
        Subvolume::Snapshot(from) => (0x5000_9401, i64::from(from.as_raw_fd())),
        Subvolume::New => (0x5000_940e, 0),
    };
    words[..8].copy_from_slice(&from.to_ne_bytes());
    words[8..8 + name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: both ioctls read 4096 bytes.
    done(unsafe { libc::ioctl(folder.as_raw_fd(), number, words.as_ptr()) }).map(drop)
}

/// What [`subvolume`] makes.
pub(super) enum Subvolume<'a> {
    /// An empty one.
    New,
    /// A snapshot of this one.
    Snapshot(BorrowedFd<'a>),
}

/// Makes a subvolume read-only, and has the kernel send all of it into `to` (`struct btrfs_ioctl_send_args`).
pub(super) fn send_subvolume(subvolume: &impl AsRawFd, to: &impl AsRawFd) -> io::Result<()> {
    let read_only: u64 = 2;
    let mut words = [0_u8; 72];
    words[..8].copy_from_slice(&i64::from(to.as_raw_fd()).to_ne_bytes());
    // SAFETY: BTRFS_IOC_SUBVOL_SETFLAGS reads 8 bytes.
    done(unsafe { libc::ioctl(subvolume.as_raw_fd(), 0x4008_941a, &raw const read_only) })?;
    // SAFETY: BTRFS_IOC_SEND reads 72 bytes.
    done(unsafe { libc::ioctl(subvolume.as_raw_fd(), 0x4048_9426, words.as_ptr()) }).map(drop)
}

/// A socket of any kind.
pub(super) fn socket(family: c_int, kind: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is new, and nobody else's.
    done(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) })
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets a socket option that is a number.
pub(super) fn option(
    socket: &impl AsRawFd,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<c_int>()).expect("four");
    let value: *const c_int = &raw const value;
    // SAFETY: `length` bytes are readable at `value`.
    done(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.cast(), length) })
        .map(drop)
}

/// `send` with flags.
pub(super) fn send(socket: &impl AsRawFd, bytes: &[u8], flags: c_int) -> io::Result<u64> {
    // SAFETY: the bytes are readable for the call.
    moved(unsafe {
        libc::send(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags,
        )
    })
}

/// `sendto` an address of that C type.
pub(super) fn send_to<A>(socket: &impl AsRawFd, bytes: &[u8], to: &A) -> io::Result<u64> {
    let length = libc::socklen_t::try_from(size_of::<A>()).expect("addresses are small");
    let to: *const A = to;
    // SAFETY: bytes and address are readable for the call.
    moved(unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
            to.cast(),
            length,
        )
    })
}

/// A message of one part, to an address if one is given.
pub(super) fn message<A>(part: &mut libc::iovec, to: Option<&A>) -> libc::msghdr {
    // SAFETY: a msghdr of zeros is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    if let Some(to) = to {
        let to: *const A = to;
        message.msg_name = to.cast_mut().cast();
        message.msg_namelen =
            libc::socklen_t::try_from(size_of::<A>()).expect("addresses are small");
    }
    message
}

/// Bytes as a part of a message.
pub(super) fn part(bytes: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

/// `sendmsg`.
pub(super) fn sendmsg<A>(socket: &impl AsRawFd, bytes: &[u8], to: Option<&A>) -> io::Result<u64> {
    let mut part = part(bytes);
    let message = message(&mut part, to);
    // SAFETY: the message points at what lives through the call; sendmsg only reads it.
    moved(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) })
}

/// `sendmmsg` of the same bytes `count` times.
pub(super) fn sendmmsg<A>(
    socket: &impl AsRawFd,
    bytes: &[u8],
    count: usize,
    to: Option<&A>,
) -> io::Result<u64> {
    let mut parts = vec![part(bytes); count];
    let mut messages: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| libc::mmsghdr {
            msg_hdr: message(part, to),
            msg_len: 0,
        })
        .collect();
    let length = libc::c_uint::try_from(count).expect("a handful");
    // SAFETY: the messages point at what lives through the call.
    let sent =
        done(unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), length, 0) })?;
    let sent = usize::try_from(sent).expect("not negative");
    Ok(messages[..sent]
        .iter()
        .map(|message| u64::from(message.msg_len))
        .sum())
}

/// Room for a descriptor in a control message, aligned as one.
#[repr(align(8))]
struct Control([u8; 64]);

/// Sends a descriptor over a unix socket, with one byte.
pub(super) fn pass(over: &impl AsRawFd, what: &impl AsRawFd) -> io::Result<()> {
    let mut part = part(b"x");
    let mut message = message::<()>(&mut part, None);
    let mut control = Control([0; 64]);
    message.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: the control buffer is aligned, longer than one descriptor needs, and lives through the call.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        (*head).cmsg_level = libc::SOL_SOCKET;
        (*head).cmsg_type = libc::SCM_RIGHTS;
        (*head).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(head)
            .cast::<c_int>()
            .write_unaligned(what.as_raw_fd());
        moved(libc::sendmsg(over.as_raw_fd(), &raw const message, 0)).map(drop)
    }
}

/// Takes a descriptor that [`pass`] sent.
pub(super) fn take(over: &impl AsRawFd) -> io::Result<OwnedFd> {
    let mut byte = [0_u8];
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut message = message::<()>(&mut part, None);
    let mut control = Control([0; 64]);
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    // SAFETY: as in `pass`; the kernel wrote the control message, and the descriptor in it is new and ours.
    unsafe {
        moved(libc::recvmsg(over.as_raw_fd(), &raw mut message, 0))?;
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        if head.is_null() || (*head).cmsg_type != libc::SCM_RIGHTS {
            return Err(io::Error::other("no descriptor came"));
        }
        Ok(OwnedFd::from_raw_fd(
            libc::CMSG_DATA(head).cast::<c_int>().read_unaligned(),
        ))
    }
}

/// An interface's index, by its name.
pub(super) fn interface(name: &str) -> io::Result<c_int> {
    let name = CString::new(name)?;
    // SAFETY: the name ends with zero.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index.cast_signed()),
    }
}

/// A memory file.
pub(super) fn memfd() -> io::Result<OwnedFd> {
    // SAFETY: the name ends with zero, and the descriptor is new and ours.
    done(unsafe { libc::memfd_create(c"truth".as_ptr(), libc::MFD_CLOEXEC) })
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A file in memory, unmapped when dropped.
pub(super) struct Map {
    start: *mut c_void,
    length: usize,
}

impl Map {
    /// Maps the first `length` bytes of a file, to be read; `flags` beside MAP_SHARED.
    pub(super) fn new(file: &impl AsRawFd, length: usize, flags: c_int) -> io::Result<Self> {
        let (flags, file) = (libc::MAP_SHARED | flags, file.as_raw_fd());
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ,
                flags,
                file,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start, length })
    }

    /// What is mapped.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for as long as self lives; nobody writes or cuts the files that the ways map.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.length) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and `bytes` cannot outlive it.
        unsafe { libc::munmap(self.start, self.length) };
    }
}
