//! Tells the kernel side where the stores are.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use jaga_rules::config::Target;
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::attach::Attached;
use super::decode::{Fields, file};
use crate::sensor::host::devices::Devices;
use crate::sensor::host::source::{Places, Root};

/// File system and inode of each root, with the store's index. Inode 0 marks a file system that has such a place, with 1
/// where one of these is a file.
type Placed = BTreeMap<(u64, u64), u32>;

/// Keeps the kernel's list of store roots.
#[derive(Debug)]
pub struct Roots {
    attached: Arc<Attached>,
    placed: Placed,
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
            devices: Devices::new(),
            version: 0,
        }
    }

    /// Asks the kernel side what it calls these files: the same code then names what is read.
    fn identify(&mut self, roots: &[Root]) -> Result<Placed, String> {
        let by_fd: BTreeMap<u32, &Root> = roots
            .iter()
            .map(|root| (root.file.as_raw_fd().unsigned_abs(), root))
            .collect();
        self.settings(std::process::id())?;
        let listed = self.attached.iterate("list_files")?;
        let mut places = Placed::new();
        for root in decode_listed(&listed) {
            if let Some(of) = by_fd.get(&root.fd) {
                let is_file = of.file.metadata().is_ok_and(|of| of.is_file());
                places.insert((root.fs, root.inode), of.store);
                *places.entry((root.super_id, 0)).or_default() |= u32::from(is_file);
            }
        }
        Ok(places)
    }

    fn tell(&mut self, places: &Placed) -> Result<(), String> {
        let map = self.attached.map("roots")?;
        for place in self
            .placed
            .keys()
            .filter(|place| !places.contains_key(place))
        {
            let gone = map.delete(&key_bytes(*place));
            gone.map_err(|error| format!("cannot drop a store's root: {error}"))?;
        }
        for (place, index) in places {
            map.update(&key_bytes(*place), &index.to_ne_bytes(), MapFlags::ANY)
                .map_err(|error| format!("cannot tell the kernel a store's root: {error}"))?;
        }
        self.placed.clone_from(places);
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
    fn place(&mut self, roots: &[Root]) -> Result<(), String> {
        let places = self.identify(roots)?;
        self.tell(&places)?;
        self.book_mapped()
    }

    fn remotes(&mut self, _: &[(Target, u32)]) -> Result<(), String> {
        Ok(()) // files are on this host
    }

    fn devices(&mut self, devices: &Devices) -> Result<(), String> {
        let Ok(map) = self.attached.map("devices") else {
            return Ok(()); // a rung that sees none
        };
        for gone in self.devices.keys().filter(|of| !devices.contains_key(of)) {
            let gone = map.delete(&gone.to_ne_bytes());
            gone.map_err(|error| format!("cannot drop a store's block device: {error}"))?;
        }
        for (device, stores) in devices {
            map.update(&device.to_ne_bytes(), &stores.to_ne_bytes(), MapFlags::ANY)
                .map_err(|error| {
                    format!("cannot tell the kernel a store's block device: {error}")
                })?;
        }
        self.devices.clone_from(devices);
        Ok(())
    }
}

/// File systems whose own hooks count their writes, as `struct settings` has them.
fn exact_writes(attached: &Attached) -> u32 {
    let ext4 = ["on_ext4_delayed", "on_ext4_write", "on_ext4_journalled"];
    let ext4 = ext4.iter().all(|program| attached.has(program));
    u32::from(ext4) | u32::from(attached.has("on_xfs_write")) << 1
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
    fs: u64,
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
            inode: 2,
            super_id: 4,
        };
        assert_eq!(decode_listed(&one), [listed]);
        assert!(decode_listed(&one[..47]).is_empty());
    }
}
