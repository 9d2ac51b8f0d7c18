//! A hospital's ordinary work: none of it may be told as a leak.

use jaga_tests::leak::nothing_told;
use jaga_tests::net::{LAN, OUT};
use jaga_tests::process::Unit;
use jaga_tests::world::{MB, World};

#[test]
fn reading_the_whole_store_and_sending_nothing() {
    let Some(world) = World::new("reading_the_whole_store_and_sending_nothing") else {
        return;
    };
    let store = world.store("ekg", 300, MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let unit = Unit::new("jagat-scan.service");
    unit.run(&format!("sha256sum {}/* >/dev/null", store.display()), 60);
    let read = agent.metric_reaches("jaga_store_read_bytes_total", &[("store", "ekg")], 297e6);
    assert!(read < 303e6, "read 300 MB, told {read}");
    nothing_told(&mut agent);
}

#[test]
fn a_download_of_two_gigabytes() {
    let Some(world) = World::new("a_download_of_two_gigabytes") else {
        return;
    };
    let store = world.store("ekg", 20, MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let unit = Unit::new("jagat-update.service");
    // It holds store data, so that only the direction of the bytes keeps it innocent.
    unit.run(
        &format!(
            "cat {}/* >/dev/null; curl -sf -o /dev/null http://{OUT}/2000000000",
            store.display()
        ),
        120,
    );
    agent.metric_reaches("jaga_sent_bytes_total", &[("scope", "external")], 50.0);
    let sent = agent
        .metric("jaga_sent_bytes_total", &[("scope", "external")])
        .unwrap();
    assert!(
        sent < 10_000.0,
        "a request was sent, and acknowledgements, which are no bytes; told {sent}"
    );
    nothing_told(&mut agent);
}

#[test]
fn a_bulk_copy_under_contract() {
    let Some(world) = World::new("a_bulk_copy_under_contract") else {
        return;
    };
    let store = world.store("ekg", 3, 100 * MB);
    let unit = Unit::new("jagat-backup.service");
    let contract = format!(
        "contracts:\n  - name: nightly\n    who: {{ unit: jagat-backup.service, exe: /usr/bin/curl }}\n    to: {OUT}:80\n    \
         owner: it@hospital.example\n    until: 2099-01-01\n"
    );
    let mut agent = world.agent(&[("ekg", &store)], &contract);
    let before = world.net.out.received();
    unit.run(
        &format!(
            "cd {}; for f in *; do curl -sfT $f http://{OUT}/; done",
            store.display()
        ),
        60,
    );
    #[expect(clippy::cast_precision_loss, reason = "300 MB fit a double")]
    let arrived = (world.net.out.received() - before) as f64;
    let booked = agent.metric_reaches(
        "jaga_contract_sent_bytes_total",
        &[("contract", "nightly")],
        arrived * 0.99,
    );
    assert!(
        booked < arrived * 1.01,
        "{arrived} arrived, {booked} booked to the contract"
    );
    nothing_told(&mut agent);
}

#[test]
fn a_log_shipper_that_read_one_line_of_a_holder() {
    let Some(world) = World::new("a_log_shipper_that_read_one_line_of_a_holder") else {
        return;
    };
    let store = world.store("ekg", 200, MB);
    let log = world.path("log");
    let mut agent = world.agent(&[("ekg", &store)], "");
    let holder = Unit::new("jagat-holder.service");
    holder.run(
        &format!(
            "cat {}/* | sha256sum >{}/line",
            store.display(),
            log.display()
        ),
        60,
    );
    agent.metric_reaches("jaga_store_read_bytes_total", &[("store", "ekg")], 198e6);
    let shipper = Unit::new("jagat-shipper.service");
    let script = format!(
        "(cat {}/line; head -c 2000000000 /dev/zero) | curl -sfT - http://{LAN}/",
        log.display()
    );
    shipper.run(&script, 120);
    assert!(world.sink_inside.received() >= 2000 * MB);
    agent.metric_reaches("jaga_sent_bytes_total", &[("scope", "internal")], 1.98e9);
    nothing_told(&mut agent);
}
