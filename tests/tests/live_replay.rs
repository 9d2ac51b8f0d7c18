//! A capture that tcpdump took during a leak, given to `jaga replay`: the volume is told without any agent on the host.

use std::fs;
use std::process::Command;

use jaga_tests::net::{HOST_OUTSIDE, OUT};
use jaga_tests::process::{Running, Unit, run};
use jaga_tests::program;
use jaga_tests::wait::until;
use jaga_tests::world::{MB, World};
use nix::sys::signal::Signal;
use serde_json::Value;

#[test]
fn what_tcpdump_saw_fires_bulk_outbound() {
    let Some(world) = World::new("what_tcpdump_saw_fires_bulk_outbound") else {
        return;
    };
    let store = world.store("ekg", 1, 600 * MB);
    let capture = world.folder().join("leak.pcap");
    let said = world.folder().join("tcpdump.log");
    let mut tcpdump = Running::start(
        Command::new("tcpdump")
            .args(["-i", "out0", "-B", "262144", "-s", "128", "-w"])
            .arg(&capture)
            .stderr(fs::File::create(&said).unwrap()),
    );
    let log = || fs::read_to_string(&said).unwrap();
    until("tcpdump to listen", 10, || {
        log().contains("listening on").then_some(())
    });
    let before = world.net.out.received();
    let unit = Unit::new("jagat-dump.service");
    unit.run(
        &format!(
            "curl -sfT {}/0000.dcm --limit-rate 200M http://{OUT}/",
            store.display()
        ),
        60,
    );
    let sent = world.net.out.received() - before;
    // It ends at once when told to, with what is still in its ring: ask (SIGUSR1) until it has taken all it received.
    until("tcpdump to take what it received", 20, || {
        tcpdump.signal(Signal::SIGUSR1);
        let log = log();
        let told = log.lines().rev().find(|line| line.contains("captured,"))?;
        let mut counts = told.split(' ').filter_map(|word| word.parse::<u64>().ok());
        (counts.next()? == counts.next()?).then_some(())
    });
    tcpdump.signal(Signal::SIGTERM);
    tcpdump.wait(20);

    let replay = run(Command::new(program::jaga())
        .args([
            "replay",
            "--json",
            "--local",
            &format!("{HOST_OUTSIDE}/32"),
            "--pcap",
        ])
        .arg(&capture));
    let told: Vec<Value> = String::from_utf8(replay.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let find = |state: &str| {
        told.iter()
            .find(|alert| alert["rule"] == "bulk-outbound" && alert["state"] == state)
            .unwrap_or_else(|| panic!("bulk-outbound is not {state}: {told:?}"))
    };
    let fired = find("firing");
    assert!(fired["destinations"].to_string().contains(OUT), "{fired}");
    assert!(
        fired["sessions"]
            .to_string()
            .contains(&format!("host:{HOST_OUTSIDE}")),
        "{fired}"
    );
    let bytes = find("resolved")["bytes"].as_u64().unwrap();
    assert!(
        bytes.abs_diff(sent) < sent / 100,
        "{sent} arrived, {bytes} told; tcpdump said: {}",
        log()
    );
}
