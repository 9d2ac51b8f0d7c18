//! What the configuration says that does not fit this host or this day: told by `check`, at start and at a reload.

use std::path::Path;

use jaga_rules::config::{self, Config};
use jaga_rules::event::Setup;
use jaga_rules::pack;
use jaga_rules::yaml::nearest;
use jiff::civil::Date;

use crate::blindness;

pub mod contract;

/// All of it. `file`: the configuration's path.
#[must_use]
pub fn all(file: &Path, config: &Config, today: Date) -> Vec<String> {
    [
        rules(file, config),
        stores(file, config),
        contract::expired(file, config, today),
        decoys(file, config),
        accepted(file, config, today),
    ]
    .concat()
}

/// A directory of rules that was named must be there.
#[must_use]
pub fn rules(file: &Path, config: &Config) -> Vec<String> {
    let rules = &config.agent.rules;
    if rules.is_dir() || *rules == config::default_rules() {
        return Vec::new();
    }
    vec![format!(
        "rules: '{}' is no directory: only the shipped rules are used; make it, or mend `rules:` in {}",
        rules.display(),
        file.display()
    )]
}

/// Shipped rules that are not in force: meant, as a rule, and to be seen.
#[must_use]
pub fn replaced(setup: &Setup) -> Vec<String> {
    let told = |(rule, file)| {
        format!(
            "rule {rule}: '{file}' takes the place of the shipped one, with its limits and its severity"
        )
    };
    pack::replaced(&setup.rules).into_iter().map(told).collect()
}

/// No store at all, or one that is not there.
#[must_use]
pub fn stores(file: &Path, config: &Config) -> Vec<String> {
    let file = file.display();
    if config.stores.is_empty() {
        return vec![format!(
            "no store is configured and none was found: nothing is protected; name one under `stores:` in {file}"
        )];
    }
    let paths = config
        .stores
        .iter()
        .flat_map(|store| store.paths.iter().map(move |path| (store, path)));
    paths
        .filter(|(_, path)| !path.exists())
        .map(|(store, path)| {
            format!(
                "store {}: '{}' is not there: mount it, or mend its `paths:` in {file}",
                store.name,
                path.display()
            )
        })
        .collect()
}

/// Decoys that are not there.
#[must_use]
pub fn decoys(file: &Path, config: &Config) -> Vec<String> {
    let is_file = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_file());
    let missing = config.decoys.iter().filter(|decoy| !is_file(&decoy.path));
    missing
        .map(|decoy| {
            format!(
                "decoy {}: {} is not there, or no file of its own: plant it (`jaga decoy plant`), or mend `decoys:` in {}",
                decoy.name,
                decoy.path.display(),
                file.display()
            )
        })
        .collect()
}

/// Accepted blindness whose last day is over, or that there is not.
#[must_use]
pub fn accepted(file: &Path, config: &Config, today: Date) -> Vec<String> {
    let (names, file) = (blindness::names(), file.display());
    let mut warnings = Vec::new();
    for accept in &config.agent.accept {
        let (blind, owner, until) = (&accept.blind, &accept.owner, accept.until);
        if !names.contains(&&**blind) {
            let near = nearest(blind, &names)
                .map_or_else(String::new, |near| format!("did you mean '{near}'? "));
            warnings.push(format!(
                "accept {blind}: nothing of that name can be accepted ({owner}): {near}one of {}; mend `blind:` in {file}",
                names.join(", ")
            ));
        } else if until < today {
            warnings.push(format!(
                "accept {blind}: expired on {until} ({owner}): nobody answers for it; let the owner renew `until:`, or \
                 remove it, in {file}"
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let text =
            format!("stores: [{{ name: s, paths: [/usr], records: {{ per-file: 1 }} }}]\n{text}");
        let config = config::parse("a.yaml", &text).unwrap();
        let today = "2027-01-10".parse().unwrap();
        let told = all(Path::new("a.yaml"), &config, today);
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.contains(expected), "{told}");
        }
    }

    fn contract(until: &str) -> String {
        format!(
            "contracts: [{{ name: n, who: {{ unit: a.service }}, to: 10.0.0.9, owner: o@x, until: {until} }}]"
        )
    }

    #[test]
    fn a_contract_holds_on_its_last_day() {
        check(&contract("2027-01-10"), &[]);
        check(
            &contract("2027-01-09"),
            &["contract n: expired on 2027-01-09 (o@x): "],
        );
    }

    #[test]
    fn what_is_accepted_has_a_name_and_a_last_day() {
        check(
            "accept: [{ blind: files, owner: o@x, until: 2027-01-10 }]",
            &[],
        );
        check(
            "accept: [{ blind: snapshots, owner: o@x, until: 2027-01-10 }]",
            &[],
        );
        check(
            "accept: [{ blind: files, owner: o@x, until: 2027-01-09 }]",
            &["accept files: expired on 2027-01-09 (o@x): "],
        );
        check(
            "accept: [{ blind: fils, owner: o@x, until: 2027-01-10 }]",
            &[
                "did you mean 'files'? one of files, channels, sockets, processes, memory, decoys, pcap, interfaces, ",
            ],
        );
    }

    #[test]
    fn what_is_not_there_is_told() {
        check("rules: /nowhere", &["rules: '/nowhere' is no directory"]);
        let config = config::parse("a.yaml", "stores: []").unwrap();
        assert!(stores(Path::new("a.yaml"), &config)[0].contains("nothing is protected"));
        let text = "stores: [{ name: ekg, paths: [/nowhere], records: { per-file: 1 } }]";
        let config = config::parse("a.yaml", text).unwrap();
        let expected =
            "store ekg: '/nowhere' is not there: mount it, or mend its `paths:` in a.yaml";
        assert_eq!(stores(Path::new("a.yaml"), &config), [expected]);
    }
}
