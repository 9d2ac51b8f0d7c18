//! What is shipped for Prometheus and Alertmanager: valid, tested, and true to the metrics that there are.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use jaga_tests::daemons::{self, check, free_port, has};
use jaga_tests::program::root;
use jaga_tests::wait::until;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    root().join("packaging/prometheus")
}

/// Runs `program` in the folder and wants it content.
fn content(program: &str, package: &str, arguments: &[&str], input: &str) {
    if !has(program, package) {
        return;
    }
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder());
    let (is_content, said) = check(&mut command, input);
    assert!(is_content, "{program} {arguments:?}: {said}");
}

#[test]
fn the_scrape_example_is_valid() {
    content(
        "promtool",
        "prometheus",
        &["check", "config", "jaga.scrape.yml"],
        "",
    );
}

/// Tests of the rules: those of seconds, and those of days.
const TESTS: [&str; 2] = ["jaga.rules.test.yml", "jaga.contracts.test.yml"];

#[test]
fn the_rules_are_valid_and_pass_their_tests() {
    content(
        "promtool",
        "prometheus",
        &["check", "rules", "jaga.rules.yml"],
        "",
    );
    for tests in TESTS {
        content("promtool", "prometheus", &["test", "rules", tests], "");
    }
}

#[test]
fn every_rule_has_a_test() {
    let rules = fs::read_to_string(folder().join("jaga.rules.yml")).unwrap();
    let tests = TESTS.map(|tests| fs::read_to_string(folder().join(tests)).unwrap());
    let tests = tests.concat();
    let names: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        let fires = format!("alertname: {name}\n        exp_alerts:");
        assert!(tests.contains(&fires), "no test in which {name} fires");
    }
}

#[test]
fn the_rules_name_metrics_that_there_are() {
    let page = fs::read_to_string(root().join("agent/src/metrics/golden.txt")).unwrap();
    let rules = fs::read_to_string(folder().join("jaga.rules.yml")).unwrap();
    let words = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    let mut seen = 0;
    for metric in words.filter(|word| word.starts_with("jaga_") || word.starts_with("process_")) {
        assert!(
            page.contains(&format!("# TYPE {metric} ")),
            "no such metric: {metric}"
        );
        seen += 1;
    }
    assert!(seen > 5);
}

#[test]
fn the_metrics_page_satisfies_promtool() {
    let page = fs::read_to_string(root().join("agent/src/metrics/golden.txt")).unwrap();
    content("promtool", "prometheus", &["check", "metrics"], &page);
}

#[test]
fn the_alertmanager_example_is_valid() {
    let arguments = ["check-config", "alertmanager.example.yml"];
    content("amtool", "prometheus-alertmanager", &arguments, "");
}

#[test]
fn a_larger_size_and_the_agents_own_word_mute_the_rest() {
    if !has("prometheus-alertmanager", "prometheus-alertmanager") {
        return;
    }
    let config = fs::read_to_string(folder().join("alertmanager.example.yml")).unwrap();
    let alertmanager = daemons::alertmanager(free_port(), Some(&config));
    let direct = |key: &str, size: &str| {
        json!({"labels": {"alertname": "JagaStoreDataLeaves", "rule": "store-data-leaves", "store": "ekg",
            "instance": "pacs1", "site": "s", "key": key, "size": size}})
    };
    let scraped = |instance: &str| {
        json!({"labels": {"alertname": "JagaAlertByScrape", "rule": "store-data-leaves", "store": "ekg",
            "instance": instance, "job": "jaga"}})
    };
    let alerts = json!([
        direct("a", "1x"),
        direct("a", "10x"),
        direct("a", "100x"),
        direct("b", "1x"),
        scraped("pacs1"),
        scraped("pacs2"),
    ]);
    post(alertmanager.address, &alerts.to_string());
    let expected = ["a 100x", "b 1x", "scrape pacs2"];
    until("the larger ones alone to speak", 30, || {
        let mut speak: Vec<String> = daemons::alerts(&alertmanager)
            .iter()
            .filter(|alert| alert["status"]["state"] == "active")
            .map(words)
            .collect();
        speak.sort();
        (speak == expected).then_some(())
    });
}

fn words(alert: &Value) -> String {
    let label = |name: &str| alert["labels"][name].as_str();
    match (label("key"), label("size")) {
        (Some(key), Some(size)) => format!("{key} {size}"),
        _ => format!("scrape {}", label("instance").unwrap()),
    }
}

fn post(alertmanager: SocketAddr, body: &str) {
    let url = format!("http://{alertmanager}/api/v2/alerts");
    let (is_content, said) = check(
        Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--data-binary", "@-"])
            .args(["--header", "Content-Type: application/json"])
            .arg(url),
        body,
    );
    assert!(is_content, "{said}");
}
