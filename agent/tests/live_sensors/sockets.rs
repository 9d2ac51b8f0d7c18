//! Sends: bytes, destination, opener.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use jaga_rules::event::{Event, Opener, Protocol, Sender, Sent};

use crate::sensor::{Family, Sensor, can_run, config};

/// Takes one connection to its end and counts.
fn sink(address: &str) -> (SocketAddr, thread::JoinHandle<u64>) {
    let listener = TcpListener::bind(address).unwrap();
    let local = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap()
    });
    (local, thread)
}

fn only<'a>(sensor: &'a Sensor, family: &Family, protocol: Protocol) -> Vec<&'a Sent> {
    let mut sends = sensor.sends(family);
    sends.retain(|sent| sent.flow.protocol == protocol);
    sends
}

fn bytes(sends: &[&Sent]) -> u64 {
    sends.iter().map(|sent| sent.bytes).sum()
}

fn check_tcp(name: &str, address: &str, script: &str) {
    if !can_run(name) {
        return;
    }
    let mut sensor = Sensor::start(&config("/nowhere"));
    let (remote, truth) = sink(address);
    let ip = remote.ip();
    let family = sensor.run(&format!("H={ip}; P={}; {script}", remote.port()));
    let sends = only(&sensor, &family, Protocol::Tcp);
    assert_eq!(bytes(&sends), truth.join().unwrap(), "{name}");
    let canonical = SocketAddr::new(ip.to_canonical(), remote.port());
    for sent in &sends {
        assert_eq!(sent.flow.remote, canonical, "{name}");
        assert_eq!(sent.flow.opener, Opener::Local, "{name}");
        assert_eq!(sent.flow.local.port(), 0, "{name}");
        assert_eq!(sent.interface.as_deref(), Some("lo"), "{name}");
    }
    assert_eq!(
        sends.iter().map(|sent| sent.connections).sum::<u32>(),
        1,
        "{name}"
    );
    sensor.assert_no_gap();
}

#[test]
fn tcp_to_the_byte() {
    check_tcp(
        "tcp",
        "127.0.0.1:0",
        "head -c 7654321 /dev/zero > /dev/tcp/$H/$P",
    );
}

#[test]
fn tcp_over_ipv6() {
    check_tcp(
        "tcp6",
        "[::1]:0",
        "head -c 54321 /dev/zero > /dev/tcp/$H/$P",
    );
}

#[test]
fn tcp_by_sendfile() {
    let script = "F=$(mktemp -p $PWD); head -c 3000001 /dev/zero > $F; /usr/bin/python3 -c \"
import socket
s = socket.create_connection(('$H', $P)); s.sendfile(open('$F', 'rb'))\"; rm $F";
    check_tcp("sendfile", "127.0.0.1:0", script);
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_ipv4() {
    let script = "/usr/bin/python3 -c \"
import socket
s = socket.socket(socket.AF_INET6); s.connect(('::ffff:$H', $P)); s.sendall(b'x' * 1234)\"";
    check_tcp("mapped", "127.0.0.1:0", script);
}

#[test]
fn curl_uploads_are_counted_with_their_headers() {
    if !can_run("curl") {
        return;
    }
    let mut sensor = Sensor::start(&config("/nowhere"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || http_once(&listener));
    let script =
        format!("head -c 2000000 /dev/zero | curl -sf -T - -H Expect: http://127.0.0.1:{port}/x");
    let family = sensor.run(&script);
    let sends = only(&sensor, &family, Protocol::Tcp);
    assert_eq!(bytes(&sends), server.join().unwrap());
    let answers: Vec<&Sent> = sensor
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Sent(sent) if sent.flow.local.port() == port => Some(sent),
            _ => None,
        })
        .collect();
    assert!(
        answers
            .iter()
            .all(|sent| sent.flow.opener == Opener::Remote)
    );
    assert_eq!(bytes(&answers), ANSWER.len() as u64);
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Takes one chunked upload; tells how many bytes came.
fn http_once(listener: &TcpListener) -> u64 {
    let (mut stream, _) = listener.accept().unwrap();
    let mut came = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while !came.ends_with(b"\r\n0\r\n\r\n") {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the upload was cut after {} B", came.len());
        came.extend_from_slice(&buffer[..count]);
    }
    stream.write_all(ANSWER.as_bytes()).unwrap();
    came.len() as u64
}

/// What this process sent to an address since the sensor began.
fn own_sends<'a>(sensor: &'a Sensor, remote: &str) -> Vec<&'a Sent> {
    let (ip, me): (IpAddr, u32) = (remote.parse().unwrap(), std::process::id());
    let sends = sensor.events.iter().filter_map(|event| match event {
        Event::Sent(sent) => Some(sent),
        _ => None,
    });
    sends
        .filter(|sent| matches!(sent.sender, Sender::Actor(actor) if actor.pid == me))
        .filter(|sent| sent.flow.remote.ip() == ip)
        .collect()
}

