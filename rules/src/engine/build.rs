//! Building the engine from a configuration and rules, at start and at a reload.

use super::{
    Config, Contracts, Counter, Deadlines, Due, Engine, Holdings, Key, Lineage, Names, Output,
    Problems, RemoteNames, Scopes, Setup, Stamp, Subject, Tally, Totals, Watch,
};
use crate::alert::Phase;
use crate::event::Name;
use crate::measure::Definition;
use crate::output::AlertState;
use crate::rule::{Amount, KeyField, Limit, Measure, Rule};
use crate::select::Select;

impl Engine {
    /// An engine for this configuration and these rules. `seed` seeds its hash maps and alert ids.
    ///
    /// # Errors
    /// Every problem of the configuration and of the rules.
    pub fn new(seed: u64, setup: &Setup) -> Result<Self, Problems> {
        let (config, rules) = crate::compile(setup)?;
        Ok(Self::with(seed, config, rules))
    }

    /// An engine for a configuration and rules that are known to be right.
    #[must_use]
    pub fn with(seed: u64, config: Config, rules: Vec<Rule>) -> Self {
        let mut names = Names::new(seed);
        let host = names.intern(&config.instance);
        let unknown = names.intern(&Name::from("unknown"));
        let mut engine = Self {
            seed,
            config,
            now: Stamp(i64::MIN),
            wall_offset: None,
            clock_base: None,
            clock_set: None,
            names,
            lineage: Lineage::new(seed),
            holdings: Holdings::new(seed),
            scopes: Scopes::new(seed),
            contracts: Contracts::default(),
            media: std::collections::BTreeMap::new(),
            dialogs: crate::dialogs::Dialogs::new(seed),
            firsts: crate::firsts::Firsts::new(seed),
            domains: 0,
            titles: 0,
            remote_names: RemoteNames::new(seed),
            store_sizes: Vec::new(),
            estimated: std::collections::BTreeSet::new(),
            watches: Vec::new(),
            tallies: Vec::new(),
            by_subject: std::array::from_fn(|_| Vec::new()),
            by_domain: false,
            backstop: crate::backstop::Backstop::default(),
            deadlines: Deadlines::default(),
            totals: Totals::default(),
            pending_rows: Vec::new(),
            alerts_changed: std::collections::BTreeSet::new(),
            returning_takers: Vec::new(),
            hosts: crate::map::map(seed),
            host,
            unknown,
        };
        engine.install(rules);
        engine
    }

    /// New configuration and rules. What is counted per key is kept where measure, selection, grouping and window are
    /// the same; alerts are kept by rule name; a firing alert of a rule that is gone is resolved.
    pub(super) fn rebuild(&mut self, config: Config, rules: Vec<Rule>, output: &mut Output) {
        self.resolve_dropped(&rules, output);
        // Rules and tallies are numbered anew below: what changed under the old numbers is written down first.
        self.pending_rows = self.collect_rows();
        self.deadlines
            .forget(|due| matches!(due, Due::Cell(..) | Due::Alert(..)));
        let old_tallies = std::mem::take(&mut self.tallies);
        let old_watches = std::mem::take(&mut self.watches);
        self.config = config;
        self.drop_contracts();
        self.host = self.names.intern(&self.config.instance);
        self.install(rules);
        for old in old_tallies {
            self.drop_windows(&old);
            if let Some(tally) = self
                .tallies
                .iter_mut()
                .find(|tally| tally.signature == old.signature)
            {
                tally.inherit(old, &mut self.deadlines);
            }
        }
        for old in old_watches {
            self.inherit_alerts(old);
        }
    }

