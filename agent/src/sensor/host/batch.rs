//! One drain as events, in the order that keeps cause before effect.
//!
//! The kernel's tables tell sums, not an order, so the order is chosen such that nothing that data can have done
//! is missed: who is there, what was taken from stores, what was written, what was read elsewhere, what was sent,
//! who left.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use jaga_rules::event::{
    Actor, Event, Fact, FileId, Flow, Name, Pass, Place, Read, Sender, Sent, Wrote,
};

use super::hops::in_order_of_data;
use super::roster::Roster;
use super::seen::{By, FileCount, Gone, Kind, Life, Moved, Origin, SocketCount, What, Who};
use super::touched::Touched;

/// What one round of draining brought.
#[derive(Debug, Default)]
pub struct Round {
    /// Process life that was told before the tables were taken.
    pub before: Vec<Life>,
    /// Process life that was told while they were taken: it may have been a cause of what they hold.
    pub after: Vec<Life>,
    /// Files that ended before the tables were taken.
    pub gone: Vec<Gone>,
    /// Files that left a store before the tables were taken.
    pub moved: Vec<Moved>,
    /// Reads and writes.
    pub files: Vec<FileCount>,
    /// Bytes read of stores, by index, that nobody can say who read: the table was full.
    pub overflow: Vec<(usize, u64)>,
    /// Who got at whose memory.
    pub peeks: Vec<Peek>,
    /// Opens of decoys and of devices.
    pub touched: Vec<Touched>,
    /// Sends, with their interface.
    pub sends: Vec<(SocketCount, Option<Name>)>,
}

/// A process got at the memory of another; both by their id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peek {
    /// Who.
    pub by: u32,
    /// Of whom.
    pub of: u32,
}

/// Makes batches of rounds.
#[derive(Debug)]
pub struct Teller {
    /// What was told.
    pub roster: Roster,
    /// Exits that were heard after the tables were taken: what those processes last did is in the next tables.
    waiting: Vec<Actor>,
    /// When each file of the last round was last written: the end of a file may be heard a round late.
    written: HashMap<FileId, u64>,
    /// Where whoever was put into another cgroup in this round is now: what tables say of it may be older.
    regrouped: HashMap<Actor, u64>,
}

impl Teller {
    /// Nothing told yet.
    #[must_use]
    pub fn new(roster: Roster) -> Self {
        Self {
            roster,
            waiting: Vec::new(),
            written: HashMap::new(),
            regrouped: HashMap::new(),
        }
    }

    /// The events of a round. `stores` are the stores' names by index.
    pub fn tell(&mut self, round: Round, stores: &[Name]) -> Vec<Event> {
        let mut events = Vec::new();
        let (emptied, ended) = self.ends(&round);
        let mut leaving = std::mem::take(&mut self.waiting);
        leaving.extend(exits(&round.before));
        self.waiting.extend(exits(&round.after));
        let lives = round.before.iter().chain(&round.after);
        let regrouped = lives.filter(|life| matches!(life.what, What::Regrouped { .. }));
        self.regrouped = regrouped
            .map(|life| (life.who.actor, life.who.facts.cgroup))
            .collect();
        let lives = round.before.into_iter().chain(round.after);
        events.extend(lives.filter_map(|life| self.roster.hear(life)));

        let mut peeks = Vec::new();
        for Peek { by, of } in round.peeks {
            let [actor, of] = [by, of].map(|pid| self.roster.latest(pid));
            peeks.extend(of.map(|of| {
                let actor = actor.unwrap_or(Actor::NOBODY);
                Event::Fact(Fact::MemoryRead { actor, of })
            }));
        }
        let mut opened = Vec::new();
        for touched in round.touched {
            let actor = self.introduce(touched.by, &mut events, &mut leaving);
            opened.push(touched.told(actor.unwrap_or(Actor::NOBODY)));
        }
        let moved = round.moved.into_iter();
        let mut deeds = Deeds {
            emptied,
            ended,
            moved: moved.filter_map(|moved| passed(moved, stores)).collect(),
            peeks,
            opened,
            ..Deeds::default()
        };
        let newest = newest_facts(&round.files);
        for count in round.files {
            let by = match count.who {
                By::Process(who) => {
                    By::Process(newest.get(&who.actor).map_or(who, |(_, newest)| *newest))
                }
                other => other,
            };
            let actor = self.introduce(by, &mut events, &mut leaving);
            deeds.add_file(actor.unwrap_or(Actor::NOBODY), count, stores);
        }
        for (store, bytes) in round.overflow {
            deeds.store_reads.extend(by_nobody(store, bytes, stores));
        }
        for (count, interface) in round.sends {
            let actor = self.introduce(count.who, &mut events, &mut leaving);
            let sender = actor.map_or(Sender::Unknown, Sender::Actor);
            deeds.add_send(sender, &count, interface);
        }
        events.extend(deeds.in_order());
        events.extend(
            leaving
                .into_iter()
                .filter_map(|actor| self.roster.leave(actor)),
        );
        events
    }

