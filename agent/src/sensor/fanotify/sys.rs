//! The system calls: a group, its marks and events, and what is known of an open file.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What is listened for. Never FAN_ACCESS, which slows each read, and nothing that waits for an answer.
const MASK: u64 = libc::FAN_OPEN | libc::FAN_CLOSE_WRITE | libc::FAN_CLOSE_NOWRITE;

/// A group. Its queue has no limit of its own: the kernel books it to the agent's cgroup, whose limit it has, and
/// says when it dropped something.
#[derive(Debug)]
pub(super) struct Group(File);

impl Group {
    /// # Errors
    /// Without CAP_SYS_ADMIN, or on a kernel without fanotify.
    pub(super) fn new() -> io::Result<Self> {
        Self::with(0)
    }

    /// A group that tells files by their handles and opens none of them: a tape would rewind, a burner is somebody else's.
    ///
    /// # Errors
    /// As [`Self::new`]; EINVAL before Linux 5.1.
    pub(super) fn by_handle() -> io::Result<Self> {
        Self::with(libc::FAN_REPORT_FID)
    }

    fn with(more: libc::c_uint) -> io::Result<Self> {
        let flags = libc::FAN_CLASS_NOTIF
            | more
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK
            | libc::FAN_UNLIMITED_QUEUE
            | libc::FAN_UNLIMITED_MARKS;
        let opened = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE | libc::O_NOATIME;
        // SAFETY: takes numbers alone.
        let fd = unsafe { libc::fanotify_init(flags, opened.cast_unsigned()) };
        let fd = checked(fd)?;
        // SAFETY: a new descriptor that nobody else has.
        Ok(Self(unsafe { File::from_raw_fd(fd) }))
    }

    /// Listens to the whole file system that `path` lies on.
    ///
    /// # Errors
    /// The kernel's; EINVAL before Linux 4.20.
    pub(super) fn mark(&self, path: &Path) -> io::Result<()> {
        self.add(path, libc::FAN_MARK_FILESYSTEM, MASK)
    }

    fn add(&self, path: &Path, flags: libc::c_uint, mask: u64) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the path ends with NUL and lives until the call returns.
        let result = unsafe {
            libc::fanotify_mark(
                self.0.as_raw_fd(),
                libc::FAN_MARK_ADD | flags,
                mask,
                libc::AT_FDCWD,
                path.as_ptr(),
            )
        };
        checked(result).map(drop)
    }

    /// Listens to opens of one file, whatever it is called later.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn mark_file(&self, path: &Path) -> io::Result<()> {
        self.add(path, libc::FAN_MARK_DONT_FOLLOW, libc::FAN_OPEN)
    }

    /// Fills the buffer with events; 0 if none waits.
    ///
    /// # Errors
    /// The kernel's, such as EMFILE.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match (&self.0).read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Whether events wait to be read. What cannot be told is taken to be so.
    pub(super) fn has_events(&self) -> bool {
        let mut waits = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut waits, PollTimeout::ZERO).map_or(true, |ready| ready > 0)
    }

    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.0.try_clone().map(OwnedFd::from)
    }
}

/// The descriptor that came with an event.
pub(super) fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel made it for this event, which is decoded once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// What is known of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    pub is_regular: bool,
    pub device: (u32, u32),
    pub inode: u64,
    pub size: u64,
    pub links: u32,
    /// When it was last changed, seconds since 1970.
    pub changed: i64,
    /// The mount it was opened through (Linux 5.8).
    pub mount: Option<u64>,
}

const MNT_ID: u32 = 0x1000; // STATX_MNT_ID

/// Asks for it, without asking a server of a network file system.
pub(super) fn status(fd: BorrowedFd<'_>) -> io::Result<Status> {
    let mut status = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is empty and ends with NUL; `status` has room for what is written.
    let result = unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC,
            libc::STATX_BASIC_STATS | MNT_ID,
            status.as_mut_ptr(),
        )
    };
    checked(result)?;
    // SAFETY: all zero is a statx, and the call has succeeded.
    let status = unsafe { status.assume_init() };
    Ok(Status {
        is_regular: u32::from(status.stx_mode) & libc::S_IFMT == libc::S_IFREG,
        device: (status.stx_dev_major, status.stx_dev_minor),
        inode: status.stx_ino,
        size: status.stx_size,
        links: status.stx_nlink,
        changed: status.stx_ctime.tv_sec,
        mount: (status.stx_mask & MNT_ID != 0).then_some(status.stx_mnt_id),
    })
}

