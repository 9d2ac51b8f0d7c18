//! From what was seen to an alert: counting, limits, and the life of each alert.

use super::*;
use crate::event::Settle;
use crate::output::Settled;

impl Engine {
    pub(super) fn observe(
        &self,
        subject: Subject,
        member: Option<&Member>,
        session: NameId,
    ) -> Observation {
        let mut seen = Observation::new(subject);
        seen.session = session;
        seen.host = self.host;
        if let Some(member) = member {
            (seen.exe, seen.user) = (member.exe, member.user);
            let mut readers = self.config.readers.iter();
            let is_asked = matches!(
                subject,
                Subject::Read
                    | Subject::Decoy
                    | Subject::Medium
                    | Subject::Memory
                    | Subject::Device
            );
            seen.reader = is_asked
                && !member.is_disguised
                && readers.any(|who| is_who(who, &self.names, member));
        }
        seen
    }

    /// Who it was, as alerts show it.
    pub(super) fn shown(&self, seen: &Observation) -> String {
        let [session, exe, user] =
            [seen.session, seen.exe, seen.user].map(|id| self.names.text(id));
        crate::trail::show_actor(session, exe, user)
    }

    pub(super) fn count(&mut self, seen: &Observation, output: &mut Output) {
        for index in 0..self.by_subject[seen.subject as usize].len() {
            let number = self.by_subject[seen.subject as usize][index];
            let tally = &mut self.tallies[number as usize];
            if !tally.select.matches(seen, &self.names) {
                continue;
            }
            let Some(addition) = tally.take(seen, self.now) else {
                self.follow_all(number, seen);
                continue;
            };
            for length in (0u32..).take(tally.lengths.len()) {
                let tally = &mut self.tallies[number as usize];
                let counted = tally.add(addition, length, seen, self.now, &mut self.deadlines);
                let counter = Counter {
                    tally: number,
                    length,
                };
                self.judge(counter, counted, seen, output);
            }
        }
    }

    pub(super) fn judge(
        &mut self,
        counter: Counter,
        counted: Counted,
        seen: &Observation,
        output: &mut Output,
    ) {
        for index in 0..self.length(counter).limits.len() {
            let (rule, limit) = self.length(counter).limits[index];
            let Some(threshold) = self.threshold(rule, limit, seen.store) else {
                continue;
            };
            match self.watches[rule as usize].judge(limit, counted, threshold, self.now) {
                Verdict::Nothing => self.follow(rule, counter, counted.key, seen),
                Verdict::Over { value, threshold } => {
                    self.crossed(rule, limit, counted.key, value, threshold, output)
                }
                Verdict::Raise => {
                    self.follow(rule, counter, counted.key, seen);
                    self.tell(rule, counted.key, AlertState::Firing, output);
                }
            }
        }
    }

    /// Bytes of which each record left before count nothing any more, and belong to the alert all the same.
    fn follow_all(&mut self, number: u32, seen: &Observation) {
        if seen.amounts.exposed_bytes == 0 {
            return;
        }
        let tally = &self.tallies[number as usize];
        let key = Key::of(&tally.by, seen);
        let lengths = (0u32..).zip(&tally.lengths);
        let rules: Vec<(Counter, u32)> = lengths
            .flat_map(|(length, of)| {
                let tally = number;
                let rules = of.limits.iter().map(|(rule, _)| *rule);
                rules.map(move |rule| (Counter { tally, length }, rule))
            })
            .collect();
        for (counter, rule) in rules {
            self.follow(rule, counter, key, seen);
        }
    }

    fn length(&self, counter: Counter) -> &Length {
        &self.tallies[counter.tally as usize].lengths[counter.length as usize]
    }

    /// What was ever counted for a key, for each limit of a rule.
    pub(super) fn totals_of(&self, rule: u32, key: &Key) -> Vec<u64> {
        let total =
            |counter: &Counter| self.tallies[counter.tally as usize].total(key, counter.length);
        self.watches[rule as usize]
            .counters
            .iter()
            .map(total)
            .collect()
    }

