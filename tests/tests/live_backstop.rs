//! What leaves by an interface and is not, or not so, what a socket of this host sent; and ordinary traffic, which is.

use std::fs::File;
use std::io::BufReader;

use jaga::tape::Tape;
use jaga_rules::event::{Event, Fact, Origin};
use jaga_tests::agent::Agent;
use jaga_tests::leak::nothing_told;
use jaga_tests::net::{Host, OUT, join};
use jaga_tests::process::{Unit, run};
use jaga_tests::world::{MB, World};

/// A world with a store and an agent: rules are for hosts with stores.
fn watched(name: &str, config: &str) -> Option<(World, Agent)> {
    let world = World::new(name)?;
    let store = world.store("ekg", 1, MB);
    let agent = world.agent(&[("ekg", &store)], config);
    Some((world, agent))
}

/// Runs a script on a host, to its end.
fn on(host: &Host, script: &str) {
    run(host.command("sh").args(["-ec", script]));
}

/// What the alert shows as its destinations.
fn destinations(alert: &serde_json::Value) -> String {
    alert["destinations"].to_string()
}

/// Bytes on the tape that sockets say they sent to `out`, and that were queued to go there, each sequence byte once.
fn told_and_queued(agent: &mut Agent) -> (u64, u64) {
    agent.stop();
    let file = File::open(agent.folder().join("tape")).expect("there is a tape");
    let out: std::net::IpAddr = OUT.parse().expect("an address");
    let (mut told, mut queued) = (0, 0);
    for event in Tape::open(BufReader::new(file)).expect("a tape") {
        match event.event {
            Event::Sent(sent) if sent.flow.remote.ip() == out => told += sent.bytes,
            Event::Fact(Fact::Egress(egress))
                if egress.remote == Some(out)
                    && matches!(egress.origin, Origin::Socket | Origin::Elsewhere) =>
            {
                queued += egress.bytes;
            }
            _ => {}
        }
    }
    (told, queued)
}

#[test]
fn a_bulk_flow_that_is_forwarded() {
    let Some((world, mut agent)) = watched("a_bulk_flow_that_is_forwarded", "") else {
        return;
    };
    world.net.route_through_host();
    let script = format!("head -c 150000000 /dev/zero | curl -sfT - http://{OUT}/");
    on(&world.net.lan, &script);
    assert_eq!(world.sink.received(), 150 * MB);
    let alert = agent.alert("unattributed-bytes", "firing", &[("destination", OUT)]);
    assert!(destinations(&alert).contains("passed on"), "{alert}");
    agent.alert("unattributed-bytes", "resolved", &[("destination", OUT)]);
    agent.replay_equals_live();
}

#[test]
fn a_connection_that_the_packet_filter_sends_elsewhere() {
    let name = "a_connection_that_the_packet_filter_sends_elsewhere";
    let Some((world, mut agent)) = watched(name, "") else {
        return;
    };
    world.net.route_through_host();
    let rules = format!(
        "add table ip t; add chain ip t out {{ type nat hook output priority -100 ; }}; \
         add rule ip t out ip daddr 10.77.0.200 dnat to {OUT}"
    );
    run(world.net.host.command("nft").arg(rules));
    let unit = Unit::new("jagat-rewritten.service");
    unit.run(
        "head -c 30000000 /dev/zero | curl -sfT - http://10.77.0.200/",
        60,
    );
    assert_eq!(world.sink.received(), 30 * MB);
    let alert = agent.alert("destination-rewritten", "firing", &[("destination", OUT)]);
    assert!(
        destinations(&alert).contains("sockets say 10.77.0.200"),
        "{alert}"
    );
    agent.replay_equals_live();
}

#[test]
fn a_tunnel() {
    let Some((world, mut agent)) = watched("a_tunnel", "") else {
        return;
    };
    for (host, here, there) in [
        (&world.net.host, "10.77.9.1", OUT),
        (&world.net.out, "10.77.9.2", jaga_tests::net::HOST_OUTSIDE),
    ] {
        host.ip(&format!(
            "link add vx0 type vxlan id 7 remote {there} dstport 4789"
        ));
        host.ip(&format!("addr add {here}/24 dev vx0"));
        host.ip("link set vx0 up");
    }
    let unit = Unit::new("jagat-tunnel.service");
    unit.run(
        "head -c 30000000 /dev/zero | curl -sfT - http://10.77.9.2/",
        60,
    );
    assert_eq!(world.sink.received(), 30 * MB);
    let alert = agent.alert("destination-rewritten", "firing", &[("destination", OUT)]);
    assert!(
        destinations(&alert).contains("sockets say 10.77.9.2"),
        "{alert}"
    );
    agent.replay_equals_live();
}

/// A Python program that sends `count` times, as root on the watched host, and what it must fire.
fn fires_bulk_outbound(name: &str, program: &str) {
    let Some((_world, mut agent)) = watched(name, "") else {
        return;
    };
    let unit = Unit::new("jagat-odd.service");
    unit.run(&format!("exec /usr/bin/python3 -c \"{program}\""), 120);
    agent.alert("bulk-outbound", "firing", &[]);
    agent.replay_equals_live();
}

