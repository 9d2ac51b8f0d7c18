//! What the engine returns: transitions, rows that changed, and a snapshot of its totals.

use serde::{Deserialize, Serialize};

use crate::event::{Name, Row, Stamp, Verdict};
use crate::rule::{KeyField, Measure, Scope, Severity};

/// What one step brought.
#[derive(Debug, Default)]
pub struct Output {
    /// Changes of alerts, in order.
    pub transitions: Vec<Transition>,
    /// Cases that were closed.
    pub settled: Vec<Settled>,
}

/// A case that a person settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The rule.
    pub rule: Name,
    /// The alert's id.
    pub id: String,
    /// What it was.
    pub verdict: Verdict,
}

/// An alert changed its state, or was raised to a larger size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Engine time at which it happened: the deadline's, not the wake-up's.
    pub at: Stamp,
    /// The same in wall time, nanoseconds since the Unix epoch.
    pub wall: i64,
    /// What it became.
    pub state: AlertState,
    /// The rule.
    pub rule: Name,
    /// Frozen at firing.
    pub severity: Severity,
    /// The key's values, in the rule's order.
    pub key: Vec<(KeyField, Name)>,
    /// What was counted when it happened, in `measure`'s unit.
    pub value: u64,
    /// How much would have been too much.
    pub limit: u64,
    /// What was counted.
    pub measure: Measure,
    /// Over how long, nanoseconds.
    pub window: i64,
    /// One sentence for a human, complete in itself.
    pub summary: String,
    /// Names this alert to `allow`, `settle` and `report`: the same from firing to resolved.
    pub id: String,
    /// First 8 hex digits of a keyed hash over rule and key values.
    pub key_hash: String,
    /// 1, 10 or 100 times the limit.
    pub size: u32,
    /// What led here.
    pub evidence: Evidence,
}

/// States of an alert that are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertState {
    /// Over the limit, waiting for `hold`.
    Pending,
    /// Over the limit.
    Firing,
    /// The flow stopped. The case stays open.
    Resolved,
}

/// Who, where to and how much, bounded: at most eight of each list, the first that were seen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Sessions, each `name (exe, user)`.
    pub sessions: Vec<String>,
    /// Destinations, `address:port`, with a name where one was seen.
    pub destinations: Vec<String>,
    /// Scope of the last byte that counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// A contract that is for this sender and destination and does not hold, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// Bytes that counted since the first.
    pub bytes: u64,
    /// Distinct store files that the sessions hold.
    pub files: u64,
    /// Patient records, about.
    pub records: u64,
    /// How much was read is an estimate: bytes read, files and records are about what is said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    /// Engine time of the first byte that counted.
    pub first: Stamp,
    /// Engine time of the last byte that counted.
    pub last: Stamp,
}

/// Rows that changed since they were last taken, newest state only.
pub type Rows = Vec<Row>;

/// Totals for `/metrics`. Lists are in configuration order, complete, and born at 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Per store.
    pub stores: Vec<StoreTotals>,
    /// Sent bytes per scope: all four scopes, always.
    pub sent_bytes: Vec<(Scope, u64)>,
    /// Per interface: (name, wire bytes by its counter, bytes with a known sender).
    pub interfaces: Vec<(Name, u64, u64)>,
    /// Per contract.
    pub contracts: Vec<ContractTotals>,
    /// Per rule.
    pub rules: Vec<RuleTotals>,
    /// Firing alerts: (rule, severity, store or empty) and how many.
    pub firing: Vec<(Name, Severity, Name, u64)>,
    /// Per sensor: (name, lost events, lost bytes).
    pub lost: Vec<(Name, u64, u64)>,
    /// Sizes of the engine's tables, for its limits: (table, entries, limit).
    pub tables: Vec<(&'static str, u64, u64)>,
}

/// Totals of a store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreTotals {
    /// Its name.
    pub store: Name,
    /// Bytes read.
    pub read_bytes: u64,
    /// Distinct files read, per session.
    pub read_files: u64,
    /// Per scope, all four: (scope, bytes, records).
    pub exposed: Vec<(Scope, u64, u64)>,
}

/// Totals of a contract.
#[derive(Debug, Clone, PartialEq)]
pub struct ContractTotals {
    /// Its name.
    pub contract: Name,
    /// Bytes sent under it.
    pub sent_bytes: u64,
    /// Of its amounts, the one of which the least is left now, bytes; absent = any amount.
    pub limit_bytes: Option<u64>,
    /// What is left of that.
    pub left_bytes: Option<u64>,
    /// End of its last day, seconds since the Unix epoch; absent = none.
    pub expiry: Option<i64>,
}

/// Totals of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleTotals {
    /// Its name.
    pub rule: Name,
    /// Its severity.
    pub severity: Severity,
    /// Alerts fired since start (a raise in size is not counted again).
    pub alerts: u64,
    /// Open cases.
    pub cases_open: u64,
    /// The fullest key: untold amount over limit, 0 and up.
    pub budget_used_ratio: f64,
    /// Keys alive.
    pub keys: u64,
    /// Keys that were merged into `other` at the limit.
    pub keys_merged: u64,
}
