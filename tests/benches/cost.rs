//! What watching costs the watched: the same work with nothing, with jaga, and with the tools that people use today.
//!
//! Every round does each work under each watcher once, so that what else the machine does falls on all alike. The
//! files are sparse: they take no room on the disk, and a warm read of one goes through the same page cache.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use jaga_tests::agent::Agent;
use jaga_tests::net::OUT;
use jaga_tests::process::{Running, run};
use jaga_tests::wait::until;
use jaga_tests::world::World;

/// Each work under each watcher is done this often; the median counts.
const ROUNDS: usize = 5;

/// Bytes of the TCP stream.
const STREAM: u64 = 4_000_000_000;

/// Preads of the program that reads like a database.
const PREADS: u64 = 400_000;

fn main() {
    let Some(world) = World::new("the cost of watching") else {
        return;
    };
    let scratch = world.path("work");
    let works = works(&scratch);
    for work in &works {
        (work.does)(&world); // warm
    }
    let mut seconds = vec![vec![Vec::new(); WATCHERS.len()]; works.len()];
    let mut lost = Vec::new();
    for round in 0..ROUNDS {
        for (place, watcher) in WATCHERS.iter().enumerate() {
            eprintln!("round {} of {ROUNDS}: {}", round + 1, watcher.name);
            let mut watching = match (watcher.start)(&world, &scratch) {
                Ok(watching) => watching,
                Err(why) => {
                    eprintln!("   not measured: {why}");
                    continue;
                }
            };
            for (work, seconds) in works.iter().zip(&mut seconds) {
                if (watcher.of)(work.kind) {
                    seconds[place].push(watching.beside(work, &world));
                }
            }
            lost.extend(
                watching
                    .end()
                    .map(|told| format!("{}: {told}", watcher.name)),
            );
        }
    }
    for (work, seconds) in works.iter().zip(&mut seconds) {
        report(work, seconds);
    }
    for told in lost {
        println!("{told}");
    }
}

