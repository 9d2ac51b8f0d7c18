//! What leaves this host: its scope, its sender, and what it exposes.

use super::*;

impl Engine {
    pub(super) fn sent(&mut self, sent: &Sent, output: &mut Output) {
        let actor = match sent.sender {
            Sender::Actor(actor) => Some(actor),
            Sender::Host(_) | Sender::Unknown => None,
        };
        let member = actor.and_then(|actor| self.lineage.member(actor));
        let wall = if self.config.contracts.is_empty() {
            None
        } else {
            self.wall_clock()
        };
        let scoped = self.scopes.of(
            &self.config,
            &self.names,
            &sent.flow,
            member,
            wall,
            self.now,
        );
        let Some((scope, contract)) = scoped else {
            return;
        };
        self.totals.sent(scope, sent.bytes, contract);
        if let Some(interface) = &sent.interface {
            let interface = self.names.intern(interface);
            self.totals
                .attributed(interface, if member.is_some() { sent.bytes } else { 0 });
        }
        let (key, session) = self.sender(sent);
        let mut seen = self.observe(
            Subject::Send,
            actor.and_then(|actor| self.lineage.member(actor)),
            session,
        );
        seen.remote = Some(SocketAddr::new(
            crate::config::canonical(sent.flow.remote.ip()),
            sent.flow.remote.port(),
        ));
        seen.remote_name = self.remote_names.of(sent.flow.remote.ip()).cloned();
        seen.domain = self.domain(seen.remote_name.as_ref(), sent.flow.remote.ip());
        seen.scope = Some(scope);
        seen.interface = sent
            .interface
            .as_ref()
            .map_or(NOBODY, |name| self.names.intern(name));
        if let Sender::Host(local) = sent.sender {
            (_, seen.host) = self.host_names(local);
        }
        let serves = self.serves(actor, sent.flow.local.port());
        let exposures = self.expose(&key, session, scope, sent.bytes, &serves);
        let served = sent.flow.opener == Opener::Remote;
        seen.serves = !serves.is_empty();
        seen.amounts.sent_bytes = sent.bytes;
        seen.amounts.connections = u64::from(sent.connections);
        let holds = !exposures.is_empty() || !serves.is_empty();
        seen.amounts.served_bytes = if served && holds { sent.bytes } else { 0 };
        self.count(&seen, output);
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
            self.count(&seen, output);
        }
    }

    /// The session and the host of a recording's local address; kept, because a recording asks at every packet.
    fn host_names(&mut self, local: IpAddr) -> (NameId, NameId) {
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
