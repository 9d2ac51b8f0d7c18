//! The Debian package, built from the program under test and unpacked beside the system.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use jaga::output::runbook;
use jaga_rules::event::Setup;
use jaga_rules::pack;
use jaga_tests::program;

#[test]
fn package_unpacks_to_a_program_that_checks_its_own_configuration() {
    let place = tempfile::tempdir().unwrap();
    let built = run(Command::new(program::root().join("packaging/deb/build.sh"))
        .arg(program::jaga())
        .arg(place.path()));
    let package = String::from_utf8(built.stdout).unwrap().trim().to_string();

    let listing = run(Command::new("dpkg-deb").args(["-c", &package]));
    let listing = String::from_utf8(listing.stdout).unwrap();
    for (mode, path) in [
        ("-rwxr-xr-x root/root", "./usr/bin/jaga"),
        ("-rw-r--r-- root/root", "./lib/systemd/system/jaga.service"),
        ("-rw------- root/root", "./etc/jaga/jaga.yaml"),
        ("-rw-r--r-- root/root", "./usr/share/doc/jaga/README.md"),
    ] {
        assert!(
            listing
                .lines()
                .any(|line| line.starts_with(mode) && line.ends_with(path)),
            "{path} is not in the package as {mode}:\n{listing}"
        );
    }

    let tree = place.path().join("tree");
    run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&tree));
    run(Command::new("dpkg-deb")
        .arg("-e")
        .arg(&package)
        .arg(tree.join("DEBIAN")));
    let conffiles = fs::read_to_string(tree.join("DEBIAN/conffiles")).unwrap();
    assert_eq!(conffiles.trim(), "/etc/jaga/jaga.yaml");

    runbooks(&tree);

    // `check` ends with 1 where a sensor lacks a right; 2 would be a fault of ours.
    let checked = Command::new(tree.join("usr/bin/jaga"))
        .arg("check")
        .arg("--config")
        .arg(tree.join("etc/jaga/jaga.yaml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(
        matches!(checked.status.code(), Some(0 | 1)),
        "jaga check: {checked:?}"
    );
    assert!(
        said.contains("Not seen on this host"),
        "jaga check said:\n{said}\n{checked:?}"
    );
}

/// Every alert of a shipped rule says where its runbook is: there it must be.
fn runbooks(tree: &Path) {
    let shipped = jaga_rules::compile(&Setup {
        config: String::new(),
        rules: pack::with_own(Vec::new()),
    });
    let (_, rules) = shipped.unwrap();
    assert!(rules.len() > 5);
    for rule in rules {
        let url = runbook(&rule.name);
        let place = url.strip_prefix("file:///").unwrap();
        let text = fs::read_to_string(tree.join(place)).unwrap_or_default();
        assert!(
            text.starts_with(&format!("# {}\n", rule.name)) && text.contains("## What to do"),
            "{url} is not in the package"
        );
    }
}

#[test]
fn shipped_unit_runs_what_the_package_installs() {
    let unit = fs::read_to_string(program::root().join("packaging/systemd/jaga.service")).unwrap();
    let started = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .unwrap();
    assert_eq!(started.split(' ').next(), Some("/usr/bin/jaga"));
    for blinding in [
        "PrivateUsers=yes",
        "ProtectProc=invisible",
        "ProcSubset=pid",
        "PrivateNetwork=yes",
        "CAP_SYS_ADMIN",
    ] {
        assert!(
            !unit
                .lines()
                .any(|line| !line.starts_with('#') && line.contains(blinding)),
            "{blinding} in jaga.service: it blinds a sensor, or gives away more than is needed"
        );
    }
}

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
