//! Rungs 1 and 2: files, sockets and processes, counted in the kernel at tracepoints, or at functions as they return.

use std::sync::Arc;

use jaga_rules::config::Namespaces;

use self::attach::{Attached, Subject, attach};
use self::remotes::Remotes;
use self::roots::Roots;
use super::host::source::{self, Raised, Wish};

mod attach;
pub mod decode;
mod remotes;
mod roots;
mod table;
mod tables;
pub mod wire;

/// Process life.
///
/// # Errors
/// Why it does not attach, with the next step.
pub fn processes(_: &Wish) -> Result<Raised<dyn source::Lives>, String> {
    let attached = Arc::new(attach(&attach::processes())?);
    Ok(Raised {
        rung: 1,
        how: "tp_btf: fork, exec and exit".to_owned(),
        sees_also: &[],
        open: Box::new(move || Ok(Box::new(tables::Lives::open(attached)?))),
        places: None,
    })
}

/// Who gets at the memory of another process.
///
/// # Errors
/// Why it does not attach, with the next step.
pub fn memory(_: &Wish) -> Result<Raised<dyn source::Files>, String> {
    let attached = Arc::new(attach(&attach::memory())?);
    Ok(Raised {
        rung: 1,
        how: "fexit: whoever may trace a process, or read its memory".to_owned(),
        sees_also: &[],
        open: Box::new(move || Ok(Box::new(tables::Memory::open(attached)?))),
        places: None,
    })
}

/// Reads and writes, at tracepoints, and at functions what has none.
///
/// # Errors
/// Why it does not attach, with the next step.
pub fn files(_: &Wish) -> Result<Raised<dyn source::Files>, String> {
    let how = "tp_btf: page cache, direct IO and write-back tracepoints; fexit: tmpfs, FUSE and rename functions";
    raise_files(1, how, &attach::files(), SEEN_BY_FUNCTION)
}

/// The same where the kernel has no trampolines.
///
/// # Errors
/// Why it does not attach, with the next step.
pub fn files_by_tracepoint(_: &Wish) -> Result<Raised<dyn source::Files>, String> {
    let how = "tp_btf: page cache, direct IO and write-back tracepoints";
    raise_files(1, how, &attach::files().by_tracepoint(), &[])
}

/// Reads and writes, at functions.
///
/// # Errors
/// Why it does not attach, with the next step.
pub fn files_by_function(_: &Wish) -> Result<Raised<dyn source::Files>, String> {
    let how = "fexit: page cache, tmpfs, direct IO, write and rename functions";
    raise_files(2, how, &attach::files_by_function(), SEEN_BY_FUNCTION)
}

/// What files have no tracepoint for, and functions tell.
const SEEN_BY_FUNCTION: &[&str] = &["tmpfs", "reflinks"];

fn raise_files(
    rung: u8,
    how: &str,
    subject: &Subject,
    sees_also: &'static [&'static str],
) -> Result<Raised<dyn source::Files>, String> {
    let attached = Arc::new(attach(subject)?);
    Ok(Raised {
        rung,
        how: how.to_owned(),
        sees_also,
        places: Some(Box::new(Roots::new(Arc::clone(&attached)))),
        open: Box::new(move || Ok(Box::new(tables::Files::open(attached)?))),
    })
}

/// What passes through local sockets and pipes, and what comes from remote stores, at tracepoints and functions.
///
/// # Errors
/// Why it does not attach, with the next step.
pub fn channels(_: &Wish) -> Result<Raised<dyn source::Files>, String> {
    let how = "tp_btf: sock_send_length and sock_recv_length of unix and loopback sockets; fexit: pipes and splices";
    raise_channels(1, how, &attach::channels())
}

/// The same where the kernel has no trampolines.
///
/// # Errors
/// Why it does not attach, with the next step.
pub fn channels_by_tracepoint(_: &Wish) -> Result<Raised<dyn source::Files>, String> {
    let how = "tp_btf: sock_send_length and sock_recv_length of unix and loopback sockets";
    raise_channels(1, how, &attach::channels().by_tracepoint())
}

/// What passes through local sockets, and what comes from remote stores, at functions.
///
/// # Errors
/// Why it does not attach, with the next step.
pub fn channels_by_function(_: &Wish) -> Result<Raised<dyn source::Files>, String> {
    let how = "fexit: the send and receive functions of pipes, unix and loopback sockets";
    raise_channels(2, how, &attach::channels_by_function())
}

fn raise_channels(
    rung: u8,
    how: &str,
    subject: &Subject,
) -> Result<Raised<dyn source::Files>, String> {
    let attached = Arc::new(attach(subject)?);
    Ok(Raised {
        rung,
        how: how.to_owned(),
        sees_also: &[],
        places: Some(Box::new(Remotes::new(Arc::clone(&attached)))),
        open: Box::new(move || Ok(Box::new(tables::Channels::open(attached)?))),
    })
}

/// Sends, at tracepoints.
///
/// # Errors
/// Why it does not attach, with the next step.
pub fn sockets(wish: &Wish) -> Result<Raised<dyn source::Sockets>, String> {
    let how = "tp_btf: sock_send_length, with the task";
    raise_sockets(1, how, &attach::sockets(), wish)
}

/// Sends, at functions.
///
/// # Errors
/// Why it does not attach, with the next step.
pub fn sockets_by_function(wish: &Wish) -> Result<Raised<dyn source::Sockets>, String> {
    let how = "fexit: the send functions of IPv4, IPv6 and packet sockets";
    raise_sockets(2, how, &attach::sockets_by_function(), wish)
}

fn raise_sockets(
    rung: u8,
    how: &str,
    subject: &Subject,
    wish: &Wish,
) -> Result<Raised<dyn source::Sockets>, String> {
    let attached = Arc::new(attach(subject)?);
    only_namespace(&attached, wish);
    let netns = wish.netns;
    Ok(Raised {
        rung,
        how: how.to_owned(),
        sees_also: &[],
        open: Box::new(move || Ok(Box::new(tables::Sockets::open(attached, netns)?))),
        places: None,
    })
}

fn only_namespace(sockets: &Attached, wish: &Wish) {
    let only = match wish.namespaces {
        Namespaces::All => 0,
        Namespaces::Own => wish.netns,
    };
    let settings: Vec<u8> = [only, 0]
        .iter()
        .flat_map(|field| u32::to_ne_bytes(*field))
        .collect();
    if let Err(error) = sockets
        .map("settings")
        .and_then(|map| roots::set(map, &settings))
    {
        tracing::warn!("sockets of all network namespaces are counted: {error}");
    }
}
