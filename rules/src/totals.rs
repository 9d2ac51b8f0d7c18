//! What was counted since the start, for `/metrics`.

use std::collections::BTreeMap;

use crate::alert::{Phase, Watch};
use crate::config::{AtMost, Config, Contract};
use crate::event::{Name, Stamp};
use crate::names::{NameId, Names};
use crate::output::{ContractTotals, RuleTotals, Snapshot, StoreTotals};
use crate::rule::{Amount, KeyField, Scope, Severity};
use crate::tally::{Cell, Counter, Tally};

/// Every scope, in the order of the page.
pub const SCOPES: [Scope; 4] = [
    Scope::Contract,
    Scope::Internal,
    Scope::Relay,
    Scope::External,
];

/// Totals by configured name.
#[derive(Debug, Default)]
pub struct Totals {
    read: BTreeMap<NameId, (u64, u64)>,
    exposed: BTreeMap<(NameId, Scope), (u64, u64)>,
    sent: [u64; SCOPES.len()],
    contracts: BTreeMap<Name, u64>,
    interfaces: BTreeMap<NameId, (u64, u64)>,
    lost: BTreeMap<NameId, (u64, u64)>,
    contract_names: Vec<Name>,
}

impl Totals {
    /// The contracts of the configuration, whose totals are kept by name across reloads.
    pub fn contracts(&mut self, config: &Config) {
        self.contract_names = config
            .contracts
            .iter()
            .map(|contract| contract.name.clone())
            .collect();
    }

    /// A store was read.
    pub fn read(&mut self, store: NameId, bytes: u64, files: u64) {
        let total = self.read.entry(store).or_default();
        total.0 = total.0.saturating_add(bytes);
        total.1 = total.1.saturating_add(files);
    }

    /// A store's data was exposed.
    pub fn exposed(&mut self, store: NameId, scope: Scope, bytes: u64, records: u64) {
        let total = self.exposed.entry((store, scope)).or_default();
        total.0 = total.0.saturating_add(bytes);
        total.1 = total.1.saturating_add(records);
    }

    /// Bytes left.
    pub fn sent(&mut self, scope: Scope, bytes: u64, contract: Option<usize>) {
        self.sent[scope as usize] = self.sent[scope as usize].saturating_add(bytes);
        if let Some(name) = contract.and_then(|index| self.contract_names.get(index)) {
            let total = self.contracts.entry(name.clone()).or_default();
            *total = total.saturating_add(bytes);
        }
    }

    /// Bytes left by an interface, by its own counter.
    pub fn wire(&mut self, interface: NameId, bytes: u64) {
        let total = &mut self.interfaces.entry(interface).or_default().0;
        *total = total.saturating_add(bytes);
    }

    /// Bytes with a known sender left by an interface.
    pub fn attributed(&mut self, interface: NameId, bytes: u64) {
        let total = &mut self.interfaces.entry(interface).or_default().1;
        *total = total.saturating_add(bytes);
    }

    /// A sensor lost something.
    pub fn lost(&mut self, sensor: NameId, events: u64, bytes: u64) {
        let total = self.lost.entry(sensor).or_default();
        total.0 = total.0.saturating_add(events);
        total.1 = total.1.saturating_add(bytes);
    }

    /// All of it, without the sizes of tables. `tightest`: of a contract's amounts the one of which the least is left, and what.
    #[must_use]
    pub fn snapshot(
        &self,
        config: &Config,
        names: &Names,
        watches: &[Watch],
        tallies: &[Tally],
        now: Stamp,
        tightest: impl Fn(&Contract) -> Option<(AtMost, u64)>,
    ) -> Snapshot {
        let triple = |map: &BTreeMap<NameId, (u64, u64)>| {
            map.iter()
                .map(|(name, (a, b))| (names.text(*name).clone(), *a, *b))
                .collect()
        };
        Snapshot {
            stores: config
                .stores
                .iter()
                .map(|store| self.store(&store.name, names))
                .collect(),
            sent_bytes: SCOPES
                .iter()
                .map(|scope| (*scope, self.sent[*scope as usize]))
                .collect(),
            interfaces: triple(&self.interfaces),
            contracts: config
                .contracts
                .iter()
                .map(|contract| self.contract(contract, tightest(contract)))
                .collect(),
            rules: watches
                .iter()
                .map(|watch| rule(watch, tallies, now))
                .collect(),
            firing: firing(config, names, watches),
            lost: triple(&self.lost),
            tables: Vec::new(),
        }
    }

