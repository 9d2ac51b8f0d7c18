//! Media that can be taken away: file systems on them, of those that are mounted on this host, and disks as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::devices;
use super::stores::unescape;

/// FUSE file systems of desktops and containers that show what is there anyway.
const SHOWN: [&str; 8] = [
    "fuse.fuse-overlayfs",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.mergerfs",
    "fuse.portal",
    "fuse.snapfuse",
    "fuse.squashfuse",
    "fuse.vmhgfs-fuse",
];

/// File systems of other hosts, by FUSE or without: part of the host if they were there when the agent started, or are listed.
const REMOTE: [&str; 8] = [
    "9p",
    "ceph",
    "ceph-fuse",
    "cifs",
    "glusterfs",
    "nfs",
    "nfs4",
    "smb3",
];

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

/// A file system on a medium, or a disk as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Medium {
    /// Where it is mounted, once; of a disk its device node.
    pub point: PathBuf,
    /// What it is: its kind, and its block device, if it has one. Of others the source may be an address.
    pub name: String,
    /// FUSE or removable: never part of a store, wherever it is mounted.
    pub is_foreign: bool,
}

/// What was there at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    mounts: BTreeSet<(String, String, String)>,
    disks: BTreeSet<OsString>,
}

impl Before {
    /// What is mounted, and which disks there are, now.
    #[must_use]
    pub fn of(mountinfo: &str, sys: &Path) -> Self {
        let mounts = mounts(mountinfo).map(|mount| (mount.device, mount.kind, mount.source));
        Self {
            mounts: mounts.collect(),
            disks: disks(sys),
        }
    }
}

/// Where the host's own table says that something is mounted (fstab(5)): it may come after the agent.
#[must_use]
pub fn listed(fstab: &str) -> BTreeSet<PathBuf> {
    let lines = fstab
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let points = lines.filter_map(|line| line.split_whitespace().nth(1));
    points.map(|point| unescape(point).into()).collect()
}

/// Names of all disks and their parts: what is plugged in changes these.
#[must_use]
pub fn disks(sys: &Path) -> BTreeSet<OsString> {
    let disks = fs::read_dir(sys.join("class/block")).into_iter().flatten();
    disks
        .filter_map(|disk| Some(disk.ok()?.file_name()))
        .collect()
}

/// Disks and parts of disks that can be taken away, or came while the agent ran, by `disk` and their device number: they can be
/// written to past every file system. None that the root or a store lies on, whole or in part, and none that the daemon of
/// a FUSE file system writes to: what is written to that is told already.
fn loose_disks(
    sys: &Path,
    mountinfo: &str,
    before: &Before,
    stores: &[PathBuf],
) -> BTreeMap<String, Medium> {
    let own = stores.iter().map(PathBuf::as_path).chain([Path::new("/")]);
    let own = devices::under(sys, mountinfo, own);
    let is_own = |place: &Path| {
        let number = fs::read_to_string(place.join("dev")).ok();
        let number = number.and_then(|number| devices::number(number.trim()));
        number.is_some_and(|number| own.contains(&number))
    };
    let daemons: BTreeSet<String> = mounts(mountinfo)
        .filter(|mount| mount.kind == "fuseblk")
        .map(|mount| mount.source)
        .collect();
    let found = disks(sys).into_iter().filter_map(|name| {
        let place = fs::canonicalize(sys.join("class/block").join(&name)).ok()?;
        let came = !before.disks.contains(&name) && !is_virtual(&place);
        if !came && !is_removable(&place)
            || is_own(&place)
            || place.parent().is_some_and(is_own)
            || daemons.contains(&format!("/dev/{}", name.to_str()?))
        {
            return None;
        }
        let medium = Medium {
            point: Path::new("/dev").join(&name),
            name: format!("the disk {} itself", name.to_str()?),
            is_foreign: true,
        };
        let number = fs::read_to_string(place.join("dev")).ok()?;
        Some((format!("disk {}", number.trim()), medium))
    });
    found.collect()
}

