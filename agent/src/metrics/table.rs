//! The table of metrics: one entry each, and nowhere else.

use jaga_rules::event::SECOND;
use jaga_rules::output::ContractTotals;
use jaga_rules::rule::{Scope, Severity};

use super::Now;
use super::series::{Fold, Sample};
use crate::sensor::{Health, OFF};

/// A metric: its name, what it says, and where its values come from.
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
    /// Combinations of label values, `scope` and `severity` apart; further ones are folded into `other`.
    pub(super) limit: usize,
    /// How values are folded.
    pub(super) fold: Fold,
    pub(super) samples: fn(&Now) -> Vec<Sample>,
}

/// Prometheus's types that the table has.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

// The limits are such that all series together stay below 1,000, whatever the host brings (a test adds them up).
const ONE: usize = 1;
const SENSORS: usize = 10;
const STORES: usize = 32;
const INTERFACES: usize = 16;
const CONTRACTS: usize = 24;
const RULES: usize = 32;
const FIRING: usize = 64;
const OUTPUTS: usize = 8;
const TABLES: usize = 8;

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    limit: usize,
    help: &'static str,
    samples: fn(&Now) -> Vec<Sample>,
) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        help,
        labels,
        limit,
        fold: Fold::Sum,
        samples,
    }
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    limit: usize,
    fold: Fold,
    help: &'static str,
    samples: fn(&Now) -> Vec<Sample>,
) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        help,
        labels,
        limit,
        fold,
        samples,
    }
}

