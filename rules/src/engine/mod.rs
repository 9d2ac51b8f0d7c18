//! The engine: takes stamped events, owns all state, returns transitions and changed rows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::alert::{Phase, Verdict, Watch};
use crate::backstop::Backstop;
use crate::config::{Config, Records};
use crate::contracts::Contracts;

use crate::deadline::{Deadlines, Due};
use crate::dialogs::Dialogs;
use crate::event::{
    Actor, Event, Fact, Fork, Gap, GapKind, Name, Opener, Pass, Place, Read, Restore, Row, Sender,
    Sent, Setup, Stamp, Stamped, Wrote,
};
use crate::firsts::Firsts;
use crate::hold::{HOLD_LIFE, Holdings};
use crate::key::Key;
use crate::lineage::{Lineage, Member, Moved, RunKey};
use crate::map::Map;
use crate::names::{NOBODY, NameId, Names};
use crate::observation::{Observation, SUBJECTS, Subject};
use crate::output::{AlertState, Output, Rows, Snapshot};
use crate::problem::Problems;
use crate::remote_names::RemoteNames;
use crate::rule::{Amount, Scope};
use crate::scope::{Scopes, Wall};
use crate::tally::{Counted, Counter, Length, Tally};
use crate::totals::Totals;
use crate::who::is_who;

mod balances;
mod build;
mod firsts;
mod judges;
mod knows;
mod learns;
mod leaves;
mod lives;
mod medical;
mod moves;
mod other_ways;
pub(crate) mod rows;
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
    /// Since when, a day ago at most, and from where steps of the wall clock are added up.
    clock_base: Option<(Stamp, i64)>,
    /// When the wall clock was last set by more than a minute.
    clock_set: Option<Stamp>,
    names: Names,
    lineage: Lineage,
    holdings: Holdings,
    scopes: Scopes,
    contracts: Contracts,
    /// File systems that can be taken away, by number.
    media: BTreeMap<u64, Name>,
    dialogs: Dialogs,
    firsts: Firsts,
    /// Names that are domains which were looked up.
    domains: usize,
    /// Names that are DICOM titles.
    titles: usize,
    remote_names: RemoteNames,
    store_sizes: Vec<(NameId, u64, u64)>,
    /// Stores of which reads were estimated.
    estimated: BTreeSet<NameId>,
    watches: Vec<Watch>,
    tallies: Vec<Tally>,
    by_subject: [Vec<u32>; SUBJECTS.len()],
    /// A rule groups by domain: each send looks its own up.
    by_domain: bool,
    backstop: Backstop,
    deadlines: Deadlines,
    totals: Totals,
    pending_rows: Vec<Row>,
    alerts_changed: BTreeSet<(u32, Key)>,
    returning_takers: Vec<Actor>,
    hosts: Map<IpAddr, (NameId, NameId)>,
    host: NameId,
    unknown: NameId,
}

impl Engine {
    /// Takes one event. What became due before its stamp happens first.
    pub fn step(&mut self, event: &Stamped, output: &mut Output) {
        let at = event.at.max(self.now);
        self.run_deadlines(at, output);
        self.now = at;
        self.firsts.begin(at);
        match &event.event {
            Event::Known(process) => {
                let moved = self.lineage.know(&mut self.names, process);
                self.moved(process.actor, moved);
                self.returned(process.actor);
            }
            Event::Fork(fork) => self.fork(fork),
            Event::Exec(exec) => {
                let moved = self.lineage.exec(&mut self.names, exec);
                self.moved(exec.actor, moved);
            }
            Event::Exit { actor } => self.exit(*actor),
            Event::Read(read) => self.read(read, output),
            Event::Wrote(wrote) => {
                self.wrote_to_medium(wrote, output);
                self.wrote(wrote);
            }
            Event::Pass(pass) => self.pass(pass),
            Event::Sent(sent) => {
                self.told(sent);
                self.sent(sent, output);
            }
            Event::Fact(fact) => self.fact(fact, output),
            Event::Clock { wall_offset } => self.clock(*wall_offset, output),
            Event::Gap(gap) => self.gap(gap, output),
            Event::Settle(settle) => self.settle(settle, output),
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

    /// Forgets which rows changed, for who keeps none: in a replay they would pile up.
    pub fn drop_rows(&mut self) {
        self.pending_rows.clear();
        self.alerts_changed.clear();
        for watch in &mut self.watches {
            watch.closed.clear();
        }
        self.holdings.changed.gone.clear();
        self.holdings.take_changed_runs();
        self.holdings.labels.changed.clear();
        self.firsts.take_changed();
        for tally in &mut self.tallies {
            tally.take_changed();
        }
    }

    /// Its totals.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let wall = self.wall_clock();
        let totals = self.totals.snapshot(
            &self.config,
            &self.names,
            &self.watches,
            &self.tallies,
            self.now,
            |contract| self.contracts.tightest(contract, wall),
        );
        Snapshot {
            tables: self.tables(),
            ..totals
        }
    }

    /// The configuration that it decides by.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Bytes that keys and their windows take, and how many there are; for the benchmark.
    #[must_use]
    pub fn window_memory(&self) -> (usize, usize) {
        let add = |(bytes, windows), tally: &Tally| {
            let more = tally.keys() * tally.lengths.len();
            (bytes + tally.memory(), windows + more)
        };
        self.tallies.iter().fold((0, 0), add)
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
                Due::Cell(tally, slot, length) => {
                    let tally = &mut self.tallies[tally as usize];
                    tally.expire(slot, length, at, &mut self.deadlines);
                }
                Due::Run(slot) => {
                    if let Some(next) = self.holdings.expire_run(slot, at) {
                        self.deadlines.remind(next, Due::Run(slot));
                    }
                }
                Due::Label(slot) => {
                    if let Some(next) = self.holdings.labels.expire(slot, at) {
                        self.deadlines.remind(next, Due::Label(slot));
                    }
                }
                Due::Firsts => {
                    if let Some(next) = self.firsts.expire(at) {
                        self.deadlines.remind(next, Due::Firsts);
                    }
                }
                Due::Round => self.end_of_round(output),
            }
        }
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
            (
                "firsts",
                self.firsts.len() as u64,
                crate::firsts::FIRSTS_LIMIT as u64,
            ),
            ("labels", labels as u64, crate::hold::LABELS_LIMIT as u64),
            ("files", seen as u64, crate::hold::SEEN_LIMIT as u64),
            (
                "remotes",
                self.backstop.len() as u64,
                crate::backstop::REMOTES_LIMIT as u64,
            ),
        ]
    }

    fn reload(&mut self, setup: &Setup, output: &mut Output) {
        match crate::compile(setup) {
            Ok((config, rules)) => self.rebuild(config, rules, output),
            Err(problems) => {
                // The agent checks before it tells; a tape written by another version may still disagree.
                let what = format!(
                    "a reload was not understood and changed nothing: {}",
                    problems.0.len()
                );
                self.gap(&unreadable(what), output);
            }
        }
    }
}

fn unreadable(what: String) -> Gap {
    Gap {
        sensor: "engine".into(),
        kind: GapKind::Unreadable,
        events: 1,
        bytes: 0,
        why: what.into(),
    }
}
