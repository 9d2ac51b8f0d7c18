//! The commands as a new user meets them: what they say, where they say it, and the status they end with.

use std::fs;
use std::io::pipe;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jaga_tests::agent::SENSORS;
use jaga_tests::process::Running;
use jaga_tests::program;
use jaga_tests::wait::until;
use nix::sys::signal::Signal;

/// A folder with a configuration that needs nothing of this machine.
struct Place {
    folder: tempfile::TempDir,
}

/// What a command said, and its status.
struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Place {
    /// `more`: further lines of the configuration.
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let default = |key: &str, text: String| {
            if more.contains(key) {
                String::new()
            } else {
                text
            }
        };
        fs::create_dir_all(folder.path().join("store")).unwrap();
        fs::write(folder.path().join("store/a"), "0123456789").unwrap();
        let config = [
            default(
                "stores:",
                format!(
                    "stores: [{{ name: ekg, paths: [{at}/store], records: {{ per-file: 1 }} }}]\n"
                ),
            ),
            default(
                "sensors:",
                "sensors: { files: off, sockets: off, interfaces: off }\n".into(),
            ),
            default("metrics:", "metrics: off\n".into()),
            default("outputs:", "outputs: []\n".into()),
            default("state:", format!("state: {at}/state\n")),
            more.to_owned(),
        ];
        fs::write(folder.path().join("jaga.yaml"), config.concat()).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the command with this place's configuration.
    fn jaga(&self, words: &[&str]) -> Said {
        let (command, rest) = words.split_first().unwrap();
        let config = self.path("jaga.yaml");
        said(
            Command::new(program::jaga())
                .arg(command)
                .arg("--config")
                .arg(config)
                .args(rest),
        )
    }
}

fn said(command: &mut Command) -> Said {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Said {
        status: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Said {
    #[track_caller]
    fn has(&self, words: &[&str]) -> &Self {
        for words in words {
            assert!(
                self.out.contains(words) || self.err.contains(words),
                "'{words}' was not said, but:\n{}\n{}",
                self.out,
                self.err
            );
        }
        self
    }

    #[track_caller]
    fn ended(&self, status: i32) -> &Self {
        assert_eq!(self.status, Some(status), "{}\n{}", self.out, self.err);
        self
    }
}

#[test]
fn check_lists_every_sensor() {
    let all: Vec<&str> = SENSORS.into_iter().chain(["interfaces"]).collect();
    let off = Place::new("").jaga(&["check"]);
    off.ended(0);
    for sensor in &all {
        off.has(&[&format!("\n  {sensor}: off: by configuration\n")]);
    }
    let on = Place::new("sensors: { files: auto }\n").jaga(&["check"]);
    for sensor in &all {
        on.has(&[&format!("\n  {sensor}: ")]);
    }
    assert!(!on.out.contains("off: by configuration\n  "), "{}", on.out);
    let one =
        Place::new("sensors: { files: auto, sockets: off, interfaces: [lo] }\n").jaga(&["check"]);
    one.has(&[
        "\n  sockets: off: by configuration\n",
        "\n  interfaces: rung 1, counters of 1 interface in ",
    ]);
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let place = Place::new("");
    for command in ["check", "test", "explain"] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = Command::new(program::jaga())
            .arg(command)
            .arg("--config")
            .arg(place.path("jaga.yaml"))
            .stdout(writer)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, "", "{command}");
        assert_eq!(output.status.signal(), Some(libc::SIGPIPE), "{command}");
    }
}

#[test]
fn a_configuration_that_was_named_must_be_there() {
    for command in ["check", "test", "explain"] {
        let missing =
            said(Command::new(program::jaga()).args([command, "-c", "/nowhere/jaga.yaml"]));
        missing.ended(2).has(&[
            "cannot read '/nowhere/jaga.yaml': No such file",
            "; check the path",
        ]);
        assert_eq!(missing.out, "");
    }
}

#[test]
fn a_missing_configuration_at_the_default_place_is_told() {
    if Path::new("/etc/jaga/jaga.yaml").exists() {
        eprintln!("not run: this machine has a configuration at the default place");
        return;
    }
    said(Command::new(program::jaga()).arg("check"))
        .has(&["No configuration at /etc/jaga/jaga.yaml: shipped defaults are used."]);
}

