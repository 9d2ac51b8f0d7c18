//! Putting what happened to an alert into words and figures.

use std::hash::{Hash, Hasher};

use super::{Counter, Engine, Key, Name, Observation, Phase};
use crate::output::{AlertState, Evidence, Output, Transition};
use crate::rule::{Amount, KeyField, Measure, Scope};
use crate::trail::Trail;
use crate::units::{Bytes, Span};

impl Engine {
    /// Tells the state of an alert.
    pub(super) fn tell(&mut self, rule: u32, key: Key, state: AlertState, output: &mut Output) {
        let watch = &self.watches[rule as usize];
        let Some(alert) = watch.find(&key).and_then(|slot| watch.alert(slot)) else {
            return;
        };
        let limit = &watch.rule.limits[alert.limit as usize];
        let evidence = alert
            .trail
            .as_ref()
            .map(|trail| trail.evidence(&self.names))
            .unwrap_or_default();
        let why = alert.trail.as_ref().and_then(|trail| trail.why());
        let texts = key.texts(&watch.rule.by, &self.names);
        let shown = Shown {
            measure: limit.measure,
            value: alert.value,
            limit: alert.threshold,
            window: limit.window,
        };
        let summary = match why {
            Some(why) => format!("{}: {why}", watch.rule.title),
            None => summary(
                &watch.rule.title,
                &texts,
                &shown,
                rate_of(limit.amount),
                &evidence,
            ),
        };
        output.transitions.push(Transition {
            at: self.now,
            wall: self.wall(),
            state,
            rule: watch.rule.name.clone(),
            severity: alert.severity,
            key: texts,
            value: alert.value,
            limit: alert.threshold,
            measure: limit.measure,
            window: limit.window,
            summary,
            id: alert.id.clone(),
            key_hash: self.shown_hash(rule, &key),
            size: alert.size,
            evidence,
        });
        self.alerts_changed.insert((rule, key));
    }

    /// Names an alert from firing to resolved: its key, and when it fired.
    pub(super) fn alert_id(&self, rule: u32, key: &Key) -> String {
        let mut hasher = self.hasher();
        (self.key_hash(rule, key), self.wall()).hash(&mut hasher);
        let hash = self.shown_hash(rule, key);
        format!("{hash}-{:06x}", hasher.finish() >> 40)
    }

    /// The part of a key's hash that is told.
    pub(super) fn shown_hash(&self, rule: u32, key: &Key) -> String {
        format!("{:08x}", self.key_hash(rule, key) >> 32)
    }

    /// Nanoseconds since 1970, as far as a `Clock` event has told.
    pub(super) fn wall(&self) -> i64 {
        self.now.0.saturating_add(self.wall_offset.unwrap_or(0))
    }

    /// A hash that names a key for as long as the state directory lives, and tells nothing to whoever lacks its seed.
    fn key_hash(&self, rule: u32, key: &Key) -> u64 {
        let watch = &self.watches[rule as usize];
        let mut hasher = self.hasher();
        watch.rule.name.hash(&mut hasher);
        for (field, text) in key.texts(&watch.rule.by, &self.names) {
            (field, text).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// SipHash: keyed, unlike the hash of the maps, because its results are told.
    pub(super) fn hasher(&self) -> impl Hasher + use<> {
        // With its fixed keys and our seed it is the same in every run.
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        self.seed.hash(&mut hasher);
        hasher
    }

    /// The trail of the window that crossed its limit; of any of the rule's, if that one keeps none.
    pub(super) fn trail_of(&self, rule: u32, limit: u32, key: &Key) -> Option<Box<Trail>> {
        let watch = &self.watches[rule as usize];
        let of = |counter: &Counter| {
            let tally = &self.tallies[counter.tally as usize];
            tally.count(key, counter.length)?.trail.clone()
        };
        of(&watch.counters[limit as usize]).or_else(|| watch.counters.iter().find_map(of))
    }

    /// A firing alert follows what its limit counts; its own trail, so that a restart does not begin it anew.
    pub(super) fn follow(&mut self, rule: u32, counter: Counter, key: Key, seen: &Observation) {
        let watch = &mut self.watches[rule as usize];
        let Some(slot) = watch.find(&key) else { return };
        let Some(limit) = watch.alert(slot).map(|alert| alert.limit as usize) else {
            return;
        };
        if watch.counters.get(limit) != Some(&counter) {
            return;
        }
        if let Some(alert) = watch
            .alert_mut(slot)
            .filter(|alert| matches!(alert.phase, Phase::Firing(_)))
            && let Some(trail) = &mut alert.trail
        {
            trail.follow(seen, self.now);
            self.alerts_changed.insert((rule, key));
        }
    }
}

struct Shown {
    measure: Measure,
    value: u64,
    limit: u64,
    window: i64,
}

fn rate_of(amount: Amount) -> Option<(u64, u64)> {
    match amount {
        Amount::Rate { per_second, burst } => Some((per_second, burst)),
        Amount::Units(_) | Amount::Share(_) => None,
    }
}

/// One sentence, complete in itself: what, who, where to, how much, about how many records, against which limit.
fn summary(
    title: &str,
    key: &[(KeyField, Name)],
    shown: &Shown,
    rate: Option<(u64, u64)>,
    evidence: &Evidence,
) -> String {
    let mut text = format!("{title}: {}", amount(shown.measure, shown.value));
    let stores = key.iter().filter(|(field, _)| *field == KeyField::Store);
    for (_, store) in stores {
        text.push_str(&format!(" of {store}"));
    }
    if evidence.records > 0 && shown.measure != Measure::ExposedRecords {
        text.push_str(&format!(", about {} records", evidence.records));
    }
    if shown.measure == Measure::ExposedRecords {
        text.push_str(&format!(" in {}", human(evidence.bytes)));
    }
    if let Some(session) = evidence.sessions.first() {
        text.push_str(&format!(", by {session}{}", more(evidence.sessions.len())));
    }
    if let Some(destination) = evidence.destinations.first() {
        let scope = evidence.scope.map_or("", scope_word);
        text.push_str(&format!(
            ", to {destination}{}{scope}",
            more(evidence.destinations.len())
        ));
    }
    if let Some(contract) = &evidence.contract {
        text.push_str(&format!("; contract {contract}"));
    }
    if evidence.estimated {
        text.push_str("; how much was read is estimated");
    }
    match rate {
        Some((per_second, burst)) => {
            text.push_str(&format!(
                "; limit {}/s with a burst of {}",
                Bytes(per_second),
                Bytes(burst)
            ));
        }
        None => text.push_str(&format!(
            "; limit {} in {}",
            amount(shown.measure, shown.limit),
            Span(shown.window)
        )),
    }
    text
}

fn amount(measure: Measure, value: u64) -> String {
    match measure.unit() {
        "bytes" => human(value),
        "records" => format!("about {value} records"),
        unit => format!("{value} {unit}"),
    }
}

/// A measured amount of bytes, for reading.
fn human(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().si().to_string()
}

fn more(shown: usize) -> String {
    if shown > 1 {
        format!(" and {} more", shown - 1)
    } else {
        String::new()
    }
}

const fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Contract => " (contract)",
        Scope::Internal => " (internal)",
        Scope::Relay => " (relay)",
        Scope::External => " (external)",
    }
}
