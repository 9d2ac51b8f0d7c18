//! What the engine was told of each process, so that it is told what changed and nothing twice.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use jaga_rules::event::{Actor, Event, Exec, Fact, Fork, Name, Process, Regrouped};

use super::names::Names;
use super::seen::{Facts, Life, What, Who};

/// Every process that was told and has not ended. Bounded by the kernel's own limit of processes: whoever ended
/// without being seen to (a full ring) goes at the next [`Roster::resync`].
#[derive(Debug)]
pub struct Roster {
    told: HashMap<Actor, Told>,
    /// Whoever was told last of each process id.
    latest: HashMap<u32, Actor>,
    names: Names,
}

#[derive(Debug, Clone)]
struct Told {
    facts: Facts,
    /// The cgroup as of the last move that was told: what it does may be told with the next one before that move is.
    placed: u64,
    parent: Option<Actor>,
    exe: Name,
}

impl Roster {
    /// Nobody told yet.
    #[must_use]
    pub fn new(names: Names) -> Self {
        Self {
            told: HashMap::new(),
            latest: HashMap::new(),
            names,
        }
    }

    /// What a record means for the engine; an exit is only marked: it is told last.
    pub fn hear(&mut self, life: Life) -> Option<Event> {
        if let Some(path) = &life.cgroup {
            self.names.learn_cgroup(life.who.facts.cgroup, path);
        }
        match life.what {
            What::Known { parent, exe } => {
                let parent = (parent.pid != 0 && parent != life.who.actor).then_some(parent);
                Some(self.known(life.who, parent, exe.into()))
            }
            What::Fork { parent } => self.forked(life.who, parent),
            What::Exec { exe } => Some(self.became(life.who, exe.into())),
            What::Regrouped { by } => self.regrouped(life.who, by),
            What::Exit => None,
        }
    }

    /// What must be told before something that this process did: nothing, unless it is unknown or its users,
    /// audit session or cgroup changed without an event (setuid, a login, a move between cgroups).
    pub fn meet(&mut self, mut who: Who) -> Option<Event> {
        who.facts.login = self.login(who);
        let (parent, exe) = match self.told.get(&who.actor) {
            Some(told) if is_unnamed(&told.exe) => {
                let exe = self.names.exe(who.actor);
                if told.facts == who.facts && told.exe == exe {
                    return None;
                }
                (told.parent, exe)
            }
            Some(told) if told.facts == who.facts => return None,
            Some(told) => (told.parent, told.exe.clone()),
            None => (None, self.names.exe(who.actor)),
        };
        Some(self.known(who, parent, exe))
    }

    /// Nobody logs out, or in twice: sums of what a process did may be older than its login, which /proc knows. Of one that is
    /// gone the login stays.
    fn login(&self, who: Who) -> Option<(u32, u32)> {
        match self.told.get(&who.actor).and_then(|told| told.facts.login) {
            Some(known) if who.facts.login != Some(known) => {
                self.names.login(who.actor).unwrap_or(Some(known))
            }
            _ => who.facts.login,
        }
    }

    /// Forgets a process; its exit, if it was known.
    pub fn leave(&mut self, actor: Actor) -> Option<Event> {
        if self.latest.get(&actor.pid) == Some(&actor) {
            self.latest.remove(&actor.pid);
        }
        self.told.remove(&actor).map(|_| Event::Exit { actor })
    }

    /// After lost records: tells who is there and was not told, and who was told and is gone.
    pub fn resync(&mut self, there: Vec<Life>) -> Vec<Event> {
        let alive: BTreeSet<Actor> = there.iter().map(|life| life.who.actor).collect();
        let mut gone: Vec<Actor> = self.told.keys().copied().collect();
        gone.retain(|actor| !alive.contains(actor));
        gone.sort_unstable();
        let new = there
            .into_iter()
            .filter(|life| !self.told.contains_key(&life.who.actor))
            .collect::<Vec<_>>();
        let known: Vec<Event> = new.into_iter().filter_map(|life| self.hear(life)).collect();
        let exits = gone.into_iter().filter_map(|actor| self.leave(actor));
        known.into_iter().chain(exits).collect()
    }

    /// Whether it runs still.
    #[must_use]
    pub fn lives(&self, actor: Actor) -> bool {
        self.names.lives(actor)
    }

