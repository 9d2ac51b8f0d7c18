//! A web server on another host that takes what is put to it, counts it and keeps nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::net::Host;

/// Counts every byte of body that it is sent, until the process ends.
#[derive(Debug, Clone)]
pub struct Sink {
    received: Arc<AtomicU64>,
}

impl Sink {
    /// Listens on `port` of `host`, all addresses. `PUT` and `POST` are counted; `GET /N` answers with N zeros.
    ///
    /// # Panics
    /// If the port is taken.
    #[must_use]
    pub fn start(host: &Host, port: u16) -> Self {
        let listener =
            host.inside(|| TcpListener::bind(("0.0.0.0", port)).expect("the sink's port is free"));
        let sink = Self {
            received: Arc::default(),
        };
        let counting = sink.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counting = counting.clone();
                std::thread::spawn(move || counting.serve(stream));
            }
        });
        sink
    }

    /// Bytes of body received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// Answers requests until the other side closes. An error is the other side's affair: it was killed, or refused to wait.
    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut answers = stream.try_clone().ok()?;
        let mut requests = BufReader::with_capacity(1 << 20, stream);
        loop {
            let request = Request::read(&mut requests)?;
            if let Some(zeros) = request.zeros {
                write!(
                    answers,
                    "HTTP/1.1 200 OK\r\nContent-Length: {zeros}\r\n\r\n"
                )
                .ok()?;
                std::io::copy(&mut std::io::repeat(0).take(zeros), &mut answers).ok()?;
                continue;
            }
            if request.wants_continue {
                answers.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
            }
            match request.length {
                Some(length) => self.discard(&mut requests, length)?,
                None => self.discard_chunks(&mut requests)?,
            }
            answers
                .write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
                .ok()?;
        }
    }

    fn discard(&self, requests: &mut impl BufRead, length: u64) -> Option<()> {
        let mut left = length;
        while left > 0 {
            let have = requests.fill_buf().ok()?.len() as u64;
            if have == 0 {
                return None;
            }
            let taken = have.min(left);
            requests.consume(usize::try_from(taken).ok()?);
            self.received.fetch_add(taken, Ordering::AcqRel);
            left -= taken;
        }
        Some(())
    }

    /// RFC 9112, 7.1.
    fn discard_chunks(&self, requests: &mut impl BufRead) -> Option<()> {
        loop {
            let mut size = String::new();
            requests.read_line(&mut size).ok()?;
            let size = u64::from_str_radix(size.trim(), 16).ok()?;
            self.discard(requests, size)?;
            let mut end = [0; 2];
            requests.read_exact(&mut end).ok()?;
            if size == 0 {
                return Some(());
            }
        }
    }
}

/// What matters of a request's head.
#[derive(Debug, Default)]
struct Request {
    zeros: Option<u64>,
    length: Option<u64>,
    wants_continue: bool,
}

impl Request {
    fn read(requests: &mut impl BufRead) -> Option<Self> {
        let mut request = Self::default();
        let mut is_first = true;
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim().to_ascii_lowercase();
            if is_first {
                is_first = false;
                let path = line
                    .strip_prefix("get ")
                    .and_then(|rest| rest.split(' ').next());
                request.zeros = path.and_then(|path| path.rsplit('/').next()?.parse().ok());
            } else if line.is_empty() {
                return Some(request);
            } else if let Some(length) = line.strip_prefix("content-length:") {
                request.length = length.trim().parse().ok();
            } else if line.starts_with("expect:") {
                request.wants_continue = true;
            }
        }
    }
}
