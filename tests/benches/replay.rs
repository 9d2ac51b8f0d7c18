//! Measures `jaga replay` on two large captures, beside bare libpcap loops, softflowd and nfpcapd.
//!
//! Makes 5 GB of captures in a throw-away directory, or in `$BENCH_DIR`, where they stay for the next time.
//! The release binary must have been built.

use std::collections::HashMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use pcap::{Capture, Precision};

/// Each measurement is repeated this often; the median counts.
const ROUNDS: usize = 5;

/// Where the flows' local ends are.
const LOCAL: &str = "10.0.0.0/8";

fn main() -> io::Result<()> {
    let jaga = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/jaga");
    let kept = env::var_os("BENCH_DIR").map(PathBuf::from);
    let scratch = tempfile::tempdir()?;
    let directory = kept.as_deref().unwrap_or(scratch.path());
    println!("replay of captures on {}, {} cores", cpu(), cores());

    let bulk = capture(directory, "bulk.pcap", &BULK)?;
    let base = report(&bulk, "libpcap loop counting bytes", None, || count(&bulk));
    contenders(&jaga, &bulk, base, 1.5, scratch.path())?;
    if kept.is_none() {
        fs::remove_file(&bulk)?;
    }

    let flows = capture(directory, "flows.pcap", &FLOWS)?;
    let base = report(&flows, "libpcap loop with a hash table", None, || {
        count_flows(&flows);
    });
    contenders(&jaga, &flows, base, 1.3, scratch.path())
}

fn capture(directory: &Path, name: &str, shape: &Shape) -> io::Result<PathBuf> {
    let file = directory.join(name);
    if !file.exists() {
        write_capture(&file, shape)?;
    }
    Ok(file)
}

/// The same capture through jaga, softflowd and nfpcapd; `goal` is jaga's time as a multiple of `base`.
fn contenders(
    jaga: &Path,
    capture: &Path,
    base: Duration,
    goal: f64,
    scratch: &Path,
) -> io::Result<()> {
    let name = format!("jaga replay (goal {goal})");
    report(capture, &name, Some(base), || {
        run(&mut replay(jaga, capture))
    });
    println!(
        "{:>44}: {} MiB at most",
        "its memory",
        peak_mib(jaga, capture)?
    );
    if installed("softflowd") {
        // It sends what it finds to a collector: one that takes nothing.
        let collector = UdpSocket::bind("127.0.0.1:0")?;
        let address = collector.local_addr()?.to_string();
        report(capture, "softflowd -r", Some(base), || {
            run(&mut softflowd(capture, &address, scratch))
        });
    }
    if installed("nfpcapd") {
        let out = scratch.join("nfcapd");
        fs::create_dir_all(&out)?;
        report(capture, "nfpcapd -r", Some(base), || {
            run(&mut nfpcapd(capture, &out))
        });
    }
    Ok(())
}

fn replay(jaga: &Path, capture: &Path) -> Command {
    let mut command = Command::new(jaga);
    command
        .args(["replay", "--local", LOCAL, "--json", "--pcap"])
        .arg(capture);
    command
}

/// With room for every flow, as jaga has.
fn softflowd(capture: &Path, collector: &str, scratch: &Path) -> Command {
    let mut command = Command::new("softflowd");
    command.args(["-d", "-c", "none", "-m", "1100000", "-n", collector]);
    command
        .arg("-p")
        .arg(scratch.join("softflowd.pid"))
        .arg("-r")
        .arg(capture);
    command
}

fn nfpcapd(capture: &Path, out: &Path) -> Command {
    let mut command = Command::new("nfpcapd");
    command
        .args(["-B", "1100000"])
        .arg("-w")
        .arg(out)
        .arg("-r")
        .arg(capture);
    command
}

/// Shape of a capture.
struct Shape {
    flows: u32,
    /// Of each flow, the first a SYN.
    packets: u32,
    payload: usize,
    locals: u32,
    remotes: u32,
    /// Nanoseconds between two packets.
    spacing: u64,
}

/// 3 M full packets at about 1 Gbit/s.
const BULK: Shape = Shape {
    flows: 300,
    packets: 10_000,
    payload: 1460,
    locals: 20,
    remotes: 100,
    spacing: 12_000,
};

/// 1 M flows, all alive at once.
const FLOWS: Shape = Shape {
    flows: 1_000_000,
    packets: 4,
    payload: 100,
    locals: 1000,
    remotes: 20_000,
    spacing: 10_000,
};

fn write_capture(file: &Path, shape: &Shape) -> io::Result<()> {
    const NANOSECOND_MAGIC: u32 = 0xa1b2_3c4d;
    const ETHERNET: u32 = 1;
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
    out.write_all(&NANOSECOND_MAGIC.to_le_bytes())?;
    out.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    out.write_all(&262_144_u32.to_le_bytes())?;
    out.write_all(&ETHERNET.to_le_bytes())?;
    let mut nanos: u64 = 1_700_000_000_000_000_000;
    let mut frame = Vec::with_capacity(shape.payload + 54);
    for packet in 0..shape.packets {
        for step in 0..shape.flows {
            // A step that shares no factor with the number of flows visits each once, in no order that a cache likes.
            let flow = (u64::from(step) * 514_229 % u64::from(shape.flows)) as u32;
            frame.clear();
            build(shape, flow, packet, &mut frame);
            nanos += shape.spacing;
            record(&mut out, nanos, &frame)?;
        }
    }
    out.flush()
}

