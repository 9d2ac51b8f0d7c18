//! A virtual machine with another kernel, in which the agent that ships runs beside programs of a test's.
//!
//! QEMU in software emulation boots the kernel that `packaging/setup.sh test` fetched, in about ten seconds. All that a
//! script leaves in `/out` comes back. Nothing of the host is visible inside, and nothing inside outlives the test.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::agent::{metric_of, read_alerts};
use crate::process::{Running, run};
use crate::program;

/// What can be loaded, with what it needs: disks, other file systems, networks.
const MODULES: [&str; 11] = [
    "virtio_pci",
    "virtio_blk",
    "loop",
    "veth",
    "xfs",
    "btrfs",
    "overlay",
    "fuse",
    "virtio_scsi",
    "sd_mod",
    "sg",
];

/// Bytes of the removable disk.
const STICK: u64 = 256 << 20;

/// The other host's address, on the internet as far as the agent knows. In the guest, `out nc -l -p 80` runs a program
/// there.
pub const OUT: &str = "203.0.113.9";

/// The other host's IPv6 address.
pub const OUT6: &str = "2001:db8::9";

/// The configuration that `beside_agent` adds to: one store, a whole file system away from the root's memory.
const CONFIG: &str =
    "site: test\ninstance: guest\ninternal: [10.0.0.0/8]\nperiods: { quiet: 2s, resend: 1s }
metrics: { listen: 127.0.0.1:9977 }\nstate: /disk/state\nrules: /etc/jaga/rules\n
outputs:\n  - file: { path: /out/alerts.jsonl }
stores:\n  - { name: ekg, paths: [/disk/store], records: { per-file: 1 } }\n";

/// What a guest does first, and last.
const INIT: &str = include_str!("guest/init.sh");
/// The agent, a script beside it, and what the agent made of it.
const BESIDE: &str = include_str!("guest/beside.sh");

/// What a guest boots. Both have BPF trampolines, which machines for tests tend not to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Debian 12's: rung 2.
    V6_1,
    /// Debian 13's and RHEL 10's: rung 1, with functions beside its tracepoints.
    V6_12,
}

impl Kernel {
    /// How its version begins.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }
}

/// A guest that is being put together.
#[derive(Debug)]
pub struct Guest {
    folder: tempfile::TempDir,
    kernel: PathBuf,
}

/// What came back from a guest.
#[derive(Debug)]
pub struct Answer {
    folder: tempfile::TempDir,
}

impl Guest {
    /// A guest with a shell; or, where this machine cannot have one, none: the test `name` then did not run, which is said,
    /// and in CI is a failure.
    ///
    /// # Panics
    /// In CI, if the machine lacks something.
    #[must_use]
    pub fn new(name: &str, kernel: Kernel) -> Option<Self> {
        let guests = program::root().join("target/guest");
        let kernel = guests.join(kernel.version());
        if let Some(missing) = missing(&kernel) {
            eprintln!("NOT RUN: {name}: {missing}; run packaging/setup.sh test");
            assert!(
                std::env::var_os("CI").is_none(),
                "{name} cannot run here, and in CI it must: {missing}"
            );
            return None;
        }
        let folder = tempfile::Builder::new()
            .prefix("jaga-guest-")
            .tempdir_in("/var/tmp")
            .expect("/var/tmp is writable");
        let guest = Self { folder, kernel };
        guest.furnish();
        Some(guest)
    }

