//! A day of a million distinct destinations, domains and files: the agent's memory has a limit, whatever comes.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use jaga_rules::engine::Engine;
use jaga_rules::event::{
    Actor, Event, Fact, FileId, Flow, Identity, Login, Opener, Process, Protocol, Read, SECOND,
    Sender, Sent, Setup, Stamp, Stamped,
};
use jaga_rules::output::Output;
use jaga_rules::pack;
use jaga_rules::scenario::CONFIG;

/// Of each.
const MILLION: u32 = 1_000_000;

/// Peak of this process's memory, bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.and_then(|text| text.parse::<u64>().ok()).unwrap() * 1_024
}

fn step(engine: &mut Engine, output: &mut Output, at: Stamp, event: Event) {
    // As the run loop wakes it.
    while let Some(due) = engine.next_deadline().filter(|due| *due < at) {
        let event = Event::Wake;
        engine.step(&Stamped { at: due, event }, output);
    }
    engine.step(&Stamped { at, event }, output);
    output.transitions.clear();
}

#[test]
fn a_million_destinations_domains_and_files_in_a_day() {
    let setup = Setup {
        config: CONFIG.to_owned(),
        rules: pack::with_own(Vec::new()),
    };
    let mut engine = Engine::new(1, &setup).unwrap_or_else(|wrong| panic!("{wrong}"));
    let mut output = Output::default();
    let actor = Actor { pid: 7, start: 7 };
    let login = Login {
        user: "mallory".into(),
        session: 7,
    };
    let known = Event::Known(Process {
        actor,
        parent: None,
        exe: "/usr/bin/python3".into(),
        identity: Identity {
            user: "mallory".into(),
            login: Some(login),
            ..Identity::default()
        },
    });
    step(&mut engine, &mut output, Stamp(0), known);
    let every = 86_400 * SECOND / i64::from(MILLION);
    for number in 0..MILLION {
        let at = Stamp(i64::from(number) * every);
        let remote = IpAddr::from(Ipv4Addr::from(0x1400_0000 + number * 7));
        let events = [
            Event::Read(Read {
                actor,
                file: FileId {
                    fs: 100,
                    inode: u64::from(number),
                    generation: 1,
                },
                store: Some("ekg".into()),
                bytes: 120_000,
                size: 120_000,
                estimated: false,
                below: false,
            }),
            Event::Fact(Fact::Name {
                address: remote,
                name: format!("www.d{number}.com").into(),
            }),
            Event::Fact(Fact::Lookup {
                client: Sender::Unknown,
                server: SocketAddr::from(([10, 0, 0, 53], 53)),
                domain: format!("d{number}.com").into(),
                names: 1,
                bytes: 3,
            }),
            Event::Sent(Sent {
                sender: Sender::Actor(actor),
                flow: Flow {
                    protocol: Protocol::Tcp,
                    local: SocketAddr::from(([10, 1, 0, 4], 0)),
                    remote: SocketAddr::new(remote, 443),
                    opener: Opener::Local,
                },
                bytes: 1_000,
                connections: 1,
                interface: None,
            }),
        ];
        for event in events {
            step(&mut engine, &mut output, at, event);
        }
        if number % 1_000 == 0 {
            engine.drop_rows();
        }
    }
    let peak = peak();
    println!("peak {:.0} MB", peak as f64 / 1e6);
    assert!(peak < 256 << 20, "{peak} bytes");
    let now = engine.snapshot();
    let merged: u64 = now.rules.iter().map(|rule| rule.keys_merged).sum();
    assert!(merged > 0, "what did not fit must be counted");
    let sent: u64 = now.sent_bytes.iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(sent, u64::from(MILLION) * 1_000, "totals are never lost");
    let ekg = now
        .stores
        .iter()
        .find(|store| &*store.store == "ekg")
        .unwrap();
    assert_eq!(ekg.read_bytes, u64::from(MILLION) * 120_000);
}
