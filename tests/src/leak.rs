//! What every leak must end in: one alert that names it, bytes that are true, a resolution, a tape that says the same.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;

use crate::agent::{Agent, is, metric_of};
use crate::wait::{until, within};

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
        self.is_true(agent, sent);
        self.is_over(agent);
        // Nothing was added after it was true.
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

    /// The store's exposed bytes are within 1 % of what arrived, or will be: the last of them may still be on their way.
    ///
    /// # Panics
    /// If they never are.
    pub fn is_true(&self, agent: &Agent, sent: u64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a hundred megabytes fit a double"
        )]
        let sent = sent as f64;
        let mut off = f64::NAN;
        let is_near = within(20, || {
            let exposed = self.exposed(agent)?;
            off = (exposed - sent) / sent;
            (off.abs() < 0.01).then_some(())
        });
        let off = format!("exposed: {:+.3} % off the {sent} that arrived", off * 100.0);
        assert!(is_near.is_some(), "{off}");
        eprintln!("   {off}");
    }

    /// Bytes, exposed so far; absent while the page of metrics is not to be had: whoever asks too often is told to come
    /// later.
    ///
    /// # Panics
    /// If the store is not on the page.
    #[must_use]
    pub fn exposed(&self, agent: &Agent) -> Option<f64> {
        let page = agent.metrics()?;
        let of = |scope: &&str| {
            let labels = [("store", self.store), ("scope", *scope)];
            metric_of(&page, "jaga_store_exposed_bytes_total", &labels)
                .expect("every store has every scope")
        };
        Some(self.scopes.iter().map(of).sum())
    }

    /// Every alert of the rule is resolved: a machine that stands still for some seconds in the middle of a leak sees it
    /// end, and begin again.
    fn is_over(&self, agent: &Agent) {
        until("the end of every alert", 20, || {
            let alerts = agent.alerts();
            let in_state = |state| {
                let of_rule = alerts
                    .iter()
                    .filter(move |alert| is(alert, self.rule, state, &[]));
                of_rule
                    .map(|alert| alert["id"].to_string())
                    .collect::<BTreeSet<_>>()
            };
            (in_state("firing") == in_state("resolved")).then_some(())
        });
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

/// What may be said of ordinary work, as information: that somebody read much, that a port answers.
const ORDINARY: &[&str] = &["store-mass-read", "data-port-answers"];

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