    /// A limit in units; `None` for a share of a store whose size is not known yet.
    pub(super) fn threshold(&self, rule: u32, limit: u32, store: NameId) -> Option<u64> {
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

    pub(super) fn crossed(
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

    pub(super) fn fire(&mut self, rule: u32, slot: u32, key: Key, output: &mut Output) {
        let totals = self.totals_of(rule, &key);
        let quiet = self.watches[rule as usize].rule.quiet;
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

    pub(super) fn look_at_alert(&mut self, rule: u32, slot: u32, at: Stamp, output: &mut Output) {
        let Some(watch) = self.watches.get(rule as usize) else {
            return;
        };
        let Some(alert) = watch.alert(slot) else {
            return;
        };
        let Some(deadline) = alert.deadline(&watch.rule) else {
            return;
        };
        if deadline > at {
            return self.deadlines.remind(deadline, Due::Alert(rule, slot));
        }
        let key = alert.key;
        match alert.phase {
            Phase::Pending(_) => self.end_of_hold(rule, slot, key, output),
            Phase::Firing(_) => {
                let watch = &mut self.watches[rule as usize];
                if let Some(alert) = watch.alert_mut(slot) {
                    alert.phase = Phase::Idle;
                }
                self.tell(rule, key, AlertState::Resolved, output);
                self.remind_of(rule, slot);
            }
            Phase::Idle => self.watches[rule as usize].close(slot),
        }
    }

    /// Looks at an alert again when it may have ended.
    pub(super) fn remind_of(&mut self, rule: u32, slot: u32) {
        let watch = &self.watches[rule as usize];
        let alert = watch.alert(slot);
        if let Some(deadline) = alert.and_then(|alert| alert.deadline(&watch.rule)) {
            self.deadlines.remind(deadline, Due::Alert(rule, slot));
        }
    }

    /// A person says what an alert was: its case is closed, and the next one needs the whole limit again. What was told stays
    /// told.
    pub(super) fn settle(&mut self, settle: &Settle, output: &mut Output) {
        let watches = (0u32..).zip(&self.watches);
        let mut named = watches.filter_map(|(rule, watch)| Some((rule, watch.named(&settle.id)?)));
        let Some((rule, slot)) = named.next() else {
            return;
        };
        let watch = &self.watches[rule as usize];
        let name = watch.rule.name.clone();
        let Some(alert) = watch.alert(slot).filter(|alert| alert.case_open) else {
            return;
        };
        let (key, was_firing) = (alert.key, matches!(alert.phase, Phase::Firing(_)));
        let totals = self.totals_of(rule, &key);
        if let Some(alert) = self.watches[rule as usize].alert_mut(slot) {
            (alert.case_open, alert.settled) = (false, Some(self.now));
            // What flows on is another case: it fires when it is a whole limit more.
            if was_firing {
                alert.told = totals;
            }
            alert.phase = Phase::Idle;
        }
        self.alerts_changed.insert((rule, key));
        if was_firing {
            self.tell(rule, key, AlertState::Resolved, output);
        }
        output.settled.push(Settled {
            rule: name,
            id: settle.id.clone(),
            verdict: settle.verdict,
        });
        self.remind_of(rule, slot);
    }

    /// It fires if it still is over; else nothing was told but that it was pending.
    pub(super) fn end_of_hold(&mut self, rule: u32, slot: u32, key: Key, output: &mut Output) {
        let watch = &self.watches[rule as usize];
        let Some(alert) = watch.alert(slot) else {
            return;
        };
        let (limit, threshold) = (alert.limit, alert.threshold);
        let keeps = alert.case_open || alert.settled.is_some();
        let Counter { tally, length } = watch.counters[limit as usize];
        let tally = &self.tallies[tally as usize];
        let sum = tally.sum(&key, length, self.now);
        let value = alert.untold(limit, sum, tally.total(&key, length));
        if value >= threshold {
            let trail = self.trail_of(rule, limit, &key);
            if let Some(alert) = self.watches[rule as usize].alert_mut(slot) {
                (alert.value, alert.trail) = (value, trail);
            }
            return self.fire(rule, slot, key, output);
        }
        match self.watches[rule as usize].alert_mut(slot) {
            Some(alert) if keeps => alert.phase = Phase::Idle,
            _ => self.watches[rule as usize].close(slot),
        }
    }
}
