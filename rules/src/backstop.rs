//! What left the wire, held against what sockets say they sent, per remote: what nobody claims in time is nobody's.
//!
//! Two comparisons, because they fail differently. What is *forwarded* is held against what sockets of other network
//! namespaces queued, which the kernel counts in the same place and at the same time: seconds are enough. What *sockets*
//! queued is held against what their calls told, and a call tells only when it returns: one that sends a gigabyte over
//! a slow line may take minutes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::canonical;
use crate::event::{Egress, Origin, Protocol, SECOND};
use crate::names::{NOBODY, NameId, OTHER as OTHER_NAME};

mod aging;
mod line;
#[cfg(test)]
mod tests;

use aging::Aging;
use line::Line;

/// Remotes told apart; beyond, further ones share one account, `::`, and are counted.
pub const REMOTES_LIMIT: usize = 65_536;
/// What waits is looked at this often, nanoseconds. What is forwarded, or the kernel's, waits one to two rounds.
pub const ROUND: i64 = 5 * SECOND;
/// What sockets told and the wire has not seen (a full buffer on a slow line) waits one to two times so many rounds.
const SENT_ROUNDS: u64 = 24;
/// What the wire has seen of a socket whose call has not returned waits one to two times so many rounds.
const SOCKET_ROUNDS: u64 = 60;
/// An address that processes of this host sent from is this host's own for so many rounds: an hour.
const OWN_ROUNDS: u64 = 720;
/// Of each remote, so much of what sockets queued may stay unexplained in five minutes, bytes: window probes,
/// datagrams that were queued twice.
const ALLOWANCE: u64 = 64 << 10;
/// And one in so many bytes of what was explained: the kernel skips a count that a soft interrupt finds running.
const SLACK: u64 = 256;
/// What a tunnel adds to a packet at the most, bytes: outer IPv6, UDP, WireGuard, padding.
const TUNNEL_HEADERS: u64 = 112;
/// The account that further remotes share.
const OTHER: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
/// The account of what has no address.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What is waiting, per remote.
#[derive(Debug, Default)]
pub struct Backstop {
    accounts: BTreeMap<IpAddr, Account>,
    lines: BTreeMap<NameId, Line>,
    /// On its way through tunnels whose own packets do not tell the socket.
    tunnelled: Aging,
    round: u64,
    /// The wire is told of: what sockets send is remembered from now on.
    running: bool,
    /// Remotes that found no account of their own.
    pub merged: u64,
}

/// Bytes that nobody claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unclaimed {
    /// Where they went.
    pub remote: IpAddr,
    /// By which interface, as far as known.
    pub interface: NameId,
    /// Whose packets they were; `Frames`: an interface sent them, and they never were queued.
    pub origin: Origin,
    /// How many.
    pub bytes: u64,
    /// They were wrapped for a tunnel: their senders are known, and meant another address.
    pub wrapped: bool,
}

#[derive(Debug, Default)]
struct Account {
    /// Told by sockets, not seen on the wire.
    sent: Aging,
    /// Seen on the wire, not told: of processes' sockets.
    socket: Aging,
    /// The same, of the kernel.
    kernel: Aging,
    /// Left another network namespace, not seen to be passed on.
    elsewhere: Aging,
    /// Passed on, not seen to leave another network namespace.
    forwarded: Aging,
    interface: Option<NameId>,
    /// Bytes that may stay unexplained.
    slack: u64,
    /// An address of this host, until this round.
    own_until: u64,
}

