//! What leaves by the wire: the kernel's own senders, and what nobody claims.

use super::*;
use crate::event::{Egress, Origin};

fn with_serves(serves: &str) -> Engine {
    let mut setup = setup();
    setup.config += &format!("serves: [{serves}]\n");
    Engine::new(7, &setup).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A thread of the kernel, as the agent names it.
fn thread(pid: u32, name: &str) -> Event {
    Event::Known(crate::event::Process {
        actor: actor(pid),
        parent: None,
        exe: name.into(),
        identity: Identity::default(),
    })
}

fn from_port(pid: u32, port: u16, bytes: u64) -> Event {
    let Event::Sent(mut sent) = sent(pid, "203.0.113.9:0", bytes) else {
        unreachable!("a send")
    };
    sent.flow.local.set_port(port);
    sent.flow.opener = Opener::Remote;
    Event::Sent(sent)
}

fn egress(origin: Origin, bytes: u64) -> Event {
    Event::Fact(Fact::Egress(Egress {
        interface: Some("eth0".into()),
        remote: "203.0.113.9".parse().ok(),
        meant: None,
        origin,
        protocol: Protocol::Tcp,
        bytes,
        again: 0,
        frame_bytes: bytes,
        frames: 1,
    }))
}

#[test]
fn a_file_server_in_the_kernel_sends_what_its_store_holds() {
    let nfsd = "{ store: ekg, kernel: nfsd }";
    let ksmbd = "{ store: ekg, kernel: ksmbd }";
    for (serves, name, port, fires) in [
        (nfsd, "[nfsd]", 2049, true),
        (nfsd, "[kworker/u8:1-x]", 2049, true),
        (nfsd, "[kworker/u8:1-x]", 445, false),
        (nfsd, "/usr/bin/nfsd", 2049, false),
        (ksmbd, "[kworker/u8:1-ksmbd-io]", 445, true),
    ] {
        let mut engine = with_serves(serves);
        let events = [(0, thread(40, name)), (SECOND, from_port(40, port, 1500))];
        let leaves = run(&mut engine, &events)
            .iter()
            .any(|told| &*told.rule == "leaves");
        assert_eq!(leaves, fires, "{serves} {name} {port}");
    }
}

#[test]
fn what_the_kernel_sent_and_nobody_claims_is_anybodys() {
    let mut engine = engine();
    let events = [
        (0, known(5)),
        (0, read(5, 1, 10_000)),
        (SECOND, egress(Origin::Kernel, 1500)),
        (20 * SECOND, Event::Wake),
    ];
    let out = run(&mut engine, &events);
    assert_eq!(shown(&out), ["11 Firing leaves ekg unknown 1500/1000 1x"]);
}

#[test]
fn what_is_passed_on_exposes_nothing_and_what_a_thread_claims_is_its_own() {
    let mut engine = engine();
    let events = [
        (0, known(5)),
        (0, thread(40, "[nfsd]")),
        (0, read(5, 1, 10_000)),
        (SECOND, egress(Origin::Forwarded, 1500)),
        (SECOND, egress(Origin::Kernel, 1500)),
        (2 * SECOND, from_port(40, 2049, 1500)),
        (1000 * SECOND, Event::Wake),
    ];
    assert_eq!(shown(&run(&mut engine, &events)), Vec::<String>::new());
}
