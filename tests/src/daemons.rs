//! Real Alertmanager, Prometheus and promtool for tests: started on free loopback ports, ended by whoever started them.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::wait::until;

/// For a daemon to become ready on a busy machine, seconds.
const PATIENCE: u64 = 30;

/// Whether `program` is on this machine. If not, says aloud what did not run; in CI that is a failure.
///
/// # Panics
/// If the program is missing and `CI` is `true`.
#[must_use]
pub fn has(program: &str, package: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(program).is_file()) {
        return true;
    }
    let why = format!("{program} is missing: apt-get install {package}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    eprintln!("\n*** NOT TESTED HERE: {why} ***\n");
    false
}

/// A port that was free a moment ago.
///
/// # Panics
/// If loopback has none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A running program with its own directory; killed on drop.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its own files; gone on drop.
    pub directory: TempDir,
}

impl Daemon {
    /// Starts `command` and waits until `GET ready` answers 200. Its output goes to a file that a failure quotes.
    ///
    /// # Panics
    /// If it does not become ready.
    #[must_use]
    pub fn start(
        mut command: Command,
        address: SocketAddr,
        ready: &str,
        directory: TempDir,
    ) -> Self {
        let log = directory.path().join("log");
        let sink = File::create(&log).expect("a log file");
        command
            .stdin(Stdio::null())
            .stdout(sink.try_clone().expect("a second handle"))
            .stderr(sink);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut daemon = Self {
            child,
            log,
            address,
            directory,
        };
        until("a daemon to be ready", PATIENCE, || daemon.is_ready(ready));
        daemon
    }

    fn is_ready(&mut self, path: &str) -> Option<()> {
        if let Some(status) = self.child.try_wait().expect("wait works") {
            panic!("it ended with {status}:\n{}", self.log());
        }
        get(self.address, path)
            .is_some_and(|(status, _)| status == 200)
            .then_some(())
    }

    /// What it printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `http://` and its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A real Alertmanager that notifies nobody unless `config` (its YAML) says so. It may be given a port, to come
/// back where it was.
///
/// # Panics
/// If it does not become ready.
#[must_use]
pub fn alertmanager(port: u16, config: Option<&str>) -> Daemon {
    let quiet = "route: { receiver: nobody }\nreceivers: [ { name: nobody } ]\n";
    let directory = tempfile::tempdir().expect("a directory");
    let file = write(
        directory.path(),
        "alertmanager.yml",
        config.unwrap_or(quiet),
    );
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut command = Command::new("prometheus-alertmanager");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.path={}",
            directory.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .arg("--cluster.listen-address=");
    Daemon::start(command, address, "/-/ready", directory)
}

/// A real Prometheus with this configuration (YAML). Rule files go beside it: their paths must be absolute.
///
/// # Panics
/// If it does not become ready.
#[must_use]
pub fn prometheus(config: &str) -> Daemon {
    let directory = tempfile::tempdir().expect("a directory");
    let file = write(directory.path(), "prometheus.yml", config);
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            directory.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"));
    Daemon::start(command, address, "/-/ready", directory)
}

/// Alerts that this Alertmanager has, those that are over left out.
///
/// # Panics
/// If it does not answer with a list.
#[must_use]
pub fn alerts(alertmanager: &Daemon) -> Vec<Value> {
    let (status, body) = get(alertmanager.address, "/api/v2/alerts").expect("an answer");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("a list of alerts")
}

/// The value of an instant query: the first of its samples.
#[must_use]
pub fn query(prometheus: &Daemon, expression: &str) -> Option<f64> {
    let encoded: String = expression
        .bytes()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    let (_, body) = get(
        prometheus.address,
        &format!("/api/v1/query?query={encoded}"),
    )?;
    let answer: Value = serde_json::from_str(&body).ok()?;
    answer["data"]["result"][0]["value"][1]
        .as_str()?
        .parse()
        .ok()
}

/// GET over HTTP/1.0: (status, body); absent = nobody answers.
#[must_use]
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Runs a checker (promtool, amtool) over `input`: whether it was content, and what it said.
///
/// # Panics
/// If it cannot be run.
#[must_use]
pub fn check(command: &mut Command, input: &str) -> (bool, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    // A checker that does not read its input closes it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("its output");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("a file in our own directory");
    path
}
