//! The agent that ships, running on the watched host with a configuration of the test's.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::process::{Running, run};
use crate::program;
use crate::wait::{until, within};

/// Where the agent's metrics listen; free, because each world has a network of its own.
pub const METRICS: &str = "127.0.0.1:9977";

/// All sensors, by the name that they have in metrics.
pub const SENSORS: [&str; 6] = ["files", "channels", "sockets", "processes", "pcap", "wire"];

/// A running agent and the files it writes. Ended when dropped; a failing test then shows what it said.
#[derive(Debug)]
pub struct Agent {
    running: Running,
    folder: PathBuf,
    /// The alert file's length when it started: what an earlier run told is not on this one's tape.
    told_before: usize,
}

impl Agent {
    /// Starts `jaga run` on the calling thread's host; what it keeps lies under `folder`. `config` is what is special to this
    /// test: stores, contracts, outputs beside the alert file.
    ///
    /// # Panics
    /// If its sensors do not see within 30 s.
    #[must_use]
    pub fn start(folder: &Path, config: &str) -> Self {
        configure(folder, config);
        Self::again(folder)
    }

    /// Starts it with the configuration and state that an earlier one left under `folder`.
    ///
    /// # Panics
    /// If its sensors do not see within 30 s.
    #[must_use]
    pub fn again(folder: &Path) -> Self {
        let mut agent = Self::launch(folder, &[]);
        until("the agent's sensors to see", 30, || {
            assert!(agent.running.is_running(), "the agent ended at once");
            // One page for all: whoever asks too often is told to come later.
            let page = agent.metrics()?;
            let up =
                |sensor| metric_of(&page, "jaga_sensor_up", &[("sensor", sensor)]) == Some(1.0);
            let rung = metric_of(&page, "jaga_sensor_rung", &[("sensor", "files")])?;
            // Without eBPF nothing sees what passes through local sockets.
            let mut wanted = SENSORS
                .iter()
                .filter(|sensor| rung < 3.0 || **sensor != "channels");
            wanted.all(|sensor| up(*sensor)).then_some(())
        });
        agent
    }

    /// Starts it under another program, such as one that takes rights away, and does not wait for its sensors.
    #[must_use]
    pub fn under(folder: &Path, config: &str, program: &[&str]) -> Self {
        configure(folder, config);
        Self::launch(folder, program)
    }

    fn launch(folder: &Path, under: &[&str]) -> Self {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"))
            .expect("the log can be opened");
        let jaga = program::jaga().to_string_lossy();
        let mut words = under.iter().copied().chain([&*jaga]);
        let mut command = Command::new(words.next().expect("at least jaga itself"));
        command
            .args(words)
            .arg("run")
            .arg("--config")
            .arg(folder.join("jaga.yaml"))
            .stdout(Stdio::null())
            .stderr(log);
        Self {
            told_before: alert_file(folder).len(),
            running: Running::start(&mut command),
            folder: folder.to_path_buf(),
        }
    }

    /// Stops it in its tracks, as an overloaded or a malicious host would; `SIGCONT` lets it go on.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// The whole text of `/metrics`; absent while nobody answers.
    #[must_use]
    pub fn metrics(&self) -> Option<String> {
        fetch(METRICS, "/metrics")
    }

