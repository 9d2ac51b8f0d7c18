//! Couriers through kill -9, a receiver that is away, and a stop.

use std::path::Path;

use jaga_rules::event::Stamp;

use super::*;
use crate::state::State;
use crate::testing::{firing, resolved};

fn context() -> Context {
    Context {
        site: "s".into(),
        instance: "i".into(),
        resend: Duration::from_secs(60),
        rules: Arc::default(),
    }
}

fn file_output(path: &Path) -> OutputConfig {
    OutputConfig::File {
        path: path.to_owned(),
    }
}

/// The state directory's agent, started.
fn start(directory: &Path, outputs: &[OutputConfig]) -> (State, Outbox, Courier) {
    let (state, gap) = State::open(directory, "boot").unwrap();
    assert_eq!(gap, None);
    let outbox = state.outbox().unwrap();
    let courier = Courier::start(&outbox, outputs, &context()).unwrap();
    (state, outbox, courier)
}

fn commit(state: &mut State, courier: &Courier, transitions: &[Transition]) {
    state.commit(Stamp(1), 0, &[], transitions).unwrap();
    courier.bell().ring();
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within 10 s");
}

fn is_empty(outbox: &Outbox) -> bool {
    let backlog = outbox.backlog().unwrap();
    backlog.iter().all(|backlog| backlog.pending == 0)
}

fn lines(transitions: &[Transition]) -> String {
    let lines = transitions
        .iter()
        .map(|transition| transition.to_line() + "\n");
    lines.collect()
}

#[tokio::test]
async fn transitions_reach_every_output_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    let outputs = [file_output(&one), file_output(&two)];
    let (mut state, outbox, courier) = start(directory.path(), &outputs);
    let many: Vec<Transition> = (0..700).map(|id| firing(&id.to_string())).collect();
    for chunk in many.chunks(100) {
        commit(&mut state, &courier, chunk);
    }
    until("both files", || is_empty(&outbox)).await;
    assert_eq!(std::fs::read_to_string(&one).unwrap(), lines(&many));
    assert_eq!(std::fs::read_to_string(&two).unwrap(), lines(&many));
    // Counted after it was marked.
    let told = || courier.deliveries().all().into_iter();
    let all = || told().all(|(_, told, failed)| (told, failed) == (700, 0));
    until("both counts", all).await;
    courier.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_line_that_was_written_and_not_marked_is_not_written_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alerts.jsonl");
    let all = [firing("1"), resolved("1"), firing("2")];
    let (mut state, outbox, courier) = start(directory.path(), &[file_output(&path)]);
    courier.stop(Duration::ZERO).await;
    state.commit(Stamp(1), 0, &[], &all).unwrap();
    // The killed run came as far as the middle of the second line.
    let written = lines(&all);
    let cut = lines(&all[..1]).len() + 20;
    std::fs::write(&path, &written[..cut]).unwrap();
    drop((state, outbox));

    let (_state, outbox, courier) = start(directory.path(), &[file_output(&path)]);
    until("the rest", || is_empty(&outbox)).await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
    courier.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn an_output_that_fails_is_tried_again_and_holds_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("good");
    let blocked = directory.path().join("wall/alerts.jsonl");
    std::fs::write(
        directory.path().join("wall"),
        "a file where a directory must be",
    )
    .unwrap();
    let outputs = [file_output(&good), file_output(&blocked)];
    let (mut state, outbox, courier) = start(directory.path(), &outputs);
    commit(&mut state, &courier, &[firing("1")]);
    until("the good file", || good.exists()).await;
    let failed = |courier: &Courier| courier.deliveries().all()[1].2;
    until("a second try", || failed(&courier) >= 2).await;
    assert!(!is_empty(&outbox));

    std::fs::remove_file(directory.path().join("wall")).unwrap();
    commit(&mut state, &courier, &[resolved("1")]);
    until("the other file", || is_empty(&outbox)).await;
    let both = lines(&[firing("1"), resolved("1")]);
    assert_eq!(std::fs::read_to_string(&blocked).unwrap(), both);
    courier.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn without_outputs_the_outbox_stays_empty() {
    let directory = tempfile::tempdir().unwrap();
    let (mut state, outbox, courier) = start(directory.path(), &[]);
    commit(&mut state, &courier, &[firing("1")]);
    until("nowhere", || is_empty(&outbox)).await;
    courier.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn an_output_that_cannot_work_is_told_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let (state, _) = State::open(directory.path(), "boot").unwrap();
    let url = "alertmanager.example".to_owned();
    let error = Courier::start(
        &state.outbox().unwrap(),
        &[OutputConfig::Alertmanager { url }],
        &context(),
    )
    .unwrap_err();
    assert!(
        error.contains("'alertmanager.example' is not the address of a server"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stop_lets_what_can_be_told_be_told_and_does_not_wait_for_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("good");
    let (mut state, outbox, courier) = start(directory.path(), &[file_output(&good)]);
    commit(&mut state, &courier, &[firing("1")]);
    courier.stop(Duration::from_secs(60)).await;
    assert_eq!(
        std::fs::read_to_string(&good).unwrap(),
        lines(&[firing("1")])
    );

    let context = context();
    let courier =
        Courier::start(&outbox, &[file_output(Path::new("/dev/full"))], &context).unwrap();
    commit(&mut state, &courier, &[firing("2")]);
    courier.stop(Duration::from_millis(100)).await;
    assert!(!is_empty(&outbox));
}

#[test]
fn tries_come_slower_and_slower_to_a_limit() {
    let waits = [0, 1, 2, 7, 8, 40, u32::MAX].map(|failures| backoff(failures).as_millis());
    assert_eq!(waits, [200, 400, 800, 25_600, 30_000, 30_000, 30_000]);
}