    /// Splits the ends of files: those that were written again afterwards (truncated, then filled anew), told before
    /// the writes, and those that were not, told after everything. Whose new content was told a round ago already is
    /// told nothing of: its label is the new content's.
    fn ends(&mut self, round: &Round) -> (Vec<FileId>, Vec<FileId>) {
        let writes = round.files.iter().filter(|count| count.kind == Kind::Write);
        let writes = writes.map(|count| (count.file, count.last_at));
        let moved = round.moved.iter().map(|moved| (moved.file, moved.at));
        let mut written = HashMap::new();
        for (file, at) in writes.chain(moved) {
            let last = written.entry(file).or_insert(0);
            *last = at.max(*last);
        }
        let before = std::mem::replace(&mut self.written, written);
        let again = |times: &HashMap<FileId, u64>, gone: &Gone| {
            times.get(&gone.file).is_some_and(|last| *last > gone.at)
        };
        let told = round.gone.iter().filter(|gone| !again(&before, gone));
        let (emptied, ended): (Vec<&Gone>, Vec<&Gone>) =
            told.partition(|gone| again(&self.written, gone));
        let files = |gone: Vec<&Gone>| gone.into_iter().map(|gone| gone.file).collect();
        (files(emptied), files(ended))
    }

    /// Who it was, told before what it did. Whoever has ended since (a socket sends on for a while) leaves at the end.
    fn introduce(
        &mut self,
        by: By,
        events: &mut Vec<Event>,
        leaving: &mut Vec<Actor>,
    ) -> Option<Actor> {
        match by {
            By::Process(mut who) => {
                if let Some(cgroup) = self.regrouped.get(&who.actor) {
                    who.facts.cgroup = *cgroup;
                }
                if let Some(event) = self.roster.meet(who) {
                    events.push(event);
                    leaving.extend((!self.roster.lives(who.actor)).then_some(who.actor));
                }
                Some(who.actor)
            }
            By::Ended(pid) => self.roster.latest(pid),
            By::Nobody => None,
        }
    }
}

/// Each process as of the last thing that it did: tables have no order, and whoever logs in or is moved to another cgroup
/// must not be told to have gone back. With the time of that.
fn newest_facts(files: &[FileCount]) -> HashMap<Actor, (u64, Who)> {
    let mut newest: HashMap<Actor, (u64, Who)> = HashMap::new();
    for count in files {
        if let By::Process(who) = count.who {
            let last = newest.entry(who.actor).or_insert((count.last_at, who));
            if last.0 < count.last_at {
                *last = (count.last_at, who);
            }
        }
    }
    newest
}

