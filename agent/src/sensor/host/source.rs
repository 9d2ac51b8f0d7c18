//! What a source of a subject must be able to do, whichever rung it stands on.

use std::fs::File;
use std::path::PathBuf;

use jaga_rules::config::{Decoy, Interfaces, Namespaces, Target};
use jaga_rules::event::{Gap, Name};

use super::batch::Round;
use super::devices::Devices;
use super::seen::{Life, SocketCount};

/// Process life.
pub trait Lives {
    /// What happened since the last call.
    fn take(&mut self) -> Vec<Life>;
    /// What was lost since the last call; then everybody is listed anew.
    fn gap(&mut self) -> Option<Gap>;
    /// Everybody who is there, in any order; nothing if they cannot be listed.
    fn list(&mut self) -> Vec<Life>;
}

/// Reads and writes.
pub trait Files {
    /// Adds what happened since the last call to the round, and what was lost of it to the gaps.
    fn drain(&mut self, round: &mut Round, gaps: &mut Vec<Gap>);
}

/// Sends, each with the interface of its local address, where known.
pub trait Sockets {
    /// Adds what was sent since the last call, and what was lost of it.
    fn drain(&mut self, sends: &mut Vec<(SocketCount, Option<Name>)>, gaps: &mut Vec<Gap>);
}

/// Whoever must know where the stores are.
pub trait Places: Send {
    /// Takes these roots instead of the former ones.
    ///
    /// # Errors
    /// In words, what is not watched, and the next step.
    fn place(&mut self, roots: &[Root]) -> Result<(), String>;

    /// Takes these addresses of other hosts, from which a store's data comes, instead of the former ones.
    ///
    /// # Errors
    /// In words, what is not watched, and the next step.
    fn remotes(&mut self, remotes: &[(Target, u32)]) -> Result<(), String>;

    /// Takes these decoys instead of the former ones. Whoever watches none needs none; what is not watched is told as a gap.
    fn decoys(&mut self, _: &[Decoy]) {}

    /// Takes these device nodes, through which data can leave unseen, instead of the former ones. Whoever watches none needs none.
    fn nodes(&mut self, _: &[PathBuf]) {}

    /// What it calls the file systems of these open folders, where it sees writes to them.
    ///
    /// # Errors
    /// In words, why it cannot tell.
    fn file_systems(&mut self, folders: &[File]) -> Result<Vec<Option<u64>>, String> {
        Ok(vec![None; folders.len()])
    }

    /// Takes these block devices, on which stores lie, instead of the former ones. Whoever sees none needs none.
    ///
    /// # Errors
    /// In words, what is not watched, and the next step.
    fn devices(&mut self, _: &Devices) -> Result<(), String> {
        Ok(())
    }
}

/// A directory (or file) at which a store begins, or at which it goes on behind a mount.
#[derive(Debug)]
pub struct Root {
    /// Opened without reading (`O_PATH`).
    pub file: File,
    /// Where it was found.
    pub path: PathBuf,
    /// The store, as an index of [`super::stores::StoreNames`].
    pub store: u32,
}

/// A subject on a rung that really attached.
pub struct Raised<S: ?Sized> {
    /// 1 is best.
    pub rung: u8,
    /// How it sees.
    pub how: String,
    /// What it sees all the same of what the sensors cannot see ([`super::NOT_SEEN`]), by its name there.
    pub sees_also: &'static [&'static str],
    /// Opens it, on the thread that drains it.
    pub open: Box<dyn FnOnce() -> Result<Box<S>, String> + Send>,
    /// Who must know where the stores are, if this subject must.
    pub places: Option<Box<dyn Places>>,
}

/// What a source is made for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Whose sends are counted.
    pub namespaces: Namespaces,
    /// The agent's own network namespace, by its inode.
    pub netns: u32,
    /// Whose packets are counted, where nothing better is had.
    pub interfaces: Interfaces,
}

/// One way to see a subject, tried where the better ones do not attach.
pub type Rung<S> = fn(&Wish) -> Result<Raised<S>, String>;