// A table reads as a table: rustfmt would make it three times as long.
#[rustfmt::skip]
pub(super) const METRICS: &[Metric] = &[
    gauge("jaga_build_info", &["version", "revision"], ONE, Fold::Max,
        "Version and revision of the agent; always 1.",
        |now| vec![Sample::count([env!("CARGO_PKG_VERSION"), now.revision], 1)]),
    gauge("jaga_config_hash", &[], ONE, Fold::Max,
        "First 48 bits of a hash over configuration and rules.",
        |now| only(now.config.hash)),
    gauge("jaga_config_last_reload_successful", &[], ONE, Fold::Max,
        "Whether the last change of configuration or rules was taken.",
        |now| only(u64::from(now.config.last_reload_successful))),
    gauge("jaga_config_last_reload_success_timestamp_seconds", &[], ONE, Fold::Max,
        "When configuration and rules were last taken.",
        |now| vec![Sample::new([], seconds(now.config.last_success_wall))]),
    gauge("jaga_start_gap_seconds", &[], ONE, Fold::Max,
        "How long no agent ran before this one started; what left in that time is not known. 0 at the first start.",
        |now| vec![Sample::new([], seconds(now.away))]),
    gauge("jaga_stores", &[], ONE, Fold::Max,
        "Protected data sets that are watched.",
        |now| only(now.snapshot.stores.len() as u64)),

    gauge("jaga_sensor_up", &["sensor"], SENSORS, Fold::Min,
        "Whether the sensor sees; none for one that is off by configuration.",
        |now| each(&wanted(now), |(sensor, health)| Sample::count([sensor], u64::from(health.up)))),
    gauge("jaga_sensor_rung", &["sensor"], SENSORS, Fold::Max,
        "How well the sensor sees: 1 is best, 0 is not running.",
        |now| each(&now.sensors, |(sensor, health)| Sample::count([sensor], u64::from(health.rung)))),
    counter("jaga_sensor_events_total", &["sensor"], SENSORS,
        "Events that the sensor handed over.",
        |now| each(&now.sensors, |(sensor, health)| Sample::count([sensor], health.events))),
    counter("jaga_sensor_lost_events_total", &["sensor"], SENSORS,
        "Events that were lost.",
        |now| each(&lost(now), |(sensor, events, _)| Sample::count([sensor], *events))),
    counter("jaga_sensor_lost_bytes_total", &["sensor"], SENSORS,
        "Bytes that were lost, where they can be counted.",
        |now| each(&lost(now), |(sensor, _, bytes)| Sample::count([sensor], *bytes))),

    counter("jaga_store_read_bytes_total", &["store"], STORES,
        "Bytes read of the store.",
        |now| each(&now.snapshot.stores, |store| Sample::count([&store.store], store.read_bytes))),
    counter("jaga_store_read_files_total", &["store"], STORES,
        "Files of the store that were read, each once per session.",
        |now| each(&now.snapshot.stores, |store| Sample::count([&store.store], store.read_files))),
    counter("jaga_store_exposed_bytes_total", &["store", "scope"], STORES,
        "Bytes sent to other hosts while holding data of the store; sums over stores are not totals.",
        |now| exposed(now, |bytes, _| bytes)),
    counter("jaga_store_exposed_records_total", &["store", "scope"], STORES,
        "Patient records that those bytes can be, about.",
        |now| exposed(now, |_, records| records)),

    counter("jaga_wire_sent_bytes_total", &["interface"], INTERFACES,
        "Bytes that left by the interface, by its own counter.",
        |now| each(&now.snapshot.interfaces, |(interface, wire, _)| Sample::count([interface], *wire))),
    counter("jaga_attributed_sent_bytes_total", &["interface"], INTERFACES,
        "Bytes that left by the interface and whose sender is known.",
        |now| each(&now.snapshot.interfaces, |(interface, _, known)| Sample::count([interface], *known))),
    counter("jaga_sent_bytes_total", &["scope"], ONE,
        "Bytes sent to other hosts.",
        |now| each(&now.snapshot.sent_bytes, |(scope, bytes)| Sample::count([scope_name(*scope)], *bytes))),
    counter("jaga_contract_sent_bytes_total", &["contract"], CONTRACTS,
        "Bytes sent under the contract.",
        |now| each(&now.snapshot.contracts, |contract| Sample::count([&contract.contract], contract.sent_bytes))),
    gauge("jaga_contract_limit_bytes", &["contract"], CONTRACTS, Fold::Sum,
        "The contract's amount; of several, the one of which the least is left. Absent if it is for any amount.",
        |now| contract_amounts(now, |contract| contract.limit_bytes)),
    gauge("jaga_contract_left_bytes", &["contract"], CONTRACTS, Fold::Min,
        "What may still be sent under the contract today. Absent if it is for any amount.",
        |now| contract_amounts(now, |contract| contract.left_bytes)),
    gauge("jaga_contract_expiry_timestamp_seconds", &["contract"], CONTRACTS, Fold::Min,
        "End of the contract's last day; absent if it has none.",
        contract_expiries),

    counter("jaga_alerts_total", &["rule", "severity"], RULES,
        "Alerts that fired.",
        |now| each(&now.snapshot.rules, |rule| Sample::count([&rule.rule, severity_name(rule.severity)], rule.alerts))),
    gauge("jaga_alerts_firing", &["rule", "severity", "store"], FIRING, Fold::Sum,
        "Alerts that are firing; every rule has a series without store, which is 0 if nothing else.",
        firing),
    gauge("jaga_cases_open", &["rule", "severity"], RULES, Fold::Sum,
        "Cases that nobody has settled.",
        |now| each(&now.snapshot.rules, |rule| Sample::count([&rule.rule, severity_name(rule.severity)], rule.cases_open))),
    gauge("jaga_budget_used_ratio", &["rule"], RULES, Fold::Max,
        "How full the rule's fullest key is: 1 is the limit.",
        |now| each(&now.snapshot.rules, |rule| Sample::new([&rule.rule], rule.budget_used_ratio))),

    gauge("jaga_engine_keys", &["rule"], RULES, Fold::Sum,
        "Keys that the rule counts.",
        |now| each(&now.snapshot.rules, |rule| Sample::count([&rule.rule], rule.keys))),
    counter("jaga_engine_keys_merged_total", &["rule"], RULES,
        "Keys that were merged into other at the limit.",
        |now| each(&now.snapshot.rules, |rule| Sample::count([&rule.rule], rule.keys_merged))),
    gauge("jaga_engine_entries", &["table"], TABLES, Fold::Sum,
        "Entries of a table of the engine.",
        |now| each(&now.snapshot.tables, |(table, entries, _)| Sample::count([table], *entries))),
    gauge("jaga_engine_entries_limit", &["table"], TABLES, Fold::Sum,
        "Entries that the table can have.",
        |now| each(&now.snapshot.tables, |(table, _, limit)| Sample::count([table], *limit))),

    counter("jaga_notifications_total", &["output"], OUTPUTS,
        "Transitions that the output has told.",
        |now| each(&now.deliveries, |(output, told, _)| Sample::count([output], *told))),
    counter("jaga_notifications_failed_total", &["output"], OUTPUTS,
        "Attempts of the output that failed.",
        |now| each(&now.deliveries, |(output, _, failed)| Sample::count([output], *failed))),
    gauge("jaga_notifications_pending", &["output"], OUTPUTS, Fold::Sum,
        "Transitions that wait for the output.",
        |now| each(&now.backlog, |backlog| Sample::count([&backlog.output], backlog.pending))),
    gauge("jaga_notifications_oldest_pending_seconds", &["output"], OUTPUTS, Fold::Max,
        "Age of the oldest transition that waits for the output; 0 if none waits.",
        |now| each(&now.backlog, |backlog| Sample::new([&backlog.output], age(backlog.oldest, now.wall)))),
    counter("jaga_notifications_dropped_total", &[], ONE,
        "Transitions that were given up at the limit of the outbox, ever.",
        |now| only(now.dropped)),

    counter("process_cpu_seconds_total", &[], ONE,
        "Total user and system CPU time spent in seconds.",
        |now| process(now, |process| process.cpu_seconds)),
    gauge("process_open_fds", &[], ONE, Fold::Max,
        "Number of open file descriptors.",
        |now| process(now, |process| process.open_fds as f64)),
    gauge("process_max_fds", &[], ONE, Fold::Max,
        "Maximum number of open file descriptors.",
        |now| process(now, |process| process.max_fds)),
    gauge("process_virtual_memory_bytes", &[], ONE, Fold::Max,
        "Virtual memory size in bytes.",
        |now| process(now, |process| process.virtual_bytes as f64)),
    gauge("process_resident_memory_bytes", &[], ONE, Fold::Max,
        "Resident memory size in bytes.",
        |now| process(now, |process| process.resident_bytes as f64)),
    gauge("process_start_time_seconds", &[], ONE, Fold::Max,
        "Start time of the process since unix epoch in seconds.",
        |now| process(now, |process| process.start_seconds)),
    gauge("process_threads", &[], ONE, Fold::Max,
        "Number of OS threads in the process.",
        |now| process(now, |process| process.threads as f64)),
];