/// A read by whoever is not known: the store's total stays true, the names are lost.
fn by_nobody(store: usize, bytes: u64, stores: &[Name]) -> Option<Read> {
    Some(Read {
        actor: Actor::NOBODY,
        file: FileId {
            fs: 0,
            inode: store as u64,
            generation: 0,
        },
        store: Some(stores.get(store)?.clone()),
        bytes,
        size: u64::MAX,
        estimated: false,
        below: false,
    })
}

/// What a file outside the stores came to hold without being written.
fn passed(moved: Moved, stores: &[Name]) -> Option<Pass> {
    Some(Pass {
        from: match moved.from {
            Origin::Store(store) => Place::Store(stores.get(store)?.clone()),
            Origin::File(file) => Place::File(file),
        },
        to: Place::File(moved.file),
        bytes: moved.bytes,
    })
}

fn exits(lives: &[Life]) -> impl Iterator<Item = Actor> {
    lives
        .iter()
        .filter(|life| life.what == What::Exit)
        .map(|life| life.who.actor)
}

/// Reads, writes and sends of one round.
#[derive(Default)]
struct Deeds {
    emptied: Vec<FileId>,
    ended: Vec<FileId>,
    moved: Vec<Pass>,
    /// Looks at memory: what it holds was read before.
    peeks: Vec<Event>,
    /// Opens of decoys and devices: who opens one holds what it read before.
    opened: Vec<Event>,
    store_reads: Vec<Read>,
    writes: Vec<Wrote>,
    reads: Vec<Read>,
    /// Old connections differ by a port that is then summed over.
    sends: BTreeMap<(Sender, Flow, Option<Name>), (u64, u32)>,
}

impl Deeds {
    fn add_file(&mut self, actor: Actor, count: FileCount, stores: &[Name]) {
        let (file, bytes, size) = (count.file, count.bytes, count.size);
        if count.kind == Kind::Write {
            self.writes.push(Wrote {
                actor,
                file,
                bytes,
                size,
            });
            return;
        }
        if let Kind::Below { stores: on_it } = count.kind {
            let on_it = (0..stores.len().min(64)).filter(|index| on_it >> index & 1 == 1);
            self.store_reads.extend(on_it.map(|index| Read {
                actor,
                file,
                store: Some(stores[index].clone()),
                bytes,
                size,
                estimated: false,
                below: true,
            }));
            return;
        }
        let store = count.store.and_then(|index| stores.get(index).cloned());
        let list = match store {
            Some(_) => &mut self.store_reads,
            None => &mut self.reads,
        };
        list.push(Read {
            actor,
            file,
            store,
            bytes,
            size,
            estimated: count.kind != Kind::Read,
            below: false,
        });
    }

    fn add_send(&mut self, sender: Sender, count: &SocketCount, interface: Option<Name>) {
        let key = (sender, count.flow, interface);
        let sum = self.sends.entry(key).or_default();
        sum.0 += count.bytes;
        sum.1 += count.connections;
    }

    fn in_order(self) -> impl Iterator<Item = Event> {
        let sends = self.sends.into_iter().map(|(key, (bytes, connections))| {
            let (sender, flow, interface) = key;
            Event::Sent(Sent {
                sender,
                flow,
                bytes,
                connections,
                interface,
            })
        });
        let gone = |file| Event::Fact(Fact::FileGone { file });
        let sources = self.store_reads.iter().map(|read| read.actor).collect();
        let moves = in_order_of_data(sources, self.writes, self.reads);
        let first = self.store_reads.into_iter().map(Event::Read);
        first
            .chain(self.emptied.into_iter().map(gone))
            .chain(self.moved.into_iter().map(Event::Pass))
            .chain(moves)
            .chain(self.peeks)
            .chain(self.opened)
            .chain(sends)
            .chain(self.ended.into_iter().map(gone))
    }
}

#[cfg(test)]
mod tests {
    use jaga_rules::event::{FileId, Opener, Protocol};

    use super::super::roster::tests::{exec, fork, life, roster, who};
    use super::*;

