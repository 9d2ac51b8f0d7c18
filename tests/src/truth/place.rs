//! Other places where a store's bytes can be read: other names, other mounts, copies below the path.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::call::{self, Subvolume};
use super::reading::{read, read_file};
use super::{BIG, Bench, Way};

/// The ways.
pub const WAYS: &[Way] = &[
    Way::new("through a hard link", |bench| {
        let link = bench.folder.join("hard");
        fs::hard_link(bench.big(), &link)?;
        read(&link, PIECE)
    }),
    Way::new("through a symbolic link", |bench| {
        let link = bench.folder.join("soft");
        symlink(bench.big(), &link)?;
        read(&link, PIECE)
    }),
    Way::new("through a bind mount", |bench| {
        read(&bound(bench, "bound")?.join("big"), PIECE)
    }),
    Way::new("through overlayfs", overlay),
    Way::new("through a FUSE bind mount", fuse),
    Way::new("renamed in the store", |bench| {
        let (from, to) = (
            bench.store().join("first-name"),
            bench.store().join("other-name"),
        );
        fs::rename(from, &to)?;
        read(&to, PIECE)
    }),
    Way::new("renamed out of the store", |bench| {
        let to = bench.folder.join("renamed-out");
        fs::rename(bench.store().join("to-be-moved"), &to)?;
        read(&to, PIECE)
    }),
    Way::new("forty folders deep", |bench| {
        read(&deep(bench).join("file"), PIECE)
    }),
    Way::new("by its handle", |bench| {
        let folder = File::open(bench.store())?;
        read_file(&mut call::open_by_handle(&folder, c"unnamed")?, PIECE)
    }),
    Way::new("in another mount namespace", |bench| {
        call::own_mounts()?;
        read(&bound(bench, "bound-elsewhere")?.join("big"), PIECE)
    }),
    Way::new("on btrfs", |bench| {
        read(&btrfs(bench)?.join("store/big"), PIECE)
    }),
    Way::new("by a reflink (btrfs)", |bench| {
        let disk = btrfs(bench)?;
        let (from, to) = (
            File::open(disk.join("store/big"))?,
            File::create(disk.join("cloned"))?,
        );
        call::clone(&from, &to)?;
        read(&disk.join("cloned"), PIECE)
    }),
    Way::new("in a snapshot (btrfs)", |bench| {
        let disk = btrfs(bench)?;
        let (folder, store) = (File::open(&disk)?, File::open(disk.join("store"))?);
        call::subvolume(&folder, Subvolume::Snapshot(store.as_fd()), "snapshot")?;
        read(&disk.join("snapshot/big"), PIECE)
    }),
    Way::new("by btrfs send", |bench| {
        let disk = btrfs(bench)?;
        let (folder, store) = (File::open(&disk)?, File::open(disk.join("store"))?);
        call::subvolume(&folder, Subvolume::Snapshot(store.as_fd()), "to-be-sent")?;
        let (mut from, to) = io::pipe()?;
        let taker = std::thread::spawn(move || io::copy(&mut from, &mut Nowhere));
        call::send_subvolume(&File::open(disk.join("to-be-sent"))?, &to)?;
        drop(to);
        taker.join().expect("it copies")?;
        Ok(BIG)
    }),
    Way::new("on the block device", |bench| {
        let mut device = File::open(device_of(&btrfs(bench)?)?)?;
        let mut left = io::Read::take(&mut device, BIG);
        io::copy(&mut left, &mut Nowhere)
    }),
    Way::new("on the block device, 1 MiB at once", |bench| {
        let device = File::open(device_of(&btrfs(bench)?)?)?;
        call::forget(&device)?;
        read_file(&mut io::Read::take(&device, BIG), 1 << 20)
    }),
    Way::new("on tmpfs", |bench| {
        read(&mounted(bench, "tmpfs")?.join("store/big"), PIECE)
    }),
    Way::new("in a memfd", |_| {
        let mut memory = File::from(call::memfd()?);
        memory.write_all(&vec![7; usize::try_from(BIG).expect("small")])?;
        io::Seek::rewind(&mut memory)?;
        read_file(&mut memory, PIECE)
    }),
];

const PIECE: usize = 64 << 10;

/// Unlike `io::sink`, it makes `io::copy` read.
struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The folders, below `folder`, that the agent must be told are the store.
pub const STORES: [&str; 3] = ["store", "btrfs/store", "tmpfs/store"];

/// Another store, whose name comes after theirs: rung 4 tells in the order of names.
pub const MARKS: &str = "zz-marks";

/// Bytes of its one file.
pub const MARK: u64 = 4242;

