//! Process life: lineage, programs, users, cgroups.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use jaga_rules::event::{Actor, Event, Exec, Name};

use crate::sensor::{Family, Sensor, can_run, config};

fn execs<'a>(sensor: &'a Sensor, family: &'a Family) -> impl Iterator<Item = &'a Exec> {
    sensor.events.iter().filter_map(|event| match event {
        Event::Exec(exec) if family.0.contains(&exec.actor) => Some(exec),
        _ => None,
    })
}

#[test]
fn short_lived_processes_have_their_program_and_their_parent() {
    if !can_run("short-lived processes") {
        return;
    }
    let mut sensor = Sensor::start(&config("/nowhere"));
    let family = sensor.run("for i in $(seq 500); do /usr/bin/true; done");
    let truths = execs(&sensor, &family).filter(|exec| exec.exe.ends_with("/bin/true"));
    assert_eq!(truths.count(), 500);
    let shell = execs(&sensor, &family).next().unwrap();
    assert!(shell.exe.ends_with("/bin/bash"), "{}", shell.exe);
    let children = sensor
        .events
        .iter()
        .filter(|event| matches!(event, Event::Fork(fork) if fork.parent == shell.actor));
    assert_eq!(children.count(), 501, "500 and the $(seq)");
    sensor.assert_no_gap();
}

#[test]
fn grandchildren_descend_from_their_parents() {
    if !can_run("lineage") {
        return;
    }
    let mut sensor = Sensor::start(&config("/nowhere"));
    let family = sensor.run("bash -c 'bash -c \"cat /dev/null; true\"; true'; true");
    let parents: BTreeMap<Actor, Actor> = sensor
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Fork(fork) => Some((fork.child, fork.parent)),
            _ => None,
        })
        .collect();
    let cat = execs(&sensor, &family)
        .find(|exec| exec.exe.ends_with("/cat"))
        .unwrap();
    let depth = std::iter::successors(Some(cat.actor), |actor| parents.get(actor).copied());
    assert_eq!(depth.filter(|actor| family.0.contains(actor)).count(), 4);
}

#[test]
fn threads_are_not_processes() {
    if !can_run("threads") {
        return;
    }
    let mut sensor = Sensor::start(&config("/nowhere"));
    let script = "exec /usr/bin/python3 -c \"
import threading
for i in range(50):
    t = threading.Thread(target=lambda: None); t.start(); t.join()\"";
    let family = sensor.run(script);
    assert_eq!(family.0.len(), 1);
}

#[test]
fn a_program_that_is_deleted_while_it_runs_keeps_its_path() {
    if !can_run("deleted program") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("gone");
    let mut sensor = Sensor::start(&config("/nowhere"));
    let family = sensor.run(&format!(
        "cp /usr/bin/true {0}; {0}; rm {0}",
        path.display()
    ));
    let path: Name = path.to_str().unwrap().into();
    assert!(execs(&sensor, &family).any(|exec| exec.exe == path));
}

#[test]
fn what_ran_before_is_known_with_the_same_identity_as_later() {
    if !can_run("known") {
        return;
    }
    let mut child = std::process::Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut sensor = Sensor::start(&config("/nowhere"));
    let known = sensor.events.iter().find_map(|event| match event {
        Event::Known(process) if process.actor.pid == child.id() => Some(process.clone()),
        _ => None,
    });
    let known = known.unwrap();
    assert!(known.exe.ends_with("/cat"), "{}", known.exe);
    assert_eq!(
        known.parent.map(|parent| parent.pid),
        Some(std::process::id())
    );
    drop(child.stdin.take());
    child.wait().unwrap();
    let exit = Event::Exit { actor: known.actor };
    sensor.until("its exit, by the same actor", |events| {
        events.contains(&exit)
    });
}

#[test]
fn a_change_of_user_without_an_exec_is_known_before_the_next_deed() {
    if !can_run("setuid") {
        return;
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, "patient").unwrap();
    let mut sensor = Sensor::start(&config(scratch.path().to_str().unwrap()));
    let family = sensor.run(&format!(
        "exec /usr/bin/python3 -c \"
import os
f = os.open('{}', os.O_RDONLY); os.setuid(65534); os.read(f, 9)\"",
        file.display()
    ));
    let place = |found: &dyn Fn(&Event) -> bool| sensor.events.iter().position(found);
    let known = place(&|event| {
        matches!(event, Event::Known(process)
            if family.0.contains(&process.actor)
                && &*process.identity.user == "nobody"
                && process.exe.contains("python3"))
    });
    let read = place(
        &|event| matches!(event, Event::Read(read) if family.0.contains(&read.actor) && read.store.is_some()),
    );
    assert!(known.is_some() && known < read, "{known:?} before {read:?}");
}

#[test]
fn a_cgroup_that_lived_for_a_moment_has_its_path() {
    if !can_run("cgroup") {
        return;
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let root = Path::new(mount.unwrap().split(' ').nth(4).unwrap());
    let name = format!("jaga-test-{}.service", std::process::id());
    let cgroup = root.join(&name);
    let mut sensor = Sensor::start(&config("/nowhere"));
    let family = sensor.run(&format!(
        "mkdir {0}; (echo $BASHPID > {0}/cgroup.procs; exec /usr/bin/true); \
         until rmdir {0}; do :; done",
        cgroup.display()
    ));
    let moved = execs(&sensor, &family)
        .find(|exec| exec.exe.ends_with("/true"))
        .unwrap();
    assert_eq!(*moved.identity.cgroup, format!("/{name}"));
}
