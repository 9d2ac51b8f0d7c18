//! State as rows: what changed goes out, what an earlier run wrote down comes back in.

use serde::{Deserialize, Serialize};

use super::{Actor, Due, Engine, Key, Length, Name, NameId, Row, RunKey, Stamp, Tally, unreadable};
use crate::alert::{Alert, Phase, Watch};
use crate::event::{FileId, RowKind};
use crate::firsts::Seen;
use crate::hold::{Contents, HOLD_LIFE, Kept, Label, RunNo};
use crate::output::{AlertState, Evidence, Output, Rows, Transition};
use crate::rule::{First, KeyField, Measure};
use crate::tally::Count;

#[derive(Serialize, Deserialize)]
struct ClockRow {
    wall_offset: i64,
    set: Option<Stamp>,
}

#[derive(Serialize, Deserialize)]
struct ContractRow {
    name: Name,
    /// Each `2026-11-23` with its bytes.
    days: Vec<(String, u64)>,
}

/// What was seen; without a name, since when it learns.
#[derive(Serialize, Deserialize)]
struct SeenRow {
    what: Option<(First, Name)>,
    seen: Seen,
}

#[derive(Serialize, Deserialize)]
struct RunRow {
    key: RunKey,
    session: Name,
    no: RunNo,
    takers: Vec<Actor>,
    held: Vec<(Name, Kept)>,
}

#[derive(Serialize, Deserialize)]
struct LabelRow {
    file: FileId,
    until: Stamp,
    held: Vec<(Name, Contents)>,
}

#[derive(Serialize, Deserialize)]
struct WindowRow {
    tally: String,
    window: i64,
    key: Vec<Name>,
    total: u64,
    parts: Vec<(Stamp, u64)>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct AlertRow {
    pub(crate) rule: Name,
    pub(crate) by: Vec<KeyField>,
    pub(crate) key: Vec<Name>,
    key_hash: String,
    pub(crate) measure: Measure,
    window: i64,
    pub(crate) alert: Alert,
    pub(crate) sessions: Vec<String>,
}

impl Engine {
    pub(super) fn collect_rows(&mut self) -> Rows {
        let mut rows = std::mem::take(&mut self.pending_rows);
        self.contract_rows(&mut rows);
        self.run_rows(&mut rows);
        self.label_rows(&mut rows);
        self.window_rows(&mut rows);
        self.alert_rows(&mut rows);
        self.seen_rows(&mut rows);
        rows
    }

    fn seen_rows(&mut self, rows: &mut Rows) {
        let (since, changed) = self.firsts.take_changed();
        let since = since.map(|since| {
            let seen = Seen {
                first: since,
                last: since,
            };
            (None, Some(seen))
        });
        let changed = changed.into_iter().map(|(what, seen)| (Some(what), seen));
        rows.extend(since.into_iter().chain(changed).map(|(what, seen)| Row {
            kind: RowKind::Seen,
            id: what.as_ref().map_or_else(
                || "since".to_owned(),
                |(first, name)| format!("{first} {name}"),
            ),
            body: seen.map(|seen| text(&SeenRow { what, seen })),
        }));
    }

    /// The clock's row: there is one.
    pub(super) fn clock_row(&self) -> Row {
        let row = self.wall_offset.map(|wall_offset| ClockRow {
            wall_offset,
            set: self.clock_set,
        });
        Row {
            kind: RowKind::Clock,
            id: "wall".to_owned(),
            body: row.map(|row| text(&row)),
        }
    }

    fn contract_rows(&mut self, rows: &mut Rows) {
        for (name, days) in self.contracts.take_changed() {
            let days = days.into_iter();
            let days = days.map(|(day, bytes)| (day.to_string(), bytes)).collect();
            let row = ContractRow { name, days };
            rows.push(Row {
                body: Some(text(&row)),
                ..no_contract(&row.name)
            });
        }
    }

    /// What was sent under contracts that are gone is forgotten.
    pub(super) fn drop_contracts(&mut self) {
        let gone = self.contracts.keep(&self.config.contracts);
        self.pending_rows.extend(gone.iter().map(no_contract));
    }

