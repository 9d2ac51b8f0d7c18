//! Every way to read and to send, truly done beside the real agent: what it booked, as a table that is kept.

use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::thread;
use std::time::{Duration, Instant};

use jaga::tape::Tape;
use jaga_rules::event::{Event, Stamped};
use jaga_tests::agent::Agent;
use jaga_tests::byte_truth::{self, Booked, Column, RUNGS, names_of_unseen, ways};
use jaga_tests::guest::{self, Guest, Kernel};
use jaga_tests::net::{OUT, OUT6};
use jaga_tests::process::Running;
use jaga_tests::program;
use jaga_tests::table;
use jaga_tests::truth::drive::Deed;
use jaga_tests::truth::{Bench, Family, Way, place};
use jaga_tests::wait::until;
use jaga_tests::world::World;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

const GOLDEN: &str = "tests/golden/byte-truth.txt";

/// The sensors of a host whose kernel has fanotify, sock_diag and the process connector, and no more.
const RUNG_3: &str =
    "sensors: { files: rung-3, sockets: rung-3, processes: rung-3, namespaces: own }\n";

/// The sensors of a host that has nothing but inotify and packets.
const RUNG_4: &str =
    "sensors: { files: rung-4, sockets: rung-4, processes: rung-4, namespaces: own }\n";

#[test]
fn what_is_booked_is_what_was_read_and_sent() {
    // A thread of its own: it moves into a mount namespace of its own, and nothing else may run there later.
    let test = thread::spawn(|| {
        let name = "what_is_booked_is_what_was_read_and_sent";
        let Some(world) = World::new(name) else {
            return;
        };
        compare([
            Some(rung_1(&world)),
            None,
            Some(rung_3(&world)),
            Some(rung_4(&world)),
        ]);
    });
    test.join().unwrap();
}

/// The same on the kind of kernel that most hospitals run.
#[test]
fn what_is_booked_in_a_guest_is_what_was_read_and_sent() {
    let guest = Guest::new(
        "what_is_booked_in_a_guest_is_what_was_read_and_sent",
        Kernel::V6_1,
    );
    compare([None, guest.map(rung_2), None, None]);
}

/// What the table says is not seen, the user is told by `jaga check`, under the same name.
#[test]
fn what_the_table_does_not_see_is_said_by_check() {
    let table = table::kept(GOLDEN);
    // What rung 2 does not see, the guest's own says.
    let [rung_1, _, rung_3, rung_4] = byte_truth::columns(&table);
    assert!(names_of_unseen(&rung_1).contains("tmpfs"), "{rung_1:?}");
    assert!(
        names_of_unseen(&rung_3).contains("sockets-rung-3"),
        "{rung_3:?}"
    );
    all_said(&rung_1, &check(""));
    all_said(&rung_3, &check(RUNG_3));
    all_said(&rung_4, &check(RUNG_4));
}

