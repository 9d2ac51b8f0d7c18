//! The agent: puts sensors, engine, outputs and `/metrics` together, and takes them apart again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use jaga_rules::config::{AgentConfig, Config, Periods};
use jaga_rules::engine::Engine;
use jaga_rules::event::{Event, Fact, GapKind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::courier::Courier;
use crate::ingest::{self, Handle, Ingest, down_since};
use crate::metrics::Metrics;
use crate::output::{self, Context};
use crate::reload::Reloads;
use crate::sensor::host::StoresHandle;
use crate::sensor::{HealthTable, OFF, absent, host, interfaces, pcap, wire};
use crate::setup::{self, Checked};
use crate::state::State;
use crate::state::rung::Keeper;
use crate::store_size::{self, StoreSize};
use crate::tape::Recorder;
use crate::{clock, http, warning};

/// For outputs to take what is still pending when the agent is asked to end.
const LAST_DELIVERY: Duration = Duration::from_secs(2);

/// Watches this host until it is told to end.
///
/// # Errors
/// What keeps it from starting, with the next step.
pub async fn run(config_path: &Path) -> Result<(), String> {
    let checked = setup::read(config_path).map_err(|trouble| trouble.to_string())?;
    let signals = Signals::listen()?;
    let config = &checked.config;
    let listener = match config.agent.metrics {
        Some(address) => Some(http::listen(address).await?),
        None => None,
    };
    let boot = clock::boot_id().map_err(|error| error.to_string())?;
    let (state, moved_aside) =
        State::open(&config.agent.state, &boot).map_err(|error| error.to_string())?;
    let outbox = state.outbox().map_err(|error| error.to_string())?;
    let context = Context::new(config, &checked.rules);
    let courier = Courier::start(&outbox, &config.agent.outputs, &context)?;
    let health = HealthTable::default();
    let metrics = Metrics::new(health.clone(), courier.deliveries(), outbox);
    applied(&metrics, &checked);

    let rungs = state.rungs().map_err(|error| error.to_string())?;
    let seed = state.seed().map_err(|error| error.to_string())?;
    let head = head(&state, moved_aside, &metrics)?;
    let ingest = Ingest {
        engine: Engine::new(seed, &checked.setup).map_err(|problems| problems.to_string())?,
        tape: config
            .agent
            .tape
            .as_deref()
            .map(|path| record(path, seed, &checked))
            .transpose()?,
        state,
        bell: courier.bell(),
        metrics: metrics.clone(),
        save: config.agent.periods.save,
    };
    let (engine, engine_thread) = ingest::start(ingest, head);
    let sensors = Sensors::start(config, &engine, &health, &rungs)?;

    let cancel = CancellationToken::new();
    if let Some(listener) = listener {
        let ask = engine.clone();
        let ask: http::Ask = Arc::new(move |answer| ask.snapshot(answer));
        tokio::spawn(http::serve(listener, metrics.clone(), ask, cancel.clone()));
    }
    announce(config_path, &checked, &health);
    sd_ready();
    measure_stores(config, &engine);

    let stores = sensors.stores.clone();
    let reloads = Reloads::watch(config_path, &config.agent.rules)?;
    serve_signals(signals, reloads, checked, &engine, &metrics, &stores).await?;

    tracing::info!("ending: writing everything down");
    sensors.stop();
    engine.stop();
    join(engine_thread).await;
    courier.stop(LAST_DELIVERY).await;
    cancel.cancel();
    Ok(())
}

/// Looks at the size of every store once, beside the work: limits may be a share of it.
fn measure_stores(config: &Config, engine: &Handle) {
    let (stores, feed) = (config.stores.clone(), engine.feed());
    tokio::task::spawn_blocking(move || {
        for store in stores {
            let StoreSize { bytes, files, .. } = store_size::of(&store);
            let fact = Fact::StoreSize {
                store: store.name,
                bytes,
                files,
            };
            if feed.send(vec![Event::Fact(fact)]).is_err() {
                return;
            }
        }
    });
}

/// What earlier runs kept comes before everything else, on the queue and on the tape.
fn head(
    state: &State,
    moved_aside: Option<jaga_rules::event::Gap>,
    metrics: &Metrics,
) -> Result<Vec<Event>, String> {
    let last_write = state.last_write().map_err(|error| error.to_string())?;
    let ended = state.take_ended().map_err(|error| error.to_string())?;
    let now = clock::wall();
    metrics.was_away(last_write.map_or(0, |last| (now - last).max(0)));
    let ago = ended.map(|ended| clock::boottime().since(ended));
    let down = down_since(last_write, ago, now);
    if let Some(gap) = down.as_ref().filter(|gap| gap.kind == GapKind::Restart) {
        tracing::info!("{}", gap.why);
    }
    let restored = state
        .restore(clock::wall_offset())
        .map_err(|error| error.to_string())?;
    let gaps = moved_aside.into_iter().chain(down).map(Event::Gap);
    Ok(restored.into_iter().chain(gaps).collect())
}

/// The tape of the run before keeps what it recorded, under the first number that is free.
fn kept(path: &Path) -> io::Result<()> {
    if fs::metadata(path).map_or(0, |found| found.len()) == 0 {
        return Ok(());
    }
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let free = (1..=u32::MAX).map(numbered).find(|name| !name.exists());
    let free = free.ok_or(io::ErrorKind::AlreadyExists)?;
    fs::rename(path, &free)?;
    tracing::info!(
        "the tape of the run before is kept as {}; delete it when it has been read",
        free.display()
    );
    Ok(())
}

fn record(path: &Path, seed: u64, checked: &Checked) -> Result<Recorder<File>, String> {
    let file = kept(path).and_then(|()| File::create(path));
    file.and_then(|file| Recorder::start(file, seed, &checked.setup))
        .map_err(|error| {
            format!(
                "cannot write the tape '{}': {error}; set another `tape:`",
                path.display()
            )
        })
}

/// The running sensors.
struct Sensors {
    stop: Arc<AtomicBool>,
    stores: StoresHandle,
    threads: Vec<JoinHandle<()>>,
}

impl Sensors {
    fn start(
        config: &Config,
        engine: &Handle,
        health: &HealthTable,
        rungs: &Keeper,
    ) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        // The wire first: what was sent before anybody compares is remembered for the comparison.
        let wire = wire::attach(config, engine.feed(), health);
        let best = rungs.best().map_err(|error| error.to_string())?;
        let (feed, ends) = (engine.feed(), Arc::clone(&stop));
        let host = host::start_after(&best, config, feed, health.clone(), ends);
        let all = health.all();
        let now = all.iter().map(|(subject, health)| (*subject, health.rung));
        rungs.keep(now).map_err(|error| error.to_string())?;
        // Before the interfaces are read for the first time: what they count then was queued before, or is not counted.
        let wire = wire.start(Arc::clone(&stop));
        let [pcap, interfaces] = [pcap::start, interfaces::start]
            .map(|start| start(config, engine.feed(), health.clone(), Arc::clone(&stop)));
        let threads: [(_, &[&str]); 4] = [
            (host.thread, &host::SENSORS),
            (wire, &[wire::SENSOR]),
            (pcap, &[pcap::SENSOR]),
            (interfaces, &[interfaces::SENSOR]),
        ];
        let threads = threads.map(|(thread, sensors)| {
            let ends = (engine.feed(), health.clone());
            absent::replace_fallen(thread, sensors, ends, Arc::clone(&stop))
        });
        Ok(Self {
            stores: host.stores,
            threads: threads.into(),
            stop,
        })
    }

    /// Each hands over what it has counted, and ends.
    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // It stands in for a sensor that fell, and has said so.
            let _ = thread.join();
        }
    }
}

