//! Reads scenario lines; every mistake is told with its place and the next step.

use std::net::SocketAddr;

use super::words::{LONGEST, Mistake, Read, Words};
use super::{Act, Amount, Doer, From, Holder, Line, Scenario};
use crate::event::{GapKind, Name, Origin, SECOND};
use crate::units::{Count, Quantity, Rate, Share};
use crate::yaml::nearest;

/// Events that a scenario may make: 30 days of one rate are half of it.
const EVENT_LIMIT: u64 = 20_000_000;
/// Files that one line may read at one moment: its events are made together, 250 bytes each.
const FILES_AT_ONCE_LIMIT: u64 = 200_000;
/// Where services of a scenario listen unless it says `port`.
pub(super) const SERVED: u16 = 8_000;
/// One event of a rate covers so long, as sensors drain.
pub(super) const TICK: i64 = SECOND / 4;

/// Reads a scenario over some stores.
pub(super) fn scenario(text: &str, stores: &[Name]) -> Result<Scenario, Vec<Mistake>> {
    let mut lines = Vec::new();
    let mut mistakes = Vec::new();
    let mut start = 0;
    for whole in text.split_inclusive('\n') {
        let content = whole.split('#').next().unwrap_or(whole);
        if !content.trim().is_empty() {
            match Words::new(content, start, stores).line() {
                Ok(line) => lines.push(line),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        start += whole.len();
    }
    let events: u64 = lines.iter().map(events).fold(0, u64::saturating_add);
    if events > EVENT_LIMIT {
        mistakes.push(Mistake {
            span: 0..text.find('\n').unwrap_or(text.len()),
            message: format!("scenario makes about {events} events, more than {EVENT_LIMIT}"),
            help: "use lower rates, larger files, shorter times or fewer repeats".to_owned(),
        });
    }
    if mistakes.is_empty() {
        Ok(Scenario { lines })
    } else {
        Err(mistakes)
    }
}

/// About how many events a line makes.
fn events(line: &Line) -> u64 {
    let files = match &line.act {
        Act::Read {
            flow,
            file_size: Some(size),
            ..
        } => flow.bytes / size,
        _ => 0,
    };
    let once = match &line.act {
        Act::Blind { lasting, .. } => ticks(*lasting) / 20 + 1,
        act => act.flow().map_or(1, |flow| ticks(flow.lasting)),
    };
    once.saturating_add(files)
        .saturating_mul(u64::from(line.times))
}

fn ticks(lasting: i64) -> u64 {
    u64::try_from(lasting / TICK + 1).unwrap_or(0)
}

impl Words<'_> {
    fn line(mut self) -> Read<Line> {
        self.keyword("at")?;
        let at = self.span("when it happens")?;
        let act = self.act()?;
        let mut line = Line {
            at,
            times: 1,
            every: 0,
            jitter: 0,
            vary: 0,
            between: None,
            workdays: false,
            act,
        };
        if self.take("repeat") {
            self.repeat(&mut line)?;
        }
        let (times, every) = (line.times, line.every);
        if self.next < self.words.len() {
            return self.wrong(
                "words are left over",
                "remove them, or write them on a line of their own",
            );
        }
        let last = every.saturating_mul(i64::from(times)).saturating_add(at);
        if last > LONGEST || times == 0 {
            self.next = self.next.saturating_sub(1);
            return self.wrong(
                "it would never end",
                "stay within 400d, and repeat at least once",
            );
        }
        Ok(line)
    }

    /// `30 every 1d on workdays jitter 20m vary 30 %`.
    fn repeat(&mut self, line: &mut Line) -> Read<()> {
        line.times = u32::try_from(self.parse::<Count>("how often")?.0).unwrap_or(u32::MAX);
        self.keyword("every")?;
        line.every = self.span("from one to the next")?;
        if self.take("between") {
            line.between = Some(self.parse("hours of a day")?);
        }
        if self.take("on") {
            self.keyword("workdays")?;
            line.workdays = true;
        }
        if self.take("jitter") {
            line.jitter = self.span("how late it may begin")?;
            if line.jitter >= line.every {
                self.next -= 1;
                return self.wrong(
                    "one time could begin before the last one did",
                    "write less than the time from one to the next",
                );
            }
        }
        if self.take("vary") {
            let place = self.next;
            let text = self.amount("how much more or less")?;
            line.vary = self.at::<Share>(place, &text)?.per_cent();
        }
        Ok(())
    }

    fn act(&mut self) -> Read<Act> {
        const SUBJECTS: [&str; 15] = [
            "session",
            "unknown",
            "host",
            "store",
            "unit",
            "file",
            "gap",
            "sensor",
            "wire",
            "lookup",
            "icmp",
            "dicom",
            "medium",
            "interface",
            "fact",
        ];
        match self.one_of("a subject", &SUBJECTS)? {
            "session" => {
                let who = self.doer()?;
                self.deed(who)
            }
            "unknown" => self.send(From::Unknown),
            "host" => {
                let host = self.address("an address")?;
                self.send(From::Host(host))
            }
            "store" => self.store_act(),
            "unit" => {
                let unit = self.word("a unit")?.into();
                self.keyword("passes")?;
                self.pass(Holder::Unit(unit))
            }
            "file" => self.file_act(),
            "gap" => self.lost(),
            "wire" => self.wire(),
            "lookup" => {
                let domain = self.word("a domain")?.into();
                self.keyword("at")?;
                let server = self.socket()?;
                let (flow, _) = self.flow(None)?;
                Ok(Act::Lookup {
                    domain,
                    server,
                    flow,
                })
            }
            "icmp" => {
                let remote = self.address("where to")?;
                let (flow, _) = self.flow(None)?;
                Ok(Act::Icmp { remote, flow })
            }
            "dicom" => self.association(),
            "interface" => {
                let name = self.word("an interface's name")?.into();
                self.keyword("on")?;
                let bus = self.word("what it hangs on")?.into();
                Ok(Act::Interface { name, bus })
            }
            "medium" => {
                let name = self.word("a medium's name")?.into();
                self.keyword("at")?;
                let folder = self.path()?;
                Ok(Act::Medium { name, folder })
            }
            "sensor" => {
                let sensor = self.word("a sensor")?.into();
                let kind = self.sightless()?;
                self.keyword("for")?;
                Ok(Act::Blind {
                    sensor,
                    kind,
                    lasting: self.span("how long")?,
                })
            }
            _ => {
                self.keyword("relay")?;
                Ok(Act::Relay(self.socket()?))
            }
        }
    }

    /// `WARD3 at 10.1.2.3 calls ORTHANC moves ROGUE`, `ORTHANC calls ARCHIVE at 10.1.9.9:104`.
    fn association(&mut self) -> Read<Act> {
        let calling = self.word("a title")?.into();
        let from = match self.take("at") {
            true => Some(self.address("who opens it")?),
            false => None,
        };
        self.keyword("calls")?;
        let called = self.word("a title")?.into();
        let remote = match from {
            Some(address) => SocketAddr::new(address, 0),
            None => {
                self.keyword("at")?;
                self.socket()?
            }
        };
        let moves = match self.take("moves") {
            true => Some(self.word("a title")?.into()),
            false => None,
        };
        Ok(Act::Associate {
            calling,
            called,
            remote,
            moves,
        })
    }

    /// What a session does.
    fn deed(&mut self, who: Doer) -> Read<Act> {
        match self.one_of(
            "a verb",
            &[
                "reads", "writes", "sends", "serves", "passes", "opens", "peeks", "ends",
            ],
        )? {
            "reads" => self.read(who),
            "writes" => {
                let file = self.path()?;
                Ok(Act::Write {
                    who,
                    file,
                    flow: self.flow(None)?.0,
                })
            }
            "sends" => {
                self.next -= 1;
                self.send(From::Doer(who))
            }
            "serves" => {
                self.next -= 1;
                self.send(From::Doer(who))
            }
            "passes" => self.pass(Holder::Doer(who)),
            "opens" => {
                if self.one_of("what is opened", &["decoy", "device"])? == "device" {
                    let device = self.path()?.into();
                    return Ok(Act::OpenDevice { who, device });
                }
                let decoy = self.word("a decoy's name")?.into();
                Ok(Act::Touch { who, decoy })
            }
            "peeks" => {
                self.keyword("session")?;
                let of = self.doer()?;
                Ok(Act::Peek { who, of })
            }
            _ => Ok(Act::End(who)),
        }
    }

    fn read(&mut self, who: Doer) -> Read<Act> {
        let below = self.take("below");
        let of = if !below && self.take("file") {
            Holder::File(self.path()?)
        } else {
            Holder::Store(self.store()?)
        };
        let (flow, file_size) = self.flow((!below).then_some("files"))?;
        Ok(Act::Read {
            who,
            of,
            below,
            flow,
            file_size,
        })
    }

    fn send(&mut self, who: From) -> Read<Act> {
        let served = self.one_of("a verb", &["sends", "serves"])? == "serves";
        let to = if served {
            SocketAddr::new(self.address("the other side's address")?, 0)
        } else {
            self.socket()?
        };
        let (flow, _) = self.flow(None)?;
        let port = if served && self.take("port") {
            let Count(port) = self.parse("a port")?;
            u16::try_from(port).unwrap_or(u16::MAX)
        } else {
            SERVED
        };
        Ok(Act::Send {
            who,
            to,
            served: served.then_some(port),
            flow,
        })
    }

    fn pass(&mut self, from: Holder) -> Read<Act> {
        let to = match self.one_of("who takes it", &["session", "file", "unit"])? {
            "session" => Holder::Doer(self.doer()?),
            "file" => Holder::File(self.path()?),
            _ => Holder::Unit(self.word("a unit")?.into()),
        };
        Ok(Act::Pass {
            from,
            to,
            flow: self.flow(None)?.0,
        })
    }

    fn store_act(&mut self) -> Read<Act> {
        let store = self.store()?;
        if self.one_of("a verb", &["passes", "holds"])? == "passes" {
            return self.pass(Holder::Store(store));
        }
        let bytes = self.size("how much")?;
        self.keyword("in")?;
        let mut count = self.word("how many files")?.to_owned();
        while !self.take("files") {
            count = format!("{count} {}", self.word("'files'")?);
        }
        match count.parse() {
            Ok(Count(files)) => Ok(Act::Size {
                store,
                bytes,
                files,
            }),
            Err(error) => self.refuse(&error),
        }
    }

    fn file_act(&mut self) -> Read<Act> {
        let file = self.path()?;
        if self.one_of("a verb", &["passes", "gone"])? == "passes" {
            return self.pass(Holder::File(file));
        }
        Ok(Act::Gone(file))
    }

    /// `forwarded 203.0.113.9 20 MB/s for 60s`, `socket 203.0.113.9 meant 10.20.0.9 1 GB`.
    fn wire(&mut self) -> Read<Act> {
        let words = ["socket", "kernel", "forwarded", "tunnel", "elsewhere"];
        let origin = match self.one_of("whose packets", &words)? {
            "socket" => Origin::Socket,
            "kernel" => Origin::Kernel,
            "forwarded" => Origin::Forwarded,
            "tunnel" => Origin::Tunnel,
            _ => Origin::Elsewhere,
        };
        let remote = self.address("where to")?;
        let meant = match self.take("meant") {
            true => Some(self.address("where the socket is connected to")?),
            false => None,
        };
        Ok(Act::Wire {
            origin,
            remote,
            meant,
            flow: self.flow(None)?.0,
        })
    }

    fn lost(&mut self) -> Read<Act> {
        let sensor = self.word("a sensor")?.into();
        self.keyword("lost")?;
        let events = self.parse::<Count>("how many events")?.0;
        self.keyword("events")?;
        let bytes = if self.next < self.words.len() {
            self.size("how much")?
        } else {
            0
        };
        Ok(Act::Lost {
            sensor,
            events,
            bytes,
        })
    }

    /// `login:alice [run 2] [as /usr/bin/curl] [user www-data]`.
    fn doer(&mut self) -> Read<Doer> {
        let session = self.word("a session's name")?.to_owned();
        let named = |kind: &str| {
            session
                .strip_prefix(kind)
                .is_some_and(|name| !name.is_empty())
        };
        let fits = named("login:")
            || named("container:")
            || named("tree:/")
            || (named("unit:") && (session.ends_with(".service") || session.ends_with(".scope")));
        if !fits {
            self.next -= 1;
            return self.wrong(
                format!("'{session}' is no session's name"),
                "write login:USER, unit:NAME.service, container:NAME or tree:/PATH",
            );
        }
        let mut doer = Doer {
            session,
            run: 1,
            exe: None,
            user: None,
        };
        loop {
            if self.take("run") {
                doer.run = u32::try_from(self.parse::<Count>("which run")?.0).unwrap_or(u32::MAX);
            } else if self.take("as") {
                doer.exe = Some(self.path()?);
            } else if self.take("user") {
                doer.user = Some(self.word("a user")?.to_owned());
            } else {
                return Ok(doer);
            }
        }
    }

    /// `40 MB/s [in files of 1 MB] for 60s`, `10 files/s in files of 1 MB for 60s`, `900 KB [in files of 1 KB]`.
    fn flow(&mut self, files: Option<&str>) -> Read<(Amount, Option<u64>)> {
        let place = self.next;
        let text = self.amount("how much")?;
        let mut file_size = None;
        if files.is_some() && self.take("in") {
            self.keyword("files")?;
            self.keyword("of")?;
            let place = self.next;
            let size = self.size("a file's size")?;
            if size == 0 {
                self.next = place;
                return self.wrong("a file of nothing cannot be read", "write '1 B' or more");
            }
            file_size = Some(size);
        }
        let (quantity, per) = match text.contains('/') {
            true => {
                let rate: Rate = self.at(place, &text)?;
                (rate.amount, rate.per)
            }
            false => (self.at(place, &text)?, 0),
        };
        let lasting = if per > 0 {
            self.keyword("for")?;
            self.span("how long")?
        } else {
            0
        };
        let bytes = match (quantity, file_size) {
            (Quantity::Bytes(bytes), _) => bytes,
            (Quantity::Files(files), Some(size)) => files.saturating_mul(size),
            (Quantity::Files(_), None) => {
                self.next = place;
                return self.wrong("files of what size?", "write 'in files of 1 MB' after it");
            }
        };
        let total = if per > 0 {
            u128::from(bytes) * lasting.unsigned_abs() as u128 / per.unsigned_abs() as u128
        } else {
            bytes.into()
        };
        let at_once = file_size.map_or(0, |size| {
            total / u128::from(ticks(lasting)) / u128::from(size)
        });
        if at_once > u128::from(FILES_AT_ONCE_LIMIT) {
            self.next = place;
            return self.wrong(
                format!("that is {at_once} files at one moment, more than {FILES_AT_ONCE_LIMIT}"),
                "write larger files, or a lower rate for longer",
            );
        }
        match u64::try_from(total) {
            Ok(bytes) if bytes <= i64::MAX as u64 => Ok((Amount { bytes, lasting }, file_size)),
            Ok(_) | Err(_) => {
                self.next = place;
                self.wrong(
                    "that is more than a host can move",
                    "write a smaller amount",
                )
            }
        }
    }

    /// What a sensor does not see.
    fn sightless(&mut self) -> Read<GapKind> {
        let words = [
            ("blind", GapKind::Blind),
            ("lower-rung", GapKind::LowerRung),
            ("unseen", GapKind::Unseen),
        ];
        let word = self.word("'blind', 'lower-rung' or 'unseen'")?;
        let found = words.iter().find(|(name, _)| *name == word);
        if let Some((_, kind)) = found {
            return Ok(*kind);
        }
        self.next -= 1;
        self.wrong(
            format!("unknown kind of blindness '{word}'"),
            "use one of: blind, lower-rung, unseen",
        )
    }

    fn store(&mut self) -> Read<Name> {
        let word = self.word("a store")?;
        if let Some(store) = self.stores.iter().find(|store| ***store == *word) {
            return Ok(store.clone());
        }
        let known: Vec<&str> = self.stores.iter().map(|store| &**store).collect();
        let help = match nearest(word, &known) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("the test's configuration has: {}", known.join(", ")),
        };
        self.next -= 1;
        self.wrong(format!("unknown store '{word}'"), help)
    }
}