    fn install(&mut self, rules: Vec<Rule>) {
        self.totals.contracts(&self.config);
        // First in the table of names, which an attacker can fill: a store must never become `other`.
        for store in &self.config.stores {
            self.names.intern(&store.name);
        }
        self.by_subject = std::array::from_fn(|_| Vec::new());
        let has_stores = !self.config.stores.is_empty();
        for (number, mut rule) in (0u32..).zip(rules) {
            rule.quiet = self.config.agent.periods.quiet.unwrap_or(rule.quiet);
            // A rule for hosts with stores is kept on others, and counts nothing.
            let counts = has_stores || !rule.select.on_store_host;
            let mut watch = Watch::new(self.seed, rule);
            for index in 0..watch.rule.limits.len() {
                let counter = self.counter_for(&watch.rule, index);
                let limit = u32::try_from(index).unwrap_or(u32::MAX);
                if counts {
                    let tally = &mut self.tallies[counter.tally as usize];
                    let length = &mut tally.lengths[counter.length as usize];
                    length.limits.push((number, limit));
                    length.smallest = length.smallest.min(units(&watch.rule.limits[index]));
                }
                watch.counters.push(counter);
            }
            self.watches.push(watch);
        }
        let of_sends = |tally: &Tally| {
            !matches!(tally.definition.subject, Subject::Lookup)
                && tally.by.contains(&KeyField::Domain)
        };
        self.by_domain = self.tallies.iter().any(of_sends);
        for tally in &self.tallies {
            let subject = subject(tally.definition, tally.by_store);
            if tally.lengths.iter().any(|length| !length.limits.is_empty()) {
                self.by_subject[subject as usize].push(tally.number);
            }
        }
    }

    /// Where a rule's limit is counted: shared by all limits that count the same.
    fn counter_for(&mut self, rule: &Rule, index: usize) -> Counter {
        let limit = &rule.limits[index];
        let signature = Tally::signature(rule, limit);
        let known = self
            .tallies
            .iter()
            .position(|tally| tally.signature == signature);
        let number = known.unwrap_or(self.tallies.len());
        let tally = u32::try_from(number).unwrap_or(u32::MAX);
        if known.is_none() {
            let select = Select::new(&rule.select, &mut self.names);
            self.tallies
                .push(Tally::new(self.seed, tally, rule, limit, select));
        }
        let length = self.tallies[number].length_for(limit);
        Counter { tally, length }
    }

    fn resolve_dropped(&mut self, rules: &[Rule], output: &mut Output) {
        for number in 0..self.watches.len() {
            let watch = &self.watches[number];
            let kept = rules
                .iter()
                .any(|rule| rule.name == watch.rule.name && rule.by == watch.rule.by);
            if kept {
                continue;
            }
            let firing = watch
                .alerts()
                .filter(|(_, alert)| matches!(alert.phase, Phase::Firing(_)));
            let keys: Vec<Key> = firing.map(|(_, alert)| alert.key).collect();
            for key in keys {
                let rule = u32::try_from(number).unwrap_or(u32::MAX);
                if let Some(slot) = self.watches[number].find(&key)
                    && let Some(alert) = self.watches[number].alert_mut(slot)
                {
                    alert.phase = Phase::Idle;
                }
                self.tell(rule, key, AlertState::Resolved, output);
            }
        }
    }

    fn inherit_alerts(&mut self, old: Watch) {
        let same = |watch: &Watch| watch.rule.name == old.rule.name && watch.rule.by == old.rule.by;
        let Some(number) = self.watches.iter().position(same) else {
            return;
        };
        let limits = self.watches[number].rule.limits.len();
        self.watches[number].fired = old.fired;
        let rule = u32::try_from(number).unwrap_or(u32::MAX);
        for (_, alert) in old.alerts() {
            let totals = self.totals_of(rule, &alert.key);
            let watch = &mut self.watches[number];
            let Some(slot) = watch.open(alert.key, alert.since) else {
                continue;
            };
            if let Some(new) = watch.alert_mut(slot) {
                new.adopt(alert, limits, totals);
            }
            self.remind_of(rule, slot);
        }
    }
}

/// What a measure is counted on: on each store's exposure where the rule tells stores apart.
fn subject(definition: &Definition, by_store: bool) -> Subject {
    match definition.measure {
        Measure::ServedBytes if by_store => Subject::Expose,
        _ => definition.subject,
    }
}

fn units(limit: &Limit) -> u64 {
    match limit.amount {
        Amount::Units(units) => units,
        Amount::Rate { burst, .. } => burst,
        // Not known before the store's size is: remember from the first byte on.
        Amount::Share(_) => 1,
    }
}
