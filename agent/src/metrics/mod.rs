//! The metrics page: what the agent knows about itself, put together at each scrape.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jaga_rules::event::{Name, Setup};
use jaga_rules::output::Snapshot;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, Registry, TextEncoder};

use crate::courier::Deliveries;
use crate::sensor::{Health, HealthTable};
use crate::state::Outbox;
use crate::state::outbox::Backlog;

mod process;
mod render;
mod series;
mod table;

use process::ProcessNow;
use series::Series;

/// Rules with a histogram of their own; further ones share `other`.
const RULES_WITH_HISTOGRAM: usize = 16;

/// The one histogram.
const DELAY: &str = "jaga_detection_delay_seconds";
const DELAY_HELP: &str = "From the last byte that counted to the alert on disk.";

/// Its buckets, seconds. The goal for the whole way is below one.
const DELAY_BUCKETS: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The page's owner; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    delay: HistogramVec,
    shared: Arc<Mutex<Shared>>,
    health: HealthTable,
    outbox: Outbox,
}

#[derive(Debug)]
struct Shared {
    deliveries: Deliveries,
    config: ConfigStatus,
    away: i64,
    rules: Vec<Name>,
    now: Now,
    series: Series,
}

/// Everything a scrape shows, taken at one time.
#[derive(Debug, Clone, Default)]
struct Now {
    snapshot: Snapshot,
    sensors: Vec<(&'static str, Health)>,
    config: ConfigStatus,
    away: i64,
    deliveries: Vec<(String, u64, u64)>,
    backlog: Vec<Backlog>,
    dropped: u64,
    process: Option<ProcessNow>,
    revision: &'static str,
    wall: i64,
}

#[derive(Debug, Clone, Copy, Default)]
struct ConfigStatus {
    hash: u64,
    last_reload_successful: bool,
    last_success_wall: i64,
}

impl Metrics {
    /// Before the first scrape, call [`Metrics::applied`].
    ///
    /// # Panics
    /// If the table of metrics contradicts itself, which its test excludes.
    #[must_use]
    pub fn new(health: HealthTable, deliveries: Deliveries, outbox: Outbox) -> Self {
        let delay = HistogramVec::new(
            HistogramOpts::new(DELAY, DELAY_HELP).buckets(DELAY_BUCKETS.to_vec()),
            &["rule"],
        )
        .expect("a valid histogram");
        let shared = Arc::new(Mutex::new(Shared {
            deliveries,
            config: ConfigStatus::default(),
            away: 0,
            rules: Vec::new(),
            now: Now::default(),
            series: Series::default(),
        }));
        let registry = Registry::new();
        registry
            .register(Box::new(delay.clone()))
            .expect("the first of its name");
        registry
            .register(Box::new(Table {
                descriptions: render::descriptions(),
                shared: Arc::clone(&shared),
            }))
            .expect("names of the table are unique and not the histogram's");
        Self {
            registry,
            delay,
            shared,
            health,
            outbox,
        }
    }

    /// This configuration and these rules are in force, since `wall` (nanoseconds since the Unix epoch): at start
    /// and after each reload.
    pub fn applied<'a>(&self, setup: &Setup, rules: impl IntoIterator<Item = &'a Name>, wall: i64) {
        let mut shared = self.shared();
        shared.config = ConfigStatus {
            hash: config_hash(setup),
            last_reload_successful: true,
            last_success_wall: wall,
        };
        for rule in rules {
            if shared.rules.len() < RULES_WITH_HISTOGRAM && !shared.rules.contains(rule) {
                shared.rules.push(rule.clone());
                // Born at 0, or the first alert's increase would be lost.
                self.delay.with_label_values(&[rule]);
            }
        }
    }

    /// No agent ran for so many nanoseconds before this one started.
    pub fn was_away(&self, nanos: i64) {
        self.shared().away = nanos;
    }

    /// A reload was refused; what was in force stays.
    pub fn reload_failed(&self) {
        self.shared().config.last_reload_successful = false;
    }

    /// The outputs were started anew.
    pub fn delivered_by(&self, deliveries: Deliveries) {
        self.shared().deliveries = deliveries;
    }

    /// `rule` fired `seconds` after the last byte that counted was stamped.
    pub fn observe_delay(&self, rule: &str, seconds: f64) {
        let known = self.shared().rules.iter().any(|name| &**name == rule);
        let label = if known { rule } else { series::OTHER };
        self.delay
            .with_label_values(&[label])
            .observe(seconds.max(0.0));
    }

    /// The page in Prometheus's text format. Reads the state file: not for async threads.
    ///
    /// # Errors
    /// The state file cannot be read.
    pub fn page(&self, snapshot: Snapshot, wall: i64) -> Result<String, String> {
        let state = |error: crate::state::StateError| error.to_string();
        let now = Now {
            snapshot,
            sensors: self.health.all(),
            backlog: self.outbox.backlog().map_err(state)?,
            dropped: self.outbox.dropped().map_err(state)?,
            process: ProcessNow::read(),
            revision: option_env!("JAGA_REVISION").unwrap_or("unknown"),
            wall,
            ..Now::default()
        };
        self.render(now)
    }

    fn render(&self, now: Now) -> Result<String, String> {
        let mut shared = self.shared();
        shared.now = Now {
            config: shared.config,
            away: shared.away,
            deliveries: shared.deliveries.all(),
            ..now
        };
        drop(shared);
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .map_err(|error| error.to_string())
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Name, help and labels of every metric, for `jaga explain`.
pub fn explained() -> impl Iterator<Item = (&'static str, &'static str, &'static [&'static str])> {
    let own = table::METRICS
        .iter()
        .map(|metric| (metric.name, metric.help, metric.labels));
    let delay: (_, _, &[_]) = (DELAY, DELAY_HELP, &["rule"]);
    let truncated: (_, _, &[_]) = (render::TRUNCATED, render::TRUNCATED_HELP, &[]);
    own.chain([delay, truncated])
}

/// First 48 bits of SHA-256 over the configuration and the rules: exact in a float.
#[must_use]
pub fn config_hash(setup: &Setup) -> u64 {
    let text = serde_json::to_vec(setup).expect("text always serialises");
    let digest = ring::digest::digest(&ring::digest::SHA256, &text);
    digest.as_ref()[..6]
        .iter()
        .fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// The table of metrics as the registry sees it.
struct Table {
    descriptions: Vec<Desc>,
    shared: Arc<Mutex<Shared>>,
}

impl Collector for Table {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Shared { now, series, .. } = &mut *shared;
        render::families(now, series)
    }
}

#[cfg(test)]
mod tests;