/// What `jaga check` says of these sensors.
fn check(sensors: &str) -> String {
    let config = tempfile::NamedTempFile::new().unwrap();
    fs::write(config.path(), sensors).unwrap();
    let output = Command::new(program::jaga())
        .arg("check")
        .arg("--config")
        .arg(config.path())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Whether `jaga check` said all that a column does not see.
fn all_said(column: &Column, check: &str) {
    let (_, said) = check
        .split_once("Not seen on this host")
        .expect("the section is there");
    for name in names_of_unseen(column) {
        assert!(
            said.contains(&format!("  {name}: ")),
            "'{name}' is in {GOLDEN}, and not in: {said}"
        );
    }
}

/// Compares the columns that could be made here; the others are taken to be as they are kept.
fn compare(columns: [Option<Column>; RUNGS]) {
    let mut all = byte_truth::columns(&table::kept(GOLDEN));
    for (column, made) in all.iter_mut().zip(columns) {
        *column = made.unwrap_or_else(|| std::mem::take(column));
    }
    table::compare(GOLDEN, &byte_truth::table(&all));
}

/// eBPF by tracepoints, on this machine's kernel.
fn rung_1(world: &World) -> Column {
    let told = driven(world, ("drive", 0), "", |_, _| ());
    cells(&told.deeds, 1, |deed| {
        Booked::of(deed, &told.tape, &told.bench)
    })
}

/// By fanotify, sock_diag and the process connector.
fn rung_3(world: &World) -> Column {
    let told = driven(world, ("drive-apart", 0), RUNG_3, |say, _| {
        // It need not wait: each reader has a name.
        say.write_all(&b"go\n".repeat(ways().count())).unwrap();
    });
    cells(&told.deeds, 3, |deed| {
        Booked::of(deed, &told.tape, &told.bench_of(deed))
    })
}

/// By inotify and packets.
fn rung_4(world: &World) -> Column {
    // Other addresses than on rung 3: those still have the ports of its connections.
    let told = driven(world, ("drive-apart", 100), RUNG_4, |say, agent| {
        let readings = Family::Reading.ways().count() as u64;
        for bytes in (1..=readings).map(|marks| marks * place::MARK) {
            #[expect(clippy::cast_precision_loss, reason = "some kilobytes")]
            let bytes = bytes as f64;
            let marks = [("store", place::MARKS)];
            agent.metric_reaches("jaga_store_read_bytes_total", &marks, bytes);
            say.write_all(b"go\n").unwrap();
        }
    });
    let is_mark = |stamped: &Stamped| match &stamped.event {
        Event::Read(read) => read.store.as_deref() == Some(place::MARKS),
        _ => false,
    };
    let parts: Vec<&[Stamped]> = told.tape.split(is_mark).collect();
    cells(&told.deeds, 4, |deed| {
        let reading = |known: &&Deed| known.family == Family::Reading;
        let place = told
            .deeds
            .iter()
            .filter(reading)
            .position(|known| known == deed);
        let tape = place.map_or(&*told.tape, |place| parts[place]);
        Booked::of(deed, tape, &told.bench_of(deed))
    })
}

/// What the ways did, and what the agent has of it.
struct Told {
    deeds: Vec<Deed>,
    tape: Vec<Stamped>,
    bench: Bench,
}

impl Told {
    /// Where a way had its peer, if each had one of its own.
    fn bench_of(&self, deed: &Deed) -> Bench {
        let of = |(family, way): (Family, &Way)| family == deed.family && way.name == deed.name;
        self.bench.apart(ways().position(of).expect("it is a way"))
    }
}

/// Does every way beside an agent with these `sensors`, by a `word` of the program, with the peer's addresses from `first`
/// on; `pace` tells it when to go on.
fn driven(
    world: &World,
    (word, first): (&str, usize),
    sensors: &str,
    pace: impl FnOnce(&mut ChildStdin, &Agent),
) -> Told {
    let _mounts = OwnMounts::below(world.folder());
    let bench = Bench {
        folder: tempfile::tempdir_in(world.folder()).unwrap().keep(),
        peer: OUT.parse().unwrap(),
        peer6: OUT6.parse().unwrap(),
    }
    .apart(first);
    for place in 0..ways().count() {
        let Bench { peer, peer6, .. } = bench.apart(place);
        let out = &world.net.out;
        out.ip(&format!("addr replace {peer}/24 dev host0"));
        out.ip(&format!("addr replace {peer6}/64 dev host0 nodad"));
    }
    let log = |name: &str| world.folder().join(name);
    let mut peer = world.net.out.command(&program::beside("jaga-truth"));
    let _peer = start(peer.arg("receive"), &log("peer"));
    let mut drive = Command::new(program::beside("jaga-truth"));
    let (peer, peer6) = (bench.peer.to_string(), bench.peer6.to_string());
    drive.arg(word).arg(&bench.folder).args([peer, peer6]);
    let (mut driver, mut say) = start_spoken_to(&mut drive, &log("deeds"));
    let stores = place::STORES.into_iter().chain([place::MARKS]);
    let folders: Vec<(String, PathBuf)> = stores
        .map(|store| (store.replace('/', "-"), bench.folder.join(store)))
        .collect();
    let stores: Vec<(&str, &Path)> = folders
        .iter()
        .map(|(name, path)| (&**name, &**path))
        .collect();
    let mut agent = world.agent(&stores, sensors);
    say.write_all(b"go\n").unwrap();
    pace(&mut say, &agent);
    assert!(driver.wait(120).success(), "the ways were not all tried");
    all_is_booked(&agent);
    agent.stop();
    let deeds = fs::read_to_string(log("deeds")).unwrap();
    let deeds = deeds.lines().filter_map(Deed::parse).collect();
    let tape = File::open(agent.folder().join("tape")).unwrap();
    let tape = Tape::open(BufReader::new(tape)).unwrap().collect();
    fs::remove_dir_all(agent.folder()).unwrap();
    Told { deeds, tape, bench }
}

/// eBPF by trampolines, on another kernel, in a guest.
fn rung_2(guest: Guest) -> Column {
    let bench = Bench {
        folder: "/disk/truth".into(),
        peer: guest::OUT.parse().unwrap(),
        peer6: guest::OUT6.parse().unwrap(),
    };
    let words = format!("/disk/truth {} {}", guest::OUT, guest::OUT6);
    let stores = place::STORES.map(|store| {
        let name = store.replace('/', "-");
        format!("  - {{ name: {name}, paths: [/disk/truth/{store}] }}\n")
    });
    let config = stores.concat() + "tape: /out/tape";
    let guest = guest
        .program(Path::new(&program::beside("jaga-truth")))
        .program(&guest::find("mkfs.btrfs").expect("set-up installs btrfs-progs"))
        .before_agent(&BEFORE_IN_GUEST.replace("WORDS", &words));
    let answer = guest.beside_agent(&config, IN_GUEST, 900);
    let rung = answer.metric("jaga_sensor_rung", &[("sensor", "files")]);
    assert_eq!(rung, Some(2.0), "{}", answer.everything());
    let deeds = answer.text("deeds");
    let deeds: Vec<Deed> = deeds.lines().filter_map(Deed::parse).collect();
    let tape = answer.bytes("tape").expect("the agent kept a tape");
    let tape = Tape::open(BufReader::new(&*tape)).unwrap();
    let tape: Vec<Stamped> = tape.collect();
    let column = cells(&deeds, 2, |deed| Booked::of(deed, &tape, &bench));
    all_said(&column, &answer.text("check"));
    column
}

/// Starts the other host and the ways, as far as these get before the agent.
const BEFORE_IN_GUEST: &str = "
    for module in btrfs overlay fuse; do modprobe $module; done
    ready() { until grep -q ready $1 2>/dev/null; do usleep 100000; done; }
    out jaga-truth receive >/run/peer &
    ready /run/peer
    mkfifo /run/go
    (jaga-truth drive WORDS <>/run/go >/out/deeds; echo $? >/run/ended) &
    ready /out/deeds";

/// Lets the ways go on, and says what is not seen here.
const IN_GUEST: &str = "
    echo go >/run/go
    until [ -e /run/ended ]; do usleep 200000; done
    jaga check --config /etc/jaga/jaga.yaml >/out/check
    exit $(cat /run/ended)";

/// Waits until nothing is booked any more: the kernel hands packets over a tenth of a second late, and not those of an
/// agent that ends.
fn all_is_booked(agent: &Agent) {
    let sent = || agent.metric("jaga_sent_bytes_total", &[("scope", "external")]);
    let (mut last, mut since) = (sent(), Instant::now());
    until("nothing more to be booked", 20, || {
        // It does not answer who asks too often.
        let now = sent().or(last);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_millis(600)).then_some(())
    });
}

