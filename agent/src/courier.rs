//! Carries transitions from the state file to the outputs: in order, again and again, until they are taken (I11).

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jaga_rules::config::OutputConfig;
use jaga_rules::output::Transition;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::output::{self, Context, Failure, Nowhere, Output};
use crate::state::outbox::Entry;
use crate::state::{Outbox, StateError};

/// Transitions that an output is offered at once.
const BATCH: u32 = 256;

/// Between two tries: doubled from the first to the last.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// All outputs at work, one task each, so that none waits for another.
#[derive(Debug)]
pub struct Courier {
    outbox: Outbox,
    bell: Bell,
    deliveries: Deliveries,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

/// Tells the couriers that the outbox has something new. Any thread may ring it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bell(Arc<[Notify]>);

impl Bell {
    /// Call after a commit that had transitions.
    pub fn ring(&self) {
        for notify in self.0.iter() {
            notify.notify_one();
        }
    }
}

/// Counters of deliveries per output since start; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Deliveries(Arc<BTreeMap<String, Counters>>);

#[derive(Debug, Default)]
struct Counters {
    told: AtomicU64,
    failed: AtomicU64,
}

impl Deliveries {
    pub(crate) fn born(outputs: Vec<String>) -> Self {
        let counters = |output| (output, Counters::default());
        Self(Arc::new(outputs.into_iter().map(counters).collect()))
    }

    /// (output, transitions told, failed attempts), by name.
    #[must_use]
    pub fn all(&self) -> Vec<(String, u64, u64)> {
        let counts = |(output, counters): (&String, &Counters)| {
            (
                output.clone(),
                counters.told.load(Ordering::Relaxed),
                counters.failed.load(Ordering::Relaxed),
            )
        };
        self.0.iter().map(counts).collect()
    }
}

impl Courier {
    /// Starts a task for each of `outputs` on the current tokio runtime. What earlier runs left is delivered first.
    ///
    /// # Errors
    /// An output cannot work on this host, or the state file cannot be written.
    pub fn start(
        outbox: &Outbox,
        outputs: &[OutputConfig],
        context: &Context,
    ) -> Result<Self, String> {
        let mut open: BTreeMap<String, Box<dyn Output>> = BTreeMap::new();
        for config in outputs {
            open.insert(output::name(config), output::open(config, context)?);
        }
        if open.is_empty() {
            tracing::warn!(
                "no outputs are configured: alerts show in /metrics only; see `outputs:`"
            );
            open.insert(Nowhere::NAME.to_owned(), Box::new(Nowhere));
        }
        let names: Vec<String> = open.keys().cloned().collect();
        outbox.register(&names).map_err(|error| error.to_string())?;
        let courier = Self {
            outbox: outbox.clone(),
            bell: Bell(names.iter().map(|_| Notify::new()).collect()),
            deliveries: Deliveries::born(names),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
        };
        for (index, (name, output)) in open.into_iter().enumerate() {
            let round = courier.round(index, name, output, outbox.clone());
            courier.tasks.spawn(
                courier
                    .cancel
                    .clone()
                    .run_until_cancelled_owned(round.run()),
            );
        }
        courier.tasks.close();
        Ok(courier)
    }

    /// For the engine's thread.
    #[must_use]
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// For `/metrics`.
    #[must_use]
    pub fn deliveries(&self) -> Deliveries {
        self.deliveries.clone()
    }

    /// Ends all tasks, once everything is taken or `patience` is over: who stops an agent right after an alert
    /// should not thereby stop the alert. What is not taken stays on disk for the next start.
    pub async fn stop(self, patience: Duration) {
        self.bell.ring();
        let _ = tokio::time::timeout(patience, self.all_taken()).await;
        self.cancel.cancel();
        self.tasks.wait().await;
    }

