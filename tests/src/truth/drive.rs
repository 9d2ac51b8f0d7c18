//! Runs every way, each in a process of its own, and says what each truly moved.

use std::fs;
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
    each(bench, |_| bench.clone(), |_| Ok(()))
}

/// The same for an agent that cannot tell who did what: each way has an address of its own at the peer
/// ([`Bench::apart`]); and after each way of reading the mark is read, and a line on standard input waited for.
///
/// # Errors
/// If not even the stores can be made.
pub fn drive_apart(bench: &Bench) -> Result<(), String> {
    let settle = |family| match family {
        Family::Reading => fs::read(bench.mark()).map(drop).and_then(|()| listen()),
        Family::Sending => Ok(()),
    };
    each(bench, |place| bench.apart(place), settle)
}

fn each(
    bench: &Bench,
    bench_of: impl Fn(usize) -> Bench,
    settle: impl Fn(Family) -> io::Result<()>,
) -> Result<(), String> {
    place::prepare(bench).map_err(|error| format!("cannot make the stores: {error}"))?;
    let ways: Vec<(Family, &Way, Bench)> = ways()
        .enumerate()
        .map(|(place, (family, way))| (family, way, bench_of(place)))
        .collect();
    let mut early = Vec::new();
    for (family, way, bench) in ways.iter().filter(|(_, way, _)| way.early) {
        early.push((*family, *way, start_early(*family, way, bench)));
    }
    println!("ready");
    listen().map_err(|error| error.to_string())?;
    let settled = |family| settle(family).map_err(|error| error.to_string());
    for (family, way, child) in early {
        tell(family, way, child.and_then(go_on));
        settled(family)?;
    }
    for (family, way, bench) in ways.iter().filter(|(_, way, _)| !way.early) {
        tell(*family, way, start(*family, way, bench));
        settled(*family)?;
    }
    Ok(())
}

/// Waits for a line on standard input.
fn listen() -> io::Result<()> {
    io::stdin().lock().read_line(&mut String::new()).map(drop)
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
