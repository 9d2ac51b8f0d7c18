//! Turns the text of `jaga.yaml` into the configuration that the program believes, with a default for everything.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use super::contract::{self, contract};
use super::glob::unit_glob;
use super::store::{self, store};
use super::target::network;
use super::who::reader;
use super::{
    Accept, AgentConfig, Choice, Config, Decoy, Interfaces, KERNEL_SERVERS, Namespaces,
    OutputConfig, Periods, Privacy, Sensors, Server, Serves,
};
use crate::event::{Name, SECOND};
use crate::problem::Problems;
use crate::units::Span;
use crate::yaml::{At, Fields, Kind, Reader};

/// What the file is called in messages.
pub const FILE: &str = "jaga.yaml";

/// Private and link-local networks: RFC 1918, RFC 3927, RFC 4193, RFC 4291.
const INTERNAL: [&str; 6] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

/// Reads a configuration. An empty text is one: everything has a default.
///
/// # Errors
/// All problems of the file at once.
pub fn parse(file: &str, text: &str) -> Result<Config, Problems> {
    let mut first = true;
    let configs = Reader::read(file, text, |at| {
        if !std::mem::take(&mut first) {
            return at.wrong("a configuration is one document", "remove the '---' above");
        }
        config(at)
    })?;
    Ok(configs.into_iter().next().unwrap_or_else(default))
}

/// What an empty file means.
fn default() -> Config {
    Config {
        site: "".into(),
        instance: "".into(),
        internal: INTERNAL.iter().filter_map(|net| net.parse().ok()).collect(),
        relays: Vec::new(),
        stores: Vec::new(),
        serves: Vec::new(),
        contracts: Vec::new(),
        readers: Vec::new(),
        decoys: Vec::new(),
        agent: default_agent(),
    }
}

fn default_agent() -> AgentConfig {
    AgentConfig {
        sensors: Sensors {
            files: Choice::Auto,
            sockets: Choice::Auto,
            processes: Choice::Auto,
            interfaces: Interfaces::Auto,
            namespaces: Namespaces::All,
        },
        metrics: Some(SocketAddr::from(([127, 0, 0, 1], 9977))),
        outputs: vec![OutputConfig::File {
            path: "/var/log/jaga/alerts.jsonl".into(),
        }],
        accept: Vec::new(),
        state: "/var/lib/jaga".into(),
        privacy: Privacy::Hashed,
        periods: Periods {
            drain: SECOND / 4,
            save: SECOND,
            resend: 60 * SECOND,
            quiet: None,
        },
        discover: true,
        rules: default_rules(),
        tape: None,
    }
}

/// Where the user's own rules are unless the configuration says otherwise.
#[must_use]
pub fn default_rules() -> PathBuf {
    "/etc/jaga/rules".into()
}