    async fn all_taken(&self) {
        loop {
            match ask(self.outbox.clone(), Outbox::backlog).await {
                Ok(backlog) if backlog.iter().any(|backlog| backlog.pending > 0) => {}
                Ok(_) | Err(_) => return,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn round(&self, bell: usize, name: String, output: Box<dyn Output>, outbox: Outbox) -> Round {
        Round {
            name,
            output,
            outbox,
            bell: self.bell.clone(),
            bell_index: bell,
            deliveries: self.deliveries.clone(),
            failures: 0,
            log_limit: RateLimiter::direct(
                Quota::with_period(Duration::from_secs(30))
                    .expect("30 s is not zero")
                    .allow_burst(NonZeroU32::new(3).expect("3 is not zero")),
            ),
        }
    }
}

/// One output's task.
struct Round {
    name: String,
    output: Box<dyn Output>,
    outbox: Outbox,
    bell: Bell,
    bell_index: usize,
    deliveries: Deliveries,
    /// In a row.
    failures: u32,
    log_limit: DefaultDirectRateLimiter,
}

impl Round {
    async fn run(mut self) {
        let mut refresh_due = self.output.refresh_period().map(|_| Instant::now());
        loop {
            if refresh_due.is_some_and(|due| due <= Instant::now()) {
                if let Err(why) = self.refresh().await {
                    self.wait_after(&why).await;
                    continue;
                }
                refresh_due = self
                    .output
                    .refresh_period()
                    .map(|period| Instant::now() + period);
            }
            match self.deliver().await {
                Ok(true) => {}
                Ok(false) => self.wait_for_news(refresh_due).await,
                Err(why) => self.wait_after(&why).await,
            }
        }
    }

    /// Whether there was something to deliver.
    async fn deliver(&mut self) -> Result<bool, String> {
        let name = self.name.clone();
        let entries = ask(self.outbox.clone(), move |outbox| {
            outbox.pending(&name, BATCH)
        })
        .await?;
        let Some(last) = entries.last().map(|entry| entry.sequence) else {
            return Ok(false);
        };
        let transitions: Vec<Transition> = entries.into_iter().map(Entry::into).collect();
        let told = self.output.deliver(&transitions).await;
        let told = self.settle(told)?;
        let name = self.name.clone();
        ask(self.outbox.clone(), move |outbox| outbox.taken(&name, last)).await?;
        self.counters().told.fetch_add(told, Ordering::Relaxed);
        Ok(true)
    }

    async fn refresh(&mut self) -> Result<(), String> {
        let name = self.name.clone();
        let active = ask(self.outbox.clone(), move |outbox| outbox.active(&name)).await?;
        let told = self.output.refresh(active).await;
        self.settle(told).map(|_| ())
    }

    /// What the receiver will never take is logged each time, counted, and passed over.
    fn settle(&mut self, told: Result<u64, Failure>) -> Result<u64, String> {
        match told {
            Ok(told) => {
                if self.failures > 0 {
                    tracing::info!(output = %self.name, failures = self.failures, "takes alerts again");
                }
                self.failures = 0;
                Ok(told)
            }
            Err(Failure::Refused(why)) => {
                self.counters().failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(output = %self.name, why, "an alert was refused for good");
                Ok(0)
            }
            Err(Failure::Retry(why)) => Err(why),
        }
    }

    async fn wait_after(&mut self, why: &str) {
        self.counters().failed.fetch_add(1, Ordering::Relaxed);
        let wait = backoff(self.failures);
        self.failures = self.failures.saturating_add(1);
        if self.log_limit.check().is_ok() {
            tracing::warn!(output = %self.name, why, ?wait, "not delivered, will try again");
        }
        tokio::time::sleep(FIRST_RETRY).await;
        let rest = wait.saturating_sub(FIRST_RETRY);
        // Something new is worth a try at once: the receiver may be back long before a long wait ends.
        let _ = tokio::time::timeout(rest, self.bell.0[self.bell_index].notified()).await;
    }

    async fn wait_for_news(&self, refresh_due: Option<Instant>) {
        let news = self.bell.0[self.bell_index].notified();
        match refresh_due {
            Some(due) => tokio::select! {
                () = news => {}
                () = tokio::time::sleep_until(due) => {}
            },
            None => news.await,
        }
    }

    fn counters(&self) -> &Counters {
        &self.deliveries.0[&self.name]
    }
}

/// Asks the outbox on a thread that may block.
async fn ask<T: Send + 'static>(
    outbox: Outbox,
    question: impl FnOnce(&Outbox) -> Result<T, StateError> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(move || question(&outbox))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

impl From<Entry> for Transition {
    fn from(entry: Entry) -> Self {
        entry.transition
    }
}

/// No jitter: a host has one agent, and its outputs are few.
fn backoff(failures: u32) -> Duration {
    FIRST_RETRY
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(LAST_RETRY)
}

#[cfg(test)]
mod tests;
