//! What every leak must end in: one alert that names it, bytes that are true, a resolution, a tape that says the same.

use std::time::Instant;

use serde_json::Value;

use crate::agent::{Agent, is};

/// Who took which store where, as the test knows it.
#[derive(Debug, Clone, Copy)]
pub struct Leak<'a> {
    /// The rule that must fire.
    pub rule: &'a str,
    /// The store that was taken.
    pub store: &'a str,
    /// The session that sent it.
    pub session: &'a str,
    /// The address it went to.
    pub destination: &'a str,
    /// Scopes into which the bytes may be booked.
    pub scopes: &'a [&'a str],
}

impl Leak<'_> {
    /// Waits for the alert and its end, and compares with `sent`, the bytes that arrived on the other side.
    ///
    /// # Panics
    /// If anything about it is not as it must be.
    pub fn told(&self, agent: &mut Agent, sent: u64) {
        let start = Instant::now();
        let fired = agent.alert(self.rule, "firing", &[]);
        self.names_it(&fired);
        let resolved = agent.alert(self.rule, "resolved", &[]);
        assert_eq!(fired["id"], resolved["id"], "another alert was resolved");
        self.is_true(agent, sent);
        self.is_alone(agent);
        agent.replay_equals_live();
        eprintln!(
            "   told {} after {:.1} s: {}",
            self.rule,
            start.elapsed().as_secs_f64(),
            fired["summary"]
        );
    }

    /// The alert names session, store and destination.
    ///
    /// # Panics
    /// If it does not.
    pub fn names_it(&self, alert: &Value) {
        let in_list = |list: &str, start: &str| {
            alert[list].as_array().is_some_and(|items| {
                items
                    .iter()
                    .any(|item| item.as_str().is_some_and(|text| text.starts_with(start)))
            })
        };
        assert!(
            in_list("sessions", &format!("{} ", self.session)),
            "{} is not among the sessions of {alert}",
            self.session
        );
        assert!(
            in_list("destinations", self.destination),
            "{} is not among the destinations of {alert}",
            self.destination
        );
        // A rule has those of the four in its key that it groups by.
        for (field, value) in [
            ("store", self.store),
            ("session", self.session),
            ("peer", self.destination),
            ("destination", self.destination),
        ] {
            if let Some(named) = alert["key"].get(field) {
                assert_eq!(named, value, "{alert}");
            }
        }
    }

    /// The store's exposed bytes are within 1 % of what arrived.
    ///
    /// # Panics
    /// If they are not.
    pub fn is_true(&self, agent: &Agent, sent: u64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a hundred megabytes fit a double"
        )]
        let sent = sent as f64;
        let exposed: f64 = self
            .scopes
            .iter()
            .map(|scope| {
                let labels = [("store", self.store), ("scope", *scope)];
                agent
                    .metric("jaga_store_exposed_bytes_total", &labels)
                    .expect("every store has every scope")
            })
            .sum();
        let off = (exposed - sent) / sent;
        eprintln!(
            "   exposed {exposed}, arrived {sent}: off by {:.3} %",
            off * 100.0
        );
        assert!(
            off.abs() < 0.01,
            "exposed {exposed}, arrived {sent}: off by {:.2} %",
            off * 100.0
        );
    }

    /// No other session is accused of it.
    fn is_alone(&self, agent: &Agent) {
        for alert in agent
            .alerts()
            .iter()
            .filter(|alert| is(alert, self.rule, "firing", &[]))
        {
            let session = alert["key"].get("session").and_then(Value::as_str);
            assert!(
                session.is_none_or(|session| session == self.session),
                "somebody else is accused: {alert}"
            );
        }
    }
}

/// What may be said of ordinary work: that somebody read much, as information.
const ORDINARY: &[&str] = &["store-mass-read"];

/// Nothing was said beyond the ordinary, no sensor was blind or lost anything; the tape agrees.
///
/// # Panics
/// If something was.
pub fn nothing_told(agent: &mut Agent) {
    agent.replay_equals_live();
    let told: Vec<String> = agent
        .alerts()
        .iter()
        .filter(|alert| {
            !alert["rule"]
                .as_str()
                .is_some_and(|rule| ORDINARY.contains(&rule))
        })
        .map(ToString::to_string)
        .collect();
    assert!(
        told.is_empty(),
        "it should have been silent:\n{}",
        told.join("\n")
    );
}
