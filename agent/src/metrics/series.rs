//! Keeps the number of series below its limit: what comes too late is folded into `other`, never dropped.

use std::collections::{BTreeMap, BTreeSet};

use super::table::Metric;

/// The label value that stands for all that found no room.
pub(super) const OTHER: &str = "other";

/// Labels whose values are few and known: they stay when the rest is folded.
const CLOSED: [&str; 2] = ["scope", "severity"];

/// A value with its label values, in the order of the metric's labels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) labels: Vec<String>,
    pub(super) value: f64,
}

impl Sample {
    pub(super) fn new<const N: usize>(labels: [&str; N], value: f64) -> Self {
        Self {
            labels: labels.map(str::to_owned).to_vec(),
            value,
        }
    }

    pub(super) fn count<const N: usize>(labels: [&str; N], value: u64) -> Self {
        Self::new(labels, value as f64)
    }
}

/// How two values become one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fold {
    Sum,
    Max,
    Min,
}

impl Fold {
    fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Sum => a + b,
            Self::Max => a.max(b),
            Self::Min => a.min(b),
        }
    }
}

/// Which label values have a series of their own: the first that came, for as long as the agent runs. So a series
/// never changes its meaning, however many interfaces containers bring.
#[derive(Debug, Default)]
pub(super) struct Series {
    admitted: BTreeMap<&'static str, BTreeSet<Vec<String>>>,
    truncated: u64,
}

impl Series {
    /// One sample for each combination of label values, those without room folded.
    pub(super) fn limit(&mut self, metric: &Metric, samples: Vec<Sample>) -> Vec<Sample> {
        let mut folded: BTreeMap<Vec<String>, f64> = BTreeMap::new();
        for mut sample in samples {
            if !self.admit(metric, &sample) {
                self.truncated += 1;
                fold_open_labels(metric, &mut sample);
            }
            folded
                .entry(sample.labels)
                .and_modify(|value| *value = metric.fold.apply(*value, sample.value))
                .or_insert(sample.value);
        }
        folded
            .into_iter()
            .map(|(labels, value)| Sample { labels, value })
            .collect()
    }

    /// How many samples were folded since start, each at each scrape.
    pub(super) fn truncated(&self) -> u64 {
        self.truncated
    }

    fn admit(&mut self, metric: &Metric, sample: &Sample) -> bool {
        let open: Vec<String> = metric
            .labels
            .iter()
            .zip(&sample.labels)
            .filter(|(label, _)| !CLOSED.contains(label))
            .map(|(_, value)| value.clone())
            .collect();
        let admitted = self.admitted.entry(metric.name).or_default();
        if admitted.contains(&open) {
            return true;
        }
        let has_room = admitted.len() < metric.limit;
        if has_room {
            admitted.insert(open);
        }
        has_room
    }
}

fn fold_open_labels(metric: &Metric, sample: &mut Sample) {
    for (label, value) in metric.labels.iter().zip(&mut sample.labels) {
        if !CLOSED.contains(label) {
            OTHER.clone_into(value);
        }
    }
}
