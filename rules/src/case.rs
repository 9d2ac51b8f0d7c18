//! An alert as its row has it: for who settles its case, or allows what it told.

use crate::alert::Phase;
use crate::engine::rows::AlertRow;
use crate::event::{Name, Stamp};
use crate::names::Names;
use crate::output::Evidence;
use crate::rule::{KeyField, Measure, Severity};

/// An alert, and its case.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The alert's id.
    pub id: String,
    /// Its rule.
    pub rule: Name,
    /// How bad.
    pub severity: Severity,
    /// What the rule groups by, with its value.
    pub key: Vec<(KeyField, Name)>,
    /// Still flowing.
    pub is_firing: bool,
    /// No person has settled it.
    pub is_open: bool,
    /// When it fired last; a stamp of the run that wrote it.
    pub fired: Stamp,
    /// What was counted.
    pub measure: Measure,
    /// How much, in the measure's unit.
    pub value: u64,
    /// Who and where to.
    pub evidence: Evidence,
}

impl Case {
    /// From the body of an alert's row. `None`: it was pending, and never fired.
    ///
    /// # Errors
    /// It is no such row.
    pub fn read(body: &str) -> Result<Option<Self>, serde_json::Error> {
        let row: AlertRow = serde_json::from_str(body)?;
        let alert = row.alert;
        if alert.id.is_empty() {
            return Ok(None);
        }
        let trail = alert.trail.map(|trail| trail.restore(row.sessions, 0));
        Ok(Some(Self {
            id: alert.id,
            rule: row.rule,
            severity: alert.severity,
            key: row.by.into_iter().zip(row.key).collect(),
            is_firing: matches!(alert.phase, Phase::Firing(_)),
            is_open: alert.case_open,
            fired: alert.since,
            measure: row.measure,
            value: alert.value,
            evidence: trail.map_or_else(Evidence::default, |trail| trail.evidence(&Names::new(0))),
        }))
    }
}
