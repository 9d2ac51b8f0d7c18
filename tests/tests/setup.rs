//! Set-up, on a machine of stand-ins: what it must never do when something fails.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use jaga_tests::program::root;

/// The real programs that set-up needs before it can install anything.
const REAL: [&str; 10] = [
    "bash",
    "chmod",
    "cut",
    "grep",
    "id",
    "mktemp",
    "rm",
    "sed",
    "sha256sum",
    "uname",
];
/// Everything is installed but Rust, and there is no network.
const STAND_INS: [(&str, &str); 3] = [
    ("apt-cache", "exit 0"),
    ("curl", "exit 6"),
    ("dpkg-query", "echo -n installed"),
];

#[test]
fn without_a_temporary_directory_it_removes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (programs, tree) = (place.path().join("bin"), place.path().join("tree"));
    for directory in [&programs, &tree] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(tree.join("work"), "").unwrap();
    for name in REAL {
        symlink(format!("/usr/bin/{name}"), programs.join(name)).unwrap();
    }
    for (name, body) in STAND_INS {
        let program = programs.join(name);
        fs::write(&program, format!("#!/usr/bin/bash\n{body}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for temporary in ["/nowhere".into(), place.path().to_path_buf()] {
        let output = Command::new("/usr/bin/bash")
            .arg(root().join("packaging/setup.sh"))
            .arg("build")
            .current_dir(&tree)
            .env_clear()
            .env("PATH", &programs)
            .env("HOME", place.path())
            .env("TMPDIR", &temporary)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("could not install a Rust toolchain"),
            "{said}"
        );
        assert!(tree.join("work").exists(), "{said}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "{said}");
    }
}
