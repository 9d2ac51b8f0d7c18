//! What leaves this host: its scope, its sender, and what it exposes.

use super::*;
use crate::contracts::{Asks, Granted, Refusal};

/// Which part of what was sent.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// Under the contract at this place of the configuration.
    Expected(usize),
    /// Under none, and where it goes; perhaps beside one that would be for it.
    Unexpected(Scope, Option<(usize, Refusal)>),
}

fn far_end(sent: &Sent) -> SocketAddr {
    let remote = sent.flow.remote;
    SocketAddr::new(crate::config::canonical(remote.ip()), remote.port())
}

impl Engine {
    /// What is under a contract is counted as that, as far as its amount reaches; the rest is where it goes.
    pub(super) fn sent(&mut self, sent: &Sent, output: &mut Output) {
        let Some(scope) = self.scopes.of(&self.config, &sent.flow, self.now) else {
            return;
        };
        if let Some(interface) = &sent.interface {
            let interface = self.names.intern(interface);
            let known = self.member_of(sent).is_some();
            self.totals
                .attributed(interface, if known { sent.bytes } else { 0 });
        }
        let (mut left, mut connections, mut from) = (sent.bytes, sent.connections, 0);
        loop {
            let granted = self.granted(sent, from);
            let (bytes, part) = match granted {
                Ok(Granted { contract, bytes }) => {
                    from = contract + 1;
                    (left.min(bytes), Part::Expected(contract))
                }
                Err(beside) => {
                    let used_up = from.checked_sub(1).map(|last| (last, Refusal::UsedUp));
                    (left, Part::Unexpected(scope, beside.or(used_up)))
                }
            };
            let connections = std::mem::take(&mut connections);
            self.left(sent, bytes, connections, part, output);
            left -= bytes;
            if left == 0 {
                return;
            }
        }
    }

    fn member_of(&self, sent: &Sent) -> Option<&Member> {
        match sent.sender {
            Sender::Actor(actor) => self.lineage.member(actor),
            Sender::Host(_) | Sender::Unknown => None,
        }
    }

    /// The first contract, at or after a place in the configuration, that bytes are under.
    fn granted(&self, sent: &Sent, from: usize) -> Result<Granted, Option<(usize, Refusal)>> {
        let contracts = &self.config.contracts;
        let member = self.member_of(sent).filter(|_| from < contracts.len());
        let member = member.ok_or(None)?;
        let remote = far_end(sent);
        let dialog = self.dialogs.of(&sent.flow, self.now);
        let who = Asks {
            names: &self.names,
            remote,
            member,
            dialog,
        };
        self.contracts
            .find(contracts, from, &who, self.wall_clock())
    }