    fn run_rows(&mut self, rows: &mut Rows) {
        for key in std::mem::take(&mut self.holdings.changed.gone) {
            rows.push(Row {
                kind: RowKind::Held,
                id: text(&key),
                body: None,
            });
        }
        for slot in self.holdings.take_changed_runs() {
            let run = self.holdings.run(slot);
            let Some(key) = &run.key else { continue };
            let row = RunRow {
                key: key.clone(),
                session: self.names.text(run.session).clone(),
                no: run.no,
                takers: run.takers.clone(),
                held: run
                    .held
                    .iter()
                    .map(|held| (self.names.text(held.store).clone(), held.kept()))
                    .collect(),
            };
            rows.push(Row {
                kind: RowKind::Held,
                id: text(key),
                body: Some(text(&row)),
            });
        }
    }

    fn label_rows(&mut self, rows: &mut Rows) {
        let files = std::mem::take(&mut self.holdings.labels.changed);
        for file in files {
            let row = self.holdings.labels.get(file).map(|label| LabelRow {
                file,
                until: label.until,
                held: self.named(
                    label
                        .contents
                        .iter()
                        .map(|(store, contents)| (*store, contents)),
                ),
            });
            rows.push(Row {
                kind: RowKind::Label,
                id: text(&file),
                body: row.map(|row| text(&row)),
            });
        }
    }

    fn window_rows(&mut self, rows: &mut Rows) {
        for number in 0..self.tallies.len() {
            let (slots, gone) = self.tallies[number].take_changed();
            let tally = &self.tallies[number];
            let is_gone = |(key, length): &&(Key, u32)| {
                let count = tally.count(key, *length);
                count.is_none_or(|count| count.window.is_empty())
            };
            for (key, length) in gone.iter().filter(is_gone) {
                rows.push(self.no_window(tally, key, &tally.lengths[*length as usize]));
            }
            for cell in slots.iter().filter_map(|slot| tally.slot(*slot)) {
                for (length, count) in tally.lengths.iter().zip(&cell.counts) {
                    if length.keeps && !count.window.is_empty() {
                        rows.push(self.window_row(tally, &cell.key, length, count));
                    }
                }
            }
        }
    }

    fn window_row(&self, tally: &Tally, key: &Key, length: &Length, count: &Count) -> Row {
        let row = WindowRow {
            tally: tally.signature.clone(),
            window: length.window,
            key: self.key_texts(&tally.by, key),
            total: count.total,
            parts: count.window.parts(length.window).collect(),
        };
        Row {
            body: Some(text(&row)),
            ..self.no_window(tally, key, length)
        }
    }

    fn no_window(&self, tally: &Tally, key: &Key, length: &Length) -> Row {
        let key = self.key_texts(&tally.by, key);
        Row {
            kind: RowKind::Window,
            id: text(&(&tally.signature, length.window, key)),
            body: None,
        }
    }

    /// Rows of windows that no rule looks at any more would stay for ever.
    pub(super) fn drop_windows(&mut self, old: &Tally) {
        let new = self
            .tallies
            .iter()
            .find(|tally| tally.signature == old.signature);
        let still = |length: &Length| {
            new.is_some_and(|new| new.lengths.iter().any(|of| of.window == length.window))
        };
        let mut rows = Vec::new();
        for length in old.lengths.iter().filter(|length| length.keeps) {
            if !still(length) {
                rows.extend(
                    old.cells()
                        .map(|(_, cell)| self.no_window(old, &cell.key, length)),
                );
            }
        }
        self.pending_rows.extend(rows);
    }

    pub(super) fn alert_rows(&mut self, rows: &mut Rows) {
        let mut changed = std::mem::take(&mut self.alerts_changed);
        for (rule, watch) in (0u32..).zip(&mut self.watches) {
            changed.extend(watch.closed.drain(..).map(|key| (rule, key)));
        }
        for (rule, key) in changed {
            let watch = &self.watches[rule as usize];
            let texts = self.key_texts(&watch.rule.by, &key);
            let id = text(&(&watch.rule.name, &texts));
            let alert = watch.find(&key).and_then(|slot| watch.alert(slot));
            let row = alert.map(|alert| AlertRow {
                rule: watch.rule.name.clone(),
                by: watch.rule.by.clone(),
                key: texts,
                key_hash: self.shown_hash(rule, &key),
                measure: watch.rule.limits[alert.limit as usize].measure,
                window: watch.rule.limits[alert.limit as usize].window,
                alert: alert.clone(),
                sessions: alert
                    .trail
                    .as_ref()
                    .map(|trail| trail.evidence(&self.names).sessions)
                    .unwrap_or_default(),
            });
            rows.push(Row {
                kind: RowKind::Alert,
                id,
                body: row.map(|row| text(&row)),
            });
        }
    }

