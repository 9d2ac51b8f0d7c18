//! What contracts say that does not fit this day, this host, or each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use globset::GlobMatcher;
use jaga_rules::config::{Config, Contract, Server, Target};
use jaga_rules::units::Bytes;
use jaga_rules::yaml::nearest;
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A contract whose end is nearer than this is told, days.
const NEAR: i64 = 14;

/// Where systemd looks for units (systemd.unit(5)).
const UNITS: [&str; 7] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/transient",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Contracts whose last day is over.
#[must_use]
pub fn expired(file: &Path, config: &Config, today: Date) -> Vec<String> {
    let over = config
        .contracts
        .iter()
        .filter_map(|contract| Some((contract, contract.until.filter(|until| *until < today)?)));
    over.map(|(contract, until)| {
        format!(
            "contract {}: expired on {until} ({}): its transfer is no longer expected; let the owner renew `until:`, or \
             remove it, in {}",
            contract.name,
            contract.owner,
            file.display()
        )
    })
    .collect()
}

/// DICOM titles of contracts of which nothing was heard. `heard`: those that were, by an agent with this configuration.
#[must_use]
pub fn unheard(config: &Config, heard: &[String]) -> Vec<String> {
    let known: Vec<&str> = heard.iter().map(String::as_str).collect();
    let mut notes = Vec::new();
    for contract in &config.contracts {
        let titles = contract.to_ae.iter();
        for title in titles.filter(|title| !known.contains(&&***title)) {
            let name = &contract.name;
            let said = match nearest(title, &known) {
                Some(near) => format!("did you mean '{near}'?"),
                None if known.is_empty() => {
                    "no DICOM was heard yet: whether there is one cannot be told".to_owned()
                }
                None => format!("heard were {}", known.join(", ")),
            };
            notes.push(format!(
                "contract {name}: nothing called '{title}' was heard of; {said}"
            ));
        }
    }
    notes
}

/// What is right, and perhaps not meant. `held`: bytes of all stores.
#[must_use]
pub fn notes(config: &Config, today: Date, held: u64) -> Vec<String> {
    let contracts = &config.contracts;
    let units = units(UNITS.map(Path::new));
    let mut notes = Vec::new();
    for (place, contract) in contracts.iter().enumerate() {
        let name = &contract.name;
        if let Some(until) = contract.until.filter(|until| is_near(*until, today)) {
            let owner = &contract.owner;
            notes.push(format!(
                "contract {name}: ends on {until} ({owner}): ask whether it goes on"
            ));
        }
        if contract
            .to
            .iter()
            .any(|target| target.net.addr().is_loopback())
        {
            notes.push(format!(
                "contract {name}: what stays on this host (loopback) needs none, and does not count"
            ));
        }
        if contract
            .to
            .iter()
            .any(|target| target.net.prefix_len() == 0)
        {
            notes.push(format!(
                "contract {name}: is for every address there is: name the networks that it is for"
            ));
        }
        for other in &contracts[..place] {
            let together = hold_together(other, contract, today);
            if let Some(target) = overlap(other, contract).filter(|_| together) {
                notes.push(format!(
                    "contract {name}: what goes to {target} is under contract {} first, which stands before it: this one \
                     gets what that one has no room for",
                    other.name
                ));
            }
        }
        if let Some(at_most) = contract
            .at_most
            .iter()
            .find(|at_most| at_most.bytes > held && held > 0)
        {
            notes.push(format!(
                "contract {name}: {at_most} is more than all stores hold together ({}): it lets a copy of everything leave",
                Bytes(held)
            ));
        }
        notes.extend(unknown(
            &format!("contract {name}"),
            contract.who.unit.as_ref(),
            &units,
        ));
        let exe = contract.who.exe.as_ref().map(|exe| exe.glob().glob());
        let is_missing =
            |exe: &&str| !exe.contains(['*', '?', '[', '{']) && !Path::new(exe).exists();
        if let Some(exe) = exe.filter(is_missing) {
            notes.push(format!(
                "contract {name}: there is no program {exe} outside of containers"
            ));
        }
    }
    for reader in &config.readers {
        notes.extend(unknown("readers", reader.unit.as_ref(), &units));
    }
    for serves in &config.serves {
        if let Server::Unit(unit) = &serves.by {
            let what = format!("serves {}", serves.store);
            notes.extend(unknown(&what, Some(unit), &units));
        }
    }
    notes
}

