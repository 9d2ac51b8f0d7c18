//! Threads that read and write files of their own, as a busy server does beside what is watched.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// So many.
const THREADS: usize = 64;
/// Each one's file.
const FILE: usize = 1 << 20;

/// Reads and writes in `folder`, nicely, until standard input ends; says `ready` first, and at the end how many rounds of
/// writing and reading a file there were.
///
/// # Errors
/// If a file cannot be made.
pub fn noise(folder: &Path) -> io::Result<()> {
    // SAFETY: no memory is involved. So many threads would else leave nothing to what is watched.
    unsafe { libc::nice(19) };
    let files: Vec<File> = (0..THREADS)
        .map(|index| {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(folder.join(index.to_string()))
        })
        .collect::<io::Result<_>>()?;
    println!("ready");
    io::stdout().flush()?;
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for file in files {
            scope.spawn(|| churn(file, &stop, &rounds));
        }
        let _ = io::stdin().lock().read(&mut [0]);
        stop.store(true, Ordering::Relaxed);
    });
    println!("{}", rounds.into_inner());
    Ok(())
}

fn churn(mut file: File, stop: &AtomicBool, rounds: &AtomicU64) {
    let mut buffer = vec![7; 4096];
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..FILE / buffer.len() {
            file.write_all(&buffer).expect("the disk has room");
        }
        file.rewind().expect("a file can be rewound");
        while file.read(&mut buffer).expect("a file can be read") > 0 {}
        file.rewind().expect("a file can be rewound");
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}
