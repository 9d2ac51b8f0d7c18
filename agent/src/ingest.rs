//! The engine's thread: takes batches, stamps them, tapes them, lets the engine decide, and makes it durable.

use std::fs::File;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jaga_rules::engine::Engine;
use jaga_rules::event::{Event, Gap, GapKind, Row, SECOND, Setup, Stamp, Stamped};
use jaga_rules::output::{AlertState, Output, Snapshot, Transition};
use jaga_rules::rule::Severity;
use tokio::sync::oneshot;

use crate::clock;
use crate::courier::Bell;
use crate::metrics::Metrics;
use crate::sensor::{Batch, FEED_LIMIT, Feed};
use crate::state::{Kept, State};
use crate::tape::Recorder;

/// A wall clock that drifts by less is not told again, nanoseconds.
const DRIFT: i64 = SECOND;
/// Rows that wait while the disk fails, at the most; beyond, the older state of a row goes first, as newer come.
const WAITING_ROWS_LIMIT: usize = 262_144;

/// What the engine's thread works with.
#[derive(Debug)]
pub struct Ingest {
    /// Decides.
    pub engine: Engine,
    /// Keeps.
    pub state: State,
    /// Records, if the user wants it.
    pub tape: Option<Recorder<File>>,
    /// Tells the couriers.
    pub bell: Bell,
    /// Takes the delay of each alert.
    pub metrics: Metrics,
    /// Rows are written at least this often, nanoseconds.
    pub save: i64,
}

/// The engine's thread from outside; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    feed: Feed,
    orders: Sender<Order>,
}

/// What the engine's thread is asked beside events.
#[derive(Debug)]
enum Order {
    Snapshot(oneshot::Sender<Snapshot>),
    Stop,
}

impl Handle {
    /// Where sensors put their batches.
    #[must_use]
    pub fn feed(&self) -> Feed {
        self.feed.clone()
    }

    /// Asks for the totals. Never blocks; the sender is dropped if the engine is gone.
    pub fn snapshot(&self, answer: oneshot::Sender<Snapshot>) {
        self.order(Order::Snapshot(answer));
    }

    /// New configuration and rules, checked before.
    ///
    /// # Errors
    /// The engine is gone.
    pub fn reload(&self, setup: Setup) -> Result<(), String> {
        let sent = self.feed.send(vec![Event::Reload(Box::new(setup))]);
        sent.map_err(|_| "the engine has ended".to_owned())
    }

    /// Writes everything down and ends.
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    /// An empty batch wakes the thread; a full queue means that it is awake.
    fn order(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            let _ = self.feed.try_send(Batch::new());
        }
    }
}

/// Starts the thread. `head`: events that come before all others, such as what earlier runs kept.
#[must_use]
pub fn start(ingest: Ingest, head: Vec<Event>) -> (Handle, JoinHandle<()>) {
    let (feed, batches) = sync_channel(FEED_LIMIT);
    let (orders, asked) = channel();
    let running = Running {
        ingest,
        output: Output::default(),
        rows: Vec::new(),
        wall_offset: clock::wall_offset(),
        saved: clock::boottime(),
        failing: false,
    };
    let thread = thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || running.run(head, &batches, &asked))
        .expect("a thread can be made at start");
    (Handle { feed, orders }, thread)
}

struct Running {
    ingest: Ingest,
    output: Output,
    rows: Vec<Row>,
    wall_offset: i64,
    saved: Stamp,
    failing: bool,
}