fn config(at: At<'_>) -> Option<Config> {
    let mut config = default();
    if at.node.kind == Kind::Empty {
        return Some(config);
    }
    let fields = at.fields("the configuration")?;
    set(&mut config.site, fields.optional("site", At::name));
    set(&mut config.instance, fields.optional("instance", At::name));
    set(
        &mut config.internal,
        fields.optional("internal", |at| at.list(network)),
    );
    set(
        &mut config.relays,
        fields.optional("relays", |at| at.list(At::parse)),
    );
    if let Some(at) = fields.field("stores") {
        config.agent.discover = is_word(at, "auto");
        if !config.agent.discover {
            config.stores = at.list(store)?;
            store::check(at, &config.stores);
        }
    }
    let stores: Vec<Name> = config
        .stores
        .iter()
        .map(|store| store.name.clone())
        .collect();
    let known = (!config.agent.discover).then_some(stores.as_slice());
    set(
        &mut config.serves,
        fields.optional("serves", |at| at.list(|at| serves(at, known))),
    );
    set(
        &mut config.contracts,
        fields.optional("contracts", |at| at.list(contract)),
    );
    contract::check(&fields, &config.contracts);
    set(
        &mut config.readers,
        fields.optional("readers", |at| at.list(reader)),
    );
    if let Some(at) = fields.field("decoys") {
        set(&mut config.decoys, at.list(decoy));
        decoys_once(at, &config.decoys);
    }
    agent(&fields, &mut config.agent);
    fields.end();
    Some(config)
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn is_word(at: At<'_>, word: &str) -> bool {
    matches!(&at.node.kind, Kind::Scalar(text) if text == word)
}

/// `stores` = the names that exist, where they are known.
fn serves(at: At<'_>, stores: Option<&[Name]>) -> Option<Serves> {
    let fields = at.fields("a 'serves' entry")?;
    let store = fields.required("store", |at| known_store(at, stores));
    let by = match (fields.field("unit"), fields.field("kernel")) {
        (Some(at), None) => unit_glob(at).map(Server::Unit),
        (None, Some(at)) => at.word("server", &KERNEL_SERVERS).map(Server::Kernel),
        (Some(at), Some(_)) => at.wrong("a 'serves' entry has one server", "write two entries"),
        (None, None) => fields.at.wrong(
            "a 'serves' entry needs 'unit' or 'kernel'",
            "add 'unit: NAME.service', or 'kernel: nfsd'",
        ),
    };
    fields.end();
    Some(Serves {
        store: store?,
        by: by?,
    })
}

/// Two of one name, or one file under two.
fn decoys_once(at: At<'_>, decoys: &[Decoy]) {
    let items = at.items();
    let readable = items.len() == decoys.len();
    for (place, (decoy, item)) in decoys.iter().zip(items).enumerate().filter(|_| readable) {
        let same = |other: &&Decoy| other.name == decoy.name || other.path == decoy.path;
        if let Some(other) = decoys[..place].iter().find(same) {
            let message = format!("'{}' has this name or this file already", other.name);
            item.wrong::<()>(message, "keep one of them");
        }
    }
}

fn decoy(at: At<'_>) -> Option<Decoy> {
    let fields = at.fields("a decoy")?;
    let name = fields.required("name", store::label);
    let path = fields.required("path", absolute);
    fields.end();
    Some(Decoy {
        name: name?,
        path: path?,
    })
}

/// The name of a store that exists.
fn known_store(at: At<'_>, stores: Option<&[Name]>) -> Option<Name> {
    let name = at.name()?;
    match stores {
        Some(stores) if !stores.contains(&name) => {
            let known: Vec<(&str, ())> = stores.iter().map(|store| (&**store, ())).collect();
            at.word("store", &known).map(|()| name)
        }
        Some(_) | None => Some(name),
    }
}

fn agent(fields: &Fields<'_>, agent: &mut AgentConfig) {
    if let Some(at) = fields.field("sensors") {
        sensors(at, &mut agent.sensors);
    }
    set(&mut agent.metrics, fields.optional("metrics", metrics));
    set(
        &mut agent.outputs,
        fields.optional("outputs", |at| at.list(output)),
    );
    set(
        &mut agent.accept,
        fields.optional("accept", |at| at.list(accept)),
    );
    set(&mut agent.state, fields.optional("state", absolute));
    set(&mut agent.privacy, fields.optional("privacy", privacy));
    set(&mut agent.rules, fields.optional("rules", absolute));
    agent.tape = fields.optional("tape", absolute);
    if let Some(at) = fields.field("periods") {
        periods(at, &mut agent.periods);
    }
}

const CHOICES: [(&str, Choice); 5] = [
    ("auto", Choice::Auto),
    ("off", Choice::Off),
    ("rung-2", Choice::From(2)),
    ("rung-3", Choice::From(3)),
    ("rung-4", Choice::From(4)),
];

/// Without processes nobody would be named.
const NEVER_OFF: [(&str, Choice); 4] = [CHOICES[0], CHOICES[2], CHOICES[3], CHOICES[4]];

fn sensors(at: At<'_>, sensors: &mut Sensors) -> Option<()> {
    let choice = |at: At<'_>| at.word("choice", &CHOICES);
    let fields = at.fields("'sensors'")?;
    set(&mut sensors.files, fields.optional("files", choice));
    set(&mut sensors.sockets, fields.optional("sockets", choice));
    set(
        &mut sensors.processes,
        fields.optional("processes", |at| at.word("choice", &NEVER_OFF)),
    );
    set(
        &mut sensors.interfaces,
        fields.optional("interfaces", interfaces),
    );
    let own = [("all", Namespaces::All), ("own", Namespaces::Own)];
    set(
        &mut sensors.namespaces,
        fields.optional("namespaces", |at| at.word("choice", &own)),
    );
    fields.end();
    Some(())
}

fn interfaces(at: At<'_>) -> Option<Interfaces> {
    if is_word(at, "auto") {
        return Some(Interfaces::Auto);
    }
    if is_word(at, "off") {
        return Some(Interfaces::Off);
    }
    at.list(At::name).map(Interfaces::Named)
}

fn metrics(at: At<'_>) -> Option<Option<SocketAddr>> {
    if is_word(at, "off") {
        return Some(None);
    }
    let fields = at.fields("'metrics'")?;
    let listen = fields.required("listen", |at| {
        let text = at.text()?;
        let address = text.parse::<SocketAddr>().ok();
        address.or_else(|| {
            at.wrong(
                format!("'{text}' is no address to listen on"),
                "write for instance '127.0.0.1:9977'",
            )
        })
    });
    fields.end();
    listen.map(Some)
}

/// An output: a new one is one arm here and one file in the agent.
fn output(at: At<'_>) -> Option<OutputConfig> {
    let (kind, at) = at.only_field("an output")?;
    match kind.text()? {
        "file" => {
            let fields = at.fields("a file output")?;
            let path = fields.required("path", absolute);
            fields.end();
            Some(OutputConfig::File { path: path? })
        }
        "alertmanager" => {
            let fields = at.fields("an alertmanager output")?;
            let url = fields.required("url", web_address);
            fields.end();
            Some(OutputConfig::Alertmanager { url: url? })
        }
        "syslog" => kind.wrong(
            "output 'syslog' is not built yet",
            "use 'file' and let the syslog service read it",
        ),
        _ => kind
            .word("output", &[("file", ()), ("alertmanager", ())])
            .and(None),
    }
}

fn web_address(at: At<'_>) -> Option<String> {
    let text = at.text()?;
    let host = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !text.contains(char::is_whitespace) => {
            Some(text.trim_end_matches('/').to_owned())
        }
        Some(_) | None => at.wrong(
            format!("'{text}' is no web address"),
            "write for instance 'http://127.0.0.1:9093'",
        ),
    }
}

