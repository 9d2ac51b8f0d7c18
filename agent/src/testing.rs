//! Transitions for this crate's tests.

use jaga_rules::event::Stamp;
use jaga_rules::output::{AlertState, Evidence, Transition};
use jaga_rules::rule::{KeyField, Measure, Scope, Severity};

/// An alert `id` of `store-data-leaves` that fires.
pub fn firing(id: &str) -> Transition {
    Transition {
        at: Stamp(65_000_000_000),
        wall: 1_793_000_000_000_000_000,
        state: AlertState::Firing,
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
        summary: "data of store ekg leaves".to_owned(),
        id: id.to_owned(),
        key_hash: format!("hash-{id}"),
        size: 1,
        evidence: Evidence {
            sessions: vec![format!("login:{id} (/usr/bin/curl, alice)")],
            destinations: vec!["203.0.113.9:443".to_owned()],
            scope: Some(Scope::External),
            contract: None,
            bytes: 100_000_001,
            files: 700,
            estimated: false,
            records: 700,
            first: Stamp(60_000_000_000),
            last: Stamp(64_500_000_000),
        },
    }
}

/// The same alert, resolved 15 minutes later.
pub fn resolved(id: &str) -> Transition {
    let mut transition = firing(id);
    let quiet = 900_000_000_000;
    transition.at = transition.at.plus(quiet);
    transition.wall += quiet;
    transition.state = AlertState::Resolved;
    transition
}
