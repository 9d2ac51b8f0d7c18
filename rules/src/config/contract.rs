//! Reads the `contracts` of a configuration: expected transfers, and who may do them.

use std::collections::BTreeSet;

use globset::GlobMatcher;
use jiff::tz::TimeZone;

use super::at_most::at_most;
use super::file::date;
use super::glob::{name_glob, path_glob, unit_glob};
use super::store::label;
use super::when::when;
use super::{Contract, Who};
use crate::yaml::{At, Fields};

/// Programs that do whatever they are told: a contract for one of them is a contract for everybody who may start
/// it, unless it names the unit or container as well. Compared without a version at the end (`python3.11`).
const GENERAL: [&str; 45] = [
    "aria2c",
    "aws",
    "awk",
    "azcopy",
    "bash",
    "busybox",
    "curl",
    "dash",
    "dd",
    "deno",
    "dotnet",
    "fish",
    "ftp",
    "gawk",
    "gsutil",
    "java",
    "ksh",
    "lftp",
    "lua",
    "mc",
    "mosh",
    "nc",
    "ncat",
    "netcat",
    "node",
    "nodejs",
    "openssl",
    "perl",
    "php",
    "pwsh",
    "python",
    "rclone",
    "rsync",
    "ruby",
    "s3cmd",
    "scp",
    "sftp",
    "sftp-server",
    "sh",
    "smbclient",
    "socat",
    "ssh",
    "sshd",
    "tar",
    "wget",
];

/// Contracts of a host; each is compared with what is sent.
const CONTRACT_LIMIT: usize = 256;

pub(super) fn contract(at: At<'_>) -> Option<Contract> {
    let fields = at.fields("a contract")?;
    let name = fields.required("name", label);
    let who = fields.required("who", who);
    let to = fields.required("to", |at| at.list(At::parse));
    let when = fields.optional("when", when);
    let at_most = fields.optional("at-most", |at| at_most(at, when.as_ref()));
    let owner = fields.required("owner", At::name);
    let until = fields.optional("until", date);
    if let Some(at) = fields.field("to").filter(|at| at.items().is_empty()) {
        at.wrong::<()>(
            "a contract needs somebody to send to",
            "give an address, a network, or several",
        );
    }
    fields.end();
    let zone = when.as_ref().map(|when| when.zone().clone());
    let (at_most, zone) = at_most.unwrap_or((Vec::new(), zone.unwrap_or(TimeZone::UTC)));
    Some(Contract {
        name: name?,
        who: who?,
        to: to?,
        when,
        at_most,
        zone,
        owner: owner?,
        until,
    })
}

fn who(at: At<'_>) -> Option<Who> {
    let fields = at.fields("'who'")?;
    let who = Who {
        unit: fields.optional("unit", unit_glob),
        container: fields.optional("container", name_glob),
        exe: fields.optional("exe", path_glob),
        user: fields.optional("user", At::name),
        login: fields.optional("login", At::name),
    };
    let placed = fields.field("unit").is_some() || fields.field("container").is_some();
    let exe = fields.field("exe");
    fields.not_built("ae-title", "name the unit or the container instead");
    fields.end();
    if placed {
        return Some(who);
    }
    let Some(exe) = exe else {
        return at.wrong(
            "anybody could use this contract",
            "name a 'unit' or a 'container', or the 'exe'",
        );
    };
    match &who.exe {
        Some(glob) if general(glob) => exe.wrong(
            format!("'{}' does whatever it is told", glob.glob()),
            "name the 'unit' or the 'container' as well",
        ),
        Some(_) => Some(who),
        None => None,
    }
}

/// Whether the program is an interpreter or a general tool, or the pattern leaves open which program it is.
fn general(exe: &GlobMatcher) -> bool {
    let pattern = exe.glob().glob();
    let name = pattern.rsplit('/').next().unwrap_or(pattern);
    let plain = name.trim_end_matches(|end: char| end.is_ascii_digit() || ".-*?".contains(end));
    name.contains(['*', '?', '[', '{']) && plain.len() < 4
        || pattern.contains("**")
        || GENERAL.contains(&plain)
        || GENERAL
            .iter()
            .any(|tool| exe.is_match(format!("/usr/bin/{tool}")))
}

/// What is wrong with contracts only together: two of one name, too many.
pub(super) fn check(fields: &Fields<'_>, contracts: &[Contract]) {
    let Some(at) = fields.field("contracts") else {
        return;
    };
    if contracts.len() > CONTRACT_LIMIT {
        at.wrong::<()>(
            format!("more than {CONTRACT_LIMIT} contracts"),
            "give one contract several targets",
        );
    }
    let mut names = BTreeSet::new();
    let items = at.items();
    for (contract, item) in contracts
        .iter()
        .zip(&items)
        .filter(|_| items.len() == contracts.len())
    {
        if !names.insert(&contract.name) {
            let message = format!("a second contract '{}'", contract.name);
            item.wrong::<()>(message, "give it a name of its own");
        }
    }
}