#[test]
fn connections_older_than_the_sensor_know_who_opened_them() {
    if !can_run("old connections") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.77:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut client = TcpStream::connect(("127.0.0.77", port)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut sensor = Sensor::start(&config("/nowhere"));
    client.write_all(&[0; 111]).unwrap();
    server.write_all(&[0; 222]).unwrap();
    let from = |events: &[Event], bytes: u64| {
        events.iter().find_map(|event| match event {
            Event::Sent(sent) if sent.bytes == bytes && sent.flow.protocol == Protocol::Tcp => {
                Some(sent.flow)
            }
            _ => None,
        })
    };
    sensor.until("both ends", |events| {
        from(events, 111).is_some() && from(events, 222).is_some()
    });
    let (asked, served) = (
        from(&sensor.events, 111).unwrap(),
        from(&sensor.events, 222).unwrap(),
    );
    assert_eq!((asked.opener, asked.remote.port()), (Opener::Local, port));
    assert_eq!((served.opener, served.local.port()), (Opener::Remote, port));
}

#[test]
fn a_datagram_has_its_destination_though_the_socket_has_none() {
    if !can_run("udp") {
        return;
    }
    let mut sensor = Sensor::start(&config("/nowhere"));
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    for (number, size) in [(91, 1000), (92, 2000), (91, 30), (92, 0)] {
        let to = format!("127.0.0.{number}:4444");
        socket.send_to(&vec![0; size], to).unwrap();
    }
    let sum = |sensor: &Sensor, remote: &str| bytes(&own_sends(sensor, remote));
    sensor.until("both destinations", |events| {
        let sent = events
            .iter()
            .filter(|event| matches!(event, Event::Sent(sent) if sent.flow.remote.port() == 4444));
        sent.count() >= 2
    });
    assert_eq!(sum(&sensor, "127.0.0.91"), 1030);
    assert_eq!(sum(&sensor, "127.0.0.92"), 2000);
    for sent in own_sends(&sensor, "127.0.0.91") {
        assert_eq!(sent.flow.opener, Opener::Local);
        assert_eq!(sent.flow.protocol, Protocol::Udp);
    }
}

#[test]
fn a_datagram_service_answers() {
    if !can_run("udp service") {
        return;
    }
    let mut sensor = Sensor::start(&config("/nowhere"));
    let script = "/usr/bin/python3 -c \"
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); server.bind(('127.0.0.1', 45353))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); client.connect(('127.0.0.1', 45353))
client.send(b'q' * 40); _, to = server.recvfrom(99); server.sendto(b'a' * 400, to)\"";
    let family = sensor.run(script);
    let sends = only(&sensor, &family, Protocol::Udp);
    let mut told: Vec<_> = sends
        .iter()
        .map(|sent| {
            (
                sent.bytes,
                sent.flow.opener,
                sent.flow.local.port(),
                sent.flow.remote.port(),
            )
        })
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            (40, Opener::Local, 0, 45353),
            (400, Opener::Remote, 45353, 0)
        ]
    );
}

#[test]
fn icmp_has_its_destination() {
    if !can_run("icmp") {
        return;
    }
    let mut sensor = Sensor::start(&config("/nowhere"));
    let script = "/usr/bin/python3 -c \"
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.sendto(struct.pack('!BBHHH', 8, 0, 0, 1, 1) + b'x' * 500, ('127.0.0.99', 0))\"";
    let family = sensor.run(script);
    let sends = only(&sensor, &family, Protocol::Icmp);
    assert_eq!(bytes(&sends), 508);
    assert_eq!(sends[0].flow.remote, "127.0.0.99:0".parse().unwrap());
}

/// Two network namespaces and a cable. Removed when dropped.
struct Cable(String);

impl Cable {
    fn new() -> Self {
        let name = format!("ebpf{}", std::process::id());
        let script = format!(
            "ip netns add {name}a; ip netns add {name}b
             ip -n {name}a link add v0 type veth peer name v0 netns {name}b
             ip -n {name}a addr add 10.77.0.1/24 dev v0; ip -n {name}a link set v0 up
             ip -n {name}b addr add 10.77.0.2/24 dev v0; ip -n {name}b link set v0 up"
        );
        shell(&script);
        Self(name)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        shell(&format!("ip netns del {0}a; ip netns del {0}b", self.0));
    }
}

fn shell(script: &str) {
    let status = std::process::Command::new("bash")
        .args(["-ec", script])
        .status();
    assert!(status.unwrap().success(), "failed: {script}");
}

#[test]
fn the_first_datagram_to_a_neighbour_has_its_destination() {
    if !can_run("neighbour") {
        return;
    }
    let cable = Cable::new();
    let mut sensor = Sensor::start(&config("/nowhere"));
    let script = "/usr/bin/python3 -c \"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x' * 700, ('10.77.0.2', 9))\"";
    let family = sensor.run(&format!("exec ip netns exec {}a {script}", cable.0));
    let sends = only(&sensor, &family, Protocol::Udp);
    assert_eq!(bytes(&sends), 700);
    assert_eq!(sends[0].flow.remote, "10.77.0.2:9".parse().unwrap());
    assert_eq!(sends[0].interface, None, "another namespace's interface");
}