/// Makes what the ways read. It mounts file systems, so the caller has a mount namespace of its own. What this machine
/// cannot make is left out; the ways that need it then say so.
///
/// # Errors
/// If not even the folder can be filled.
pub fn prepare(bench: &Bench) -> io::Result<()> {
    fs::create_dir_all(bench.store())?;
    for name in [
        "store/big",
        "store/first-name",
        "store/to-be-moved",
        "store/unnamed",
        "plain",
    ] {
        fill(&bench.folder.join(name))?;
    }
    fs::create_dir_all(deep(bench))?;
    fill(&deep(bench).join("file"))?;
    fs::create_dir_all(bench.folder.join(MARKS))?;
    fs::write(bench.mark(), [7; MARK as usize])?;
    for (name, made) in [("btrfs", make_btrfs(bench)), ("tmpfs", make_tmpfs(bench))] {
        if let Err(error) = made {
            eprintln!("no {name} here: {error}");
        }
    }
    Ok(())
}

/// A folder of the store that is deeper than anybody would look.
fn deep(bench: &Bench) -> PathBuf {
    bench.store().join("deep/".repeat(40))
}

/// A file of [`BIG`] bytes, on disk.
fn fill(path: &Path) -> io::Result<()> {
    let bytes: Vec<u8> = (0..BIG).map(|place| (place * 31 % 251) as u8).collect();
    let mut file = File::create(path)?;
    // In small pieces, so that the page cache holds small folios: then a large read takes many calls in the kernel.
    for piece in bytes.chunks(4096) {
        file.write_all(piece)?;
    }
    file.sync_all()
}

fn make_tmpfs(bench: &Bench) -> io::Result<()> {
    let place = bench.folder.join("tmpfs");
    fs::create_dir_all(&place)?;
    call::mount(Path::new("none"), &place, "tmpfs", 0, "size=32m")?;
    fs::create_dir(place.join("store"))?;
    fill(&place.join("store/big"))
}

/// On an image of its own, which may have been made elsewhere: `btrfs.img` in the folder.
fn make_btrfs(bench: &Bench) -> io::Result<()> {
    let (image, place) = (bench.folder.join("btrfs.img"), bench.folder.join("btrfs"));
    if !image.exists() {
        File::create(&image)?.set_len(256 << 20)?;
        command("mkfs.btrfs", &["-q".as_ref(), &image])?;
    }
    fs::create_dir_all(&place)?;
    command("mount", &["-o".as_ref(), "loop".as_ref(), &image, &place])?;
    call::subvolume(&File::open(&place)?, Subvolume::New, "store")?;
    fill(&place.join("store/big"))
}

fn command(program: &str, words: &[&Path]) -> io::Result<()> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let status = Command::new(program).args(words).env("PATH", path).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(io::Error::other(format!("{program}: {status}"))),
        Err(error) => Err(io::Error::other(format!("{program}: {error}"))),
    }
}

fn mounted(bench: &Bench, name: &str) -> io::Result<PathBuf> {
    let place = bench.folder.join(name);
    if place.join("store/big").exists() {
        Ok(place)
    } else {
        Err(io::Error::other(format!("no {name} here")))
    }
}

fn btrfs(bench: &Bench) -> io::Result<PathBuf> {
    mounted(bench, "btrfs")
}

/// The device that is mounted there.
fn device_of(place: &Path) -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut lines = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    lines
        .find(|words| Path::new(words[1]) == place)
        .map(|words| words[0].into())
        .ok_or_else(|| io::Error::other("the mount is not in /proc/self/mounts"))
}

fn bound(bench: &Bench, name: &str) -> io::Result<PathBuf> {
    let place = bench.folder.join(name);
    fs::create_dir_all(&place)?;
    call::mount(&bench.store(), &place, "", libc::MS_BIND, "")?;
    Ok(place)
}

fn overlay(bench: &Bench) -> io::Result<u64> {
    let folder = |name: &str| {
        let path = bench.folder.join(name);
        fs::create_dir_all(&path).map(|()| path)
    };
    let (upper, work, merged) = (folder("upper")?, folder("work")?, folder("merged")?);
    let data = format!(
        "lowerdir={},upperdir={},workdir={}",
        bench.store().display(),
        upper.display(),
        work.display()
    );
    call::mount(Path::new("none"), &merged, "overlay", 0, &data)?;
    read(&merged.join("big"), PIECE)
}

/// The file system is served by another process of this program.
fn fuse(bench: &Bench) -> io::Result<u64> {
    let place = bench.folder.join("fuse");
    fs::create_dir_all(&place)?;
    let mut server = Command::new(std::env::current_exe()?)
        .arg("fuse")
        .args([&bench.store(), &place])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut ready = [0];
    io::Read::read_exact(server.stdout.as_mut().expect("piped"), &mut ready)?;
    let bytes = read(&place.join("big"), PIECE);
    server.kill()?;
    server.wait()?;
    bytes
}