/// Media, by device number: disks that can be taken away; FUSE and what the kernel calls removable always, other disks and other hosts' file systems if
/// they were not there `before` and are not `listed`. None that is the root's or a store's.
#[must_use]
pub fn media(
    mountinfo: &str,
    sys: &Path,
    (before, listed): (&Before, &BTreeSet<PathBuf>),
    stores: &[PathBuf],
) -> BTreeMap<String, Medium> {
    let all: Vec<Mount> = mounts(mountinfo).collect();
    let own: BTreeSet<String> = stores
        .iter()
        .map(PathBuf::as_path)
        .chain([Path::new("/")])
        .filter_map(|path| Some(mount_of(&all, path)?.device.clone()))
        .collect();
    let mut media = loose_disks(sys, mountinfo, before, stores);
    for mount in all {
        let key = (
            mount.device.clone(),
            mount.kind.clone(),
            mount.source.clone(),
        );
        let was_there = before.mounts.contains(&key) || listed.contains(&mount.point);
        let block = mount.source.strip_prefix("/dev/");
        let remote = mount.kind.trim_start_matches("fuse.");
        let is_foreign = match block {
            // By its number: what is made of disks has a name of its own in /dev.
            Some(name) => [
                sys.join("dev/block").join(&mount.device),
                sys.join("class/block").join(name),
            ]
            .iter()
            .filter_map(|place| fs::canonicalize(place).ok())
            .any(|place| is_removable(&place)),
            None => {
                mount.kind.starts_with("fuse")
                    && !SHOWN.contains(&&*mount.kind)
                    && !REMOTE.contains(&remote)
            }
        };
        let is_late = !was_there && (block.is_some() || REMOTE.contains(&remote));
        if (is_foreign || is_late) && !own.contains(&mount.device) {
            let name = match block {
                Some(device) => format!("{} on {device}", mount.kind),
                None => mount.kind,
            };
            let point = mount.point;
            media.entry(mount.device).or_insert(Medium {
                point,
                name,
                is_foreign,
            });
        }
    }
    media
}

/// The mount that a path is reached by: the deepest, and of those the last.
fn mount_of<'m>(all: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    let over = all.iter().filter(|mount| path.starts_with(&mount.point));
    over.max_by_key(|mount| mount.point.components().count())
}

/// Whether the kernel says so of the disk, or of the disk that the partition is of, or of what it is made of (LUKS, LVM); or one
/// of these hangs on USB.
fn is_removable(place: &Path) -> bool {
    let says = |folder: &Path| {
        fs::read_to_string(folder.join("removable")).is_ok_and(|text| text.trim() == "1")
    };
    let on_usb = place
        .components()
        .any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"usb"));
    let made_of = fs::read_dir(place.join("slaves")).into_iter().flatten();
    let mut made_of = made_of.filter_map(|part| fs::canonicalize(part.ok()?.path()).ok());
    on_usb
        || says(place)
        || place.parent().is_some_and(says)
        || made_of.any(|part| is_removable(&part))
}

