//! Reads and writes.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use jaga_rules::event::{Event, Fact, FileId};

use crate::sensor::{Sensor, assert_near, can_run, config};

/// On the disk that the build is on: `/tmp` may be a tmpfs, which these sensors do not see.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// In small pieces, so that the page cache holds small folios: then a large read takes many calls in the kernel.
fn fill(path: &Path, bytes: usize) {
    let text: Vec<u8> = (0..bytes).map(|place| (place * 31 % 251) as u8).collect();
    let mut file = fs::File::create(path).unwrap();
    for piece in text.chunks(4096) {
        file.write_all(piece).unwrap();
    }
}

struct Store {
    _scratch: tempfile::TempDir,
    path: String,
}

impl Store {
    /// One file of `bytes`, `big`.
    fn with(bytes: usize) -> Self {
        let scratch = scratch();
        let store = scratch.path().join("store");
        fs::create_dir(&store).unwrap();
        fill(&store.join("big"), bytes);
        Self {
            path: store.to_str().unwrap().to_owned(),
            _scratch: scratch,
        }
    }
}

const BIG: usize = 5_000_123;

/// Runs a script with `$S` for the store, in which `big` is read once. `$O` is outside.
fn check_read(name: &str, script: &str) {
    check_reads(name, script, BIG as u64);
}

fn check_reads(name: &str, script: &str, truth: u64) {
    if !can_run(name) {
        return;
    }
    let store = Store::with(BIG);
    let mut sensor = Sensor::start(&config(&store.path));
    let family = sensor.run(&format!("S={}; O=$S/..; {script}", store.path));
    let told = sensor.store_bytes(&family);
    assert_near(name, told, truth);
    let reads = sensor.reads(&family);
    let files: BTreeSet<FileId> = reads
        .iter()
        .filter(|read| read.store.is_some())
        .map(|read| read.file)
        .collect();
    assert_eq!(files.len(), 1, "{name}: files read");
    assert!(
        reads
            .iter()
            .all(|read| read.store.is_none() || read.size == BIG as u64),
        "{name}: size"
    );
    sensor.assert_no_gap();
}

#[test]
fn cat() {
    check_read("cat", "cat $S/big > /dev/null");
}

#[test]
fn dd_in_small_blocks() {
    check_read("dd bs=777", "dd if=$S/big of=/dev/null bs=777 status=none");
}

#[test]
fn dd_in_large_blocks() {
    check_read("dd bs=4M", "dd if=$S/big of=/dev/null bs=4M status=none");
}

#[test]
fn direct_io() {
    check_read(
        "dd iflag=direct",
        "dd if=$S/big of=/dev/null bs=1M iflag=direct status=none",
    );
}

#[test]
fn tar_through_a_pipe() {
    check_read("tar", "tar cf - -C $S . | cat > /dev/null");
}

#[test]
fn cp_out_of_the_store() {
    check_read("cp", "cp $S/big $O/copy");
}

#[test]
fn sendfile() {
    check_read(
        "sendfile",
        "/usr/bin/python3 -c \"
import os, socket
a, b = socket.socketpair()
f = os.open('$S/big', os.O_RDONLY); left = os.fstat(f).st_size; at = 0
import threading
def sink():
    while b.recv(1 << 20): pass
t = threading.Thread(target=sink); t.start()
while at < left: at += os.sendfile(a.fileno(), f, at, min(left - at, 300001))
a.close(); t.join()\"",
    );
}

#[test]
fn pread_in_pieces() {
    check_read(
        "pread",
        "/usr/bin/python3 -c \"
import os
f = os.open('$S/big', os.O_RDONLY)
size = os.fstat(f).st_size
for at in reversed(range(0, size, 1001)): os.pread(f, 1001, at)\"",
    );
}

#[test]
fn the_same_piece_again_and_again() {
    let script = "/usr/bin/python3 -c \"
import os
f = os.open('$S/big', os.O_RDONLY)
for _ in range(1000): os.pread(f, 500, 4000)\"";
    check_reads("pread again", script, 500_000);
}

#[test]
fn preadv_in_odd_pieces() {
    check_read(
        "preadv",
        "/usr/bin/python3 -c \"
import os
f = os.open('$S/big', os.O_RDONLY); at = 0
while True:
    n = os.preadv(f, [bytearray(700), bytearray(9000)], at)
    at += n
    if not n: break\"",
    );
}

