//! Plays recorded captures: reads them on a thread of its own, in the captures' time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::thread;

use jaga_rules::config::{self, Config, Records, Store};
use jaga_rules::event::{Name, SECOND, Setup, Stamped};
use jaga_rules::pack;

use super::{Args, Refused, teller};
use crate::command::{FOUND, USAGE};
use crate::replay::Player;
use crate::sensor::pcap::recording::{FileReport, Recording, Summary};
use crate::sensor::pcap::vantage::Vantage;
use crate::setup::{config_text, own_rules, rule_files};

/// Seed of the engine for captures: the same capture gives the same alert ids.
const SEED: u64 = 0x6a61_6761;

/// How long the engine runs on in silence after a capture, so that what fired can be resolved. Longer than any quiet.
const RUN_ON: i64 = 24 * 3600 * SECOND;

/// Batches between the thread that reads and the engine.
const BATCHES: usize = 16;

pub(super) fn play(args: &Args) -> Result<ExitCode, Refused> {
    let (setup, config) = setup(args)?;
    let internal = Vantage::new(&config.internal);
    let vantage = if args.local.is_empty() {
        internal.clone()
    } else {
        Vantage::new(&args.local)
    };
    let mut player = Player::new(SEED, &setup, teller(args.json))
        .map_err(|problems| Refused(FOUND, problems.to_string()))?;
    let (reports, summary) = thread::scope(|scope| {
        let (feed, batches) = sync_channel::<Vec<Stamped>>(BATCHES);
        let reader = scope.spawn(move || {
            let mut recording = Recording::new(vantage, internal);
            let mut sink = |batch| feed.send(batch).is_ok();
            let read = |file: &PathBuf| recording.read(file, &mut sink);
            let reports: Vec<FileReport> = args.pcap.iter().map(read).collect();
            (reports, recording.finish(&mut sink))
        });
        for event in batches.into_iter().flatten() {
            player.play(&event);
        }
        reader
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    player.run_on(RUN_ON);
    Ok(conclude(&reports, &summary))
}

/// Says on standard error what was read and what was not. The status is 2 if nothing was, 1 if something was not.
fn conclude(reports: &[FileReport], summary: &Summary) -> ExitCode {
    for report in reports {
        let file = report.file.display();
        match &report.trouble {
            Some(trouble) => eprintln!("jaga: '{file}': {trouble}"),
            None if report.packets == 0 => {
                eprintln!("jaga: '{file}': holds no packet; capture again, or give another file");
            }
            None => {}
        }
    }
    if reports.iter().all(|report| report.packets == 0) {
        return ExitCode::from(USAGE);
    }
    let frames = summary.frames;
    eprintln!(
        "jaga: {} packets over {} s: {} sent by local hosts ({} bytes of payload, {} flows), {} to them, {} between \
         others, {} without IP, {} unreadable",
        frames.all,
        summary.length / SECOND,
        frames.outbound,
        summary.flows.bytes,
        summary.flows.flows,
        frames.inbound,
        frames.foreign,
        frames.not_ip,
        frames.unreadable,
    );
    if frames.foreign > 0 && frames.outbound == 0 {
        eprintln!(
            "jaga: no packet was sent by a local host; say which hosts are local with --local NET"
        );
    }
    if reports.iter().any(|report| report.trouble.is_some()) {
        return ExitCode::from(FOUND);
    }
    ExitCode::SUCCESS
}

/// All that decides, and the configuration in it.
fn setup(args: &Args) -> Result<(Setup, Config), Refused> {
    let text = config_text(&args.config)?;
    let file = args.config.display().to_string();
    let parse = |text: &str| {
        config::parse(&file, text).map_err(|problems| Refused(FOUND, problems.to_string()))
    };
    let config = parse(&text)?;
    let text = if config.agent.discover {
        config::with_stores(&text, &stand_ins(&config))
    } else {
        text
    };
    let rules = match &args.rules {
        Some(path) => rule_files(path)?,
        None => own_rules(&config.agent.rules)?,
    };
    let config = parse(&text)?;
    let setup = Setup {
        config: text,
        rules: pack::with_own(rules),
    };
    Ok((setup, config))
}

/// A recording has no files to discover stores among: every local host is taken to have data to protect, in a store
/// `recording`, and in those that `serves` names.
fn stand_ins(config: &Config) -> Vec<Store> {
    let served = config.serves.iter().map(|serves| serves.store.clone());
    let names: BTreeSet<Name> = served.chain(["recording".into()]).collect();
    names
        .into_iter()
        .map(|name| Store {
            paths: vec![Path::new("/recording").join(&*name)],
            from: Vec::new(),
            name,
            records: Records::PerFile(1.0),
            guessed: true,
        })
        .collect()
}
