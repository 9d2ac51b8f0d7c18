//! Removes what a demo left that was killed before it could clean up.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What all that a demo makes is called, before its process id.
pub(super) const PREFIX: &str = "jaga-demo-";

/// Removes directories and network namespaces of demos that run no more. Call it before anything is made.
pub(super) fn sweep() {
    for name in stale(Path::new("/run/netns")) {
        // What cannot be removed is in nobody's way: names are never used twice at a time.
        let _ = Command::new("ip")
            .args(["netns", "delete"])
            .arg(name.file_name().unwrap_or_default())
            .stderr(Stdio::null())
            .status();
    }
    for directory in stale(Path::new(super::sandbox::PLACE)) {
        let _ = fs::remove_dir_all(directory);
    }
}

/// What is called like a demo's, is ours, and whose demo's process is gone.
fn stale(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let us = nix::unistd::geteuid().as_raw();
    entries
        .filter(|entry| is_of_the_dead(&entry.file_name().to_string_lossy()))
        .filter(|entry| entry.metadata().is_ok_and(|found| found.uid() == us))
        .map(|entry| entry.path())
        .collect()
}

fn is_of_the_dead(name: &str) -> bool {
    let us = std::process::id();
    let pid = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
    // Ours has made nothing yet: in a container a process id soon comes again.
    let runs = |pid: u32| pid != us && Path::new("/proc").join(pid.to_string()).exists();
    pid.is_some_and(|pid| !runs(pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_demo_left_is_stale() {
        let us = std::process::id();
        let parent = std::os::unix::process::parent_id();
        // Above the kernel's largest pid (4,194,304).
        for (name, stale) in [
            ("jaga-demo-9999999", true),
            ("jaga-demo-9999999-host", true),
            (&*format!("jaga-demo-{us}"), true),
            (&*format!("jaga-demo-{parent}"), false),
            (&*format!("jaga-demo-{parent}-out"), false),
            ("jaga-demo-", false),
            ("jaga-demo-x", false),
            ("jaga-9999999", false),
        ] {
            assert_eq!(is_of_the_dead(name), stale, "{name}");
        }
    }
}
