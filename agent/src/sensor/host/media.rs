//! File systems on media that can be taken away, of those that are mounted on this host.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::stores::unescape;

/// FUSE file systems of desktops and containers that show what is there anyway.
const SHOWN: [&str; 5] = [
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fuse.snapfuse",
    "fuse.squashfuse",
];

/// File systems of other hosts: part of the host if they were there when the agent started.
const REMOTE: [&str; 7] = ["9p", "ceph", "cifs", "glusterfs", "nfs", "nfs4", "smb3"];

/// A mount of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// Device number as mountinfo has it, `major:minor`.
    device: String,
    point: PathBuf,
    kind: String,
    /// `/dev/sdb1`, or whatever the file system calls it.
    source: String,
}

/// A file system on a medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Medium {
    /// Where it is mounted, once.
    pub point: PathBuf,
    /// What it is: its kind, and its block device, if it has one. Of others the source may be an address.
    pub name: String,
}

/// What was mounted at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before(BTreeSet<(String, String)>);

impl Before {
    /// What is mounted now.
    #[must_use]
    pub fn of(mountinfo: &str) -> Self {
        let mounts = mounts(mountinfo).map(|mount| (mount.device, mount.kind));
        Self(mounts.collect())
    }
}

/// Media, by device number: FUSE and what the kernel calls removable always, other disks and other hosts' file systems if
/// they were not there `before`. None on which a store lies.
#[must_use]
pub fn media(
    mountinfo: &str,
    sys: &Path,
    before: &Before,
    stores: &[PathBuf],
) -> BTreeMap<String, Medium> {
    let mut media = BTreeMap::new();
    for mount in mounts(mountinfo) {
        let was_there = before
            .0
            .contains(&(mount.device.clone(), mount.kind.clone()));
        let block = mount.source.strip_prefix("/dev/");
        let is_medium = match block {
            Some(name) => !was_there || is_removable(sys, name),
            None if mount.kind.starts_with("fuse") => !SHOWN.contains(&&*mount.kind),
            None => !was_there && REMOTE.contains(&&*mount.kind),
        };
        let has_store = stores.iter().any(|path| path.starts_with(&mount.point));
        if is_medium && !has_store {
            let name = match block {
                Some(device) => format!("{} on {device}", mount.kind),
                None => mount.kind,
            };
            let point = mount.point;
            media.entry(mount.device).or_insert(Medium { point, name });
        }
    }
    media
}

/// Whether the kernel says so of the disk, or of the disk that the partition is of; or it hangs on USB.
fn is_removable(sys: &Path, name: &str) -> bool {
    let Ok(place) = fs::canonicalize(sys.join("class/block").join(name)) else {
        return false;
    };
    let says = |folder: &Path| {
        fs::read_to_string(folder.join("removable")).is_ok_and(|text| text.trim() == "1")
    };
    let on_usb = place
        .components()
        .any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"usb"));
    on_usb || says(&place) || place.parent().is_some_and(says)
}

/// proc_pid_mountinfo(5): the kind and the source stand behind a lone `-`.
fn mounts(mountinfo: &str) -> impl Iterator<Item = Mount> {
    mountinfo.lines().filter_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(2);
        let (device, _root, point) = (front.next()?, front.next()?, front.next()?);
        let mut back = back.split(' ');
        Some(Mount {
            device: device.to_owned(),
            point: unescape(point).into(),
            kind: back.next()?.to_owned(),
            source: unescape(back.next()?),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw - proc proc rw
24 22 0:40 / /mnt/nas rw - nfs4 nas:/backup rw
25 22 8:17 / /mnt/stick rw - vfat /dev/sdb1 rw
26 22 0:41 / /run/user/1000/gvfs rw - fuse.gvfsd-fuse gvfsd-fuse rw
";

    /// `/sys` with a disk sda, a stick sdb on USB, and a card reader sdc.
    fn sys() -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        let disk = |place: &str, name: &str, removable: &str| {
            let folder = sys.path().join("devices").join(place).join(name);
            let part = folder.join(format!("{name}1"));
            fs::create_dir_all(&part).unwrap();
            fs::write(folder.join("removable"), removable).unwrap();
            let class = sys.path().join("class/block");
            fs::create_dir_all(&class).unwrap();
            std::os::unix::fs::symlink(&folder, class.join(name)).unwrap();
            std::os::unix::fs::symlink(&part, class.join(format!("{name}1"))).unwrap();
        };
        disk("pci0/ata1", "sda", "0\n");
        disk("pci0/usb1/1-1", "sdb", "0\n");
        disk("pci0/mmc", "sdc", "1\n");
        disk("pci0/ata2", "sdd", "0\n");
        sys
    }

    #[track_caller]
    fn check(more: &str, stores: &[PathBuf], expected: &[&str]) {
        let (sys, before) = (sys(), Before::of(HOST));
        let now = format!("{HOST}{more}");
        let found = media(&now, sys.path(), &before, stores);
        let found: Vec<String> = found.into_values().map(|medium| medium.name).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn sticks_and_clouds_are_media_whenever_they_came() {
        check("", &[], &["vfat on sdb1"]);
        let cloud = "30 22 0:50 / /mnt/cloud rw - fuse.rclone remote:bucket rw\n";
        check(cloud, &[], &["fuse.rclone", "vfat on sdb1"]);
    }

    #[test]
    fn a_disk_or_a_share_is_a_medium_if_it_came_later() {
        let later = "30 22 8:49 / /mnt/new rw - xfs /dev/sdd1 rw\n31 22 0:51 / /mnt/x rw - cifs //pc/x rw\n";
        check(later, &[], &["cifs", "vfat on sdb1", "xfs on sdd1"]);
        let other =
            "30 22 0:52 / /tmp rw - tmpfs tmpfs rw\n31 22 0:53 / /m rw - overlay overlay rw\n";
        check(other, &[], &["vfat on sdb1"]);
    }

    #[test]
    fn where_a_store_lies_is_no_medium() {
        check("", &["/mnt/stick/ekg".into()], &[]);
        check("", &["/mnt/stick2".into()], &["vfat on sdb1"]);
    }
}
