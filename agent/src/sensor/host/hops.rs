//! The order in which data can have passed through several processes, files and channels within one round.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jaga_rules::event::{Actor, Event, FileId, Read, Wrote};

/// Writes and reads of one round such that whoever has data first passes it on first: a round tells sums, not an order,
/// and a database that serves a web server that serves nginx are two hops in it. `sources` read a store in this round;
/// then come those who read what nobody wrote in this round, then the others, the older processes first: services are
/// older than their clients. In a circle (questions and answers on one connection) something has to be first.
pub fn in_order_of_data(
    sources: Vec<Actor>,
    writes: Vec<Wrote>,
    reads: Vec<Read>,
) -> impl Iterator<Item = Event> {
    let written: BTreeSet<FileId> = writes.iter().map(|wrote| wrote.file).collect();
    let (reads, old): (Vec<Read>, Vec<Read>) = reads
        .into_iter()
        .partition(|read| written.contains(&read.file));
    let mut next: VecDeque<Actor> = sources.into();
    next.extend(old.iter().map(|read| read.actor));
    let mut hops = Hops::new(writes, reads);
    let mut moves = Vec::new();
    let mut others = hops.writers().into_iter();
    while let Some(actor) = next.pop_front().or_else(|| others.next()) {
        next.extend(hops.pass_on(actor, &mut moves));
    }
    old.into_iter().map(Event::Read).chain(moves)
}

/// What was not told yet.
struct Hops {
    writes: BTreeMap<Actor, Vec<Wrote>>,
    reads: BTreeMap<FileId, Vec<Read>>,
}

impl Hops {
    fn new(writes: Vec<Wrote>, reads: Vec<Read>) -> Self {
        let mut hops = Self {
            writes: BTreeMap::new(),
            reads: BTreeMap::new(),
        };
        for wrote in writes {
            hops.writes.entry(wrote.actor).or_default().push(wrote);
        }
        for read in reads {
            hops.reads.entry(read.file).or_default().push(read);
        }
        hops
    }

    /// Oldest first.
    fn writers(&self) -> Vec<Actor> {
        let mut writers: Vec<Actor> = self.writes.keys().copied().collect();
        writers.sort_by_key(|actor| (actor.start, actor.pid));
        writers
    }

    /// Tells what this process wrote, and who read it; these come next.
    fn pass_on(&mut self, actor: Actor, moves: &mut Vec<Event>) -> Vec<Actor> {
        let writes = self.writes.remove(&actor).unwrap_or_default();
        let mut readers = Vec::new();
        for wrote in writes {
            let read = self.reads.remove(&wrote.file).unwrap_or_default();
            moves.push(Event::Wrote(wrote));
            readers.extend(read.iter().map(|read| read.actor));
            moves.extend(read.into_iter().map(Event::Read));
        }
        readers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(pid: u32) -> Actor {
        let start = u64::from(pid);
        Actor { pid, start }
    }

    fn file(inode: u64) -> FileId {
        FileId {
            fs: FileId::CHANNEL,
            inode,
            generation: 0,
        }
    }

    fn wrote(pid: u32, inode: u64) -> Wrote {
        Wrote {
            actor: actor(pid),
            file: file(inode),
            bytes: 1,
            size: 1,
        }
    }

    fn read(pid: u32, inode: u64) -> Read {
        Read {
            actor: actor(pid),
            file: file(inode),
            store: None,
            bytes: 1,
            size: 1,
            estimated: false,
            below: false,
        }
    }

    #[track_caller]
    fn check(sources: &[u32], writes: &[(u32, u64)], reads: &[(u32, u64)], expected: &str) {
        let sources = sources.iter().map(|pid| actor(*pid)).collect();
        let writes = writes
            .iter()
            .map(|(pid, inode)| wrote(*pid, *inode))
            .collect();
        let reads = reads
            .iter()
            .map(|(pid, inode)| read(*pid, *inode))
            .collect();
        let told: Vec<String> = in_order_of_data(sources, writes, reads)
            .map(|event| match event {
                Event::Wrote(wrote) => format!("{}>{}", wrote.actor.pid, wrote.file.inode),
                Event::Read(read) => format!("{}<{}", read.actor.pid, read.file.inode),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(told.join(" "), expected);
    }

    #[test]
    fn data_passes_through_several_hands_in_one_round() {
        check(
            &[9],
            &[(3, 2), (9, 1)],
            &[(5, 2), (3, 1)],
            "9>1 3<1 3>2 5<2",
        );
    }

    #[test]
    fn a_service_answers_before_its_client_asks() {
        let writes = [(7, 1), (2, 3), (4, 2)];
        let reads = [(4, 1), (7, 2), (4, 3)];
        check(&[], &writes, &reads, "2>3 4<3 4>2 7<2 7>1 4<1");
    }

    #[test]
    fn what_was_staged_before_comes_first() {
        check(&[], &[(5, 2)], &[(5, 1), (6, 2)], "5<1 5>2 6<2");
    }

    #[test]
    fn nothing_is_told_twice_or_left_out() {
        let writes = [(1, 1), (2, 1), (2, 2), (3, 3)];
        let reads = [(2, 1), (3, 1), (1, 2), (1, 3), (1, 9)];
        check(
            &[1, 1, 3],
            &writes,
            &reads,
            "1<9 1>1 2<1 3<1 3>3 1<3 2>1 2>2 1<2",
        );
    }
}
