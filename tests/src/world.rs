//! A hospital's network for one test: the watched host with its stores, those it can reach, and users who log in.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sched::{CloneFlags, setns};

use crate::agent::Agent;
use crate::login::Logins;
use crate::net::{Network, OUT};
use crate::process::{Running, Unit, cgroup2};
use crate::sink::Sink;
use crate::wait::until;

/// One megabyte as the stores use it: whole pages, so that a figure that is off is off by something.
pub const MB: u64 = 1_000_000;

/// Everything that a live test needs, gone when dropped. One at a time: users and units are the machine's.
pub struct World {
    /// The hosts.
    pub net: Network,
    /// Users and how they come in.
    pub logins: Logins,
    /// A web server on the internet, port 80.
    pub sink: Sink,
    /// A web server on the PC inside, port 80.
    pub sink_inside: Sink,
    daemons: Vec<Running>,
    units: Vec<Unit>,
    folder: tempfile::TempDir,
    home: fs::File,
    _alone: MutexGuard<'static, ()>,
}

impl World {
    /// The world, with the calling thread on the watched host; or, where this machine lacks something, no world: the test
    /// `name` then did not run, which is said, and in CI is a failure.
    ///
    /// # Panics
    /// If a part of it does not start; in CI also if the machine lacks something.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        if let Err(missing) = rights() {
            eprintln!("not run: {name}: {missing}");
            assert!(
                std::env::var_os("CI").is_none(),
                "{name} cannot run here, and in CI it must: {missing}"
            );
            return None;
        }
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let home =
            fs::File::open("/proc/thread-self/ns/net").expect("a thread has a network namespace");
        // On a real disk: the page cache's tracepoints do not see tmpfs, which /tmp often is.
        let folder = tempfile::Builder::new()
            .prefix("jaga-live-")
            .tempdir_in("/var/tmp")
            .expect("/var/tmp is writable");
        open_to_all(folder.path());
        let net = Network::new();
        let logins = Logins::new(&folder.path().join("logins"));
        let daemons = vec![
            logins.serve(&net.host),
            logins.serve(&net.out),
            logins.serve(&net.lan),
        ];
        let sink = Sink::start(&net.out, 80);
        let sink_inside = Sink::start(&net.lan, 80);
        net.host.enter();
        Some(Self {
            net,
            logins,
            sink,
            sink_inside,
            daemons,
            units: Vec::new(),
            folder,
            home,
            _alone: alone,
        })
    }

    /// The world's folder, on a real disk, readable by all.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A store of `files` files of `bytes` bytes each; its path.
    ///
    /// # Panics
    /// If the disk is full.
    #[must_use]
    pub fn store(&self, name: &str, files: usize, bytes: u64) -> PathBuf {
        let folder = self.path(name);
        for index in 0..files {
            write_file(
                &folder.join(format!("{index:04}.dcm")),
                bytes,
                index as u64 + 1,
            );
        }
        folder
    }

    /// A folder of that name, writable by all.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder).expect("the folder can be made");
        open_to_all(&folder);
        folder
    }

    /// Starts the agent with stores as `(name, path)`, and what else the configuration shall say.
    #[must_use]
    pub fn agent(&self, stores: &[(&str, &Path)], more: &str) -> Agent {
        Agent::start(&self.path("agent"), &(stores_text(stores) + more))
    }

    /// Starts the agent with one store, `ekg`, in which so many bytes are a record: of small ones ten thousand, which are
    /// a leak, are soon together.
    #[must_use]
    pub fn agent_of_records(&self, store: &Path, bytes_each: u64, more: &str) -> Agent {
        let stores = format!(
            "stores: [ {{ name: ekg, paths: [{}], records: {{ bytes-each: {bytes_each} }} }} ]\n",
            store.display()
        );
        Agent::start(&self.path("agent"), &(stores + more))
    }

    /// The same under another program, see [`Agent::under`].
    #[must_use]
    pub fn agent_under(&self, program: &[&str], stores: &[(&str, &Path)]) -> Agent {
        Agent::under(&self.path("agent"), &stores_text(stores), program)
    }

    /// Keeps a program running as long as the world.
    pub fn keep(&mut self, running: Running) {
        self.daemons.push(running);
    }

    /// Keeps a server on the internet running as long as the world, and waits until it listens on `port`.
    ///
    /// # Panics
    /// If it does not.
    pub fn serve_outside(&mut self, command: &mut Command, port: u16) {
        self.keep(Running::start(command));
        let out = &self.net.out;
        until("a server on the internet to listen", 20, || {
            out.inside(|| TcpStream::connect((OUT, port)).ok())
        });
    }

    /// Runs a script in a unit of its own to its end, at most `seconds`; the unit lives as long as the world.
    pub fn in_unit(&mut self, name: &str, script: &str, seconds: u64) {
        let unit = Unit::new(name);
        unit.run(script, seconds);
        self.units.push(unit);
    }

    /// Starts a script in a unit of its own; both live as long as the world.
    pub fn serve_in_unit(&mut self, name: &str, script: &str) {
        let unit = Unit::new(name);
        self.daemons.push(Running::start(&mut unit.shell(script)));
        self.units.push(unit);
    }

    /// How many bytes the host on the internet receives while `act` runs, headers of the network included.
    pub fn out_received(&mut self, act: impl FnOnce(&mut Self)) -> u64 {
        let before = self.net.out.received();
        act(self);
        self.net.out.received() - before
    }

    /// A login of `user` from the PC inside, which runs `script` to its end.
    pub fn login(&self, user: &str, script: &str) -> Running {
        Running::start(
            &mut self
                .logins
                .login(&self.net.lan, user, crate::net::HOST_INSIDE, script),
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The thread may run the next test.
        let _ = setns(&self.home, CloneFlags::CLONE_NEWNET);
        self.daemons.clear();
        self.units.clear();
    }
}

/// The part of a configuration that names stores.
fn stores_text(stores: &[(&str, &Path)]) -> String {
    let lines = stores.iter().map(|(name, path)| {
        format!(
            "  - {{ name: {name}, paths: [{}], records: {{ per-file: 1 }} }}\n",
            path.display()
        )
    });
    std::iter::once("stores:\n".to_string())
        .chain(lines)
        .collect()
}

/// What this machine lacks for live tests.
fn rights() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root (network namespaces, cgroups, BPF)".into());
    }
    if cgroup2().is_none() {
        return Err("needs a cgroup2 mount".into());
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err("needs a kernel with BTF".into());
    }
    let places = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let is_missing = |tool: &&str| {
        !places
            .split(':')
            .any(|place| Path::new(place).join(tool).exists())
    };
    let tools = [
        "ip",
        "nsenter",
        "sshd",
        "ssh",
        "scp",
        "sftp",
        "rsync",
        "curl",
        "tar",
        "tcpdump",
        "tinyproxy",
        "useradd",
        "nft",
    ];
    let missing: Vec<&str> = tools.into_iter().filter(|tool| is_missing(tool)).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "needs {}: run packaging/setup.sh test",
            missing.join(", ")
        ))
    }
}

/// A file whose every page differs from every other's, so that nothing can share, skip or compress it by accident.
fn write_file(path: &Path, bytes: u64, seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut block = vec![0_u8; 1 << 16];
    let mut file = fs::File::create(path).expect("the file can be made");
    let mut left = bytes;
    while left > 0 {
        for chunk in block.as_chunks_mut::<8>().0 {
            // xorshift64*
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            chunk.copy_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        let now = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
        file.write_all(&block[..now]).expect("the disk has room");
        left -= now as u64;
    }
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777))
        .expect("our own folder can be opened to all");
}
