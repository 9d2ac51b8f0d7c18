//! The page as text, and its limit.

use std::path::Path;

use jaga_rules::output::{ContractTotals, RuleTotals, StoreTotals};
use jaga_rules::rule::{Scope, Severity};

use super::*;
use crate::state::State;

const SCOPES: [Scope; 4] = [
    Scope::Contract,
    Scope::Internal,
    Scope::Relay,
    Scope::External,
];

struct Bench {
    metrics: Metrics,
    _directory: tempfile::TempDir,
    _state: State,
}

fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let (state, _) = State::open(directory.path(), "boot").unwrap();
    let outbox = state.outbox().unwrap();
    let deliveries = Deliveries::born(vec!["file:/x".to_owned()]);
    let metrics = Metrics::new(HealthTable::default(), deliveries, outbox);
    Bench {
        metrics,
        _directory: directory,
        _state: state,
    }
}

fn store(name: &str, amount: u64) -> StoreTotals {
    StoreTotals {
        store: name.into(),
        read_bytes: amount,
        read_files: amount,
        exposed: SCOPES.map(|scope| (scope, amount, amount)).to_vec(),
    }
}

fn rule(name: &str) -> RuleTotals {
    RuleTotals {
        rule: name.into(),
        severity: Severity::Critical,
        alerts: 1,
        cases_open: 1,
        budget_used_ratio: 0.5,
        keys: 3,
        keys_merged: 0,
    }
}

fn contract(name: &str, expiry: Option<i64>) -> ContractTotals {
    ContractTotals {
        contract: name.into(),
        limit_bytes: expiry.map(|_| 40_000_000_000),
        left_bytes: expiry.map(|_| 1_000_000_000),
        sent_bytes: 5,
        expiry,
    }
}

fn process() -> ProcessNow {
    ProcessNow {
        cpu_seconds: 1.5,
        open_fds: 20,
        max_fds: 1_024.0,
        virtual_bytes: 1 << 30,
        resident_bytes: 40 << 20,
        start_seconds: 1_793_000_000.25,
        threads: 9,
    }
}

fn leak() -> Now {
    let up = Health {
        up: true,
        rung: 1,
        events: 12,
        lost_events: 2,
        ..Health::default()
    };
    Now {
        snapshot: Snapshot {
            stores: vec![store("ekg", 720_000_000_000), store("quote\"and\\", 0)],
            sent_bytes: SCOPES.map(|scope| (scope, 7)).to_vec(),
            interfaces: vec![("eth0".into(), 9_007_199_254_740_993, 4)],
            contracts: vec![
                contract("backup", Some(1_814_313_600)),
                contract("mirror", None),
            ],
            rules: vec![rule("store-data-leaves"), rule("sensor-blind")],
            firing: vec![(
                "store-data-leaves".into(),
                Severity::Critical,
                "ekg".into(),
                2,
            )],
            lost: vec![("sockets".into(), 3, 4), ("clock".into(), 1, 0)],
            tables: vec![("sessions", 10, 4_096)],
        },
        sensors: vec![("files", Health::default()), ("sockets", up)],
        backlog: vec![Backlog {
            output: "file:/x".to_owned(),
            pending: 2,
            oldest: Some(1_793_000_000_000_000_000),
        }],
        dropped: 0,
        process: Some(process()),
        revision: "abcdef0",
        wall: 1_793_000_003_500_000_000,
        ..Now::default()
    }
}