/// Loop devices, device mapper, RAM disks.
fn is_virtual(place: &Path) -> bool {
    place.components().any(|part| part.as_os_str() == "virtual")
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
        let disk = |(place, name): (&str, &str), minor: u32, removable: &str| {
            let folder = sys.path().join("devices").join(place).join(name);
            let part = folder.join(format!("{name}1"));
            fs::create_dir_all(&part).unwrap();
            fs::write(folder.join("removable"), removable).unwrap();
            fs::write(folder.join("dev"), format!("8:{minor}\n")).unwrap();
            fs::write(part.join("dev"), format!("8:{}\n", minor + 1)).unwrap();
            let class = sys.path().join("class/block");
            fs::create_dir_all(&class).unwrap();
            let numbers = sys.path().join("dev/block");
            fs::create_dir_all(&numbers).unwrap();
            std::os::unix::fs::symlink(&folder, numbers.join(format!("8:{minor}"))).unwrap();
            let of_part = numbers.join(format!("8:{}", minor + 1));
            std::os::unix::fs::symlink(&part, of_part).unwrap();
            fs::write(part.join("partition"), "1\n").unwrap();
            std::os::unix::fs::symlink(&folder, class.join(name)).unwrap();
            std::os::unix::fs::symlink(&part, class.join(format!("{name}1"))).unwrap();
        };
        disk(("pci0/ata1", "sda"), 0, "0\n");
        disk(("pci0/usb1/1-1", "sdb"), 16, "0\n");
        disk(("pci0/mmc", "sdc"), 32, "1\n");
        disk(("pci0/ata2", "sdd"), 48, "0\n");
        sys
    }

    #[track_caller]
    fn check(more: &str, stores: &[PathBuf], expected: &[&str]) {
        let sys = sys();
        let before = Before::of(HOST, sys.path());
        let now = format!("{HOST}{more}");
        let listed = listed("# mounts\n/dev/sdd2 /var/later\\040on ext4 nofail 0 0\n");
        let found = media(&now, sys.path(), (&before, &listed), stores);
        let found = found.into_values().map(|medium| medium.name);
        let found: Vec<String> = found.filter(|name| !name.starts_with("the disk")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_disk_that_can_be_taken_away_is_one_as_a_whole_unless_it_is_the_hosts_own() {
        let check = |stores: &[PathBuf], expected: &[&str]| {
            let sys = sys();
            let before = Before::of(HOST, sys.path());
            let mapper = sys.path().join("devices/virtual/block/dm-3");
            fs::create_dir_all(mapper.join("slaves")).unwrap();
            fs::write(mapper.join("dev"), "253:3\n").unwrap();
            std::os::unix::fs::symlink(&mapper, sys.path().join("class/block/dm-3")).unwrap();
            let stick = sys.path().join("class/block/sdc1");
            std::os::unix::fs::symlink(stick, mapper.join("slaves/sdc1")).unwrap();
            let late = sys.path().join("devices/pci0/nvme/nvme9n1");
            fs::create_dir_all(&late).unwrap();
            fs::write(late.join("dev"), "259:9\n").unwrap();
            std::os::unix::fs::symlink(&late, sys.path().join("class/block/nvme9n1")).unwrap();
            let found = media(HOST, sys.path(), (&before, &BTreeSet::new()), stores);
            let nodes = found
                .iter()
                .filter(|(number, _)| number.starts_with("disk"));
            let nodes: Vec<&str> = nodes
                .map(|(_, disk)| disk.point.to_str().unwrap())
                .collect();
            assert_eq!(nodes, expected);
        };
        let all = [
            "/dev/dm-3",
            "/dev/nvme9n1",
            "/dev/sdb",
            "/dev/sdb1",
            "/dev/sdc",
            "/dev/sdc1",
        ];
        check(&[], &all);
        check(
            &["/mnt/stick/ekg".into()],
            &["/dev/dm-3", "/dev/nvme9n1", "/dev/sdc", "/dev/sdc1"],
        );
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
    fn what_is_listed_may_come_later() {
        let later = "30 22 8:50 / /var/later\\040on rw - ext4 /dev/sdd2 rw\n";
        check(later, &[], &["vfat on sdb1"]);
        // Another share at the number of one that went.
        let other = "30 22 0:40 / /mnt/y rw - nfs4 pc:/other rw\n";
        check(other, &[], &["nfs4", "vfat on sdb1"]);
    }

    #[test]
    fn a_network_of_disks_by_fuse_is_no_cloud() {
        let mounted = "30 22 0:60 / /srv/g rw - fuse.glusterfs g:/v rw\n31 22 0:61 / /srv/m rw - fuse.mergerfs a:b rw\n";
        let sys = sys();
        let before = Before::of(&format!("{HOST}{mounted}"), sys.path());
        let now = format!("{HOST}{mounted}");
        let found = media(&now, sys.path(), (&before, &BTreeSet::new()), &[]);
        let mounted = found.keys().filter(|number| !number.starts_with("disk"));
        assert_eq!(mounted.count(), 1, "{found:?}");
    }

    #[test]
    fn where_a_store_lies_is_no_medium() {
        check("", &["/mnt/stick/ekg".into()], &[]);
        check("", &["/mnt/stick2".into()], &["vfat on sdb1"]);
        // Another folder of the same disk.
        let twice = "30 22 8:17 / /home rw - vfat /dev/sdb1 rw\n";
        check(twice, &["/mnt/stick/ekg".into()], &[]);
    }
}
