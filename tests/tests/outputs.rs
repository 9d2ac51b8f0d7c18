//! Alerts in a real Alertmanager: seen, sent again, resolved, late, and through kill -9.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use jaga::clock;
use jaga::courier::Courier;
use jaga::output::Context;
use jaga::state::{Outbox, State};
use jaga_rules::config::OutputConfig;
use jaga_rules::event::Stamp;
use jaga_rules::output::{AlertState, Evidence, Transition};
use jaga_rules::rule::{KeyField, Measure, Scope, Severity};
use jaga_tests::daemons::{self, Daemon};
use jaga_tests::wait::{patience, until};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Re-sends come this often, so that a test sees several.
const RESEND: Duration = Duration::from_millis(300);

/// The agent without its sensors and engine: state, couriers and one Alertmanager output.
struct Agent {
    runtime: Runtime,
    state: State,
    outbox: Outbox,
    courier: Courier,
}

impl Agent {
    fn start(directory: &Path, port: u16) -> Self {
        let runtime = Runtime::new().unwrap();
        let (state, _) = State::open(directory, "boot").unwrap();
        let outbox = state.outbox().unwrap();
        let context = Context {
            site: "rsud-example".into(),
            instance: "pacs1".into(),
            resend: RESEND,
            rules: std::sync::Arc::default(),
        };
        let outputs = [OutputConfig::Alertmanager {
            url: format!("http://127.0.0.1:{port}/"),
        }];
        let guard = runtime.enter();
        let courier = Courier::start(&outbox, &outputs, &context).unwrap();
        drop(guard);
        Self {
            runtime,
            state,
            outbox,
            courier,
        }
    }

    fn commit(&mut self, transitions: &[Transition]) {
        self.state.commit(Stamp(1), 0, &[], transitions).unwrap();
        self.courier.bell().ring();
    }

    fn failed(&self) -> u64 {
        self.courier.deliveries().all()[0].2
    }

    fn told(&self) -> u64 {
        self.courier.deliveries().all()[0].1
    }

    fn pending(&self) -> u64 {
        self.outbox.backlog().unwrap()[0].pending
    }