#[test]
fn check_tries_what_run_will_need_and_leaves_nothing() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let place = Place::new(&format!(
        "state: /proc/jaga\nmetrics: {{ listen: 127.0.0.1:{port} }}\noutputs: [{{ file: {{ path: /proc/jaga/alerts.jsonl }} }}]\n"
    ));
    // Whoever holds the port says nothing: that is not a jaga.
    let answering = std::thread::spawn(move || held.accept().map(drop));
    place.jaga(&["check"]).ended(1).has(&[
        "\n  /proc/jaga: cannot write to '/proc': ",
        "\n  the file /proc/jaga/alerts.jsonl: cannot write to '/proc': ",
        &format!("cannot listen on '127.0.0.1:{port}': address in use; `ss -ltnp"),
    ]);
    answering.join().unwrap().unwrap();

    let place = Place::new("");
    let alerts = place.path("log/alerts.jsonl");
    let output = format!("outputs: [{{ file: {{ path: {} }} }}]\n", alerts.display());
    let config = place.path("jaga.yaml");
    let text = fs::read_to_string(&config)
        .unwrap()
        .replace("outputs: []\n", &output);
    fs::write(&config, text).unwrap();
    place.jaga(&["check"]).ended(0).has(&[
        "/state: not there yet, can be made",
        "alerts.jsonl: not there yet, can be made",
    ]);
    assert!(!alerts.parent().unwrap().exists() && !place.path("state").exists());
}

#[test]
fn what_is_missing_expired_or_unknown_is_told_by_check() {
    let place = Place::new(
        "stores: [{ name: ekg, paths: [/nowhere], records: { per-file: 1 } }]
contracts: [{ name: backup, who: { unit: a.service }, to: 10.0.0.9, owner: it@x, until: 2020-02-03 }]
accept:
  - { blind: files, owner: it@x, until: 2020-02-04 }
  - { blind: snapshots, owner: it@x, until: 2100-01-01 }
  - { blind: fils, owner: it@x, until: 2100-01-01 }
",
    );
    let file = place.path("jaga.yaml");
    place.jaga(&["check"]).ended(1).has(&[
        &format!("store ekg: '/nowhere' is not there: mount it, or mend its `paths:` in {}", file.display()),
        "contract backup: expired on 2020-02-03 (it@x)",
        "accept files: expired on 2020-02-04 (it@x)",
        "accept fils: nothing of that name can be accepted (it@x): did you mean 'files'? one of files, channels, sockets, ",
        "photographs of screens; accepted by it@x until 2100-01-01\n",
    ]);
}

#[test]
fn run_warns_at_start_and_at_a_reload() {
    let place = Place::new(
        "stores: [{ name: ekg, paths: [/nowhere], records: { per-file: 1 } }]
contracts: [{ name: backup, who: { unit: a.service }, to: 10.0.0.9, owner: it@x, until: 2020-02-03 }]
outputs: [{ file: { path: /proc/jaga/alerts.jsonl } }]
",
    );
    let (config, log) = (place.path("jaga.yaml"), place.path("log"));
    let mut agent = Running::start(
        Command::new(program::jaga())
            .args(["run", "--config"])
            .arg(&config)
            .env("NO_COLOR", "1")
            .stderr(fs::File::create(&log).unwrap()),
    );
    let told = |what: &str, words: &str| {
        until(what, 20, || {
            fs::read_to_string(&log).ok()?.contains(words).then_some(())
        });
    };
    told(
        "the missing store",
        "WARN store ekg: '/nowhere' is not there: mount it, or mend its `paths:`",
    );
    told(
        "the contract",
        "WARN contract backup: expired on 2020-02-03 (it@x)",
    );
    told(
        "the alert file",
        "ERROR no alert can be written: cannot write '/proc/jaga/alerts.jsonl': ",
    );
    told(
        "the sensor",
        "INFO sensor interfaces: off: by configuration",
    );

    // Another directory of rules: taken up, and followed from then on.
    let rules = place.path("other-rules");
    fs::create_dir(&rules).unwrap();
    let text = fs::read_to_string(&config)
        .unwrap()
        .replace("/nowhere", "/nowhere-else");
    fs::write(&config, format!("{text}rules: {}\n", rules.display())).unwrap();
    told(
        "the other store",
        "WARN store ekg: '/nowhere-else' is not there",
    );
    fs::write(rules.join("own.yaml"), "rule: a\n").unwrap();
    told("the other rules' problem", "own.yaml:1:1");
    agent.signal(Signal::SIGTERM);
    agent.wait(20);
}

#[test]
fn a_file_without_tests_is_not_a_success() {
    let place = Place::new("");
    let rule = place.path("a.yaml");
    fs::write(
        &rule,
        "rule: a\ntitle: a\nseverity: info\nby: [session]\nlimits: [{ sent-bytes: 1 KB in 1m }]\n",
    )
    .unwrap();
    let empty = place.path("store");
    for path in [rule, empty] {
        place
            .jaga(&["test", &path.to_string_lossy()])
            .ended(1)
            .has(&["nothing was tested", "write them under `tests:`"]);
    }
}

