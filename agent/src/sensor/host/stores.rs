//! Where the stores are: opens their roots, and again when a mount or a directory changes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jaga_rules::config::{Config, Decoy, Store, Target};
use jaga_rules::event::{Event, Fact, Name};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::devices::{self, Devices};
use super::media::{self, Before, Medium};
use super::nodes;
use super::source::{Places, Root};
use crate::sensor::{Feed, HealthTable};

/// How often directories and disks are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// How often it is asked whether a mount, a disk or a decoy came or went: whoever plugs in a disk may copy to it at once.
const ASK: Duration = Duration::from_millis(200);

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

/// What a configuration says of files.
#[derive(Debug, Clone, Default)]
pub struct Protected {
    /// Its stores.
    pub stores: Vec<Store>,
    /// Its decoys.
    pub decoys: Vec<Decoy>,
}

impl Protected {
    /// What this one says.
    #[must_use]
    pub fn by(config: &Config) -> Self {
        Self {
            stores: config.stores.clone(),
            decoys: config.decoys.clone(),
        }
    }
}

/// Keeps whoever must know where the stores are up to date.
pub struct Stores {
    places: Vec<Box<dyn Places>>,
    names: StoreNames,
    health: HealthTable,
    /// How the file sensor sees, to which problems are added.
    how: String,
    stores: Vec<Store>,
    decoys: Vec<Decoy>,
    /// Mounts and root directories as of the last placing.
    seen: (String, Vec<Option<Identity>>),
    /// Decoys as of their last marking.
    marked: Vec<Option<Identity>>,
    /// Block devices as of the last look: a disk may be stacked on another without a mount.
    devices: Devices,
    /// Names of all disks as of the last look.
    disks: BTreeSet<OsString>,
    /// Device nodes as of their last marking, with who they were.
    nodes: Vec<(PathBuf, Option<Identity>)>,
    feed: Feed,
    /// What was mounted at the start.
    before: Before,
    /// Media that were told, by device number, with what the sensor calls their file systems.
    media: BTreeMap<String, (Medium, u64)>,
}

impl Stores {
    /// No store yet.
    #[must_use]
    pub fn new(
        places: Vec<Box<dyn Places>>,
        names: StoreNames,
        health: HealthTable,
        how: String,
        feed: Feed,
    ) -> Self {
        Self {
            places,
            names,
            health,
            how,
            stores: Vec::new(),
            decoys: Vec::new(),
            seen: Default::default(),
            marked: Vec::new(),
            devices: Devices::new(),
            disks: BTreeSet::new(),
            nodes: Vec::new(),
            feed,
            before: Before::of(&mounts(), Path::new("/sys")),
            media: BTreeMap::new(),
        }
    }

    /// Whether nobody must know where the stores are.
    #[must_use]
    pub fn nobody_asks(&self) -> bool {
        self.places.is_empty()
    }

