//! Who sent how much where to: the few lines that an alert shows beside its number.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::contracts::Refusal;
use crate::event::{Name, Stamp};
use crate::names::{NOBODY, NameId, Names};
use crate::observation::Observation;
use crate::output::Evidence;
use crate::rule::Scope;

/// Sessions and destinations shown at the most: those of the most bytes, as "Space-Saving" finds them (Metwally, 2005).
const SHOWN: usize = 8;

/// What led to an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trail {
    #[serde(skip)]
    actors: Vec<Share<(NameId, NameId, NameId), ()>>,
    #[serde(skip)]
    sessions: Vec<String>,
    destinations: Vec<Share<SocketAddr, Option<Name>>>,
    #[serde(default)]
    places: Vec<Share<Name, ()>>,
    scope: Option<Scope>,
    #[serde(default)]
    beside: Option<(Name, Refusal)>,
    bytes: u64,
    files: u64,
    records: u64,
    first: Stamp,
    last: Stamp,
    why: Option<Name>,
    #[serde(default)]
    estimated: bool,
}

/// How much of the bytes somebody has sent, or some place has got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Share<K, V> {
    key: K,
    value: V,
    bytes: u64,
}

/// Books bytes to a key. Where there is no room, the smallest makes it, and hands over its bytes: what is large is found
/// however late it comes.
fn book<K: PartialEq, V: Default>(shares: &mut Vec<Share<K, V>>, key: K, bytes: u64) -> &mut V {
    let known = shares.iter().position(|share| share.key == key);
    let index = known.unwrap_or_else(|| {
        let value = V::default();
        let smallest = (0..shares.len()).min_by_key(|index| shares[*index].bytes);
        match smallest.filter(|_| shares.len() >= SHOWN) {
            Some(index) => {
                (shares[index].key, shares[index].value) = (key, value);
                index
            }
            None => {
                let bytes = 0;
                shares.push(Share { key, value, bytes });
                shares.len() - 1
            }
        }
    });
    shares[index].bytes = shares[index].bytes.saturating_add(bytes);
    &mut shares[index].value
}

/// Those of the most bytes first; of equal ones, who came first.
fn largest_first<K, V>(shares: &[Share<K, V>]) -> Vec<&Share<K, V>> {
    let mut sorted: Vec<_> = shares.iter().collect();
    sorted.sort_by_key(|share| std::cmp::Reverse(share.bytes));
    sorted
}

impl Trail {
    /// Begins with what was seen now, and what the session had exposed until now. `first`: when its window began;
    /// `before`: bytes that the window held before.
    #[must_use]
    pub fn start(seen: &Observation, at: Stamp, first: Stamp, before: u64) -> Self {
        let mut trail = Self {
            actors: Vec::new(),
            sessions: Vec::new(),
            destinations: Vec::new(),
            places: Vec::new(),
            scope: seen.scope,
            beside: None,
            bytes: seen
                .exposed_bytes_so_far
                .saturating_sub(seen.amounts.exposed_bytes)
                .max(before),
            files: 0,
            records: seen
                .exposed_records_so_far
                .saturating_sub(seen.amounts.exposed_records),
            first,
            last: at,
            why: None,
            estimated: false,
        };
        trail.follow(seen, at);
        trail
    }