/// Something that a server does all day.
struct Work {
    name: &'static str,
    kind: Kind,
    /// What one unit is, and how many there are: the extra time is told per unit.
    units: (&'static str, u64),
    goal: &'static str,
    does: Box<dyn Fn(&World) -> f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Files,
    Network,
}

fn works(scratch: &Path) -> Vec<Work> {
    let folders = [("120k", 50_000, 120_000), ("16k", 200_000, 16_384)];
    for (name, files, bytes) in folders {
        many(&scratch.join(name), files, bytes);
    }
    many(&scratch.join("large"), 2, 1 << 30);
    let tar = |name: &str| {
        let folder = scratch.join(name);
        let script = format!("tar cf - {} 2>/dev/null | cat >/dev/null", folder.display());
        Box::new(move |_: &World| shell(&script)) as Box<dyn Fn(&World) -> f64>
    };
    let large = scratch.join("large");
    let cat = format!("cat {}/*/* >/dev/null", large.display());
    let database = large.join("000/000000");
    vec![
        Work {
            name: "tar of 50,000 files of 120 kB",
            kind: Kind::Files,
            units: ("file", 50_000),
            goal: "under 3 %",
            does: tar("120k"),
        },
        Work {
            name: "tar of 200,000 files of 16 KiB",
            kind: Kind::Files,
            units: ("file", 200_000),
            goal: "at most 0.8 µs a file",
            does: tar("16k"),
        },
        Work {
            name: "cat of 2 files of 1 GiB",
            kind: Kind::Files,
            units: ("MiB", 2048),
            goal: "under 1 %",
            does: Box::new(move |_| shell(&cat)),
        },
        Work {
            name: "preads of 8 KiB",
            kind: Kind::Files,
            units: ("pread", PREADS),
            goal: "under 2 %",
            does: Box::new(move |_| preads(&database)),
        },
        Work {
            name: "a TCP stream over veth",
            kind: Kind::Network,
            units: ("MB", STREAM / 1_000_000),
            goal: "under 3 %",
            does: Box::new(stream),
        },
    ]
}

/// `files` sparse files in folders of a thousand.
fn many(folder: &Path, files: usize, bytes: u64) {
    for number in 0..files {
        let folder = folder.join(format!("{:03}", number / 1000));
        if number % 1000 == 0 {
            fs::create_dir_all(&folder).expect("the folder can be made");
        }
        let file = File::create(folder.join(format!("{number:06}"))).expect("the file can be made");
        file.set_len(bytes).expect("a sparse file takes no room");
    }
}

fn shell(script: &str) -> f64 {
    let start = Instant::now();
    run(Command::new("/bin/sh").arg("-c").arg(script));
    start.elapsed().as_secs_f64()
}

/// Reads as a database does: pages here and there of one file that stays open.
fn preads(file: &Path) -> f64 {
    let file = File::open(file).expect("the file was made");
    let pages = file.metadata().expect("an open file has a size").len() / 8192;
    let mut page = [0; 8192];
    let mut place = 1_u64;
    let start = Instant::now();
    for _ in 0..PREADS {
        place = place
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let at = (place >> 33) % pages * 8192;
        file.read_exact_at(&mut page, at)
            .expect("the file is whole");
    }
    start.elapsed().as_secs_f64()
}

/// From the watched host to the one outside.
fn stream(world: &World) -> f64 {
    let listener = world
        .net
        .out
        .inside(|| TcpListener::bind((OUT, 0)).expect("a port is free"));
    let port = listener.local_addr().expect("it is bound").port();
    let receiver = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("it comes");
        let mut buffer = vec![0; 1 << 20];
        while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
    let block = vec![0; 1 << 20];
    let start = Instant::now();
    let mut stream = TcpStream::connect((OUT, port)).expect("it listens");
    let mut left = STREAM;
    while left > 0 {
        let now = left.min(1 << 20);
        stream
            .write_all(&block[..usize::try_from(now).unwrap_or(0)])
            .expect("it reads");
        left -= now;
    }
    drop(stream);
    receiver.join().expect("it ends");
    start.elapsed().as_secs_f64()
}

/// Something that watches.
struct Watcher {
    name: &'static str,
    of: fn(Kind) -> bool,
    start: fn(&World, &Path) -> Result<Watching, String>,
}

const WATCHERS: [Watcher; 7] = [
    Watcher {
        name: "nothing",
        of: |_| true,
        start: |_, _| Ok(Watching::Nothing),
    },
    Watcher {
        name: "jaga, rung 1",
        of: |_| true,
        start: |world, scratch| Ok(jaga(world, scratch, "")),
    },
    Watcher {
        name: "jaga, rung 3",
        of: |_| true,
        start: |world, scratch| Ok(jaga(world, scratch, RUNG_3)),
    },
    Watcher {
        name: "fatrace",
        of: |kind| kind == Kind::Files,
        start: |_, _| tool("fatrace", &[]),
    },
    Watcher {
        name: "inotifywait -m -r",
        of: |kind| kind == Kind::Files,
        start: inotifywait,
    },
    Watcher {
        name: "auditd with a read watch",
        of: |kind| kind == Kind::Files,
        start: auditd,
    },
    Watcher {
        name: "tcpdump -w /dev/null",
        of: |kind| kind == Kind::Network,
        start: |_, _| tool("tcpdump", &["-i", "any", "-w", "/dev/null"]),
    },
];

/// A watcher that runs.
enum Watching {
    Nothing,
    /// With the share of a core that it took, by work.
    Jaga(Agent, Vec<(&'static str, f64)>),
    Tool(Running),
    Audit(Running, PathBuf),
}

const RUNG_3: &str = "sensors: { namespaces: own, files: rung-3, sockets: rung-3 }\n";

/// As it ships: no tape.
fn jaga(world: &World, scratch: &Path, more: &str) -> Watching {
    let config = format!("# tape: none\n{more}");
    let agent = world.agent(&[("work", scratch)], &config);
    // At rest, once it is settled.
    thread::sleep(Duration::from_secs(2));
    let start = Spent::of(&agent);
    thread::sleep(Duration::from_secs(10));
    let spent = vec![("at rest", start.until(&agent))];
    Watching::Jaga(agent, spent)
}

fn tool(program: &str, arguments: &[&str]) -> Result<Watching, String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if run_quietly(Command::new("which").arg(program)).is_none() {
        return Err(format!("no {program} here: run packaging/setup.sh bench"));
    }
    let mut running = Running::start(&mut command);
    thread::sleep(Duration::from_secs(1));
    if running.is_running() {
        Ok(Watching::Tool(running))
    } else {
        Err(format!("{program} ended at once"))
    }
}

fn inotifywait(_: &World, scratch: &Path) -> Result<Watching, String> {
    let folder = scratch.display().to_string();
    tool(
        "inotifywait",
        &["-m", "-r", "-q", "-e", "open,access,close", &folder],
    )
}

/// auditd writes what the kernel tells it, as its package configures it.
fn auditd(_: &World, scratch: &Path) -> Result<Watching, String> {
    let Watching::Tool(running) = tool("auditd", &["-n"])? else {
        return Err("auditd does not run".to_owned());
    };
    let folder = scratch.display().to_string();
    run_quietly(Command::new("auditctl").args(["-w", &folder, "-p", "r", "-k", "jaga-bench"]))
        .ok_or("auditctl cannot set a watch")?;
    Ok(Watching::Audit(running, scratch.to_owned()))
}

fn run_quietly(command: &mut Command) -> Option<()> {
    let output = command.output().ok()?;
    output.status.success().then_some(())
}

impl Watching {
    /// Does a work beside it: seconds.
    fn beside(&mut self, work: &Work, world: &World) -> f64 {
        let Self::Jaga(agent, spent) = self else {
            return (work.does)(world);
        };
        let start = Spent::of(agent);
        let seconds = (work.does)(world);
        spent.push((work.name, start.until(agent)));
        seconds
    }