    /// Puts a row back. What cannot be read is a gap, never silence. A row that nothing came of is removed: nobody else
    /// will ever do it, and it would be told at each start.
    pub(super) fn restore(&mut self, row: &Row, shift: i64, output: &mut Output) {
        let Some(body) = &row.body else { return };
        let used = match row.kind {
            RowKind::Clock => self.restore_clock(body, shift, output).map(|()| true),
            RowKind::Contract => self.restore_contract(body),
            RowKind::Held => self.restore_run(body, shift),
            RowKind::Label => self.restore_label(body, shift).map(|()| true),
            RowKind::Window => self.restore_window(body, shift),
            RowKind::Alert => self.restore_alert(body, shift, output),
            RowKind::Seen => self.restore_seen(body, shift).map(|()| true),
        };
        if !matches!(used, Ok(true)) {
            self.pending_rows.push(Row {
                body: None,
                ..row.clone()
            });
        }
        if let Err(error) = used {
            let what = format!(
                "a row of the state file ({:?}) was passed over: {error}",
                row.kind
            );
            self.gap(&unreadable(what), output);
        }
    }

    /// Whoever sets the clock while nobody watches has set it all the same; over a boot nobody can tell.
    fn restore_clock(
        &mut self,
        body: &str,
        shift: i64,
        output: &mut Output,
    ) -> Result<(), serde_json::Error> {
        let row: ClockRow = serde_json::from_str(body)?;
        self.clock_set = self.clock_set.max(row.set.map(|set| set.plus(shift)));
        if shift == 0
            && let Some(present) = self.wall_offset.replace(row.wall_offset)
        {
            // What the clock shows now was told before: it is a step from what it showed then.
            self.clock_base = None;
            self.clock(present, output);
        }
        self.pending_rows.push(self.clock_row());
        Ok(())
    }

    fn restore_contract(&mut self, body: &str) -> Result<bool, serde_json::Error> {
        let row: ContractRow = serde_json::from_str(body)?;
        let day = |(day, bytes): (String, u64)| match day.parse() {
            Ok(day) => Ok((day, bytes)),
            Err(error) => Err(serde::de::Error::custom(error)),
        };
        let days: Result<_, serde_json::Error> = row.days.into_iter().map(day).collect();
        let known = &self.config.contracts;
        Ok(self.contracts.restore(known, &row.name, days?))
    }

    fn restore_seen(&mut self, body: &str, shift: i64) -> Result<(), serde_json::Error> {
        let SeenRow { what, seen } = serde_json::from_str(body)?;
        let seen = Seen {
            first: seen.first.plus(shift),
            last: seen.last.plus(shift),
        };
        let Some(what) = what else {
            self.firsts.restore_since(seen.first);
            return Ok(());
        };
        let was_empty = self.firsts.is_empty();
        self.firsts.restore(what, seen);
        if was_empty && let Some(next) = self.firsts.next() {
            self.deadlines.remind(next, Due::Firsts);
        }
        Ok(())
    }

    /// Session runs end with the boot: their processes are gone, and their ids are used again.
    fn restore_run(&mut self, body: &str, shift: i64) -> Result<bool, serde_json::Error> {
        let row: RunRow = serde_json::from_str(body)?;
        if shift != 0 {
            return Ok(false);
        }
        let session = self.names.intern(&row.session);
        let held = row
            .held
            .into_iter()
            .map(|(store, kept)| (self.names.intern(&store), kept))
            .collect();
        let slot = self.holdings.restore_run(&row.key, session, row.no, held);
        // Whoever took it may still live: the processes that are known at start say so.
        self.returning_takers.extend(row.takers);
        self.deadlines
            .remind(self.now.max(Stamp(0)).plus(HOLD_LIFE / 24), Due::Run(slot));
        Ok(true)
    }

    fn restore_label(&mut self, body: &str, shift: i64) -> Result<(), serde_json::Error> {
        let row: LabelRow = serde_json::from_str(body)?;
        let contents = self.numbered(row.held, shift);
        let label = Label {
            file: row.file,
            until: row.until.plus(shift),
            contents,
            waiting: 0,
            served: Vec::new(),
        };
        let (slot, until) = self.holdings.restore_label(label);
        self.deadlines.remind(until, Due::Label(slot));
        Ok(())
    }

