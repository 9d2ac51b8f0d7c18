//! Reads and sends that are queued and complete later: io_uring and libaio.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::c_long;
use std::io;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, squeue, types};

use super::call::{done, moved};

/// Requests in flight.
const DEPTH: usize = 8;

/// Memory as O_DIRECT wants it.
pub(super) struct Buffer {
    start: *mut u8,
    layout: Layout,
}

impl Buffer {
    /// Zeros, aligned to a page.
    pub(super) fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, 4096).expect("a size in reason");
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        assert!(!start.is_null(), "out of memory");
        Self { start, layout }
    }

    /// It.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: allocated with this size, initialised, and borrowed from self.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.layout.size()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}

fn buffers(piece: usize) -> Vec<Buffer> {
    (0..DEPTH).map(|_| Buffer::new(piece)).collect()
}

/// Reads a file to its end by io_uring, `piece` bytes a request, several in flight.
pub(super) fn uring(file: &impl AsRawFd, piece: usize) -> io::Result<u64> {
    uring_on(IoUring::new(DEPTH as u32)?, file, piece)
}

/// A ring that a thread of the kernel's own serves: the program makes no system call for a request.
fn polled() -> io::Result<IoUring> {
    IoUring::builder().setup_sqpoll(1000).build(DEPTH as u32)
}

/// The same as [`uring`], by a thread of the kernel's.
pub(super) fn uring_polled(file: &impl AsRawFd, piece: usize) -> io::Result<u64> {
    uring_on(polled()?, file, piece)
}

fn uring_on(mut ring: IoUring, file: &impl AsRawFd, piece: usize) -> io::Result<u64> {
    let mut buffers = buffers(piece);
    let file = types::Fd(file.as_raw_fd());
    rounds(piece, |at| {
        let requests: Vec<squeue::Entry> = buffers
            .iter_mut()
            .zip(at)
            .map(|(buffer, at)| {
                opcode::Read::new(file, buffer.start, piece as u32)
                    .offset(at)
                    .build()
            })
            .collect();
        submit(&mut ring, &requests)
    })
}

/// Sends `bytes` over a connected socket by io_uring, `count` times.
pub(super) fn uring_send(socket: &impl AsRawFd, bytes: &[u8], count: usize) -> io::Result<u64> {
    uring_send_on(IoUring::new(DEPTH as u32)?, socket, bytes, count)
}

/// The same as [`uring_send`], by a thread of the kernel's.
pub(super) fn uring_send_polled(
    socket: &impl AsRawFd,
    bytes: &[u8],
    count: usize,
) -> io::Result<u64> {
    uring_send_on(polled()?, socket, bytes, count)
}

/// Reads a file to its end and sends it over a connected socket, both by io_uring.
pub(super) fn uring_copy(
    file: &impl AsRawFd,
    socket: &impl AsRawFd,
    piece: usize,
) -> io::Result<()> {
    let mut ring = IoUring::new(DEPTH as u32)?;
    let buffer = Buffer::new(piece);
    let (file, socket) = (types::Fd(file.as_raw_fd()), types::Fd(socket.as_raw_fd()));
    let mut at = 0;
    loop {
        let read = opcode::Read::new(file, buffer.start, piece as u32).offset(at);
        let taken = submit(&mut ring, &[read.build()])?;
        if taken == 0 {
            return Ok(());
        }
        let send = opcode::Send::new(socket, buffer.start, taken as u32).flags(libc::MSG_WAITALL);
        submit(&mut ring, &[send.build()])?;
        at += taken;
    }
}

/// Sends a message by io_uring, `count` times.
pub(super) fn uring_sendmsg(
    socket: &impl AsRawFd,
    message: &libc::msghdr,
    count: usize,
) -> io::Result<u64> {
    let mut ring = IoUring::new(DEPTH as u32)?;
    let request = opcode::SendMsg::new(types::Fd(socket.as_raw_fd()), message).build();
    let request = std::slice::from_ref(&request);
    (0..count).map(|_| submit(&mut ring, request)).sum()
}

