//! Servers of other people that real tools send to, and the words with which a tool finds them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::daemons::has;
use crate::net::OUT;
use crate::process::run;
use crate::world::World;

/// Whether these programs are here, each with the package that has it.
#[must_use]
pub fn has_all(tools: &[(&str, &str)]) -> bool {
    tools.iter().all(|(program, package)| has(program, package))
}

/// `script` with `{store}`, and `{folder}` and `{out}` for the world's own folder and the host on the internet.
#[must_use]
pub fn filled(script: &str, world: &World, store: &Path) -> String {
    script
        .replace("{store}", &store.display().to_string())
        .replace("{folder}", &world.folder().display().to_string())
        .replace("{out}", OUT)
}

/// `rclone serve KIND` of an empty folder on the internet, on `port`; the folder.
pub fn rclone_serves(world: &mut World, kind: &str, port: u16, more: &[&str]) -> PathBuf {
    let (received, own) = (world.path("received"), world.path("rclone"));
    let mut server = world.net.out.command("rclone");
    server
        .env("RCLONE_CONFIG", own.join("none"))
        .env("RCLONE_CACHE_DIR", own)
        .args(["serve", kind])
        .arg(&received)
        .arg(format!("--addr={OUT}:{port}"))
        .args(more)
        .stderr(Stdio::null());
    world.serve_outside(&mut server, port);
    received
}

/// The same by WebDAV over TLS on port 443, with a certificate that nobody knows.
pub fn rclone_serves_tls(world: &mut World) {
    let (key, certificate) = (world.folder().join("key"), world.folder().join("cert"));
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj"])
        .arg("/CN=cloud.example.com")
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    run(&mut make);
    let (key, certificate) = (key.display().to_string(), certificate.display().to_string());
    rclone_serves(
        world,
        "webdav",
        443,
        &["--key", &key, "--cert", &certificate],
    );
}

/// A configuration of smbd for the one share `data`, open to guests; smbd asks for this host's name, which no name server
/// here knows, so that its script brings names of its own.
///
/// # Panics
/// If our own folder cannot be written.
#[must_use]
pub fn smbd(world: &World, share: &Path) -> String {
    let own = world.path("samba");
    let folders = ["lock", "state", "cache", "private", "pid", "ncalrpc", "log"];
    for folder in folders {
        fs::create_dir_all(own.join(folder)).expect("our own folder can be written");
    }
    let own = own.display();
    let config = format!(
        "[global]\nserver role = standalone server\nsmb ports = 445\ndisable netbios = yes\nload printers = no\n\
         disable spoolss = yes\nlock directory = {own}/lock\nstate directory = {own}/state\ncache directory = {own}/cache\n\
         private dir = {own}/private\npid directory = {own}/pid\nncalrpc dir = {own}/ncalrpc\nlog file = {own}/log/smbd\n\
         map to guest = Bad User\n[data]\npath = {}\nread only = no\nguest ok = yes\nforce user = root\n",
        share.display()
    );
    fs::write(format!("{own}/smb.conf"), config).expect("our own folder can be written");
    let names = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    fs::write(
        format!("{own}/hosts"),
        format!("127.0.0.1 localhost {names}"),
    )
    .expect("our own folder can be written");
    format!(
        "exec unshare --mount sh -ec 'mount --bind {own}/hosts /etc/hosts; exec smbd --foreground --no-process-group -s {own}/smb.conf -l {own}/log' >/dev/null"
    )
}
