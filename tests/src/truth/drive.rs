//! Runs every way, each in a process of its own, and says what each truly moved.

use std::io::{self, BufRead, Read, Write};
use std::process::{Child, Command, Stdio};

use super::{Bench, Family, Way, place};

/// What came of a way: a line of [`drive`]'s output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// What of it is.
    pub family: Family,
    /// The way's name.
    pub name: String,
    /// The process that did it.
    pub pid: u32,
    /// The bytes that it moved; or why it could not.
    pub truth: Result<u64, String>,
}

impl Deed {
    fn line(&self) -> String {
        let (family, name, pid) = (self.family.word(), &self.name, self.pid);
        match &self.truth {
            Ok(bytes) => format!("{family}\t{name}\t{pid}\t{bytes}"),
            Err(why) => format!("{family}\t{name}\t{pid}\t-\t{why}"),
        }
    }

    /// Reads a line of the output; absent if it is none.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split('\t');
        let word = words.next()?;
        Some(Self {
            family: Family::ALL
                .into_iter()
                .find(|family| family.word() == word)?,
            name: words.next()?.to_owned(),
            pid: words.next()?.parse().ok()?,
            truth: match words.next()? {
                "-" => Err(words.next()?.to_owned()),
                bytes => Ok(bytes.parse().ok()?),
            },
        })
    }
}

/// Makes the stores, starts what must begin before the agent, says `ready`, waits for a line on standard input (the
/// agent runs now), and then does one way after the other, with a line for each.
///
/// # Errors
/// If not even the stores can be made.
pub fn drive(bench: &Bench) -> Result<(), String> {
    place::prepare(bench).map_err(|error| format!("cannot make the stores: {error}"))?;
    let mut early = Vec::new();
    for (family, way) in ways().filter(|(_, way)| way.early) {
        early.push((family, way, start_early(family, way, bench)));
    }
    println!("ready");
    io::stdin()
        .lock()
        .read_line(&mut String::new())
        .map_err(|error| error.to_string())?;
    for (family, way, child) in early {
        tell(family, way, child.and_then(go_on));
    }
    for (family, way) in ways().filter(|(_, way)| !way.early) {
        tell(family, way, start(family, way, bench));
    }
    Ok(())
}

fn ways() -> impl Iterator<Item = (Family, &'static Way)> {
    Family::ALL
        .into_iter()
        .flat_map(|family| family.ways().map(move |way| (family, way)))
}

fn start(family: Family, way: &Way, bench: &Bench) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args([family.word(), way.name])
        .arg(&bench.folder)
        .args([bench.peer.to_string(), bench.peer6.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

fn start_early(family: Family, way: &Way, bench: &Bench) -> io::Result<Child> {
    let mut child = start(family, way, bench)?;
    let mut ready = [0; 6];
    // If it fails it ends, and says why: that is read later.
    let _ = child.stdout.as_mut().expect("piped").read_exact(&mut ready);
    Ok(child)
}

fn go_on(mut child: Child) -> io::Result<Child> {
    let _ = child.stdin.take().expect("piped").write_all(b"\n");
    Ok(child)
}

fn tell(family: Family, way: &Way, child: io::Result<Child>) {
    let pid = child.as_ref().map_or(0, Child::id);
    let truth = child
        .and_then(Child::wait_with_output)
        .map_err(|error| error.to_string())
        .and_then(|output| {
            let text = |bytes: &[u8]| {
                String::from_utf8_lossy(bytes)
                    .trim()
                    .replace(['\t', '\n'], " ")
            };
            text(&output.stdout)
                .parse()
                .map_err(|_| text(&output.stderr))
        });
    let name = way.name.to_owned();
    println!(
        "{}",
        Deed {
            family,
            name,
            pid,
            truth
        }
        .line()
    );
}
