//! The live `pcap` and `interfaces` sensors, on the watched host's veth: what real programs send must be told.

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use jaga::sensor::{Batch, HealthTable, interfaces, pcap};
use jaga_rules::config;
use jaga_rules::event::{Event, Fact};
use jaga_tests::net::{LAN, OUT};
use jaga_tests::wait::patience;
use jaga_tests::world::World;

/// Waits until an event is told that `fits`.
fn wait_for(feed: &Receiver<Batch>, what: &str, fits: impl Fn(&Event) -> bool) {
    let end = Instant::now() + patience(20);
    let mut seen = Vec::new();
    while let Ok(batch) = feed.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if batch.iter().any(&fits) {
            return;
        }
        seen.extend(batch);
    }
    panic!("{what} was not told; told were {seen:?}");
}

#[test]
fn names_relays_and_counters_are_told() {
    let Some(_world) = World::new("names_relays_and_counters_are_told") else {
        return;
    };
    let config = config::parse("test", "").expect("the defaults");
    let stop = Arc::new(AtomicBool::new(false));
    let health = HealthTable::default();
    let (feed, told) = sync_channel(64);
    let threads = [
        pcap::start(&config, feed.clone(), health.clone(), Arc::clone(&stop)),
        interfaces::start(&config, feed, health.clone(), Arc::clone(&stop)),
    ];
    jaga_tests::wait::until("the sensors see", 10, || {
        let all = health.all();
        (all.len() == 2 && all.iter().all(|(_, health)| health.up)).then_some(())
    });

    // The other side speaks no TLS and is no proxy: what counts is what the client says first.
    let curl = |args: &[&str]| {
        let args = [&["-s", "-m", "3", "-o", "/dev/null"], args].concat();
        Command::new("curl")
            .args(args)
            .status()
            .expect("curl is installed");
    };
    let out: IpAddr = OUT.parse().expect("an address");
    curl(&[
        "-k",
        "--resolve",
        &format!("upload.example.org:80:{OUT}"),
        "https://upload.example.org:80/",
    ]);
    wait_for(
        &told,
        "the server name",
        |event| matches!(event, Event::Fact(Fact::Name { address, name }) if *address == out && **name == *"upload.example.org"),
    );
    curl(&[
        "-x",
        &format!("http://{LAN}:80"),
        "-p",
        "http://example.org/",
    ]);
    wait_for(&told, "the relay", |event| {
        let Event::Fact(Fact::Relay { address, protocol }) = event else {
            return false;
        };
        address.to_string() == format!("{LAN}:80") && **protocol == *"http-connect"
    });
    curl(&["-d", &"x".repeat(100_000), &format!("http://{OUT}/")]);
    wait_for(
        &told,
        "the interface's counter",
        |event| matches!(event, Event::Fact(Fact::Wire { bytes, .. }) if *bytes > 100_000),
    );

    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("a sensor ends without a panic");
    }
}
