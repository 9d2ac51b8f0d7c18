//! The demo's world: a directory, two network namespaces, and somebody outside who takes everything.

use std::fs::{self, DirBuilder, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use super::sweep::{PREFIX, sweep};

/// The place outside (TEST-NET-3, RFC 5737: nobody's).
pub const OUTSIDE: &str = "203.0.113.9:8080";
const METRICS: &str = "127.0.0.1:9977";

/// Where the demo's directory is: on a real disk, as the page cache's tracepoints do not see tmpfs.
pub(super) const PLACE: &str = "/var/tmp";
/// For the agent to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A program that dies with the demo, even by kill -9, and gets no Ctrl-C of its own.
#[must_use]
pub fn bound(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command.process_group(0);
    command
}

/// Removed when it goes out of scope.
pub struct Sandbox {
    /// The directory.
    pub root: PathBuf,
    /// The store.
    pub store: PathBuf,
    /// The agent's configuration.
    pub config: PathBuf,
    host: String,
    outside: String,
    received: Arc<AtomicU64>,
}

impl Sandbox {
    /// Makes all of it.
    ///
    /// # Errors
    /// What could not be made.
    pub fn make() -> Result<Self, String> {
        sweep();
        let name = format!("{PREFIX}{}", std::process::id());
        let sandbox = Self::at(Path::new(PLACE), &name)?;
        fs::write(&sandbox.config, sandbox.configuration()).map_err(|error| error.to_string())?;
        sandbox.make_network()?;
        sandbox.listen_outside()?;
        Ok(sandbox)
    }

    /// Its directories. What somebody else has put there stays: everybody may write to this place, and what is a
    /// sandbox is removed.
    fn at(place: &Path, name: &str) -> Result<Self, String> {
        let root = place.join(name);
        make_directory(&root)?;
        let sandbox = Self {
            store: root.join("store"),
            config: root.join("jaga.yaml"),
            root,
            host: format!("{name}-host"),
            outside: format!("{name}-out"),
            received: Arc::default(),
        };
        make_directory(&sandbox.store)?;
        Ok(sandbox)
    }

    /// A program on the watched host.
    #[must_use]
    pub fn inside(&self, program: &str) -> Command {
        let mut command = bound("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.host))
            .arg(program);
        command
    }

    /// Bytes that have arrived outside.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// What the agent has told so far, as its alert file has it.
    #[must_use]
    pub fn alerts(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.root.join("alerts.jsonl")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// A page of the agent.
    ///
    /// # Errors
    /// It does not answer.
    pub fn get(&self, path: &str) -> Result<String, String> {
        let path = path.to_owned();
        in_namespace(&self.host, move || {
            let mut stream = TcpStream::connect(METRICS)?;
            stream.set_read_timeout(Some(ANSWER_LIMIT))?;
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nHost: {METRICS}\r\nConnection: close\r\n\r\n"
            )?;
            let mut page = String::new();
            stream.read_to_string(&mut page)?;
            Ok(page)
        })
    }

    fn configuration(&self) -> String {
        let root = self.root.display();
        format!(
            "instance: demo\nstores:\n  - {{ name: demo, paths: [{root}/store], records: {{ per-file: 1 }} }}\n\
             metrics: {{ listen: {METRICS} }}\noutputs: [{{ file: {{ path: {root}/alerts.jsonl }} }}]\nstate: {root}/state\nrules: {root}/rules\n\
             tape: {root}/tape.jsonl\nsensors: {{ namespaces: own }}\n"
        )
    }

    fn make_network(&self) -> Result<(), String> {
        let Self { host, outside, .. } = self;
        let (near, far) = ("jdemo0", "jdemo1");
        for line in [
            format!("netns add {host}"),
            format!("netns add {outside}"),
            format!("link add {near} netns {host} type veth peer name {far} netns {outside}"),
            format!("-n {host} address add 203.0.113.1/24 dev {near}"),
            format!("-n {outside} address add 203.0.113.9/24 dev {far}"),
            format!("-n {host} link set {near} up"),
            format!("-n {outside} link set {far} up"),
            format!("-n {host} link set lo up"),
        ] {
            let output = Command::new("ip")
                .args(line.split(' '))
                .output()
                .map_err(|error| format!("cannot run ip: {error}"))?;
            if !output.status.success() {
                return Err(format!(
                    "'ip {line}' failed: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                ));
            }
        }
        Ok(())
    }

    /// Somebody who takes an upload, however long, and counts it.
    fn listen_outside(&self) -> Result<(), String> {
        let received = Arc::clone(&self.received);
        let listener = in_namespace(&self.outside, || TcpListener::bind(OUTSIDE))?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                take(stream, &received);
            }
        });
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for namespace in [&self.host, &self.outside] {
            let removed = Command::new("ip")
                .args(["netns", "delete", namespace])
                .stderr(Stdio::null())
                .status();
            if !removed.is_ok_and(|status| status.success()) {
                eprintln!(
                    "jaga: network namespace '{namespace}' is still there; 'ip netns delete {namespace}' removes it"
                );
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!(
                "jaga: '{}' is still there ({error}); remove it",
                self.root.display()
            );
        }
    }
}

fn make_directory(directory: &Path) -> Result<(), String> {
    DirBuilder::new()
        .mode(0o700)
        .create(directory)
        .map_err(|error| {
            format!(
                "cannot make '{}': {error}; remove what is in the way",
                directory.display()
            )
        })
}

fn take(mut stream: TcpStream, received: &AtomicU64) {
    let mut buffer = vec![0; 1 << 16];
    // curl asks before it sends a body of unknown length.
    let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        received.fetch_add(count as u64, Ordering::Relaxed);
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// Does something in a network namespace, on a thread of its own: a thread that entered one stays there.
fn in_namespace<T: Send + 'static>(
    name: &str,
    what: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, String> {
    let path = format!("/run/netns/{name}");
    let work = move || {
        let namespace = File::open(&path)?;
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        what()
    };
    let done = thread::spawn(work)
        .join()
        .map_err(|_| "a thread of the demo failed".to_owned())?;
    done.map_err(|error| format!("in namespace '{name}': {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("mine/file");
        fs::create_dir(place.path().join("mine")).unwrap();
        fs::write(&file, "").unwrap();
        let error = Sandbox::at(place.path(), "mine").err().unwrap();
        assert!(error.contains("remove what is in the way"), "{error}");
        assert!(file.exists());
    }
}