fn only(value: u64) -> Vec<Sample> {
    vec![Sample::count([], value)]
}

fn each<T>(all: &[T], sample: impl Fn(&T) -> Sample) -> Vec<Sample> {
    all.iter().map(sample).collect()
}

fn exposed(now: &Now, pick: fn(u64, u64) -> u64) -> Vec<Sample> {
    let stores = now.snapshot.stores.iter();
    let samples = stores.flat_map(|store| {
        store.exposed.iter().map(move |(scope, bytes, records)| {
            Sample::count([&*store.store, scope_name(*scope)], pick(*bytes, *records))
        })
    });
    samples.collect()
}

fn firing(now: &Now) -> Vec<Sample> {
    let none = now
        .snapshot
        .rules
        .iter()
        .map(|rule| Sample::count([&*rule.rule, severity_name(rule.severity), ""], 0));
    let some = now
        .snapshot
        .firing
        .iter()
        .map(|(rule, severity, store, count)| {
            Sample::count([&**rule, severity_name(*severity), &**store], *count)
        });
    none.chain(some).collect()
}

/// Nobody is to be woken for what was switched off.
fn wanted(now: &Now) -> Vec<&(&'static str, Health)> {
    let sensors = now.sensors.iter();
    sensors.filter(|(_, health)| health.why != OFF).collect()
}

/// Sensors count what they lose, and the engine counts the gaps that it was told: the larger is the truth, since a
/// gap may still wait in the queue and some gaps have no sensor of that name.
fn lost(now: &Now) -> Vec<(&str, u64, u64)> {
    let mut all: Vec<(&str, u64, u64)> = now
        .sensors
        .iter()
        .map(|(sensor, health)| (*sensor, health.lost_events, health.lost_bytes))
        .collect();
    for (sensor, events, bytes) in &now.snapshot.lost {
        match all.iter_mut().find(|(name, ..)| *name == &**sensor) {
            Some(known) => *known = (known.0, known.1.max(*events), known.2.max(*bytes)),
            None => all.push((sensor, *events, *bytes)),
        }
    }
    all
}

fn contract_amounts(now: &Now, pick: fn(&ContractTotals) -> Option<u64>) -> Vec<Sample> {
    let contracts = now.snapshot.contracts.iter();
    let amount =
        contracts.filter_map(|contract| Some(Sample::count([&contract.contract], pick(contract)?)));
    amount.collect()
}

fn contract_expiries(now: &Now) -> Vec<Sample> {
    let contracts = now.snapshot.contracts.iter();
    let expiry = contracts.filter_map(|contract| {
        let expiry = contract.expiry? as f64;
        Some(Sample::new([&contract.contract], expiry))
    });
    expiry.collect()
}

fn age(oldest: Option<i64>, wall: i64) -> f64 {
    seconds(oldest.map_or(0, |oldest| wall.saturating_sub(oldest).max(0)))
}

fn process(now: &Now, pick: fn(&super::ProcessNow) -> f64) -> Vec<Sample> {
    let sample = |process| Sample::new([], pick(process));
    now.process.iter().map(sample).collect()
}

fn seconds(nanos: i64) -> f64 {
    nanos as f64 / SECOND as f64
}

const fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Contract => "contract",
        Scope::Internal => "internal",
        Scope::Relay => "relay",
        Scope::External => "external",
    }
}

const fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}