    /// Follows new configurations and changing mounts until the sender is gone.
    pub fn run(mut self, changes: &Receiver<Protected>) {
        let watched = File::open("/proc/thread-self/mountinfo").ok();
        let mut waited = Duration::ZERO;
        loop {
            match changes.recv_timeout(ASK) {
                Ok(protected) => self.set(protected),
                Err(RecvTimeoutError::Timeout) => {
                    waited += ASK;
                    self.look_for_decoys();
                    self.look_for_nodes();
                    let came = self.disks_changed() || watched.as_ref().is_some_and(mounts_changed);
                    if waited >= LOOK || came {
                        self.look();
                        waited = Duration::ZERO;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Whether a disk came or went since it was last asked.
    fn disks_changed(&mut self) -> bool {
        let now = media::disks(Path::new("/sys"));
        std::mem::replace(&mut self.disks, now) != self.disks
    }

    /// Takes these instead of the former ones.
    pub fn set(&mut self, protected: Protected) {
        (self.stores, self.decoys) = (protected.stores, protected.decoys);
        self.look_for_media();
        self.place();
        // Also where there is another name for the same file, or none any more.
        self.look_for_decoys();
        self.mark_decoys();
        self.look_for_nodes();
    }

    /// Decoys that came, went, or were put in the place of others are marked; nothing else is placed anew for them.
    fn look_for_decoys(&mut self) {
        let now = self.decoys.iter().map(|decoy| identity(&decoy.path));
        let now: Vec<Option<Identity>> = now.collect();
        if now != self.marked {
            self.marked = now;
            self.mark_decoys();
        }
    }

    /// What is plugged in gets its node, perhaps under the name of what was there before.
    fn look_for_nodes(&mut self) {
        let now = nodes::nodes(Path::new("/dev")).into_iter();
        let now = now.map(|node| {
            let found = identity(&node);
            (node, found)
        });
        let now: Vec<(PathBuf, Option<Identity>)> = now.collect();
        if now != self.nodes {
            self.nodes = now;
            let nodes: Vec<PathBuf> = self.nodes.iter().map(|(node, _)| node.clone()).collect();
            for places in &mut self.places {
                places.nodes(&nodes);
            }
        }
    }

    fn mark_decoys(&mut self) {
        for places in &mut self.places {
            places.decoys(&self.decoys);
        }
    }

    fn look(&mut self) {
        self.look_for_media();
        if self.seen != self.sight() || self.devices != self.devices_below() {
            self.place();
        }
    }

    /// Tells which media came and which went.
    fn look_for_media(&mut self) {
        let stores = self.stores.iter().flat_map(|store| store.paths.clone());
        let stores: Vec<PathBuf> = stores.collect();
        let fstab = fs::read_to_string("/etc/fstab").unwrap_or_default();
        let known = (&self.before, &media::listed(&fstab));
        let now = media::media(&mounts(), Path::new("/sys"), known, &stores);
        let mut facts = Vec::new();
        self.media.retain(|device, (medium, fs)| {
            let stays = now.get(device).is_some_and(|now| now.name == medium.name);
            facts.extend((!stays).then_some(Fact::Medium {
                fs: *fs,
                name: None,
            }));
            stays
        });
        let new = now
            .into_iter()
            .filter(|(device, _)| !self.media.contains_key(device));
        let (new, folders): (Vec<_>, Vec<File>) = new
            .filter_map(|found| {
                let folder = open_path(&found.1.point, 0).ok()?.file;
                Some((found, folder))
            })
            .unzip();
        if !folders.is_empty() {
            let called = self.file_systems(&folders);
            for ((device, medium), fs) in new.into_iter().zip(called) {
                let Some(fs) = fs else { continue };
                facts.push(Fact::Medium {
                    fs,
                    name: Some(medium.name.as_str().into()),
                });
                self.media.insert(device, (medium, fs));
            }
        }
        if !facts.is_empty() {
            // It ends only with the agent.
            let _ = self.feed.send(facts.into_iter().map(Event::Fact).collect());
        }
    }

    /// Whoever sees writes knows.
    fn file_systems(&mut self, folders: &[File]) -> Vec<Option<u64>> {
        let mut known = vec![None; folders.len()];
        for places in &mut self.places {
            let told = places.file_systems(folders).unwrap_or_default();
            for (known, told) in known.iter_mut().zip(told) {
                *known = known.or(told);
            }
        }
        known
    }

    fn devices_below(&self) -> Devices {
        let paths = self.stores.iter().flat_map(|store| {
            let index = self.names.index(&store.name);
            let paths = store.paths.iter();
            paths.map(move |path| (path.as_path(), index))
        });
        devices::below(Path::new("/sys"), &mounts(), paths)
    }

    fn sight(&self) -> (String, Vec<Option<Identity>>) {
        let paths = self.stores.iter().flat_map(|store| &store.paths);
        let directories = paths.map(|path| identity(path));
        (mounts(), directories.collect())
    }

    fn place(&mut self) {
        self.seen = self.sight();
        let mut missing = Vec::new();
        let roots = self.open(&mut missing);
        let remotes = self.remotes();
        self.devices = self.devices_below();
        for places in &mut self.places {
            missing.extend(places.place(&roots).err());
            missing.extend(places.remotes(&remotes).err());
            missing.extend(places.devices(&self.devices).err());
        }
        let why: Vec<String> = [self.how.clone()].into_iter().chain(missing).collect();
        self.health
            .update("files", |health| health.why = why.join("; "));
    }

    fn remotes(&self) -> Vec<(Target, u32)> {
        let ranges = |store: &Store| {
            let index = self.names.index(&store.name);
            let ranges = store.from.iter().map(move |range| (*range, index));
            ranges.collect::<Vec<_>>()
        };
        self.stores.iter().flat_map(ranges).collect()
    }

    /// Opens each root for a moment, without reading and without waking an automount.
    fn open(&self, missing: &mut Vec<String>) -> Vec<Root> {
        let mut roots = Vec::new();
        for store in &self.stores {
            let index = self.names.index(&store.name);
            for path in &store.paths {
                match open_path(path, index) {
                    Ok(root) => roots.push(root),
                    Err(error) => missing.push(format!(
                        "store '{}': cannot open '{}': {error}",
                        store.name,
                        path.display()
                    )),
                }
                let below = mounts_below(&self.seen.0, path);
                let is_foreign = |point: &&PathBuf| {
                    let mut media = self.media.values();
                    media.any(|(medium, _)| medium.is_foreign && medium.point == **point)
                };
                let below = below.iter().filter(|point| !is_foreign(point));
                roots.extend(below.filter_map(|path| open_path(path, index).ok()));
            }
        }
        roots
    }
}

fn open_path(path: &Path, store: u32) -> std::io::Result<Root> {
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    Ok(Root {
        file,
        path: path.to_owned(),
        store,
    })
}

/// Device and inode.
type Identity = (u64, u64);

/// What is there.
fn identity(path: &Path) -> Option<Identity> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// Whether a mount came or went since it was last asked (proc_pid_mounts(5)).
fn mounts_changed(mountinfo: &File) -> bool {
    let mut waits = [PollFd::new(mountinfo.as_fd(), PollFlags::POLLPRI)];
    poll(&mut waits, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
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
pub(crate) fn unescape(text: &str) -> String {
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

#[cfg(test)]
mod tests {
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
}
