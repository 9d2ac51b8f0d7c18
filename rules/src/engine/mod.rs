//! The engine: takes stamped events, owns all state, returns transitions and changed rows.

use std::net::{IpAddr, SocketAddr};

use crate::alert::{Phase, Verdict, Watch};
use crate::config::{Config, Records};
use crate::deadline::{Deadlines, Due};
use crate::event::{
    Actor, Event, Fact, Gap, GapKind, Name, Opener, Pass, Place, Read, Restore, Row, Sender, Sent,
    Setup, Stamp, Stamped, Wrote,
};
use crate::hold::{HOLD_LIFE, Holdings};
use crate::key::Key;
use crate::lineage::{Lineage, Member, Moved, RunKey};
use crate::names::{NOBODY, NameId, Names};
use crate::observation::{Observation, SUBJECTS, Subject};
use crate::output::{AlertState, Output, Rows, Snapshot};
use crate::problem::Problems;
use crate::remote_names::RemoteNames;
use crate::rule::{Amount, Scope};
use crate::scope::Scopes;
use crate::tally::{Counted, Tally};
use crate::totals::Totals;

mod build;
mod rows;
mod tell;

#[cfg(test)]
mod tests;

/// All that decides.
#[derive(Debug)]
pub struct Engine {
    seed: u64,
    config: Config,
    now: Stamp,
    wall_offset: Option<i64>,
    names: Names,
    lineage: Lineage,
    holdings: Holdings,
    scopes: Scopes,
    remote_names: RemoteNames,
    store_sizes: Vec<(NameId, u64, u64)>,
    watches: Vec<Watch>,
    tallies: Vec<Tally>,
    by_subject: [Vec<u32>; SUBJECTS.len()],
    deadlines: Deadlines,
    totals: Totals,
    pending_rows: Vec<Row>,
    alerts_changed: Vec<(u32, Key)>,
    returning_takers: Vec<Actor>,
    host: NameId,
    unknown: NameId,
}

impl Engine {
    /// Takes one event. What became due before its stamp happens first.
    pub fn step(&mut self, event: &Stamped, output: &mut Output) {
        let at = event.at.max(self.now);
        self.run_deadlines(at, output);
        self.now = at;
        match &event.event {
            Event::Known(process) => {
                let moved = self.lineage.know(&mut self.names, process);
                self.moved(process.actor, moved);
                self.returned(process.actor);
            }
            Event::Fork(fork) => self.lineage.fork(&mut self.names, fork),
            Event::Exec(exec) => {
                let moved = self.lineage.exec(&mut self.names, exec);
                self.moved(exec.actor, moved);
            }
            Event::Exit { actor } => self.exit(*actor),
            Event::Read(read) => self.read(read, output),
            Event::Wrote(wrote) => self.wrote(wrote),
            Event::Pass(pass) => self.pass(pass),
            Event::Sent(sent) => self.sent(sent, output),
            Event::Fact(fact) => self.fact(fact),
            Event::Clock { wall_offset } => self.clock(*wall_offset, output),
            Event::Gap(gap) => self.gap(gap, output),
            Event::Restore(Restore { row, shift }) => self.restore(row, *shift, output),
            Event::Reload(setup) => self.reload(setup, output),
            Event::Wake => {}
        }
    }

