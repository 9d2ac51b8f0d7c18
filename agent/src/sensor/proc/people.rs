//! Whoever the connector told of, completed from `/proc` while they live.

use hashbrown::HashMap;

use super::decode::{Event, News};
use super::look::{self, Look};
use crate::clock;
use crate::sensor::host::seen::{Facts, Life, What, Who, actor};

/// Processes that are known. Bounded by the kernel's own limit: an exit takes one out, the list all.
#[derive(Debug, Default)]
pub struct People {
    look: Look,
    known: HashMap<u32, Who>,
}

impl People {
    /// What a piece of news means.
    pub fn hear(&mut self, news: News) -> Option<Life> {
        match news.what {
            Event::Fork(parent) => Some(self.forked(news, parent)),
            Event::Exec => Some(self.became(news)),
            Event::Exit => self.known.remove(&news.pid).map(|who| Life {
                who,
                what: What::Exit,
                cgroup: None,
            }),
        }
    }

    /// Everybody who is there now.
    pub fn list(&mut self) -> Vec<Life> {
        let there: Vec<look::Person> = look::pids()
            .filter_map(|pid| self.look.person(pid))
            .collect();
        self.known = there
            .iter()
            .map(|person| (person.who.actor.pid, person.who))
            .collect();
        there
            .into_iter()
            .map(|person| self.already_there(person))
            .collect()
    }

    fn already_there(&self, person: look::Person) -> Life {
        let parent = self.known.get(&person.parent).map(|who| who.actor);
        let what = What::Known {
            parent: parent.unwrap_or(actor(0, 0)),
            exe: look::exe(person.who.actor.pid),
        };
        Life {
            who: person.who,
            what,
            cgroup: Some(person.cgroup),
        }
    }

    /// A child is what its parent is until it becomes something else: one file of `/proc` is read, not five.
    fn forked(&mut self, news: News, parent: u32) -> Life {
        let maker = self.known.get(&parent).copied();
        let maker = maker.or_else(|| Some(self.look.person(parent)?.who));
        let start = look::life(news.pid).map_or_else(|| boottime(news.at), |(start, _)| start);
        let who = Who {
            actor: actor(news.pid, start),
            facts: maker.map_or(NOTHING, |maker| maker.facts),
        };
        self.known.insert(news.pid, who);
        Life {
            who,
            what: What::Fork {
                parent: maker.map_or(actor(0, 0), |maker| maker.actor),
            },
            cgroup: None,
        }
    }

    fn became(&mut self, news: News) -> Life {
        let person = self.look.person(news.pid);
        let before = self.known.get(&news.pid).copied();
        let (who, cgroup) = match (person, before) {
            (Some(person), _) => (person.who, Some(person.cgroup)),
            (None, Some(before)) => (before, None),
            (None, None) => {
                let actor = actor(news.pid, boottime(news.at));
                let facts = NOTHING;
                (Who { actor, facts }, None)
            }
        };
        self.known.insert(news.pid, who);
        Life {
            who,
            what: What::Exec {
                exe: look::exe(news.pid),
            },
            cgroup,
        }
    }
}

/// Nothing is known of a process that was gone before it could be looked at.
const NOTHING: Facts = Facts {
    uid: u32::MAX,
    login: None,
    cgroup: 0,
};

/// The connector stamps by another clock, which stands still while the host sleeps.
fn boottime(monotonic: u64) -> u64 {
    monotonic.saturating_add_signed(clock::slept())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(pid: u32, what: Event) -> News {
        News { pid, at: 7, what }
    }

    #[test]
    fn a_child_is_what_its_parent_is() {
        let mut people = People::default();
        let me = std::process::id();
        let list = people.list();
        let mine = list.iter().find(|life| life.who.actor.pid == me).unwrap();
        let gone = u32::MAX;
        let born = people.hear(news(gone, Event::Fork(me))).unwrap();
        assert_eq!(born.who.facts, mine.who.facts);
        let parent = mine.who.actor;
        assert_eq!(born.what, What::Fork { parent });
        let left = people.hear(news(gone, Event::Exit)).unwrap();
        assert_eq!((left.who, left.what), (born.who, What::Exit));
        assert_eq!(people.hear(news(gone, Event::Exit)), None);
    }

    #[test]
    fn a_program_and_its_place_are_read_while_it_lives() {
        let mut people = People::default();
        let exec = people.hear(news(std::process::id(), Event::Exec)).unwrap();
        let exe = std::env::current_exe().unwrap();
        let exe = exe.to_str().unwrap().to_owned();
        assert_eq!(exec.what, What::Exec { exe });
        assert!(exec.cgroup.is_some());
    }
}
