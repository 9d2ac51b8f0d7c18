//! Whose a socket is: the process that has its inode open, found in `/proc`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::sensor::host::seen::Who;
use crate::sensor::proc::look::{self, Look};

/// Links that are read in one search. Beyond, who was not found is searched for at the next look.
const LINKS: usize = 65_536;

/// Searches for owners.
#[derive(Debug, Default)]
pub(super) struct Owners {
    look: Look,
    /// Processes in which a socket was found last: servers accept one after the other.
    recent: BTreeSet<u32>,
}

impl Owners {
    /// The processes that have these inodes. Those that had sockets before come first, then the youngest.
    pub(super) fn search(&mut self, wanted: &BTreeSet<u32>) -> BTreeMap<u32, Who> {
        let mut found = BTreeMap::new();
        if wanted.is_empty() {
            return found;
        }
        let mut others: Vec<u32> = look::pids()
            .filter(|pid| !self.recent.contains(pid))
            .collect();
        others.sort_unstable_by(|a, b| b.cmp(a));
        let recent = std::mem::take(&mut self.recent);
        let mut links = 0;
        for pid in recent.into_iter().chain(others) {
            let inodes = sockets_of(pid, wanted, &mut links);
            if !inodes.is_empty()
                && let Some(person) = self.look.person(pid)
            {
                self.recent.insert(pid);
                found.extend(inodes.into_iter().map(|inode| (inode, person.who)));
            }
            if found.len() == wanted.len() || links > LINKS {
                break;
            }
        }
        found
    }

    /// Whether it runs still: a socket may outlive the process in which it was found, as sshd's does.
    pub(super) fn lives(who: Who) -> bool {
        let life = look::life(who.actor.pid);
        life.is_some_and(|(start, _)| start == who.actor.start)
    }

    /// The same process as it is now: whose it is may have changed. One that is gone is as it was.
    pub(super) fn again(&self, who: Who) -> Who {
        let now = self.look.person(who.actor.pid).map(|person| person.who);
        now.filter(|now| now.actor == who.actor).unwrap_or(who)
    }
}

fn sockets_of(pid: u32, wanted: &BTreeSet<u32>, links: &mut usize) -> Vec<u32> {
    let directory = Path::new("/proc").join(pid.to_string()).join("fd");
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries {
        *links += 1;
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let inode = inode(&target.to_string_lossy());
        found.extend(inode.filter(|inode| wanted.contains(inode)));
    }
    found
}

/// The number in `socket:[1234]`.
pub(super) fn inode(link: &str) -> Option<u32> {
    let number = link.strip_prefix("socket:[")?.strip_suffix(']')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_socket_of_this_process_is_its_own() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let inode = inode(link.to_str().unwrap()).unwrap();
        let mut owners = Owners::default();
        for _ in 0..2 {
            let found = owners.search(&BTreeSet::from([inode]));
            assert_eq!(found[&inode].actor.pid, std::process::id());
        }
        assert!(owners.search(&BTreeSet::from([u32::MAX])).is_empty());
        assert_eq!(super::inode("pipe:[7]"), None);
    }
}