impl Running {
    fn run(mut self, head: Vec<Event>, batches: &Receiver<Batch>, asked: &Receiver<Order>) {
        let wall_offset = self.wall_offset;
        self.take(
            [Event::Clock { wall_offset }]
                .into_iter()
                .chain(head)
                .collect(),
        );
        loop {
            match batches.recv_timeout(self.patience()) {
                Ok(batch) => self.take(batch),
                Err(RecvTimeoutError::Timeout) => self.wake(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let stop = self.obey(asked);
            self.save_if_due();
            if stop {
                break;
            }
        }
        self.save();
        if let Err(error) = self.ingest.state.ended(clock::boottime()) {
            tracing::warn!(%error, "the next start will not know that this end was in order");
        }
    }

    /// Until the next deadline, or the next time rows are due.
    fn patience(&self) -> Duration {
        let now = clock::boottime();
        let save = self.saved.plus(self.ingest.save);
        let next = self
            .ingest
            .engine
            .next_deadline()
            .map_or(save, |due| due.min(save));
        Duration::from_nanos(next.since(now).max(0).unsigned_abs())
    }

    /// An event is stamped once, here, where it leaves the queue, and before it goes on tape (I3).
    fn take(&mut self, batch: Batch) {
        let at = clock::boottime();
        for event in batch {
            self.step(Stamped { at, event });
        }
        self.flush_tape();
    }

    fn wake(&mut self) {
        let at = clock::boottime();
        if self
            .ingest
            .engine
            .next_deadline()
            .is_some_and(|due| due <= at)
        {
            self.step(Stamped {
                at,
                event: Event::Wake,
            });
            self.flush_tape();
        }
    }

    fn step(&mut self, stamped: Stamped) {
        if let Some(Err(error)) = self.ingest.tape.as_mut().map(|tape| tape.write(&stamped)) {
            self.end_tape(&error);
        }
        self.ingest.engine.step(&stamped, &mut self.output);
    }

    fn flush_tape(&mut self) {
        if let Some(Err(error)) = self.ingest.tape.as_mut().map(Recorder::flush) {
            self.end_tape(&error);
        }
    }

    fn end_tape(&mut self, error: &std::io::Error) {
        tracing::error!(%error, "the tape ends here: make room or set another `tape:`");
        self.ingest.tape = None;
    }

    fn obey(&mut self, asked: &Receiver<Order>) -> bool {
        let mut stop = false;
        while let Ok(order) = asked.try_recv() {
            match order {
                // Whoever asked may have gone meanwhile.
                Order::Snapshot(answer) => drop(answer.send(self.ingest.engine.snapshot())),
                Order::Stop => stop = true,
            }
        }
        stop
    }

    /// Transitions are written at once, rows at least once a period (`save`).
    fn save_if_due(&mut self) {
        let due = clock::boottime().since(self.saved) >= self.ingest.save;
        if due {
            self.look_at_clock();
            self.take_requests();
        }
        if due || (!self.output.transitions.is_empty() && !self.failing) {
            self.save();
        }
    }

    fn look_at_clock(&mut self) {
        let wall_offset = clock::wall_offset();
        if (wall_offset - self.wall_offset).abs() >= DRIFT {
            self.wall_offset = wall_offset;
            self.take(vec![Event::Clock { wall_offset }]);
        }
    }

    /// What people asked for through the state file is an event like any other. An answer that a crash swallows is given at
    /// the next start: a case is settled once.
    fn take_requests(&mut self) {
        let requests = match self.ingest.state.requests() {
            Ok(requests) if requests.is_empty() => return,
            Ok(requests) => requests,
            Err(error) => return tracing::error!(%error, "requests cannot be read"),
        };
        let events = requests
            .iter()
            .map(|(_, settle)| Event::Settle(settle.clone()));
        self.take(events.collect());
        self.save();
        let settled = std::mem::take(&mut self.output.settled);
        if self.failing {
            // What is not written down may be undone: it is asked again.
            return;
        }
        for case in &settled {
            tracing::info!(rule = %case.rule, id = case.id, verdict = ?case.verdict, "case settled");
        }
        for (number, settle) in requests {
            let done = settled.iter().any(|case| case.id == settle.id);
            if let Err(error) = self.ingest.state.answer(number, done) {
                tracing::error!(%error, "a request cannot be answered");
            }
        }
    }

    /// What cannot be written now waits for the next time: an alert is on disk before it is sent (I11).
    fn save(&mut self) {
        let now = clock::boottime();
        self.saved = now;
        self.rows.extend(self.ingest.engine.take_rows());
        let transitions = &self.output.transitions;
        match self
            .ingest
            .state
            .commit(now, self.wall_offset, &self.rows, transitions)
        {
            Ok(Kept::All) => {
                self.told();
                self.rows.clear();
                self.failing = false;
            }
            Ok(Kept::Alerts) => {
                self.told();
                self.keep_waiting("the disk is full");
            }
            Err(error) => self.keep_waiting(&error.to_string()),
        }
    }

    fn told(&mut self) {
        let now = clock::boottime();
        for transition in &self.output.transitions {
            log(transition);
            if transition.state == AlertState::Firing {
                let delay =
                    now.since(transition.evidence.last.max(transition.at)) as f64 / SECOND as f64;
                self.ingest
                    .metrics
                    .observe_delay(&transition.rule, delay.max(0.0));
            }
        }
        if !self.output.transitions.is_empty() {
            self.ingest.bell.ring();
        }
        self.output.transitions.clear();
    }

    fn keep_waiting(&mut self, error: &str) {
        if !self.failing {
            tracing::error!(
                error,
                "nothing is written down until this is mended but new alerts, in the room that is kept for them beside the \
                 state: what does not fit is not sent"
            );
            let why = format!("the state file cannot be written: {error}").into();
            let gap = Gap {
                sensor: "engine".into(),
                kind: GapKind::Lost,
                events: 0,
                bytes: 0,
                why,
            };
            self.failing = true;
            self.take(vec![Event::Gap(gap)]);
        }
        if self.rows.len() > WAITING_ROWS_LIMIT {
            self.rows.drain(..self.rows.len() - WAITING_ROWS_LIMIT);
        }
    }
}

fn log(transition: &Transition) {
    let Transition {
        summary, id, rule, ..
    } = transition;
    // A program may have any name: it must not write a line of its own.
    let summary = summary.replace('\n', "\\n").replace('\r', "\\r");
    match (transition.state, transition.severity) {
        (AlertState::Firing, Severity::Critical) => tracing::error!(%rule, id, "{summary}"),
        (AlertState::Firing, Severity::Warning) => tracing::warn!(%rule, id, "{summary}"),
        (AlertState::Firing, Severity::Info) => tracing::info!(%rule, id, "{summary}"),
        (AlertState::Pending, _) => tracing::info!(%rule, "over its limit: {summary}"),
        (AlertState::Resolved, _) => tracing::info!(%rule, id, "stopped: {summary}"),
    }
}

/// An agent that ended as it was asked to and is back within this time, nanoseconds, was restarted on purpose: an upgrade
/// takes a few seconds (two for the last deliveries, one or two to attach), a reboot longer. In 10 s a line of 1 Gbit/s
/// carries 1.2 GB: longer must wake somebody.
const RESTART_LIMIT: i64 = 10 * SECOND;

/// What an agent that was not running has missed. `last_write`: wall time of the last write, `now`: wall time, both in
/// nanoseconds; `ended`: how long ago it ended in order, by a clock that nobody can set.
#[must_use]
pub fn down_since(last_write: Option<i64>, ended: Option<i64>, now: i64) -> Option<Gap> {
    let seconds = (now - last_write?).max(0) / SECOND;
    let (kind, word, seconds) = match ended.filter(|ago| (0..=RESTART_LIMIT).contains(ago)) {
        Some(ago) => (GapKind::Restart, "restarted: it was ", ago / SECOND),
        None => (GapKind::Down, "", seconds),
    };
    let why = format!(
        "the agent was {word}not running for {seconds} s; what left in that time is not known"
    )
    .into();
    Some(Gap {
        sensor: "engine".into(),
        kind,
        events: 0,
        bytes: 0,
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ended: Option<i64>, now: i64, kind: GapKind, why: &str) {
        let gap = down_since(
            Some(100 * SECOND),
            ended.map(|ago| ago * SECOND),
            now * SECOND,
        )
        .unwrap();
        let expected = format!("the agent was {why}; what left in that time is not known");
        assert_eq!((gap.kind, &*gap.why), (kind, &*expected));
    }

    #[test]
    fn only_a_short_absence_after_an_end_in_order_is_a_restart() {
        let restarted = "restarted: it was not running for";
        check(Some(2), 103, GapKind::Restart, &format!("{restarted} 2 s"));
        check(
            Some(10),
            111,
            GapKind::Restart,
            &format!("{restarted} 10 s"),
        );
        check(Some(11), 112, GapKind::Down, "not running for 12 s");
        check(None, 101, GapKind::Down, "not running for 1 s");
        assert_eq!(down_since(None, None, 0), None);
    }

    #[test]
    fn a_clock_that_was_set_meanwhile_hides_nothing() {
        check(Some(3_600), 103, GapKind::Down, "not running for 3 s");
        check(
            Some(2),
            50,
            GapKind::Restart,
            "restarted: it was not running for 2 s",
        );
    }
}