fn is_near(until: Date, today: Date) -> bool {
    let near = today.checked_add(NEAR.days()).unwrap_or(Date::MAX);
    (today..=near).contains(&until)
}

/// Whether there is a quarter of an hour in the coming week in which both hold.
fn hold_together(first: &Contract, second: &Contract, today: Date) -> bool {
    let (Some(first), Some(second)) = (&first.when, &second.when) else {
        return true;
    };
    let Ok(start) = today.to_zoned(TimeZone::UTC).map(|start| start.timestamp()) else {
        return true;
    };
    (0..7 * 96).any(|quarter: i64| {
        let moment = start.checked_add((quarter * 15).minutes());
        moment.is_ok_and(|moment| first.day(moment).is_some() && second.day(moment).is_some())
    })
}

/// A target that both are for, where whoever has the one may have the other.
fn overlap(first: &Contract, second: &Contract) -> Option<Target> {
    let glob = |a: &Option<GlobMatcher>, b: &Option<GlobMatcher>| match (a, b) {
        (Some(a), Some(b)) => {
            let (one, other) = (a.glob().glob(), b.glob().glob());
            one == other || a.is_match(other) || b.is_match(one)
        }
        _ => true,
    };
    let (a, b) = (&first.who, &second.who);
    let same = |a: &Option<_>, b: &Option<_>| a.is_none() || b.is_none() || a == b;
    let both = glob(&a.unit, &b.unit)
        && glob(&a.container, &b.container)
        && glob(&a.exe, &b.exe)
        && same(&a.user, &b.user)
        && same(&a.login, &b.login)
        && same(&a.ae_title, &b.ae_title);
    let (one, other) = (&first.to_ae, &second.to_ae);
    let titles =
        one.is_empty() || other.is_empty() || one.iter().any(|title| other.contains(title));
    let mut shared = first
        .to
        .iter()
        .flat_map(|one| second.to.iter().filter_map(|other| one.shared(other)));
    shared.next().filter(|_| both && titles)
}

/// Names of unit files; empty where there is no systemd.
fn units<'p>(folders: impl IntoIterator<Item = &'p Path>) -> BTreeSet<String> {
    let folders = folders
        .into_iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    let files = folders.flatten().flatten();
    files
        .filter_map(|file| file.file_name().into_string().ok())
        .collect()
}

