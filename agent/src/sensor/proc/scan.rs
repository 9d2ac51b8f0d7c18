//! Process life as the difference between two looks at `/proc`.

use std::collections::BTreeMap;

use jaga_rules::event::{Actor, Gap};

use super::look::{self, Look};
use crate::sensor::host::seen::{Life, What, Who, actor};
use crate::sensor::host::source;

/// Who was there at the last look, with the program.
#[derive(Debug)]
pub(super) struct Scan {
    look: Look,
    there: BTreeMap<u32, (Who, String)>,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self {
            look: Look::default(),
            there: BTreeMap::new(),
        }
    }

    /// Whether anybody else is shown.
    pub(super) fn sees(&self) -> bool {
        look::pids().any(|pid| pid != std::process::id())
    }

    fn look_at(&mut self, pid: u32, lives: &mut Vec<Life>) -> Option<(Who, String)> {
        let (start, parent) = look::life(pid)?;
        let exe = look::exe(pid);
        let before = self.there.get(&pid);
        let same = before.filter(|(who, _)| who.actor == actor(pid, start));
        if let Some((who, program)) = same
            && *program == exe
        {
            return Some((*who, exe));
        }
        let is_new = same.is_none();
        let person = self.look.person(pid)?;
        if is_new {
            let parent = self.actor_of(parent);
            lives.push(Life {
                who: person.who,
                what: What::Fork { parent },
                cgroup: Some(person.cgroup.clone()),
            });
        }
        lives.push(Life {
            who: person.who,
            what: What::Exec { exe: exe.clone() },
            cgroup: Some(person.cgroup),
        });
        Some((person.who, exe))
    }

    fn actor_of(&self, pid: u32) -> Actor {
        let known = self.there.get(&pid).map(|(who, _)| who.actor);
        let look = || Some(actor(pid, look::life(pid)?.0));
        known.or_else(look).unwrap_or(actor(0, 0))
    }
}

impl source::Lives for Scan {
    fn take(&mut self) -> Vec<Life> {
        let mut lives = Vec::new();
        let mut pids: Vec<u32> = look::pids().collect();
        pids.sort_unstable();
        let mut there = BTreeMap::new();
        for pid in pids {
            if let Some(seen) = self.look_at(pid, &mut lives) {
                there.insert(pid, seen);
            }
        }
        let before = std::mem::take(&mut self.there);
        let left = before.into_values().filter(|(who, _)| {
            let now = there.get(&who.actor.pid);
            now.is_none_or(|(now, _)| now.actor != who.actor)
        });
        lives.extend(left.map(|(who, _)| Life {
            who,
            what: What::Exit,
            cgroup: None,
        }));
        self.there = there;
        lives
    }

    fn gap(&mut self) -> Option<Gap> {
        None
    }

    fn list(&mut self) -> Vec<Life> {
        let mut people: Vec<_> = look::pids()
            .filter_map(|pid| self.look.person(pid))
            .collect();
        people.sort_by_key(|person| person.who.actor);
        self.there = people
            .iter()
            .map(|person| {
                let pid = person.who.actor.pid;
                (pid, (person.who, look::exe(pid)))
            })
            .collect();
        let known = |person: look::Person| {
            let exe = self.there.get(&person.who.actor.pid);
            let what = What::Known {
                parent: self.actor_of(person.parent),
                exe: exe.map(|(_, exe)| exe.clone()).unwrap_or_default(),
            };
            Life {
                who: person.who,
                what,
                cgroup: Some(person.cgroup),
            }
        };
        people.into_iter().map(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::source::Lives;
    use super::*;

    #[test]
    fn who_comes_and_goes_is_told_once() {
        let mut scan = Scan::new();
        let me = std::process::id();
        let parent = scan.list().into_iter().find(|l| l.who.actor.pid == me);
        let parent = parent.unwrap().who.actor;
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let of = |lives: Vec<Life>| -> Vec<What> {
            let lives = lives.into_iter();
            let of = lives.filter(|life| life.who.actor.pid == child.id());
            of.map(|life| life.what).collect()
        };
        let born = of(scan.take());
        assert!(born.contains(&What::Fork { parent }), "{born:?}");
        assert_eq!(of(scan.take()), []);
        child.kill().unwrap();
        child.wait().unwrap();
        let left = |lives: Vec<Life>| lives.iter().any(|life| life.what == What::Exit);
        assert!(left(scan.take()));
    }
}
