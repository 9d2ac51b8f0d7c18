//! Where the descriptors of a process stand, by `/proc/PID/fd` and `fdinfo`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use jaga_rules::event::FileId;

use super::books::Stand;
use crate::sensor::proc::look::number;

/// A descriptor of some process.
#[derive(Debug)]
pub(super) struct Descriptor {
    /// Opening it opens the file anew.
    pub link: PathBuf,
    pub path: PathBuf,
    pub position: u64,
    pub mount: Option<u64>,
}

/// How each of these files (with its inode) stands; of several descriptors the furthest.
pub(super) fn stands(pid: u32, files: &[(FileId, u64)], looks: &mut usize) -> Vec<(FileId, Stand)> {
    let wanted: BTreeMap<u64, FileId> = files.iter().map(|(file, inode)| (*inode, *file)).collect();
    let mut found: BTreeMap<FileId, Stand> = files
        .iter()
        .map(|(file, _)| (*file, Stand::Nowhere))
        .collect();
    for fd in descriptors(pid) {
        *looks += 1;
        let inode = fs::metadata(format!("/proc/{pid}/fd/{fd}")).map(|found| found.ino());
        let Some(file) = inode.ok().and_then(|inode| wanted.get(&inode)) else {
            continue;
        };
        let Some(info) = info(pid, fd) else { continue };
        let stand = found.entry(*file).or_insert(Stand::Nowhere);
        *stand = match (*stand, info.write_only) {
            (Stand::At(before), false) => Stand::At(before.max(info.position)),
            (Stand::At(before), true) => Stand::At(before),
            (Stand::Nowhere | Stand::WriteOnly, false) => Stand::At(info.position),
            (Stand::Nowhere | Stand::WriteOnly, true) => Stand::WriteOnly,
        };
    }
    found.into_iter().collect()
}

/// Open files of a process that have a path.
pub(super) fn of(pid: u32) -> impl Iterator<Item = Descriptor> {
    descriptors(pid).filter_map(move |fd| {
        let link = PathBuf::from(format!("/proc/{pid}/fd/{fd}"));
        let path = fs::read_link(&link)
            .ok()
            .filter(|path| path.is_absolute())?;
        let info = info(pid, fd).filter(|info| !info.write_only)?;
        Some(Descriptor {
            link,
            path,
            position: info.position,
            mount: info.mount,
        })
    })
}

fn descriptors(pid: u32) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"));
    let entries = entries.into_iter().flatten().flatten();
    entries.filter_map(|entry| number(&entry.file_name()))
}

#[derive(Debug, PartialEq, Eq)]
struct Info {
    position: u64,
    write_only: bool,
    mount: Option<u64>,
}

fn info(pid: u32, fd: u32) -> Option<Info> {
    decode(&fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?)
}

/// proc_pid_fdinfo(5): the flags are octal.
fn decode(text: &str) -> Option<Info> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.strip_prefix(':').map(str::trim)
    };
    let flags = i32::from_str_radix(field("flags")?, 8).ok()?;
    Some(Info {
        position: field("pos")?.parse().ok()?,
        write_only: flags & libc::O_ACCMODE == libc::O_WRONLY,
        mount: field("mnt_id").and_then(|id| id.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn an_open_file_stands_where_it_was_read_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, [0; 100]).unwrap();
        let mut file = fs::File::open(&path).unwrap();
        file.read_exact(&mut [0; 60]).unwrap();
        let id = |inode| FileId {
            fs: 1,
            inode,
            generation: 0,
        };
        let inode = file.metadata().unwrap().ino();
        let files = [(id(inode), inode), (id(0), 0)];
        let told = stands(std::process::id(), &files, &mut 0);
        assert!(told.contains(&(id(inode), Stand::At(60))), "{told:?}");
        assert!(told.contains(&(id(0), Stand::Nowhere)), "{told:?}");
        let mine = of(std::process::id()).find(|open| open.path == path);
        assert_eq!(mine.unwrap().position, 60);
    }

    #[test]
    fn flags_are_octal() {
        let info = decode("pos:\t7\nflags:\t0100001\nmnt_id:\t29\n").unwrap();
        assert_eq!((info.position, info.mount), (7, Some(29)));
        assert!(info.write_only);
        assert_eq!(decode("pos:\t7\n"), None);
    }
}
