//! The other host: takes whatever comes, and tells how many bytes of it came, so that a sender cannot be wrong about itself.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::call;
use crate::wait::patience;

/// TCP here is counted, connection by connection, and UDP all together.
pub const PORT: u16 = 7000;
/// TCP here answers at once with what came by UDP and in raw packets.
const COUNT_PORT: u16 = 7001;
/// An IP protocol for experiments (RFC 3692).
pub const RAW_PROTOCOL: i32 = 253;
/// Of IPv4, without options.
const IP_HEADER: u64 = 20;

/// Takes what comes until it is ended; says `ready` once it does.
///
/// # Errors
/// If a port is taken.
pub fn receive() -> io::Result<()> {
    let datagrams = Arc::new(AtomicU64::new(0));
    let udp = UdpSocket::bind(("::", PORT))?;
    let raw = call::socket(libc::AF_INET, libc::SOCK_RAW, RAW_PROTOCOL)?;
    for socket in [udp.as_raw_fd(), raw.as_raw_fd()] {
        call::option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 64 << 20)?;
    }
    let counted = Arc::clone(&datagrams);
    thread::spawn(move || {
        count(
            |buffer| udp.recv(buffer).map(|bytes| bytes as u64),
            &counted,
        )
    });
    let counted = Arc::clone(&datagrams);
    let raw = UdpSocket::from(raw);
    thread::spawn(move || {
        count(
            |buffer| raw.recv(buffer).map(|bytes| bytes as u64 - IP_HEADER),
            &counted,
        )
    });
    let (streams, questions) = (
        TcpListener::bind(("::", PORT))?,
        TcpListener::bind(("::", COUNT_PORT))?,
    );
    thread::spawn(move || {
        for mut stream in questions.incoming().flatten() {
            let _ = stream.write_all(&datagrams.load(Ordering::Acquire).to_be_bytes());
        }
    });
    println!("ready");
    io::stdout().flush()?;
    for stream in streams.incoming() {
        let stream = stream?;
        thread::spawn(move || swallow(stream));
    }
    Ok(())
}

fn count(mut receive: impl FnMut(&mut [u8]) -> io::Result<u64>, sum: &AtomicU64) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        if let Ok(bytes) = receive(&mut buffer) {
            sum.fetch_add(bytes, Ordering::AcqRel);
        }
    }
}

/// Reads to the end, and answers with how much it was. An error is the sender's affair: it went away.
fn swallow(mut stream: TcpStream) -> Option<()> {
    let mut buffer = vec![0; 1 << 16];
    let mut all = 0_u64;
    loop {
        match stream.read(&mut buffer).ok()? {
            0 => break,
            bytes => all += bytes as u64,
        }
    }
    stream.write_all(&all.to_be_bytes()).ok()
}

/// Ends what is sent over a connection; what the other side got.
///
/// # Errors
/// If the other side does not answer.
pub(super) fn got(mut stream: &TcpStream) -> io::Result<u64> {
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    Ok(u64::from_be_bytes(answer))
}

/// Datagrams' payload that the other side got so far.
pub(super) fn datagrams(peer: IpAddr) -> io::Result<u64> {
    let mut answer = [0; 8];
    TcpStream::connect((peer, COUNT_PORT))?.read_exact(&mut answer)?;
    Ok(u64::from_be_bytes(answer))
}

/// Waits until that has become `wanted`.
///
/// # Errors
/// If it does not within seconds: then something else was sent than the system calls said.
pub(super) fn wait_for_datagrams(peer: IpAddr, wanted: u64) -> io::Result<()> {
    let start = Instant::now();
    loop {
        let got = datagrams(peer)?;
        if got == wanted {
            return Ok(());
        }
        if start.elapsed() > patience(5) {
            return Err(io::Error::other(format!(
                "sent until {wanted} B, and {got} B arrived"
            )));
        }
        thread::sleep(Duration::from_millis(5));
    }
}
