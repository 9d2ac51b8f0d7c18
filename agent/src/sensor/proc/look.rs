//! What `/proc` tells of one process.

use std::ffi::OsStr;
use std::fs;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sensor::host::names::{cgroup2_mount, start_ticks};
use crate::sensor::host::seen::{Facts, NANOS_A_TICK, Who, actor};

/// "None" in `loginuid` and `sessionid`.
const UNSET: u32 = u32::MAX;

/// Reads `/proc`.
#[derive(Debug, Clone)]
pub struct Look {
    /// Where the cgroup v2 hierarchy is mounted.
    hierarchy: Option<PathBuf>,
}

/// A process as `/proc` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Which, whose and where.
    pub who: Who,
    /// Its parent's id.
    pub parent: u32,
    /// Path of its cgroup.
    pub cgroup: String,
}

impl Default for Look {
    fn default() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self {
            hierarchy: cgroup2_mount(&mounts),
        }
    }
}

impl Look {
    /// All of it; `None` if the process is gone.
    #[must_use]
    pub fn person(&self, pid: u32) -> Option<Person> {
        let (start, parent) = life(pid)?;
        let status = read(pid, "status")?;
        let cgroup = cgroup_path(&read(pid, "cgroup").unwrap_or_default());
        let facts = Facts {
            uid: effective_user(&status)?,
            login: login(pid),
            cgroup: self.cgroup_id(&cgroup),
        };
        let who = Who {
            actor: actor(pid, start),
            facts,
        };
        Some(Person {
            who,
            parent,
            cgroup,
        })
    }

    /// A cgroup's id is its directory's inode; one without a directory (cgroup v1 alone) gets a number that none has.
    fn cgroup_id(&self, path: &str) -> u64 {
        let directory = self
            .hierarchy
            .as_deref()
            .map(|root| root.join(path.trim_start_matches('/')));
        let found = directory.and_then(|directory| fs::metadata(directory).ok());
        found.map_or_else(
            || BuildHasherDefault::<DefaultHasher>::default().hash_one(path) | 1 << 63,
            |found| found.ino(),
        )
    }
}

/// Ids of all processes, in no order.
pub fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| number(&entry.file_name()))
}

/// A process's program; empty if it is gone or has none.
#[must_use]
pub fn exe(pid: u32) -> String {
    let path = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let path = path.to_string_lossy();
    path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned()
}

/// When it started, CLOCK_BOOTTIME nanoseconds, and its parent's id.
#[must_use]
pub fn life(pid: u32) -> Option<(u64, u32)> {
    let stat = read(pid, "stat")?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let parent = after_name.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((start_ticks(&stat)? * NANOS_A_TICK, parent))
}

/// Bytes that a process has read so far, by any file, pipe or socket (`rchar` of `/proc/PID/io`).
#[must_use]
pub fn read_bytes(pid: u32) -> Option<u64> {
    let io = read(pid, "io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "))?;
    line.parse().ok()
}

pub(crate) fn number(name: &OsStr) -> Option<u32> {
    name.to_str()?.parse().ok()
}

fn read(pid: u32, file: &str) -> Option<String> {
    fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(file)).ok()
}

/// Login user and audit session; `None` for none, and of a process that has ended.
pub(crate) fn login(pid: u32) -> Option<(u32, u32)> {
    let number = |file| read(pid, file)?.trim().parse::<u32>().ok();
    let (user, session) = (number("loginuid")?, number("sessionid")?);
    (user != UNSET && session != UNSET).then_some((user, session))
}

/// The second number of the line `Uid:` (proc_pid_status(5)).
fn effective_user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The path in the unified hierarchy; where there is none, in systemd's own.
fn cgroup_path(text: &str) -> String {
    let of = |mark: &str| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.strip_prefix(mark)?.strip_prefix(':')
        })
    };
    of("")
        .or_else(|| of("name=systemd"))
        .unwrap_or("/")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_as_the_system_says() {
        let me = std::process::id();
        let person = Look::default().person(me).unwrap();
        assert_eq!(person.who.actor.pid, me);
        assert_eq!(person.who.actor.start % NANOS_A_TICK, 0);
        assert_eq!(person.who.facts.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(
            person.parent,
            nix::unistd::getppid().as_raw().cast_unsigned()
        );
        assert_eq!(exe(me), std::env::current_exe().unwrap().to_str().unwrap());
        assert!(pids().any(|pid| pid == me));
        assert!(read_bytes(me).unwrap() > 0);
    }

    #[test]
    fn a_process_that_is_gone_is_nobody() {
        assert_eq!(Look::default().person(u32::MAX), None);
        assert_eq!(exe(u32::MAX), "");
    }

    #[test]
    fn the_unified_hierarchy_comes_first() {
        let hybrid = "5:cpu:/x\n1:name=systemd:/old.service\n0::/new.service\n";
        assert_eq!(cgroup_path(hybrid), "/new.service");
        assert_eq!(
            cgroup_path("5:cpu:/x\n1:name=systemd:/old.service\n"),
            "/old.service"
        );
        assert_eq!(cgroup_path(""), "/");
    }

    #[test]
    fn the_effective_user_is_the_second() {
        assert_eq!(effective_user("Name:\tx\nUid:\t1\t2\t3\t4\n"), Some(2));
        assert_eq!(effective_user("Name:\tx\n"), None);
    }
}
