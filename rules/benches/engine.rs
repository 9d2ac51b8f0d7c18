//! Measures the engine: events a second on one core at 100,000 live keys, 20 rules of which 4 match; bytes a key.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a benchmark looks at the clock; what it measures does not"
)]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use jaga_rules::engine::Engine;
use jaga_rules::event::{
    Event, Flow, Opener, Protocol, RuleText, SECOND, Sender, Sent, Setup, Stamp, Stamped,
};
use jaga_rules::output::Output;

const KEYS: u32 = 100_000;
const EVENTS: u32 = 1_000_000;
const RUNS: usize = 5;

/// What the four rules that match group by: the same, as the shipped rules with several windows do, or four things.
const SHAPES: [(&str, [&str; 4]); 2] = [
    ("one grouping, four windows", ["destination"; 4]),
    (
        "four groupings, a window each",
        [
            "destination",
            "session, destination",
            "host, destination",
            "user, destination",
        ],
    ),
];

fn main() {
    println!(
        "engine: {KEYS} live keys, 20 rules of which 4 match, {EVENTS} events on one core (goal: 1000000 events/s, \
         at most 200 bytes a key and window)"
    );
    for (name, groupings) in SHAPES {
        let mut runs: Vec<(f64, f64)> = (0..RUNS).map(|_| run(&setup(&groupings))).collect();
        runs.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (median, bytes) = runs[RUNS / 2];
        let (least, most) = (runs[0].0, runs[RUNS - 1].0);
        println!(
            "        {name}: median {median:.0} events/s of {RUNS} runs ({least:.0} to {most:.0}), {bytes:.0} bytes"
        );
    }
}

/// Events a second, and bytes a key and window.
fn run(setup: &Setup) -> (f64, f64) {
    let mut engine = Engine::new(1, setup).unwrap_or_else(|problems| panic!("{problems}"));
    let mut output = Output::default();
    play(&mut engine, KEYS, 0, &mut output);
    let before = Instant::now();
    play(&mut engine, EVENTS, KEYS, &mut output);
    let rate = f64::from(EVENTS) / before.elapsed().as_secs_f64();
    let (memory, windows) = engine.window_memory();
    (rate, memory as f64 / windows as f64)
}

/// Sends spread over all keys, a millisecond apart every thousand, as a few busy sensors would tell them.
fn play(engine: &mut Engine, events: u32, from: u32, output: &mut Output) {
    for number in from..from + events {
        let host = Ipv4Addr::from(0x0b00_0000 + number.wrapping_mul(7919) % KEYS);
        let flow = Flow {
            protocol: Protocol::Tcp,
            local: SocketAddr::from(([10, 0, 0, 1], 0)),
            remote: SocketAddr::from((host, 443)),
            opener: Opener::Local,
        };
        let sender = Sender::Host(IpAddr::from([10, 0, 0, 1]));
        let sent = Sent {
            sender,
            flow,
            bytes: 1000,
            connections: 0,
            interface: None,
        };
        let at = Stamp(i64::from(number) * SECOND / 10_000);
        engine.step(
            &Stamped {
                at,
                event: Event::Sent(sent),
            },
            output,
        );
    }
}

/// Four rules that count every send, and sixteen that are looked at and do not.
fn setup(groupings: &[&str; 4]) -> Setup {
    let mut text = String::new();
    for number in 0..20 {
        let scope = if number < 4 { "external" } else { "internal" };
        let (by, window) = (groupings[number % 4], 10 * (number + 1));
        let _ = writeln!(
            text,
            "---\nrule: r{number}\ntitle: T\nseverity: info\nwhere: {{ scope: {scope} }}\nby: [{by}]\n\
             limits:\n  - sent-bytes: 900 TB in {window}m\nquiet: 1m\nadvice: A.",
        );
    }
    let config = "stores:\n  - { name: s, paths: [/s], records: { per-file: 1 } }\n".to_owned();
    Setup {
        config,
        rules: vec![RuleText {
            file: "bench.yaml".to_owned(),
            text,
        }],
    }
}
