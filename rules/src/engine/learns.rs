//! What the engine learns beside data: names, relays, clocks, gaps.

use super::*;
use crate::units::DAY;

impl Engine {
    pub(super) fn fact(&mut self, fact: &Fact, output: &mut Output) {
        match fact {
            Fact::Name { address, name } => self.remote_names.learn(*address, name, self.now),
            Fact::Relay { address, .. } => self.scopes.relay(*address, self.now),
            Fact::FileGone { file } => self.holdings.labels.forget(*file),
            Fact::Device(opened) => self.device_opened(opened, output),
            Fact::Interface(interface) => self.interface(interface, output),
            Fact::Regrouped(told) => {
                let moved = self.lineage.regroup(&mut self.names, told);
                self.moved(told.actor, moved);
            }
            Fact::Wire { interface, bytes } => {
                let interface = self.names.intern(interface);
                self.totals.wire(interface, *bytes);
                self.counted(interface, *bytes);
            }
            Fact::Egress(egress) => self.queued(egress, output),
            Fact::Decoy {
                actor,
                decoy,
                opens,
            } => self.decoy(*actor, decoy, *opens, output),
            Fact::Lookup {
                client,
                server,
                domain,
                names,
                bytes,
            } => self.looked_up((*client, *server), domain, (*names, *bytes), output),
            Fact::Icmp {
                client,
                remote,
                bytes,
            } => self.echoed(*client, *remote, *bytes, output),
            Fact::Dicom(dicom) => self.associated(dicom, output),
            Fact::Hl7 { flow, messages } => self.messages(flow, *messages, output),
            Fact::Medium { fs, name } => self.medium(*fs, name.as_ref()),
            Fact::MemoryRead { actor, of } => self.memory_read(*actor, *of, output),
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

    /// Why there is a gap, unless somebody answers for it today. What was lost nobody can answer for.
    fn unanswered(&self, gap: &Gap) -> Option<Name> {
        let lasts = match gap.kind {
            GapKind::Blind | GapKind::LowerRung | GapKind::Unseen => true,
            GapKind::Lost
            | GapKind::ClockStep
            | GapKind::Unreadable
            | GapKind::Down
            | GapKind::Restart => false,
        };
        let accepts = self.config.agent.accept.iter();
        let mut accepts = accepts.filter(|accept| lasts && accept.blind == gap.sensor);
        let Some(last) = accepts.clone().max_by_key(|accept| accept.until) else {
            return Some(gap.why.clone());
        };
        // Without a clock nobody knows what day it is.
        let today = self.today();
        if accepts.any(|accept| today.is_some_and(|today| accept.until >= today)) {
            return None;
        }
        let (owner, until) = (&last.owner, last.until);
        let over = format!(
            "{}; {owner} answered for it until {until}, which is over",
            gap.why
        );
        Some(over.into())
    }

    pub(super) fn clock(&mut self, wall_offset: i64, output: &mut Output) {
        const STEP: i64 = 60 * crate::event::SECOND;
        let before = self.wall_offset.replace(wall_offset);
        let is_new = before != Some(wall_offset);
        let before = before.unwrap_or(wall_offset);
        // Many small steps are a large one.
        let (since, base) = self
            .clock_base
            .filter(|(since, _)| self.now.since(*since) < DAY)
            .unwrap_or((self.now, before));
        self.clock_base = Some((since, base));
        let step = wall_offset.saturating_sub(base);
        if step.unsigned_abs() > STEP.unsigned_abs() {
            self.clock_base = Some((self.now, wall_offset));
            self.clock_set = Some(self.now);
            let why = format!(
                "the wall clock was set {} s, and contracts with hours hold no more for 24 h; see who did, and check \
                 the time source",
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
        if is_new {
            self.pending_rows.push(self.clock_row());
        }
    }

    pub(super) fn gap(&mut self, gap: &Gap, output: &mut Output) {
        let sensor = self.names.intern(&gap.sensor);
        if gap.events > 0 || gap.bytes > 0 {
            self.totals.lost(sensor, gap.events, gap.bytes);
        }
        let Some(why) = self.unanswered(gap) else {
            return;
        };
        let mut seen = self.observe(Subject::Gap, None, NOBODY);
        seen.sensor = sensor;
        seen.gap = Some(gap.kind);
        seen.amounts.gaps = 1;
        seen.why = Some(why);
        self.count(&seen, output);
    }
}
