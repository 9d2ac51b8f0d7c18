//! What `jaga check` says of a store: what it holds, and what each byte limit means there.

use jaga_rules::config::{Records, Store};
use jaga_rules::rule::{Amount, Limit, Measure, Rule};
use jaga_rules::units::{Bytes, Span};

use crate::store_size::{self, StoreSize};

/// Looks at the store and says it; its bytes.
pub(super) fn tell(store: &Store, rules: &[Rule]) -> u64 {
    let size = store_size::of(store);
    let records = records_of(store, size);
    let guessed = if store.guessed {
        ", guessed: name it in the configuration to confirm"
    } else {
        ""
    };
    let least = if size.cut { "at least " } else { "" };
    println!(
        "  {}: {least}{}, {} files, about {records:.0} records{guessed}",
        store.name,
        human(size.bytes),
        size.files
    );
    if size.unreadable > 0 {
        println!(
            "    {} directories cannot be read: their sizes are missing here; run this as root",
            size.unreadable
        );
    }
    for line in limits(rules, size.bytes, records) {
        println!("    {line}");
    }
    size.bytes
}

/// A line for each byte limit that a part of the store reaches, and one for all that even the whole does not.
fn limits(rules: &[Rule], all: u64, records: f64) -> Vec<String> {
    let mut lines = Vec::new();
    let mut beyond = 0;
    for (rule, limit) in rules
        .iter()
        .flat_map(|rule| rule.limits.iter().map(move |limit| (rule, limit)))
        .filter(|(_, limit)| limit.measure == Measure::ExposedBytes)
    {
        match bytes_of(limit, all) {
            None => {}
            Some(bytes) if bytes > all => beyond += 1,
            Some(bytes) => {
                let share = bytes as f64 / all.max(1) as f64;
                lines.push(format!(
                    "{}: {} in {} is about {:.0} records, {:.2} % of it",
                    rule.name,
                    Bytes(bytes),
                    Span(limit.window),
                    records * share,
                    100.0 * share
                ));
            }
        }
    }
    let byte_limits = match (beyond, lines.len()) {
        (0, _) => return lines,
        (1, 0) => "the only limit in bytes is".to_owned(),
        (_, 0) => format!("all {beyond} limits in bytes are"),
        (_, others) => format!("{beyond} of {} limits in bytes are", beyond + others),
    };
    let told = if by_records(rules, records) {
        "a copy of it is told by its records, or together with more"
    } else {
        "a copy of it is told only together with more; a rule of your own may have smaller limits (`jaga explain store-data-leaves`)"
    };
    lines.push(format!("{byte_limits} more than all of it: {told}"));
    lines
}

/// Whether some limit is reached by the store's records.
fn by_records(rules: &[Rule], records: f64) -> bool {
    let mut limits = rules.iter().flat_map(|rule| &rule.limits);
    limits.any(|limit| {
        limit.measure == Measure::ExposedRecords
            && match limit.amount {
                Amount::Units(least) => least as f64 <= records,
                Amount::Share(_) => true,
                Amount::Rate { .. } => false,
            }
    })
}

fn bytes_of(limit: &Limit, all: u64) -> Option<u64> {
    match limit.amount {
        Amount::Units(bytes) => Some(bytes),
        Amount::Share(share) => Some((share * all as f64) as u64),
        Amount::Rate { .. } => None,
    }
}

fn records_of(store: &Store, size: StoreSize) -> f64 {
    match store.records {
        Records::PerFile(each) => size.files as f64 * each,
        Records::BytesEach(each) => size.bytes as f64 / each,
    }
}

fn human(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().si().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(amounts: &[&str]) -> Vec<Rule> {
        let limits: Vec<String> = amounts
            .iter()
            .map(|amount| format!("{{ exposed-bytes: {amount} in 10m }}"))
            .collect();
        let text = format!(
            "rule: any\ntitle: x\nseverity: info\nby: [store]\nlimits: [{}]\n",
            limits.join(", ")
        );
        jaga_rules::rule::parse("a.yaml", &text).unwrap().rules
    }

    #[track_caller]
    fn check(amounts: &[&str], expected: &[&str]) {
        assert_eq!(limits(&rules(amounts), 1_000_000, 50.0), expected);
    }

    #[test]
    fn what_a_limit_means_and_once_for_all_that_are_beyond() {
        let beyond = "more than all of it: a copy of it is told only together with more; a rule of your own may have smaller limits (`jaga explain store-data-leaves`)";
        let some = "any: 500 KB in 10m is about 25 records, 50.00 % of it";
        check(&["500 KB"], &[some]);
        check(
            &["500 KB", "2 MB", "3 MB"],
            &[some, &format!("2 of 3 limits in bytes are {beyond}")],
        );
        check(
            &["2 MB", "3 MB"],
            &[&format!("all 2 limits in bytes are {beyond}")],
        );
        let records = "rule: few\ntitle: x\nseverity: info\nby: [store]\nlimits: [{ exposed-records: 20 in 1h }]\n";
        let records = jaga_rules::rule::parse("a.yaml", records).unwrap().rules;
        assert!(by_records(&records, 20.0));
        assert!(!by_records(&records, 19.0));
    }
}