#[test]
fn mmap_in_order() {
    check_read(
        "mmap",
        "/usr/bin/python3 -c \"
import mmap
f = open('$S/big'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
sum(m[i] for i in range(0, len(m), 4096))\"",
    );
}

/// Written in one piece by a file system with large folios, such a file is mapped by huge pages.
#[test]
fn a_mapped_file_of_huge_pages() {
    if !can_run("huge pages") {
        return;
    }
    let store = Store::with(0);
    fs::write(Path::new(&store.path).join("big"), vec![1; 8 << 20]).unwrap();
    let mut sensor = Sensor::start(&config(&store.path));
    let script =
        "import mmap; f = open('S/big'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); m[9]";
    let script = script.replace("S/", &(store.path.clone() + "/"));
    let family = sensor.run(&format!("/usr/bin/python3 -c \"{script}\""));
    assert_eq!(sensor.store_bytes(&family), 8 << 20);
}

#[test]
fn a_mapped_read_is_marked_as_an_estimate() {
    if !can_run("mmap mark") {
        return;
    }
    let store = Store::with(BIG);
    let mut sensor = Sensor::start(&config(&store.path));
    let script =
        "import mmap; f = open('S/big'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); m[9]";
    let family = sensor.run(&format!(
        "/usr/bin/python3 -c \"{}\"",
        script.replace("S/", &(store.path + "/"))
    ));
    let reads = sensor.reads(&family);
    assert!(
        reads
            .iter()
            .any(|read| read.store.is_some() && read.estimated)
    );
}

#[test]
fn ten_thousand_small_files_to_the_byte() {
    if !can_run("small files") {
        return;
    }
    let store = Store::with(0);
    let mut truth = 0;
    for number in 0..10_000 {
        let directory = Path::new(&store.path).join(format!("{}", number % 100));
        fs::create_dir_all(&directory).unwrap();
        let bytes = number % 6_000 + 1;
        truth += bytes as u64;
        fill(&directory.join(number.to_string()), bytes);
    }
    let mut sensor = Sensor::start(&config(&store.path));
    let family = sensor.run(&format!("tar cf - -C {} . | cat > /dev/null", store.path));
    assert_eq!(sensor.store_bytes(&family), truth);
    let reads = sensor.reads(&family);
    let stored = reads.iter().filter(|read| read.store.is_some());
    let files: BTreeSet<FileId> = stored.map(|read| read.file).collect();
    assert_eq!(files.len(), 10_000);
    sensor.assert_no_gap();
}

#[test]
fn what_is_written_outside_is_told_and_read_back_as_the_same_file() {
    if !can_run("staging") {
        return;
    }
    let store = Store::with(BIG);
    let mut sensor = Sensor::start(&config(&store.path));
    let writer = sensor.run(&format!("cat {0}/big > {0}/../staged", store.path));
    let wrote = sensor.writes(&writer);
    assert_near(
        "staged",
        wrote.iter().map(|wrote| wrote.bytes).sum(),
        BIG as u64,
    );
    let files: BTreeSet<FileId> = wrote.iter().map(|wrote| wrote.file).collect();
    assert_eq!(files.len(), 1);
    let reader = sensor.run(&format!("cat {}/../staged > /dev/null", store.path));
    let reads = sensor.reads(&reader);
    let staged: Vec<_> = reads
        .iter()
        .filter(|read| files.contains(&read.file))
        .collect();
    assert!(staged.iter().all(|read| read.store.is_none()));
    assert_near(
        "read back",
        staged.iter().map(|read| read.bytes).sum(),
        BIG as u64,
    );
}

#[test]
fn small_writes_are_counted_to_the_byte() {
    if !can_run("small writes") {
        return;
    }
    let store = Store::with(1);
    let mut sensor = Sensor::start(&config(&store.path));
    let script = "for i in $(seq 100); do echo -n 0123456 >> $O/log; done";
    let family = sensor.run(&format!("O={}/..; {script}", store.path));
    let wrote = sensor.writes(&family);
    assert_eq!(wrote.iter().map(|wrote| wrote.bytes).sum::<u64>(), 700);
    assert_eq!(wrote.last().unwrap().size, 700);
}

#[test]
fn a_page_that_was_dirty_already_is_written_again() {
    if !can_run("dirty page") {
        return;
    }
    let store = Store::with(1);
    let mut sensor = Sensor::start(&config(&store.path));
    let path = format!("{}/../dirty", store.path);
    fill(Path::new(&path), 100_000);
    let family = sensor.run(&format!(
        "dd if=/dev/zero of={path} bs=50k count=1 conv=notrunc status=none"
    ));
    let wrote = sensor.writes(&family);
    assert_eq!(wrote.iter().map(|wrote| wrote.bytes).sum::<u64>(), 51_200);
}

#[test]
fn a_staged_file_is_gone_when_it_is_deleted_or_emptied() {
    if !can_run("gone") {
        return;
    }
    let store = Store::with(1);
    let mut sensor = Sensor::start(&config(&store.path));
    for end in ["rm", "truncate -s 0"] {
        let family = sensor.run(&format!(
            "echo staged > {0}/../x; {end} {0}/../x",
            store.path
        ));
        let file = sensor.writes(&family)[0].file;
        let gone = Event::Fact(Fact::FileGone { file });
        sensor.until(end, |events| events.contains(&gone));
    }
}

#[test]
fn a_write_into_a_store_is_not_told() {
    if !can_run("store write") {
        return;
    }
    let store = Store::with(1);
    let mut sensor = Sensor::start(&config(&store.path));
    let family = sensor.run(&format!("head -c 100000 /dev/zero > {}/new", store.path));
    assert_eq!(sensor.writes(&family), Vec::<&_>::new());
}

#[test]
fn stores_change_while_the_sensor_runs() {
    if !can_run("reload") {
        return;
    }
    let (first, second) = (Store::with(BIG), Store::with(BIG));
    let mut sensor = Sensor::start(&config(&first.path));
    sensor.stores.set_stores(&config(&second.path));
    let read_second = |sensor: &mut Sensor| {
        let family = sensor.run(&format!("cat {}/big > /dev/null", second.path));
        sensor.store_bytes(&family)
    };
    // The change happens on another thread: soon, not at once.
    let told = (0..200)
        .map(|_| read_second(&mut sensor))
        .find(|told| *told > 0);
    assert_eq!(told, Some(BIG as u64));
    let family = sensor.run(&format!("cat {}/big > /dev/null", first.path));
    assert_eq!(sensor.store_bytes(&family), 0);
}

#[test]
fn a_file_that_is_no_longer_in_the_store_is_not_read_as_the_stores() {
    if !can_run("rename") {
        return;
    }
    let store = Store::with(BIG);
    let mut sensor = Sensor::start(&config(&store.path));
    sensor.run(&format!("mv {0}/big {0}/../moved", store.path));
    let family = sensor.run(&format!("cat {0}/../moved > /dev/null", store.path));
    assert_eq!(sensor.store_bytes(&family), 0);
    let told: u64 = sensor.reads(&family).iter().map(|read| read.bytes).sum();
    assert!(
        told >= BIG as u64,
        "a young file outside the stores is told: {told} B"
    );
}

#[test]
fn a_second_name_outside_the_store_hides_nothing() {
    if !can_run("hard link") {
        return;
    }
    let store = Store::with(BIG);
    let mut sensor = Sensor::start(&config(&store.path));
    sensor.run(&format!("ln {0}/big {0}/../second", store.path));
    let family = sensor.run(&format!("cat {0}/../second > /dev/null", store.path));
    assert_eq!(sensor.store_bytes(&family), BIG as u64);
}

#[test]
fn a_missing_store_is_named_in_the_health() {
    if !can_run("missing store") {
        return;
    }
    let sensor = Sensor::start(&config("/nowhere/lab"));
    let all = sensor.health.all();
    let (_, files) = all.iter().find(|(name, _)| *name == "files").unwrap();
    assert!(files.up);
    assert!(
        files
            .why
            .contains("store 'lab': cannot open '/nowhere/lab'"),
        "{}",
        files.why
    );
    assert!(
        !sensor
            .events
            .iter()
            .any(|event| matches!(event, Event::Gap(_)))
    );
}
