//! A table that the kernel counts into: two maps, of which one is in use while the other is emptied.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

/// Entries that one system call takes at most.
const BATCH: usize = 4096;

/// Two maps and the one-entry map that names the one in use.
#[derive(Debug)]
pub struct Table {
    active: OwnedFd,
    maps: [OwnedFd; 2],
    in_use: usize,
    key: usize,
    value: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl Table {
    /// A table whose first map is in use. `key` and `value` are the sizes of an entry, bytes.
    #[must_use]
    pub fn new(active: OwnedFd, maps: [OwnedFd; 2], key: usize, value: usize) -> Self {
        Self {
            active,
            maps,
            in_use: 0,
            key,
            value,
            keys: vec![0; BATCH * key],
            values: vec![0; BATCH * value],
        }
    }

    /// Takes every entry that was counted before this call; `each` gets key and value. Nothing is lost between:
    /// the kernel returns from the exchange of maps only when no program uses the old one any more.
    ///
    /// # Errors
    /// The kernel refuses; what was not taken stays for the next call.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        let old = self.in_use;
        self.exchange(1 - old)?;
        let mut position = vec![0_u8; self.key.max(4)];
        let mut first = true;
        loop {
            let (taken, last) = self.take(old, &mut position, first)?;
            let keys = self.keys.chunks_exact(self.key);
            let values = self.values.chunks_exact(self.value);
            for (key, value) in keys.zip(values).take(taken) {
                each(key, value);
            }
            if last {
                return Ok(());
            }
            first = false;
        }
    }

    fn exchange(&mut self, next: usize) -> io::Result<()> {
        let zero = 0_u32;
        let fd = self.maps[next].as_raw_fd();
        // SAFETY: key and value are four bytes each, as the map of maps has them.
        let result = unsafe {
            libbpf_sys::bpf_map_update_elem(
                self.active.as_raw_fd(),
                ptr::from_ref(&zero).cast(),
                ptr::from_ref(&fd).cast(),
                0,
            )
        };
        checked(result)?;
        self.in_use = next;
        Ok(())
    }

    /// Takes up to a batch; tells how many and whether they were the last.
    fn take(&mut self, map: usize, position: &mut [u8], first: bool) -> io::Result<(usize, bool)> {
        let mut count = BATCH as u32;
        let from = if first {
            ptr::null_mut()
        } else {
            position.as_mut_ptr()
        };
        // SAFETY: `keys` and `values` hold `count` entries of the map's sizes; `position` holds at least the four
        // bytes in which a hash map keeps its place, and may be input and output at once.
        let result = unsafe {
            libbpf_sys::bpf_map_lookup_and_delete_batch(
                self.maps[map].as_raw_fd(),
                from.cast(),
                position.as_mut_ptr().cast(),
                self.keys.as_mut_ptr().cast(),
                self.values.as_mut_ptr().cast(),
                &raw mut count,
                ptr::null(),
            )
        };
        match checked(result) {
            Ok(()) => Ok((count as usize, false)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((count as usize, true)),
            Err(error) => Err(error),
        }
    }
}

fn checked(result: i32) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    Ok(())
}