/// A cell for each way; the measured figures are printed.
fn cells(deeds: &[Deed], rung: u8, booked: impl Fn(&Deed) -> Booked) -> Vec<String> {
    ways()
        .map(|(family, Way { name, .. })| {
            let deed = deeds.iter().find(|deed| deed.family == family && deed.name == *name);
            let deed = deed.unwrap_or_else(|| panic!("nothing is known of '{name}'"));
            let booked = booked(deed);
            let cell = booked.cell(deed, rung);
            eprintln!("   {name}: {cell}: {:?} B: {booked:?}", deed.truth);
            assert!(
                deed.truth.is_ok() || std::env::var_os("CI").is_none(),
                "'{name}' cannot be tried here, and in CI it must: {:?}; run packaging/setup.sh test",
                deed.truth
            );
            cell
        })
        .collect()
}

/// What is mounted from now on is this test's alone; what is mounted below the folder goes when dropped, for what is
/// mounted cannot be removed.
struct OwnMounts(PathBuf);

impl OwnMounts {
    fn below(folder: &Path) -> Self {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).unwrap();
        Self(folder.to_path_buf())
    }
}

impl Drop for OwnMounts {
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap_or_default();
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let places: Vec<&Path> = places
            .map(Path::new)
            .filter(|place| place.starts_with(&self.0))
            .collect();
        for place in places.into_iter().rev() {
            let _ = umount2(place, MntFlags::MNT_DETACH);
        }
    }
}

fn start(command: &mut Command, log: &Path) -> Running {
    start_spoken_to(command, log).0
}

/// Starts a program that says `ready` once it is; what it says goes into `log`.
fn start_spoken_to(command: &mut Command, log: &Path) -> (Running, ChildStdin) {
    let started = Running::start_spoken_to(command.stdout(File::create(log).unwrap()));
    until(&format!("{} to have 'ready'", log.display()), 60, || {
        fs::read_to_string(log)
            .unwrap()
            .contains("ready\n")
            .then_some(())
    });
    started
}
