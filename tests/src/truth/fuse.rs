//! The least FUSE file system that shows the files of a folder (protocol 7.31, include/uapi/linux/fuse.h).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::call;

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const INIT: u32 = 26;
const BATCH_FORGET: u32 = 42;

/// The largest read, and room for it in a request's buffer (the kernel asks for 8 KiB at least).
const READ_LIMIT: u32 = 128 << 10;
const ROOT: u64 = 1;
/// Of `struct fuse_in_header`.
const HEAD: usize = 40;

/// Mounts `to`, says so by one byte on standard output, and serves the regular files of `from` until it is ended. It
/// reads them by `pread`.
///
/// # Errors
/// Without /dev/fuse, or the right to mount.
pub fn serve(from: &Path, to: &Path) -> io::Result<()> {
    let mut device = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")?;
    let data = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0",
        device.as_raw_fd()
    );
    call::mount(Path::new("truth"), to, "fuse", 0, &data)?;
    io::stdout().write_all(b"x")?;
    io::stdout().flush()?;
    let mut request = vec![0; READ_LIMIT as usize];
    let mut server = Server {
        from: from.to_path_buf(),
        files: Vec::new(),
    };
    loop {
        let length = match device.read(&mut request) {
            Ok(length) => length,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()), // unmounted
            Err(error) => return Err(error),
        };
        server.answer(&mut device, &request[..length])?;
    }
}

struct Server {
    from: std::path::PathBuf,
    /// Node `ROOT + 1 + index`.
    files: Vec<File>,
}

impl Server {
    fn answer(&mut self, device: &mut File, request: &[u8]) -> io::Result<()> {
        let (opcode, unique, node) = (u32_at(request, 4), u64_at(request, 8), u64_at(request, 16));
        let body = &request[HEAD..];
        let answer = match opcode {
            FORGET | BATCH_FORGET => return Ok(()),
            INIT => Ok(init()),
            LOOKUP => self.lookup(body),
            GETATTR => self
                .attributes(node)
                .map(|attributes| [seconds(1), attributes].concat()),
            OPEN => Ok(vec![0; 16]),
            READ => self.read(node, body),
            _ => Err(io::Error::from_raw_os_error(libc::ENOSYS)),
        };
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(error) => (-error.raw_os_error().unwrap_or(libc::EIO), Vec::new()),
        };
        let length = u32::try_from(16 + body.len()).expect("small");
        let head = [
            &length.to_ne_bytes()[..],
            &error.to_ne_bytes(),
            &unique.to_ne_bytes(),
        ]
        .concat();
        device.write_all(&[head, body].concat())
    }

    fn lookup(&mut self, name: &[u8]) -> io::Result<Vec<u8>> {
        let name = String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned();
        self.files.push(File::open(self.from.join(name))?);
        let node = ROOT + self.files.len() as u64;
        // struct fuse_entry_out: node, generation, how long name and attributes hold.
        let head = [&node.to_ne_bytes()[..], &[0; 8], &[0; 8], &[0; 8], &[0; 8]].concat();
        Ok([head, self.attributes(node)?].concat())
    }

    /// `struct fuse_attr`.
    fn attributes(&self, node: u64) -> io::Result<Vec<u8>> {
        let metadata = match self.file(node) {
            Some(file) => file.metadata()?,
            None => fs::metadata(&self.from)?,
        };
        let wide = [node, metadata.size(), metadata.blocks(), 0, 0, 0];
        let narrow = [0, 0, 0, metadata.mode(), 1, 0, 0, 0, 4096, 0];
        let wide = wide.iter().flat_map(|field| field.to_ne_bytes());
        Ok(wide
            .chain(narrow.iter().flat_map(|field: &u32| field.to_ne_bytes()))
            .collect())
    }

    /// `struct fuse_read_in`: handle, offset, size.
    fn read(&self, node: u64, body: &[u8]) -> io::Result<Vec<u8>> {
        let file = self
            .file(node)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EISDIR))?;
        let mut bytes = vec![0; u32_at(body, 16) as usize];
        let length = file.read_at(&mut bytes, u64_at(body, 8))?;
        bytes.truncate(length);
        Ok(bytes)
    }

    fn file(&self, node: u64) -> Option<&File> {
        self.files
            .get(usize::try_from(node.checked_sub(ROOT + 1)?).ok()?)
    }
}

/// `struct fuse_init_out`.
fn init() -> Vec<u8> {
    let [major, minor, readahead, flags, background, max_write] = [7, 31, READ_LIMIT, 0, 0, 4096];
    let fields: [u32; 6] = [major, minor, readahead, flags, background, max_write];
    let mut out: Vec<u8> = fields
        .iter()
        .flat_map(|field| field.to_ne_bytes())
        .collect();
    out.resize(64, 0);
    out
}

/// A validity: seconds and nanoseconds, as the attributes' answer begins.
fn seconds(count: u64) -> Vec<u8> {
    [count.to_ne_bytes(), [0; 8]].concat()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
