//! The demo when it is ended early: whatever ends it, no agent, no network and no directory of it stays for long.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use jaga_tests::program;
use jaga_tests::wait::until;
use jaga_tests::world::World;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A demo that watches, and leaks so slowly that no alert ends it.
struct Demo {
    child: std::process::Child,
}

impl Demo {
    fn start() -> Self {
        let mut child = Command::new(program::jaga())
            .args(["demo", "--rate", "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let watches = said
            .lines()
            .map_while(Result::ok)
            .any(|line| line.starts_with("Watching."));
        assert!(watches, "the demo ended before it watched");
        Self { child }
    }

    fn name(&self) -> String {
        format!("jaga-demo-{}", self.child.id())
    }

    /// Sends the signal and waits until the demo has ended.
    fn end(&mut self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, signal).unwrap();
        until("the demo to end", 20, || self.child.try_wait().unwrap());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Directories and namespaces of that name.
fn left(name: &str) -> Vec<String> {
    ["/var/tmp", "/run/netns"]
        .iter()
        .flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten())
        .map(|entry| entry.path().display().to_string())
        .filter(|path| path.contains(name))
        .collect()
}

/// Programs whose command line has that name in it: the agent, tar and curl.
fn running(name: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok())
        .filter(|line| line.contains(name))
        .collect()
}

fn can_run(name: &str) -> Option<World> {
    let world = World::new(name)?;
    assert!(Path::new("/run/netns").is_dir());
    Some(world)
}

#[test]
fn a_demo_that_is_told_to_end_leaves_nothing() {
    let Some(_alone) = can_run("a_demo_that_is_told_to_end_leaves_nothing") else {
        return;
    };
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut demo = Demo::start();
        assert!(!left(&demo.name()).is_empty() && !running(&demo.name()).is_empty());
        demo.end(signal);
        assert_eq!(left(&demo.name()), [""; 0], "{signal}");
        assert_eq!(running(&demo.name()), [""; 0], "{signal}");
    }
}

#[test]
fn what_a_killed_demo_leaves_is_removed_by_the_next() {
    let Some(_alone) = can_run("what_a_killed_demo_leaves_is_removed_by_the_next") else {
        return;
    };
    let mut killed = Demo::start();
    killed.end(Signal::SIGKILL);
    until("the agent to die with its demo", 10, || {
        running(&killed.name()).is_empty().then_some(())
    });
    assert!(!left(&killed.name()).is_empty());
    let mut next = Demo::start();
    assert_eq!(left(&killed.name()), [""; 0]);
    next.end(Signal::SIGTERM);
}
