//! Ways to send over TCP.

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::peer::{PORT, got};
use super::reading::until_nothing;
use super::{Bench, Way, call, queue, wait_for_agent};

/// The ways.
pub const WAYS: &[Way] = &[
    Way::new("write", |bench| {
        over(bench, |stream| {
            pieces(|bytes| Ok((&*stream).write(bytes)? as u64))
        })
    }),
    Way::new("send", |bench| {
        over(bench, |stream| pieces(|bytes| call::send(stream, bytes, 0)))
    }),
    Way::new("sendmsg", |bench| {
        over(bench, |stream| {
            pieces(|bytes| call::sendmsg::<()>(stream, bytes, None))
        })
    }),
    Way::new("sendmmsg", |bench| {
        over(bench, |stream| {
            pieces(|bytes| call::sendmmsg::<()>(stream, &bytes[..5000], 16, None))
        })
    }),
    Way::new("sendfile to a connection", |bench| {
        let file = File::open(bench.folder.join("plain"))?;
        over(bench, |stream| {
            until_nothing(|_| call::sendfile(stream, &file, 300_001))
        })
    }),
    Way::new("splice to a connection", |bench| {
        over(bench, |stream| splice(bench, stream))
    }),
    Way::new("MSG_ZEROCOPY", |bench| {
        over(bench, |stream| {
            call::option(stream, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1)?;
            pieces(|bytes| call::send(stream, bytes, libc::MSG_ZEROCOPY))
        })
    }),
    Way::new("io_uring send", |bench| {
        over(bench, |stream| queue::uring_send(stream, &[7; 50_001], 60))
    }),
    Way::new("io_uring send, polled by the kernel", |bench| {
        over(bench, |stream| {
            queue::uring_send_polled(stream, &[7; 50_001], 60)
        })
    }),
    Way::new("IPv6", |bench| {
        sent(TcpStream::connect((bench.peer6, PORT))?, |stream| {
            pieces(|bytes| Ok((&*stream).write(bytes)? as u64))
        })
    }),
    Way::new("over a socket from another process", passed),
    Way::early("connected before the agent started", |bench| {
        let stream = TcpStream::connect((bench.peer, PORT))?;
        (&stream).write_all(&[7; 100_000])?;
        wait_for_agent()?;
        let bytes = pieces(|bytes| Ok((&stream).write(bytes)? as u64))?;
        arrived(bytes + 100_000, got(&stream)?).map(|_| bytes)
    }),
    Way::new("20,000 connections of 5 ms", many),
];

/// Sends some megabytes in odd pieces.
fn pieces(mut send: impl FnMut(&[u8]) -> io::Result<u64>) -> io::Result<u64> {
    let bytes = vec![7; 100_001];
    (0..30).map(|_| send(&bytes)).sum()
}

/// Sends over a new connection, and compares with what arrived.
fn over(bench: &Bench, send: impl FnOnce(&TcpStream) -> io::Result<u64>) -> io::Result<u64> {
    sent(TcpStream::connect((bench.peer, PORT))?, send)
}

fn sent(stream: TcpStream, send: impl FnOnce(&TcpStream) -> io::Result<u64>) -> io::Result<u64> {
    let bytes = send(&stream)?;
    arrived(bytes, got(&stream)?)
}

fn arrived(sent: u64, got: u64) -> io::Result<u64> {
    if sent == got {
        Ok(sent)
    } else {
        Err(io::Error::other(format!(
            "the calls sent {sent} B, and {got} B arrived"
        )))
    }
}

fn splice(bench: &Bench, stream: &TcpStream) -> io::Result<u64> {
    let file = File::open(bench.folder.join("plain"))?;
    let (from, to) = io::pipe()?;
    let mut all = 0;
    loop {
        let mut left = call::splice(&file, &to, 60_000)?;
        if left == 0 {
            return Ok(all);
        }
        while left > 0 {
            let bytes = call::splice(&from, stream, usize::try_from(left).expect("small"))?;
            left -= bytes;
            all += bytes;
        }
    }
}

/// Another process of this program connects and hands the socket over; this one sends.
fn passed(bench: &Bench) -> io::Result<u64> {
    let (mine, other) = UnixStream::pair()?;
    let mut helper = Command::new(std::env::current_exe()?)
        .arg("connect")
        .env("JAGA_TRUTH_PEER", bench.peer.to_string())
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(other)))
        .spawn()?;
    let stream = TcpStream::from(call::take(&mine)?);
    helper.wait()?;
    sent(stream, |stream| {
        pieces(|bytes| Ok((&*stream).write(bytes)? as u64))
    })
}

/// Connects, and passes the socket over standard input.
///
/// # Errors
/// Without a peer.
pub fn connect_for_another() -> io::Result<()> {
    let peer = std::env::var("JAGA_TRUTH_PEER").map_err(io::Error::other)?;
    let peer: IpAddr = peer.parse().map_err(io::Error::other)?;
    call::pass(&io::stdin().as_raw_fd(), &TcpStream::connect((peer, PORT))?)
}

/// Many at a time, each living 5 ms and sending a little.
fn many(bench: &Bench) -> io::Result<u64> {
    const THREADS: u64 = 50;
    let some = || -> io::Result<u64> {
        (0..20_000 / THREADS)
            .map(|_| {
                over(bench, |mut stream| {
                    stream.write_all(&[7; 1000])?;
                    thread::sleep(Duration::from_millis(5));
                    Ok(1000)
                })
            })
            .sum()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(some)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("it ends"))
            .sum()
    })
}
