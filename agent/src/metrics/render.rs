//! Turns the table of metrics into what the registry takes.

use std::collections::HashMap;

use prometheus::core::Desc;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric as Point, MetricFamily, MetricType};

use super::Now;
use super::series::{Sample, Series};
use super::table::{Kind, METRICS};

/// Counted here and not in [`METRICS`]: it is about them.
pub(super) const TRUNCATED: &str = "jaga_series_truncated_total";

pub(super) fn descriptions() -> Vec<Desc> {
    let description = |name: &str, help: &str, labels: &[&str]| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new()).expect("a valid name")
    };
    METRICS
        .iter()
        .map(|metric| description(metric.name, metric.help, metric.labels))
        .chain([description(TRUNCATED, TRUNCATED_HELP, &[])])
        .collect()
}

pub(super) const TRUNCATED_HELP: &str =
    "Series that were folded into other at the limit of 1,000, counted at each scrape.";

pub(super) fn families(now: &Now, series: &mut Series) -> Vec<MetricFamily> {
    let mut families: Vec<MetricFamily> = METRICS
        .iter()
        .map(|metric| {
            let samples = series.limit(metric, (metric.samples)(now));
            family(
                metric.name,
                metric.help,
                metric.kind,
                metric.labels,
                &samples,
            )
        })
        .collect();
    let truncated = [Sample::count([], series.truncated())];
    families.push(family(
        TRUNCATED,
        TRUNCATED_HELP,
        Kind::Counter,
        &[],
        &truncated,
    ));
    families
}

fn family(name: &str, help: &str, kind: Kind, labels: &[&str], samples: &[Sample]) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(match kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
    });
    family.set_metric(
        samples
            .iter()
            .map(|sample| point(kind, labels, sample))
            .collect(),
    );
    family
}

fn point(kind: Kind, labels: &[&str], sample: &Sample) -> Point {
    let pair = |(name, value): (&&str, &String)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.clone());
        pair
    };
    let mut point = Point::from_label(labels.iter().zip(&sample.labels).map(pair).collect());
    match kind {
        Kind::Counter => {
            let mut counter = Counter::default();
            counter.set_value(sample.value);
            point.set_counter(counter);
        }
        Kind::Gauge => {
            let mut gauge = Gauge::default();
            gauge.set_value(sample.value);
            point.set_gauge(gauge);
        }
    }
    point
}