    /// Bytes that are all in one scope.
    fn left(&mut self, sent: &Sent, bytes: u64, connections: u32, part: Part, output: &mut Output) {
        let (scope, contract) = match part {
            Part::Expected(contract) => (Scope::Contract, Some(contract)),
            Part::Unexpected(scope, _) => (scope, None),
        };
        self.totals.sent(scope, bytes, contract);
        if let Some(contract) = contract.and_then(|place| self.config.contracts.get(place)) {
            let wall = self.wall_clock();
            self.contracts.spend(contract, bytes, wall);
        }
        let actor = match sent.sender {
            Sender::Actor(actor) => Some(actor),
            Sender::Host(_) | Sender::Unknown => None,
        };
        let (key, session) = self.sender(sent);
        let mut seen = self.observe(Subject::Send, self.member_of(sent), session);
        seen.remote = Some(far_end(sent));
        seen.remote_name = self.remote_names.of(sent.flow.remote.ip()).cloned();
        seen.domain = self.domain(seen.remote_name.as_ref(), sent.flow.remote.ip());
        seen.scope = Some(scope);
        self.spoken(&mut seen, &sent.flow);
        if let Part::Unexpected(_, Some((place, refusal))) = part {
            let contract = self.config.contracts.get(place);
            seen.beside = contract.map(|contract| (contract.name.clone(), refusal));
        }
        seen.interface = sent
            .interface
            .as_ref()
            .map_or(NOBODY, |name| self.names.intern(name));
        if let Sender::Host(local) = sent.sender {
            (_, seen.host) = self.host_names(local);
        }
        let serves = self.serves(actor, sent.flow.local.port());
        let exposures = self.expose(&key, session, scope, bytes, &serves);
        let served = sent.flow.opener == Opener::Remote;
        seen.serves = !serves.is_empty();
        seen.amounts.sent_bytes = bytes;
        seen.amounts.connections = u64::from(connections);
        let holds = !exposures.is_empty() || !serves.is_empty();
        seen.amounts.served_bytes = if served && holds { bytes } else { 0 };
        self.count(&seen, output);
        if matches!(part, Part::Unexpected(..)) {
            self.first_answer(sent, &seen, output);
            self.first_encrypted_dns(&seen, output);
        }
        seen.subject = Subject::Expose;
        for (exposure, slot) in exposures {
            self.totals
                .exposed(exposure.store, scope, exposure.bytes, exposure.records);
            seen.store = exposure.store;
            seen.estimated = self.estimated.contains(&exposure.store);
            seen.serves = serves.iter().any(|(store, _)| *store == exposure.store);
            seen.amounts = crate::observation::Amounts {
                exposed_bytes: exposure.bytes,
                exposed_records: exposure.records,
                served_bytes: if served { exposure.bytes } else { 0 },
                ..Default::default()
            };
            seen.held = self.holdings.held_of(slot, exposure.store);
            seen.exposed_bytes_so_far = exposure.bytes_so_far;
            seen.exposed_records_so_far = exposure.records_so_far;
            seen.new_destination = self.first_destination(&seen, output);
            self.count(&seen, output);
        }
    }

    fn spoken(&mut self, seen: &mut Observation, flow: &crate::event::Flow) {
        if let Some(dialog) = self.dialogs.of(flow, self.now) {
            seen.protocol = Some(dialog.protocol);
            if let Some(title) = dialog.title().cloned() {
                seen.ae_title = self.title_name(&title);
            }
        }
    }

    /// The session and the host of a recording's local address; kept, because a recording asks at every packet.
    pub(super) fn host_names(&mut self, local: IpAddr) -> (NameId, NameId) {
        if let Some(names) = self.hosts.get(&local) {
            return *names;
        }
        let session = self.names.intern(&format!("host:{local}").into());
        let host = self.names.intern(&local.to_string().into());
        if self.hosts.len() < crate::names::NAMES_LIMIT {
            self.hosts.insert(local, (session, host));
        }
        (session, host)
    }

    pub(super) fn sender(&mut self, sent: &Sent) -> (RunKey, NameId) {
        match sent.sender {
            Sender::Actor(actor) => self.whose(actor),
            Sender::Host(local) => {
                let (session, _) = self.host_names(local);
                (RunKey::Host(local), session)
            }
            Sender::Unknown => (RunKey::Unknown, self.unknown),
        }
    }

    /// What a send exposes. Whoever is not known holds whatever any live session holds.
    pub(super) fn expose(
        &mut self,
        key: &RunKey,
        session: NameId,
        scope: Scope,
        bytes: u64,
        serves: &[(NameId, f64)],
    ) -> Vec<(crate::hold::Exposure, u32)> {
        if bytes == 0 {
            return Vec::new();
        }
        // What was read by a reader whom the rung cannot name, any sender may have read.
        if let Some(anybody) = self.holdings.find(&RunKey::Anybody) {
            let known = self.holdings.find(key).is_some();
            let taken = self
                .holdings
                .pass(anybody, key, session, u64::MAX, self.now);
            if let Some(slot) = taken.filter(|_| !known) {
                self.deadlines
                    .remind(self.now.plus(HOLD_LIFE), Due::Run(slot));
            }
        }
        let slot = match (self.holdings.find(key), key) {
            (_, RunKey::Unknown) => {
                let slot = self.open_run(key, session);
                self.holdings.hold_everything(slot, self.now);
                slot
            }
            (Some(slot), _) => slot,
            (None, _) if serves.is_empty() => return Vec::new(),
            (None, _) => self.open_run(key, session),
        };
        let exposures = self.holdings.expose(slot, scope, bytes, self.now, serves);
        exposures
            .into_iter()
            .map(|exposure| (exposure, slot))
            .collect()
    }
}