    fn restore_window(&mut self, body: &str, shift: i64) -> Result<bool, serde_json::Error> {
        let row: WindowRow = serde_json::from_str(body)?;
        let Some(tally) = self
            .tallies
            .iter_mut()
            .find(|tally| tally.signature == row.tally)
        else {
            return Ok(false);
        };
        let same = |length: &Length| length.window == row.window;
        let Some(length) = tally.lengths.iter().position(same) else {
            return Ok(false);
        };
        let Some(key) = Key::parse(&tally.by, &row.key, &mut self.names) else {
            return Ok(false);
        };
        let parts: Vec<(Stamp, u64)> = row
            .parts
            .iter()
            .map(|(at, amount)| (at.plus(shift), *amount))
            .collect();
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        tally.restore(key, length, &parts, row.total, &mut self.deadlines);
        Ok(true)
    }

    /// A firing alert goes on firing: nobody watched in between, so its quiet time begins anew.
    fn restore_alert(
        &mut self,
        body: &str,
        shift: i64,
        output: &mut Output,
    ) -> Result<bool, serde_json::Error> {
        let row: AlertRow = serde_json::from_str(body)?;
        let same = |watch: &Watch| watch.rule.name == row.rule && watch.rule.by == row.by;
        let rule = self.watches.iter().position(same);
        let Some(rule) = rule else {
            self.resolve_unwatched(row, shift, output);
            return Ok(true);
        };
        let Some(key) = Key::parse(&row.by, &row.key, &mut self.names) else {
            return Ok(false);
        };
        let limits = self.watches[rule].rule.limits.len();
        let number = u32::try_from(rule).unwrap_or(u32::MAX);
        let totals = self.totals_of(number, &key);
        let watch = &mut self.watches[rule];
        let Some(slot) = watch.open(key, self.now) else {
            return Ok(true);
        };
        let Some(alert) = watch.alert_mut(slot) else {
            return Ok(true);
        };
        let mut old = row.alert;
        old.key = key;
        old.since = old.since.plus(shift);
        old.settled = old.settled.map(|settled| settled.plus(shift));
        old.trail = old
            .trail
            .map(|trail| Box::new(trail.restore(row.sessions, shift)));
        old.phase = match old.phase {
            Phase::Pending(_) => Phase::Pending(self.now),
            Phase::Firing(_) => Phase::Firing(self.now),
            Phase::Idle => Phase::Idle,
        };
        alert.adopt(&old, limits, totals);
        self.remind_of(number, slot);
        Ok(true)
    }

    /// A rule that was removed while nobody watched ends its alert: no rule would, and it would be sent for ever. Its case
    /// stays open, for the day when the rule comes back.
    fn resolve_unwatched(&mut self, mut row: AlertRow, shift: i64, output: &mut Output) {
        if !matches!(row.alert.phase, Phase::Firing(_)) {
            return;
        }
        row.alert.phase = Phase::Idle;
        self.pending_rows.push(Row {
            kind: RowKind::Alert,
            id: text(&(&row.rule, &row.key)),
            body: Some(text(&row)),
        });
        let alert = row.alert;
        let trail = alert.trail;
        let trail = trail.map(|trail| trail.restore(row.sessions, shift));
        output.transitions.push(Transition {
            at: self.now,
            wall: self.wall(),
            state: AlertState::Resolved,
            summary: format!("'{}' is no rule any more: what it told ends here", row.rule),
            rule: row.rule,
            severity: alert.severity,
            key: row.by.into_iter().zip(row.key).collect(),
            value: alert.value,
            limit: alert.threshold,
            measure: row.measure,
            window: row.window,
            id: alert.id,
            key_hash: row.key_hash,
            size: alert.size,
            evidence: trail.map_or_else(Evidence::default, |trail| trail.evidence(&self.names)),
        });
    }

    fn key_texts(&self, by: &[KeyField], key: &Key) -> Vec<Name> {
        key.texts(by, &self.names)
            .into_iter()
            .map(|(_, text)| text)
            .collect()
    }

    fn named<'a>(
        &self,
        held: impl Iterator<Item = (NameId, &'a Contents)>,
    ) -> Vec<(Name, Contents)> {
        held.map(|(store, contents)| (self.names.text(store).clone(), contents.clone()))
            .collect()
    }

    fn numbered(&mut self, held: Vec<(Name, Contents)>, shift: i64) -> Vec<(NameId, Contents)> {
        let number = |(store, mut contents): (Name, Contents)| {
            contents.shift(shift);
            (self.names.intern(&store), contents)
        };
        held.into_iter().map(number).collect()
    }
}

fn no_contract(name: &Name) -> Row {
    Row {
        kind: RowKind::Contract,
        id: name.to_string(),
        body: None,
    }
}

/// These types have string keys only and no failing parts: they always become JSON.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
