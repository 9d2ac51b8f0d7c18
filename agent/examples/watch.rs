//! Prints what the eBPF sensors tell: `cargo run --example watch -- [--own] [STORE=PATH]…`, as root.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use jaga::sensor::{FEED_LIMIT, HealthTable, ebpf};
use jaga_rules::config::{
    AgentConfig, Choice, Config, Interfaces, Namespaces, Periods, Privacy, Records, Sensors, Store,
};
use jaga_rules::event::Event;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let config = config(&arguments);
    let (feed, batches) = mpsc::sync_channel(FEED_LIMIT);
    let health = HealthTable::default();
    let stop = Arc::new(AtomicBool::new(false));
    let _started = ebpf::start(&config, feed, health.clone(), stop);
    for (subject, health) in health.all() {
        eprintln!("{subject}: {health:?}");
    }
    for event in batches.iter().flatten() {
        print(&event);
    }
}

fn print(event: &Event) {
    match serde_json::to_string(event) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("cannot print {event:?}: {error}"),
    }
}

fn config(arguments: &[String]) -> Config {
    let stores = arguments.iter().filter_map(|text| text.split_once('='));
    let namespaces = match arguments.iter().any(|text| text == "--own") {
        true => Namespaces::Own,
        false => Namespaces::All,
    };
    Config {
        site: "lab".into(),
        instance: "lab".into(),
        internal: Vec::new(),
        relays: Vec::new(),
        stores: stores.map(|(name, path)| store(name, path)).collect(),
        serves: Vec::new(),
        contracts: Vec::new(),
        agent: AgentConfig {
            sensors: Sensors {
                files: Choice::Auto,
                sockets: Choice::Auto,
                interfaces: Interfaces::Off,
                namespaces,
            },
            metrics: None,
            outputs: Vec::new(),
            accept: Vec::new(),
            state: PathBuf::new(),
            privacy: Privacy::Plain,
            periods: Periods {
                drain: 250_000_000,
                save: 1_000_000_000,
                resend: 60_000_000_000,
                quiet: None,
            },
            rules: PathBuf::new(),
            tape: None,
        },
    }
}

fn store(name: &str, path: &str) -> Store {
    Store {
        name: name.into(),
        paths: vec![PathBuf::from(path)],
        records: Records::PerFile(1.0),
        guessed: false,
    }
}