fn build(shape: &Shape, flow: u32, packet: u32, frame: &mut Vec<u8>) {
    static PAYLOAD: [u8; 1460] = [b'x'; 1460];
    let local = (0x0a00_0000 + flow % shape.locals).to_be_bytes();
    let remote = (0xc633_0000 + flow % shape.remotes).to_be_bytes();
    let port = 1024 + (flow / shape.remotes * 7 + flow) % 60_000;
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(local, remote, 64);
    let payload = &PAYLOAD[..shape.payload];
    let written = if packet == 0 {
        builder
            .tcp(port as u16, 443, flow, 64_000)
            .syn()
            .write(frame, &[])
    } else {
        let seq = flow + 1 + (packet - 1) * shape.payload as u32;
        builder
            .tcp(port as u16, 443, seq, 64_000)
            .ack(1)
            .write(frame, payload)
    };
    written.expect("a packet can be built");
}

fn record(out: &mut impl Write, nanos: u64, frame: &[u8]) -> io::Result<()> {
    let length = frame.len() as u32;
    for word in [
        (nanos / 1_000_000_000) as u32,
        (nanos % 1_000_000_000) as u32,
        length,
        length,
    ] {
        out.write_all(&word.to_le_bytes())?;
    }
    out.write_all(frame)
}

fn count(file: &Path) {
    let mut capture = Capture::from_file_with_precision(file, Precision::Nano).expect("a capture");
    let (mut packets, mut bytes) = (0_u64, 0_u64);
    while let Ok(packet) = capture.next_packet() {
        packets += 1;
        bytes += u64::from(packet.header.len);
    }
    std::hint::black_box((packets, bytes));
}

/// Addresses, ports and protocol of an Ethernet frame with IPv4 and TCP: the flow as a plain program has it.
fn count_flows(file: &Path) {
    let mut capture = Capture::from_file_with_precision(file, Precision::Nano).expect("a capture");
    let mut flows: HashMap<[u8; 13], (u64, u64)> = HashMap::new();
    while let Ok(packet) = capture.next_packet() {
        let data = packet.data;
        if data.len() < 54 || data[12..14] != [8, 0] || data[14] != 0x45 {
            continue;
        }
        let mut key = [0; 13];
        key[..12].copy_from_slice(&data[26..38]);
        key[12] = data[23];
        let flow = flows.entry(key).or_default();
        flow.0 += 1;
        flow.1 += u64::from(u16::from_be_bytes([data[16], data[17]]));
    }
    std::hint::black_box(flows);
}

/// Prints and returns the median. CPU time is told beside it, because a busy machine stretches the other.
fn report(capture: &Path, name: &str, base: Option<Duration>, mut once: impl FnMut()) -> Duration {
    let mut times: Vec<(Duration, Duration)> = (0..ROUNDS)
        .map(|_| {
            let (start, cpu) = (Instant::now(), cpu_time());
            once();
            (start.elapsed(), cpu_time() - cpu)
        })
        .collect();
    times.sort();
    let (median, cpu) = times[ROUNDS / 2];
    let ratio = base.map_or(String::new(), |base| {
        let ratio = median.as_secs_f64() / base.as_secs_f64();
        format!(", {ratio:.2} times the loop")
    });
    let file = capture.file_name().unwrap_or_default().to_string_lossy();
    let [least, most] = [times[0].0, times[ROUNDS - 1].0].map(|time| time.as_secs_f64());
    println!(
        "{file:>12} {name:>31}: {:.3} s ({least:.3} to {most:.3}), {:.2} s of CPU{ratio}",
        median.as_secs_f64(),
        cpu.as_secs_f64(),
    );
    median
}

/// CPU time of this process and of its children that ended, user and system: fields 14 to 17 of `/proc/self/stat`,
/// hundredths of a second.
fn cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn run(command: &mut Command) {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("a program that starts");
    assert!(status.success(), "{command:?}: {status}");
}

/// The most memory that a replay held at once, MiB: `VmHWM`, asked until it ends.
fn peak_mib(jaga: &Path, capture: &Path) -> io::Result<u64> {
    let mut child = replay(jaga, capture)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while let Ok(None) = child.try_wait() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let kib = text.lines().find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        });
        peak = peak.max(kib.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(peak / 1024)
}

fn installed(program: &str) -> bool {
    let found = ["/usr/sbin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .any(|directory| Path::new(directory).join(program).exists());
    if !found {
        println!("{program} is not installed and was not measured");
    }
    found
}

fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "an unnamed CPU".to_owned(), |(_, name)| name.to_owned())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