fn accept(at: At<'_>) -> Option<Accept> {
    let fields = at.fields("an 'accept' entry")?;
    let blind = fields.required("blind", At::name);
    let owner = fields.required("owner", At::name);
    let until = fields.required("until", date);
    fields.end();
    Some(Accept {
        blind: blind?,
        owner: owner?,
        until: until?,
    })
}

fn privacy(at: At<'_>) -> Option<Privacy> {
    let fields = at.fields("'privacy'")?;
    let words = [
        ("hashed", Privacy::Hashed),
        ("store-relative", Privacy::StoreRelative),
        ("plain", Privacy::Plain),
    ];
    let paths = fields.required("paths", |at| at.word("way to show paths", &words));
    fields.end();
    paths
}

fn periods(at: At<'_>, periods: &mut Periods) -> Option<()> {
    let fields = at.fields("'periods'")?;
    set(&mut periods.drain, fields.optional("drain", period));
    set(&mut periods.save, fields.optional("save", period));
    set(&mut periods.resend, fields.optional("resend", period));
    periods.quiet = fields.optional("quiet", period);
    fields.end();
    Some(())
}

/// A length of time that is worth waiting for, nanoseconds.
fn period(at: At<'_>) -> Option<i64> {
    let Span(nanos) = at.parse()?;
    if (SECOND / 1_000..=86_400 * SECOND).contains(&nanos) {
        Some(nanos)
    } else {
        at.wrong(
            "a period is between 1ms and 24h",
            "write for instance '250ms' or '1m'",
        )
    }
}

/// A day, such as `2027-06-30`.
pub(super) fn date(at: At<'_>) -> Option<Date> {
    let text = at.text()?;
    let date = text.parse::<Date>().ok();
    date.or_else(|| {
        at.wrong(
            format!("'{text}' is no date"),
            "write year-month-day, for instance '2027-06-30'",
        )
    })
}

/// A path from the root, without `.` or `..` and without an end slash.
pub(super) fn absolute(at: At<'_>) -> Option<PathBuf> {
    let text = at.text()?;
    let path = Path::new(text);
    if !path.is_absolute() {
        return at.wrong(
            format!("'{text}' is not an absolute path"),
            "begin it with '/'",
        );
    }
    if text.contains('\0') || path.components().any(|part| part.as_os_str() == "..") {
        return at.wrong(
            format!("'{text}' is not a plain path"),
            "write it without '..'",
        );
    }
    Some(path.components().collect())
}
