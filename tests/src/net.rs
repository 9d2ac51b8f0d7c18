//! Other hosts: network namespaces joined to the watched one by veth pairs, gone when dropped.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// Address of the watched host as seen from `out`.
pub const HOST_OUTSIDE: &str = "203.0.113.1";
/// A host on the internet (TEST-NET-3, RFC 5737).
pub const OUT: &str = "203.0.113.9";
/// The same host by IPv6 (RFC 3849).
pub const OUT6: &str = "2001:db8::9";
/// Address of the watched host on the hospital's network.
pub const HOST_INSIDE: &str = "10.77.0.1";
/// A PC on the hospital's network.
pub const LAN: &str = "10.77.0.9";
/// A proxy on the hospital's network that reaches the internet by a line of its own.
pub const PROXY: &str = "10.77.1.3";
/// Where that proxy finds `out`.
pub const OUT_FROM_PROXY: &str = "198.51.100.9";

/// Bytes of IPv4 and TCP headers with time stamps: what Linux puts before every segment after the handshake.
const HEADERS: u64 = 52;

/// One network namespace: a host of its own as far as the network goes.
#[derive(Debug)]
pub struct Host {
    name: String,
}

impl Host {
    /// A new host; `part` is in its name.
    #[must_use]
    pub fn new(part: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("jt-{}-{count}-{part}", std::process::id());
        ip(&format!("netns add {name}"));
        let host = Self { name };
        host.ip("link set lo up");
        host
    }

    /// Its `/run/netns` file.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// A command that runs on this host. `nsenter`, because `ip netns exec` mounts a new /sys and so hides cgroups.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg(program);
        command
    }

    /// Moves the calling thread, and all that it starts from now on, onto this host.
    ///
    /// # Panics
    /// Without the right to.
    pub fn enter(&self) {
        let file = File::open(self.path()).expect("the namespace exists");
        setns(file, CloneFlags::CLONE_NEWNET).expect("the thread may enter it");
    }

    /// Runs `work` on a thread on this host.
    ///
    /// # Panics
    /// If `work` does.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.enter();
                    work()
                })
                .join()
                .expect("the work inside the namespace ends")
        })
    }

    /// TCP payload that this host's kernel has received over IPv4, bytes: the truth that jaga's figures are held against.
    /// Off by a few bytes a connection (handshakes carry longer headers).
    ///
    /// # Panics
    /// If the kernel's table has another shape.
    #[must_use]
    pub fn received(&self) -> u64 {
        let (extended, plain) = self.inside(|| {
            let read = |name: &str| {
                std::fs::read_to_string(format!("/proc/thread-self/net/{name}"))
                    .expect("the table is readable")
            };
            (read("netstat"), read("snmp"))
        });
        // A host that has got nothing but resets, whose headers are shorter, has got no payload.
        let headers = HEADERS * column(&plain, "Ip:", "InReceives");
        column(&extended, "IpExt:", "InOctets").saturating_sub(headers)
    }

    /// Lets it pass on what is not its own, as a router does.
    ///
    /// # Panics
    /// Without the right to.
    pub fn forwards(&self) {
        self.inside(|| {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("a namespace may forward");
        });
    }

    /// `ip WORDS` on this host.
    pub fn ip(&self, words: &str) {
        ip(&format!("-n {} {words}", self.name));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A veth pair goes with the first of its ends.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

/// The watched host and those it can reach.
#[derive(Debug)]
pub struct Network {
    /// The watched host.
    pub host: Host,
    /// A host on the internet.
    pub out: Host,
    /// A PC on the hospital's network.
    pub lan: Host,
    /// A proxy on the hospital's network.
    pub proxy: Host,
}

impl Network {
    /// The watched host stands between the PC and the internet.
    pub fn route_through_host(&self) {
        self.host.forwards();
        self.lan.ip(&format!("route add default via {HOST_INSIDE}"));
        self.out
            .ip(&format!("route add 10.77.0.0/16 via {HOST_OUTSIDE}"));
    }

    /// Four hosts and their cables.
    #[must_use]
    pub fn new() -> Self {
        let network = Self {
            host: Host::new("host"),
            out: Host::new("out"),
            lan: Host::new("lan"),
            proxy: Host::new("proxy"),
        };
        join(
            (&network.host, "out0", HOST_OUTSIDE),
            (&network.out, "host0", OUT),
        );
        // nodad: an address that is still being tried cannot be sent from.
        network.host.ip("addr add 2001:db8::1/64 dev out0 nodad");
        network
            .out
            .ip(&format!("addr add {OUT6}/64 dev host0 nodad"));
        join(
            (&network.host, "lan0", HOST_INSIDE),
            (&network.lan, "host0", LAN),
        );
        join(
            (&network.host, "prx0", "10.77.1.1"),
            (&network.proxy, "host0", PROXY),
        );
        join(
            (&network.proxy, "out0", "198.51.100.3"),
            (&network.out, "prx0", OUT_FROM_PROXY),
        );
        network
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

/// A cable between two hosts: (host, interface, address in a /24) at each end.
pub fn join(one: (&Host, &str, &str), other: (&Host, &str, &str)) {
    ip(&format!(
        "link add {} netns {} type veth peer name {} netns {}",
        one.1, one.0.name, other.1, other.0.name
    ));
    for (host, interface, address) in [one, other] {
        host.ip(&format!("addr add {address}/24 dev {interface}"));
        host.ip(&format!("link set {interface} up"));
    }
}

/// The value under `name` in a table of /proc/net whose rows come in pairs: names, then numbers.
fn column(table: &str, row: &str, name: &str) -> u64 {
    let mut lines = table.lines().filter(|line| line.starts_with(row));
    let names = lines.next().expect("a line of names");
    let values = lines.next().expect("a line of numbers");
    let index = names
        .split(' ')
        .position(|word| word == name)
        .expect("the column exists");
    values
        .split(' ')
        .nth(index)
        .and_then(|word| word.parse().ok())
        .expect("a number")
}

fn ip(words: &str) {
    let output = Command::new("ip")
        .args(words.split(' '))
        .output()
        .expect("ip runs");
    assert!(
        output.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
