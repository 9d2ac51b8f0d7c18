//! A transition as one line of JSON: the bytes of `jaga replay --json` and of the alert file.

use jiff::Timestamp;
use serde::Serialize;

use crate::event::{Name, SECOND, Stamp};
use crate::output::{AlertState, Transition};
use crate::rule::{KeyField, Scope, Severity};

impl Transition {
    /// One JSON object without a line break. The fields' order and form are promised to users (DESIGN 9).
    #[must_use]
    pub fn to_line(&self) -> String {
        let line = Line {
            at: rfc3339_millis(self.wall),
            state: self.state,
            rule: &self.rule,
            severity: self.severity,
            key: Key(&self.key),
            value: self.value,
            limit: self.limit,
            unit: self.measure.unit(),
            window: duration_text(self.window),
            summary: &self.summary,
            id: &self.id,
            size: self.size,
            sessions: &self.evidence.sessions,
            destinations: &self.evidence.destinations,
            scope: self.evidence.scope,
            contract: self.evidence.contract.as_deref(),
            bytes: self.evidence.bytes,
            files: self.evidence.files,
            records: self.evidence.records,
            first: rfc3339_millis(self.wall_of(self.evidence.first)),
            last: rfc3339_millis(self.wall_of(self.evidence.last)),
        };
        serde_json::to_string(&line).expect("strings and numbers always serialise")
    }

    /// Wall time of an engine stamp near this transition, nanoseconds since the Unix epoch.
    #[must_use]
    pub fn wall_of(&self, stamp: Stamp) -> i64 {
        self.wall.saturating_sub(self.at.since(stamp))
    }
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    state: AlertState,
    rule: &'a str,
    severity: Severity,
    key: Key<'a>,
    value: u64,
    limit: u64,
    unit: &'static str,
    window: String,
    summary: &'a str,
    id: &'a str,
    size: u32,
    sessions: &'a [String],
    destinations: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contract: Option<&'a str>,
    bytes: u64,
    files: u64,
    records: u64,
    first: String,
    last: String,
}

/// An object in the rule's order, which a map type of serde_json would lose.
struct Key<'a>(&'a [(KeyField, Name)]);

impl Serialize for Key<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(field, value)| (field, value)))
    }
}

/// RFC 3339 in UTC with milliseconds, cut and not rounded, of nanoseconds since the Unix epoch.
#[must_use]
pub fn rfc3339_millis(wall: i64) -> String {
    Timestamp::from_nanosecond(i128::from(wall))
        .expect("64 bits of nanoseconds reach from 1677 to 2262")
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

/// Nanoseconds as a Prometheus duration: `1h30m`, `30d`, `250ms`. Weeks and years stay days, as people write limits.
#[must_use]
pub fn duration_text(nanos: i64) -> String {
    const UNITS: [(i64, &str); 5] = [
        (86_400 * SECOND, "d"),
        (3_600 * SECOND, "h"),
        (60 * SECOND, "m"),
        (SECOND, "s"),
        (SECOND / 1_000, "ms"),
    ];
    let mut rest = nanos.max(0);
    let mut text = String::new();
    for (unit, name) in UNITS {
        if rest >= unit {
            text += &format!("{}{name}", rest / unit);
            rest %= unit;
        }
    }
    if text.is_empty() {
        text += "0s";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Evidence;
    use crate::rule::Measure;

    fn leak() -> Transition {
        Transition {
            at: Stamp(65 * SECOND),
            wall: 1_793_000_000 * SECOND + 123_999_999,
            state: AlertState::Firing,
            rule: "store-data-leaves".into(),
            severity: Severity::Critical,
            key: vec![
                (KeyField::Store, "ekg".into()),
                (KeyField::Session, "login:\"é\\".into()),
            ],
            value: 100_000_001,
            limit: 100_000_000,
            measure: Measure::ExposedBytes,
            window: 600 * SECOND,
            summary: "about\ntwo lines".into(),
            id: "a1".into(),
            key_hash: "0badcafe".into(),
            size: 1,
            evidence: Evidence {
                contract: None,
                sessions: vec!["login:alice (/usr/bin/curl, alice)".into()],
                destinations: vec!["203.0.113.9:443".into()],
                scope: Some(Scope::External),
                bytes: 100_000_001,
                files: 700,
                estimated: false,
                records: 700,
                first: Stamp(60 * SECOND),
                last: Stamp(64 * SECOND + 500_000_000),
            },
        }
    }

    #[test]
    fn a_line_is_byte_for_byte_this() {
        let expected = concat!(
            r#"{"at":"2026-10-26T07:33:20.123Z","state":"firing","rule":"store-data-leaves","severity":"critical","#,
            r#""key":{"store":"ekg","session":"login:\"é\\"},"value":100000001,"limit":100000000,"unit":"bytes","#,
            r#""window":"10m","summary":"about\ntwo lines","id":"a1","size":1,"#,
            r#""sessions":["login:alice (/usr/bin/curl, alice)"],"destinations":["203.0.113.9:443"],"#,
            r#""scope":"external","bytes":100000001,"files":700,"records":700,"#,
            r#""first":"2026-10-26T07:33:15.123Z","last":"2026-10-26T07:33:19.623Z"}"#,
        );
        assert_eq!(leak().to_line(), expected);
    }

    #[test]
    fn what_is_unknown_is_absent_or_empty() {
        let mut transition = leak();
        transition.key.clear();
        transition.evidence = Evidence::default();
        let line = transition.to_line();
        assert!(line.contains(r#""key":{}"#), "{line}");
        assert!(!line.contains("scope"), "{line}");
        assert!(
            line.contains(r#""sessions":[],"destinations":[]"#),
            "{line}"
        );
    }

    #[test]
    fn times_at_the_ends_of_the_type_do_not_panic() {
        for wall in [i64::MIN, -1, 0, i64::MAX] {
            let mut transition = leak();
            transition.wall = wall;
            transition.evidence.first = Stamp(i64::MIN);
            transition.evidence.last = Stamp(i64::MAX);
            assert!(transition.to_line().ends_with("Z\"}"));
        }
    }

    #[test]
    fn durations_read_as_people_write_them() {
        for (nanos, text) in [
            (0, "0s"),
            (-5, "0s"),
            (SECOND / 4, "250ms"),
            (600 * SECOND, "10m"),
            (5_400 * SECOND, "1h30m"),
            (86_400 * SECOND, "1d"),
            (30 * 86_400 * SECOND, "30d"),
        ] {
            assert_eq!(duration_text(nanos), text);
        }
    }
}
