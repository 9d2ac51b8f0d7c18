//! Processes and the sessions they belong to, as recorded when they were made.

use crate::cgroup::{Cgroup, MANAGER, is_within};
use crate::event::{Actor, Exec, Fork, Identity, Login, Name, Process, Regrouped};
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
    /// Last unit of its cgroup path, behind what it lies in but slices; `NOBODY` if none.
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
    /// Its cgroup or login, or those of whoever made it, were changed by somebody else than the service manager, a container's
    /// runtime or a login: it may not be what it is called, and nothing that is meant for that name is for it.
    pub is_disguised: bool,
    /// It, or whoever made it, once had a unit, a container or a login, or is of the kernel.
    was_placed: bool,
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

    /// A process was put into another cgroup. Tells if it moved to another run.
    pub fn regroup(&mut self, names: &mut Names, told: &Regrouped) -> Option<Moved> {
        let may = self.may_regroup(names, told);
        let moved = self.identify(names, told.actor, &told.identity);
        if let Some(member) = self.members.get_mut(&told.actor) {
            member.is_disguised |= !may;
        }
        moved
    }

    /// Whether it is one who puts processes where they belong. The service manager, and a child of its own that never had a
    /// place (systemd before 254 puts itself into its unit), may do all; a service that is no login may put others into
    /// containers: it is a runtime. Who keeps its name gains nothing, nor who has none then, or one that a user gave.
    fn may_regroup(&self, names: &Names, told: &Regrouped) -> bool {
        let place = Cgroup::of(&told.identity.cgroup);
        let text = |id: NameId| (id != NOBODY).then(|| &**names.text(id));
        let keeps_its_name = self.members.get(&told.actor).is_some_and(|member| {
            text(member.unit) == place.unit.as_deref()
                && Cgroup::of(&member.identity.cgroup).container == place.container
        });
        let has_no_name = place.unit.is_none() && place.container.is_none();
        let is_a_users = place
            .unit
            .as_ref()
            .is_some_and(|unit| unit.starts_with(MANAGER));
        if keeps_its_name || has_no_name || is_a_users || told.by.pid == 1 {
            return true;
        }
        let Some(by) = self.members.get(&told.by) else {
            return place.container.is_some(); // what was lost was told
        };
        let unit = place.unit.as_deref();
        if unit.is_some_and(|unit| is_within(unit, &by.identity.cgroup)) {
            return true; // such as systemd in a container
        }
        let is_runtime = told.by != told.actor && place.container.is_some();
        !by.is_disguised && by.login == NOBODY && (!by.was_placed || is_runtime)
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
        if let (Some(parent), Some(child)) = (parent, self.members.get_mut(&fork.child)) {
            let of_the_kernel = names.text(parent.exe);
            let of_the_kernel = of_the_kernel.is_empty() || of_the_kernel.starts_with('[');
            child.is_disguised = parent.is_disguised || parent.identity.drops(identity);
            child.was_placed |= parent.was_placed || of_the_kernel;
        }
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
            is_disguised: false,
            was_placed: false,
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
            .as_deref()
            .map_or(NOBODY, |unit| names.intern(&Name::from(unit)));
        let container = identity
            .container
            .clone()
            .or_else(|| place.container.map(Name::from));
        member.container = container.as_ref().map_or(NOBODY, |name| names.intern(name));
        member.was_placed |= [member.unit, member.container, member.login] != [NOBODY; 3];
        member.is_disguised |= member.identity.drops(identity);
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
    if let Some(unit) = &place.unit {
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

impl Identity {
    /// Whether these have another login where there was one, or none: nobody logs in twice, or out again.
    fn drops(&self, now: &Self) -> bool {
        self.login.is_some() && self.login != now.login
    }
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

    fn in_cgroup(path: &str) -> Identity {
        Identity {
            cgroup: path.into(),
            ..Identity::default()
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

    /// Who is put where, by whom, and whether it is what it is called from then on.
    #[test]
    fn only_managers_and_runtimes_say_what_a_process_is() {
        let unit = "/system.slice/backup.service";
        let container = format!(
            "/system.slice/docker-{}.scope",
            "0123456789abcdef".repeat(4)
        );
        let (apache, none) = ("/system.slice/apache2.service", "");
        let check = |by: Identity, exe: &str, itself: bool, to: &str, expected: bool| {
            let mut world = World::new();
            world.fork(1, 100);
            world.exec(100, exe, by.clone());
            world.fork(100, 101);
            let identity = Identity {
                cgroup: to.into(),
                ..by
            };
            let (by, actor) = (actor(100), actor(if itself { 100 } else { 101 }));
            let told = Regrouped {
                actor,
                by,
                identity,
            };
            world.lineage.regroup(&mut world.names, &told);
            let member = world.lineage.member(actor).expect("known");
            assert_eq!(member.is_disguised, !expected, "{exe} to {to}");
            world.fork(actor.pid, 102);
            let child = world.lineage.member(self::actor(102)).expect("known");
            assert_eq!(child.is_disguised, !expected, "a child of {exe}");
        };
        check(in_cgroup(none), "/lib/systemd/systemd", true, unit, true);
        check(
            in_cgroup(none),
            "/sbin/start-stop-daemon",
            false,
            unit,
            true,
        );
        check(in_cgroup(apache), "/bin/sh", true, unit, false);
        check(in_cgroup(apache), "/bin/sh", false, unit, false);
        check(in_cgroup(apache), "/bin/sh", true, &container, false);
        check(in_cgroup(apache), "/usr/bin/runc", false, &container, true);
        check(login("root", 3), "/bin/sh", false, unit, false);
        check(login("root", 3), "/bin/sh", false, &container, false);
        check(login("root", 3), "/bin/sh", true, "/elsewhere", true);
        let (own, users) = (format!("{apache}/payload"), "/user@1.service/app.service");
        check(in_cgroup(apache), "/usr/bin/podman", true, &own, true);
        check(login("root", 3), "/lib/systemd/systemd", false, unit, false);
        check(login("root", 3), "/lib/systemd/systemd", false, users, true);
        let (inner, below) = (
            in_cgroup("/lxc.payload.a/init.scope"),
            "/lxc.payload.a/system.slice/b.service",
        );
        check(inner, "/lib/systemd/systemd", false, below, true);
        check(in_cgroup(apache), "/bin/sh", false, below, false);
        check(
            in_cgroup(apache),
            "/bin/sh",
            false,
            &format!("{container}/backup.service"),
            true,
        );
    }

    /// Out of every unit first, and from there into another one; a helper that the kernel starts was never in one.
    #[test]
    fn two_steps_are_no_way_round() {
        let mut world = World::new();
        let unit = in_cgroup("/system.slice/backup.service");
        world.fork(1, 100);
        world.exec(100, "/bin/sh", in_cgroup("/system.slice/apache2.service"));
        let by_itself = |world: &mut World, pid, identity: &Identity| {
            let told = Regrouped {
                actor: actor(pid),
                by: actor(pid),
                identity: identity.clone(),
            };
            world.lineage.regroup(&mut world.names, &told);
            world
                .lineage
                .member(actor(pid))
                .expect("known")
                .is_disguised
        };
        assert!(!by_itself(&mut world, 100, &in_cgroup("")));
        world.fork(100, 101);
        assert!(by_itself(&mut world, 100, &unit));
        assert!(by_itself(&mut world, 101, &unit), "its child");
        let kernel = Process {
            actor: actor(50),
            parent: Some(actor(2)),
            exe: "[kworker/0:1]".into(),
            identity: Identity::default(),
        };
        world.lineage.know(&mut world.names, &kernel);
        world.fork(50, 51);
        assert!(by_itself(&mut world, 51, &unit), "a helper of the kernel");
    }

    #[test]
    fn who_drops_its_login_is_disguised_and_who_logs_in_is_not() {
        let mut world = World::new();
        world.fork(1, 100);
        world.exec(100, "/usr/sbin/sshd", Identity::default());
        world.exec(100, "/bin/bash", login("alice", 7));
        let disguised = |world: &World, pid| world.lineage.member(actor(pid)).unwrap().is_disguised;
        assert!(!disguised(&world, 100));
        world.exec(100, "/bin/sh", login("backup", 8));
        assert!(disguised(&world, 100));
        world.exec(100, "/bin/sh", login("alice", 7));
        assert!(disguised(&world, 100), "and stays so");
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
