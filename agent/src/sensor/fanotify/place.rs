//! Which store a file lies in, by whatever mount it was opened through.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::mounts::{self, Mount, Place};
use super::sys::{self, Status};
use crate::sensor::host::source::Root;

/// Mounts of other mount namespaces that are remembered; at the limit all are forgotten and read again.
const FOREIGN: usize = 4_096;

/// Roots and mounts.
#[derive(Debug, Default)]
pub(super) struct Stores {
    own: BTreeMap<u64, Mount>,
    /// Of other namespaces, by processes that came by. Ids are used again: forgotten whenever stores are placed.
    foreign: BTreeMap<u64, Mount>,
    /// Mounts of no namespace, such as an overlay's of its layers. Forgotten with the former.
    nobodys: BTreeSet<u64>,
    roots: Vec<(Place, u32)>,
    /// Where an overlay shows a store.
    shown: Vec<(Place, u32)>,
    /// Overlays tell what is opened of their layers (as of Linux 6.18; 6.1 does not): what is opened of themselves is
    /// the same once more.
    layers_tell: bool,
}

impl Stores {
    /// Reads this namespace's mounts; overlays that show a store and did not before.
    pub(super) fn read_mounts(&mut self) -> Vec<PathBuf> {
        let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
        self.own = mounts::parse(&text);
        self.foreign.clear();
        self.nobodys.clear();
        let before = std::mem::take(&mut self.shown);
        self.shown = overlays(&self.own, &self.roots);
        let new = self.shown.iter().filter(|shown| !before.contains(shown));
        let points = new.filter_map(|(place, _)| {
            let mount = self.own.values().find(|m| m.device == place.device)?;
            Some(mount.point.clone())
        });
        points.collect()
    }

    /// Takes these roots instead of the former ones.
    pub(super) fn place(&mut self, roots: &[Root]) {
        self.roots = roots
            .iter()
            .filter_map(|root| {
                let path = path_of(root.file.as_raw_fd())?;
                let mount = sys::status(root.file.as_fd()).ok()?.mount;
                let mount = mount.and_then(|id| self.own.get(&id));
                let mount = mount.or_else(|| covering(&self.own, &path))?;
                Some((mount.place(&path)?, root.store))
            })
            .collect();
    }

    /// The store of a file that a process has open.
    pub(super) fn store_of(
        &mut self,
        fd: BorrowedFd<'_>,
        status: &Status,
        pid: u32,
    ) -> Option<usize> {
        if self.roots.is_empty() {
            return None;
        }
        let path = path_of(fd.as_raw_fd())?;
        let mount = status.mount.filter(|id| self.mount(*id, pid).is_none());
        let Some(nobodys) = mount else {
            return self.store(&path, status.mount, pid);
        };
        let path = self.path_here(fd, status).unwrap_or(path);
        let store = self.store(&path, None, pid);
        // Known before the mount of the overlay itself is: the first opens are told from both sides otherwise.
        let may_be = store.is_some() || status.links > 1;
        self.layers_tell |= may_be && self.nobodys.contains(&nobodys);
        store
    }

    /// Whether it was opened through an overlay that shows a store, whose layers tell the same: twice in the books, each
    /// would take what is the other's.
    pub(super) fn is_told_below(&self, fd: BorrowedFd<'_>, status: &Status) -> bool {
        if !self.layers_tell || self.shown.is_empty() {
            return false;
        }
        let mount = status.mount.and_then(|id| self.own.get(&id));
        let place = mount.and_then(|mount| mount.place(&path_of(fd.as_raw_fd())?));
        place.is_some_and(|place| {
            let mut shown = self.shown.iter();
            shown.any(|(at, _)| at.device == place.device && place.path.starts_with(&at.path))
        })
    }

    /// What a file is called in this mount namespace, that was opened by a mount of none: a layer of an overlay, or a
    /// namespace that is gone. Of a file with several names it may be any.
    fn path_here(&self, fd: BorrowedFd<'_>, status: &Status) -> Option<PathBuf> {
        let door = self.door(status.device)?;
        let again = sys::reopen(fd, door.as_fd()).ok()?;
        path_of(again.as_raw_fd())
    }

    /// The store of a file that a process opened by this path, through this mount.
    pub(super) fn store(&mut self, path: &Path, mount: Option<u64>, pid: u32) -> Option<usize> {
        if self.roots.is_empty() {
            return None;
        }
        let mount = match mount {
            Some(id) => self.mount(id, pid),
            None => covering(&self.own, path),
        };
        // A mount of a namespace that is gone: by the path alone.
        let place = mount
            .and_then(|mount| mount.place(path))
            .or_else(|| covering(&self.own, path)?.place(path))?;
        let of = |(root, _): &&(Place, u32)| {
            root.device == place.device && place.path.starts_with(&root.path)
        };
        let shown = self.shown.iter().filter(|_| !self.layers_tell);
        let deepest = self
            .roots
            .iter()
            .chain(shown)
            .filter(of)
            .max_by_key(|(root, _)| root.path.components().count());
        deepest.and_then(|(_, store)| usize::try_from(*store).ok())
    }

