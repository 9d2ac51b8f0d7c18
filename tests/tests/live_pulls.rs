//! Leaks that leave by a connection which the other side opens: pulled over ssh, or served to whoever asks.

use std::net::TcpStream;

use jaga_tests::leak::Leak;
use jaga_tests::net::{HOST_OUTSIDE, OUT};
use jaga_tests::process::{Running, Unit};
use jaga_tests::wait::until;
use jaga_tests::world::{MB, World};

/// A leak of store `ekg` to the host on the internet, by somebody who came in from there.
const PULLED: Leak<'static> = Leak {
    rule: "store-data-leaves",
    store: "ekg",
    session: "login:jagat-alice",
    destination: OUT,
    scopes: &["external"],
};

/// Pulls store `ekg` with `program` and the arguments that `words` makes of the store's and a local folder's path.
fn pulled(name: &str, program: &str, words: impl Fn(&str, &str) -> Vec<String>) {
    let Some(world) = World::new(name) else {
        return;
    };
    let store = world.store("ekg", 150, MB);
    let copy = world.path("copy");
    let mut agent = world.agent(&[("ekg", &store)], "");
    let before = world.net.out.received();
    let mut client = world.logins.client(&world.net.out, program);
    client.args(words(
        &store.display().to_string(),
        &copy.display().to_string(),
    ));
    Running::start(client.stdout(std::process::Stdio::null())).done(60);
    PULLED.told(&mut agent, world.net.out.received() - before);
}

#[test]
fn pulled_by_scp() {
    pulled("pulled_by_scp", "scp", |store, copy| {
        vec![
            "-q".into(),
            "-r".into(),
            format!("jagat-alice@{HOST_OUTSIDE}:{store}"),
            copy.into(),
        ]
    });
}

#[test]
fn pulled_by_sftp() {
    pulled("pulled_by_sftp", "sftp", |store, copy| {
        vec![
            "-q".into(),
            "-r".into(),
            format!("jagat-alice@{HOST_OUTSIDE}:{store}/"),
            copy.into(),
        ]
    });
}

#[test]
fn pulled_by_ssh_and_tar() {
    pulled("pulled_by_ssh_and_tar", "ssh", |store, _| {
        vec![
            format!("jagat-alice@{HOST_OUTSIDE}"),
            format!("tar cf - {store}"),
        ]
    });
}

#[test]
fn served_by_python() {
    let Some(world) = World::new("served_by_python") else {
        return;
    };
    let store = world.store("ekg", 3, 100 * MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let unit = Unit::new("jagat-serve.service");
    let _server = Running::start(&mut unit.shell(&format!(
        "exec /usr/bin/python3 -m http.server 8000 --directory {} >/dev/null 2>&1",
        store.display()
    )));
    until("python to listen", 10, || {
        TcpStream::connect("127.0.0.1:8000").ok()
    });
    let before = world.net.out.received();
    let url = format!("http://{HOST_OUTSIDE}:8000/000[0-2].dcm");
    Running::start(
        world
            .net
            .out
            .command("curl")
            .args(["-sf", "-o", "/dev/null", &url]),
    )
    .done(60);
    let session = unit.session();
    let leak = Leak {
        rule: "served-in-bulk",
        session: &session,
        ..PULLED
    };
    leak.told(&mut agent, world.net.out.received() - before);
}
