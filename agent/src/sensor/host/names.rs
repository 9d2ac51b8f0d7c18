//! Names for the numbers that the kernel tells: users, cgroups, programs. Each is looked up once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;
use jaga_rules::event::{Actor, Identity, Login, Name};
use nix::unistd::{Uid, User};

use super::containers::Containers;
use super::seen::{Facts, NANOS_A_TICK};
use crate::sensor::proc::look;

/// Names kept of each kind; at the limit all are forgotten and looked up again.
const LIMIT: usize = 65_536;

/// Names, as far as they were needed.
#[derive(Debug)]
pub struct Names {
    proc: PathBuf,
    /// Where the cgroup v2 hierarchy is mounted.
    hierarchy: Option<PathBuf>,
    users: HashMap<u32, Name>,
    cgroups: HashMap<u64, Name>,
    containers: Containers,
}

impl Names {
    /// Names by this `/proc`.
    #[must_use]
    pub fn new(proc: &Path) -> Self {
        let mounts = fs::read_to_string(proc.join("self/mountinfo")).unwrap_or_default();
        Self {
            proc: proc.to_owned(),
            hierarchy: cgroup2_mount(&mounts),
            users: HashMap::new(),
            cgroups: HashMap::new(),
            containers: Containers::new("/".as_ref()),
        }
    }

    /// Remembers a path that the kernel told with the id.
    pub fn learn_cgroup(&mut self, id: u64, path: &str) {
        remember(&mut self.cgroups, id, path.into());
    }

    /// What the engine is told of a process's users and place.
    pub fn identity(&mut self, facts: Facts) -> Identity {
        let cgroup = self.cgroup(facts.cgroup);
        Identity {
            user: self.user(facts.uid),
            login: facts.login.map(|(uid, session)| Login {
                user: self.user(uid),
                session,
            }),
            container: self.containers.name(&cgroup),
            cgroup,
        }
    }

    /// Path of a running process's program, or the name of a thread of the kernel in brackets; empty if it has ended.
    #[must_use]
    pub fn exe(&self, actor: Actor) -> Name {
        let process = self.proc.join(actor.pid.to_string());
        let path = fs::read_link(process.join("exe")).unwrap_or_default();
        let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
        if start_ticks(&stat) != Some(actor.start / NANOS_A_TICK) {
            return Name::default(); // the pid has passed on to another process
        }
        kernel_thread(&stat).map_or_else(|| path.to_string_lossy().into(), Name::from)
    }

    /// Login user and audit session as they are now, `None` inside for none; `None` if it has ended.
    #[must_use]
    pub fn login(&self, actor: Actor) -> Option<Option<(u32, u32)>> {
        let login = look::login(actor.pid);
        self.lives(actor).then_some(login)
    }

    /// Whether this process runs.
    #[must_use]
    pub fn lives(&self, actor: Actor) -> bool {
        let stat = self.proc.join(actor.pid.to_string()).join("stat");
        let stat = fs::read_to_string(stat).unwrap_or_default();
        start_ticks(&stat) == Some(actor.start / NANOS_A_TICK)
    }

    /// By the system's user database, else the number.
    fn user(&mut self, uid: u32) -> Name {
        if let Some(name) = self.users.get(&uid) {
            return name.clone();
        }
        let entry = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let name: Name = entry
            .map_or_else(|| uid.to_string(), |user| user.name)
            .into();
        remember(&mut self.users, uid, name.clone());
        name
    }

    /// By what the kernel told, else by a search of the mounted hierarchy, else `/?` and the id.
    fn cgroup(&mut self, id: u64) -> Name {
        if let Some(path) = self.cgroups.get(&id) {
            return path.clone();
        }
        let found = self
            .hierarchy
            .as_deref()
            .and_then(|root| find_inode(root, Path::new("/"), id));
        let path: Name = match found {
            Some(path) if path == Path::new("/") => Name::default(),
            Some(path) => path.to_string_lossy().into(),
            None => format!("/?{id}").into(),
        };
        remember(&mut self.cgroups, id, path.clone());
        path
    }
}

fn remember<K: std::hash::Hash + Eq>(names: &mut HashMap<K, Name>, key: K, name: Name) {
    if names.len() >= LIMIT {
        names.clear();
    }
    names.insert(key, name);
}

