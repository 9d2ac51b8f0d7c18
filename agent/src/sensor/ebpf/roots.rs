//! Tells the kernel side where the stores are.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use jaga_rules::config::Target;
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::attach::Attached;
use super::decode::{Fields, file};
use crate::sensor::host::devices::Devices;
use crate::sensor::host::source::{Places, Root};

/// File system and inode of each root, with the store's index. Inode 0 marks a file system that has such a place, with
/// twice the first store's index, and 1 more where one of these is a file.
type Placed = BTreeMap<(u64, u64), u32>;

/// Subvolumes of btrfs in which stores lie, each with a bit for each store's index.
type Subvolumes = BTreeMap<u64, u64>;

/// Keeps the kernel's list of store roots.
#[derive(Debug)]
pub struct Roots {
    attached: Arc<Attached>,
    placed: Placed,
    subvolumes: Subvolumes,
    devices: Devices,
    version: u32,
    exact_writes: u32,
}

impl Roots {
    /// No store yet.
    #[must_use]
    pub fn new(attached: Arc<Attached>) -> Self {
        Self {
            exact_writes: exact_writes(&attached),
            attached,
            placed: Placed::new(),
            subvolumes: Subvolumes::new(),
            devices: Devices::new(),
            version: 0,
        }
    }

    /// Asks the kernel side what it calls these files: the same code then names what is read.
    fn identify(&mut self, roots: &[Root]) -> Result<(Placed, Subvolumes), String> {
        let by_fd: BTreeMap<u32, &Root> = roots
            .iter()
            .map(|root| (root.file.as_raw_fd().unsigned_abs(), root))
            .collect();
        self.settings(std::process::id())?;
        let listed = self.attached.iterate("list_files")?;
        let (mut places, mut subvolumes) = (Placed::new(), Subvolumes::new());
        for root in decode_listed(&listed) {
            if let Some(of) = by_fd.get(&root.fd) {
                let is_file = of.file.metadata().is_ok_and(|of| of.is_file());
                places.insert((root.fs, root.inode), of.store);
                let of_system = places.entry((root.super_id, 0));
                *of_system.or_insert(of.store << 1) |= u32::from(is_file);
                if root.fs != root.super_id && of.store < u64::BITS {
                    *subvolumes.entry(root.fs).or_default() |= 1 << of.store;
                }
            }
        }
        Ok((places, subvolumes))
    }

    fn tell(&mut self, places: Placed, subvolumes: Subvolumes) -> Result<(), String> {
        let place = |place: &(u64, u64)| key_bytes(*place).to_vec();
        let index = |index: &u32| index.to_ne_bytes().to_vec();
        let roots = self.attached.map("roots")?;
        replace(roots, (&self.placed, &places), place, index)
            .map_err(|error| format!("cannot tell the kernel a store's root: {error}"))?;
        let of_btrfs = self.attached.map("subvolumes")?;
        replace(of_btrfs, (&self.subvolumes, &subvolumes), bytes, bytes)
            .map_err(|error| format!("cannot tell the kernel a store's subvolume: {error}"))?;
        (self.placed, self.subvolumes) = (places, subvolumes);
        self.version = self.version.wrapping_add(1);
        self.settings(0)
    }

    /// Whoever has a file of a store mapped may read it without a fault that anybody sees.
    fn book_mapped(&self) -> Result<(), String> {
        let program = "book_mapped";
        if !self.attached.has(program) {
            return Ok(()); // a rung that has none
        }
        let booked = self.attached.iterate(program).map(drop);
        booked.map_err(|error| format!("what processes had mapped before is not seen: {error}"))
    }

    /// `struct settings` of `store.h`.
    fn settings(&self, list_tgid: u32) -> Result<(), String> {
        let any_roots = u32::from(!self.placed.is_empty());
        let fields = [self.version, any_roots, list_tgid, self.exact_writes];
        let bytes: Vec<u8> = fields
            .iter()
            .flat_map(|field| field.to_ne_bytes())
            .collect();
        set(self.attached.map("settings")?, &bytes)
    }
}