    fn store(&self, store: &Name, names: &Names) -> StoreTotals {
        let id = names.find(store);
        let (read_bytes, read_files) = id
            .and_then(|id| self.read.get(&id))
            .copied()
            .unwrap_or_default();
        let exposed = |scope: &Scope| {
            let (bytes, records) = id
                .and_then(|id| self.exposed.get(&(id, *scope)))
                .copied()
                .unwrap_or_default();
            (*scope, bytes, records)
        };
        StoreTotals {
            store: store.clone(),
            read_bytes,
            read_files,
            exposed: SCOPES.iter().map(exposed).collect(),
        }
    }

    fn contract(&self, contract: &Contract, tightest: Option<(AtMost, u64)>) -> ContractTotals {
        let end_of_day = |until: jiff::civil::Date| {
            let next = until.tomorrow().ok()?;
            Some(
                next.to_zoned(jiff::tz::TimeZone::UTC)
                    .ok()?
                    .timestamp()
                    .as_second(),
            )
        };
        ContractTotals {
            contract: contract.name.clone(),
            sent_bytes: self.contracts.get(&contract.name).copied().unwrap_or(0),
            limit_bytes: tightest.map(|(at_most, _)| at_most.bytes),
            left_bytes: tightest.map(|(_, left)| left),
            expiry: contract.until.and_then(end_of_day),
        }
    }
}

fn rule(watch: &Watch, tallies: &[Tally], now: Stamp) -> RuleTotals {
    let mut ratio: f64 = 0.0;
    let (mut keys, mut keys_merged) = (0, 0);
    for (index, (limit, counter)) in watch.rule.limits.iter().zip(&watch.counters).enumerate() {
        let tally = &tallies[counter.tally as usize];
        keys = keys.max(tally.keys() as u64);
        keys_merged += tally.merged;
        if let Amount::Units(amount) = limit.amount {
            ratio = ratio.max(fullest(watch, tally, *counter, index, now) as f64 / amount as f64);
        }
    }
    RuleTotals {
        rule: watch.rule.name.clone(),
        severity: watch.rule.severity,
        alerts: watch.fired,
        cases_open: watch.alerts().filter(|(_, alert)| alert.case_open).count() as u64,
        budget_used_ratio: ratio,
        keys,
        keys_merged,
    }
}

/// The largest amount that was not told, of any key.
fn fullest(watch: &Watch, tally: &Tally, counter: Counter, limit: usize, now: Stamp) -> u64 {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let length = counter.length as usize;
    let window = tally.lengths[length].window;
    let untold = |(_, cell): (u32, &Cell)| {
        let count = &cell.counts[length];
        let sum = count.window.sum_at(window, now);
        let alert = watch.find(&cell.key).and_then(|slot| watch.alert(slot));
        alert.map_or(sum, |alert| alert.untold(limit, sum, count.total))
    };
    tally.cells().map(untold).max().unwrap_or(0)
}

/// Per rule, and per store where a rule groups by it: complete, so that every series is there at 0.
fn firing(config: &Config, names: &Names, watches: &[Watch]) -> Vec<(Name, Severity, Name, u64)> {
    let mut rows = Vec::new();
    for watch in watches {
        let rule = &watch.rule;
        let by_store = rule.by.contains(&KeyField::Store);
        let mut counts: BTreeMap<Name, u64> = BTreeMap::new();
        if by_store {
            counts.extend(config.stores.iter().map(|store| (store.name.clone(), 0)));
        } else {
            counts.insert(Name::from(""), 0);
        }
        for (_, alert) in watch
            .alerts()
            .filter(|(_, alert)| matches!(alert.phase, Phase::Firing(_)))
        {
            let store = alert
                .key
                .name(&rule.by, KeyField::Store)
                .map_or(Name::from(""), |id| names.text(id).clone());
            *counts.entry(store).or_default() += 1;
        }
        rows.extend(
            counts
                .into_iter()
                .map(|(store, count)| (rule.name.clone(), rule.severity, store, count)),
        );
    }
    rows
}
