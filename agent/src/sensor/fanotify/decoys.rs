//! Files that nobody has a reason to open, and devices that data can leave by: who opens them, whatever the rungs of reads are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jaga_rules::config::{Decoy, Target};
use jaga_rules::event::{Gap, GapKind};

use super::sys::{self, Group};
use super::{decode, next_step};
use crate::sensor::host::batch::Round;
use crate::sensor::host::seen::By;
use crate::sensor::host::source::{self, Places, Raised, Root, Wish};
use crate::sensor::host::touched::{Touched, Watched};

/// What this sensor is called.
pub const SENSOR: &str = "decoys";

/// Reads of the queue in one drain, of some thousand opens each.
const READS: usize = 16;

/// Processes told apart in one drain; of those beyond nobody is named.
const OPENERS: usize = 4_096;

/// Drains between two tellings that a decoy is not there.
const TELL_EVERY: u32 = 40;

/// Who opens decoys.
///
/// # Errors
/// Why it cannot be listened, with the next step.
pub fn decoys(_: &Wish) -> Result<Raised<dyn source::Files>, String> {
    let group = Group::new().map_err(|error| {
        format!(
            "fanotify refuses: {error}; run as root or with CAP_SYS_ADMIN (under systemd: \
             /usr/share/doc/jaga/older-kernel.conf), on Linux 5.1 or later"
        )
    })?;
    Ok(raised(Ok(group)))
}

/// Watches none, and says so as soon as there are some.
#[must_use]
pub fn refused(why: String) -> Raised<dyn source::Files> {
    raised(Err(why))
}

fn raised(group: Result<Group, String>) -> Raised<dyn source::Files> {
    let marked = Arc::new(Marked {
        group,
        devices: Group::by_handle().ok(),
        table: Mutex::default(),
    });
    let marks = Box::new(Marks {
        marked: Arc::clone(&marked),
        decoys: Vec::new(),
        nodes: Vec::new(),
    });
    Raised {
        rung: 1,
        how: "fanotify: who opens them".to_owned(),
        sees_also: &[],
        open: Box::new(move || {
            Ok(Box::new(Opens {
                marked,
                buffer: vec![0; 64 * 1024],
                opens: BTreeMap::new(),
                drains: 0,
            }))
        }),
        places: Some(marks),
    }
}

/// Shared by the thread that looks where they are and the one that hears of them.
struct Marked {
    /// Absent with the reason.
    group: Result<Group, String>,
    /// Absent as the former, or before Linux 5.1.
    devices: Option<Group>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// By device and inode.
    decoys: BTreeMap<(u64, u64), Watched>,
    /// By handle.
    devices: BTreeMap<Vec<u8>, Watched>,
    /// Why some are not watched.
    unwatched: Vec<String>,
}

