//! Processes and the sessions they belong to, as recorded when they were made.

use crate::event::{Actor, Exec, Fork, Identity, Login, Name, Process};
use crate::map::{Map, map};
use crate::names::{NOBODY, NameId, Names};

/// Processes kept at the most; beyond, a process is unknown (and what it sends counts as anybody's).
pub const PROCESSES_LIMIT: usize = 262_144;

/// What identifies a session run: the first that applies.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum RunKey {
    /// An audit session of the kernel.
    Audit(u32),
    /// A container, by its cgroup.
    Container(Name),
    /// A systemd unit, by its cgroup.
    Unit(Name),
    /// A tree of processes, by its top.
    Tree(Actor),
    /// A host in a recording without actors.
    Host(std::net::IpAddr),
    /// Whoever is not known.
    Unknown,
    /// Readers on a rung that cannot tell who reads: it may have been anybody.
    Anybody,
}

/// What a process is to the engine.
#[derive(Debug, Clone)]
pub struct Member {
    /// Path of its program.
    pub exe: NameId,
    /// Effective user.
    pub user: NameId,
    /// Login user; `NOBODY` without an audit session.
    pub login: NameId,
    /// Last unit of its cgroup path; `NOBODY` if none.
    pub unit: NameId,
    /// Container name; `NOBODY` if none.
    pub container: NameId,
    /// Top of its tree, as recorded at fork.
    pub top: Actor,
    /// The session run.
    pub run: RunKey,
    /// The run's name.
    pub session: NameId,
    /// It read store data or took it over a carrier (the engine's own mark).
    pub took: bool,
    identity: Identity,
}

/// The process table.
#[derive(Debug)]
pub struct Lineage {
    members: Map<Actor, Member>,
    tops: Map<Actor, Top>,
    refused: u64,
}

/// The top of a tree. It outlives its process: a daemon's children keep the name.
#[derive(Debug)]
struct Top {
    exe: NameId,
    /// The name still is the parent's program; the first exec settles it.
    provisional: bool,
    members: u32,
}

/// A process moved from one session run to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The run it was in.
    pub from: RunKey,
    /// Its mark.
    pub took: bool,
}

