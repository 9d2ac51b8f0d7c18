//! The metrics page in a real Prometheus: scraped, queried, and alerting by the shipped rules.

use std::sync::{Arc, Mutex};

use jaga::courier::{Courier, Deliveries};
use jaga::http;
use jaga::metrics::Metrics;
use jaga::output::Context;
use jaga::sensor::HealthTable;
use jaga::state::State;
use jaga_rules::event::Setup;
use jaga_rules::output::{RuleTotals, Snapshot, StoreTotals};
use jaga_rules::rule::{Scope, Severity};
use jaga_tests::daemons::{self, Daemon, check, has, query};
use jaga_tests::program::root;
use jaga_tests::wait::until;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// The served page of an agent whose engine says what the test wants.
struct Page {
    address: std::net::SocketAddr,
    snapshot: Arc<Mutex<Snapshot>>,
    health: HealthTable,
    cancel: CancellationToken,
    _runtime: Runtime,
    _state: State,
    _directory: tempfile::TempDir,
}

fn page() -> Page {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (state, _) = State::open(directory.path(), "boot").unwrap();
    let outbox = state.outbox().unwrap();
    let context = Context {
        site: "".into(),
        instance: "".into(),
        resend: std::time::Duration::from_secs(60),
        rules: Arc::default(),
    };
    let deliveries: Deliveries =
        runtime.block_on(async { Courier::start(&outbox, &[], &context).unwrap().deliveries() });
    let health = HealthTable::default();
    health.update("files", |health| health.up = true);
    let metrics = Metrics::new(health.clone(), deliveries, outbox);
    metrics.applied(&Setup::default(), &["store-data-leaves".into()], 0);
    let snapshot = Arc::new(Mutex::new(quiet()));
    let shared = Arc::clone(&snapshot);
    let ask: http::Ask = Arc::new(move |sender| {
        let _ = sender.send(shared.lock().unwrap().clone());
    });
    let cancel = CancellationToken::new();
    let listener = runtime
        .block_on(http::listen("127.0.0.1:0".parse().unwrap()))
        .unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(http::serve(listener, metrics, ask, cancel.clone()));
    Page {
        address,
        snapshot,
        health,
        cancel,
        _runtime: runtime,
        _state: state,
        _directory: directory,
    }
}

fn quiet() -> Snapshot {
    Snapshot {
        stores: vec![StoreTotals {
            store: "ekg".into(),
            read_bytes: 0,
            read_files: 0,
            exposed: vec![(Scope::External, 0, 0)],
        }],
        rules: vec![RuleTotals {
            rule: "store-data-leaves".into(),
            severity: Severity::Critical,
            alerts: 0,
            cases_open: 0,
            budget_used_ratio: 0.0,
            keys: 0,
            keys_merged: 0,
        }],
        ..Snapshot::default()
    }
}

fn leak(snapshot: &mut Snapshot) {
    snapshot.stores[0].exposed = vec![(Scope::External, 123_456_789, 900)];
    snapshot.rules[0].alerts = 1;
    snapshot.firing = vec![(
        "store-data-leaves".into(),
        Severity::Critical,
        "ekg".into(),
        1,
    )];
}

/// A Prometheus that scrapes `page` twice a second, with the shipped rules.
fn prometheus(page: &Page) -> Daemon {
    let rules = root().join("packaging/prometheus/jaga.rules.yml");
    daemons::prometheus(&format!(
        "global: {{ scrape_interval: 500ms, evaluation_interval: 500ms }}\n\
         rule_files: [ '{}' ]\n\
         scrape_configs: [ {{ job_name: jaga, static_configs: [ {{ targets: ['{}'], labels: {{ instance: pacs1 }} }} ] }} ]\n",
        rules.display(),
        page.address
    ))
}

fn until_query(prometheus: &Daemon, expression: &str, expected: f64) {
    until(&format!("{expression} to be {expected}"), 30, || {
        (query(prometheus, expression) == Some(expected)).then_some(())
    });
}

#[test]
fn prometheus_sees_the_leak_and_the_shipped_rules_tell_it() {
    if !has("prometheus", "prometheus") {
        return;
    }
    let page = page();
    let prometheus = prometheus(&page);
    until_query(&prometheus, "up{job='jaga'}", 1.0);
    until_query(
        &prometheus,
        "jaga_alerts_total{rule='store-data-leaves'}",
        0.0,
    );
    assert_eq!(
        query(&prometheus, "ALERTS{alertname='JagaAlertByScrape'}"),
        None
    );

    leak(&mut page.snapshot.lock().unwrap());
    let exposed = "jaga_store_exposed_bytes_total{store='ekg', scope='external', instance='pacs1'}";
    until_query(&prometheus, exposed, 123_456_789.0);
    let told =
        "ALERTS{alertname='JagaAlertByScrape', alertstate='firing', store='ekg', instance='pacs1'}";
    until_query(&prometheus, told, 1.0);
    // Born at 0: the first alert is an increase.
    until_query(
        &prometheus,
        "ceil(increase(jaga_alerts_total[1m])) > bool 0",
        1.0,
    );

    page.health.update("files", |health| health.up = false);
    let blind = "ALERTS{alertname='JagaSensorBlind', sensor='files'}";
    until_query(&prometheus, blind, 1.0);
    page.cancel.cancel();
    until_query(&prometheus, "up{job='jaga'}", 0.0);
}

#[test]
fn the_served_page_satisfies_promtool() {
    if !has("promtool", "prometheus") {
        return;
    }
    let page = page();
    leak(&mut page.snapshot.lock().unwrap());
    let (status, text) = daemons::get(page.address, "/metrics").expect("a page");
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
    let mut promtool = std::process::Command::new("promtool");
    let (is_content, said) = check(promtool.args(["check", "metrics"]), &text);
    assert!(is_content && said.is_empty(), "{said}");
}
