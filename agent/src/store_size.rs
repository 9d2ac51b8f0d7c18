//! How large the stores are: for limits as a share of a store, and for what a limit means in records.

use std::fs;
use std::path::{Path, PathBuf};

use jaga_rules::config::Store;

/// Files looked at in one store at the most; beyond, its size is at least what was found.
const FILES_LIMIT: u64 = 5_000_000;

/// The size of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreSize {
    /// Bytes of all its files.
    pub bytes: u64,
    /// Number of files.
    pub files: u64,
    /// There were more files than were looked at.
    pub cut: bool,
    /// Directories that could not be read.
    pub unreadable: u64,
}

/// Walks a store, looking at names and sizes only. Links are not followed.
#[must_use]
pub fn of(store: &Store) -> StoreSize {
    let mut size = StoreSize::default();
    let mut waiting: Vec<PathBuf> = store.paths.clone();
    while let Some(path) = waiting.pop() {
        if size.files >= FILES_LIMIT {
            size.cut = true;
            break;
        }
        look(&path, &mut size, &mut waiting);
    }
    size
}

fn look(path: &Path, size: &mut StoreSize, waiting: &mut Vec<PathBuf>) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    if metadata.is_file() {
        size.files += 1;
        size.bytes += metadata.len();
    } else if metadata.is_dir() {
        match fs::read_dir(path) {
            Ok(entries) => waiting.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) => size.unreadable += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaga_rules::config::Records;

    #[test]
    fn files_and_bytes_below_all_paths() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("a/b")).expect("made");
        fs::write(root.path().join("a/b/one"), "12345").expect("written");
        fs::write(root.path().join("two"), "123").expect("written");
        std::os::unix::fs::symlink("/", root.path().join("link")).expect("linked");
        let paths = vec![root.path().to_path_buf(), "/nowhere".into()];
        let store = Store {
            name: "x".into(),
            paths,
            records: Records::PerFile(1.0),
            from: Vec::new(),
            guessed: false,
        };
        assert_eq!(
            of(&store),
            StoreSize {
                bytes: 8,
                files: 2,
                ..StoreSize::default()
            }
        );
    }
}