impl Lineage {
    /// An empty table.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            members: map(seed),
            tops: map(seed),
            refused: 0,
        }
    }

    /// A process, if known.
    #[must_use]
    pub fn member(&self, actor: Actor) -> Option<&Member> {
        self.members.get(&actor)
    }

    /// A process, to mark it.
    pub fn member_mut(&mut self, actor: Actor) -> Option<&mut Member> {
        self.members.get_mut(&actor)
    }

    /// Processes, and how many did not fit.
    #[must_use]
    pub fn size(&self) -> (usize, u64) {
        (self.members.len(), self.refused)
    }

    /// A process that already runs, or whose facts changed. Tells if it moved to another run.
    pub fn know(&mut self, names: &mut Names, process: &Process) -> Option<Moved> {
        let exe = names.intern(&process.exe);
        if let Some(member) = self.members.get_mut(&process.actor) {
            member.exe = exe;
            // A thread of the kernel gets its name after it was made, and becomes no other program.
            if let Some(top) = self.tops.get_mut(&process.actor)
                && top.provisional
            {
                top.exe = exe;
            }
            return self.identify(names, process.actor, &process.identity);
        }
        let top = self.top_of_child(process.parent, process.actor);
        if top == process.actor {
            self.begin_tree(top, exe, false);
        }
        self.insert(names, process.actor, top, exe, &process.identity);
        None
    }

    fn begin_tree(&mut self, top: Actor, exe: NameId, provisional: bool) {
        let members = 0;
        let new = Top {
            exe,
            provisional,
            members,
        };
        self.tops.get_or_insert(top, new);
    }

    /// A process made another, which inherits everything.
    pub fn fork(&mut self, names: &mut Names, fork: &Fork) {
        let parent = self.members.get(&fork.parent).cloned();
        let top = self.top_of_child(Some(fork.parent), fork.child);
        let exe = parent.as_ref().map_or(NOBODY, |parent| parent.exe);
        if top == fork.child {
            self.begin_tree(top, exe, true);
        }
        let inherited = parent
            .as_ref()
            .map(|parent| parent.identity.clone())
            .unwrap_or_default();
        let identity = fork.identity.as_ref().unwrap_or(&inherited);
        self.insert(names, fork.child, top, exe, identity);
    }

    /// A process became another program. Tells if it moved to another run.
    pub fn exec(&mut self, names: &mut Names, exec: &Exec) -> Option<Moved> {
        let exe = names.intern(&exec.exe);
        if !self.members.contains_key(&exec.actor) {
            let process = Process {
                actor: exec.actor,
                parent: None,
                exe: exec.exe.clone(),
                identity: exec.identity.clone(),
            };
            return self.know(names, &process);
        }
        if let Some(top) = self.tops.get_mut(&exec.actor).filter(|top| top.provisional) {
            (top.exe, top.provisional) = (exe, false);
        }
        let member = self.members.get_mut(&exec.actor)?;
        member.exe = exe;
        self.identify(names, exec.actor, &exec.identity)
    }

    /// A process ended. Returns what it was.
    pub fn exit(&mut self, actor: Actor) -> Option<Member> {
        let member = self.members.remove(&actor)?;
        if let Some(top) = self.tops.get_mut(&member.top) {
            top.members -= 1;
            if top.members == 0 {
                self.tops.remove(&member.top);
            }
        }
        Some(member)
    }

    /// Children of pid 1 (and of nobody) begin a tree; everybody else belongs to their maker's.
    fn top_of_child(&self, parent: Option<Actor>, child: Actor) -> Actor {
        match parent {
            Some(parent) if parent.pid > 2 => {
                self.members.get(&parent).map_or(child, |parent| parent.top)
            }
            _ => child,
        }
    }

    fn insert(
        &mut self,
        names: &mut Names,
        actor: Actor,
        top: Actor,
        exe: NameId,
        identity: &Identity,
    ) {
        if self.members.len() >= PROCESSES_LIMIT {
            self.refused += 1;
            return;
        }
        if let Some(top) = self.tops.get_mut(&top) {
            top.members += 1;
        }
        let run = RunKey::Unknown;
        let member = Member {
            exe,
            user: NOBODY,
            login: NOBODY,
            unit: NOBODY,
            container: NOBODY,
            top,
            run,
            session: NOBODY,
            took: false,
            identity: Identity::default(),
        };
        self.members.insert(actor, member);
        self.identify(names, actor, identity);
    }

    fn identify(&mut self, names: &mut Names, actor: Actor, identity: &Identity) -> Option<Moved> {
        let member = self.members.get_mut(&actor)?;
        let place = Cgroup::of(&identity.cgroup);
        member.user = names.intern(&identity.user);
        member.login = identity
            .login
            .as_ref()
            .map_or(NOBODY, |login| names.intern(&login.user));
        member.unit = place
            .unit
            .map_or(NOBODY, |unit| names.intern(&Name::from(unit)));
        let container = identity
            .container
            .clone()
            .or_else(|| place.container.map(Name::from));
        member.container = container.as_ref().map_or(NOBODY, |name| names.intern(name));
        member.identity = identity.clone();
        let top = self.tops.get(&member.top).map_or(member.exe, |top| top.exe);
        let (run, name) = run_of(
            identity,
            &place,
            container.as_deref(),
            member.top,
            names.text(top),
        );
        member.session = names.intern(&Name::from(name));
        if member.run == run {
            return None;
        }
        let from = std::mem::replace(&mut member.run, run);
        Some(Moved {
            from,
            took: member.took,
        })
    }
}

fn run_of(
    identity: &Identity,
    place: &Cgroup<'_>,
    container: Option<&str>,
    top: Actor,
    exe: &str,
) -> (RunKey, String) {
    if let Some(Login { user, session }) = &identity.login {
        return (RunKey::Audit(*session), format!("login:{user}"));
    }
    if let Some(container) = container {
        return (
            RunKey::Container(identity.cgroup.clone()),
            format!("container:{container}"),
        );
    }
    if let Some(unit) = place.unit {
        return (
            RunKey::Unit(identity.cgroup.clone()),
            format!("unit:{unit}"),
        );
    }
    (
        RunKey::Tree(top),
        format!("tree:{}", if exe.is_empty() { "?" } else { exe }),
    )
}

/// What a cgroup path tells.
#[derive(Debug, PartialEq, Eq)]
struct Cgroup<'a> {
    /// Short id of the container of a known runtime.
    container: Option<&'a str>,
    /// The last `*.service` or `*.scope` that is not a login's own.
    unit: Option<&'a str>,
}

impl<'a> Cgroup<'a> {
    fn of(path: &'a str) -> Self {
        let container = path.split('/').find_map(container_id);
        let container = container.map(|id| &id[..12]);
        let unit = path.split('/').rfind(|part| is_unit(part));
        Self { container, unit }
    }
}

fn is_unit(part: &str) -> bool {
    let unit = part.ends_with(".service") || part.ends_with(".scope");
    unit && !part.starts_with("session-") && !part.starts_with("user@") && part != "init.scope"
}