impl Marked {
    fn change(&self, change: impl FnOnce(&mut Table)) {
        change(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

struct Marks {
    marked: Arc<Marked>,
    decoys: Vec<Decoy>,
    nodes: Vec<PathBuf>,
}

impl Places for Marks {
    fn place(&mut self, _: &[Root]) -> Result<(), String> {
        Ok(())
    }

    fn remotes(&mut self, _: &[(Target, u32)]) -> Result<(), String> {
        Ok(())
    }

    fn decoys(&mut self, decoys: &[Decoy]) {
        self.decoys = decoys.to_vec();
        self.mark_all();
    }

    fn nodes(&mut self, nodes: &[PathBuf]) {
        self.nodes = nodes.to_vec();
        self.mark_all();
    }
}

impl Marks {
    /// Files are marked, not paths: one that was renamed stays marked, and one in its place is marked at the next look.
    fn mark_all(&self) {
        let mut table = Table::default();
        for decoy in &self.decoys {
            match self.mark(decoy) {
                Ok(identity) => {
                    let watched = Watched::Decoy(decoy.name.clone());
                    table.decoys.insert(identity, watched);
                }
                Err(why) => table.unwatched.push(why),
            }
        }
        // Nobody named these: one that cannot be marked, or went meanwhile, is not watched.
        if let Some(group) = &self.marked.devices {
            let marked = self
                .nodes
                .iter()
                .filter(|node| group.mark_file(node).is_ok());
            let devices = marked.filter_map(|node| {
                let watched = Watched::Device(node.to_string_lossy().into());
                Some((sys::handle_of(node).ok()?, watched))
            });
            table.devices.extend(devices);
        }
        self.marked.change(|old| *old = table);
    }

    fn mark(&self, decoy: &Decoy) -> Result<(u64, u64), String> {
        let (name, path) = (&decoy.name, decoy.path.display());
        let plant = "plant it again (`jaga decoy plant`), or take it out of `decoys:`";
        let found = fs::symlink_metadata(&decoy.path).map_err(|error| {
            format!("decoy '{name}': cannot look at '{path}': {error}; {plant}")
        })?;
        if !found.is_file() {
            return Err(format!("decoy '{name}': '{path}' is no file; {plant}"));
        }
        let group = self.marked.group.as_ref().map_err(String::clone)?;
        group
            .mark_file(&decoy.path)
            .map_err(|error| format!("decoy '{name}': fanotify cannot mark '{path}': {error}"))?;
        Ok((found.dev(), found.ino()))
    }
}

struct Opens {
    marked: Arc<Marked>,
    buffer: Vec<u8>,
    /// Opens since the last drain, by process and file.
    opens: BTreeMap<(u32, Watched), u64>,
    drains: u32,
}

impl source::Files for Opens {
    fn drain(&mut self, round: &mut Round, gaps: &mut Vec<Gap>) {
        let marked = Arc::clone(&self.marked);
        for group in marked.group.iter().chain(&marked.devices) {
            self.hear_all(group, gaps);
        }
        let opens = std::mem::take(&mut self.opens).into_iter();
        round
            .touched
            .extend(opens.map(|((pid, what), opens)| Touched {
                by: match pid {
                    0 => By::Nobody,
                    pid => By::Ended(pid),
                },
                what,
                opens,
            }));
        if self.drains.is_multiple_of(TELL_EVERY) {
            self.marked.change(|table| {
                let unwatched = table.unwatched.iter().cloned();
                gaps.extend(unwatched.map(|why| Gap::new(SENSOR, GapKind::Unseen, 0, why)));
            });
        }
        self.drains = self.drains.wrapping_add(1);
    }
}

impl Opens {
    /// Whoever opens one in a loop holds up nobody: what is left waits in the kernel's queue.
    fn hear_all(&mut self, group: &Group, gaps: &mut Vec<Gap>) {
        for _ in 0..READS {
            match group.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(length) => self.hear(length, gaps),
                Err(error) => {
                    let why = format!(
                        "opens of decoys and devices are not heard: {error}; {}",
                        next_step(&error)
                    );
                    gaps.push(Gap::new(SENSOR, GapKind::Blind, 0, why));
                    break;
                }
            }
        }
    }

    fn hear(&mut self, length: usize, gaps: &mut Vec<Gap>) {
        for event in decode::events(&self.buffer[..length]) {
            if event.overflow {
                let why =
                    "the kernel dropped opens of decoys: give the agent more memory (MemoryMax=)";
                gaps.push(Gap::new(SENSOR, GapKind::Lost, 1, why));
            }
            let file = event.fd.map(sys::own);
            let decoy = file.and_then(|file| identity(file.as_fd()).ok());
            // The agent looks at nothing; another of its threads may all the same.
            if !event.opened || event.pid == std::process::id() {
                continue;
            }
            let opens = &mut self.opens;
            self.marked.change(|table| {
                let device = event.handle.and_then(|handle| table.devices.get(handle));
                let decoy = decoy.and_then(|identity| table.decoys.get(&identity));
                if let Some(file) = decoy.or(device) {
                    let pid = if opens.len() < OPENERS { event.pid } else { 0 };
                    *opens.entry((pid, file.clone())).or_default() += 1;
                }
            });
        }
    }
}

fn identity(fd: std::os::fd::BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let found = nix::sys::stat::fstat(fd)?;
    Ok((found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn an_open_is_heard_with_its_process_also_of_a_new_file_in_its_place() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not run: an_open_is_heard…: needs root");
            assert!(std::env::var_os("CI").is_none(), "in CI it must run");
            return;
        }
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = folder.path().join("old-export.csv");
        let wish = Wish {
            namespaces: jaga_rules::config::Namespaces::All,
            netns: 0,
            interfaces: jaga_rules::config::Interfaces::Off,
        };
        let raised = decoys(&wish).unwrap_or_else(|why| panic!("{why}"));
        let (mut marks, mut opens) = (raised.places.unwrap(), (raised.open)().unwrap());
        let decoy = Decoy {
            name: "old-export".into(),
            path: path.clone(),
        };
        marks.decoys(std::slice::from_ref(&decoy));
        let mut drain = || {
            let (mut round, mut gaps) = (Round::default(), Vec::new());
            opens.drain(&mut round, &mut gaps);
            (round.touched, gaps)
        };
        let gaps = drain().1;
        assert_eq!(gaps.len(), 1, "that it is not there is told");
        assert!(gaps[0].why.contains("jaga decoy plant"), "{gaps:?}");
        for _ in 0..2 {
            fs::write(folder.path().join("new"), "1,2").unwrap();
            fs::rename(folder.path().join("new"), &path).unwrap();
            marks.decoys(std::slice::from_ref(&decoy));
            drop(File::open(&path).unwrap());
            assert_eq!(drain().0, [], "the agent's own");
            let mut reader = std::process::Command::new("cat")
                .arg(&path)
                .spawn()
                .unwrap();
            let pid = reader.id();
            reader.wait().unwrap();
            let touched = Touched {
                by: By::Ended(pid),
                what: Watched::Decoy("old-export".into()),
                opens: 1,
            };
            assert_eq!(drain().0, [touched]);
        }
        fs::metadata(&path).unwrap();
        assert_eq!(drain().0, [], "a look at its size is no open");

        let node = folder.path().join("sg1");
        fs::write(&node, "").unwrap();
        marks.nodes(std::slice::from_ref(&node));
        for (file, what) in [
            (&path, Watched::Decoy("old-export".into())),
            (&node, Watched::Device(node.to_string_lossy().into())),
        ] {
            let mut reader = std::process::Command::new("cat");
            let mut reader = reader.arg(file).spawn().unwrap();
            let by = By::Ended(reader.id());
            reader.wait().unwrap();
            let touched = Touched { by, what, opens: 1 };
            assert_eq!(drain().0, [touched]);
        }
    }
}
