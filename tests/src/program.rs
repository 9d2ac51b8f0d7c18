//! Where the program under test is: the one that cargo built, never one from the system.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the repository")
        .to_path_buf()
}

/// The `jaga` binary: `JAGA_BIN`, else what `cargo build` makes of the sources as they are now.
///
/// # Panics
/// If it does not build.
pub fn jaga() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| std::env::var_os("JAGA_BIN").map_or_else(build, PathBuf::from))
}

/// Another program of the workspace, which cargo puts beside it.
#[must_use]
pub fn beside(name: &str) -> String {
    jaga().with_file_name(name).to_string_lossy().into_owned()
}

/// A stale binary beside fresh tests has cost more hours than the half second that this takes.
fn build() -> PathBuf {
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--workspace", "--bins"])
        .current_dir(root())
        .status()
        .expect("cargo runs");
    assert!(status.success(), "cargo build --workspace --bins failed");
    let folder = std::env::current_exe().expect("a test has a path");
    // target/debug/deps/live_x-0123 → target/debug/jaga
    folder
        .ancestors()
        .nth(2)
        .expect("a test lies in target/PROFILE/deps")
        .join("jaga")
}