    /// A metric's value, where all of `labels` match.
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        metric_of(&self.metrics()?, name, labels)
    }

    /// Waits until a metric is at least `least`, and answers its value.
    ///
    /// # Panics
    /// If it never is.
    pub fn metric_reaches(&self, name: &str, labels: &[(&str, &str)], least: f64) -> f64 {
        let mut last = None;
        let reached = within(20, || {
            last = self.metric(name, labels).or(last);
            last.filter(|value| *value >= least)
        });
        reached.unwrap_or_else(|| {
            panic!("waited in vain for {name}{labels:?} to reach {least}; it is {last:?}")
        })
    }

    /// The alert file: one transition a line.
    #[must_use]
    pub fn alerts(&self) -> Vec<Value> {
        read_alerts(&self.folder)
    }

    /// Waits for a transition of `rule` to `state` whose key holds all of `key`.
    ///
    /// # Panics
    /// If there is none.
    pub fn alert(&self, rule: &str, state: &str, key: &[(&str, &str)]) -> Value {
        until(&format!("{rule} {key:?} to be {state}"), 20, || {
            self.alerts()
                .into_iter()
                .find(|alert| is(alert, rule, state, key))
        })
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(&mut self) {
        self.running.signal(Signal::SIGTERM);
        self.running.wait(20);
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.running.signal(Signal::SIGKILL);
        self.running.wait(20);
    }

    /// The agent's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Where its files lie: `alerts.jsonl`, `tape`, `log`, `state/`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What `jaga replay` makes of the tape: it must be what the agent made of the world (I3).
    ///
    /// # Panics
    /// If it is not, byte for byte.
    pub fn replay_equals_live(&mut self) {
        self.stop();
        let told = alert_file(&self.folder);
        let live = &told[self.told_before..];
        let replayed = run(Command::new(program::jaga())
            .arg("replay")
            .arg("--json")
            .arg("--tape")
            .arg(self.folder.join("tape")));
        let replayed = String::from_utf8(replayed.stdout).expect("JSON is UTF-8");
        assert_eq!(
            replayed, live,
            "the tape replays to something else than the live run"
        );
    }
}

fn alert_file(folder: &Path) -> String {
    fs::read_to_string(folder.join("alerts.jsonl")).unwrap_or_default()
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("── the agent said (last 60 lines):");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
            eprintln!("── its alert file:");
            eprintln!("{}", alert_file(&self.folder));
            eprintln!("── its totals:");
            let metrics = self.metrics().unwrap_or_default();
            let told = [
                "jaga_store_",
                "jaga_sent_",
                "jaga_sensor_",
                "jaga_contract_",
                "jaga_alerts_",
            ];
            metrics
                .lines()
                .filter(|line| told.iter().any(|name| line.starts_with(name)))
                .for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Whether an alert line is of `rule`, in `state`, and its key holds all of `key`.
#[must_use]
pub fn is(alert: &Value, rule: &str, state: &str, key: &[(&str, &str)]) -> bool {
    alert["rule"] == rule
        && alert["state"] == state
        && key
            .iter()
            .all(|(field, value)| alert["key"][field] == *value)
}

/// A metric's value in the text of `/metrics`, where all of `labels` match.
#[must_use]
pub fn metric_of(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let has = |line: &&str| {
        let same = |(key, value): &(&str, &str)| line.contains(&format!("{key}=\"{value}\""));
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && labels.iter().all(same)
    };
    let line = text.lines().find(has)?;
    line.rsplit(' ').next()?.parse().ok()
}

/// The alert file under an agent's folder; empty if there is none yet.
#[must_use]
pub fn read_alerts(folder: &Path) -> Vec<Value> {
    let text = alert_file(folder);
    // The last line may still be on its way.
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).expect("each line of the alert file is JSON"))
        .collect()
}

/// `http://ADDRESS/PATH`, the body; absent if nobody answers with 200.
#[must_use]
pub fn fetch(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    // HTTP/1.0: the answer ends where the connection does, and is never chunked.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines()
        .next()?
        .contains(" 200 ")
        .then(|| body.to_string())
}

fn configure(folder: &Path, config: &str) {
    fs::create_dir_all(folder.join("rules")).expect("the folder can be made");
    fs::write(folder.join("jaga.yaml"), whole_config(folder, config))
        .expect("the configuration can be written");
}

/// What all live tests share: the lab's networks, short periods, every file under one folder.
fn whole_config(folder: &Path, config: &str) -> String {
    let folder = folder.display();
    let periods = if config.contains("periods:") {
        ""
    } else {
        "periods: { quiet: 2s, resend: 1s }\n"
    };
    let outputs = if config.contains("outputs:") {
        ""
    } else {
        "outputs:\n"
    };
    let sensors = if config.contains("sensors:") {
        ""
    } else {
        "sensors: { namespaces: own }\n"
    };
    let tape = if config.contains("tape:") {
        String::new()
    } else {
        format!("tape: {folder}/tape\n")
    };
    format!(
        "site: test\ninstance: live\ninternal: [10.77.0.0/16]\n{sensors}\
         metrics: {{ listen: \"{METRICS}\" }}\nstate: {folder}/state\nrules: {folder}/rules\n{tape}\
         {periods}{config}\n{outputs}  - file: {{ path: {folder}/alerts.jsonl }}\n"
    )
}
