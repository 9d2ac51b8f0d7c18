//! The alert file: JSON lines, on disk when they are taken, each once.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jaga_rules::output::Transition;

use super::{Delivery, Failure, Output};

/// How far back it looks for lines that a killed run wrote and did not mark, bytes: far more than one batch.
const TAIL: u64 = 4 * 1024 * 1024;

/// Appends transitions to a file that others may read, rotate or delete at any time.
#[derive(Debug)]
pub(super) struct AlertFile {
    path: PathBuf,
    open: Option<File>,
}

impl AlertFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }
}

impl Output for AlertFile {
    fn deliver<'a>(&'a mut self, transitions: &'a [Transition]) -> Delivery<'a> {
        Box::pin(async move {
            let lines: Vec<String> = transitions.iter().map(Transition::to_line).collect();
            let (path, open) = (self.path.clone(), self.open.take());
            let told = lines.len() as u64;
            let written = tokio::task::spawn_blocking(move || append(&path, open, &lines)).await;
            // After a failure the file stays closed, so that the next try looks at what reached it.
            self.open = Some(
                written
                    .map_err(io::Error::other)
                    .flatten()
                    .map_err(|error| Failure::Retry(self.explain(&error)))?,
            );
            Ok(told)
        })
    }
}

impl AlertFile {
    /// Opens the file as the first alert will, and lets go of it.
    pub(super) fn try_open(&self) -> Result<(), String> {
        open_for_append(&self.path)
            .map(drop)
            .map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &io::Error) -> String {
        format!(
            "cannot write '{}': {error}; see that its directory is writable and the disk has room",
            self.path.display()
        )
    }
}

/// Appends what of `lines` is not there yet, and waits for the disk.
fn append(path: &Path, open: Option<File>, lines: &[String]) -> io::Result<File> {
    let (mut file, text) = match open.filter(|file| is_at(file, path)) {
        Some(file) => (file, joined(lines)),
        None => {
            let mut file = open_for_append(path)?;
            let text = what_is_missing(&tail(&mut file)?, lines);
            (file, text)
        }
    };
    file.write_all(text.as_bytes())?;
    if file.metadata()?.is_file() {
        file.sync_data()?;
    }
    Ok(file)
}

/// Whether the open file is still the one at `path`; after logrotate it is not.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()),
        _ => false,
    }
}

fn open_for_append(path: &Path) -> io::Result<File> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(directory)?;
    }
    let is_new = !path.exists();
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)?;
    if is_new {
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(file)
}

/// The file's last bytes, from the beginning of a line. Empty for a pipe or device.
fn tail(file: &mut File) -> io::Result<Vec<u8>> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Vec::new());
    }
    let start = metadata.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    if start > 0 {
        let first_line_end = bytes.iter().position(|byte| *byte == b'\n');
        bytes.drain(..first_line_end.map_or(bytes.len(), |end| end + 1));
    }
    Ok(bytes)
}

/// A run that was killed between writing and marking left the first of `lines` in the file, the last of them
/// perhaps cut: leave out what is there, complete what was cut, and keep clear of a foreign unfinished line.
fn what_is_missing(tail: &[u8], lines: &[String]) -> String {
    let complete = tail
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let (whole, cut) = tail.split_at(complete);
    let there: BTreeSet<&[u8]> = whole.split(|byte| *byte == b'\n').collect();
    let missing = lines
        .iter()
        .position(|line| !there.contains(line.as_bytes()))
        .map_or(&lines[lines.len()..], |first| &lines[first..]);
    let text = joined(missing);
    if cut.is_empty() {
        text
    } else if text.as_bytes().starts_with(cut) {
        text[cut.len()..].to_owned()
    } else {
        format!("\n{text}")
    }
}

fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn what_is_there_is_left_out_and_what_was_cut_is_completed() {
        for (tail, pending, missing) in [
            ("", "a b", "a\nb\n"),
            ("x\n", "a b", "a\nb\n"),
            ("a\n", "a b", "b\n"),
            ("a\nb\n", "a b", ""),
            ("a\nforeign\n", "a b", "b\n"),
            ("x\n", "abc d", "abc\nd\n"),
            ("x\nab", "abc d", "c\nd\n"),
            ("abc\nd", "abc de", "e\n"),
            ("abc", "abc d", "\nd\n"),
            ("foreign", "abc", "\nabc\n"),
            ("abc\nrest", "abc", "\n"),
        ] {
            assert_eq!(
                what_is_missing(tail.as_bytes(), &lines(pending)),
                missing,
                "{tail:?} + {pending:?}"
            );
        }
    }

    #[test]
    fn a_killed_write_at_any_byte_leaves_each_line_once() {
        let pending = lines("first second third");
        let whole = joined(&pending);
        for cut in 0..=whole.len() {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("alerts.jsonl");
            std::fs::write(&path, format!("earlier\n{}", &whole[..cut])).unwrap();
            append(&path, None, &pending).unwrap();
            assert_eq!(read(&path), format!("earlier\n{whole}"), "cut at {cut}");
        }
    }

    #[test]
    fn it_follows_logrotate_and_makes_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/alerts.jsonl");
        let file = append(&path, None, &lines("a")).unwrap();
        let rotated = directory.path().join("new/alerts.jsonl.1");
        std::fs::rename(&path, &rotated).unwrap();
        let file = append(&path, Some(file), &lines("b")).unwrap();
        assert_eq!((read(&rotated), read(&path)), ("a\n".into(), "b\n".into()));
        std::fs::remove_file(&path).unwrap();
        append(&path, Some(file), &lines("c")).unwrap();
        assert_eq!(read(&path), "c\n");
    }

    #[test]
    fn only_the_end_of_a_long_file_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alerts.jsonl");
        let filler = "x".repeat(usize::try_from(TAIL).unwrap());
        std::fs::write(&path, format!("{filler}\na\n")).unwrap();
        append(&path, None, &lines("a b")).unwrap();
        assert!(read(&path).ends_with("x\na\nb\n"));
    }

    #[tokio::test]
    async fn a_full_disk_is_told_with_the_path() {
        let transitions = [crate::testing::firing("1")];
        let mut output = AlertFile::new(PathBuf::from("/dev/full"));
        let failure = output.deliver(&transitions).await.unwrap_err();
        assert!(
            matches!(&failure, Failure::Retry(why) if why.contains("'/dev/full'")),
            "{failure:?}"
        );
    }
}
