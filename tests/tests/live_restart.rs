//! An agent that is killed in the middle of a leak: the alert is told once, at the same total.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jaga_tests::agent::{Agent, is};
use jaga_tests::net::OUT;
use jaga_tests::process::{Running, Unit};
use jaga_tests::wait::until;
use jaga_tests::world::{MB, World};

/// State is written this often, so that little is lost with the process.
const SAVE: &str = "periods: { quiet: 2s, resend: 1s, save: 50ms }\n";

/// A leak in two parts: the second begins when the file `go` appears. One process sends both.
struct TwoParts<'a> {
    world: &'a World,
    unit: Unit,
    sending: Running,
}

impl<'a> TwoParts<'a> {
    fn start(world: &'a World, store: &Path, first: usize) -> Self {
        let unit = Unit::new("jagat-parts.service");
        let go = world.folder().join("go");
        let sending = Running::start(&mut unit.shell(&format!(
            "cd {}; n=0; for f in *; do [ $n != {first} ] || until [ -e {} ]; do sleep 0.1; done; \
             curl -sfT $f --limit-rate 40M http://{OUT}/; n=$((n+1)); done",
            store.display(),
            go.display()
        )));
        Self {
            world,
            unit,
            sending,
        }
    }

    /// Sends the second part to its end.
    fn finish(mut self) -> String {
        fs::write(self.world.folder().join("go"), "").unwrap();
        assert!(self.sending.wait(60).success());
        self.unit.session()
    }
}

/// Waits until the agent has booked `bytes` and has nothing left to write.
fn settled(agent: &Agent, bytes: f64) {
    let labels = [("store", "ekg"), ("scope", "external")];
    agent.metric_reaches("jaga_store_exposed_bytes_total", &labels, bytes);
    // Either it has written since (rows and outbox go together), or there was nothing left to write.
    let booked = SystemTime::now();
    until("the state to be written", 20, || {
        let files = fs::read_dir(agent.folder().join("state")).ok()?;
        let times = files.filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok());
        let newest = times.max()?;
        let since = newest.duration_since(booked).unwrap_or_default();
        let age = newest.elapsed().unwrap_or_default();
        (since > Duration::from_millis(200) || age > Duration::from_millis(500)).then_some(())
    });
}

fn firings(agent: &Agent) -> usize {
    agent
        .alerts()
        .iter()
        .filter(|alert| is(alert, "store-data-leaves", "firing", &[("store", "ekg")]))
        .count()
}

#[test]
fn killed_before_the_limit() {
    let Some(world) = World::new("killed_before_the_limit") else {
        return;
    };
    let store = world.store("ekg", 15, 10 * MB);
    let mut agent = world.agent(&[("ekg", &store)], SAVE);
    let leak = TwoParts::start(&world, &store, 6);
    settled(&agent, 59.9e6);
    assert_eq!(firings(&agent), 0, "60 MB are below the limit");
    agent.kill();

    let mut agent = Agent::again(agent.folder());
    let session = leak.finish();
    // 90 MB after the restart are below the limit: only with the 60 from before it do they fire.
    let fired = agent.alert(
        "store-data-leaves",
        "firing",
        &[("store", "ekg"), ("session", &session)],
    );
    let value = fired["value"].as_u64().unwrap();
    assert!(
        (100 * MB..140 * MB).contains(&value),
        "it fired at {value}, not where an unbroken run fires"
    );
    agent.alert("store-data-leaves", "resolved", &[("store", "ekg")]);
    assert_eq!(firings(&agent), 1);
    agent.replay_equals_live();
}

#[test]
fn killed_after_the_alert() {
    let Some(world) = World::new("killed_after_the_alert") else {
        return;
    };
    let store = world.store("ekg", 20, 10 * MB);
    let before = world.net.out.received();
    let mut agent = world.agent(&[("ekg", &store)], &SAVE.replace("quiet: 2s", "quiet: 10s"));
    let leak = TwoParts::start(&world, &store, 12);
    let fired = agent.alert("store-data-leaves", "firing", &[("store", "ekg")]);
    settled(&agent, 119.9e6);
    agent.kill();

    let mut agent = Agent::again(agent.folder());
    leak.finish();
    agent.metric_reaches(
        "jaga_store_exposed_bytes_total",
        &[("store", "ekg"), ("scope", "external")],
        79.9e6,
    );
    assert_eq!(firings(&agent), 1, "the same alert was told twice");
    assert_eq!(
        agent.metric(
            "jaga_alerts_firing",
            &[("rule", "store-data-leaves"), ("store", "ekg")]
        ),
        Some(1.0)
    );

    // The end is told by the agent that did not tell the beginning, with the whole sum.
    let resolved = agent.alert("store-data-leaves", "resolved", &[("store", "ekg")]);
    assert_eq!(resolved["id"], fired["id"]);
    let (told, arrived) = (
        resolved["value"].as_u64().unwrap(),
        world.net.out.received() - before,
    );
    assert!(
        told.abs_diff(arrived) < arrived / 100,
        "{arrived} arrived, {told} told"
    );
    agent.replay_equals_live();
}
