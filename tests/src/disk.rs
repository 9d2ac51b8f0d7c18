//! A disk of a test's own: an image behind a loop device, with a file system on it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::run;

/// Mounted until dropped.
#[derive(Debug)]
pub struct Disk {
    /// The block device.
    pub device: String,
    /// Where it is mounted.
    pub mounted: PathBuf,
}

impl Disk {
    /// Makes `folder/disk.img` of `bytes` bytes and mounts it on `folder/disk`; `make` is the program that makes the file
    /// system.
    ///
    /// # Panics
    /// If this machine cannot.
    #[must_use]
    pub fn new(folder: &Path, make: &str, bytes: u64) -> Self {
        let (image, mounted) = (folder.join("disk.img"), folder.join("disk"));
        let file = std::fs::File::create(&image).expect("the image can be made");
        file.set_len(bytes).expect("a sparse image takes no room");
        run(Command::new(make).arg("-q").arg(&image));
        let losetup = run(Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&image));
        let device = String::from_utf8_lossy(&losetup.stdout).trim().to_owned();
        std::fs::create_dir(&mounted).expect("the folder is new");
        let disk = Self { device, mounted };
        run(Command::new("mount").arg(&disk.device).arg(&disk.mounted));
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a program that was killed may still hold it for a moment.
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).status();
        let _ = Command::new("losetup").args(["-d", &self.device]).status();
    }
}