fn unknown(what: &str, unit: Option<&GlobMatcher>, units: &BTreeSet<String>) -> Option<String> {
    let unit = unit?;
    let written = unit.glob().glob();
    if written.contains('/') {
        return None; // below a container or a user's manager, whose units this host does not list
    }
    // An instance is made of its template: `postgresql@15-main.service` of `postgresql@.service`.
    let template = written.split_once('@').and_then(|(stem, instance)| {
        let (_, kind) = instance.rsplit_once('.')?;
        Some(format!("{stem}@.{kind}"))
    });
    let is_known = units.iter().any(|file| unit.is_match(file))
        || template.is_some_and(|template| units.contains(&template));
    (!units.is_empty() && !is_known)
        .then(|| format!("{what}: no unit of this host is called {written}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaga_rules::config;

    fn told(contracts: &str) -> Vec<String> {
        let config = config::parse("a.yaml", &format!("contracts:\n{contracts}")).unwrap();
        notes(&config, "2027-01-10".parse().unwrap(), 1_000_000)
            .into_iter()
            .filter(|note| !note.contains("no unit"))
            .collect()
    }

    #[test]
    fn an_end_that_is_near_is_told() {
        let until = |day| {
            told(&format!(
                "  - {{ name: a, who: {{ unit: a.service }}, to: 10.0.0.9, owner: it, until: {day} }}"
            ))
        };
        assert_eq!(
            until("2027-01-24"),
            ["contract a: ends on 2027-01-24 (it): ask whether it goes on"]
        );
        assert_eq!(until("2027-01-25"), [""; 0]);
        assert_eq!(until("2027-01-09"), [""; 0]);
    }

    #[test]
    fn contracts_for_the_same_bytes_are_told() {
        let two = |second: &str| {
            told(&format!(
                "  - {{ name: a, who: {{ unit: \"b*.service\", user: backup }}, to: 10.0.0.0/8, owner: it }}\n  - {second}"
            ))
        };
        let overlaps = |second| !two(second).is_empty();
        assert_eq!(
            two("{ name: b, who: { unit: backup.service }, to: 10.0.0.9:443, owner: it }"),
            [
                "contract b: what goes to 10.0.0.9:443 is under contract a first, which stands before it: this one gets \
                 what that one has no room for"
            ]
        );
        assert!(!overlaps(
            "{ name: b, who: { unit: c.service }, to: 10.0.0.9:443, owner: it }"
        ));
        assert!(!overlaps(
            "{ name: b, who: { unit: b.service, user: root }, to: 10.0.0.9, owner: it }"
        ));
        assert!(!overlaps(
            "{ name: b, who: { unit: b.service }, to: 192.168.0.1, owner: it }"
        ));
        assert!(overlaps(
            "{ name: b, who: { container: x }, to: 10.0.0.9, owner: it }"
        ));
    }

    #[test]
    fn a_title_that_was_not_heard_is_told() {
        let text = "contracts:\n  - { name: a, who: { unit: a.service }, to: 10.0.0.9, to-ae: [WARD3, WARD40], owner: it }";
        let config = config::parse("a.yaml", text).unwrap();
        let told = |heard: &[&str]| {
            let heard: Vec<String> = heard.iter().map(|title| (*title).to_owned()).collect();
            unheard(&config, &heard)
        };
        assert_eq!(
            told(&["WARD3", "WARD4"]),
            ["contract a: nothing called 'WARD40' was heard of; did you mean 'WARD4'?"]
        );
        assert_eq!(told(&["WARD3", "WARD40"]), [""; 0]);
        assert!(told(&[])[0].contains("no DICOM was heard yet"));
    }

    #[test]
    fn contracts_of_other_hours_do_not_overlap() {
        let two = |first: &str, second: &str| {
            let contract = |name, when| {
                format!(
                    "  - {{ name: {name}, who: {{ unit: a.service }}, to: 10.0.0.9, owner: it, when: \"{when}\" }}\n"
                )
            };
            told(&(contract("a", first) + &contract("b", second))).len()
        };
        assert_eq!(two("01:00-02:00 UTC", "05:00-06:00 UTC"), 0);
        assert_eq!(two("22:00-02:00 UTC", "06:00-08:30 Asia/Jakarta"), 1);
        assert_eq!(two("mon-fri 01:00-02:00 UTC", "sat,sun 01:00-02:00 UTC"), 0);
    }

    #[test]
    fn a_contract_for_the_whole_world_is_told() {
        let to = |to: &str| {
            let contract =
                format!("{{ name: a, who: {{ unit: a.service }}, to: {to}, owner: it }}");
            told(&format!("  - {contract}")).len()
        };
        assert_eq!(
            (to("0.0.0.0/0"), to("\"::/0\""), to("10.0.0.0/8")),
            (1, 1, 0)
        );
    }

    #[test]
    fn more_than_there_is_is_told() {
        let at_most = |amount: &str| {
            told(&format!(
                "  - {{ name: a, who: {{ unit: a.service }}, to: 10.0.0.9, owner: it, at-most: {amount} }}"
            ))
        };
        assert_eq!(at_most("1 MB per 1d"), [""; 0]);
        assert_eq!(
            at_most("[1 MB per 1d, 2 MB per 30d]"),
            [
                "contract a: 2 MB per 30d is more than all stores hold together (1 MB): it lets a copy of everything leave"
            ]
        );
    }

    #[test]
    fn a_unit_that_there_is_not_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["restic-backup.service", "postgresql@.service"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let units = units([folder.path()]);
        let is_unknown = |written: &str| {
            let unit = globset::Glob::new(written).unwrap().compile_matcher();
            unknown("x", Some(&unit), &units).is_some()
        };
        assert!(!is_unknown("restic-backup.service"));
        assert!(!is_unknown("restic-*.service"));
        assert!(!is_unknown("postgresql@15-main.service"));
        assert!(!is_unknown("postgresql@*.service"));
        assert!(is_unknown("restic.service"));
        assert!(is_unknown("mysql@.service"));
    }
}
