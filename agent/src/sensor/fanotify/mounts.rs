//! What is mounted where (proc_pid_mountinfo(5)): a place in a file system, whatever mount it is reached through.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::sensor::host::stores::unescape;

/// File systems that hold data. Others are the kernel's own windows, which nobody stages data in.
const WITH_DATA: [&str; 22] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs", "zfs", "bcachefs", "tmpfs",
    "ramfs", "vfat", "exfat", "ntfs3", "hfsplus", "udf", "nfs", "nfs4", "cifs", "smb3", "overlay",
];

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The file system, by its device.
    pub device: (u32, u32),
    /// What of the file system is mounted.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// The file system's type.
    pub kind: String,
    /// Of an overlay: the directories that it shows.
    pub layers: Vec<PathBuf>,
}

/// A place in a file system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file system, by its device.
    pub device: (u32, u32),
    /// Where in it.
    pub path: PathBuf,
}

impl Mount {
    /// The place that this path through this mount is; `None` if the path does not lead through it.
    #[must_use]
    pub fn place(&self, path: &Path) -> Option<Place> {
        let below = path.strip_prefix(&self.point).ok()?;
        Some(Place {
            device: self.device,
            path: self.root.join(below),
        })
    }

    /// Whether data can lie there.
    #[must_use]
    pub fn has_data(&self) -> bool {
        WITH_DATA.contains(&&*self.kind) || self.kind.starts_with("fuse")
    }
}

/// All mounts of a `mountinfo`, by their id.
#[must_use]
pub fn parse(mountinfo: &str) -> BTreeMap<u64, Mount> {
    mountinfo.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<(u64, Mount)> {
    let (head, tail) = line.split_once(" - ")?;
    let mut head = head.split(' ');
    let id = head.next()?.parse().ok()?;
    let (major, minor) = head.nth(1)?.split_once(':')?;
    let root = unescape(head.next()?);
    let point = unescape(head.next()?);
    let mut tail = tail.split(' ');
    let kind = tail.next()?.to_owned();
    let options = tail.nth(1).unwrap_or_default();
    let mount = Mount {
        device: (major.parse().ok()?, minor.parse().ok()?),
        root: root.into(),
        point: point.into(),
        layers: layers(&kind, options),
        kind,
    };
    Some((id, mount))
}

fn layers(kind: &str, options: &str) -> Vec<PathBuf> {
    if kind != "overlay" {
        return Vec::new();
    }
    let named = options.split(',').filter_map(|option| {
        let (name, value) = option.split_once('=')?;
        matches!(name, "lowerdir" | "lowerdir+" | "datadir+" | "upperdir").then_some(value)
    });
    named
        .flat_map(|value| value.split(':'))
        .filter(|path| !path.is_empty())
        .map(|path| unescape(path).into())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
42 27 254:0 /srv/pacs /mnt/a\\040b rw shared:1 - ext4 /dev/vda rw
50 27 0:40 / /merged rw - overlay overlay rw,lowerdir=/srv/pacs:/b,upperdir=/u,workdir=/w
60 27 0:22 / /proc rw - proc proc rw
";

    #[test]
    fn a_bind_mount_leads_to_the_same_place() {
        let mounts = parse(TEXT);
        let direct = mounts[&27].place(Path::new("/srv/pacs/1.dcm"));
        let bound = mounts[&42].place(Path::new("/mnt/a b/1.dcm"));
        assert_eq!(direct, bound);
        assert_eq!(bound.unwrap().path, Path::new("/srv/pacs/1.dcm"));
        assert_eq!(mounts[&42].place(Path::new("/mnt/c")), None);
    }

    #[test]
    fn an_overlay_names_what_it_shows() {
        let mounts = parse(TEXT);
        let layers = ["/srv/pacs", "/b", "/u"].map(PathBuf::from);
        assert_eq!(mounts[&50].layers, layers);
        assert!(mounts[&50].has_data() && !mounts[&60].has_data());
    }
}