/// Field 22 of `/proc/PID/stat` (proc_pid_stat(5)); the name in brackets may hold spaces and brackets.
pub(crate) fn start_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The name of a thread of the kernel: field 9 of its `stat` has PF_KTHREAD (include/linux/sched.h).
fn kernel_thread(stat: &str) -> Option<String> {
    const PF_KTHREAD: u64 = 0x0020_0000;
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let flags: u64 = after.split_ascii_whitespace().nth(6)?.parse().ok()?;
    (flags & PF_KTHREAD != 0).then(|| format!("[{name}]"))
}

/// The first mount of type cgroup2 in the text of `/proc/PID/mountinfo`: `/sys/fs/cgroup`, or
/// `/sys/fs/cgroup/unified` beside the older hierarchies.
pub(crate) fn cgroup2_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        file_system.starts_with("cgroup2 ").then_some(())?;
        mount.split(' ').nth(4).map(PathBuf::from)
    })
}

/// The directory with this inode number (a cgroup's id is its directory's inode), as a path below `root`.
fn find_inode(root: &Path, below: &Path, inode: u64) -> Option<PathBuf> {
    let directory = root.join(below.strip_prefix("/").ok()?);
    if fs::metadata(&directory).ok()?.ino() == inode {
        return Some(below.to_owned());
    }
    let entries = fs::read_dir(&directory).ok()?.flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .find_map(|entry| find_inode(root, &below.join(entry.file_name()), inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(uid: u32, cgroup: u64) -> Facts {
        Facts {
            uid,
            login: Some((uid, 9)),
            cgroup,
        }
    }

    fn names() -> Names {
        Names::new(Path::new("/proc"))
    }

    #[test]
    fn users_have_names_or_numbers() {
        let identity = names().identity(facts(0, 1));
        assert_eq!(&*identity.user, "root");
        assert_eq!(identity.login.unwrap().session, 9);
        let nobody_has = 4_000_000_000;
        let identity = names().identity(facts(nobody_has, 1));
        assert_eq!(&*identity.user, "4000000000");
    }

    #[test]
    fn a_cgroup_that_the_kernel_told_needs_no_search() {
        let mut names = names();
        names.hierarchy = None;
        names.learn_cgroup(77, "/system.slice/x.service");
        assert_eq!(&*names.cgroup(77), "/system.slice/x.service");
        assert_eq!(&*names.cgroup(78), "/?78");
    }

    #[test]
    fn a_cgroup_is_found_by_its_inode() {
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("system.slice/x.service");
        fs::create_dir_all(&below).unwrap();
        let mut names = names();
        names.hierarchy = Some(root.path().to_owned());
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(&*names.cgroup(inode(&below)), "/system.slice/x.service");
        assert_eq!(&*names.cgroup(inode(root.path())), "");
    }

    #[test]
    fn the_unified_hierarchy_is_found_in_either_place() {
        let line = "31 24 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        let other = "30 24 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu";
        let place = PathBuf::from("/sys/fs/cgroup/unified");
        assert_eq!(cgroup2_mount(&format!("{other}\n{line}\n")), Some(place));
        assert_eq!(cgroup2_mount(other), None);
    }

    #[test]
    fn a_program_is_told_only_of_the_process_that_was_meant() {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let start = start_ticks(&stat).unwrap() * NANOS_A_TICK;
        let pid = std::process::id();
        let here = std::env::current_exe().unwrap();
        assert_eq!(&*names().exe(Actor { pid, start }), here.to_str().unwrap());
        let earlier = start - NANOS_A_TICK;
        assert_eq!(
            &*names().exe(Actor {
                pid,
                start: earlier
            }),
            ""
        );
    }

    #[test]
    fn a_thread_of_the_kernel_has_a_name_in_brackets() {
        let stat = fs::read_to_string("/proc/2/stat").unwrap_or_default();
        // In a pid namespace of its own there is none.
        if stat.contains("(kthreadd)") {
            assert_eq!(kernel_thread(&stat).as_deref(), Some("[kthreadd]"));
        }
        let stat = "9 (nfsd) I 2 0 0 0 -1 2129984 0";
        assert_eq!(kernel_thread(stat).as_deref(), Some("[nfsd]"));
        let stat = "9 (nfsd) S 2 0 0 0 -1 4194304 0";
        assert_eq!(kernel_thread(stat), None);
    }

    #[test]
    fn brackets_in_a_name_do_not_shift_the_fields() {
        let fields: Vec<String> = (3..=22).map(|field: u32| field.to_string()).collect();
        let stat = format!("7 (a) b (c) {}", fields.join(" "));
        assert_eq!(start_ticks(&stat), Some(22));
        assert_eq!(start_ticks(""), None);
    }
}
