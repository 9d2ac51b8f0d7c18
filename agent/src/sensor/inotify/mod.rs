//! Reads where nothing better attaches: inotify tells which store file was closed, and nobody tells by whom (rung 4).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jaga_rules::config::Target;
use jaga_rules::event::{FileId, Gap, GapKind};
use notify::event::{AccessKind, AccessMode, EventKindMask};
use notify::{Config, ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::host::batch::Round;
use super::host::seen::{By, FileCount, Kind};
use super::host::source::{self, Places, Raised, Root, Wish};
use crate::clock;

/// Different files that may have been closed between two drains. Beyond, they are counted as lost.
const CLOSED: usize = 65_536;

/// Reads.
///
/// # Errors
/// Why it cannot be listened, with the next step.
pub fn files(_: &Wish) -> Result<Raised<dyn source::Files>, String> {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let ear = Arc::clone(&heard);
    let kinds = EventKindMask::ACCESS_CLOSE_NOWRITE | EventKindMask::CREATE;
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
        watched: Vec::new(),
    };
    Ok(Raised {
        rung: 4,
        how: "inotify: which store files were read and closed, by whom is not known; bytes are their sizes; what is \
              staged elsewhere is not seen"
            .to_owned(),
        open: Box::new(move || Ok(Box::new(Files(heard)))),
        places: Some(Box::new(roots)),
    })
}

/// What the watcher's thread has heard.
#[derive(Debug, Default)]
struct Heard {
    closed: BTreeSet<PathBuf>,
    lost: u64,
    roots: Vec<(PathBuf, usize)>,
}

impl Heard {
    fn hear(&mut self, event: notify::Result<Event>) {
        let Ok(event) = event else {
            self.lost += 1;
            return;
        };
        self.lost += u64::from(event.need_rescan());
        if event.kind != EventKind::Access(AccessKind::Close(AccessMode::Read)) {
            return;
        }
        for path in event.paths {
            if self.closed.len() < CLOSED {
                self.closed.insert(path);
            } else {
                self.lost += 1;
            }
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
    watched: Vec<PathBuf>,
}

impl Places for Roots {
    fn place(&mut self, roots: &[Root]) -> Result<(), String> {
        for path in std::mem::take(&mut self.watched) {
            // It may be gone.
            let _ = self.watcher.unwatch(&path);
        }
        let known = roots.iter().filter_map(|root| {
            let store = usize::try_from(root.store).ok()?;
            Some((root.path.clone(), store))
        });
        lock(&self.heard).roots = known.collect();
        let mut refused = Vec::new();
        for root in roots {
            match self.watcher.watch(&root.path, RecursiveMode::Recursive) {
                Ok(()) => self.watched.push(root.path.clone()),
                Err(error) => refused.push(why_not(&root.path, &error)),
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

struct Files(Arc<Mutex<Heard>>);

impl source::Files for Files {
    fn drain(&mut self, round: &mut Round, gaps: &mut Vec<Gap>) {
        let mut heard = lock(&self.0);
        let closed = std::mem::take(&mut heard.closed);
        for path in closed {
            let store = heard.store(&path);
            round
                .files
                .extend(store.and_then(|store| read(&path, store)));
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

/// A file that was closed counts as read to its end, once a drain.
fn read(path: &Path, store: usize) -> Option<FileCount> {
    let found = fs::symlink_metadata(path)
        .ok()
        .filter(fs::Metadata::is_file)?;
    Some(FileCount {
        who: By::Nobody,
        file: FileId {
            fs: found.dev(),
            inode: found.ino(),
            generation: 0,
        },
        kind: Kind::Estimated,
        store: Some(store),
        bytes: found.size(),
        size: found.size(),
        last_at: clock::boottime().0.unsigned_abs(),
    })
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, Instant};

    use jaga_rules::config::{Interfaces, Namespaces};

    use super::*;

    #[test]
    fn a_file_that_was_read_is_told_by_nobody_and_a_directory_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        fs::create_dir(path.join("deep")).unwrap();
        fs::write(path.join("deep/a"), [7; 1000]).unwrap();
        let wish = Wish {
            namespaces: Namespaces::Own,
            netns: 1,
            interfaces: Interfaces::Auto,
        };
        let mut raised = files(&wish).unwrap();
        let root = Root {
            file: File::open(&path).unwrap(),
            path: path.clone(),
            store: 3,
        };
        raised.places.as_mut().unwrap().place(&[root]).unwrap();
        let mut source = (raised.open)().unwrap();
        fs::read(path.join("deep/a")).unwrap();
        let (mut round, mut gaps) = (Round::default(), Vec::new());
        let end = Instant::now() + Duration::from_secs(20);
        while round.files.is_empty() && Instant::now() < end {
            source.drain(&mut round, &mut gaps);
            std::thread::yield_now();
        }
        let told: Vec<_> = round
            .files
            .iter()
            .map(|f| (f.who, f.store, f.bytes))
            .collect();
        assert_eq!(told, [(By::Nobody, Some(3), 1000)]);
        assert_eq!(gaps, []);
    }
}
