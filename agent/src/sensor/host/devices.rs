//! Which block devices lie under the stores: whoever reads one of these reads a store past its path.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::stores::unescape;

/// Device numbers as the kernel has them (`MKDEV` in include/linux/kdev_t.h), each with a bit for each store's index.
pub type Devices = BTreeMap<u32, u64>;

/// The devices under these paths, each with its store's index, by `/proc/self/mountinfo` and `/sys`.
///
/// A partition's whole disk, what a device-mapper or RAID device is made of, what a loop device's file lies on, and
/// what is stacked on the store's own device (an LVM snapshot is stacked on what its origin is) count too.
pub fn below<'a>(
    sys: &Path,
    mountinfo: &str,
    stores: impl Iterator<Item = (&'a Path, u32)>,
) -> Devices {
    let mut devices = Devices::new();
    for (path, index) in stores.filter(|(_, index)| *index < 64) {
        let mut found = BTreeSet::new();
        for device in mounted_at(mountinfo, path) {
            stacked_on(sys, &device, &mut found);
            made_of(sys, mountinfo, &device, &mut found);
        }
        for device in found.iter().filter_map(|device| number(device)) {
            *devices.entry(device).or_default() |= 1 << index;
        }
    }
    devices
}

/// Numbers of what the mounts are made of that these paths lie on; not of what is mounted below.
pub fn under<'a>(
    sys: &Path,
    mountinfo: &str,
    paths: impl Iterator<Item = &'a Path>,
) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for device in paths.filter_map(|path| mounted_at(mountinfo, path).into_iter().next()) {
        made_of(sys, mountinfo, &device, &mut found);
    }
    found.iter().filter_map(|device| number(device)).collect()
}

/// Devices, as `MAJOR:MINOR`, of the mount that a path lies on, first, and of those mounted below it.
fn mounted_at(mountinfo: &str, path: &Path) -> Vec<String> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mounts: Vec<(PathBuf, String)> = mountinfo.lines().filter_map(mount).collect();
    let above = mounts
        .iter()
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.components().count()); // of equals the last, which hides the others
    let below = mounts
        .iter()
        .filter(|(point, _)| *point != path && point.starts_with(&path));
    above
        .into_iter()
        .chain(below)
        .map(|(_, device)| device.clone())
        .collect()
}

/// Mount point and device of a line (proc_pid_mountinfo(5)). btrfs has numbers of its own: there the source tells.
fn mount(line: &str) -> Option<(PathBuf, String)> {
    let (fields, tail) = line.split_once(" - ")?;
    let mut fields = fields.split(' ').skip(2);
    let device = fields.next()?;
    let point = PathBuf::from(unescape(fields.nth(1)?));
    let source = unescape(tail.split(' ').nth(1)?);
    if device.starts_with("0:") && source.starts_with('/') {
        let source = fs::metadata(&source).ok()?;
        return Some((point, words(source.rdev())));
    }
    Some((point, device.to_owned()))
}

fn words(device: u64) -> String {
    format!("{}:{}", libc::major(device), libc::minor(device))
}

/// `MAJOR:MINOR` as the kernel has it.
pub(super) fn number(device: &str) -> Option<u32> {
    let (major, minor) = device.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    (major > 0 && minor < 1 << 20).then_some(major << 20 | minor)
}

/// What shows this device's content under another number.
fn stacked_on(sys: &Path, device: &str, found: &mut BTreeSet<String>) {
    for holder in listed(&place(sys, device).join("holders")) {
        if found.insert(holder.clone()) {
            stacked_on(sys, &holder, found);
        }
    }
}

