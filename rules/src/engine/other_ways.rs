//! Ways out beside sockets: names that are looked up, ICMP, media, another process's memory.

use super::*;
use crate::event::{DeviceOpened, Interface};
use crate::rule::First;

/// Domains that were looked up, and DICOM titles, that are told apart: others choose them, and whoever makes up more must not
/// use up the names of sessions. The rest is counted together.
const DOMAINS_LIMIT: usize = 16_384;
const TITLES_LIMIT: usize = 1_024;

/// What is taken of a store of unknown size with the memory of its service, bytes.
const MEMORY: u64 = 1_000_000_000;

/// File systems on media at the most; who mounts more has their files counted as the host's own.
const MEDIA_LIMIT: usize = 1_024;

impl Engine {
    pub(super) fn looked_up(
        &mut self,
        (client, server): (Sender, SocketAddr),
        domain: &Name,
        (names, bytes): (u64, u64),
        output: &mut Output,
    ) {
        let mut seen = self.beside_sockets(Subject::Lookup, client, server);
        seen.domain = self.domain_name(domain);
        seen.remote_name = Some(format!("asked for names of {domain}").into());
        (seen.amounts.dns_names, seen.amounts.dns_name_bytes) = (names, bytes);
        self.count(&seen, output);
        self.first_resolver(&seen, output);
    }

    fn domain_name(&mut self, domain: &Name) -> NameId {
        self.names.find(domain).unwrap_or_else(|| {
            let room = self.domains < DOMAINS_LIMIT;
            self.domains += usize::from(room);
            self.foreign(domain, room)
        })
    }

    /// The number of a DICOM title.
    pub(super) fn title_name(&mut self, title: &Name) -> NameId {
        self.names.find(title).unwrap_or_else(|| {
            let room = self.titles < TITLES_LIMIT;
            self.titles += usize::from(room);
            self.foreign(title, room)
        })
    }

    fn foreign(&mut self, name: &Name, room: bool) -> NameId {
        if room {
            self.names.intern(name)
        } else {
            self.names.intern(&"(other)".into())
        }
    }

    pub(super) fn echoed(
        &mut self,
        client: Sender,
        remote: IpAddr,
        bytes: u64,
        output: &mut Output,
    ) {
        let mut seen = self.beside_sockets(Subject::Icmp, client, SocketAddr::new(remote, 0));
        seen.amounts.icmp_bytes = bytes;
        self.count(&seen, output);
    }

    /// What was seen on its way to a remote, without a process; no scope for loopback.
    pub(super) fn beside_sockets(
        &mut self,
        subject: Subject,
        client: Sender,
        remote: SocketAddr,
    ) -> Observation {
        let mut seen = self.observe(subject, None, NOBODY);
        if let Sender::Host(local) = client {
            (_, seen.host) = self.host_names(local);
        }
        let address = crate::config::canonical(remote.ip());
        seen.remote = Some(SocketAddr::new(address, remote.port()));
        seen.remote_name = self.remote_names.of(address).cloned();
        seen.scope = Scopes::of_address(&self.config, address);
        seen
    }

    pub(super) fn medium(&mut self, fs: u64, name: Option<&Name>) {
        match name {
            Some(name) if self.media.len() < MEDIA_LIMIT || self.media.contains_key(&fs) => {
                self.media.insert(fs, name.clone());
            }
            Some(_) => {}
            None => drop(self.media.remove(&fs)),
        }
    }

    /// What is written to a medium leaves the host with it.
    pub(super) fn wrote_to_medium(&mut self, wrote: &Wrote, output: &mut Output) {
        let Some(medium) = self.media.get(&wrote.file.fs).cloned() else {
            return;
        };
        let (key, session) = self.whose(wrote.actor);
        let serves = self.serves(Some(wrote.actor), 0);
        let exposures = self.expose(&key, session, Scope::External, wrote.bytes, &serves);
        let member = self.lineage.member(wrote.actor);
        let mut seen = self.observe(Subject::Medium, member, session);
        seen.place = Some(medium);
        for (exposure, slot) in exposures {
            seen.store = exposure.store;
            seen.amounts.media_bytes = exposure.bytes;
            seen.held = self.holdings.held_of(slot, exposure.store);
            seen.exposed_bytes_so_far = exposure.bytes_so_far;
            seen.exposed_records_so_far = exposure.records_so_far;
            self.count(&seen, output);
        }
    }

    /// Whoever holds data may put it on the device; how much is not seen.
    pub(super) fn device_opened(&mut self, opened: &DeviceOpened, output: &mut Output) {
        let (key, session) = self.whose(opened.actor);
        let slot = self.holdings.find(&key);
        let served = self.serves(Some(opened.actor), 0);
        let mut stores: Vec<NameId> = served.into_iter().map(|(store, _)| store).collect();
        if let Some(slot) = slot {
            stores.extend(self.holdings.stores_of(slot));
        }
        stores.sort_unstable();
        stores.dedup();
        let member = self.lineage.member(opened.actor);
        let mut seen = self.observe(Subject::Device, member, session);
        seen.amounts.devices_opened = opened.opens;
        let who = self.shown(&seen);
        for store in stores {
            seen.store = store;
            let store_name = self.names.text(store);
            let device = &opened.device;
            seen.why = Some(format!("{device} by {who}, which has {store_name}").into());
            seen.held =
                slot.map_or_else(Default::default, |slot| self.holdings.held_of(slot, store));
            self.count(&seen, output);
        }
    }

    /// A network interface is there.
    pub(super) fn interface(&mut self, interface: &Interface, output: &mut Output) {
        let Interface { name, bus } = interface;
        let mut seen = self.observe(Subject::First, None, NOBODY);
        seen.interface = self.names.intern(name);
        seen.why = Some(format!("{name} on {bus}").into());
        let numbers = (u64::from(seen.interface.0), 0);
        self.first(First::Interface, numbers, |_| name.clone(), &seen, output);
    }

    /// Whoever gets at the memory of another session may have all that it holds.
    pub(super) fn memory_read(&mut self, actor: Actor, of: Actor, output: &mut Output) {
        let (from, _) = self.whose(of);
        let (key, session) = self.whose(actor);
        if from == key {
            return;
        }
        let served = self.serves(Some(of), 0);
        let mut stores: Vec<NameId> = served.iter().map(|(store, _)| *store).collect();
        for (store, each) in served {
            let size = self.store_sizes.iter().find(|(of, ..)| *of == store);
            let bytes = size.map_or(MEMORY, |(_, bytes, _)| *bytes);
            let records = bytes as f64 / each;
            self.passed(actor, &key, |holdings, now| {
                Some(holdings.served(&key, session, store, bytes, records, now))
            });
        }
        let slot = self.holdings.find(&from);
        if let Some(slot) = slot {
            stores.extend(self.holdings.stores_of(slot));
            self.passed(actor, &key, |holdings, now| {
                holdings.pass(slot, &key, session, u64::MAX, now)
            });
        }
        stores.sort_unstable();
        stores.dedup();
        let whose = self.lineage.member(of).map(|member| member.session);
        let mut seen = self.observe(Subject::Memory, self.lineage.member(actor), session);
        seen.amounts.memory_reads = 1;
        let of = self.names.text(whose.unwrap_or(self.unknown)).clone();
        let who = self.shown(&seen);
        for store in stores {
            seen.store = store;
            let store_name = self.names.text(store);
            seen.why = Some(format!("that of {of}, which has {store_name}, by {who}").into());
            seen.held =
                slot.map_or_else(Default::default, |slot| self.holdings.held_of(slot, store));
            self.count(&seen, output);
        }
    }
}
