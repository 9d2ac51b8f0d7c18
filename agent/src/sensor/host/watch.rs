//! The open sources, drained one round at a time: thin, between them and `batch.rs`.

use jaga_rules::event::{Event, Gap, Name};

use super::batch::{Round, Teller};
use super::names::Names;
use super::roster::Roster;
use super::source::{Files, Lives, Sockets};

/// All that sees, and what was told of it.
pub struct Watch {
    /// Process life.
    pub lives: Option<Box<dyn Lives>>,
    /// Reads and writes.
    pub files: Option<Box<dyn Files>>,
    /// What passes through local sockets.
    pub channels: Option<Box<dyn Files>>,
    /// Who gets at whose memory.
    pub memory: Option<Box<dyn Files>>,
    /// Opens of decoys.
    pub decoys: Option<Box<dyn Files>>,
    /// Sends.
    pub sockets: Option<Box<dyn Sockets>>,
    teller: Teller,
}

impl Watch {
    /// Sees nothing yet.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            lives: None,
            files: None,
            channels: None,
            memory: None,
            decoys: None,
            sockets: None,
            teller: Teller::new(Roster::new(Names::new("/proc".as_ref()))),
        }
    }

    /// Everybody who runs already. The sources are open, so whoever comes meanwhile is in them.
    pub fn first_batch(&mut self) -> Vec<Event> {
        self.resync()
    }

    /// What happened since the last round, and what was lost of it.
    pub fn round(&mut self, stores: &[Name]) -> (Vec<Event>, Vec<Gap>) {
        let mut round = Round::default();
        let mut gaps = Vec::new();
        if let Some(lives) = &mut self.lives {
            round.before = lives.take();
        }
        // Effects before causes: a send that is taken now has its reads in the table that is taken after it. The
        // other way round, a fast copy sends for the milliseconds between, and nobody seems to hold what it sends.
        if let Some(sockets) = &mut self.sockets {
            sockets.drain(&mut round.sends, &mut gaps);
        }
        // What passed through a channel was read before it was put in, and may have been put into a file after.
        let beside = [&mut self.memory, &mut self.decoys];
        let sources = beside
            .into_iter()
            .chain([&mut self.channels, &mut self.files]);
        for source in sources.flatten() {
            source.drain(&mut round, &mut gaps);
        }
        if let Some(lives) = &mut self.lives {
            round.after = lives.take();
        }
        let mut events = self.teller.tell(round, stores);
        if let Some(gap) = self.lives.as_mut().and_then(|lives| lives.gap()) {
            events.extend(self.resync());
            gaps.push(gap);
        }
        (events, gaps)
    }

    fn resync(&mut self) -> Vec<Event> {
        let mut there = self
            .lives
            .as_mut()
            .map(|lives| lives.list())
            .unwrap_or_default();
        if there.is_empty() {
            return Vec::new();
        }
        // Parents first, where they are still the parents.
        there.sort_by_key(|life| (life.who.actor.start, life.who.actor.pid));
        self.teller.roster.resync(there)
    }
}
