//! The shipped configuration names every setting that the reader knows, as the README says it does.

use std::collections::BTreeSet;

use jaga_rules::config;

const SHIPPED: &str = include_str!("../../packaging/jaga.yaml");

/// A key that is none, in every map that there is: what is said of it names those that are.
const UNKNOWN: &str = "
qqqqqqqqqq: 1
stores: [{ qqqqqqqqqq: 1, records: { qqqqqqqqqq: 1 } }]
serves: [{ qqqqqqqqqq: 1 }]
contracts: [{ qqqqqqqqqq: 1, who: { qqqqqqqqqq: 1 } }]
sensors: { qqqqqqqqqq: 1 }
metrics: { qqqqqqqqqq: 1 }
outputs: [{ file: { qqqqqqqqqq: 1 } }, { alertmanager: { qqqqqqqqqq: 1 } }, { qqqqqqqqqq: 1 }]
accept: [{ qqqqqqqqqq: 1 }]
privacy: { qqqqqqqqqq: 1 }
periods: { qqqqqqqqqq: 1 }
";

#[test]
fn every_setting_is_in_the_shipped_configuration() {
    let problems = config::parse("a.yaml", UNKNOWN).unwrap_err();
    let known: BTreeSet<&str> = problems
        .0
        .iter()
        .filter_map(|problem| problem.help.strip_prefix("use one of: "))
        .flat_map(|words| words.split(", "))
        .collect();
    // A map that is read and not asked above would go unnoticed.
    assert!(known.len() > 35, "{known:?}");
    let words: BTreeSet<&str> = SHIPPED
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .collect();
    let missing: Vec<&&str> = known.iter().filter(|key| !words.contains(**key)).collect();
    assert!(
        missing.is_empty(),
        "packaging/jaga.yaml does not name {missing:?}"
    );
}

#[test]
fn the_shipped_configuration_is_right_also_where_it_is_commented_out() {
    config::parse("jaga.yaml", SHIPPED).unwrap_or_else(|problems| panic!("{problems}"));
    let is_setting = |line: &&str| {
        let key = line
            .trim_start_matches("# ")
            .split(':')
            .next()
            .unwrap_or("");
        line.starts_with("#   ")
            || (line.contains(':') && key.bytes().all(|c| c.is_ascii_lowercase()))
    };
    let lines: Vec<&str> = SHIPPED
        .lines()
        .filter(|line| !line.starts_with('#') || is_setting(line))
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .collect();
    let text = lines.join("\n");
    let config = config::parse("jaga.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(
        (config.contracts.len(), config.serves.len()),
        (2, 2),
        "{text}"
    );
}
