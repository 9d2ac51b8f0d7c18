//! Room that is kept beside the state: given up when the disk is full, so that an alert can still be written and sent.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;
use nix::sys::statvfs::statvfs;

/// Bytes that are kept: some hundred alerts, with what their couriers note.
const BYTES: u64 = 4 << 20;

/// The room, kept or given up.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    kept: bool,
}

impl Reserve {
    /// Keeps room in `directory`, if there is any.
    pub(super) fn new(directory: &Path) -> Self {
        let mut reserve = Self {
            path: directory.join("jaga.reserve"),
            kept: false,
        };
        reserve.keep();
        reserve
    }

    /// Keeps it again once there is twice as much.
    pub(super) fn keep(&mut self) {
        if !self.kept {
            self.kept = self.try_keep().is_ok();
        }
    }

    fn try_keep(&self) -> io::Result<()> {
        let length = fs::metadata(&self.path).map_or(0, |file| file.len());
        let room = statvfs(self.path.parent().unwrap_or(&self.path))?;
        if length < BYTES && room.blocks_available() * room.fragment_size() < 2 * BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&self.path)?;
        posix_fallocate(&file, 0, BYTES.cast_signed())?;
        Ok(())
    }

    /// Gives it to whoever writes next.
    pub(super) fn give_up(&mut self) {
        self.kept = false;
        // What cannot be removed is not there, or stays: the write that follows says which.
        let _ = fs::remove_file(&self.path);
    }
}
