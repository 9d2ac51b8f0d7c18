//! The host on which a scenario plays: names become processes and files, the same ones each time.

use std::collections::BTreeMap;

use super::{Doer, Holder};
use crate::event::{
    Actor, Event, Exec, FileId, Fork, Identity, Login, Name, Place, Process, Stamp,
};

/// Who and what exists so far.
#[derive(Debug, Default)]
pub struct World {
    /// Number of the repeat that is being played, from 1: it stands for `{n}` in a session's name, so that one line
    /// makes a thousand jobs.
    pub run: u32,
    processes: BTreeMap<Doer, Actor>,
    next_pid: u32,
    files: BTreeMap<String, File>,
    /// How far each reader has come in each store: it reads on, and finds new files.
    read: BTreeMap<(Doer, Name), u64>,
    stores: Vec<Name>,
    /// Folders at which other file systems are mounted.
    mounts: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct File {
    id: FileId,
    size: u64,
}

/// File systems of the host: files outside the stores lie on this one, each store has one of its own.
const ROOT_FS: u64 = 1;
const MOUNTED_FS: u64 = 1_000;
const PID_ONE: Actor = Actor { pid: 1, start: 1 };

impl World {
    /// What runs at the start.
    pub fn first() -> Event {
        Event::Known(Process {
            actor: PID_ONE,
            parent: None,
            exe: "/usr/lib/systemd/systemd".into(),
            identity: Identity {
                user: "root".into(),
                cgroup: "/init.scope".into(),
                ..Identity::default()
            },
        })
    }

    /// The process for `who`; if it is new, what the engine must be told of it goes into `told`.
    pub fn process(&mut self, who: &Doer, at: Stamp, told: &mut Vec<Event>) -> Actor {
        let who = &self.numbered(who);
        if let Some(actor) = self.processes.get(who) {
            return *actor;
        }
        let plain = Doer {
            exe: None,
            user: None,
            ..who.clone()
        };
        let parent = (*who != plain).then(|| self.process(&plain, at, told));
        let actor = self.new_actor(at);
        told.extend(match parent {
            Some(parent) => child(who, parent, actor),
            None => born(&plain, actor),
        });
        self.processes.insert(who.clone(), actor);
        actor
    }

    /// All processes of the run of `who` end, the youngest first.
    pub fn end(&mut self, who: &Doer, told: &mut Vec<Event>) {
        let who = &self.numbered(who);
        let ended: Vec<Doer> = self
            .processes
            .keys()
            .filter(|other| other.session == who.session && other.run == who.run)
            .cloned()
            .collect();
        for doer in ended.iter().rev() {
            if let Some(actor) = self.processes.remove(doer) {
                told.push(Event::Exit { actor });
            }
        }
    }

    /// A file outside the stores and its size.
    pub fn file(&mut self, path: &str) -> (FileId, u64) {
        let inode = 1_000 + self.files.len() as u64;
        let fs = self.fs(path);
        let file = self.files.entry(path.to_owned()).or_insert(File {
            id: FileId {
                fs,
                inode,
                generation: 1,
            },
            size: 0,
        });
        (file.id, file.size)
    }

    /// Another file system is mounted at a folder; its number.
    pub fn mount(&mut self, folder: &str) -> u64 {
        if !self.mounts.iter().any(|mounted| mounted == folder) {
            self.mounts.push(folder.to_owned());
        }
        self.fs(&format!("{folder}/x"))
    }

    fn fs(&self, path: &str) -> u64 {
        let is_below = |folder: &String| {
            let below = path.strip_prefix(folder.as_str());
            below.is_some_and(|below| below.starts_with('/'))
        };
        let mount = self.mounts.iter().rposition(is_below);
        mount.map_or(ROOT_FS, |place| MOUNTED_FS + place as u64)
    }

    /// A file grows by so many bytes; returns it and its new size.
    pub fn grow(&mut self, path: &str, bytes: u64) -> (FileId, u64) {
        self.file(path);
        let Some(file) = self.files.get_mut(path) else {
            return self.file(path);
        };
        file.size = file.size.saturating_add(bytes);
        (file.id, file.size)
    }

    /// A file is deleted; its inode comes again with another generation.
    pub fn delete(&mut self, path: &str) -> FileId {
        let (id, _) = self.file(path);
        let generation = id.generation.wrapping_add(1);
        let reborn = File {
            id: FileId { generation, ..id },
            size: 0,
        };
        self.files.insert(path.to_owned(), reborn);
        id
    }

