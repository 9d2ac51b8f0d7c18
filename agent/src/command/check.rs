//! `jaga check`: says what will be seen on this host, what will not, and why.

use std::path::PathBuf;
use std::process::ExitCode;

use jaga_rules::config::{Config, OutputConfig, Records, Store};
use jaga_rules::rule::{Amount, Limit, Measure, Rule};
use jaga_rules::units::{Bytes, Span};

use super::FOUND;
use crate::sensor::{ebpf, pcap};
use crate::setup::{self, Checked};
use crate::store_size::{self, StoreSize};

/// Arguments of `jaga check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration; a missing file at the default place means the defaults.
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    pub config: PathBuf,
}

/// Runs it.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let checked = match setup::read(&args.config) {
        Ok(checked) => checked,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(FOUND);
        }
    };
    println!(
        "Configuration {}: right. Rules: {}.",
        args.config.display(),
        checked.rules.len()
    );
    let stores_right = stores(&checked);
    let sensors_right = sensors(&checked.config);
    outputs(&checked.config);
    not_seen();
    if stores_right && sensors_right {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FOUND)
    }
}

/// What each store holds, and what each byte limit means there.
fn stores(checked: &Checked) -> bool {
    println!("\nStores");
    let stores = &checked.config.stores;
    if stores.is_empty() {
        println!("  none: nothing is protected. Name one under `stores:` in the configuration.");
        return false;
    }
    let mut right = true;
    for store in stores {
        right &= paths_are_there(store);
        let size = store_size::of(store);
        let records = records_of(store, size.bytes, size.files);
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
        for rule in &checked.rules {
            limits(rule, size, records);
        }
    }
    right
}

fn paths_are_there(store: &Store) -> bool {
    let missing: Vec<_> = store.paths.iter().filter(|path| !path.exists()).collect();
    for path in &missing {
        println!(
            "  {}: '{}' is not there: mount it, or mend `paths:`",
            store.name,
            path.display()
        );
    }
    missing.is_empty()
}

fn limits(rule: &Rule, size: StoreSize, records: f64) {
    let all = size.bytes.max(1) as f64;
    for limit in rule
        .limits
        .iter()
        .filter(|limit| limit.measure == Measure::ExposedBytes)
    {
        let Some(bytes) = bytes_of(limit, size.bytes) else {
            continue;
        };
        let share = bytes as f64 / all;
        let means = if share > 1.0 {
            "more than all of it".to_owned()
        } else {
            format!(
                "about {:.0} records, {:.2} % of it",
                records * share,
                100.0 * share
            )
        };
        println!(
            "    {}: {} in {} is {means}",
            rule.name,
            Bytes(bytes),
            Span(limit.window)
        );
    }
}

fn bytes_of(limit: &Limit, all: u64) -> Option<u64> {
    match limit.amount {
        Amount::Units(bytes) => Some(bytes),
        Amount::Share(share) => Some((share * all as f64) as u64),
        Amount::Rate { .. } => None,
    }
}

fn records_of(store: &Store, bytes: u64, files: u64) -> f64 {
    match store.records {
        Records::PerFile(each) => files as f64 * each,
        Records::BytesEach(each) => bytes as f64 / each,
    }
}

fn sensors(config: &Config) -> bool {
    println!("\nSensors");
    let mut right = true;
    let pcap = ("pcap", pcap::probe(config));
    for (sensor, attached) in ebpf::probe().into_iter().chain([pcap]) {
        match attached {
            Ok(how) => println!("  {sensor}: rung 1, {how}"),
            Err(why) => {
                right = false;
                println!("  {sensor}: sees nothing: {why}");
            }
        }
    }
    right
}

fn outputs(config: &Config) {
    println!("\nAlerts go to");
    for output in &config.agent.outputs {
        match output {
            OutputConfig::File { path } => println!("  the file {}", path.display()),
            OutputConfig::Alertmanager { url } => println!("  the Alertmanager at {url}"),
        }
    }
    if config.agent.outputs.is_empty() {
        println!("  nobody: name an output under `outputs:`; /metrics shows them all the same");
    }
    match config.agent.metrics {
        Some(address) => println!("Metrics are at http://{address}/metrics"),
        None => println!("Metrics are off"),
    }
}

fn not_seen() {
    println!("\nNot seen on this host");
    let everywhere = [
        "hypervisor and SAN snapshots, pulled disks, photographs of screens",
        "one row per request through an application that may",
    ];
    for blind in ebpf::NOT_SEEN.into_iter().chain(everywhere) {
        println!("  {blind}");
    }
}

fn human(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().si().to_string()
}