    /// Adds what was seen.
    pub fn follow(&mut self, seen: &Observation, at: Stamp) {
        let amounts = &seen.amounts;
        let bytes = amounts
            .exposed_bytes
            .max(amounts.sent_bytes)
            .max(amounts.read_bytes)
            .max(amounts.unattributed_bytes)
            .max(amounts.rewritten_bytes)
            .max(amounts.dns_name_bytes)
            .max(amounts.icmp_bytes)
            .max(amounts.media_bytes);
        if seen.session != NOBODY {
            let actor = (seen.session, seen.exe, seen.user);
            book(&mut self.actors, actor, bytes);
        }
        if let Some(remote) = seen.remote {
            let name = book(&mut self.destinations, remote, bytes);
            *name = name.take().or_else(|| seen.remote_name.clone());
        }
        if let Some(place) = &seen.place {
            book(&mut self.places, place.clone(), bytes);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.records = self.records.saturating_add(amounts.exposed_records);
        self.files = self.files.max(seen.held.files.round() as u64);
        self.scope = seen.scope.or(self.scope);
        if let Some(beside) = seen.beside.as_ref().filter(|_| self.beside.is_none()) {
            self.beside = Some(beside.clone());
        }
        self.why = seen.why.clone().or_else(|| self.why.take());
        self.estimated |= seen.estimated;
        self.last = at;
    }

    /// The trail as it is told.
    #[must_use]
    pub fn evidence(&self, names: &Names) -> Evidence {
        let mut sessions = self.sessions.clone();
        for actor in largest_first(&self.actors) {
            let (session, exe, user) = actor.key;
            let [session, exe, user] = [session, exe, user].map(|id| names.text(id));
            let shown = show_actor(session, exe, user);
            if sessions.len() < SHOWN && !sessions.contains(&shown) {
                sessions.push(shown);
            }
        }
        Evidence {
            sessions,
            destinations: largest_first(&self.destinations)
                .into_iter()
                .map(|share| show_destination(share.key, share.value.as_ref()))
                .chain(
                    largest_first(&self.places)
                        .into_iter()
                        .map(|share| share.key.to_string()),
                )
                .collect(),
            scope: self.scope,
            contract: self
                .beside
                .as_ref()
                .map(|(name, why)| format!("{name} {}", why.why())),
            bytes: self.bytes,
            files: self.files,
            records: self.records,
            estimated: self.estimated,
            first: self.first,
            last: self.last,
        }
    }

    /// Why there is a gap.
    #[must_use]
    pub fn why(&self) -> Option<&Name> {
        self.why.as_ref()
    }

    /// A trail as an earlier run of the agent wrote it down.
    #[must_use]
    pub fn restore(mut self, sessions: Vec<String>, shift: i64) -> Self {
        self.sessions = sessions;
        (self.first, self.last) = (self.first.plus(shift), self.last.plus(shift));
        self
    }
}

/// `session (exe, user)`, as far as they are known.
pub(crate) fn show_actor(session: &Name, exe: &Name, user: &Name) -> String {
    match (exe.is_empty(), user.is_empty()) {
        (true, true) => session.to_string(),
        (false, true) => format!("{session} ({exe})"),
        _ => format!("{session} ({exe}, {user})"),
    }
}

/// Session, program and user of what [`show_actor`] shows; empty where it shows none.
#[must_use]
pub fn read_actor(shown: &str) -> [&str; 3] {
    let Some((session, rest)) = shown.split_once(" (") else {
        return [shown, "", ""];
    };
    let rest = rest.strip_suffix(')').unwrap_or(rest);
    // A user's name has no comma, a program's path may.
    let (exe, user) = rest.rsplit_once(", ").unwrap_or((rest, ""));
    [session, exe, user]
}

fn show_destination(address: SocketAddr, name: Option<&Name>) -> String {
    let shown = if address.port() == 0 {
        address.ip().to_string()
    } else {
        address.to_string()
    };
    match name {
        Some(name) => format!("{shown} ({name})"),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_read_back() {
        for [session, exe, user] in [
            ["unit:a.service", "/usr/bin/a, b (c)", "alice"],
            ["login:alice", "/usr/bin/curl", ""],
            ["unknown", "", ""],
        ] {
            let shown = show_actor(&session.into(), &exe.into(), &user.into());
            assert_eq!(read_actor(&shown), [session, exe, user]);
        }
    }

    #[test]
    fn what_is_large_is_found_however_late_it_comes() {
        let mut shares: Vec<Share<u32, ()>> = Vec::new();
        for key in 0..100 {
            book(&mut shares, key, 10);
        }
        book(&mut shares, 1000, 5_000);
        for key in 200..300 {
            book(&mut shares, key, 10);
        }
        assert_eq!(shares.len(), SHOWN);
        assert_eq!(largest_first(&shares)[0].key, 1000);
    }
}
