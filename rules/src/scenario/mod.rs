//! The scenario language: a leak or a normal day in a few lines, run in virtual time.
//!
//! A line is `at TIME SUBJECT VERB …`, and may end with `repeat N every TIME [between HOURS] [on workdays] [jitter TIME]
//! [vary N %]`: those that fall out of the hours or days are left out, each begins up to `jitter` late, by chance, and moves
//! up to `vary` more or less. A scenario begins on a Monday at 08:00.
//!
//! ```text
//! at 0s  session login:alice reads ekg 40 MB/s in files of 1 MB for 60s
//! at 0s  session unit:nginx.service as /usr/sbin/nginx user www-data serves 10.1.2.3 5 MB/s for 1h
//! at 0s  session unit:elasticsearch.service serves 203.0.113.9 5 MB/s for 1h port 9200
//! at 0s  session login:alice reads below ekg 40 MB/s for 60s
//! at 60s session login:alice sends 203.0.113.9:443 900 KB repeat 1000 every 2s
//! at 14h session unit:restic.service reads ekg 20 GB in files of 20 MB repeat 22 every 1d on workdays jitter 20m vary 30 %
//! at 0s  session unit:orthanc.service serves 10.1.2.3 500 MB repeat 4320 every 10m between 07:00-19:00 on workdays
//! at 60s session login:alice writes /tmp/a.tar 20 MB/s for 10s
//! at 90s session login:bob reads file /tmp/a.tar 20 MB/s for 10s
//! at 90s session login:bob passes session login:carol 1 MB
//! at 90s store ekg passes file /tmp/copy 10 MB
//! at 92s session login:bob opens decoy old-export
//! at 92s session login:bob opens device /dev/sg1
//! at 93s session login:bob peeks session unit:postgresql@15-main.service
//! at 94s medium vfat-on-sdb1 at /media/usb
//! at 94s interface usb0 on usb
//! at 94s lookup t.example at 10.0.0.53:53 2 KB/s for 60s
//! at 94s dicom WARD3 at 10.1.2.3 calls ORTHANC moves ROGUE
//! at 94s dicom ORTHANC calls ARCHIVE at 10.1.9.9:104
//! at 94s icmp 203.0.113.9 2 KB/s for 60s
//! at 95s session login:bob ends
//! at 95s unknown sends 203.0.113.9:443 20 MB/s for 60s
//! at 95s host 10.0.0.8 sends 203.0.113.9:443 20 MB/s for 60s
//! at 99s file /tmp/a.tar gone
//! at 99s store ekg holds 199 GB in 1 400 000 files
//! at 99s fact relay 10.0.0.5:3128
//! at 99s gap sockets lost 300 events 20 MB
//! at 99s sensor files blind for 60s
//! at 99s wire forwarded 203.0.113.9 20 MB/s for 60s
//! at 99s wire socket 203.0.113.9 meant 10.20.0.9 20 MB/s for 60s
//! ```

use std::net::{IpAddr, SocketAddr};

use crate::config::{self, Config};
use crate::event::{GapKind, Name, Origin};
use crate::problem::{Problem, Problems};
use crate::units::Hours;
use crate::yaml::At;

mod block;
mod chance;
mod parse;
mod play;
mod run;
mod words;
mod world;

pub use block::Block;
pub use play::Player;
pub use run::{Failure, check, render, run, run_seeded};
use words::Mistake;

/// A test inside a rule file, checked: it can be run.
#[derive(Debug, Clone)]
pub struct RuleTest {
    /// The rule that it belongs to; transitions of others are not looked at.
    pub rule: Name,
    /// What it shows.
    pub name: Name,
    /// Configuration text.
    pub config: String,
    /// What happens.
    pub given: Scenario,
    /// The same as the user wrote it.
    pub given_text: String,
    /// What the engine must say, as the user wrote it.
    pub expect: Block,
}

/// The configuration that a test has unless it brings its own: the stores of DESIGN.md 7.
pub const CONFIG: &str = "\
instance: pacs1
stores:
  - { name: radiology,  paths: [/srv/pacs],           records: { per-file: 1 } }
  - { name: lab,        paths: [/srv/lis/results],    records: { bytes-each: 3900 } }
  - { name: ekg,        paths: [/srv/muse],           records: { per-file: 1 } }
  - { name: membership, paths: [/var/lib/postgresql], records: { bytes-each: 240 } }