/// The device and what it is made of, down to the disks.
fn made_of(sys: &Path, mountinfo: &str, device: &str, found: &mut BTreeSet<String>) {
    if !found.insert(device.to_owned()) {
        return;
    }
    let place = place(sys, device);
    let mut parts: BTreeSet<String> = listed(&place.join("slaves"));
    if place.join("partition").exists() {
        parts.extend(fs::canonicalize(&place).ok().and_then(|place| {
            let whole = place.parent()?.join("dev");
            Some(fs::read_to_string(whole).ok()?.trim().to_owned())
        }));
    }
    if let Ok(image) = fs::read_to_string(place.join("loop/backing_file")) {
        parts.extend(mounted_at(mountinfo, Path::new(image.trim_end())));
    }
    parts.extend(of_the_same_btrfs(sys, device));
    let origin = fs::read_to_string(place.join("dm/name"));
    if origin.is_ok_and(|name| name.trim_end().ends_with("-real")) {
        stacked_on(sys, device, found); // LVM: an origin's content, and the snapshots of it
    }
    for part in parts {
        made_of(sys, mountinfo, &part, found);
    }
}

/// A btrfs on several disks is mounted from any of these.
fn of_the_same_btrfs(sys: &Path, device: &str) -> BTreeSet<String> {
    let systems = fs::read_dir(sys.join("fs/btrfs")).into_iter().flatten();
    let sets = systems.filter_map(|system| Some(listed(&system.ok()?.path().join("devices"))));
    sets.filter(|set| set.contains(device)).flatten().collect()
}

/// The devices that a folder of sysfs links to.
fn listed(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| fs::read_to_string(entry.path().join("dev")).ok())
        .map(|device| device.trim().to_owned())
        .collect()
}

fn place(sys: &Path, device: &str) -> PathBuf {
    sys.join("dev/block").join(device)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A partition 8:1 of disk 8:0, on which an LVM origin 253:1 ("-real") lies below volume 253:0 and snapshot 253:2;
    /// 253:3 is another volume of the same disk.
    fn sysfs() -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        let at = |path: &str| sys.path().join(path);
        let make = |path: &str, device: &str| {
            for folder in ["holders", "slaves", "dm"] {
                fs::create_dir_all(at(path).join(folder)).unwrap();
            }
            fs::write(at(path).join("dev"), format!("{device}\n")).unwrap();
            fs::create_dir_all(at("dev/block")).unwrap();
            symlink(at(path), at("dev/block").join(device)).unwrap();
        };
        make("sda", "8:0");
        make("sda/sda1", "8:1");
        fs::write(at("sda/sda1/partition"), "1\n").unwrap();
        for (name, device) in [
            ("dm-0", "253:0"),
            ("dm-1", "253:1"),
            ("dm-2", "253:2"),
            ("dm-3", "253:3"),
        ] {
            make(name, device);
        }
        fs::write(at("dm-1/dm/name"), "vg-lab-real\n").unwrap();
        for (above, under) in [
            ("dm-0", "dm-1"),
            ("dm-2", "dm-1"),
            ("dm-1", "sda/sda1"),
            ("dm-3", "sda/sda1"),
        ] {
            let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
            symlink(at(under), at(above).join("slaves").join(name(under))).unwrap();
            symlink(at(above), at(under).join("holders").join(name(above))).unwrap();
        }
        sys
    }

    #[test]
    fn disks_partitions_and_snapshots_belong_to_the_store() {
        let sys = sysfs();
        let mounts = "1 0 253:3 / / rw - ext4 /dev/vg/root rw\n\
                      2 1 253:0 / /nowhere/lab rw shared:1 - xfs /dev/vg/lab rw\n";
        let stores = [(Path::new("/nowhere/lab/results"), 3)].into_iter();
        let found = below(sys.path(), mounts, stores);
        let number = |major: u32, minor: u32| major << 20 | minor;
        let expected = [
            number(8, 0),
            number(8, 1),
            number(253, 0),
            number(253, 1),
            number(253, 2),
        ];
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), expected);
        assert!(found.values().all(|stores| *stores == 1 << 3));
    }

    #[test]
    fn what_has_no_device_has_none() {
        let mounts = "1 0 0:30 / /nowhere rw - tmpfs tmpfs rw\ngarbage\n";
        let stores = [(Path::new("/nowhere/lab"), 0)].into_iter();
        assert!(below(Path::new("/nowhere/sys"), mounts, stores).is_empty());
    }
}