/// The signals that the agent obeys, each from when this was made: one that comes while it starts must not kill it.
struct Signals {
    end: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self, String> {
        let listen =
            |kind| signal(kind).map_err(|error| format!("cannot wait for signals: {error}"));
        Ok(Self {
            end: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }
}

/// Reloads until a signal says to end.
async fn serve_signals(
    mut signals: Signals,
    mut reloads: Reloads,
    mut current: Checked,
    engine: &Handle,
    metrics: &Metrics,
    stores: &StoresHandle,
) -> Result<(), String> {
    loop {
        let asked = tokio::select! {
            _ = signals.end.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.hangup.recv() => true,
            () = reloads.changed() => false,
        };
        match reloads.read() {
            Ok(new) if new.setup == current.setup => {
                // It may have been wrong in between.
                applied(metrics, &new);
                if asked {
                    tracing::info!("nothing that decides has changed");
                }
            }
            Ok(new) => {
                apply(&new, &current, engine, metrics, stores)?;
                warn(reloads.config(), &new);
                current = new;
            }
            Err(trouble) => {
                metrics.reload_failed();
                tracing::error!("the reload changed nothing, because:\n{trouble}");
            }
        }
    }
}

fn apply(
    new: &Checked,
    old: &Checked,
    engine: &Handle,
    metrics: &Metrics,
    stores: &StoresHandle,
) -> Result<(), String> {
    engine.reload(new.setup.clone())?;
    stores.set_stores(&new.config);
    applied(metrics, new);
    tracing::info!(
        rules = new.rules.len(),
        stores = new.config.stores.len(),
        "reloaded"
    );
    let waiting = at_a_restart_only(&new.config.agent, &old.config.agent);
    if !waiting.is_empty() {
        tracing::warn!(
            "changed, but only a restart takes it up (systemctl restart jaga): {}",
            waiting.join(", ")
        );
    }
    Ok(())
}

fn applied(metrics: &Metrics, checked: &Checked) {
    let rules = checked.rules.iter().map(|rule| &rule.name);
    metrics.applied(&checked.setup, rules, clock::wall());
}

/// Settings that differ and are read once, at start.
fn at_a_restart_only(new: &AgentConfig, old: &AgentConfig) -> Vec<&'static str> {
    [
        ("sensors", new.sensors != old.sensors),
        ("metrics", new.metrics != old.metrics),
        ("outputs", new.outputs != old.outputs),
        ("state", new.state != old.state),
        ("privacy", new.privacy != old.privacy),
        ("periods (but quiet)", {
            let quiet = old.periods.quiet;
            let new = new.periods;
            Periods { quiet, ..new } != old.periods
        }),
        ("tape", new.tape != old.tape),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}

/// Says what does not fit this host or this day, and opens the alert files: the first alert is a bad time to find out.
fn warn(config_path: &Path, checked: &Checked) {
    let replaced = warning::replaced(&checked.setup);
    let all = warning::all(config_path, &checked.config, clock::today());
    for warning in replaced.into_iter().chain(all) {
        tracing::warn!("{warning}");
    }
    for output in &checked.config.agent.outputs {
        if let Err(why) = output::try_open(output) {
            tracing::error!("no alert can be written: {why}");
        }
    }
}

fn announce(config_path: &Path, checked: &Checked, health: &HealthTable) {
    let config = &checked.config;
    let rules = checked.rules.len();
    let path = config_path.display();
    if setup::is_absent(config_path) {
        tracing::info!(
            rules,
            "watching by the shipped defaults: there is no {path}"
        );
    } else {
        tracing::info!(rules, config = %path, "watching");
    }
    warn(config_path, checked);
    for store in &config.stores {
        let paths: Vec<String> = store
            .paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let guessed = if store.guessed {
            " (guessed: name it in the configuration to confirm)"
        } else {
            ""
        };
        tracing::info!("store {}: {}{guessed}", store.name, paths.join(", "));
    }
    for (sensor, health) in health.all() {
        if health.up {
            tracing::info!("sensor {sensor}: rung {}, {}", health.rung, health.why);
        } else if health.why == OFF {
            tracing::info!("sensor {sensor}: {OFF}");
        } else {
            tracing::error!("sensor {sensor} sees nothing: {}", health.why);
        }
    }
    match config.agent.metrics {
        Some(address) => tracing::info!("metrics: http://{address}/metrics"),
        None => tracing::info!("metrics: off"),
    }
}

fn sd_ready() {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
}

async fn join(thread: JoinHandle<()>) {
    let ended = tokio::task::spawn_blocking(move || thread.join()).await;
    if !matches!(ended, Ok(Ok(()))) {
        tracing::error!("the engine ended by a fault of its own");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tapes_of_the_runs_before_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let tape = folder.path().join("tape");
        kept(&tape).unwrap();
        for text in ["one", "two", ""] {
            fs::write(&tape, text).unwrap();
            kept(&tape).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        let found = ["tape", "tape.1", "tape.2", "tape.3"].map(read);
        let expected = [Some(""), Some("one"), Some("two"), None];
        assert_eq!(found, expected.map(|text| text.map(str::to_owned)));
    }
}
