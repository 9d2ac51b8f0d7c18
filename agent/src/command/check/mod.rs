//! `jaga check`: says what will be seen on this host, what will not, and why.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jaga_rules::config::{Accept, Config, OutputConfig};
use jiff::civil::Date;

use super::FOUND;
use crate::sensor::Probe;
use crate::setup::{self, Checked};
use crate::state::cases::Cases;
use crate::{blindness, clock, sensor, warning};

mod place;
mod store;

/// Arguments of `jaga check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration; a missing file at the default place means the defaults.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    pub config: PathBuf,
}

/// Runs it.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let checked = match setup::read(&args.config) {
        Ok(checked) => checked,
        Err(trouble) => {
            eprintln!("{trouble}");
            return ExitCode::from(trouble.status());
        }
    };
    opening(&args.config, &checked);
    let (file, today) = (&args.config, clock::today());
    let probes = sensor::probe(&checked.config);
    // Each section is told, whatever the one before it found.
    let (stores, held) = stores(file, &checked);
    let right = [
        stores,
        contracts(file, &checked.config, today, held),
        decoys(file, &checked.config),
        sensors(&probes, &checked.config, today),
        state(&checked.config),
        outputs(&checked.config),
        metrics(&checked.config),
        not_seen(&probes, file, &checked.config, today),
    ];
    if right.into_iter().all(|right| right) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FOUND)
    }
}

fn opening(file: &Path, checked: &Checked) {
    let rules = checked.rules.len();
    if setup::is_absent(file) {
        println!(
            "No configuration at {}: shipped defaults are used. Rules: {rules}.",
            file.display()
        );
    } else {
        println!("Configuration {}: right. Rules: {rules}.", file.display());
    }
    for replaced in warning::replaced(&checked.setup) {
        println!("  {replaced}");
    }
    tell(&warning::rules(file, &checked.config));
}

/// Whether they are right, and bytes of them all.
fn stores(file: &Path, checked: &Checked) -> (bool, u64) {
    println!("\nStores");
    let stores = checked.config.stores.iter();
    let held = stores.map(|told| store::tell(told, &checked.rules)).sum();
    (tell(&warning::stores(file, &checked.config)), held)
}

/// `held`: bytes of all stores.
fn contracts(file: &Path, config: &Config, today: Date, held: u64) -> bool {
    if config.contracts.is_empty() {
        return true;
    }
    println!("\nContracts");
    for contract in config
        .contracts
        .iter()
        .filter(|contract| contract.until.is_none_or(|until| until >= today))
    {
        let until = contract.until.map_or_else(
            || "without an end".to_owned(),
            |until| format!("until {until}"),
        );
        let when = contract.when.as_ref();
        let when = when.map_or_else(String::new, |when| format!("{when}, "));
        let amounts: String = contract
            .at_most
            .iter()
            .map(|at_most| format!("at most {at_most}, "))
            .collect();
        println!(
            "  {}: in force {when}{amounts}{until}, {}",
            contract.name, contract.owner
        );
    }
    tell(&warning::contract::notes(config, today, held));
    // Without a state nothing was heard yet, which is said.
    let state = Cases::open(&config.agent.state).and_then(|state| state.ae_titles());
    tell(&warning::contract::unheard(
        config,
        &state.unwrap_or_default(),
    ));
    tell(&warning::contract::expired(file, config, today))
}

fn decoys(file: &Path, config: &Config) -> bool {
    if config.decoys.is_empty() {
        return true;
    }
    println!("\nDecoys");
    for decoy in &config.decoys {
        println!("  {}: {}", decoy.name, decoy.path.display());
    }
    tell(&warning::decoys(file, config))
}

/// What each sensor would see.
type Probes = [(&'static str, Probe)];

fn sensors(probes: &Probes, config: &Config, today: Date) -> bool {
    println!("\nSensors");
    let mut right = true;
    for (name, probe) in probes {
        let accepted = blindness::accepted(config, name, today);
        match probe {
            Probe::Sees { rung, how, .. } => {
                let lower = format!("{name}-rung-{rung}");
                let accepted = blindness::accepted(config, &lower, today);
                println!("  {name}: rung {rung}, {how}{}", by(accepted));
            }
            Probe::Off => println!("  {name}: {}{}", sensor::OFF, by(accepted)),
            Probe::Blind(why) => {
                right &= accepted.is_some();
                println!("  {name}: sees nothing: {why}{}", by(accepted));
            }
        }
    }
    right
}

fn state(config: &Config) -> bool {
    println!("\nState");
    let directory = &config.agent.state;
    let mut right = wanted(&directory.display(), place::directory(directory));
    if let Some(tape) = &config.agent.tape {
        right &= wanted(&format!("the tape {}", tape.display()), place::file(tape));
    }
    right
}

fn outputs(config: &Config) -> bool {
    println!("\nAlerts go to");
    let mut right = true;
    for output in &config.agent.outputs {
        match output {
            OutputConfig::File { path } => {
                right &= wanted(&format!("the file {}", path.display()), place::file(path));
            }
            OutputConfig::Alertmanager { url } => println!("  the Alertmanager at {url}"),
        }
    }
    if config.agent.outputs.is_empty() {
        println!("  nobody: name an output under `outputs:`; /metrics shows them all the same");
    }
    right
}

fn metrics(config: &Config) -> bool {
    println!("\nMetrics");
    match config.agent.metrics {
        Some(address) => wanted(
            &format!("http://{address}/metrics"),
            place::address(address),
        ),
        None => {
            println!("  {}", sensor::OFF);
            true
        }
    }
}

fn not_seen(probes: &Probes, file: &Path, config: &Config, today: Date) -> bool {
    println!("\nNot seen on this host");
    for (name, what) in blindness::not_seen(probes) {
        println!(
            "  {name}: {what}{}",
            by(blindness::accepted(config, name, today))
        );
    }
    tell(&warning::accepted(file, config, today))
}

fn by(accepted: Option<&Accept>) -> String {
    accepted.map_or_else(String::new, |accept| {
        format!("; accepted by {} until {}", accept.owner, accept.until)
    })
}

/// Whether the place can be used; says so.
fn wanted(what: &dyn std::fmt::Display, tried: Result<String, String>) -> bool {
    match &tried {
        Ok(how) => println!("  {what}: {how}"),
        Err(why) => println!("  {what}: {why}"),
    }
    tried.is_ok()
}

/// Whether there is nothing to warn of; says what there is.
fn tell(warnings: &[String]) -> bool {
    for warning in warnings {
        println!("  {warning}");
    }
    warnings.is_empty()
}