serves:
  - { store: radiology,  unit: orthanc.service }
  - { store: membership, unit: \"postgresql@*.service\" }
relays: [10.0.0.5:3128]
readers: [{ unit: clamd.service, exe: /usr/sbin/clamd }]
decoys: [{ name: old-export, path: /srv/muse/old-export.csv }]
contracts:
  - name: nightly-backup
    who: { unit: restic-backup.service, exe: /usr/bin/restic, user: backup }
    to: 10.20.0.9:8000
    owner: it-ops@hospital.example
";

/// What happens, in file order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scenario {
    /// Its lines.
    pub lines: Vec<Line>,
}

impl Scenario {
    /// Reads a scenario over the stores of `config`; `file` names it in problems.
    ///
    /// # Errors
    /// Every line that cannot be read, with its place.
    pub fn read(file: &str, text: &str, config: &Config) -> Result<Self, Problems> {
        parse::scenario(text, &stores(config)).map_err(|mistakes| {
            let problem =
                |wrong: Mistake| Problem::at(file, text, &wrong.span, wrong.message, wrong.help);
            Problems(mistakes.into_iter().map(problem).collect())
        })
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Since the scenario's start, nanoseconds.
    pub at: i64,
    /// How often; at least 1.
    pub times: u32,
    /// From one time to the next, nanoseconds.
    pub every: i64,
    /// Each time begins up to this much later, by chance; shorter than `every`. Nanoseconds.
    pub jitter: i64,
    /// Each time moves up to this much more or less, by chance. Per cent, at most 100.
    pub vary: u8,
    /// Only in these hours of a day; absent = in all.
    pub between: Option<Hours>,
    /// Not on Saturday and Sunday.
    pub workdays: bool,
    /// What.
    pub act: Act,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Somebody reads a store, or a file outside the stores.
    Read {
        /// Who.
        who: Doer,
        /// Of what.
        of: Holder,
        /// Of the block device that the store lies on.
        below: bool,
        /// How much.
        flow: Amount,
        /// Bytes of each file; absent = all in one.
        file_size: Option<u64>,
    },
    /// Somebody writes a file outside the stores.
    Write {
        /// Who.
        who: Doer,
        /// Its path.
        file: String,
        /// How much.
        flow: Amount,
    },
    /// Somebody sends.
    Send {
        /// Who.
        who: From,
        /// To whom; port 0 where the other side opened the connection.
        to: SocketAddr,
        /// The port on which the other side opened the connection, if it did.
        served: Option<u16>,
        /// How much.
        flow: Amount,
    },
    /// Bytes go from one place of the host to another.
    Pass {
        /// From here.
        from: Holder,
        /// To here.
        to: Holder,
        /// How much.
        flow: Amount,
    },
    /// Somebody opens a decoy.
    Touch {
        /// Who.
        who: Doer,
        /// Its name.
        decoy: Name,
    },
    /// Somebody opens a device that data can leave by.
    OpenDevice {
        /// Who.
        who: Doer,
        /// Its node.
        device: Name,
    },
    /// Somebody gets at the memory of another.
    Peek {
        /// Who.
        who: Doer,
        /// Of whom.
        of: Doer,
    },
    /// Names of a domain are looked up, none of them twice.
    Lookup {
        /// The registrable domain.
        domain: Name,
        /// Who is asked.
        server: SocketAddr,
        /// Their text without the domain, 40 bytes each.
        flow: Amount,
    },
    /// ICMP messages leave that do not repeat themselves.
    Icmp {
        /// Where to.
        remote: IpAddr,
        /// Their payload.
        flow: Amount,
    },
    /// An association of DICOM is opened.
    Associate {
        /// Title of who opens it.
        calling: Name,
        /// Title that is called.
        called: Name,
        /// The other end; port 0 if it opens it.
        remote: SocketAddr,
        /// Asks to send objects to this title.
        moves: Option<Name>,
    },
    /// A medium is mounted: files below the folder lie on it from then on.
    Medium {
        /// What it is.
        name: Name,
        /// Where.
        folder: String,
    },
    /// A network interface is there.
    Interface {
        /// Its name.
        name: Name,
        /// What it hangs on.
        bus: Name,
    },
    /// All processes of a session end.
    End(Doer),
    /// A file is deleted.
    Gone(String),
    /// A store is so large.
    Size {
        /// Which.
        store: Name,
        /// Bytes.
        bytes: u64,
        /// Files.
        files: u64,
    },
    /// An address was spoken to as a relay.
    Relay(SocketAddr),
    /// Packets were queued to leave.
    Wire {
        /// Whose they are.
        origin: Origin,
        /// Where to.
        remote: IpAddr,
        /// Where their socket is connected to, if elsewhere.
        meant: Option<IpAddr>,
        /// How much payload.
        flow: Amount,
    },
    /// Events were lost.
    Lost {
        /// By which sensor.
        sensor: Name,
        /// Events.
        events: u64,
        /// Bytes.
        bytes: u64,
    },
    /// A sensor does not see; told every five seconds.
    Blind {
        /// Which.
        sensor: Name,
        /// Whether it sees nothing, or less.
        kind: GapKind,
        /// For how long, nanoseconds.
        lasting: i64,
    },
}

impl Act {
    /// How much it moves, if it moves anything.
    #[must_use]
    pub fn flow(&self) -> Option<&Amount> {
        match self {
            Self::Read { flow, .. }
            | Self::Write { flow, .. }
            | Self::Send { flow, .. }
            | Self::Pass { flow, .. }
            | Self::Wire { flow, .. }
            | Self::Lookup { flow, .. }
            | Self::Icmp { flow, .. } => Some(flow),
            Self::Touch { .. }
            | Self::OpenDevice { .. }
            | Self::Interface { .. }
            | Self::Peek { .. }
            | Self::Associate { .. }
            | Self::Medium { .. }
            | Self::End(_)
            | Self::Gone(_)
            | Self::Size { .. }
            | Self::Relay(_)
            | Self::Lost { .. }
            | Self::Blind { .. } => None,
        }
    }
}

/// So many bytes, evenly over so long (nanoseconds; 0 = at once).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// Bytes in all.
    pub bytes: u64,
    /// Nanoseconds.
    pub lasting: i64,
}