    fn file(pid: u32, kind: Kind, store: Option<usize>) -> FileCount {
        FileCount {
            who: By::Process(who(pid, 0)),
            file: FileId {
                fs: 1,
                inode: 2,
                generation: 3,
            },
            kind,
            store,
            bytes: 10,
            size: 10,
            last_at: 0,
        }
    }

    fn send(pid: u32) -> (SocketCount, Option<Name>) {
        let flow = Flow {
            protocol: Protocol::Tcp,
            local: "10.0.0.1:0".parse().unwrap(),
            remote: "203.0.113.9:443".parse().unwrap(),
            opener: Opener::Local,
        };
        let count = SocketCount {
            who: By::Process(who(pid, 0)),
            flow,
            netns: 1,
            bytes: 10,
            connections: 1,
        };
        (count, None)
    }

    fn exit(pid: u32) -> Life {
        life(who(pid, 0), What::Exit)
    }

    fn kinds(events: &[Event]) -> Vec<&'static str> {
        let kind = |event: &Event| match event {
            Event::Known(_) => "known",
            Event::Fork(_) => "fork",
            Event::Exec(_) => "exec",
            Event::Exit { .. } => "exit",
            Event::Read(read) if read.store.is_some() => "store-read",
            Event::Read(_) => "read",
            Event::Wrote(_) => "wrote",
            Event::Sent(_) => "sent",
            Event::Fact(_) => "gone",
            Event::Pass(_)
            | Event::Clock { .. }
            | Event::Gap(_)
            | Event::Restore(_)
            | Event::Reload(_)
            | Event::Settle(_)
            | Event::Wake => "other",
        };
        events.iter().map(kind).collect()
    }

    #[test]
    fn cause_comes_before_effect() {
        let mut teller = Teller::new(roster());
        let round = Round {
            before: vec![fork(who(1, 0), who(2, 0)), exit(2)],
            after: vec![exec(who(1, 0), "/bin/sh")],
            files: vec![
                file(2, Kind::Read, None),
                file(2, Kind::Write, None),
                file(2, Kind::Mapped, Some(0)),
            ],
            sends: vec![send(2)],
            ..Round::default()
        };
        let events = teller.tell(round, &["lab".into()]);
        let order = [
            "fork",
            "exec",
            "store-read",
            "wrote",
            "read",
            "sent",
            "exit",
        ];
        assert_eq!(kinds(&events), order);
    }

    #[test]
    fn an_exit_heard_late_waits_for_what_the_process_did_last() {
        let mut teller = Teller::new(roster());
        let first = Round {
            before: vec![fork(who(1, 0), who(2, 0))],
            after: vec![exit(2)],
            ..Round::default()
        };
        assert_eq!(kinds(&teller.tell(first, &[])), ["fork"]);
        let second = Round {
            files: vec![file(2, Kind::Read, None)],
            ..Round::default()
        };
        assert_eq!(kinds(&teller.tell(second, &[])), ["read", "exit"]);
    }

    #[test]
    fn whoever_moved_is_told_once_where_it_is_now() {
        let told = |uids: [u32; 3]| {
            let mut teller = Teller::new(roster());
            let files = uids.map(|uid| FileCount {
                who: By::Process(who(9, uid)),
                last_at: uid.into(),
                ..file(9, Kind::Read, None)
            });
            let round = Round {
                files: files.into(),
                ..Round::default()
            };
            let events = teller.tell(round, &[]);
            let users = events.into_iter().filter_map(|event| match event {
                Event::Known(process) => Some(process.identity.user.to_string()),
                _ => None,
            });
            users.collect::<Vec<_>>()
        };
        let last = told([3, 3, 3]);
        assert_eq!(last.len(), 1);
        for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
            assert_eq!(told(order), last);
        }
    }

    #[test]
    fn whoever_was_not_told_is_introduced_first() {
        let mut teller = Teller::new(roster());
        let round = Round {
            files: vec![file(9, Kind::Read, None)],
            sends: vec![send(9)],
            ..Round::default()
        };
        let told = ["known", "read", "sent", "exit"];
        assert_eq!(kinds(&teller.tell(round, &[])), told, "and it is gone");
    }

    #[test]
    fn equal_flows_are_one_event() {
        let mut teller = Teller::new(roster());
        let round = Round {
            sends: vec![send(9), send(9)],
            ..Round::default()
        };
        let events = teller.tell(round, &[]);
        let Event::Sent(sent) = &events[1] else {
            panic!("{events:?}");
        };
        assert_eq!((sent.bytes, sent.connections), (20, 2));
    }

    /// A round in which a file was last written at `wrote`, if at all, and heard gone since `gone`, if at all.
    fn life_of_a_file(wrote: Option<u64>, gone: Option<u64>) -> Round {
        let written = |last_at| FileCount {
            last_at,
            ..file(9, Kind::Write, None)
        };
        let file = file(9, Kind::Write, None).file;
        Round {
            files: wrote.map(written).into_iter().collect(),
            gone: gone.map(|at| Gone { file, at }).into_iter().collect(),
            ..Round::default()
        }
    }

    #[test]
    fn a_deleted_file_is_gone_after_its_last_write() {
        let mut teller = Teller::new(roster());
        let events = teller.tell(life_of_a_file(Some(5), Some(6)), &[]);
        assert_eq!(kinds(&events), ["known", "wrote", "gone", "exit"]);
    }

    #[test]
    fn a_file_that_is_emptied_and_filled_again_keeps_what_was_filled() {
        let mut teller = Teller::new(roster());
        let events = teller.tell(life_of_a_file(Some(7), Some(6)), &[]);
        assert_eq!(kinds(&events), ["known", "gone", "wrote", "exit"]);
        let late = teller.tell(life_of_a_file(None, Some(6)), &[]);
        assert_eq!(kinds(&late), Vec::<&str>::new());
        let next = teller.tell(life_of_a_file(None, Some(8)), &[]);
        assert_eq!(kinds(&next), ["gone"]);
    }

    #[test]
    fn what_left_a_store_holds_it_before_anybody_reads_that() {
        let mut teller = Teller::new(roster());
        let file = file(9, Kind::Read, None);
        let moved = Moved {
            file: file.file,
            at: 7,
            bytes: 10,
            from: Origin::Store(0),
        };
        let emptied = Gone {
            file: file.file,
            at: 6,
        };
        let round = Round {
            files: vec![file],
            gone: vec![emptied],
            moved: vec![moved],
            ..Round::default()
        };
        let events = teller.tell(round, &["lab".into()]);
        let order = ["known", "gone", "other", "read", "exit"];
        assert_eq!(kinds(&events), order);
        let pass = Pass {
            from: Place::Store("lab".into()),
            to: Place::File(moved.file),
            bytes: 10,
        };
        assert_eq!(events[2], Event::Pass(pass));
    }

    #[test]
    fn a_device_is_read_of_every_store_on_it() {
        let mut teller = Teller::new(roster());
        let round = Round {
            files: vec![file(9, Kind::Below { stores: 0b101 }, None)],
            ..Round::default()
        };
        let events = teller.tell(round, &["lab".into(), "ekg".into(), "pacs".into()]);
        let stores = events.iter().filter_map(|event| match event {
            Event::Read(read) if read.below => read.store.as_deref(),
            _ => None,
        });
        assert_eq!(stores.collect::<Vec<_>>(), ["lab", "pacs"]);
    }

    #[test]
    fn a_mapped_read_is_an_estimate() {
        let mut teller = Teller::new(roster());
        let round = Round {
            files: vec![file(9, Kind::Mapped, Some(0))],
            ..Round::default()
        };
        let events = teller.tell(round, &["lab".into()]);
        assert!(matches!(&events[1], Event::Read(read) if read.estimated));
    }
}