fn uring_send_on(
    mut ring: IoUring,
    socket: &impl AsRawFd,
    bytes: &[u8],
    count: usize,
) -> io::Result<u64> {
    let request = opcode::Send::new(
        types::Fd(socket.as_raw_fd()),
        bytes.as_ptr(),
        bytes.len() as u32,
    )
    .flags(libc::MSG_WAITALL)
    .build();
    (0..count)
        .map(|_| submit(&mut ring, std::slice::from_ref(&request)))
        .sum()
}

/// Submits and waits for all; the sum of their results.
fn submit(ring: &mut IoUring, requests: &[squeue::Entry]) -> io::Result<u64> {
    for request in requests {
        // SAFETY: what a request points at lives until it is complete, which is before this returns.
        while unsafe { ring.submission().push(request) }.is_err() {
            ring.submitter().squeue_wait()?; // the kernel's own thread has not taken the last ones yet
        }
    }
    ring.submit_and_wait(requests.len())?;
    let results: Vec<i32> = ring.completion().map(|entry| entry.result()).collect();
    results.into_iter().map(result).sum()
}

fn result(result: i32) -> io::Result<u64> {
    u64::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

/// Calls for `DEPTH` offsets at a time until a round moves nothing.
fn rounds(piece: usize, mut round: impl FnMut([u64; DEPTH]) -> io::Result<u64>) -> io::Result<u64> {
    let mut all = 0;
    for number in 0.. {
        let first = number * DEPTH as u64;
        let bytes = round(std::array::from_fn(|place| {
            (first + place as u64) * piece as u64
        }))?;
        if bytes == 0 {
            break;
        }
        all += bytes;
    }
    Ok(all)
}

/// `struct iocb` (include/uapi/linux/aio_abi.h, little endian).
#[repr(C)]
#[derive(Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: i32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event_fd: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct IoEvent {
    data: u64,
    request: u64,
    result: i64,
    result2: i64,
}

/// A context of the kernel's own asynchronous IO, which libaio wraps.
struct Context(u64);

impl Context {
    fn new() -> io::Result<Self> {
        let mut context = 0_u64;
        let room = DEPTH as c_long;
        // SAFETY: the kernel writes the context, 8 bytes.
        moved(unsafe { libc::syscall(libc::SYS_io_setup, room, &raw mut context) } as isize)?;
        Ok(Self(context))
    }

    /// Submits and waits for all; the sum of their results.
    fn run(&self, requests: &mut [Iocb]) -> io::Result<u64> {
        let pointers: Vec<*mut Iocb> = requests
            .iter_mut()
            .map(|request| &raw mut *request)
            .collect();
        let count = requests.len() as c_long;
        let mut events = [IoEvent::default(); DEPTH];
        // SAFETY: requests, buffers and events live until all are complete, which is before this returns.
        let got = unsafe {
            done(libc::syscall(libc::SYS_io_submit, self.0, count, pointers.as_ptr()) as i32)?;
            let none = std::ptr::null::<libc::timespec>();
            moved(libc::syscall(
                libc::SYS_io_getevents,
                self.0,
                count,
                count,
                events.as_mut_ptr(),
                none,
            ) as isize)?
        };
        assert_eq!(got, requests.len() as u64, "not all completed");
        events[..requests.len()]
            .iter()
            .map(|event| result(event.result as i32))
            .sum()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: our own context.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.0) };
    }
}

/// Reads a file to its end by `io_submit`, `piece` bytes a request, several in flight.
pub(super) fn libaio(file: &impl AsRawFd, piece: usize) -> io::Result<u64> {
    let context = Context::new()?;
    let mut buffers = buffers(piece);
    let fd = file.as_raw_fd().unsigned_abs();
    rounds(piece, |at| {
        let request = |(buffer, at): (&mut Buffer, u64)| Iocb {
            fd,
            buffer: buffer.start as u64,
            bytes: piece as u64,
            offset: at.cast_signed(),
            ..Iocb::default()
        };
        let mut requests: Vec<Iocb> = buffers.iter_mut().zip(at).map(request).collect();
        context.run(&mut requests)
    })
}