#[test]
fn a_quic_like_upload() {
    // UDP_SEGMENT, as QUIC libraries do: 50 datagrams a call.
    let program = format!(
        "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(17, 103, 1200)
for _ in range(9000): s.sendto(bytes(60000), ('{OUT}', 443))"
    );
    fires_bulk_outbound("a_quic_like_upload", &program);
}

#[test]
fn a_raw_socket_upload() {
    let program = format!(
        "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253)
for _ in range(360000): s.sendto(bytes(1480), ('{OUT}', 0))"
    );
    fires_bulk_outbound("a_raw_socket_upload", &program);
}

#[test]
fn raw_frames_past_the_queue() {
    // PACKET_QDISC_BYPASS: no queue sees them, no capture does.
    let program = "
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.setsockopt(263, 20, 1); s.bind(('out0', 0x0800))
ip = bytes([0x45,0,5,0xdc,0,0,0,0,64,253,0,0,203,0,113,1,203,0,113,9])
for _ in range(360000): s.send(b'\\\\xff' * 6 + bytes([2] * 6) + b'\\\\x08\\\\x00' + ip + bytes(1480))";
    fires_bulk_outbound("raw_frames_past_the_queue", program);
}

#[test]
fn a_container_behind_this_host_claims_its_own() {
    let name = "a_container_behind_this_host_claims_its_own";
    let Some((world, mut agent)) = watched(name, "sensors: { namespaces: all }\n") else {
        return;
    };
    let container = Host::new("box");
    join(
        (&world.net.host, "box0", "172.18.0.1"),
        (&container, "eth0", "172.18.0.2"),
    );
    world.net.host.forwards();
    container.ip("route add default via 172.18.0.1");
    let rules = "add table ip t; add chain ip t post { type nat hook postrouting priority 100 ; }; \
                 add rule ip t post ip saddr 172.18.0.0/24 masquerade";
    run(world.net.host.command("nft").arg(rules));
    let script = format!("head -c 300000000 /dev/zero | curl -sfT - http://{OUT}/");
    on(&container, &script);
    assert_eq!(world.sink.received(), 300 * MB);
    let sent = agent.metric_reaches("jaga_sent_bytes_total", &[("scope", "external")], 300e6);
    assert!(sent < 303e6, "300 MB were sent, told {sent}");
    nothing_told(&mut agent);
    is_balanced(&mut agent, 300 * MB);
}

/// What was queued is what was told, to the allowance, and it is at least `least`.
fn is_balanced(agent: &mut Agent, least: u64) {
    let (told, queued) = told_and_queued(agent);
    eprintln!("   sockets told {told} B, queued were {queued} B");
    assert!(told >= least, "told {told}");
    assert!(
        told.abs_diff(queued) <= 64 << 10,
        "sockets told {told}, queued were {queued}"
    );
}

#[test]
fn a_line_that_loses_packets() {
    let Some((world, mut agent)) = watched("a_line_that_loses_packets", "") else {
        return;
    };
    // Dropped in the host's own queue, and on the other side.
    let shape = "qdisc add dev out0 root tbf rate 400mbit burst 64k limit 128k";
    run(world.net.host.command("tc").args(shape.split(' ')));
    let drops = "add table ip t; add chain ip t in { type filter hook prerouting priority 0 ; }; \
                 add rule ip t in tcp dport 80 numgen inc mod 97 == 0 drop";
    run(world.net.out.command("nft").arg(drops));
    let unit = Unit::new("jagat-lossy.service");
    unit.run(
        &format!("head -c 80000000 /dev/zero | curl -sfT - http://{OUT}/"),
        120,
    );
    assert_eq!(world.sink.received(), 80 * MB);
    nothing_told(&mut agent);
    is_balanced(&mut agent, 80 * MB);
}

#[test]
fn two_gigabytes_in_ten_thousand_connections() {
    let name = "two_gigabytes_in_ten_thousand_connections";
    let contract = format!(
        "contracts:\n  - name: many\n    who: {{ unit: jagat-many.service }}\n    to: {OUT}:80\n    \
         owner: it@hospital.example\n    until: 2099-01-01\n"
    );
    let Some((world, mut agent)) = watched(name, &contract) else {
        return;
    };
    let unit = Unit::new("jagat-many.service");
    let program = format!(
        "
import socket
from concurrent.futures import ThreadPoolExecutor
head = b'PUT / HTTP/1.1\\\\r\\\\nContent-Length: 200000\\\\r\\\\n\\\\r\\\\n'
def put(_):
    with socket.create_connection(('{OUT}', 80)) as s:
        s.sendall(head + bytes(200000)); s.recv(100)
with ThreadPoolExecutor(20) as pool: list(pool.map(put, range(10000)))"
    );
    unit.run(&format!("exec /usr/bin/python3 -c \"{program}\""), 300);
    assert_eq!(world.sink.received(), 2000 * MB);
    nothing_told(&mut agent);
    is_balanced(&mut agent, 2000 * MB);
}
