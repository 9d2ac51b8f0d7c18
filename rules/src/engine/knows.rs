//! What the configuration says of records, services and names.

use super::*;
use crate::config::Server;
use crate::units::DAY;

impl Engine {
    pub(super) fn records_of(&self, store: NameId) -> Records {
        let name = self.names.text(store);
        self.config
            .stores
            .iter()
            .find(|of| of.name == *name)
            .map_or(Records::PerFile(1.0), |store| store.records)
    }

    pub(super) fn records_in(&self, store: NameId, bytes: u64) -> f64 {
        bytes as f64 / self.bytes_each(store)
    }

    pub(super) fn records_for(&self, store: NameId, bytes: u64, files: u64) -> f64 {
        match self.records_of(store) {
            Records::PerFile(each) => files as f64 * each,
            Records::BytesEach(each) => bytes as f64 / each,
        }
    }

    /// Bytes a record, as far as is known: from the configuration, else from the store's size, else 120 kB a file
    /// (the mean of the 2022 leak: 720 GB of 6 million patients).
    pub(super) fn bytes_each(&self, store: NameId) -> f64 {
        const FILE: f64 = 120_000.0;
        match self.records_of(store) {
            Records::BytesEach(each) => each,
            Records::PerFile(each) => {
                let size = self
                    .store_sizes
                    .iter()
                    .find(|(of, bytes, files)| *of == store && *files > 0 && *bytes > 0);
                size.map_or(FILE, |(_, bytes, files)| *bytes as f64 / *files as f64)
                    / each.max(f64::MIN_POSITIVE)
            }
        }
    }

    pub(super) fn served_by(&mut self, unit: &str) -> Vec<(NameId, f64)> {
        self.stores_of(|server| server.is_unit(unit))
    }

    /// The stores that a process serves which sends from this port, with bytes a record.
    pub(super) fn serves(&mut self, actor: Option<Actor>, port: u16) -> Vec<(NameId, f64)> {
        let Some(member) = actor.and_then(|actor| self.lineage.member(actor)) else {
            return Vec::new();
        };
        if self.config.serves.is_empty() {
            return Vec::new();
        }
        let unit = (member.unit != NOBODY).then(|| self.names.text(member.unit).clone());
        let exe = self.names.text(member.exe).clone();
        self.stores_of(|server| match server {
            Server::Unit(glob) => unit.as_ref().is_some_and(|unit| glob.is_match(&**unit)),
            Server::Kernel(server) => server.is(&exe, port),
        })
    }

    fn stores_of(&mut self, is_server: impl Fn(&Server) -> bool) -> Vec<(NameId, f64)> {
        let serves = self.config.serves.iter();
        let stores: Vec<Name> = serves
            .filter(|serves| is_server(&serves.by))
            .map(|serves| serves.store.clone())
            .collect();
        let stores: Vec<NameId> = stores
            .iter()
            .map(|store| self.names.intern(store))
            .collect();
        stores
            .into_iter()
            .map(|store| (store, self.bytes_each(store)))
            .collect()
    }

    pub(super) fn today(&self) -> Option<jiff::civil::Date> {
        self.wall_clock().map(Wall::today)
    }

    pub(super) fn wall_clock(&self) -> Option<Wall> {
        let wall = self.wall_offset?.saturating_add(self.now.0);
        Some(Wall {
            time: jiff::Timestamp::from_nanosecond(i128::from(wall)).ok()?,
            is_doubted: self.clock_set.is_some_and(|set| self.now.since(set) < DAY),
        })
    }

    pub(super) fn domain(&mut self, name: Option<&Name>, address: IpAddr) -> NameId {
        if !self.by_domain {
            return NOBODY;
        }
        let text = match name {
            Some(name) => psl::domain_str(name).unwrap_or(name).to_owned(),
            None => crate::config::canonical(address).to_string(),
        };
        self.names.intern(&text.into())
    }
}