    /// `who` reads on in a store whose files have `file_size` bytes: pieces of files, each with its bytes.
    pub fn read_on(
        &mut self,
        who: &Doer,
        store: &Name,
        bytes: u64,
        file_size: u64,
    ) -> Vec<(FileId, u64)> {
        let fs = self.store_fs(store);
        let place = self
            .read
            .entry((self.numbered(who), store.clone()))
            .or_insert(0);
        let mut pieces = Vec::new();
        let mut left = bytes;
        while left > 0 {
            let inode = 1 + *place / file_size;
            let piece = left.min(file_size - *place % file_size);
            pieces.push((
                FileId {
                    fs,
                    inode,
                    generation: 1,
                },
                piece,
            ));
            *place += piece;
            left -= piece;
        }
        pieces
    }

    fn store_fs(&mut self, store: &Name) -> u64 {
        let place = self
            .stores
            .iter()
            .position(|known| known == store)
            .unwrap_or_else(|| {
                self.stores.push(store.clone());
                self.stores.len() - 1
            });
        100 + place as u64
    }

    /// Where data is, as an event says it.
    pub fn place(&mut self, holder: &Holder, at: Stamp, told: &mut Vec<Event>) -> Place {
        match holder {
            Holder::Doer(who) => Place::Actor(self.process(who, at, told)),
            Holder::Store(store) => Place::Store(store.clone()),
            Holder::File(path) => Place::File(self.file(path).0),
            Holder::Unit(unit) => Place::Unit(unit.clone()),
        }
    }

    fn numbered(&self, who: &Doer) -> Doer {
        Doer {
            session: who.session.replace("{n}", &self.run.to_string()),
            ..who.clone()
        }
    }

    fn new_actor(&mut self, at: Stamp) -> Actor {
        self.next_pid += 1;
        Actor {
            pid: 1_000 + self.next_pid,
            start: at.0.unsigned_abs(),
        }
    }
}

/// How a session's first process comes to be: what runs in a login, unit or container is found there, what somebody
/// starts by hand without any of them is forked by pid 1 and becomes another program.
fn born(who: &Doer, actor: Actor) -> Vec<Event> {
    let (kind, name) = who
        .session
        .split_once(':')
        .unwrap_or(("tree", &who.session));
    if kind == "tree" {
        let identity = Identity {
            user: "root".into(),
            ..Identity::default()
        };
        return vec![
            Event::Fork(Fork {
                parent: PID_ONE,
                child: actor,
                identity: Some(identity.clone()),
            }),
            Event::Exec(Exec {
                actor,
                exe: name.into(),
                identity,
            }),
        ];
    }
    let (exe, identity) = match kind {
        "login" => login(name, who.run),
        "container" => container(name, who.run),
        _ => unit(name),
    };
    vec![Event::Known(Process {
        actor,
        parent: Some(PID_ONE),
        exe,
        identity,
    })]
}

fn login(user: &str, run: u32) -> (Name, Identity) {
    let session = number(user) % 10_000 * 100 + run;
    let identity = Identity {
        user: user.into(),
        login: Some(Login {
            user: user.into(),
            session,
        }),
        cgroup: format!("/user.slice/user-1000.slice/session-{session}.scope").into(),
        container: None,
    };
    ("/usr/bin/bash".into(), identity)
}

fn container(name: &str, run: u32) -> (Name, Identity) {
    let half = u64::from(number(name)) << 32 | u64::from(run);
    let id = format!("{half:016x}").repeat(4);
    let identity = Identity {
        user: "root".into(),
        login: None,
        cgroup: format!("/system.slice/docker-{id}.scope").into(),
        container: Some(name.into()),
    };
    (format!("/usr/local/bin/{name}").into(), identity)
}

fn unit(name: &str) -> (Name, Identity) {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let identity = Identity {
        user: "root".into(),
        cgroup: format!("/system.slice/{name}").into(),
        ..Identity::default()
    };
    (
        format!("/usr/sbin/{}", stem.split('@').next().unwrap_or(stem)).into(),
        identity,
    )
}

/// A process of the same session with another program, another user, or both.
fn child(who: &Doer, parent: Actor, actor: Actor) -> Vec<Event> {
    let plain = born(
        &Doer {
            exe: None,
            user: None,
            ..who.clone()
        },
        parent,
    );
    let (exe, identity) = match plain.into_iter().last() {
        Some(Event::Known(process)) => (process.exe, process.identity),
        Some(Event::Exec(exec)) => (exec.exe, exec.identity),
        _ => return Vec::new(),
    };
    let user = who
        .user
        .as_ref()
        .map_or(identity.user, |user| user.as_str().into());
    let identity = Identity { user, ..identity };
    let exe = who.exe.as_ref().map_or(exe, |exe| exe.as_str().into());
    vec![
        Event::Fork(Fork {
            parent,
            child: actor,
            identity: None,
        }),
        Event::Exec(Exec {
            actor,
            exe,
            identity,
        }),
    ]
}

/// A number for a name, the same each time (FNV-1a, 32 bits).
fn number(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
