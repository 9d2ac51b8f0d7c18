//! Data on this host: read from stores, written to files, passed on.

use super::*;

impl Engine {
    pub(super) fn read(&mut self, read: &Read, output: &mut Output) {
        // A rung that names nobody estimates. What a full table lost the name of is `unknown`'s alone.
        let (key, session) = if read.estimated && read.actor == Actor::NOBODY {
            (RunKey::Anybody, self.unknown)
        } else {
            self.whose(read.actor)
        };
        let Some(store) = &read.store else {
            self.passed(read.actor, &key, |holdings, now| {
                holdings.read_file(&key, session, read.file, read.bytes, now)
            });
            return;
        };
        let store = self.names.intern(store);
        if read.estimated {
            self.estimated.insert(store);
        }
        // A device holds many files: its records are those of its bytes.
        let records = match self.records_of(store) {
            Records::PerFile(_) if read.below => Records::BytesEach(self.bytes_each(store)),
            written => written,
        };
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
        seen.below = read.below;
        seen.amounts.read_bytes = read.bytes;
        seen.amounts.files_read = taken.files;
        seen.estimated = read.estimated;
        seen.held = self.holdings.held_of(slot, store);
        self.count(&seen, output);
        self.first_reader(&seen, output);
    }

    /// Whoever opens it looks where nobody has a reason to look.
    pub(super) fn decoy(&mut self, actor: Actor, decoy: &Name, opens: u64, output: &mut Output) {
        let (_, session) = self.whose(actor);
        let mut seen = self.observe(Subject::Decoy, self.lineage.member(actor), session);
        seen.amounts.decoys_touched = opens;
        let who = self.shown(&seen);
        seen.why = Some(format!("'{decoy}' was opened by {who}").into());
        self.count(&seen, output);
    }

    pub(super) fn wrote(&mut self, wrote: &Wrote) {
        let (key, _) = self.whose(wrote.actor);
        let slot = self.holdings.find(&key);
        let served = self.serves(Some(wrote.actor), 0);
        let written = self
            .holdings
            .write(slot, &served, wrote.file, wrote.bytes, self.now);
        if let Some((label, until)) = written {
            self.deadlines.remind(until, Due::Label(label));
        }
    }

    pub(super) fn pass(&mut self, pass: &Pass) {
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
                let amount = crate::hold::Amount {
                    bytes: pass.bytes,
                    files: 1.0,
                    records,
                };
                if let Some((label, until)) =
                    self.holdings.left_store(store, *file, amount, self.now)
                {
                    self.deadlines.remind(until, Due::Label(label));
                }
            }
            (Place::File(from), Place::File(to)) => {
                if let Some((label, until)) = self.holdings.shared(*from, *to, pass.bytes, self.now)
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
            (Place::Unit(_), Place::File(_))
            | (_, Place::Store(_) | Place::Unit(_))
            | (Place::Store(_), Place::Actor(_)) => {}
        }
    }

    pub(super) fn passed(
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
}