impl Places for Roots {
    fn file_systems(&mut self, folders: &[File]) -> Result<Vec<Option<u64>>, String> {
        self.settings(std::process::id())?;
        let listed = self.attached.iterate("list_files");
        self.settings(0)?;
        let listed = decode_listed(&listed?);
        let of = |folder: &File| {
            let fd = folder.as_raw_fd().unsigned_abs();
            let same = listed.iter().find(|listed| listed.fd == fd);
            same.map(|listed| listed.files_fs)
        };
        Ok(folders.iter().map(of).collect())
    }

    fn place(&mut self, roots: &[Root]) -> Result<(), String> {
        let (places, subvolumes) = self.identify(roots)?;
        self.tell(places, subvolumes)?;
        self.book_mapped()
    }

    fn remotes(&mut self, _: &[(Target, u32)]) -> Result<(), String> {
        Ok(()) // files are on this host
    }

    fn devices(&mut self, devices: &Devices) -> Result<(), String> {
        let Ok(map) = self.attached.map("devices") else {
            return Ok(()); // a rung that sees none
        };
        let number = |device: &u32| device.to_ne_bytes().to_vec();
        replace(map, (&self.devices, devices), number, bytes)
            .map_err(|error| format!("cannot tell the kernel a store's block device: {error}"))?;
        self.devices.clone_from(devices);
        Ok(())
    }
}

/// File systems whose own hooks count their writes, as `struct settings` has them.
fn exact_writes(attached: &Attached) -> u32 {
    let ext4 = ["on_ext4_delayed", "on_ext4_write", "on_ext4_journalled"];
    let ext4 = ext4.iter().all(|program| attached.has(program));
    let [xfs, fuse] = ["on_xfs_write", "on_fuse_write"].map(|program| attached.has(program));
    u32::from(ext4) | u32::from(xfs) << 1 | u32::from(fuse) << 2
}

/// Puts the second table in the place of the first.
fn replace<K: Ord, V>(
    map: &MapHandle,
    (old, new): (&BTreeMap<K, V>, &BTreeMap<K, V>),
    key: impl Fn(&K) -> Vec<u8>,
    value: impl Fn(&V) -> Vec<u8>,
) -> libbpf_rs::Result<()> {
    for gone in old.keys().filter(|gone| !new.contains_key(gone)) {
        map.delete(&key(gone))?;
    }
    for (place, what) in new {
        map.update(&key(place), &value(what), MapFlags::ANY)?;
    }
    Ok(())
}

fn bytes(number: &u64) -> Vec<u8> {
    number.to_ne_bytes().to_vec()
}

/// Writes the only entry of a settings map.
pub(crate) fn set(map: &MapHandle, bytes: &[u8]) -> Result<(), String> {
    map.update(&0_u32.to_ne_bytes(), bytes, MapFlags::ANY)
        .map_err(|error| format!("cannot tell the kernel the settings: {error}"))
}

fn key_bytes((fs, inode): (u64, u64)) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&fs.to_ne_bytes());
    key[8..].copy_from_slice(&inode.to_ne_bytes());
    key
}

/// `struct listed`: an open file of this process.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    fd: u32,
    /// As a store's root is listed.
    fs: u64,
    /// As files on it are told.
    files_fs: u64,
    inode: u64,
    super_id: u64,
}

fn decode_listed(bytes: &[u8]) -> Vec<Listed> {
    let mut fields = Fields(bytes);
    std::iter::from_fn(|| {
        let fd = fields.u32()?;
        let _reserved = fields.u32()?;
        let id = file::take_file(&mut fields)?;
        let super_id = fields.u64()?;
        let fs = fields.u64()?;
        Some(Listed {
            fd,
            fs,
            files_fs: id.fs,
            inode: id.inode,
            super_id,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::decode::tests::Bytes;
    use super::*;

    #[test]
    fn listed_files_are_decoded_until_the_bytes_are_cut() {
        let one = Bytes::default()
            .u32(5)
            .u32(0)
            .u64(1)
            .u64(2)
            .u32(3)
            .u32(0)
            .u64(4)
            .u64(9)
            .0;
        let listed = Listed {
            fd: 5,
            fs: 9,
            files_fs: 1,
            inode: 2,
            super_id: 4,
        };
        assert_eq!(decode_listed(&one), [listed]);
        assert!(decode_listed(&one[..47]).is_empty());
    }
}
