//! Tells the kernel side where the stores are, and again when a mount or a directory changes.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jaga_rules::config::Store;
use jaga_rules::event::Name;
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::attach::Attached;
use super::decode::{Fields, file};
use crate::sensor::HealthTable;

/// How often mounts and directories are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The stores' names by the index that the kernel side knows. Only ever grows: what the kernel counted under an
/// index before a reload keeps its name.
#[derive(Debug, Clone, Default)]
pub struct StoreNames(Arc<Mutex<Vec<Name>>>);

impl StoreNames {
    /// All, by index.
    #[must_use]
    pub fn all(&self) -> Vec<Name> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn index(&self, name: &Name) -> u32 {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = names.iter().position(|known| known == name);
        let index = known.unwrap_or_else(|| {
            names.push(name.clone());
            names.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }
}

/// Where stores begin: file system and inode, with the store's index. Inode 0 marks a file system that has such a
/// place.
type Places = BTreeMap<(u64, u64), u32>;

/// Keeps the kernel's list of store roots.
#[derive(Debug)]
pub struct Roots {
    attached: Arc<Attached>,
    names: StoreNames,
    health: HealthTable,
    stores: Vec<Store>,
    placed: Places,
    version: u32,
    exact_writes: u32,
    /// Mounts and root directories as of the last placing.
    seen: (String, Vec<Option<(u64, u64)>>),
}

impl Roots {
    /// No store yet.
    #[must_use]
    pub fn new(attached: Arc<Attached>, names: StoreNames, health: HealthTable) -> Self {
        Self {
            exact_writes: exact_writes(&attached),
            attached,
            names,
            health,
            stores: Vec::new(),
            placed: Places::new(),
            version: 0,
            seen: Default::default(),
        }
    }

    /// Follows new configurations and changing mounts until the sender is gone.
    pub fn run(mut self, changes: &Receiver<Vec<Store>>) {
        loop {
            match changes.recv_timeout(LOOK) {
                Ok(stores) => self.set(stores),
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Takes these stores instead of the former ones.
    pub fn set(&mut self, stores: Vec<Store>) {
        self.stores = stores;
        self.place();
    }

    fn look(&mut self) {
        if self.seen != self.sight() {
            self.place();
        }
    }

    fn sight(&self) -> (String, Vec<Option<(u64, u64)>>) {
        let paths = self.stores.iter().flat_map(|store| &store.paths);
        let directories = paths.map(|path| {
            let found = fs::metadata(path).ok()?;
            Some((found.dev(), found.ino()))
        });
        (mounts(), directories.collect())
    }

    fn place(&mut self) {
        self.seen = self.sight();
        let mut missing = Vec::new();
        let opened = self.open(&mut missing);
        let told = self.identify(&opened).and_then(|places| self.tell(&places));
        missing.extend(told.err());
        self.health.update("files", |health| {
            health.why = super::files_why(&missing);
        });
    }

    /// Opens each root for a moment, without reading and without waking an automount.
    fn open(&self, missing: &mut Vec<String>) -> Vec<(File, u32)> {
        let mut opened = Vec::new();
        for store in &self.stores {
            let index = self.names.index(&store.name);
            for path in &store.paths {
                match open_path(path) {
                    Ok(file) => opened.push((file, index)),
                    Err(error) => missing.push(format!(
                        "store '{}': cannot open '{}': {error}",
                        store.name,
                        path.display()
                    )),
                }
                let below = mounts_below(&self.seen.0, path);
                opened.extend(
                    below
                        .iter()
                        .filter_map(|path| Some((open_path(path).ok()?, index))),
                );
            }
        }
        opened
    }

    /// Asks the kernel side what it calls these files: the same code then names what is read.
    fn identify(&mut self, opened: &[(File, u32)]) -> Result<Places, String> {
        let by_fd: BTreeMap<u32, u32> = opened
            .iter()
            .map(|(file, index)| (file.as_raw_fd().unsigned_abs(), *index))
            .collect();
        self.settings(std::process::id())?;
        let listed = self.attached.iterate("list_files")?;
        let mut places = Places::new();
        for root in decode_listed(&listed) {
            if let Some(index) = by_fd.get(&root.fd) {
                places.insert((root.fs, root.inode), *index);
                places.insert((root.super_id, 0), 0);
            }
        }
        Ok(places)
    }

    fn tell(&mut self, places: &Places) -> Result<(), String> {
        let map = self.attached.map("roots")?;
        for place in self
            .placed
            .keys()
            .filter(|place| !places.contains_key(place))
        {
            let gone = map.delete(&key_bytes(*place));
            gone.map_err(|error| format!("cannot drop a store's root: {error}"))?;
        }
        for (place, index) in places {
            map.update(&key_bytes(*place), &index.to_ne_bytes(), MapFlags::ANY)
                .map_err(|error| format!("cannot tell the kernel a store's root: {error}"))?;
        }
        self.placed.clone_from(places);
        self.version = self.version.wrapping_add(1);
        self.settings(0)
    }

    /// `struct settings` of `files.bpf.c`.
    fn settings(&self, list_tgid: u32) -> Result<(), String> {
        let any_roots = u32::from(!self.placed.is_empty());
        let fields = [self.version, any_roots, list_tgid, self.exact_writes];
        let bytes: Vec<u8> = fields
            .iter()
            .flat_map(|field| field.to_ne_bytes())
            .collect();
        set(self.attached.map("settings")?, &bytes)
    }
}

/// File systems whose own hooks count their writes, as `struct settings` has them.
fn exact_writes(attached: &Attached) -> u32 {
    let ext4 = ["on_ext4_delayed", "on_ext4_write", "on_ext4_journalled"];
    let ext4 = ext4.iter().all(|program| attached.has(program));
    u32::from(ext4) | u32::from(attached.has("on_xfs_write")) << 1
}

/// Writes the only entry of a settings map.
pub(crate) fn set(map: &MapHandle, bytes: &[u8]) -> Result<(), String> {
    map.update(&0_u32.to_ne_bytes(), bytes, MapFlags::ANY)
        .map_err(|error| format!("cannot tell the kernel the settings: {error}"))
}

fn key_bytes((fs, inode): (u64, u64)) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&fs.to_ne_bytes());
    key[8..].copy_from_slice(&inode.to_ne_bytes());
    key
}

fn open_path(path: &Path) -> std::io::Result<File> {
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn mounts() -> String {
    fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default()
}

/// Mount points strictly below a path: a store goes on where another file system is mounted into it.
fn mounts_below(mountinfo: &str, path: &Path) -> Vec<PathBuf> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let points = points.map(|point| PathBuf::from(unescape(point)));
    points
        .filter(|point| *point != path && point.starts_with(&path))
        .collect()
}

/// Space, tab, newline and backslash are octal in mountinfo (proc_pid_mountinfo(5)).
fn unescape(text: &str) -> String {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    escapes.iter().fold(text.to_owned(), |text, (code, plain)| {
        text.replace(code, plain)
    })
}

/// `struct listed`: an open file of this process.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    fd: u32,
    fs: u64,
    inode: u64,
    super_id: u64,
}

fn decode_listed(bytes: &[u8]) -> Vec<Listed> {
    let mut fields = Fields(bytes);
    std::iter::from_fn(|| {
        let fd = fields.u32()?;
        let _reserved = fields.u32()?;
        let id = file::take_file(&mut fields)?;
        let super_id = fields.u64()?;
        Some(Listed {
            fd,
            fs: id.fs,
            inode: id.inode,
            super_id,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::decode::tests::Bytes;
    use super::*;

    #[test]
    fn a_store_goes_on_below_a_mount() {
        let line = |point: &str| format!("31 24 0:27 / {point} rw - ext4 /dev/vdb rw\n");
        let text = ["/", "/nowhere", "/nowhere/a\\040b", "/nowhere2"]
            .map(line)
            .concat();
        let below = mounts_below(&text, Path::new("/nowhere"));
        assert_eq!(below, [PathBuf::from("/nowhere/a b")]);
    }

    #[test]
    fn names_keep_their_index() {
        let names = StoreNames::default();
        let (lab, ekg): (Name, Name) = ("lab".into(), "ekg".into());
        assert_eq!((names.index(&lab), names.index(&ekg)), (0, 1));
        assert_eq!(names.index(&lab), 0);
        assert_eq!(names.all(), [lab, ekg]);
    }

    #[test]
    fn listed_files_are_decoded_until_the_bytes_are_cut() {
        let one = Bytes::default()
            .u32(5)
            .u32(0)
            .u64(1)
            .u64(2)
            .u32(3)
            .u32(0)
            .u64(4)
            .0;
        let listed = Listed {
            fd: 5,
            fs: 1,
            inode: 2,
            super_id: 4,
        };
        assert_eq!(decode_listed(&one), [listed]);
        assert!(decode_listed(&one[..39]).is_empty());
    }
}