    /// As kill -9 does it: no farewell to anybody.
    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

fn transition(id: &str, state: AlertState, size: u32) -> Transition {
    let wall = clock::wall();
    Transition {
        at: Stamp(wall),
        wall,
        state,
        rule: "store-data-leaves".into(),
        severity: Severity::Critical,
        key: vec![
            (KeyField::Store, "ekg".into()),
            (KeyField::Session, format!("login:{id}").into()),
        ],
        value: 100_000_001,
        limit: 100_000_000,
        measure: Measure::ExposedBytes,
        window: 600_000_000_000,
        summary: format!("login:{id} sends data of store ekg"),
        id: id.to_owned(),
        key_hash: format!("hash-{id}"),
        size,
        evidence: Evidence {
            scope: Some(Scope::External),
            ..Evidence::default()
        },
    }
}

fn firing(id: &str) -> Transition {
    transition(id, AlertState::Firing, 1)
}

/// Where a byte went last may have changed by then: the labels must not.
fn resolved(id: &str) -> Transition {
    let mut transition = transition(id, AlertState::Resolved, 1);
    transition.evidence.scope = Some(Scope::Relay);
    transition
}

/// `KEY SIZE` of each alert, sorted.
fn shown(alertmanager: &Daemon) -> Vec<String> {
    let word = |alert: &Value, label: &str| alert["labels"][label].as_str().unwrap().to_owned();
    let mut all: Vec<String> = daemons::alerts(alertmanager)
        .iter()
        .map(|alert| word(alert, "key") + " " + &word(alert, "size"))
        .collect();
    all.sort();
    all
}

fn until_shown(alertmanager: &Daemon, expected: &[&str]) {
    until(&format!("{expected:?} in Alertmanager"), 30, || {
        (shown(alertmanager) == expected).then_some(())
    });
}

fn alertmanager_is_here() -> bool {
    daemons::has("prometheus-alertmanager", "prometheus-alertmanager")
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn an_alert_shows_is_sent_again_grows_and_resolves_and_another_stays() {
    if !alertmanager_is_here() {
        return;
    }
    let alertmanager = daemons::alertmanager(daemons::free_port(), None);
    let directory = directory();
    let mut agent = Agent::start(directory.path(), alertmanager.address.port());
    let fired = firing("a");
    agent.commit(std::slice::from_ref(&fired));
    until_shown(&alertmanager, &["hash-a 1x"]);

    let alert = daemons::alerts(&alertmanager).remove(0);
    let labels = serde_json::json!({
        "alertname": "JagaStoreDataLeaves", "rule": "store-data-leaves", "severity": "critical",
        "store": "ekg", "scope": "external", "instance": "pacs1", "site": "rsud-example",
        "key": "hash-a", "size": "1x",
    });
    assert_eq!(alert["labels"], labels);
    assert_eq!(
        alert["startsAt"].as_str().unwrap(),
        jaga_rules::line::rfc3339_millis(fired.wall)
    );
    let ends = |alert: &Value| alert["endsAt"].as_str().unwrap().to_owned();
    let first_end = ends(&alert);
    until("two re-sends", 30, || {
        let alert = daemons::alerts(&alertmanager).into_iter().next()?;
        (ends(&alert) > first_end).then_some(())
    });

    agent.commit(&[transition("a", AlertState::Firing, 10), firing("b")]);
    until_shown(&alertmanager, &["hash-a 10x", "hash-a 1x", "hash-b 1x"]);
    agent.commit(&[resolved("a")]);
    until_shown(&alertmanager, &["hash-b 1x"]);
    assert_eq!((agent.failed(), agent.pending()), (0, 0));
    agent.commit(&[resolved("b")]);
    until_shown(&alertmanager, &[]);
    // It is counted once Alertmanager has answered, a moment after it shows.
    until("all six to be counted", 10, || {
        (agent.told() == 6).then_some(())
    });
}

#[test]
fn what_fired_while_alertmanager_was_away_comes_when_it_comes() {
    if !alertmanager_is_here() {
        return;
    }
    let port = daemons::free_port();
    let directory = directory();
    let mut agent = Agent::start(directory.path(), port);
    let fired = firing("a");
    agent.commit(std::slice::from_ref(&fired));
    until("a failed try", 30, || (agent.failed() > 0).then_some(()));
    assert_eq!(agent.pending(), 1);

    let alertmanager = daemons::alertmanager(port, None);
    until_shown(&alertmanager, &["hash-a 1x"]);
    assert_eq!(
        daemons::alerts(&alertmanager)[0]["startsAt"]
            .as_str()
            .unwrap(),
        jaga_rules::line::rfc3339_millis(fired.wall),
        "it started when it fired, not when it was told"
    );
    until("the mark", 30, || (agent.pending() == 0).then_some(()));

    // It forgets everything: the next re-send tells it again.
    drop(alertmanager);
    let alertmanager = daemons::alertmanager(port, None);
    until_shown(&alertmanager, &["hash-a 1x"]);
}

#[test]
fn a_leak_that_ended_while_alertmanager_was_away_is_still_notified() {
    if !alertmanager_is_here() {
        return;
    }
    let (webhook, notified) = receiver();
    let config = format!(
        "route: {{ receiver: hook, group_by: [key], group_wait: 100ms, group_interval: 200ms }}\n\
         receivers: [ {{ name: hook, webhook_configs: [ {{ url: 'http://127.0.0.1:{webhook}/' }} ] }} ]\n"
    );
    let port = daemons::free_port();
    let directory = directory();
    let mut agent = Agent::start(directory.path(), port);
    agent.commit(&[firing("a"), resolved("a")]);
    until("a failed try", 30, || (agent.failed() > 0).then_some(()));
    let _alertmanager = daemons::alertmanager(port, Some(&config));
    for expected in ["firing", "resolved"] {
        let body = notified
            .recv_timeout(patience(30))
            .unwrap_or_else(|error| panic!("{expected}: {error}"));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["status"], expected, "{body}");
        assert_eq!(body["alerts"][0]["labels"]["key"], "hash-a");
    }
}

#[test]
fn after_kill_9_an_active_alert_goes_on_and_resolves_with_its_own_labels() {
    if !alertmanager_is_here() {
        return;
    }
    let alertmanager = daemons::alertmanager(daemons::free_port(), None);
    let port = alertmanager.address.port();
    let directory = directory();
    let mut agent = Agent::start(directory.path(), port);
    agent.commit(&[firing("a")]);
    until_shown(&alertmanager, &["hash-a 1x"]);
    until("the mark", 30, || (agent.pending() == 0).then_some(()));
    agent.kill();

    let mut agent = Agent::start(directory.path(), port);
    let ends = || daemons::alerts(&alertmanager)[0]["endsAt"].clone();
    let before = ends();
    until("a re-send by the new run", 30, || {
        (ends() != before).then_some(())
    });
    agent.commit(&[resolved("a")]);
    until_shown(&alertmanager, &[]);
}

/// A webhook receiver: its port, and the bodies that it got.
fn receiver() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (bodies, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                let line = line.trim().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.get_mut().write_all(answer).unwrap();
            if bodies.send(String::from_utf8(body).unwrap()).is_err() {
                return;
            }
        }
    });
    (port, received)
}
