//! Reads where nothing better attaches: inotify tells which store file was opened, and nobody tells by whom (rung 4).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jaga_rules::config::Target;
use jaga_rules::event::{FileId, Gap, GapKind};
use notify::event::{AccessKind, EventKindMask};
use notify::{Config, ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::host::batch::Round;
use super::host::seen::{By, FileCount, Kind};
use super::host::source::{self, Places, Raised, Root, Wish};
use crate::clock;

/// Different files that may have been opened or closed between two drains. Beyond, they are counted as lost.
const TOUCHED: usize = 65_536;

/// Files that are known to be open; at the limit all are forgotten, and count once more when they are closed.
const OPEN: usize = 65_536;

/// Reads.
///
/// # Errors
/// Why it cannot be listened, with the next step.
pub fn files(_: &Wish) -> Result<Raised<dyn source::Files>, String> {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let ear = Arc::clone(&heard);
    let kinds = EventKindMask::ALL_ACCESS | EventKindMask::CREATE;
    let config = Config::default()
        .with_event_kinds(kinds)
        .with_follow_symlinks(false);
    let watcher = RecommendedWatcher::new(move |event| lock(&ear).hear(event), config);
    let watcher = watcher.map_err(|error| {
        format!("inotify refuses: {error}; raise fs.inotify.max_user_instances")
    })?;
    let roots = Roots {
        watcher,
        heard: Arc::clone(&heard),
        watched: BTreeMap::new(),
    };
    Ok(Raised {
        rung: 4,
        how: "inotify: which store files were opened, by whom is not known; bytes are their sizes; what is staged \
              elsewhere is not seen"
            .to_owned(),
        sees_also: &["tmpfs"],
        open: Box::new(move || {
            Ok(Box::new(Files {
                heard,
                open: BTreeMap::new(),
                made: BTreeSet::new(),
            }))
        }),
        places: Some(Box::new(roots)),
    })
}

/// What the watcher's thread has heard.
#[derive(Debug, Default)]
struct Heard {
    touched: BTreeMap<PathBuf, Touched>,
    lost: u64,
    roots: Vec<(PathBuf, usize)>,
}

/// What happened to a file between two drains.
#[derive(Debug, Default, Clone)]
struct Touched {
    created: bool,
    opens: u32,
    closes: u32,
    /// As it was when it was opened: it may be renamed or deleted a moment later.
    found: Option<fs::Metadata>,
}

impl Heard {
    fn hear(&mut self, event: notify::Result<Event>) {
        let Ok(event) = event else {
            self.lost += 1;
            return;
        };
        self.lost += u64::from(event.need_rescan());
        let (created, opens, closes) = match event.kind {
            EventKind::Create(_) => (true, 0, 0),
            EventKind::Access(AccessKind::Open(_)) => (false, 1, 0),
            EventKind::Access(AccessKind::Close(_)) => (false, 0, 1),
            _ => return,
        };
        for path in event.paths {
            if self.touched.len() >= TOUCHED && !self.touched.contains_key(&path) {
                self.lost += 1;
                continue;
            }
            let found = (opens > 0).then(|| fs::symlink_metadata(&path).ok());
            let touched = self.touched.entry(path).or_default();
            touched.found = found.flatten().or(touched.found.take());
            touched.created |= created;
            touched.opens += opens;
            touched.closes += closes;
        }
    }

    fn store(&self, path: &Path) -> Option<usize> {
        let of = self.roots.iter().filter(|(root, _)| path.starts_with(root));
        let deepest = of.max_by_key(|(root, _)| root.components().count());
        deepest.map(|(_, store)| *store)
    }
}

/// Watches the directories below the stores' roots.
struct Roots {
    watcher: RecommendedWatcher,
    heard: Arc<Mutex<Heard>>,
    watched: BTreeMap<PathBuf, Identity>,
}

/// Device and inode.
type Identity = (u64, u64);

/// No file has it.
const NOBODY: Identity = (0, 0);

impl Places for Roots {
    fn place(&mut self, roots: &[Root]) -> Result<(), String> {
        // Who stays is watched all the time: any mount on the host leads here, and what is opened meanwhile counts.
        let stays: BTreeMap<&PathBuf, Identity> = roots
            .iter()
            .filter_map(|root| Some((&root.path, identity(&root.file)?)))
            .collect();
        let before = std::mem::take(&mut self.watched);
        let goes = |(path, was): &(&PathBuf, &Identity)| stays.get(path) != Some(was);
        let gone: Vec<&PathBuf> = before.iter().filter(goes).map(|(path, _)| path).collect();
        // With a root the watches go that it had from one above: that one is walked anew.
        let is_above_gone = |path: &&PathBuf| gone.iter().any(|gone| gone.starts_with(path));
        for path in before.keys().filter(is_above_gone) {
            // It may be gone.
            let _ = self.watcher.unwatch(path);
        }
        let known = roots.iter().filter_map(|root| {
            let store = usize::try_from(root.store).ok()?;
            Some((root.path.clone(), store))
        });
        lock(&self.heard).roots = known.collect();
        let mut refused = Vec::new();
        for root in roots {
            match self.watcher.watch(&root.path, RecursiveMode::Recursive) {
                Ok(()) => {
                    let identity = identity(&root.file).unwrap_or(NOBODY);
                    self.watched.insert(root.path.clone(), identity);
                }
                Err(error) => {
                    refused.push(why_not(&root.path, &error));
                    // Watched in part: the next time all of it is tried again.
                    self.watched.insert(root.path.clone(), NOBODY);
                }
            }
        }
        if refused.is_empty() {
            Ok(())
        } else {
            Err(refused.join("; "))
        }
    }

    fn remotes(&mut self, _: &[(Target, u32)]) -> Result<(), String> {
        Ok(()) // files are on this host
    }
}

fn identity(file: &File) -> Option<Identity> {
    let found = file.metadata().ok()?;
    Some((found.dev(), found.ino()))
}

fn why_not(path: &Path, error: &notify::Error) -> String {
    let path = path.display();
    match error.kind {
        ErrorKind::MaxFilesWatch => {
            let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches");
            let limit = limit.unwrap_or_default();
            format!(
                "cannot watch '{path}': limit of inotify watches reached ({}); raise fs.inotify.max_user_watches",
                limit.trim()
            )
        }
        _ => format!("cannot watch '{path}': {error}"),
    }
}

struct Files {
    heard: Arc<Mutex<Heard>>,
    open: BTreeMap<PathBuf, Open>,
    /// Made shortly before the last drain, and not opened until then: whoever made them is about to.
    made: BTreeSet<PathBuf>,
}

/// A file that is open.
#[derive(Debug, Default, Clone, Copy)]
struct Open {
    /// How often.
    times: u32,
    /// How much was told of it, bytes.
    told: u64,
}

impl source::Files for Files {
    fn drain(&mut self, round: &mut Round, gaps: &mut Vec<Gap>) {
        let heard = Arc::clone(&self.heard);
        let mut heard = lock(&heard);
        let touched = std::mem::take(&mut heard.touched);
        let made = touched.iter().filter(|(_, t)| t.created && t.opens == 0);
        let made = made.map(|(path, _)| path.clone()).collect();
        let made = std::mem::replace(&mut self.made, made);
        for (path, mut touched) in touched {
            touched.created |= made.contains(&path);
            let read = heard
                .store(&path)
                .and_then(|store| self.read(path, touched, store));
            round.files.extend(read);
        }
        let lost = std::mem::take(&mut heard.lost);
        if lost > 0 {
            gaps.push(Gap {
                sensor: "files".into(),
                kind: GapKind::Lost,
                events: lost,
                bytes: 0,
                why: "inotify dropped events; raise fs.inotify.max_queued_events".into(),
            });
        }
    }
}

impl Files {
    /// A file that was opened counts as read to its end, once a drain: what is sent of it may leave before it is closed.
    /// At the close, what it grew by meanwhile; all of it, if it was open before anybody listened.
    fn read(&mut self, path: PathBuf, touched: Touched, store: usize) -> Option<FileCount> {
        let now = fs::symlink_metadata(&path).ok();
        let found = now.or(touched.found).filter(fs::Metadata::is_file)?;
        let size = found.size();
        let before = self.open.remove(&path).unwrap_or_default();
        // Whoever makes a file does not read it with that; one with several names is not new.
        let is_new = touched.created && found.nlink() == 1;
        let reads = touched.opens.saturating_sub(u32::from(is_new));
        let known = before.times + touched.opens;
        let bytes = if reads > 0 || touched.closes > known {
            size
        } else if touched.closes > 0 && !is_new {
            size.saturating_sub(before.told)
        } else {
            0
        };
        if known > touched.closes {
            if self.open.len() >= OPEN {
                self.open.clear();
            }
            let open = Open {
                times: known - touched.closes,
                told: size,
            };
            self.open.insert(path, open);
        }
        (bytes > 0).then(|| FileCount {
            who: By::Nobody,
            file: FileId {
                fs: found.dev(),
                inode: found.ino(),
                generation: 0,
            },
            kind: Kind::Estimated,
            store: Some(store),
            bytes,
            size,
            last_at: clock::boottime().0.unsigned_abs(),
        })
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use jaga_rules::config::{Interfaces, Namespaces};

    use super::*;

    /// Listens to a folder with the file `deep/a` of 1,000 bytes.
    fn listening() -> (tempfile::TempDir, PathBuf, Raised<dyn source::Files>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        fs::create_dir(path.join("deep")).unwrap();
        fs::write(path.join("deep/a"), [7; 1000]).unwrap();
        let raised = listening_to(&path);
        (directory, path, raised)
    }

    fn listening_to(path: &Path) -> Raised<dyn source::Files> {
        let wish = Wish {
            namespaces: Namespaces::Own,
            netns: 1,
            interfaces: Interfaces::Auto,
        };
        let mut raised = files(&wish).unwrap();
        raised
            .places
            .as_mut()
            .unwrap()
            .place(&[root(path)])
            .unwrap();
        raised
    }

    fn root(path: &Path) -> Root {
        Root {
            file: File::open(path).unwrap(),
            path: path.to_path_buf(),
            store: 3,
        }
    }

    /// Drains until something was told.
    fn told(source: &mut dyn source::Files) -> Vec<(By, Option<usize>, u64)> {
        let (mut round, mut gaps) = (Round::default(), Vec::new());
        let end = Instant::now() + Duration::from_secs(20);
        while round.files.is_empty() && Instant::now() < end {
            source.drain(&mut round, &mut gaps);
            std::thread::yield_now();
        }
        assert_eq!(gaps, []);
        let files = round.files.iter();
        files.map(|f| (f.who, f.store, f.bytes)).collect()
    }

    #[test]
    fn a_file_is_told_when_it_is_opened_by_nobody_and_a_directory_is_not() {
        let (_directory, path, raised) = listening();
        let mut source = (raised.open)().unwrap();
        let mut both = File::options();
        let mut open = both
            .read(true)
            .append(true)
            .open(path.join("deep/a"))
            .unwrap();
        assert_eq!(told(&mut *source), [(By::Nobody, Some(3), 1000)]);
        // At its end, what it grew by.
        std::io::Write::write_all(&mut open, &[7; 500]).unwrap();
        drop(open);
        assert_eq!(told(&mut *source), [(By::Nobody, Some(3), 500)]);
    }

    #[test]
    fn who_makes_a_file_does_not_read_it() {
        let (_directory, path, raised) = listening();
        let mut source = (raised.open)().unwrap();
        fs::write(path.join("deep/new"), [7; 3000]).unwrap();
        fs::read(path.join("deep/a")).unwrap();
        assert_eq!(told(&mut *source), [(By::Nobody, Some(3), 1000)]);
    }

    #[test]
    fn another_name_of_a_file_is_no_new_file() {
        let (_directory, path, raised) = listening();
        let mut source = (raised.open)().unwrap();
        fs::hard_link(path.join("deep/a"), path.join("deep/b")).unwrap();
        fs::read(path.join("deep/b")).unwrap();
        assert_eq!(told(&mut *source), [(By::Nobody, Some(3), 1000)]);
    }

    /// A mount below a root is a root of its own for as long as it is there.
    #[test]
    fn what_is_below_a_root_that_went_is_seen_by_the_one_above() {
        let (_directory, path, raised) = listening();
        let mut source = (raised.open)().unwrap();
        let mut places = raised.places.unwrap();
        places
            .place(&[root(&path), root(&path.join("deep"))])
            .unwrap();
        places.place(&[root(&path)]).unwrap();
        fs::read(path.join("deep/a")).unwrap();
        assert_eq!(told(&mut *source), [(By::Nobody, Some(3), 1000)]);
    }

    /// Each mount on the host has the roots placed again.
    #[test]
    fn what_is_opened_while_roots_are_placed_again_counts() {
        const TIMES: u64 = 300;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        let names: Vec<PathBuf> = (0..TIMES).map(|n| path.join(n.to_string())).collect();
        for name in &names {
            fs::write(name, [7; 1000]).unwrap();
        }
        let raised = listening_to(&path);
        let mut source = (raised.open)().unwrap();
        let (mut places, roots) = (raised.places.unwrap(), [root(&path)]);
        let reader = std::thread::spawn(move || {
            for name in names {
                fs::read(name).unwrap();
            }
        });
        while !reader.is_finished() {
            places.place(&roots).unwrap();
        }
        reader.join().unwrap();
        let mut all = 0;
        let end = Instant::now() + Duration::from_secs(20);
        while all < TIMES * 1000 && Instant::now() < end {
            let told = told(&mut *source);
            all += told.iter().map(|(_, _, bytes)| bytes).sum::<u64>();
        }
        assert_eq!(all, TIMES * 1000);
    }
}
