//! Ways to read a file by system calls.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{BIG, Bench, Way, call, queue, wait_for_agent};

/// The ways.
pub const WAYS: &[Way] = &[
    Way::new("read", |bench| read(&bench.big(), 128 << 10)),
    Way::new("read, not cached", |bench| {
        let mut file = File::open(bench.big())?;
        call::forget(&file)?;
        read_file(&mut file, 128 << 10)
    }),
    Way::new("read, not cached, 1 MiB at once", |bench| {
        let mut file = File::open(bench.big())?;
        call::forget(&file)?;
        read_file(&mut file, 1 << 20)
    }),
    Way::new("read in pieces of 777 B", |bench| read(&bench.big(), 777)),
    Way::new("pread", |bench| pread(bench, 4097)),
    Way::new("pread in pieces of 500 B", |bench| pread(bench, 500)),
    Way::new("readv", readv),
    Way::new("preadv2", |bench| preadv2(bench, 8192)),
    Way::new("preadv2 in pieces of 700 B", |bench| preadv2(bench, 700)),
    Way::new("sendfile", |bench| sendfile(&File::open(bench.big())?)),
    Way::new("splice", splice),
    Way::new("sendfile, not cached", |bench| {
        let file = File::open(bench.big())?;
        call::forget(&file)?;
        sendfile(&file)
    }),
    Way::new("copy_file_range", copy_file_range),
    Way::new("io_uring", |bench| {
        queue::uring(&File::open(bench.big())?, 64 << 10)
    }),
    Way::new("io_uring in pieces of 700 B", |bench| {
        queue::uring(&File::open(bench.big())?, 700)
    }),
    Way::new("io_uring, not cached", |bench| {
        let file = File::open(bench.big())?;
        call::forget(&file)?;
        queue::uring(&file, 64 << 10)
    }),
    Way::new("io_uring, polled by the kernel", |bench| {
        queue::uring_polled(&File::open(bench.big())?, 64 << 10)
    }),
    Way::new("io_uring with O_DIRECT", |bench| {
        queue::uring(&direct(bench)?, 64 << 10)
    }),
    Way::new("libaio", |bench| {
        queue::libaio(&File::open(bench.big())?, 64 << 10)
    }),
    Way::new("libaio with O_DIRECT", |bench| {
        queue::libaio(&direct(bench)?, 64 << 10)
    }),
    Way::new("O_DIRECT", o_direct),
    Way::early("opened before the agent started", opened_before),
];

/// Reads a file to its end by `read`, `piece` bytes at a time.
pub(super) fn read(path: &Path, piece: usize) -> io::Result<u64> {
    read_file(&mut File::open(path)?, piece)
}

/// Reads a file from where it is to its end by `read`.
pub(super) fn read_file(file: &mut impl Read, piece: usize) -> io::Result<u64> {
    let mut buffer = vec![0; piece];
    until_nothing(|_| Ok(file.read(&mut buffer)? as u64))
}

/// Adds up what a call moves until it moves nothing. It is told how much was moved so far.
pub(super) fn until_nothing(mut call: impl FnMut(u64) -> io::Result<u64>) -> io::Result<u64> {
    let mut all = 0;
    loop {
        match call(all)? {
            0 => return Ok(all),
            bytes => all += bytes,
        }
    }
}

/// From the end to the beginning, so that no piece follows the one before it.
fn pread(bench: &Bench, piece: u64) -> io::Result<u64> {
    let file = File::open(bench.big())?;
    let mut buffer = vec![0; usize::try_from(piece).expect("small")];
    let mut all = 0;
    for index in (0..BIG.div_ceil(piece)).rev() {
        all += file.read_at(&mut buffer, index * piece)? as u64;
    }
    Ok(all)
}

fn readv(bench: &Bench) -> io::Result<u64> {
    let file = File::open(bench.big())?;
    let (mut one, mut other) = ([0; 700], [0; 9000]);
    until_nothing(|_| {
        call::readv(
            &file,
            &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)],
        )
    })
}

fn preadv2(bench: &Bench, piece: usize) -> io::Result<u64> {
    let file = File::open(bench.big())?;
    let (mut one, mut other) = (vec![0; piece / 2], vec![0; piece - piece / 2]);
    let mut all = 0;
    for index in (0..BIG.div_ceil(piece as u64)).rev() {
        let at = i64::try_from(index * piece as u64).expect("small");
        all += call::preadv2(
            &file,
            &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)],
            at,
        )?;
    }
    Ok(all)
}

fn sendfile(file: &File) -> io::Result<u64> {
    let (to, mut from) = UnixStream::pair()?;
    let sink = std::thread::spawn(move || io::copy(&mut from, &mut io::sink()));
    let sent = until_nothing(|_| call::sendfile(&to, file, 300_001))?;
    drop(to);
    let arrived = sink.join().expect("the sink ends")?;
    assert_eq!(
        sent, arrived,
        "sendfile said something else than what arrived"
    );
    Ok(sent)
}

fn splice(bench: &Bench) -> io::Result<u64> {
    let file = File::open(bench.big())?;
    let (mut from, to) = io::pipe()?;
    let sink = std::thread::spawn(move || io::copy(&mut from, &mut io::sink()));
    let moved = until_nothing(|_| call::splice(&file, &to, 1 << 20))?;
    drop(to);
    sink.join().expect("the sink ends")?;
    Ok(moved)
}

fn copy_file_range(bench: &Bench) -> io::Result<u64> {
    let (from, to) = (
        File::open(bench.big())?,
        File::create(bench.folder.join("copied"))?,
    );
    until_nothing(|_| call::copy_file_range(&from, &to, 1 << 20))
}

fn direct(bench: &Bench) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(bench.big())
}

fn o_direct(bench: &Bench) -> io::Result<u64> {
    let file = direct(bench)?;
    let mut buffer = queue::Buffer::new(1 << 20);
    until_nothing(|at| Ok(file.read_at(buffer.bytes(), at)? as u64))
}

fn opened_before(bench: &Bench) -> io::Result<u64> {
    let mut file = File::open(bench.big())?;
    // Half of it is read already: that half is nobody's to see.
    file.read_exact(&mut vec![0; 3 << 20])?;
    wait_for_agent()?;
    read_file(&mut file, 64 << 10)
}
