//! What left the wire, and who can have sent it.

use super::*;
use crate::backstop::{ROUND, Unclaimed};
use crate::event::{Egress, Flow, Origin, Protocol};

impl Engine {
    pub(super) fn queued(&mut self, egress: &Egress, output: &mut Output) {
        let interface = match &egress.interface {
            Some(name) => self.names.intern(name),
            None => NOBODY,
        };
        let waited = self.backstop.is_waiting();
        self.backstop.queued(egress, interface);
        self.remind_of_round(waited);
        let own = matches!(egress.origin, Origin::Socket | Origin::Kernel);
        if let (Some(remote), Some(meant), true) = (egress.remote, egress.meant, own) {
            let bytes = egress.bytes.saturating_add(egress.again);
            self.rewritten(
                remote,
                interface,
                bytes,
                &format!("sockets say {meant}"),
                output,
            );
        }
    }

    /// What an interface sent is looked for in its queue.
    pub(super) fn counted(&mut self, interface: NameId, bytes: u64) {
        let waited = self.backstop.is_waiting();
        self.backstop.counted(interface, bytes);
        self.remind_of_round(waited);
    }

    /// What a socket sent is looked for on the wire.
    pub(super) fn told(&mut self, sent: &Sent) {
        let waited = self.backstop.is_waiting();
        let Flow { local, remote, .. } = sent.flow;
        if remote.ip().is_loopback() {
            return;
        }
        self.backstop.sent(local.ip(), remote.ip(), sent.bytes);
        self.remind_of_round(waited);
    }

    pub(super) fn end_of_round(&mut self, output: &mut Output) {
        for unclaimed in self.backstop.end_of_round() {
            if unclaimed.wrapped {
                let Unclaimed {
                    remote,
                    interface,
                    bytes,
                    ..
                } = unclaimed;
                self.rewritten(remote, interface, bytes, "a tunnel", output);
            } else {
                self.unclaimed(unclaimed, output);
            }
        }
        self.remind_of_round(false);
    }

    fn remind_of_round(&mut self, waited: bool) {
        if !waited && self.backstop.is_waiting() {
            self.deadlines.remind(self.now.plus(ROUND), Due::Round);
        }
    }

    fn unclaimed(&mut self, unclaimed: Unclaimed, output: &mut Output) {
        let Unclaimed {
            remote,
            interface,
            origin,
            bytes,
            ..
        } = unclaimed;
        // Of a process's socket the call may still return, and then tells its bytes itself (I10).
        if matches!(origin, Origin::Kernel | Origin::Frames) {
            self.sent_by_nobody(remote, interface, bytes, output);
        }
        let what = match origin {
            Origin::Forwarded | Origin::Elsewhere => "passed on, of no container of this host",
            Origin::Socket => "a socket's, of which no process told",
            Origin::Kernel | Origin::Tunnel => "the kernel's, of no process",
            Origin::Frames => "sent past the queue, of no process",
        };
        if let Some(mut seen) = self.on_the_wire(remote, interface, what) {
            // Without IP no router passes it on; what was not seen at all may have been anything.
            if remote.is_unspecified() && origin != Origin::Frames {
                seen.scope = Some(Scope::Internal);
            }
            seen.amounts.unattributed_bytes = bytes;
            self.count(&seen, output);
        }
    }

    fn rewritten(
        &mut self,
        remote: IpAddr,
        interface: NameId,
        bytes: u64,
        what: &str,
        output: &mut Output,
    ) {
        if let Some(mut seen) = self.on_the_wire(remote, interface, what) {
            seen.amounts.rewritten_bytes = bytes;
            self.count(&seen, output);
        }
    }

    /// Whoever sent them may hold whatever any session holds.
    fn sent_by_nobody(
        &mut self,
        remote: IpAddr,
        interface: NameId,
        bytes: u64,
        output: &mut Output,
    ) {
        let here = match remote {
            IpAddr::V4(_) => IpAddr::from(std::net::Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED),
        };
        let sent = Sent {
            sender: Sender::Unknown,
            flow: Flow {
                protocol: Protocol::Other(0),
                local: SocketAddr::new(here, 0),
                remote: SocketAddr::new(remote, 0),
                opener: Opener::Unknown,
            },
            bytes,
            connections: 0,
            interface: (interface != NOBODY).then(|| self.names.text(interface).clone()),
        };
        self.sent(&sent, output);
    }

    fn on_the_wire(
        &mut self,
        remote: IpAddr,
        interface: NameId,
        what: &str,
    ) -> Option<Observation> {
        let remote = SocketAddr::new(remote, 0);
        let mut seen = self.beside_sockets(Subject::Wire, Sender::Unknown, remote);
        seen.scope?;
        seen.interface = interface;
        seen.domain = self.domain(seen.remote_name.as_ref(), remote.ip());
        seen.remote_name = Some(match seen.remote_name.take() {
            Some(name) => format!("{name}; {what}").into(),
            None => what.into(),
        });
        Some(seen)
    }
}
