//! `jaga learn`: proposes contracts for what a tape saw leave; a person reads them and decides.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jaga_rules::event::{Event, RuleText, Stamp};
use jaga_rules::output::{AlertState, Transition};
use jaga_rules::proposal::{Proposal, with_contract};
use jaga_rules::units::DAY;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{FOUND, USAGE};
use crate::replay::Player;
use crate::tape::Tape;

/// Arguments of `jaga learn`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tapes that `jaga run` recorded (`tape:` in the configuration, one a run of the agent), best of a week or more.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    tape: Vec<PathBuf>,
    /// Who shall answer for them, until somebody writes a better name.
    #[arg(long, default_value = "nobody-yet@hospital.example")]
    owner: String,
}

const NAME: &str = "learn";

/// Tells every transfer of store data outside of contracts, however small; it ends an hour after its last byte.
const RULE: &str = "\
rule: learn
title: Store data left
severity: info
where: { scope: [internal, relay, external] }
by: [store, session, destination]
limits: [{ exposed-bytes: 1 B in 1h }]
quiet: 1h
";

/// The longest that a replay runs on for what still flows at the tape's end.
const RUN_ON: i64 = 2 * 3_600 * 1_000_000_000;

/// Runs it.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let mut transfers = Transfers::new();
    for tape in &args.tape {
        if let Err((status, why)) = add(tape, &mut transfers) {
            eprintln!("jaga: '{}': {why}", tape.display());
            return ExitCode::from(status);
        }
    }
    if transfers.is_empty() {
        eprintln!("No store data left the host outside of contracts while this was recorded.");
        return ExitCode::SUCCESS;
    }
    println!("contracts:");
    for (number, ((who, to), stores)) in (1..).zip(transfers) {
        let seen = most(stores);
        let proposal = Proposal {
            who,
            to: vec![to],
            day_bytes: seen.days.values().copied().max().unwrap_or(1),
        };
        println!("  # {}", seen.line());
        let contract = proposal.render(&format!("learnt-{number}"), &args.owner, None);
        if with_contract("", &contract).is_err() {
            // Such as a login with curl: that would be whatever anybody does with it.
            println!(
                "  # not as a contract, for it would be too wide; run it as a unit of its own:"
            );
            println!("  # - {contract}");
            continue;
        }
        println!("  - {contract}");
    }
    eprintln!(
        "Nothing was written. Take those that somebody answers for into the configuration, with their owner and an end \
         (`until:`); what is left is what jaga is for."
    );
    ExitCode::SUCCESS
}

/// Who, and to whom.
type Sends = (Vec<(&'static str, String)>, String);

/// Of each sender and destination, by store.
type Transfers = BTreeMap<Sends, BTreeMap<String, Transfer>>;

/// Bytes are booked in full to every store that is held: those of the store that has most of them are all.
fn most(stores: BTreeMap<String, Transfer>) -> Transfer {
    let bytes = |of: &Transfer| of.days.values().copied().fold(0, u64::saturating_add);
    stores.into_values().max_by_key(bytes).unwrap_or_default()
}

/// How often, how much, and when.
#[derive(Debug, Default)]
struct Transfer {
    times: u64,
    /// By day, UTC, since 1970.
    days: BTreeMap<i64, u64>,
    /// Of a day, seconds: the earliest begin and the latest end.
    hours: Option<(i64, i64)>,
}

impl Transfer {
    fn add(&mut self, told: &Transition, bytes: u64) {
        let wall = |stamp: Stamp| told.wall.saturating_sub(told.at.since(stamp));
        let (first, last) = (wall(told.evidence.first), wall(told.evidence.last));
        self.times += 1;
        let day = self.days.entry(first.div_euclid(DAY)).or_default();
        *day = day.saturating_add(bytes);
        let (first, last) = (first.rem_euclid(DAY), last.rem_euclid(DAY));
        let hours = self.hours.get_or_insert((first, last));
        *hours = (hours.0.min(first), hours.1.max(last));
    }

    /// What was seen, for the person who decides.
    fn line(&self) -> String {
        let clock = |nanos: i64| {
            let at = Timestamp::from_second(nanos / 1_000_000_000).unwrap_or_default();
            at.to_zoned(TimeZone::UTC).strftime("%H:%M").to_string()
        };
        let (first, last) = self.hours.unwrap_or_default();
        format!(
            "seen {} times on {} days, between {} and {} UTC",
            self.times,
            self.days.len(),
            clock(first),
            clock(last)
        )
    }
}

fn rules() -> Vec<RuleText> {
    vec![RuleText {
        file: "learn.yaml".to_owned(),
        text: RULE.to_owned(),
    }]
}

fn add(file: &Path, transfers: &mut Transfers) -> Result<(), (u8, String)> {
    let opened = File::open(file).map_err(|error| (USAGE, error.to_string()))?;
    let mut tape =
        Tape::open(BufReader::new(opened)).map_err(|trouble| (FOUND, trouble.to_string()))?;
    let header = tape.header().clone();
    let mut setup = header.setup;
    setup.rules = rules();
    let take = |told: &Transition| {
        if told.state != AlertState::Resolved || *told.rule != *NAME {
            return;
        }
        // Who is not known, or sent to no address, cannot have a contract.
        let Ok(proposal) = Proposal::of(&told.evidence) else {
            return;
        };
        let store = told
            .key
            .first()
            .map_or_else(String::new, |(_, store)| store.to_string());
        for to in proposal.to {
            let of_stores = transfers.entry((proposal.who.clone(), to)).or_default();
            of_stores
                .entry(store.clone())
                .or_default()
                .add(told, told.evidence.bytes);
        }
    };
    let mut player =
        Player::new(header.seed, &setup, take).map_err(|problems| (FOUND, problems.to_string()))?;
    for mut stamped in tape.by_ref() {
        if let Event::Reload(setup) = &mut stamped.event {
            setup.rules = rules();
        }
        player.play(&stamped);
    }
    player.run_on(RUN_ON);
    drop(player);
    if let Some(trouble) = tape.trouble() {
        eprintln!(
            "jaga: '{}': {trouble}; what comes before is in the proposal",
            file.display()
        );
    }
    Ok(())
}
