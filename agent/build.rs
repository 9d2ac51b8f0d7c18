//! Compiles the kernel side: each `bpf/*.bpf.c` to an object that is embedded in the program.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One object per subject and rung: one program that the kernel refuses fails its whole object.
const OBJECTS: [&str; 9] = [
    "files-tp",
    "files-fexit",
    "channels-tp",
    "channels-fexit",
    "sockets-tp",
    "sockets-fexit",
    "processes",
    "memory",
    "wire",
];

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    if variable("PROFILE") == "release" {
        tell_revision();
    }
    if env::var_os("CARGO_FEATURE_EBPF").is_none() {
        return;
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    let clang = find_clang();
    for object in OBJECTS {
        compile(&clang, object, &out);
    }
}

/// For `jaga_build_info`; absent where this is no clone. Not in daily work: each commit would build everything again.
fn tell_revision() {
    println!("cargo::rerun-if-changed=../.git/logs/HEAD");
    let git = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output();
    if let Ok(git) = git.map(|git| git.stdout)
        && let Ok(revision) = String::from_utf8(git)
        && !revision.trim().is_empty()
    {
        println!("cargo::rustc-env=JAGA_REVISION={}", revision.trim());
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo did not set {name}"))
}

/// Debian's `clang-14` installs no plain `clang`, so the versioned names are tried too.
fn find_clang() -> String {
    let named = env::var("CLANG").into_iter();
    let plain = std::iter::once("clang".to_owned());
    let versioned = (14..=19).rev().map(|version| format!("clang-{version}"));
    named
        .chain(plain)
        .chain(versioned)
        .find(|name| runs(name))
        .expect(
            "no clang found to compile bpf/*.bpf.c (tried $CLANG, clang, clang-19 to clang-14); \
             install it: apt-get install clang-14, or the newest clang-N your Debian or Ubuntu has",
        )
}

fn runs(clang: &str) -> bool {
    Command::new(clang)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

fn compile(clang: &str, object: &str, out: &Path) {
    let source = format!("bpf/{object}.bpf.c");
    let status = Command::new(clang)
        .args([
            "-g", "-O2", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror",
        ])
        .arg(format!("-D__TARGET_ARCH_{}", target_arch()))
        // libbpf-sys hands over the headers of the libbpf that it links.
        .arg(format!("-I{}", variable("DEP_BPF_INCLUDE")))
        .args(["-c", &source, "-o"])
        .arg(out.join(format!("{object}.bpf.o")))
        .status()
        .unwrap_or_else(|error| panic!("cannot run '{clang}': {error}"));
    assert!(status.success(), "'{clang}' cannot compile '{source}'");
}

/// The architecture as libbpf's headers call it.
fn target_arch() -> String {
    match variable("CARGO_CFG_TARGET_ARCH").as_str() {
        "x86_64" => "x86".to_owned(),
        "aarch64" => "arm64".to_owned(),
        other => other.to_owned(),
    }
}
