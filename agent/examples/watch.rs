//! Prints what the eBPF sensors tell: `cargo run --example watch -- jaga.yaml`, as root.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use jaga::sensor::{FEED_LIMIT, HealthTable, host};
use jaga_rules::config;

fn main() {
    let file = std::env::args().nth(1).unwrap_or_default();
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let config = match config::parse(&file, &text) {
        Ok(config) => config,
        Err(problems) => return eprintln!("{problems}"),
    };
    let (feed, batches) = mpsc::sync_channel(FEED_LIMIT);
    let health = HealthTable::default();
    let stop = Arc::new(AtomicBool::new(false));
    let _started = host::start(&config, feed, health.clone(), stop);
    for (subject, health) in health.all() {
        eprintln!("{subject}: {health:?}");
    }
    for event in batches.iter().flatten() {
        match serde_json::to_string(&event) {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("cannot print {event:?}: {error}"),
        }
    }
}
