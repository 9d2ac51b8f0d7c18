//! Tries the places that `jaga run` will need, and leaves nothing behind: directories, files, the metrics' address.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use crate::http;

/// For whoever holds the port to say who it is.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Whether files can be made in the directory, which is made at start if it is not there.
///
/// # Errors
/// Why not, and the next step.
pub(super) fn directory(path: &Path) -> Result<String, String> {
    let there = path
        .ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(path);
    try_directory(there)
        .map(|()| how(there == path))
        .map_err(|error| cannot_write(there, &error))
}

/// Whether the file can be written, which is made, with its directory, if it is not there.
///
/// # Errors
/// Why not, and the next step.
pub(super) fn file(path: &Path) -> Result<String, String> {
    if !path.exists() {
        return directory(path.parent().unwrap_or(path)).map(|_| how(false));
    }
    // As the first alert will. For writing alone it would wait for somebody to read, if it is a FIFO.
    let opened = OpenOptions::new().read(true).append(true).open(path);
    opened
        .map(|_| how(true))
        .map_err(|error| cannot_write(path, &error))
}

/// Whether `run` can listen there, or does already.
///
/// # Errors
/// Why not, and the next step.
pub(super) fn address(address: SocketAddr) -> Result<String, String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok("free".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_jaga(address) => {
            Ok("a jaga that runs answers there".to_owned())
        }
        Err(error) => Err(http::cannot_listen(address, &error)),
    }
}

fn how(is_there: bool) -> String {
    let how = if is_there {
        "writable"
    } else {
        "not there yet, can be made"
    };
    how.to_owned()
}

/// A file without a name is gone when it is closed, even by kill -9. Not every file system has them. The right alone is
/// not asked for: root has it in places where nobody can make a file.
fn try_directory(directory: &Path) -> io::Result<()> {
    let tried = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(directory);
    match tried {
        Err(error) if has_no_nameless_files(&error) => {
            try_named(&directory.join(format!(".jaga-check-{}", std::process::id())))
        }
        tried => tried.map(drop),
    }
}

fn try_named(file: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(file)?;
    fs::remove_file(file)
}

/// As open(2) says of O_TMPFILE.
fn has_no_nameless_files(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)
    )
}

fn cannot_write(place: &Path, error: &io::Error) -> String {
    let step = match error.kind() {
        io::ErrorKind::PermissionDenied => "run as root, or give it to the user that runs jaga",
        io::ErrorKind::NotADirectory => "name a directory instead",
        io::ErrorKind::ReadOnlyFilesystem => "mount it writable, or name another place",
        _ => "mend that, or name another place in the configuration",
    };
    format!("cannot write to '{}': {error}; {step}", place.display())
}

fn is_jaga(address: SocketAddr) -> bool {
    ask(address).is_ok_and(|answer| answer.contains(http::HEALTHY))
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(stream, "GET /-/healthy HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_made_is_tried_and_nothing_is_left() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path();
        assert_eq!(directory(place).unwrap(), "writable");
        let deep = place.join("a/b");
        assert_eq!(directory(&deep).unwrap(), "not there yet, can be made");
        assert_eq!(
            file(&deep.join("alerts.jsonl")).unwrap(),
            "not there yet, can be made"
        );
        assert_eq!(fs::read_dir(place).unwrap().count(), 0);
        let there = place.join("alerts.jsonl");
        fs::write(&there, "a line\n").unwrap();
        assert_eq!(file(&there).unwrap(), "writable");
        assert_eq!(fs::read_to_string(&there).unwrap(), "a line\n");
        let error = directory(&there.join("state")).unwrap_err();
        assert!(error.ends_with("; name a directory instead"), "{error}");
    }

    #[test]
    fn a_fifo_that_nobody_reads_does_not_hold_it_up() {
        let root = tempfile::tempdir().unwrap();
        let fifo = root.path().join("alerts.jsonl");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        let (told, tried) = std::sync::mpsc::channel();
        std::thread::spawn(move || told.send(file(&fifo)));
        let tried = tried.recv_timeout(Duration::from_secs(10));
        assert_eq!(tried.expect("it ends"), Ok("writable".to_owned()));
    }

    #[test]
    fn where_nothing_can_be_made_the_reason_is_told() {
        // Even root makes no files there.
        let error = directory(Path::new("/proc/jaga")).unwrap_err();
        assert!(error.starts_with("cannot write to '/proc': "), "{error}");
        let error = file(Path::new("/proc/jaga/alerts.jsonl")).unwrap_err();
        assert!(error.starts_with("cannot write to '/proc': "), "{error}");
    }

    #[test]
    fn a_port_is_free_or_held() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = held.local_addr().unwrap();
        let other = std::thread::spawn(move || held.accept().map(drop));
        let error = address(place).unwrap_err();
        assert!(error.contains("address in use; `ss -ltnp"), "{error}");
        other.join().unwrap().unwrap();
        // A process that another test starts has every open file until its program runs, this port as well.
        let freed = (0..30).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            address(place).is_ok_and(|said| said == "free")
        });
        assert!(freed, "{:?}", address(place));
    }
}
