//! Every way in which a program can read or send, done for real, with the bytes that the system calls said they moved.
//!
//! `jaga-truth` is this as a program: each way runs in a process of its own, so that what jaga books to it is that way's
//! alone. It needs libc, a few folders and, for some ways, root; it never looks at jaga.

use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

pub mod call;
pub mod datagram;
pub mod drive;
pub mod fuse;
pub mod leak;
pub mod mapped;
pub mod noise;
pub mod peer;
pub mod place;
pub mod queue;
pub mod reading;
pub mod sending;

/// A way to read or to send: a row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// As the table calls it.
    pub name: &'static str,
    /// Does it; bytes, by the results of the system calls.
    pub run: fn(&Bench) -> io::Result<u64>,
    /// Begins before the agent does: it calls [`wait_for_agent`] once it is that far.
    pub early: bool,
}

impl Way {
    const fn new(name: &'static str, run: fn(&Bench) -> io::Result<u64>) -> Self {
        let early = false;
        Self { name, run, early }
    }

    const fn early(name: &'static str, run: fn(&Bench) -> io::Result<u64>) -> Self {
        let early = true;
        Self { name, run, early }
    }
}

/// What of it a way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Reads a store.
    Reading,
    /// Sends to another host.
    Sending,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Reading, Self::Sending];

    /// As the command line and the table have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Sending => "sending",
        }
    }

    /// Its ways, in the table's order.
    pub fn ways(self) -> impl Iterator<Item = &'static Way> {
        let tables: [&'static [Way]; 3] = match self {
            Self::Reading => [reading::WAYS, mapped::WAYS, place::WAYS],
            Self::Sending => [sending::WAYS, datagram::WAYS, &[]],
        };
        tables.into_iter().flatten()
    }

    /// The way of that name.
    pub fn find(self, name: &str) -> Option<&'static Way> {
        self.ways().find(|way| way.name == name)
    }
}

/// Where a way finds what it reads, and to whom it sends.
#[derive(Debug, Clone)]
pub struct Bench {
    /// Holds the stores; see [`place::prepare`].
    pub folder: PathBuf,
    /// Where `jaga-truth receive` runs.
    pub peer: Ipv4Addr,
    /// The same host.
    pub peer6: Ipv6Addr,
}

impl Bench {
    /// The store on the folder's own file system.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// The same for the way at this place in the table, whose peer is at an address of its own: what nobody is known to
    /// have sent is known by where it went.
    #[must_use]
    pub fn apart(&self, place: usize) -> Self {
        let step = u32::try_from(place).expect("there are few ways");
        Self {
            folder: self.folder.clone(),
            peer: Ipv4Addr::from_bits(self.peer.to_bits() + step),
            peer6: Ipv6Addr::from_bits(self.peer6.to_bits() + u128::from(step)),
        }
    }

    /// A store of its own with one file: see [`drive::drive_apart`].
    #[must_use]
    pub fn mark(&self) -> PathBuf {
        self.folder.join(place::MARKS).join("mark")
    }

    /// A file of it, of [`BIG`] bytes.
    #[must_use]
    pub fn big(&self) -> PathBuf {
        self.store().join("big")
    }
}

/// Size of the file that most ways read: many pages, and not whole ones.
pub const BIG: u64 = (6 << 20) + 123;

/// Says that the way is as far as it gets before the agent starts, and waits to be told that it has.
///
/// # Errors
/// If nobody is there to tell.
pub fn wait_for_agent() -> io::Result<()> {
    println!("ready");
    io::stdout().flush()?;
    io::stdin().lock().read_line(&mut String::new()).map(drop)
}

/// The program: `(reading|sending) NAME FOLDER PEER PEER6`, `drive FOLDER PEER PEER6`, `drive-apart FOLDER PEER PEER6`,
/// `receive`, `noise FOLDER`, `put io_uring|sendfile FILE ADDRESS`, and what ways start.
///
/// # Errors
/// What came in the way, for a human.
pub fn main(words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words {
        ["receive"] => peer::receive().map_err(|error| error.to_string()),
        ["connect"] => sending::connect_for_another().map_err(|error| error.to_string()),
        ["fuse", from, to] => {
            fuse::serve(Path::new(from), Path::new(to)).map_err(|error| error.to_string())
        }
        ["noise", folder] => noise::noise(Path::new(folder)).map_err(|error| error.to_string()),
        ["put", how, file, address] => {
            leak::put(how, Path::new(file), address).map_err(|error| error.to_string())
        }
        ["drive", folder, peer, peer6] => drive::drive(&bench(folder, peer, peer6)?),
        ["drive-apart", folder, peer, peer6] => drive::drive_apart(&bench(folder, peer, peer6)?),
        [family, name, folder, peer, peer6] => one(family, name, &bench(folder, peer, peer6)?),
        _ => Err(
            "say: reading|sending NAME FOLDER PEER PEER6, drive FOLDER PEER PEER6, or receive"
                .into(),
        ),
    }
}

fn bench(folder: &str, peer: &str, peer6: &str) -> Result<Bench, String> {
    Ok(Bench {
        folder: folder.into(),
        peer: peer
            .parse()
            .map_err(|_| format!("'{peer}' is no IPv4 address"))?,
        peer6: peer6
            .parse()
            .map_err(|_| format!("'{peer6}' is no IPv6 address"))?,
    })
}

fn one(family: &str, name: &str, bench: &Bench) -> Result<(), String> {
    let family = Family::ALL.into_iter().find(|known| known.word() == family);
    let way = family
        .and_then(|family| family.find(name))
        .ok_or_else(|| format!("no way of that kind is called '{name}'"))?;
    let bytes = (way.run)(bench).map_err(|error| error.to_string())?;
    println!("{bytes}");
    Ok(())
}