    fn furnish(&self) {
        let tree = self.tree();
        let places = [
            "bin", "dev", "disk", "etc", "mnt", "out", "proc", "root", "run", "sys", "tmp", "var",
        ];
        for place in places {
            fs::create_dir_all(tree.join(place)).expect("the guest's tree can be made");
        }
        symlink("bin", tree.join("sbin")).expect("the guest's tree can be made");
        self.put(&find("busybox").expect("looked for before"));
        self.put(&find("ip").expect("looked for before"));
        self.file("init", INIT.as_bytes(), 0o755);
        let out = "#!/bin/sh\nexec /bin/ip netns exec out \"$@\"\n";
        self.file("bin/out", out.as_bytes(), 0o755);
        self.modules();
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn modules(&self) {
        let versions = fs::read_dir(self.kernel.join("lib/modules")).expect("looked for before");
        let version = versions.flatten().next().expect("a kernel has a version");
        let list = fs::read_to_string(version.path().join("modules.dep"))
            .expect("set-up lists the modules");
        let place = Path::new("lib/modules").join(version.file_name());
        self.file(
            &place.join("modules.dep").to_string_lossy(),
            list.as_bytes(),
            0o644,
        );
        let wanted: BTreeSet<&str> = list
            .lines()
            .filter(|line| {
                MODULES
                    .iter()
                    .any(|name| line.contains(&format!("/{name}.ko:")))
            })
            .flat_map(|line| line.split([':', ' ']))
            .filter(|path| !path.is_empty())
            .collect();
        for path in wanted {
            let module = fs::read(version.path().join(path)).expect("a listed module is there");
            self.file(&place.join(path).to_string_lossy(), &module, 0o644);
        }
    }

    /// Adds a program, as `/bin/NAME`, with the libraries that it is linked to. A script calls it by that path if busybox has
    /// one of the same name: its shell prefers its own.
    ///
    /// # Panics
    /// If there is no such program.
    #[must_use]
    pub fn program(self, path: &Path) -> Self {
        self.put(path);
        self
    }

    fn put(&self, path: &Path) {
        let name = path.file_name().expect("a program has a name");
        let copy = self.tree().join("bin").join(name);
        fs::copy(path, &copy).unwrap_or_else(|error| panic!("cannot copy {path:?}: {error}"));
        // 80 MB of debug information are seconds of a slow guest's start. Without `strip` it only takes longer.
        let _ = Command::new("strip").arg("-g").arg(&copy).output();
        for library in libraries(path) {
            let place = library.strip_prefix("/").expect("ldd names absolute paths");
            let bytes = fs::read(&library).expect("ldd names what is there");
            self.file(&place.to_string_lossy(), &bytes, 0o755);
        }
    }

    /// Adds a file.
    fn file(&self, path: &str, bytes: &[u8], mode: u32) {
        let path = self.tree().join(path);
        let folder = path.parent().expect("the tree is above");
        fs::create_dir_all(folder).expect("the guest's tree can be made");
        fs::write(&path, bytes).expect("the guest's tree can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .expect("our own file can be made executable");
    }

    /// Boots, runs `script` with a shell, and powers off. In the guest `/disk` is an ext4 disk with the empty folder `store`, and
    /// eth0 leads to [`OUT`] and [`OUT6`]. `modprobe virtio_scsi; modprobe sd_mod` plugs in a removable disk of 256 MiB, `/dev/sda`.
    /// What the script prints and what it leaves in `/out` comes back.
    ///
    /// # Panics
    /// If the guest has not ended after `seconds`: it is ended then, and what its console said is in the message.
    #[must_use]
    pub fn run(&self, script: &str, seconds: u64) -> Answer {
        self.file("script", script.as_bytes(), 0o644);
        self.pack();
        let mut machine = Running::start(&mut self.machine());
        let ended = machine.ends_within(Duration::from_secs(seconds));
        let console = fs::read(self.at("console")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        assert!(
            ended.is_some(),
            "the guest did not end within {seconds} s:\n{console}"
        );
        let answer = Answer::unpack(&self.at("answer"));
        answer.unwrap_or_else(|| panic!("the guest told nothing:\n{console}"))
    }

    /// What [`Self::beside_agent`] runs before the agent starts, on a shell; what it leaves running goes on.
    #[must_use]
    pub fn before_agent(self, script: &str) -> Self {
        self.file("before", script.as_bytes(), 0o644);
        self
    }

    /// Runs the agent, its store `ekg` at `/disk/store`, with what else the configuration shall say, and beside it `script`,
    /// once the sensors see. The answer has the agent's `metrics`, `alerts.jsonl` and `log`, too.
    ///
    /// # Panics
    /// As [`Self::run`], or if the script fails.
    #[must_use]
    pub fn beside_agent(self, more: &str, script: &str, seconds: u64) -> Answer {
        let config = format!("{CONFIG}{more}\n");
        self.file("etc/jaga/jaga.yaml", config.as_bytes(), 0o644);
        self.file("etc/jaga/rules/none", b"", 0o644);
        self.file("beside", script.as_bytes(), 0o644);
        let answer = self.program(program::jaga()).run(BESIDE, seconds);
        assert_eq!(answer.status(), 0, "{}", answer.everything());
        answer
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes the archive that the kernel unpacks as its root, and the disk.
    fn pack(&self) {
        let pack = "find . | cpio --quiet -o -H newc -R 0:0 >../initrd";
        run(Command::new("sh")
            .args(["-c", pack])
            .current_dir(self.tree()));
        let stick = fs::File::create(self.at("stick")).expect("our own folder is writable");
        stick
            .set_len(STICK)
            .expect("a file with a hole can be made");
        let disk = self.at("disk");
        let store = self.at("disk-tree/store");
        fs::create_dir_all(store).expect("our own folder is writable");
        run(Command::new("mkfs.ext4")
            .env("PATH", places())
            .arg("-q")
            .arg("-d")
            .arg(self.at("disk-tree"))
            .arg(disk)
            .arg("2G"));
    }

    fn machine(&self) -> Command {
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-accel", "tcg,thread=multi", "-smp", "2"])
            // QEMU 7.2 leaves garbage in the flags after a cmpxchg16b now and then: Linux 6.12 uses it for each allocation.
            .args(["-cpu", "max,-cx16"])
            .args(["-m", "2048", "-nodefaults", "-display", "none"])
            .args(["-no-reboot", "-append", "console=ttyS0 loglevel=5 panic=-1"])
            .arg("-kernel")
            .arg(self.kernel.join("vmlinuz"))
            .arg("-initrd")
            .arg(self.at("initrd"));
        let disk = self.at("disk");
        command
            .arg("-drive")
            .arg(format!("file={},format=raw,if=virtio", disk.display()));
        let stick = self.at("stick");
        command
            .args([
                "-device",
                "virtio-scsi-pci",
                "-device",
                "scsi-hd,drive=stick,removable=on",
            ])
            .arg("-drive")
            .arg(format!(
                "file={},format=raw,if=none,id=stick",
                stick.display()
            ));
        for port in ["console", "answer"] {
            let file = self.at(port);
            command
                .arg("-serial")
                .arg(format!("file:{}", file.display()));
        }
        command.stdout(Stdio::null());
        command
    }
}

impl Answer {
    /// A guest answers with a tar archive; absent if it is cut.
    fn unpack(archive: &Path) -> Option<Self> {
        let folder = tempfile::tempdir().expect("there is a place for temporary files");
        let mut tar = Command::new("tar");
        let tar = tar.arg("-xf").arg(archive).arg("-C").arg(folder.path());
        let unpacked = tar.output().expect("tar runs");
        let answer = Self { folder };
        (unpacked.status.success() && answer.bytes("status").is_some()).then_some(answer)
    }

    /// How the script ended.
    ///
    /// # Panics
    /// Never: each answer has a status.
    #[must_use]
    pub fn status(&self) -> i32 {
        let status = self.text("status");
        status.trim().parse().expect("a status is a number")
    }

    /// What the script printed on standard output.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.text("stdout")
    }

    /// A file of `/out`; absent if there is none.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.path().join(name)).ok()
    }

    /// A file of `/out` as text; empty if there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        let bytes = self.bytes(name).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A metric's last value, where all of `labels` match.
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        metric_of(&self.text("metrics"), name, labels)
    }

    /// The alert file: one transition a line.
    #[must_use]
    pub fn alerts(&self) -> Vec<Value> {
        read_alerts(self.folder.path())
    }

    /// All that is text, for the message of a failing test.
    #[must_use]
    pub fn everything(&self) -> String {
        ["stdout", "stderr", "log", "alerts.jsonl", "metrics"]
            .map(|name| format!("── {name}:\n{}\n", self.text(name)))
            .concat()
    }
}

/// What this machine lacks for a guest.
fn missing(kernel: &Path) -> Option<String> {
    if std::env::consts::ARCH != "x86_64" {
        return Some("guests are for x86_64".into());
    }
    if !kernel.join("vmlinuz").exists() {
        return Some(format!("needs a kernel in '{}'", kernel.display()));
    }
    let tools = ["qemu-system-x86_64", "busybox", "ip", "cpio", "mkfs.ext4"];
    let missing = tools.into_iter().find(|tool| find(tool).is_none())?;
    Some(format!("needs {missing}"))
}

/// Where administrators' programs are, too.
fn places() -> String {
    std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin"
}

/// A program of this machine; absent if it is not installed.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let places = places();
    let mut paths = places
        .split(':')
        .map(|place| Path::new(place).join(program));
    paths.find(|path| path.exists())
}

/// The libraries that a program is linked to, and its loader; none if it is static.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(program).output();
    let listed = listed.map(|listed| listed.stdout).unwrap_or_default();
    let listed = String::from_utf8_lossy(&listed).into_owned();
    listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}
