//! Processes as the engine follows them: who is in which session, and who took something.

use super::*;

impl Engine {
    /// A process that took data and now is in another session takes it along.
    pub(super) fn moved(&mut self, actor: Actor, moved: Option<Moved>) {
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

    /// A child that is born into another session has all that its parent has in memory.
    pub(super) fn fork(&mut self, fork: &Fork) {
        self.lineage.fork(&mut self.names, fork);
        let parent = self.lineage.member(fork.parent);
        let Some(from) = parent
            .filter(|parent| parent.took)
            .map(|parent| parent.run.clone())
        else {
            return;
        };
        let (key, session) = self.whose(fork.child);
        if key == from {
            return;
        }
        if let Some(slot) = self.holdings.find(&from) {
            self.passed(fork.child, &key, |holdings, now| {
                holdings.pass(slot, &key, session, u64::MAX, now)
            });
        }
    }

    /// A process that took data before the agent was restarted is still there.
    pub(super) fn returned(&mut self, actor: Actor) {
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

    pub(super) fn exit(&mut self, actor: Actor) {
        let Some(member) = self.lineage.exit(actor) else {
            return;
        };
        if member.took {
            self.holdings.remove_taker(&member.run, actor);
        }
    }

    pub(super) fn mark_taker(&mut self, actor: Actor, slot: u32) {
        if let Some(member) = self.lineage.member_mut(actor)
            && !std::mem::replace(&mut member.took, true)
        {
            self.holdings.add_taker(slot, actor);
        }
    }

    pub(super) fn open_run(&mut self, key: &RunKey, session: NameId) -> u32 {
        if let Some(slot) = self.holdings.find(key) {
            return slot;
        }
        let slot = self.holdings.open(key, session);
        self.deadlines
            .remind(self.now.plus(HOLD_LIFE), Due::Run(slot));
        slot
    }

    /// The run and the session of a process; whoever is not known is `unknown`.
    pub(super) fn whose(&self, actor: Actor) -> (RunKey, NameId) {
        match self.lineage.member(actor) {
            Some(member) => (member.run.clone(), member.session),
            None => (RunKey::Unknown, self.unknown),
        }
    }
}