    /// One mount of each file system that data can lie on.
    pub(super) fn file_systems(&self) -> Vec<&Path> {
        let mut points = BTreeMap::new();
        for mount in self.own.values().filter(|mount| mount.has_data()) {
            // A later mount at the same point hides this one.
            let hidden = self
                .own
                .values()
                .any(|other| other.point == mount.point && other.device != mount.device);
            if !hidden {
                points.entry(mount.device).or_insert(&*mount.point);
            }
        }
        points.into_values().collect()
    }

    /// A mount of this file system, the one that shows most of it. Opened for each look: who keeps it open keeps others
    /// from unmounting it.
    fn door(&self, device: (u32, u32)) -> Option<File> {
        let mounts = self.own.values().filter(|mount| mount.device == device);
        let widest = mounts.min_by_key(|mount| mount.root.components().count())?;
        let door = File::open(&widest.point).ok()?;
        // Another mount may lie over it.
        (sys::status(door.as_fd()).ok()?.device == device).then_some(door)
    }

    fn mount(&mut self, id: u64, pid: u32) -> Option<&Mount> {
        if self.own.contains_key(&id) {
            return self.own.get(&id);
        }
        if !self.foreign.contains_key(&id) && !self.nobodys.contains(&id) {
            if self.foreign.len() + self.nobodys.len() > FOREIGN {
                self.foreign.clear();
                self.nobodys.clear();
            }
            let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            self.foreign.extend(mounts::parse(&text));
            if !text.is_empty() && !self.foreign.contains_key(&id) {
                self.nobodys.insert(id);
            }
        }
        self.foreign.get(&id)
    }
}

/// What an open descriptor of this process is called.
pub(super) fn path_of(fd: i32) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    match path
        .to_str()
        .and_then(|text| text.strip_suffix(" (deleted)"))
    {
        Some(before) => Some(before.into()),
        None => Some(path),
    }
}

/// The mount that a path leads through, by its longest point.
fn covering<'a>(mounts: &'a BTreeMap<u64, Mount>, path: &Path) -> Option<&'a Mount> {
    let over = mounts
        .values()
        .filter(|mount| path.starts_with(&mount.point));
    over.max_by_key(|mount| mount.point.components().count())
}

/// Where overlays show stores.
fn overlays(mounts: &BTreeMap<u64, Mount>, roots: &[(Place, u32)]) -> Vec<(Place, u32)> {
    let mut shown = Vec::new();
    for mount in mounts.values() {
        for layer in &mount.layers {
            let Some(layer) = covering(mounts, layer).and_then(|over| over.place(layer)) else {
                continue;
            };
            let roots = roots.iter().filter(|(root, _)| root.device == layer.device);
            for (root, store) in roots {
                let path = match root.path.strip_prefix(&layer.path) {
                    Ok(below) => Path::new("/").join(below),
                    Err(_) if layer.path.starts_with(&root.path) => PathBuf::from("/"),
                    Err(_) => continue,
                };
                let device = mount.device;
                shown.push((Place { device, path }, *store));
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
27 1 254:0 / / rw - ext4 /dev/vda rw
42 27 254:0 /srv/pacs/new /mnt/new rw - ext4 /dev/vda rw
50 27 0:40 / /all rw - overlay overlay rw,lowerdir=/srv:/b
51 27 0:41 / /some rw - overlay overlay rw,lowerdir=/srv/pacs/new
60 27 0:50 / /dev/shm rw - tmpfs tmpfs rw
";

    fn stores() -> Stores {
        let place = |path: &str| Place {
            device: (254, 0),
            path: path.into(),
        };
        let roots = vec![(place("/srv/pacs"), 0), (place("/srv/pacs/ekg"), 1)];
        let own = mounts::parse(TEXT);
        Stores {
            shown: overlays(&own, &roots),
            own,
            roots,
            ..Stores::default()
        }
    }

    #[track_caller]
    fn check(path: &str, mount: Option<u64>, expected: Option<usize>) {
        let pid = std::process::id();
        assert_eq!(stores().store(Path::new(path), mount, pid), expected);
    }

    #[test]
    fn a_store_is_found_by_its_path_and_the_deepest_has_the_file() {
        check("/srv/pacs/1.dcm", Some(27), Some(0));
        check("/srv/pacs/ekg/1.xml", Some(27), Some(1));
        check("/srv/pacs2/1.dcm", Some(27), None);
        check("/srv/pacs/1.dcm", None, Some(0));
    }

    #[test]
    fn a_store_is_found_through_a_bind_mount() {
        check("/mnt/new/1.dcm", Some(42), Some(0));
        check("/mnt/new/1.dcm", None, Some(0));
    }

    #[test]
    fn a_store_is_found_through_an_overlay() {
        check("/all/pacs/1.dcm", Some(50), Some(0));
        check("/all/pacs/ekg/1.xml", Some(50), Some(1));
        check("/all/other/1.dcm", Some(50), None);
        check("/some/1.dcm", Some(51), Some(0));
    }

    #[test]
    fn each_file_system_is_named_once() {
        let stores = stores();
        let points: Vec<&Path> = stores.file_systems();
        assert_eq!(points, ["/all", "/some", "/dev/shm", "/"].map(Path::new));
    }
}