    /// When to wake it next if nothing happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Stamp> {
        self.deadlines.next()
    }

    /// Rows that changed since the last call, in a fixed order.
    pub fn take_rows(&mut self) -> Rows {
        self.collect_rows()
    }

    /// Its totals.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.totals.snapshot(
            &self.config,
            &self.names,
            &self.watches,
            &self.tallies,
            self.now,
            self.tables(),
        )
    }

    /// The configuration that it decides by.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The rules that it decides by.
    pub fn rules(&self) -> impl Iterator<Item = &crate::rule::Rule> {
        self.watches.iter().map(|watch| &watch.rule)
    }

    fn run_deadlines(&mut self, until: Stamp, output: &mut Output) {
        while let Some((at, due)) = self.deadlines.take(until) {
            // A reminder from before a restart may be older than what has happened since.
            let at = at.max(self.now);
            self.now = at;
            match due {
                Due::Alert(rule, slot) => self.look_at_alert(rule, slot, at, output),
                Due::Cell(tally, slot) => {
                    if let Some(tally) = self.tallies.get_mut(tally as usize) {
                        tally.expire(slot, at, &mut self.deadlines);
                    }
                }
                Due::Run(slot) => {
                    if let Some(next) = self.holdings.expire_run(slot, at) {
                        self.deadlines.remind(next, Due::Run(slot));
                    }
                }
                Due::Label(slot) => {
                    if let Some(next) = self.holdings.expire_label(slot, at) {
                        self.deadlines.remind(next, Due::Label(slot));
                    }
                }
            }
        }
    }

    // --- processes ---

    /// A process that took data and now is in another session takes it along.
    fn moved(&mut self, actor: Actor, moved: Option<Moved>) {
        let Some(Moved { from, took: true }) = moved else {
            return;
        };
        let Some(member) = self.lineage.member(actor) else {
            return;
        };
        let (key, session) = (member.run.clone(), member.session);
        if let Some(slot) = self.holdings.find(&from) {
            self.holdings.pass(slot, &key, session, u64::MAX, self.now);
            self.holdings.remove_taker(&from, actor);
        }
        let slot = self.open_run(&key, session);
        self.holdings.add_taker(slot, actor);
    }

    /// A process that took data before the agent was restarted is still there.
    fn returned(&mut self, actor: Actor) {
        let Some(index) = self
            .returning_takers
            .iter()
            .position(|taker| *taker == actor)
        else {
            return;
        };
        self.returning_takers.swap_remove(index);
        if let Some(member) = self.lineage.member(actor) {
            let (key, session) = (member.run.clone(), member.session);
            let slot = self.open_run(&key, session);
            self.mark_taker(actor, slot);
        }
    }

    fn exit(&mut self, actor: Actor) {
        let Some(member) = self.lineage.exit(actor) else {
            return;
        };
        if member.took {
            self.holdings.remove_taker(&member.run, actor);
        }
    }

    fn mark_taker(&mut self, actor: Actor, slot: u32) {
        if let Some(member) = self.lineage.member_mut(actor)
            && !std::mem::replace(&mut member.took, true)
        {
            self.holdings.add_taker(slot, actor);
        }
    }

    fn open_run(&mut self, key: &RunKey, session: NameId) -> u32 {
        if let Some(slot) = self.holdings.find(key) {
            return slot;
        }
        let slot = self.holdings.open(key, session);
        self.deadlines
            .remind(self.now.plus(HOLD_LIFE), Due::Run(slot));
        slot
    }

    /// The run and the session of a process; whoever is not known is `unknown`.
    fn whose(&self, actor: Actor) -> (RunKey, NameId) {
        match self.lineage.member(actor) {
            Some(member) => (member.run.clone(), member.session),
            None => (RunKey::Unknown, self.unknown),
        }
    }

    // --- data on this host ---

    fn read(&mut self, read: &Read, output: &mut Output) {
        let (key, session) = self.whose(read.actor);
        let Some(store) = &read.store else {
            if let Some(slot) = self
                .holdings
                .read_file(&key, session, read.file, read.bytes, self.now)
            {
                self.deadlines
                    .remind(self.now.plus(HOLD_LIFE), Due::Run(slot));
                self.mark_taker(read.actor, slot);
            }
            return;
        };
        let store = self.names.intern(store);
        let records = self.records_of(store);
        let slot = self.open_run(&key, session);
        let count = |taken: crate::hold::Taken| match records {
            Records::PerFile(each) => each * taken.files as f64,
            Records::BytesEach(each) => taken.bytes as f64 / each,
        };
        let taken = self.holdings.read(slot, store, read, self.now, count);
        self.mark_taker(read.actor, slot);
        self.totals.read(store, read.bytes, taken.files);
        let mut seen = self.observe(Subject::Read, self.lineage.member(read.actor), session);
        seen.store = store;
        seen.amounts.read_bytes = read.bytes;
        seen.amounts.files_read = taken.files;
        seen.held = self.holdings.held_of(slot, store);
        self.count(&seen, output);
    }

    fn wrote(&mut self, wrote: &Wrote) {
        let (key, _) = self.whose(wrote.actor);
        let Some(slot) = self.holdings.find(&key) else {
            return;
        };
        if let Some((label, until)) = self.holdings.write(slot, wrote.file, wrote.bytes, self.now) {
            self.deadlines.remind(until, Due::Label(label));
        }
    }

    fn pass(&mut self, pass: &Pass) {
        match (&pass.from, &pass.to) {
            (Place::Actor(from), Place::Actor(to)) => {
                let (from, _) = self.whose(*from);
                let (key, session) = self.whose(*to);
                if from == key {
                    return;
                }
                let Some(slot) = self.holdings.find(&from) else {
                    return;
                };
                self.passed(*to, &key, |holdings, now| {
                    holdings.pass(slot, &key, session, pass.bytes, now)
                });
            }
            (Place::Actor(actor), Place::File(file)) => {
                self.wrote(&Wrote {
                    actor: *actor,
                    file: *file,
                    bytes: pass.bytes,
                    size: pass.bytes,
                });
            }
            (Place::File(file), Place::Actor(actor)) => {
                let (key, session) = self.whose(*actor);
                self.passed(*actor, &key, |holdings, now| {
                    holdings.read_file(&key, session, *file, pass.bytes, now)
                });
            }
            (Place::Store(store), Place::File(file)) => {
                let store = self.names.intern(store);
                let records = self.records_in(store, pass.bytes);
                if let Some((label, until)) = self
                    .holdings
                    .left_store(store, *file, pass.bytes, records, self.now)
                {
                    self.deadlines.remind(until, Due::Label(label));
                }
            }
            (Place::Unit(unit), Place::Actor(actor)) => {
                let (key, session) = self.whose(*actor);
                for (store, each) in self.served_by(unit) {
                    let records = pass.bytes as f64 / each;
                    self.passed(*actor, &key, |holdings, now| {
                        Some(holdings.served(&key, session, store, pass.bytes, records, now))
                    });
                }
            }
            // Nothing else moves data between sessions without a process or a file between.
            (Place::File(_) | Place::Unit(_), Place::File(_))
            | (_, Place::Store(_) | Place::Unit(_))
            | (Place::Store(_), Place::Actor(_)) => {}
        }
    }

    fn passed(
        &mut self,
        taker: Actor,
        key: &RunKey,
        carry: impl FnOnce(&mut Holdings, Stamp) -> Option<u32>,
    ) {
        let known = self.holdings.find(key).is_some();
        if let Some(slot) = carry(&mut self.holdings, self.now) {
            if !known {
                self.deadlines
                    .remind(self.now.plus(HOLD_LIFE), Due::Run(slot));
            }
            self.mark_taker(taker, slot);
        }
    }

    // --- what leaves ---

    fn sent(&mut self, sent: &Sent, output: &mut Output) {
        let actor = match sent.sender {
            Sender::Actor(actor) => Some(actor),
            Sender::Host(_) | Sender::Unknown => None,
        };
        let member = actor.and_then(|actor| self.lineage.member(actor));
        let today = self.today();
        let scoped = self.scopes.of(
            &self.config,
            &self.names,
            &sent.flow,
            member,
            today,
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
            seen.host = self.names.intern(&local.to_string().into());
        }
        let serves = self.serves(actor);
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

    fn sender(&mut self, sent: &Sent) -> (RunKey, NameId) {
        match sent.sender {
            Sender::Actor(actor) => self.whose(actor),
            Sender::Host(local) => {
                let name: Name = format!("host:{local}").into();
                let session = self.names.intern(&name);
                (RunKey::Host(name), session)
            }
            Sender::Unknown => (RunKey::Unknown, self.unknown),
        }
    }

    /// What a send exposes. Whoever is not known holds whatever any live session holds.
    fn expose(
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

    // --- facts ---

    fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Name { address, name } => self.remote_names.learn(*address, name, self.now),
            Fact::Relay { address, .. } => self.scopes.relay(*address, self.now),
            Fact::FileGone { file } => self.holdings.forget_file(*file),
            Fact::Wire { interface, bytes } => {
                let interface = self.names.intern(interface);
                self.totals.wire(interface, *bytes);
            }
            Fact::StoreSize {
                store,
                bytes,
                files,
            } => {
                let store = self.names.intern(store);
                self.store_sizes.retain(|(of, _, _)| *of != store);
                self.store_sizes.push((store, *bytes, *files));
            }
        }
    }

    fn clock(&mut self, wall_offset: i64, output: &mut Output) {
        const STEP: i64 = 60 * crate::event::SECOND;
        let before = self.wall_offset.replace(wall_offset);
        let step = before.map_or(0, |before| wall_offset.saturating_sub(before));
        if step.abs() > STEP {
            let why = format!(
                "the wall clock was set {} s; see who did, and check the time source",
                step / crate::event::SECOND
            );
            let gap = Gap {
                sensor: "clock".into(),
                kind: GapKind::ClockStep,
                events: 1,
                bytes: 0,
                why: why.into(),
            };
            self.gap(&gap, output);
        }
    }

    fn gap(&mut self, gap: &Gap, output: &mut Output) {
        let sensor = self.names.intern(&gap.sensor);
        self.totals.lost(sensor, gap.events, gap.bytes);
        let mut seen = self.observe(Subject::Gap, None, NOBODY);
        seen.sensor = sensor;
        seen.gap = Some(gap.kind);
        seen.amounts.gaps = 1;
        seen.why = Some(gap.why.clone());
        self.count(&seen, output);
    }

    // --- counting ---

    fn observe(&self, subject: Subject, member: Option<&Member>, session: NameId) -> Observation {
        let mut seen = Observation::new(subject);
        seen.session = session;
        seen.host = self.host;
        if let Some(member) = member {
            (seen.exe, seen.user) = (member.exe, member.user);
        }
        seen
    }

    fn count(&mut self, seen: &Observation, output: &mut Output) {
        for index in 0..self.by_subject[seen.subject as usize].len() {
            let tally = self.by_subject[seen.subject as usize][index] as usize;
            if !self.tallies[tally].select.matches(seen, &self.names) {
                continue;
            }
            if let Some(counted) = self.tallies[tally].count(seen, self.now, &mut self.deadlines) {
                self.judge(tally, counted, seen.store, output);
            }
        }
    }

    fn judge(&mut self, tally: usize, counted: Counted, store: NameId, output: &mut Output) {
        for index in 0..self.tallies[tally].limits.len() {
            let (rule, limit) = self.tallies[tally].limits[index];
            let Some(threshold) = self.threshold(rule, limit, store) else {
                continue;
            };
            match self.watches[rule as usize].judge(limit, counted, threshold, self.now) {
                Verdict::Nothing => self.keep_trail(rule, tally, counted),
                Verdict::Over { value, threshold } => {
                    self.crossed(rule, limit, counted.key, value, threshold, output)
                }
                Verdict::Raise => {
                    self.keep_trail(rule, tally, counted);
                    self.tell(rule, counted.key, AlertState::Firing, output);
                }
            }
        }
    }

    /// A limit in units; `None` for a share of a store whose size is not known yet.
    fn threshold(&self, rule: u32, limit: u32, store: NameId) -> Option<u64> {
        let limit = &self.watches[rule as usize].rule.limits[limit as usize];
        match limit.amount {
            Amount::Units(units) => Some(units),
            Amount::Rate { burst, .. } => Some(burst),
            Amount::Share(share) => {
                let (_, bytes, files) = self.store_sizes.iter().find(|(of, _, _)| *of == store)?;
                let all = match limit.measure.unit() {
                    "files" => *files as f64,
                    "records" => self.records_for(store, *bytes, *files),
                    _ => *bytes as f64,
                };
                Some((share * all).ceil().max(1.0) as u64)
            }
        }
    }

    fn crossed(
        &mut self,
        rule: u32,
        limit: u32,
        key: Key,
        value: u64,
        threshold: u64,
        output: &mut Output,
    ) {
        let hold = self.watches[rule as usize].rule.hold;
        let Some(slot) = self.watches[rule as usize].open(key, self.now) else {
            return;
        };
        let trail = self.trail_of(rule, limit, &key);
        let Some(alert) = self.watches[rule as usize].alert_mut(slot) else {
            return;
        };
        (alert.limit, alert.value, alert.threshold, alert.trail) = (limit, value, threshold, trail);
        if hold > 0 {
            alert.phase = Phase::Pending(self.now);
            self.deadlines
                .remind(self.now.plus(hold), Due::Alert(rule, slot));
            return self.tell(rule, key, AlertState::Pending, output);
        }
        self.fire(rule, slot, key, output);
    }

    fn fire(&mut self, rule: u32, slot: u32, key: Key, output: &mut Output) {
        let watch = &self.watches[rule as usize];
        let totals = watch
            .tallies
            .iter()
            .map(|tally| self.tallies[*tally as usize].total(&key))
            .collect();
        let quiet = watch.rule.quiet;
        let id = self.alert_id(rule, &key);
        let watch = &mut self.watches[rule as usize];
        watch.fired += 1;
        if let Some(alert) = watch.alert_mut(slot) {
            alert.fire(self.now, totals);
            alert.id = id;
        }
        self.deadlines
            .remind(self.now.plus(quiet), Due::Alert(rule, slot));
        self.tell(rule, key, AlertState::Firing, output);
    }

    fn look_at_alert(&mut self, rule: u32, slot: u32, at: Stamp, output: &mut Output) {
        let Some(watch) = self.watches.get(rule as usize) else {
            return;
        };
        let Some(alert) = watch.alert(slot) else {
            return;
        };
        let Some(deadline) = alert.deadline(watch.rule.hold, watch.rule.quiet) else {
            return;
        };
        if deadline > at {
            return self.deadlines.remind(deadline, Due::Alert(rule, slot));
        }
        let key = alert.key;
        match alert.phase {
            Phase::Pending(_) => self.end_of_hold(rule, slot, key, output),
            Phase::Firing(_) => {
                if let Some(alert) = self.watches[rule as usize].alert_mut(slot) {
                    alert.phase = Phase::Idle;
                }
                self.tell(rule, key, AlertState::Resolved, output);
            }
            Phase::Idle => {}
        }
    }

    /// It fires if it still is over; else nothing was told but that it was pending.
    fn end_of_hold(&mut self, rule: u32, slot: u32, key: Key, output: &mut Output) {
        let watch = &self.watches[rule as usize];
        let Some(alert) = watch.alert(slot) else {
            return;
        };
        let (limit, threshold, case_open) = (alert.limit, alert.threshold, alert.case_open);
        let tally = &self.tallies[watch.tallies[limit as usize] as usize];
        let value = alert.untold(limit, tally.sum(&key, self.now), tally.total(&key));
        if value >= threshold {
            let trail = self.trail_of(rule, limit, &key);
            if let Some(alert) = self.watches[rule as usize].alert_mut(slot) {
                (alert.value, alert.trail) = (value, trail);
            }
            return self.fire(rule, slot, key, output);
        }
        match self.watches[rule as usize].alert_mut(slot) {
            Some(alert) if case_open => alert.phase = Phase::Idle,
            _ => self.watches[rule as usize].close(slot),
        }
    }

    // --- what the configuration says ---

    fn records_of(&self, store: NameId) -> Records {
        let name = self.names.text(store);
        self.config
            .stores
            .iter()
            .find(|of| of.name == *name)
            .map_or(Records::PerFile(1.0), |store| store.records)
    }

    fn records_in(&self, store: NameId, bytes: u64) -> f64 {
        bytes as f64 / self.bytes_each(store)
    }

    fn records_for(&self, store: NameId, bytes: u64, files: u64) -> f64 {
        match self.records_of(store) {
            Records::PerFile(each) => files as f64 * each,
            Records::BytesEach(each) => bytes as f64 / each,
        }
    }

    /// Bytes a record, as far as is known: from the configuration, else from the store's size, else 120 kB a file
    /// (the mean of the 2022 leak: 720 GB of 6 million patients).
    fn bytes_each(&self, store: NameId) -> f64 {
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

    fn served_by(&mut self, unit: &str) -> Vec<(NameId, f64)> {
        let stores: Vec<Name> = self
            .config
            .serves
            .iter()
            .filter(|serves| serves.unit.is_match(unit))
            .map(|s| s.store.clone())
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

    fn serves(&mut self, actor: Option<Actor>) -> Vec<(NameId, f64)> {
        let Some(member) = actor.and_then(|actor| self.lineage.member(actor)) else {
            return Vec::new();
        };
        if self.config.serves.is_empty() || member.unit == NOBODY {
            return Vec::new();
        }
        let unit = self.names.text(member.unit).clone();
        self.served_by(&unit)
    }

    fn today(&self) -> Option<jiff::civil::Date> {
        let wall = self.wall_offset?.saturating_add(self.now.0);
        let timestamp = jiff::Timestamp::from_nanosecond(i128::from(wall)).ok()?;
        Some(timestamp.to_zoned(jiff::tz::TimeZone::UTC).date())
    }

    fn domain(&mut self, name: Option<&Name>, address: IpAddr) -> NameId {
        if !self.groups_by_domain() {
            return NOBODY;
        }
        let text = match name {
            Some(name) => psl::domain_str(name).unwrap_or(name).to_owned(),
            None => crate::config::canonical(address).to_string(),
        };
        self.names.intern(&text.into())
    }

    fn groups_by_domain(&self) -> bool {
        self.tallies
            .iter()
            .any(|tally| tally.by.contains(&crate::rule::KeyField::Domain))
    }

    fn tables(&self) -> Vec<(&'static str, u64, u64)> {
        let (runs, labels, seen) = self.holdings.sizes();
        vec![
            (
                "processes",
                self.lineage.size().0 as u64,
                crate::lineage::PROCESSES_LIMIT as u64,
            ),
            (
                "names",
                self.names.size().0 as u64,
                crate::names::NAMES_LIMIT as u64,
            ),
            ("sessions", runs as u64, crate::hold::RUNS_LIMIT as u64),
            ("labels", labels as u64, crate::hold::LABELS_LIMIT as u64),
            ("files", seen as u64, crate::hold::SEEN_LIMIT as u64),
        ]
    }

    fn reload(&mut self, setup: &Setup, output: &mut Output) {
        match crate::compile(setup) {
            Ok((config, rules)) => self.rebuild(config, rules, output),
            Err(problems) => {
                // The agent checks before it tells; a tape written by another version may still disagree.
                let why = format!(
                    "a reload was not understood and changed nothing: {}",
                    problems.0.len()
                );
                let gap = Gap {
                    sensor: "engine".into(),
                    kind: GapKind::Unreadable,
                    events: 1,
                    bytes: 0,
                    why: why.into(),
                };
                self.gap(&gap, output);
            }
        }
    }
}
