//! Rung 1: files, sockets and processes, counted in the kernel at tracepoints.

use std::sync::Arc;

use jaga_rules::config::Namespaces;

use self::attach::{Attached, attach};
use self::remotes::Remotes;
use self::roots::Roots;
use super::host::source::{self, Raised, Wish};

mod attach;
pub mod decode;
mod remotes;
mod roots;

mod table;
mod tables;

/// Process life.
///
/// # Errors
/// Why it does not attach, with the next step.
pub fn processes(_: &Wish) -> Result<Raised<dyn source::Lives>, String> {
    let attached = Arc::new(attach(&attach::processes())?);
    Ok(Raised {
        rung: 1,
        how: "tp_btf: fork, exec and exit".to_owned(),
        open: Box::new(move || Ok(Box::new(tables::Lives::open(attached)?))),
        places: None,
    })
}

/// Reads and writes.
///
/// # Errors
/// Why it does not attach, with the next step.
pub fn files(_: &Wish) -> Result<Raised<dyn source::Files>, String> {
    let attached = Arc::new(attach(&attach::files())?);
    Ok(Raised {
        rung: 1,
        how: "tp_btf: page cache, direct IO and write-back tracepoints".to_owned(),
        places: Some(Box::new(Roots::new(Arc::clone(&attached)))),
        open: Box::new(move || Ok(Box::new(tables::Files::open(attached)?))),
    })
}

/// What passes through local sockets, and what comes from remote stores.
///
/// # Errors
/// Why it does not attach, with the next step.
pub fn channels(_: &Wish) -> Result<Raised<dyn source::Files>, String> {
    let attached = Arc::new(attach(&attach::channels())?);
    Ok(Raised {
        rung: 1,
        how: "tp_btf: sock_send_length and sock_recv_length of unix and loopback sockets"
            .to_owned(),
        places: Some(Box::new(Remotes::new(Arc::clone(&attached)))),
        open: Box::new(move || Ok(Box::new(tables::Channels::open(attached)?))),
    })
}

/// Sends.
///
/// # Errors
/// Why it does not attach, with the next step.
pub fn sockets(wish: &Wish) -> Result<Raised<dyn source::Sockets>, String> {
    let attached = Arc::new(attach(&attach::sockets())?);
    only_namespace(&attached, wish);
    let netns = wish.netns;
    Ok(Raised {
        rung: 1,
        how: "tp_btf: sock_send_length, with the task".to_owned(),
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