impl Backstop {
    /// Whether anything waits: rounds are needed.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.accounts.is_empty()
            || !self.tunnelled.is_empty()
            || self.lines.values().any(Line::is_waiting)
    }

    /// Remotes that have an account.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether no remote has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// A socket of this host sent `bytes` to `remote`, from `local`.
    pub fn sent(&mut self, local: IpAddr, remote: IpAddr, bytes: u64) {
        if !self.running {
            return;
        }
        let own_until = self.round + OWN_ROUNDS;
        if !local.is_unspecified() {
            self.account(local).own_until = own_until;
        }
        let account = self.account(remote);
        let left = account.socket.meet(bytes);
        let left = account.kernel.meet(left);
        account.slack += (bytes - left) / SLACK;
        account.sent.add(left);
    }

    /// An interface's own counter went on by `bytes`. Those that are summed under one name are passed over: the two
    /// sides need not sum the same ones.
    pub fn counted(&mut self, interface: NameId, bytes: u64) {
        if self.running && interface != OTHER_NAME {
            self.lines.entry(interface).or_default().counted(bytes);
        }
    }

    /// Packets were queued.
    pub fn queued(&mut self, egress: &Egress, interface: NameId) {
        self.running = true;
        if interface != NOBODY && interface != OTHER_NAME {
            self.lines.entry(interface).or_default().queued(egress);
        }
        let wire = egress.remote.unwrap_or(NOWHERE);
        let all = egress.bytes.saturating_add(egress.again);
        match egress.origin {
            Origin::Frames => {}
            Origin::Tunnel => self.tunnelled.add(
                egress
                    .frame_bytes
                    .saturating_add(egress.frames.saturating_mul(TUNNEL_HEADERS)),
            ),
            Origin::Socket => self.of_socket(egress, wire, interface),
            Origin::Kernel => {
                let account = self.at(wire, interface);
                let left = account.sent.meet(egress.bytes);
                account.kernel.add(left);
            }
            Origin::Forwarded => {
                let account = self.at(wire, interface);
                let left = account.elsewhere.meet(all);
                account.slack += (all - left) / SLACK;
                account.forwarded.add(left);
            }
            Origin::Elsewhere => {
                let account = self.account(wire);
                let left = account.forwarded.meet(all);
                account.slack += (all - left) / SLACK;
                account.elsewhere.add(left);
                self.of_socket(egress, wire, NOBODY);
            }
        }
    }

    /// A TCP socket tells the address that it is connected to; of a datagram the sensor reads it off the packet.
    fn of_socket(&mut self, egress: &Egress, wire: IpAddr, interface: NameId) {
        let told = match (egress.protocol, egress.meant) {
            (Protocol::Tcp, Some(meant)) => meant,
            _ => wire,
        };
        let account = self.at(told, interface);
        let left = account.sent.meet(egress.bytes);
        account.slack += (egress.bytes - left) / SLACK;
        account.socket.add(left);
    }

    /// A round is over: what has waited long enough, by remote. Accounts in which nothing waits are closed.
    pub fn end_of_round(&mut self) -> Vec<Unclaimed> {
        self.round += 1;
        let (round, tunnelled) = (self.round, &mut self.tunnelled);
        let mut unclaimed = Vec::new();
        self.accounts.retain(|remote, account| {
            for (origin, bytes) in account.age(round) {
                let rest = tunnelled.meet(bytes);
                for (bytes, wrapped) in [(bytes - rest, true), (rest, false)] {
                    if bytes > 0 {
                        unclaimed.push(Unclaimed {
                            remote: *remote,
                            interface: account.interface.unwrap_or(NOBODY),
                            origin,
                            bytes,
                            wrapped,
                        });
                    }
                }
            }
            !account.is_idle(round)
        });
        self.tunnelled.age();
        self.past_the_queue(&mut unclaimed);
        unclaimed
    }

    /// Frames that an interface sent and that never were queued. Who sends raw frames past the queue (PACKET_QDISC_BYPASS)
    /// says so at its socket, without an address.
    fn past_the_queue(&mut self, unclaimed: &mut Vec<Unclaimed>) {
        let forget = self.round.is_multiple_of(SENT_ROUNDS);
        let mut told = self
            .accounts
            .get_mut(&NOWHERE)
            .map(|account| &mut account.sent);
        for (interface, line) in &mut self.lines {
            let bytes = line.age(forget);
            let bytes = told.as_mut().map_or(bytes, |told| told.meet(bytes));
            if bytes > 0 {
                unclaimed.push(Unclaimed {
                    remote: NOWHERE,
                    interface: *interface,
                    origin: Origin::Frames,
                    bytes,
                    wrapped: false,
                });
            }
        }
    }

    fn at(&mut self, remote: IpAddr, interface: NameId) -> &mut Account {
        let account = self.account(remote);
        if interface != NOBODY {
            account.interface = Some(interface);
        }
        account
    }

    fn account(&mut self, remote: IpAddr) -> &mut Account {
        let remote = canonical(remote);
        let full = self.accounts.len() >= REMOTES_LIMIT && !self.accounts.contains_key(&remote);
        self.merged += u64::from(full);
        self.accounts
            .entry(if full { OTHER } else { remote })
            .or_default()
    }
}

impl Account {
    /// What has waited long enough at the end of this round.
    fn age(&mut self, round: u64) -> [(Origin, u64); 3] {
        let own = round < self.own_until;
        self.elsewhere.age();
        // What comes in for a container or a virtual machine of this host does not leave it.
        let forwarded = self.forwarded.age() * u64::from(!own);
        let forwarded = self.beyond_slack(forwarded);
        let kernel = self.kernel.age();
        if round.is_multiple_of(SENT_ROUNDS) {
            self.sent.age();
        }
        let socket = match round.is_multiple_of(SOCKET_ROUNDS) {
            true => {
                let waited = self.socket.age().saturating_sub(ALLOWANCE);
                let waited = self.beyond_slack(waited);
                self.slack = 0;
                waited
            }
            false => 0,
        };
        [
            (Origin::Forwarded, forwarded),
            (Origin::Kernel, kernel),
            (Origin::Socket, socket),
        ]
    }

    fn beyond_slack(&mut self, bytes: u64) -> u64 {
        let slack = self.slack.min(bytes);
        self.slack -= slack;
        bytes - slack
    }

    fn is_idle(&self, round: u64) -> bool {
        let waiting = [
            self.sent,
            self.socket,
            self.kernel,
            self.elsewhere,
            self.forwarded,
        ];
        round >= self.own_until && waiting.iter().all(|aging| aging.is_empty())
    }
}