    /// Whoever has, or had until it is told that it ended, this process id.
    #[must_use]
    pub fn latest(&self, pid: u32) -> Option<Actor> {
        self.latest.get(&pid).copied()
    }

    fn placed(&self, who: Who) -> u64 {
        let told = self.told.get(&who.actor);
        told.map_or(who.facts.cgroup, |told| told.placed)
    }

    fn tell(&mut self, actor: Actor, told: Told) {
        self.latest.insert(actor.pid, actor);
        self.told.insert(actor, told);
    }

    fn known(&mut self, who: Who, parent: Option<Actor>, exe: Name) -> Event {
        let facts = who.facts;
        let placed = self.placed(who);
        let told = Told {
            facts,
            placed,
            parent,
            exe: exe.clone(),
        };
        self.tell(who.actor, told);
        Event::Known(Process {
            actor: who.actor,
            parent,
            exe,
            identity: self.names.identity(facts),
        })
    }

    fn forked(&mut self, child: Who, parent: Actor) -> Option<Event> {
        if self.told.contains_key(&child.actor) {
            return None; // the list of processes had it first
        }
        let maker = self.told.get(&parent);
        let inherited = maker.is_some_and(|told| told.facts == child.facts);
        let exe = maker.map(|told| told.exe.clone()).unwrap_or_default();
        let told = Told {
            facts: child.facts,
            placed: child.facts.cgroup,
            parent: Some(parent),
            exe,
        };
        self.tell(child.actor, told);
        Some(Event::Fork(Fork {
            parent,
            child: child.actor,
            identity: (!inherited).then(|| self.names.identity(child.facts)),
        }))
    }

    /// Nothing where the cgroup is of another hierarchy.
    fn regrouped(&mut self, who: Who, by: Actor) -> Option<Event> {
        let told = self.told.get_mut(&who.actor)?;
        if std::mem::replace(&mut told.placed, who.facts.cgroup) == who.facts.cgroup {
            return None;
        }
        told.facts = who.facts;
        Some(Event::Fact(Fact::Regrouped(Regrouped {
            actor: who.actor,
            by,
            identity: self.names.identity(who.facts),
        })))
    }

    fn became(&mut self, who: Who, exe: Name) -> Event {
        let parent = self.told.get(&who.actor).and_then(|told| told.parent);
        let told = Told {
            facts: who.facts,
            placed: self.placed(who),
            parent,
            exe: exe.clone(),
        };
        self.tell(who.actor, told);
        Event::Exec(Exec {
            actor: who.actor,
            exe,
            identity: self.names.identity(who.facts),
        })
    }
}

