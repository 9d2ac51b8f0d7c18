//! Programs that a test starts: in a unit of their own where asked, and ended with the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::patience;

/// A program that is ended, with all that it started in its process group, when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    what: String,
}

impl Running {
    /// Starts `command` in a process group of its own.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        Self::spawn(command.stdin(Stdio::null()))
    }

    /// The same, with its standard input to write to.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_spoken_to(command: &mut Command) -> (Self, ChildStdin) {
        let mut running = Self::spawn(command.stdin(Stdio::piped()));
        let stdin = running.child.stdin.take().expect("piped");
        (running, stdin)
    }

    fn spawn(command: &mut Command) -> Self {
        use std::os::unix::process::CommandExt;
        let what = format!("{command:?}");
        let child = command
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {what}: {error}"));
        Self { child, what }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it, and it alone, a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(pid(self.child.id()), signal);
    }

    /// Waits for its end, at most with the [`patience`] for `seconds`.
    ///
    /// # Panics
    /// If it does not end.
    pub fn wait(&mut self, seconds: u64) -> ExitStatus {
        let limit = patience(seconds);
        let ended = self.ends_within(limit);
        ended.unwrap_or_else(|| panic!("still runs after {limit:?}: {}", self.what))
    }

    /// Waits for its end, at most until the `limit`; absent if it still runs.
    ///
    /// # Panics
    /// Never: a child can be waited for.
    pub fn ends_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < limit {
            let status = self.child.try_wait().expect("a child can be waited for");
            if status.is_some() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Waits for its end, at most with the [`patience`] for `seconds`, and wants success.
    ///
    /// # Panics
    /// If it fails or does not end.
    pub fn done(mut self, seconds: u64) {
        let status = self.wait(seconds);
        assert!(status.success(), "{status}: {}", self.what);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = nix::sys::signal::killpg(pid(self.child.id()), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// A systemd unit as far as anybody outside can tell: a cgroup of that name.
#[derive(Debug)]
pub struct Unit {
    folder: PathBuf,
    name: String,
}

impl Unit {
    /// A unit; `name` ends with `.service`.
    ///
    /// # Panics
    /// Without a cgroup2 mount, or the right to make a cgroup.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mount = cgroup2().expect("a cgroup2 mount");
        let folder = mount.join("system.slice").join(name);
        fs::create_dir_all(&folder)
            .unwrap_or_else(|error| panic!("cannot create '{}': {error}", folder.display()));
        Self {
            folder,
            name: name.to_string(),
        }
    }

    /// The session name that its processes must get.
    #[must_use]
    pub fn session(&self) -> String {
        format!("unit:{}", self.name)
    }

    /// Its cgroup.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A shell script to run in the unit, free of any audit session that the test itself runs in.
    #[must_use]
    pub fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg("echo $$ >\"$0/cgroup.procs\" && { echo 4294967295 >/proc/self/loginuid; } 2>/dev/null; exec /bin/sh -ec \"$1\"")
            .arg(&self.folder)
            .arg(script);
        command
    }

    /// Runs a script in the unit to its end, at most `seconds`.
    pub fn run(&self, script: &str, seconds: u64) {
        Running::start(&mut self.shell(script)).done(seconds);
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // Processes first: a cgroup with members cannot be removed.
        let _ = fs::write(self.folder.join("cgroup.kill"), "1");
        let start = Instant::now();
        while fs::remove_dir(&self.folder).is_err() && start.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Where the unified hierarchy is mounted: /sys/fs/cgroup, or /sys/fs/cgroup/unified beside the old ones.
#[must_use]
pub fn cgroup2() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&"cgroup2"))
        .map(|fields| Path::new(fields[1]).to_path_buf())
}

/// Runs a command to its end and wants success.
///
/// # Panics
/// With its standard error if it fails.
pub fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).expect("pids are small"))
}
