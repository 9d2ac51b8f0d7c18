//! Every way in which a store leaves, on a host without eBPF: told all the same, and what is estimated is said to be.

use std::process::Command;

use jaga_tests::agent::Agent;
use jaga_tests::process::run;
use jaga_tests::wait::{until, within};
use jaga_tests::ways_out::{WAYS_OUT, WayOut};
use jaga_tests::world::World;
use serde_json::Value;

/// Rules of which each says that a store's data has left.
const LEFT: [&str; 4] = [
    "store-data-leaves",
    "store-data-to-peer",
    "store-served-to-peer",
    "served-in-bulk",
];

/// A hospital's line, 1 Gbit/s on each interface: at the speed of memory a copy is over before a process that is looked at
/// four times a second has an owner.
fn slow_down() {
    for interface in ["out0", "lan0", "prx0"] {
        let shape =
            format!("qdisc add dev {interface} root tbf rate 1gbit burst 256k latency 50ms");
        run(Command::new("tc").args(shape.split(' ')));
    }
}

/// Leaves in every way, beside an agent whose sensors stand on `rung`; some sessions are not known there.
fn each_is_told(rung: u8) {
    let sensors = format!(
        "sensors: {{ files: rung-{rung}, sockets: rung-{rung}, processes: rung-{rung}, namespaces: own }}\n"
    );
    let mut wrong = Vec::new();
    for way in WAYS_OUT {
        let Some(mut world) = World::new(way.name) else {
            return;
        };
        slow_down();
        let (files, bytes) = way.files;
        let store = world.store("ekg", files, bytes);
        let mut agent = world.agent(&[("ekg", &store)], &sensors);
        let sent = (way.take)(&mut world, &store);
        let said = within(20, || told(&agent, way));
        let exposed = until("the page of metrics", 10, || way.leak.exposed(&agent));
        eprintln!(
            "   {}: {exposed} of {sent} B exposed: {}",
            way.name,
            said.as_ref()
                .map_or("nothing told".into(), |alert| alert["summary"].to_string()),
        );
        wrong.extend(said.is_none().then_some(way.name));
        agent.replay_equals_live();
    }
    assert!(wrong.is_empty(), "not told: {wrong:?}");
}

/// An alert that says that this way was taken.
fn told(agent: &Agent, way: &WayOut) -> Option<Value> {
    agent.alerts().into_iter().find(|alert| {
        let rule = alert["rule"].as_str().unwrap_or_default();
        let estimated = alert["summary"]
            .as_str()
            .unwrap_or_default()
            .contains("is estimated");
        let destination = alert["destinations"][0].as_str().unwrap_or_default();
        LEFT.contains(&rule) && estimated && destination.starts_with(way.leak.destination)
    })
}

#[test]
fn rung_3_tells_every_way_out() {
    each_is_told(3);
}

#[test]
fn rung_4_tells_every_way_out() {
    each_is_told(4);
}