    /// Ends it; what it says of itself.
    fn end(self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Tool(_running) => None,
            Self::Audit(_running, folder) => {
                let watch = folder.display().to_string();
                let _ = run_quietly(Command::new("auditctl").args([
                    "-W",
                    &watch,
                    "-p",
                    "r",
                    "-k",
                    "jaga-bench",
                ]));
                None
            }
            Self::Jaga(mut agent, spent) => {
                let told = of_itself(&agent, &spent);
                agent.stop();
                Some(told)
            }
        }
    }
}

/// Processor time of the agent up to a moment.
struct Spent {
    at: Instant,
    seconds: f64,
}

impl Spent {
    fn of(agent: &Agent) -> Self {
        Self {
            at: Instant::now(),
            seconds: until("the agent's page", 10, || agent.metric(CPU, &[])),
        }
    }

    /// The share of one core since then.
    fn until(&self, agent: &Agent) -> f64 {
        let now = Self::of(agent);
        (now.seconds - self.seconds) / (now.at - self.at).as_secs_f64()
    }
}

const CPU: &str = "process_cpu_seconds_total";

/// What jaga lost and took, by its own metrics.
fn of_itself(agent: &Agent, spent: &[(&str, f64)]) -> String {
    let page = until("the agent's page", 10, || agent.metrics());
    let sum = |name: &str| -> f64 {
        let lines = page.lines().filter(|line| line.starts_with(name));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    };
    let spent = spent
        .iter()
        .map(|(work, share)| format!("{:.1} % of a core {work}", 100.0 * share));
    format!(
        "lost {} events, {:.0} MiB resident; {}",
        sum("jaga_sensor_lost_events_total"),
        sum("process_resident_memory_bytes") / f64::from(1 << 20),
        spent.collect::<Vec<_>>().join(", "),
    )
}

fn report(work: &Work, seconds: &mut [Vec<f64>]) {
    println!("{} (goal: {})", work.name, work.goal);
    let base = median(&mut seconds[0]);
    for (watcher, seconds) in WATCHERS.iter().zip(seconds) {
        if seconds.is_empty() {
            continue;
        }
        let count = seconds.len();
        let median = median(seconds);
        println!(
            "{:>28}: {median:.3} s, {:+6.1} %, {:+8.3} µs a {} ({count} runs)",
            watcher.name,
            100.0 * (median / base - 1.0),
            1e6 * (median - base) / work.units.1 as f64,
            work.units.0,
        );
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