#[test]
fn alerts_of_prometheus_are_explained() {
    let place = Place::new("");
    place.jaga(&["explain", "JagaAgentDown"]).ended(0).has(&[
        "# JagaAgentDown\n",
        "/usr/share/jaga/prometheus/jaga.rules.yml",
        "Severity critical",
        "It fires when `up{job=\"jaga\"} == 0` for 1m",
        "## What to do\n\nSee `systemctl status jaga`",
    ]);
    // One name, told by the agent and by Prometheus.
    place
        .jaga(&["explain", "JagaSensorBlind"])
        .ended(0)
        .has(&["# sensor-blind\n", "`jaga_sensor_up == 0`"]);
    place
        .jaga(&["explain", "JagaAgentDwn"])
        .ended(2)
        .has(&["did you mean 'JagaAgentDown'?"]);
    place
        .jaga(&["explain"])
        .ended(0)
        .has(&["\nJagaContractExpires "]);
}

/// A capture of `packets` Ethernet frames of UDP, from 10.0.0.5 to outside, as libpcap writes it.
fn capture(packets: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 5], [203, 0, 113, 9], 64)
        .udp(40000, 9)
        .write(&mut frame, &[0; 100])
        .unwrap();
    let long = u32::try_from(frame.len()).unwrap();
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect::<Vec<u8>>()
    };
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 1]);
    for second in 0..packets {
        file.extend(words(&[1_700_000_000 + second, 0, long, long]));
        file.extend(&frame);
    }
    file
}

#[test]
fn a_capture_that_cannot_be_read_is_one_line_and_no_alert() {
    let place = Place::new("");
    let file = place.path("a.pcap");
    let name = file.display().to_string();
    for (content, why) in [
        (Vec::new(), "cannot be read as a capture"),
        (
            b"no capture at all, only text".to_vec(),
            "cannot be read as a capture",
        ),
        (capture(0), "holds no packet"),
        (capture(1)[..60].to_vec(), "packet 1: "),
    ] {
        fs::write(&file, content).unwrap();
        let told = place.jaga(&["replay", "--pcap", &name]);
        told.ended(2).has(&[&format!("jaga: '{name}': {why}")]);
        assert_eq!(
            (told.out.as_str(), told.err.lines().count()),
            ("", 1),
            "{}",
            told.err
        );
    }
    let missing = place.jaga(&["replay", "--pcap", "/nowhere.pcap"]);
    missing.ended(2).has(&["No such file"]);
    assert_eq!(missing.err.lines().count(), 1, "{}", missing.err);
}

#[test]
fn a_capture_that_breaks_keeps_what_came_before() {
    let place = Place::new("");
    let (whole, cut, bad) = (
        place.path("a.pcap"),
        place.path("b.pcap"),
        place.path("c.pcap"),
    );
    fs::write(&whole, capture(3)).unwrap();
    fs::write(&cut, &capture(3)[..450]).unwrap();
    fs::write(&bad, "").unwrap();
    let replay = |files: &[&PathBuf]| {
        let names: Vec<String> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        let words: Vec<&str> = ["replay", "--pcap"]
            .into_iter()
            .chain(names.iter().map(String::as_str))
            .collect();
        place.jaga(&words)
    };
    replay(&[&whole])
        .ended(0)
        .has(&["jaga: 3 packets over 2 s"]);
    let broken = replay(&[&cut]);
    broken.ended(1).has(&[
        "jaga: 2 packets over 1 s",
        "packet 3: ",
        "what came before it was replayed",
        "data-lost: ",
    ]);
    // A bad file before a good one is a gap in the good one's time.
    let both = replay(&[&bad, &whole]);
    both.ended(1)
        .has(&["2023-11-14T22:13:20.000Z  firing    warning   data-lost: "]);
    assert!(!both.out.contains("1970"), "{}", both.out);
}

#[test]
fn a_restart_is_told_and_wakes_nobody_and_a_crash_does() {
    let place = Place::new("periods: { save: 50ms }\n");
    let log = place.path("log");
    let start = || {
        Running::start(
            Command::new(program::jaga())
                .args(["run", "--config"])
                .arg(place.path("jaga.yaml"))
                .env("NO_COLOR", "1")
                .stderr(fs::File::create(&log).unwrap()),
        )
    };
    let told = |words: &str| {
        until(words, 20, || {
            fs::read_to_string(&log).ok()?.contains(words).then_some(())
        });
    };
    let end = |mut agent: Running, signal| {
        agent.signal(signal);
        agent.wait(20);
    };
    let first = start();
    told("INFO watching");
    end(first, Signal::SIGTERM);
    let second = start();
    told("INFO the agent was restarted: it was not running for ");
    told("INFO watching");
    end(second, Signal::SIGTERM);
    let said = fs::read_to_string(&log).unwrap();
    assert!(!said.contains("data-lost"), "{said}");
    let third = start();
    told("INFO watching");
    end(third, Signal::SIGKILL);
    let fourth = start();
    told("data-lost");
    end(fourth, Signal::SIGTERM);
}
