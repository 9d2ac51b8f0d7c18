//! Who sent how much where to: the few lines that an alert shows beside its number.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::event::{Name, Stamp};
use crate::names::{NOBODY, NameId, Names};
use crate::observation::Observation;
use crate::output::Evidence;
use crate::rule::Scope;

/// Sessions and destinations shown at the most: the first that were seen.
const SHOWN: usize = 8;

/// What led to an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trail {
    #[serde(skip)]
    actors: Vec<(NameId, NameId, NameId)>,
    #[serde(skip)]
    sessions: Vec<String>,
    destinations: Vec<(SocketAddr, Option<Name>)>,
    scope: Option<Scope>,
    bytes: u64,
    files: u64,
    records: u64,
    first: Stamp,
    last: Stamp,
    why: Option<Name>,
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
            scope: seen.scope,
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
        };
        trail.follow(seen, at);
        trail
    }

    /// Adds what was seen.
    pub fn follow(&mut self, seen: &Observation, at: Stamp) {
        let actor = (seen.session, seen.exe, seen.user);
        if seen.session != NOBODY && self.actors.len() < SHOWN && !self.actors.contains(&actor) {
            self.actors.push(actor);
        }
        if let Some(remote) = seen.remote {
            let room = self.destinations.len() < SHOWN;
            match self
                .destinations
                .iter_mut()
                .find(|(known, _)| *known == remote)
            {
                Some((_, name)) => *name = name.take().or_else(|| seen.remote_name.clone()),
                None if room => self.destinations.push((remote, seen.remote_name.clone())),
                None => {}
            }
        }
        let amounts = &seen.amounts;
        self.bytes = self.bytes.saturating_add(
            amounts
                .exposed_bytes
                .max(amounts.sent_bytes)
                .max(amounts.read_bytes),
        );
        self.records = self.records.saturating_add(amounts.exposed_records);
        self.files = self.files.max(seen.held.files.round() as u64);
        self.scope = seen.scope.or(self.scope);
        self.why = seen.why.clone().or_else(|| self.why.take());
        self.last = at;
    }

    /// The trail as it is told.
    #[must_use]
    pub fn evidence(&self, names: &Names) -> Evidence {
        let mut sessions = self.sessions.clone();
        for (session, exe, user) in &self.actors {
            let [session, exe, user] = [session, exe, user].map(|id| names.text(*id));
            let shown = match (exe.is_empty(), user.is_empty()) {
                (true, true) => session.to_string(),
                (false, true) => format!("{session} ({exe})"),
                _ => format!("{session} ({exe}, {user})"),
            };
            if sessions.len() < SHOWN && !sessions.contains(&shown) {
                sessions.push(shown);
            }
        }
        Evidence {
            sessions,
            destinations: self.destinations.iter().map(show_destination).collect(),
            scope: self.scope,
            bytes: self.bytes,
            files: self.files,
            records: self.records,
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

fn show_destination((address, name): &(SocketAddr, Option<Name>)) -> String {
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
