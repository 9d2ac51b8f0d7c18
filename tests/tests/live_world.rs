//! The live tests' own world, tried without the agent: what it claims to count and to name must be true.

use std::fs;

use jaga_tests::net::{HOST_INSIDE, OUT};
use jaga_tests::process::{Unit, run};
use jaga_tests::world::{MB, World};

#[test]
fn payload_is_counted_to_the_byte() {
    let Some(world) = World::new("payload_is_counted_to_the_byte") else {
        return;
    };
    let store = world.store("ekg", 20, MB);
    let before = world.net.out.received();
    let unit = Unit::new("jagat-world.service");
    unit.run(
        &format!(
            "cd {}; for f in *; do curl -sfT $f http://{OUT}/; done",
            store.display()
        ),
        30,
    );
    assert_eq!(world.sink.received(), 20 * MB);
    let counted = world.net.out.received() - before;
    // Beside the files: 20 request heads.
    assert!(
        (20 * MB..20 * MB + 20 * 500).contains(&counted),
        "the kernel counted {counted}"
    );
}

#[test]
fn chunked_and_downloaded_bodies_are_counted() {
    let Some(world) = World::new("chunked_and_downloaded_bodies_are_counted") else {
        return;
    };
    let unit = Unit::new("jagat-world.service");
    unit.run(
        &format!("head -c 5000000 /dev/zero | curl -sfT - http://{OUT}/x"),
        30,
    );
    assert_eq!(world.sink.received(), 5 * MB);
    unit.run(
        &format!(
            "curl -sf http://{OUT}/7000000 -o {}/got",
            world.folder().display()
        ),
        30,
    );
    assert_eq!(
        fs::metadata(world.folder().join("got")).unwrap().len(),
        7 * MB
    );
}

#[test]
fn logins_are_audit_sessions_and_units_are_cgroups() {
    let Some(world) = World::new("logins_are_audit_sessions_and_units_are_cgroups") else {
        return;
    };
    let seen = |user: &str| {
        let mut login = world.logins.login(
            &world.net.lan,
            user,
            HOST_INSIDE,
            "id -un; cat /proc/self/sessionid; echo; cat /proc/self/loginuid; echo; id -u",
        );
        String::from_utf8(run(&mut login).stdout).unwrap()
    };
    let (alice, bob) = (seen("jagat-alice"), seen("jagat-bob"));
    let fields = |text: &str| {
        text.split_whitespace()
            .map(str::to_string)
            .collect::<Vec<_>>()
    };
    let (alice, bob) = (fields(&alice), fields(&bob));
    assert_eq!(alice[0], "jagat-alice");
    assert_ne!(alice[1], "4294967295", "no audit session");
    assert_ne!(alice[1], bob[1], "two logins share an audit session");
    assert_eq!(alice[2], alice[3], "the login uid is the user's");

    let unit = Unit::new("jagat-world.service");
    let told = run(&mut unit.shell("cat /proc/self/cgroup /proc/self/sessionid"));
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(
        told.contains("0::/system.slice/jagat-world.service\n"),
        "{told}"
    );
    assert!(told.ends_with("4294967295"), "{told}");
}
