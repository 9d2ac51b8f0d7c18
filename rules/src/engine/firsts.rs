//! What the engine sees for the first time.

use super::*;
use crate::firsts::data_port;
use crate::resolvers::is_encrypted_dns;
use crate::rule::First;

impl Engine {
    /// Tells what is seen for the first time; `seen` as it was observed. Whether it is new.
    pub(super) fn first(
        &mut self,
        first: First,
        numbers: (u64, u64),
        name: impl FnOnce(&Names) -> Name,
        seen: &Observation,
        output: &mut Output,
    ) -> bool {
        let names = &self.names;
        let was_empty = self.firsts.is_empty();
        let refused = self.firsts.refused;
        let sight = self.firsts.see(first, numbers, self.now, || name(names));
        if self.firsts.refused > refused && self.firsts.refused.is_power_of_two() {
            // Each time that there are twice as many.
            let why = format!(
                "more new things of kind '{first}' than are remembered: whatever comes is not told as new"
            );
            self.gap(&Gap::new("engine", GapKind::Lost, 1, why), output);
        }
        if was_empty && let Some(next) = self.firsts.next() {
            self.deadlines.remind(next, Due::Firsts);
        }
        if sight.is_first {
            let mut seen = seen.clone();
            (seen.subject, seen.first) = (Subject::First, Some(first));
            seen.amounts = crate::observation::Amounts {
                first_seen: 1,
                ..Default::default()
            };
            self.count(&seen, output);
        }
        sight.is_new
    }

    /// Who reads a store.
    pub(super) fn first_reader(&mut self, seen: &Observation, output: &mut Output) {
        if seen.exe == NOBODY || seen.reader {
            return;
        }
        for (first, who) in [(First::Exe, seen.exe), (First::User, seen.user)] {
            let numbers = (u64::from(who.0), u64::from(seen.store.0));
            let name =
                |names: &Names| format!("{} {}", names.text(who), names.text(seen.store)).into();
            self.first(first, numbers, name, seen, output);
        }
    }

    /// Where data of a store goes to, beyond the hospital and outside of contracts; whether that is new.
    pub(super) fn first_destination(&mut self, seen: &Observation, output: &mut Output) -> bool {
        let outside = matches!(seen.scope, Some(Scope::External | Scope::Relay));
        let Some(remote) = seen.remote.filter(|_| outside) else {
            return false;
        };
        let name = |_: &Names| remote.ip().to_string().into();
        let numbers = numbers(remote.ip(), NOBODY);
        self.first(First::Destination, numbers, name, seen, output)
    }

    /// A server beyond the hospital that names are asked of.
    pub(super) fn first_resolver(&mut self, seen: &Observation, output: &mut Output) {
        let outside = seen.scope == Some(Scope::External);
        if let Some(remote) = seen.remote.filter(|_| outside) {
            let name = |_: &Names| remote.ip().to_string().into();
            let numbers = numbers(remote.ip(), NOBODY);
            self.first(First::Resolver, numbers, name, seen, output);
        }
    }

    /// A server that names are asked of under encryption.
    pub(super) fn first_encrypted_dns(&mut self, seen: &Observation, output: &mut Output) {
        let outside = seen.scope == Some(Scope::External);
        let Some(remote) = seen.remote.filter(|_| outside) else {
            return;
        };
        let name = seen.remote_name.as_deref();
        if is_encrypted_dns(remote, name) {
            let name = |names: &Names| {
                let exe = names.text(seen.exe);
                format!("{} by {exe}", remote.ip()).into()
            };
            let numbers = numbers(remote.ip(), seen.exe);
            self.first(First::EncryptedDns, numbers, name, seen, output);
        }
    }

    /// A port of a data service that answers somebody outside of contracts.
    pub(super) fn first_answer(&mut self, sent: &Sent, seen: &Observation, output: &mut Output) {
        let port = sent.flow.local.port();
        let served = sent.flow.opener == Opener::Remote && sent.bytes > 0;
        let Some(service) = data_port(port).filter(|_| served) else {
            return;
        };
        let mut seen = seen.clone();
        let text = Name::from(port.to_string());
        seen.port = self.names.intern(&text);
        let peer = sent.flow.remote.ip();
        let who = self.shown(&seen);
        seen.why = Some(format!("{port} ({service}) answers {peer}, by {who}").into());
        self.first(First::Port, (u64::from(port), 0), |_| text, &seen, output);
    }
}

/// The same for the same address and name.
fn numbers(address: IpAddr, name: NameId) -> (u64, u64) {
    let bits = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    // An IPv4 address and the host part of an IPv6 one stay apart from each other's names.
    let low = (bits as u64) ^ u64::from(name.0).rotate_left(32);
    ((bits >> 64) as u64, low)
}
