//! A transition as Alertmanager's API v2 takes it: labels are identity, figures are annotations.

use std::collections::BTreeMap;

use jaga_rules::line::{duration_text, rfc3339_millis};
use jaga_rules::output::Transition;
use jaga_rules::rule::KeyField;
use serde::Serialize;

use crate::output::Context;

/// `postableAlert` of <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
}

impl Alert {
    /// From the transition with which it fired, and its end: ahead while it fires.
    pub(super) fn new(firing: &Transition, ends: i64, context: &Context) -> Self {
        Self {
            labels: labels(firing, context),
            annotations: annotations(firing, context),
            starts_at: rfc3339_millis(firing.wall),
            // Alertmanager refuses an end before the start, which a wall clock set back would give.
            ends_at: rfc3339_millis(ends.max(firing.wall)),
        }
    }
}

fn labels(firing: &Transition, context: &Context) -> BTreeMap<&'static str, String> {
    let store = firing
        .key
        .iter()
        .find(|(field, _)| *field == KeyField::Store)
        .map(|(_, store)| store.to_string());
    let all = [
        ("alertname", Some(alert_name(&firing.rule))),
        ("rule", Some(firing.rule.to_string())),
        ("severity", Some(kebab(&firing.severity))),
        ("store", store),
        ("scope", firing.evidence.scope.map(|scope| kebab(&scope))),
        ("instance", Some(context.instance.to_string())),
        ("site", Some(context.site.to_string())),
        ("key", Some(firing.key_hash.clone())),
        ("size", Some(format!("{}x", firing.size))),
    ];
    present(all)
}

fn annotations(firing: &Transition, context: &Context) -> BTreeMap<&'static str, String> {
    let evidence = &firing.evidence;
    let wording = context.rules.get(&firing.rule);
    let unit = firing.measure.unit();
    let all = [
        ("summary", Some(firing.summary.clone())),
        ("title", wording.map(|wording| wording.title.to_string())),
        ("sessions", Some(evidence.sessions.join(", "))),
        ("destinations", Some(evidence.destinations.join(", "))),
        ("contract", evidence.contract.clone()),
        ("value", Some(format!("{} {unit}", firing.value))),
        ("limit", Some(format!("{} {unit}", firing.limit))),
        ("window", Some(duration_text(firing.window))),
        ("bytes", Some(evidence.bytes.to_string())),
        ("files", Some(evidence.files.to_string())),
        ("records", Some(evidence.records.to_string())),
        (
            "first",
            Some(rfc3339_millis(firing.wall_of(evidence.first))),
        ),
        ("last", Some(rfc3339_millis(firing.wall_of(evidence.last)))),
        ("attack", wording.map(|wording| wording.attack.join(", "))),
        ("advice", wording.map(|wording| wording.advice.to_string())),
        ("runbook_url", Some(runbook(&firing.rule))),
        ("id", Some(firing.id.clone())),
    ];
    present(all)
}

/// An empty label is no label to Alertmanager, so it is left out here too.
fn present<const N: usize>(
    all: [(&'static str, Option<String>); N],
) -> BTreeMap<&'static str, String> {
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
        .collect()
}

/// `store-data-leaves` as `JagaStoreDataLeaves`.
pub(crate) fn alert_name(rule: &str) -> String {
    let words = rule.split(|c: char| !c.is_alphanumeric());
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|first| first.to_uppercase().chain(letters).collect::<String>())
            .unwrap_or_default()
    };
    format!("Jaga{}", words.map(capital).collect::<String>())
}

/// Where the package installs what `jaga explain RULE` prints.
#[must_use]
pub fn runbook(rule: &str) -> String {
    format!("file:///usr/share/doc/jaga/rules/{rule}.md")
}

fn kebab(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("an enum of plain words became {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::output::Wording;
    use crate::testing::firing;

    fn context() -> Context {
        let wording = Wording {
            title: "Store data leaves the host".into(),
            attack: vec!["T1048".into(), "T1567".into()],
            advice: "Find the session's owner.".into(),
        };
        Context {
            site: "rsud-example".into(),
            instance: "pacs1".into(),
            resend: Duration::from_secs(60),
            rules: Arc::new(BTreeMap::from([("store-data-leaves".into(), wording)])),
        }
    }

    #[test]
    fn an_alert_reads_like_this() {
        let fired = firing("alice");
        let alert = Alert::new(&fired, fired.wall + 240_000_000_000, &context());
        let expected = r#"{
  "labels": {
    "alertname": "JagaStoreDataLeaves",
    "instance": "pacs1",
    "key": "hash-alice",
    "rule": "store-data-leaves",
    "scope": "external",
    "severity": "critical",
    "site": "rsud-example",
    "size": "1x",
    "store": "ekg"
  },
  "annotations": {
    "advice": "Find the session's owner.",
    "attack": "T1048, T1567",
    "bytes": "100000001",
    "destinations": "203.0.113.9:443",
    "files": "700",
    "first": "2026-10-26T07:33:15.000Z",
    "id": "alice",
    "last": "2026-10-26T07:33:19.500Z",
    "limit": "100000000 bytes",
    "records": "700",
    "runbook_url": "file:///usr/share/doc/jaga/rules/store-data-leaves.md",
    "sessions": "login:alice (/usr/bin/curl, alice)",
    "summary": "data of store ekg leaves",
    "title": "Store data leaves the host",
    "value": "100000001 bytes",
    "window": "10m"
  },
  "startsAt": "2026-10-26T07:33:20.000Z",
  "endsAt": "2026-10-26T07:37:20.000Z"
}"#;
        assert_eq!(serde_json::to_string_pretty(&alert).unwrap(), expected);
    }

    #[test]
    fn labels_that_the_rule_does_not_group_by_are_absent() {
        let mut fired = firing("x");
        fired.key.clear();
        fired.evidence.scope = None;
        fired.rule = "no-such-rule".into();
        let alert = Alert::new(&fired, 0, &context());
        let names: Vec<&str> = alert.labels.keys().copied().collect();
        let always = [
            "alertname",
            "instance",
            "key",
            "rule",
            "severity",
            "site",
            "size",
        ];
        assert_eq!(names, always);
        assert!(!alert.annotations.contains_key("advice"));
        assert_eq!(
            alert.ends_at, alert.starts_at,
            "an end is never before the start"
        );
    }

    #[test]
    fn alert_names_are_camel_case() {
        for (rule, name) in [
            ("store-data-leaves", "JagaStoreDataLeaves"),
            ("rate", "JagaRate"),
            ("a--2b-", "JagaA2b"),
        ] {
            assert_eq!(alert_name(rule), name);
        }
    }
}