#[test]
fn the_page_is_this() {
    let bench = bench();
    let setup = Setup::default();
    let rules = ["sensor-blind".into(), "store-data-leaves".into()];
    bench
        .metrics
        .applied(&setup, &rules, 1_792_999_999_000_000_000);
    bench.metrics.observe_delay("store-data-leaves", 0.3);
    let page = bench.metrics.render(leak()).unwrap();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    let page = page.replace(&version, "version=\"VERSION\"");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics/golden.txt");
    if std::env::var_os("JAGA_BLESS").is_some() {
        std::fs::write(&golden, &page).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    assert!(
        page == expected,
        "the page differs from '{}'; set JAGA_BLESS=1 to renew it, then read the difference:\n{page}",
        golden.display()
    );
}

#[test]
fn every_metric_on_the_page_can_be_explained() {
    let bench = bench();
    bench.metrics.applied(&Setup::default(), &["r".into()], 0);
    let page = bench.metrics.render(leak()).unwrap();
    let mut explained: Vec<&str> = explained().map(|(name, ..)| name).collect();
    explained.sort_unstable();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let shown: Vec<&str> = types.map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(explained, shown);
}

/// Name with labels and value of each series.
fn series(page: &str) -> Vec<(&str, f64)> {
    page.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

/// As bad as a host can be: `count` of everything, with new names in each `round`.
fn crowd(round: usize, count: usize) -> Now {
    let name = |kind: &str, number: usize| format!("{kind}-{round}-{number}");
    let all = 0..count;
    let severities = [Severity::Info, Severity::Warning, Severity::Critical];
    let named_rule = |number: usize| RuleTotals {
        severity: severities[number % 3],
        ..rule(&name("rule", number))
    };
    let snapshot = Snapshot {
        stores: all
            .clone()
            .map(|number| store(&name("store", number), 1))
            .collect(),
        sent_bytes: SCOPES.map(|scope| (scope, 7)).to_vec(),
        interfaces: all
            .clone()
            .map(|number| (name("if", number).into(), 1, 1))
            .collect(),
        contracts: all
            .clone()
            .map(|number| contract(&name("c", number), Some(1)))
            .collect(),
        rules: all.clone().map(named_rule).collect(),
        firing: all
            .clone()
            .map(|number| {
                let rule = named_rule(number);
                (rule.rule, rule.severity, name("store", number).into(), 1)
            })
            .collect(),
        lost: all
            .clone()
            .map(|number| (name("sensor", number).into(), 1, 1))
            .collect(),
        tables: vec![("t", 1, 1); 20],
    };
    Now {
        snapshot,
        backlog: all
            .map(|number| Backlog {
                output: name("output", number),
                pending: 1,
                oldest: None,
            })
            .collect(),
        process: Some(process()),
        ..Now::default()
    }
}

#[test]
fn a_thousand_series_and_no_more_and_totals_are_kept() {
    let bench = bench();
    let sum = |page: &str, name: &str| -> f64 {
        let all = series(page).into_iter();
        all.filter(|(series, _)| series.starts_with(name))
            .map(|(_, value)| value)
            .sum()
    };
    let mut before = Vec::new();
    for round in 0..5 {
        let now = crowd(round, 500);
        let rules: Vec<Name> = now
            .snapshot
            .rules
            .iter()
            .map(|rule| rule.rule.clone())
            .collect();
        bench.metrics.applied(&Setup::default(), &rules, 0);
        for rule in &rules {
            bench.metrics.observe_delay(rule, 0.1);
        }
        let page = bench.metrics.render(now).unwrap();
        let count = series(&page).len();
        assert!(count <= 1_000, "{count} series in round {round}");
        assert_eq!(sum(&page, "jaga_store_exposed_bytes_total"), 2_000.0);
        assert_eq!(sum(&page, "jaga_alerts_firing"), 500.0);
        assert_eq!(
            sum(&page, "jaga_detection_delay_seconds_count"),
            500.0 * (round + 1) as f64
        );
        assert!(
            page.contains(r#"jaga_store_exposed_bytes_total{scope="external",store="other"}"#)
                || page
                    .contains(r#"jaga_store_exposed_bytes_total{store="other",scope="external"}"#)
        );
        let truncated = sum(&page, "jaga_series_truncated_total");
        assert!(truncated > before.last().copied().unwrap_or(0.0));
        before.push(truncated);
    }
}

#[test]
fn a_series_keeps_its_meaning_when_others_come_first() {
    let bench = bench();
    let with = |interfaces: Vec<(Name, u64, u64)>| Now {
        snapshot: Snapshot {
            interfaces,
            ..Snapshot::default()
        },
        ..Now::default()
    };
    let eth0 = || ("eth0".into(), 5, 5);
    bench.metrics.render(with(vec![eth0()])).unwrap();
    let veths = (0..100).map(|number| (format!("a-veth{number}").into(), 1, 1));
    let page = bench
        .metrics
        .render(with(veths.chain([eth0()]).collect()))
        .unwrap();
    assert!(
        page.contains("jaga_wire_sent_bytes_total{interface=\"eth0\"} 5\n"),
        "{page}"
    );
    assert!(
        page.contains("jaga_wire_sent_bytes_total{interface=\"other\"} 85\n"),
        "{page}"
    );
}

#[test]
fn a_refused_reload_shows_until_the_next_one_is_taken() {
    let bench = bench();
    let page = || bench.metrics.page(Snapshot::default(), 0).unwrap();
    let name = "jaga_config_last_reload_successful";
    bench.metrics.applied(&Setup::default(), &[], 5_000_000_000);
    assert!(page().contains(&format!("{name} 1\n")));
    bench.metrics.reload_failed();
    assert!(page().contains(&format!("{name} 0\n")));
    let stamp = "jaga_config_last_reload_success_timestamp_seconds 5\n";
    assert!(page().contains(stamp), "what was last taken stays");
}

#[test]
fn another_configuration_has_another_hash_that_a_float_holds() {
    let other = Setup {
        config: "site: x".to_owned(),
        ..Setup::default()
    };
    let (a, b) = (config_hash(&Setup::default()), config_hash(&other));
    assert_ne!(a, b);
    assert!([a, b].iter().all(|hash| *hash < 1 << 48));
}
