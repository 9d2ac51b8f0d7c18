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

fn main() {
    let mut rates = Vec::new();
    let mut bytes = 0.0;
    for _ in 0..RUNS {
        let mut engine = Engine::new(1, &setup()).unwrap_or_else(|problems| panic!("{problems}"));
        let mut output = Output::default();
        play(&mut engine, KEYS, 0, &mut output);
        let before = Instant::now();
        play(&mut engine, EVENTS, KEYS, &mut output);
        rates.push(f64::from(EVENTS) / before.elapsed().as_secs_f64());
        let (memory, cells) = engine.window_memory();
        bytes = memory as f64 / cells as f64;
    }
    rates.sort_by(f64::total_cmp);
    let median = rates[RUNS / 2];
    println!(
        "engine: median {median:.0} events/s of {RUNS} runs ({:.0} to {:.0}) on one core",
        rates[0],
        rates[RUNS - 1]
    );
    println!(
        "        {KEYS} live keys, 20 rules of which 4 match, {EVENTS} events (goal: 1000000 events/s)"
    );
    println!("        {bytes:.0} bytes a key and window (goal: at most 200)");
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

/// Four rules that count every send per destination, and sixteen that are looked at and do not.
fn setup() -> Setup {
    let mut text = String::new();
    for number in 0..20 {
        let (scope, window) = if number < 4 {
            ("external", 10 * (number + 1))
        } else {
            ("internal", 10 * (number + 1))
        };
        let _ = writeln!(
            text,
            "---\nrule: r{number}\ntitle: T\nseverity: info\nwhere: {{ scope: {scope} }}\nby: [destination]\n\
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