/// FS_IOC_GETVERSION: which file of this inode number it is; 0 where the file system does not tell.
pub(super) fn generation(fd: BorrowedFd<'_>) -> u32 {
    const GETVERSION: libc::c_ulong = 0x8008_7601; // _IOR('v', 1, long)
    let mut version: libc::c_long = 0;
    // SAFETY: `version` has room for the long that this call writes at the most.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), GETVERSION as _, &raw mut version) };
    if result == 0 {
        (version & 0xffff_ffff).unsigned_abs() as u32
    } else {
        0
    }
}

/// FS_IOC_GETFSUUID (Linux 6.9).
pub(super) fn uuid(fd: BorrowedFd<'_>) -> Option<[u8; 16]> {
    const GETFSUUID: libc::c_ulong = 0x8011_1500; // _IOR(0x15, 0, struct fsuuid2)
    let mut answer = [0_u8; 17];
    // SAFETY: `answer` is as large as struct fsuuid2: a length and sixteen bytes.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), GETFSUUID as _, answer.as_mut_ptr()) };
    let [length, uuid @ ..] = answer;
    (result == 0 && length == 16 && uuid != [0; 16]).then_some(uuid)
}

/// A file handle as name_to_handle_at(2) wants it, with room for the largest.
#[repr(C)]
struct Handle {
    bytes: libc::c_uint,
    kind: libc::c_int,
    room: [u8; 128], // MAX_HANDLE_SZ
}

/// The same file by another mount of its file system, of which `mount` is open: its path there can be asked for. Needs
/// CAP_DAC_READ_SEARCH.
pub(super) fn reopen(fd: BorrowedFd<'_>, mount: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut handle = handle_at(fd.as_raw_fd(), c"", libc::AT_EMPTY_PATH)?;
    let pointer = (&raw mut handle).cast::<libc::file_handle>();
    // SAFETY: `handle` is a file_handle as the kernel filled it.
    let opened = unsafe {
        libc::open_by_handle_at(mount.as_raw_fd(), pointer, libc::O_PATH | libc::O_CLOEXEC)
    };
    Ok(own(checked(opened)?))
}

/// A file's handle, as events of [`Group::by_handle`] have it: size, type and bytes.
///
/// # Errors
/// The kernel's: its file system has none, or it is not there.
pub(super) fn handle_of(path: &Path) -> io::Result<Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let handle = handle_at(libc::AT_FDCWD, &path, 0)?;
    let used = usize::try_from(handle.bytes)
        .unwrap_or(0)
        .min(handle.room.len());
    let mut bytes = handle.bytes.to_ne_bytes().to_vec();
    bytes.extend(handle.kind.to_ne_bytes());
    bytes.extend(&handle.room[..used]);
    Ok(bytes)
}

fn handle_at(folder: RawFd, path: &CStr, flags: libc::c_int) -> io::Result<Handle> {
    let mut handle = Handle {
        bytes: 128,
        kind: 0,
        room: [0; 128],
    };
    let mut mount_id = 0;
    // SAFETY: the path ends with NUL; `handle` is a file_handle with the room that it says, and `mount_id` an int.
    let result = unsafe {
        libc::name_to_handle_at(
            folder,
            path.as_ptr(),
            (&raw mut handle).cast::<libc::file_handle>(),
            &raw mut mount_id,
            flags,
        )
    };
    checked(result).map(|_| handle)
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_file_is_found_by_another_mount() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not run: a_file_is_found_by_another_mount: needs root");
            assert!(std::env::var_os("CI").is_none(), "in CI it must run");
            return;
        }
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = directory.path().join("a");
        let file = File::create(&path).unwrap();
        let mount = File::open("/var/tmp").unwrap();
        let again = reopen(file.as_fd(), mount.as_fd()).unwrap();
        assert_eq!(super::super::place::path_of(again.as_raw_fd()), Some(path));
    }

    #[test]
    fn a_file_is_as_the_standard_library_says() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::write(&path, "12345").unwrap();
        let file = File::open(&path).unwrap();
        let told = status(file.as_fd()).unwrap();
        let truth = file.metadata().unwrap();
        assert_eq!(
            (told.inode, told.size, told.links, told.changed),
            (truth.ino(), 5, 1, truth.ctime())
        );
        assert!(told.is_regular);
        let folder = File::open(directory.path()).unwrap();
        assert!(!status(folder.as_fd()).unwrap().is_regular);
        // Whatever the file system tells, it tells twice.
        assert_eq!(generation(file.as_fd()), generation(file.as_fd()));
        assert_eq!(uuid(file.as_fd()), uuid(folder.as_fd()));
    }
}