/// Whether a name is not to be had from the kernel's records: its threads have no program, and are made by `kthreadd`
/// before they get their name.
fn is_unnamed(exe: &Name) -> bool {
    exe.is_empty() || **exe == *"[kthreadd]"
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;

    pub(crate) fn roster() -> Roster {
        Roster::new(Names::new(Path::new("/nowhere")))
    }

    pub(crate) fn who(pid: u32, uid: u32) -> Who {
        let start = u64::from(pid) * 10;
        Who {
            actor: Actor { pid, start },
            facts: Facts {
                uid,
                login: None,
                cgroup: 5,
            },
        }
    }

    pub(crate) fn life(who: Who, what: What) -> Life {
        let cgroup = Some("/a.service".to_owned());
        Life { who, what, cgroup }
    }

    pub(crate) fn fork(parent: Who, child: Who) -> Life {
        let parent = parent.actor;
        life(child, What::Fork { parent })
    }

    pub(crate) fn exec(who: Who, exe: &str) -> Life {
        let exe = exe.to_owned();
        life(who, What::Exec { exe })
    }

    fn known(who: Who, parent: Who, exe: &str) -> Life {
        let exe = exe.to_owned();
        let parent = parent.actor;
        life(who, What::Known { parent, exe })
    }

    #[test]
    fn a_change_of_user_is_told_once_and_keeps_the_program() {
        let mut roster = roster();
        roster.hear(known(who(7, 0), who(1, 0), "/bin/su"));
        assert_eq!(roster.meet(who(7, 0)), None);
        let Some(Event::Known(process)) = roster.meet(who(7, 4_000_000)) else {
            panic!("the new user was not told");
        };
        assert_eq!(&*process.exe, "/bin/su");
        assert_eq!(process.parent, Some(who(1, 0).actor));
        assert_eq!(&*process.identity.user, "4000000");
        assert_eq!(&*process.identity.cgroup, "/a.service");
        assert_eq!(roster.meet(who(7, 4_000_000)), None);
    }

    #[test]
    fn a_child_tells_its_identity_only_where_it_differs() {
        let mut roster = roster();
        roster.hear(known(who(1, 0), who(0, 0), "/sbin/init"));
        let same = roster.hear(fork(who(1, 0), who(2, 0)));
        assert!(matches!(
            same,
            Some(Event::Fork(Fork { identity: None, .. }))
        ));
        let other = roster.hear(fork(who(1, 0), who(3, 33)));
        assert!(matches!(
            other,
            Some(Event::Fork(Fork {
                identity: Some(_),
                ..
            }))
        ));
    }

    #[test]
    fn a_process_of_the_list_is_not_forked_again() {
        let mut roster = roster();
        roster.hear(known(who(2, 0), who(1, 0), "/bin/sh"));
        assert_eq!(roster.hear(fork(who(1, 0), who(2, 0))), None);
    }

    #[test]
    fn whoever_is_put_into_another_cgroup_is_told_once_with_who_did_it() {
        let mut roster = roster();
        roster.hear(known(who(2, 0), who(1, 0), "/bin/sh"));
        let by = who(3, 0).actor;
        let mut there = who(2, 0);
        there.facts.cgroup = 6;
        let move_to = |who| Life {
            who,
            what: What::Regrouped { by },
            cgroup: Some("/b.service".to_owned()),
        };
        assert_eq!(roster.hear(move_to(who(2, 0))), None, "where it was");
        let Some(Event::Fact(Fact::Regrouped(told))) = roster.hear(move_to(there)) else {
            panic!("the new cgroup was not told");
        };
        assert_eq!((told.actor, told.by), (there.actor, by));
        assert_eq!(&*told.identity.cgroup, "/b.service");
        assert_eq!(roster.hear(move_to(there)), None, "twice");
        assert_eq!(roster.meet(there), None, "once more as a fact");
        there.facts.cgroup = 7;
        assert!(roster.meet(there).is_some(), "by what it did");
        assert!(roster.hear(move_to(there)).is_some(), "and by whom, later");
    }

    #[test]
    fn what_is_older_than_a_login_does_not_undo_it() {
        let mut roster = roster();
        let mut in_session = who(2, 0);
        in_session.facts.login = Some((1000, 3));
        roster.hear(known(in_session, who(1, 0), "/bin/sh"));
        assert_eq!(
            roster.meet(who(2, 0)),
            None,
            "it is gone, and /proc tells nothing"
        );
    }

    #[test]
    fn an_exit_is_told_once_and_only_of_the_known() {
        let mut roster = roster();
        roster.hear(known(who(2, 0), who(1, 0), "/bin/sh"));
        let actor = who(2, 0).actor;
        assert_eq!(roster.leave(actor), Some(Event::Exit { actor }));
        assert_eq!(roster.leave(actor), None);
    }

    #[test]
    fn whoever_had_a_process_id_last_is_found_until_its_end_is_told() {
        let mut roster = roster();
        roster.hear(known(who(2, 0), who(1, 0), "/bin/sh"));
        let actor = who(2, 0).actor;
        assert_eq!(roster.latest(2), Some(actor));
        roster.leave(actor);
        assert_eq!(roster.latest(2), None);
    }

    #[test]
    fn a_stranger_is_introduced_before_it_does_anything() {
        let told = roster().meet(who(2, 4_000_000));
        assert!(matches!(told, Some(Event::Known(process)) if process.exe.is_empty()));
    }

    #[test]
    fn after_a_loss_the_list_settles_who_is_there() {
        let mut roster = roster();
        roster.hear(known(who(2, 0), who(1, 0), "/bin/sh"));
        let there = vec![known(who(3, 0), who(1, 0), "/bin/cat")];
        let events = roster.resync(there);
        assert!(matches!(&events[0], Event::Known(process) if process.actor == who(3, 0).actor));
        let actor = who(2, 0).actor;
        assert_eq!(events[1..], [Event::Exit { actor }]);
        assert!(
            roster
                .resync(vec![known(who(3, 0), who(1, 0), "/bin/cat")])
                .is_empty()
        );
    }
}
