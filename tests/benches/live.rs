//! How long after the byte that crosses the limit the alert stands in Alertmanager: 50 leaks at 1 Gbit/s over veth.

use std::time::{Duration, Instant};

use jaga_tests::daemons;
use jaga_tests::net::OUT;
use jaga_tests::process::{Running, Unit};
use jaga_tests::world::{MB, World};

/// Leaks that are timed; each by a session of its own, so that each is an alert of its own.
const RUNS: usize = 50;

/// `store-data-leaves`: exposed-bytes 100 MB in 10m.
const LIMIT: u64 = 100 * MB;

/// What was promised (DESIGN 10).
const GOAL: Duration = Duration::from_secs(1);

fn main() {
    let Some(world) = World::new("live latency") else {
        return;
    };
    let alertmanager = daemons::alertmanager(9093, None);
    let store = world.store("ekg", 1, 150 * MB);
    let outputs = format!(
        "outputs:\n  - alertmanager: {{ url: \"{}\" }}\n",
        alertmanager.url()
    );
    let _agent = world.agent(&[("ekg", &store)], &outputs);
    let mut delays: Vec<Duration> = (0..RUNS)
        .map(|run| {
            let unit = Unit::new(&format!("jagat-bench-{run}.service"));
            let script = format!(
                "curl -sfT {}/0000.dcm --limit-rate 125M http://{OUT}/",
                store.display()
            );
            let before = world.sink.received();
            let mut curl = Running::start(&mut unit.shell(&script));
            let crossed = moment("the limit to be crossed", || {
                world.sink.received() - before >= LIMIT
            });
            let shown = moment("the alert to be shown", || {
                daemons::alerts(&alertmanager).iter().any(|alert| {
                    alert["labels"]["rule"] == "store-data-leaves"
                        && alert["annotations"].to_string().contains(&unit.session())
                })
            });
            curl.wait(30);
            shown - crossed
        })
        .collect();
    delays.sort_unstable();
    let late = delays.iter().filter(|delay| **delay >= GOAL).count();
    println!(
        "live: alert in Alertmanager after the byte that crosses the limit, {RUNS} runs at 1 Gbit/s: \
         median {:?}, worst {:?}, {late} of {RUNS} at or over {GOAL:?}",
        delays[RUNS / 2],
        delays[RUNS - 1]
    );
}

/// When `is_so` first was.
fn moment(what: &str, is_so: impl Fn() -> bool) -> Instant {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "waited 30 s in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    Instant::now()
}