/// A process, by its session and what else the line says of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doer {
    /// Session name: `login:alice`, `unit:nginx.service`, `container:orthanc`, `tree:/opt/x`.
    pub session: String,
    /// Which run of that name; 1 unless the line says `run N`.
    pub run: u32,
    /// `as EXE`.
    pub exe: Option<String>,
    /// `user NAME`.
    pub user: Option<String>,
}

/// Who sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// A process.
    Doer(Doer),
    /// A host in a recording.
    Host(IpAddr),
    /// Nobody knows.
    Unknown,
}

/// Where data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// In a process.
    Doer(Doer),
    /// In a store.
    Store(Name),
    /// In a file outside the stores, by path.
    File(String),
    /// In a service that serves a store, by unit.
    Unit(Name),
}

/// Reads a test of a rule.
pub(crate) fn test(at: At<'_>, rule: &Name) -> Option<RuleTest> {
    let fields = at.fields("a test")?;
    let name = fields.required("name", At::name);
    let config = fields.optional("config", block::block);
    let given = fields.required("given", block::block);
    let expect = fields.required("expect", block::block);
    fields.end();
    let text = config.as_ref().map_or(CONFIG, |block| &block.text);
    let config = match config::parse(config::FILE, text) {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems.0 {
                let block = config.as_ref()?;
                block.wrong(
                    at,
                    block.offset(problem.line, problem.column),
                    problem.message,
                    problem.help,
                );
            }
            return None;
        }
    };
    let given_text = given?;
    let given = scenario(at, &given_text, &config);
    Some(RuleTest {
        rule: rule.clone(),
        name: name?,
        config: text.to_owned(),
        given: given?,
        given_text: given_text.text,
        expect: expect?,
    })
}

fn stores(config: &Config) -> Vec<Name> {
    let stores = config.stores.iter();
    stores.map(|store| store.name.clone()).collect()
}

fn scenario(at: At<'_>, given: &Block, config: &Config) -> Option<Scenario> {
    parse::scenario(&given.text, &stores(config))
        .map_err(|mistakes| {
            for mistake in mistakes {
                given.wrong(at, mistake.span, mistake.message, mistake.help);
            }
        })
        .ok()
}