/// The id in a part of a cgroup's path, if it is a container's of a known runtime: `docker-<64 hex>.scope`,
/// `cri-containerd-…`, `crio-…`, `libpod-…`, and cgroupfs's bare `<64 hex>`.
#[must_use]
pub fn container_id(part: &str) -> Option<&str> {
    let id = part.strip_suffix(".scope").unwrap_or(part);
    let id = ["docker-", "cri-containerd-", "crio-", "libpod-"]
        .iter()
        .find_map(|p| id.strip_prefix(p))
        .unwrap_or(id);
    let hex = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(pid: u32) -> Actor {
        Actor {
            pid,
            start: u64::from(pid),
        }
    }

    struct World {
        names: Names,
        lineage: Lineage,
    }

    impl World {
        fn new() -> Self {
            Self {
                names: Names::new(1),
                lineage: Lineage::new(1),
            }
        }

        fn fork(&mut self, parent: u32, child: u32) {
            let fork = Fork {
                parent: actor(parent),
                child: actor(child),
                identity: None,
            };
            self.lineage.fork(&mut self.names, &fork);
        }

        fn exec(&mut self, pid: u32, exe: &str, identity: Identity) -> Option<Moved> {
            let exec = Exec {
                actor: actor(pid),
                exe: exe.into(),
                identity,
            };
            self.lineage.exec(&mut self.names, &exec)
        }

        fn session(&self, pid: u32) -> &str {
            self.names
                .text(self.lineage.member(actor(pid)).expect("known").session)
        }
    }

    fn login(user: &str, session: u32) -> Identity {
        Identity {
            login: Some(Login {
                user: user.into(),
                session,
            }),
            ..Identity::default()
        }
    }

    #[test]
    fn a_tree_keeps_the_name_of_its_top_whoever_becomes_the_parent() {
        let mut world = World::new();
        world.fork(1, 100);
        world.exec(100, "/opt/x", Identity::default());
        world.fork(100, 101);
        world.exec(101, "/usr/bin/tar", Identity::default());
        world.lineage.exit(actor(100));
        world.fork(101, 102);
        assert_eq!(world.session(102), "tree:/opt/x");
        world.exec(100, "/opt/x", Identity::default());
    }

    #[test]
    fn an_exec_under_a_harmless_name_does_not_leave_the_session() {
        let mut world = World::new();
        world.fork(1, 100);
        world.exec(100, "/opt/x", Identity::default());
        world.exec(100, "/usr/bin/filebeat", Identity::default());
        assert_eq!(world.session(100), "tree:/opt/x");
    }

    #[test]
    fn a_login_beats_container_and_unit_and_is_inherited() {
        let mut world = World::new();
        world.fork(1, 100);
        let unit = Identity {
            cgroup: "/system.slice/ssh.service".into(),
            ..Identity::default()
        };
        world.exec(100, "/usr/sbin/sshd", unit);
        assert_eq!(world.session(100), "unit:ssh.service");
        world.fork(100, 101);
        let moved = world
            .exec(101, "/bin/bash", login("alice", 7))
            .expect("it moved");
        assert_eq!(moved.from, RunKey::Unit("/system.slice/ssh.service".into()));
        world.fork(101, 102);
        assert_eq!(world.session(102), "login:alice");
    }

    #[test]
    fn cgroup_paths() {
        let hex = "0123456789abcdef".repeat(4);
        let docker = format!("/system.slice/docker-{hex}.scope");
        assert_eq!(Cgroup::of(&docker).container, Some("0123456789ab"));
        let pod = format!("/kubepods/burstable/pod1/{hex}");
        assert_eq!(Cgroup::of(&pod).container, Some("0123456789ab"));
        let nested = "/user.slice/user-1000.slice/user@1000.service/app.slice/sync.service";
        assert_eq!(Cgroup::of(nested).unit, Some("sync.service"));
        assert_eq!(
            Cgroup::of("/user.slice/user-0.slice/session-3.scope").unit,
            None
        );
        assert_eq!(Cgroup::of("/init.scope").unit, None);
    }

    #[test]
    fn the_dead_leave_nothing_behind() {
        let mut world = World::new();
        for pid in 10..1000 {
            world.fork(if pid % 2 == 0 { 1 } else { pid - 1 }, pid);
        }
        for pid in 10..1000 {
            world.lineage.exit(actor(pid));
        }
        assert_eq!(
            (world.lineage.members.len(), world.lineage.tops.len()),
            (0, 0)
        );
    }
}
