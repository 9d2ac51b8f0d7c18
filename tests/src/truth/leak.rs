//! A file put to a web server in ways that a watch of `read` and `write` would not see.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use super::{call, queue};

/// Bytes a request of io_uring, or a call of sendfile.
const PIECE: usize = 1 << 18;

/// Puts a file to `address`, its body by `how`: `io_uring` or `sendfile`.
///
/// # Errors
/// If that is none, the file or the connection fails, or the server does not take it.
pub fn put(how: &str, path: &Path, address: &str) -> io::Result<()> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut server = TcpStream::connect(address)?;
    write!(
        server,
        "PUT /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n"
    )?;
    match how {
        "io_uring" => queue::uring_copy(&file, &server, PIECE)?,
        "sendfile" => while call::sendfile(&server, &file, PIECE)? > 0 {},
        _ => return Err(io::Error::other(format!("no way to put is called '{how}'"))),
    }
    let mut answer = [0; 12];
    server.read_exact(&mut answer)?;
    if answer.ends_with(b" 201") {
        Ok(())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&answer)))
    }
}
