//! A contract for what was seen: proposed, for a person to read; never accepted by itself.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use jiff::civil::Date;

use crate::config::{self, FILE, quoted};
use crate::output::Evidence;
use crate::trail::read_actor;
use crate::units::{Bytes, DAY};
use crate::yaml::{Kind, Node, documents};

/// Who sent how much to whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proposal {
    /// What of `who` is known: field and value.
    pub who: Vec<(&'static str, String)>,
    /// Targets, as a contract writes them.
    pub to: Vec<String>,
    /// Bytes a day.
    pub day_bytes: u64,
}

/// More than was seen, so that an ordinary day fits: an eighth.
const ROOM: u64 = 8;

impl Proposal {
    /// For what an alert shows: its first session, all its destinations.
    ///
    /// # Errors
    /// Nobody known sent it, or it did not go to an address: in words, with the next step.
    pub fn of(evidence: &Evidence) -> Result<Self, String> {
        let shown = evidence.sessions.first().map_or("", String::as_str);
        if evidence.sessions.len() > 1 && evidence.destinations.len() > 1 {
            return Err(
                "several sessions sent to several places, and an alert does not say who sent where: allow each from an alert \
                 of its own session"
                    .to_owned(),
            );
        }
        let [session, exe, user] = read_actor(shown);
        let mut who = vec![match session.split_once(':') {
            Some(("unit", name)) => ("unit", name),
            Some(("container", name)) => ("container", name),
            Some(("login", name)) => ("login", name),
            // Who sent, not the shell or the scheduler at the top of its tree.
            Some(("tree", top)) if exe.is_empty() => ("exe", top),
            Some(("tree", _)) => ("exe", exe),
            _ => {
                return Err(
                    "nobody knows who sent it, and a contract is for somebody; see what `jaga check` says is not seen"
                        .to_owned(),
                );
            }
        }];
        if !exe.is_empty() && !exe.starts_with('[') && who[0].0 != "exe" {
            who.push(("exe", exe));
        }
        if !user.is_empty() {
            who.push(("user", user));
        }
        // A contract reads these as patterns: a program called `/tmp/*` would be every one there. And whoever puts brackets
        // into a name wants it to be read as another.
        let signs = ['*', '?', '[', ']', '{', '}', '\\'];
        if shown.contains(signs) || shown.matches(" (").count() > 1 {
            return Err(format!(
                "'{shown}' has signs that a contract would read as something else: write the contract by hand, and ask who \
                 chose such a name"
            ));
        }
        let to: Vec<String> = evidence
            .destinations
            .iter()
            .filter_map(|to| target(to))
            .collect();
        if to.is_empty() {
            return Err(
                "it did not go to another host, and a contract is for what does; whose work it is to read whole stores is \
                 listed under `readers:`"
                    .to_owned(),
            );
        }
        let lasted = evidence.last.since(evidence.first).max(0);
        let days = u64::try_from(lasted / DAY + 1).unwrap_or(1);
        Ok(Self {
            who: who
                .into_iter()
                .map(|(field, value)| (field, value.to_owned()))
                .collect(),
            to,
            day_bytes: (evidence.bytes / days).max(1),
        })
    }

    /// As an item of `contracts:`.
    #[must_use]
    pub fn render(&self, name: &str, owner: &str, until: Option<Date>) -> String {
        let who = self.who.iter();
        let who: Vec<String> = who
            .map(|(field, value)| format!("{field}: {}", plain(value)))
            .collect();
        let most = Bytes(round_up(
            self.day_bytes.saturating_add(self.day_bytes / ROOM),
        ));
        let mut text = format!(
            "{{ name: {name}, who: {{ {} }}, to: [{}], at-most: {most} per 1d, owner: {}",
            who.join(", "),
            self.to.join(", "),
            plain(owner)
        );
        if let Some(until) = until {
            // Writing to a String cannot fail.
            let _ = write!(text, ", until: {until}");
        }
        text + " }"
    }
}

/// Of `203.0.113.9:443 (name)` what a contract writes.
fn target(shown: &str) -> Option<String> {
    let address = shown.split(" (").next()?;
    let is_address = address.parse::<SocketAddr>().is_ok() || address.parse::<IpAddr>().is_ok();
    // An IPv6 address has colons, which a list of YAML would not stand.
    is_address.then(|| match address.matches(':').count() > 1 {
        true => format!("\"{address}\""),
        false => address.to_owned(),
    })
}

/// As it is, where YAML reads it so.
fn plain(text: &str) -> String {
    let tame = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-@+".contains(&byte);
    let words = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let is_word = words.contains(&text.to_ascii_lowercase().as_str());
    let starts =
        !is_word && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    if starts && text.bytes().all(tame) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// To two digits, in whole MB from there on.
fn round_up(bytes: u64) -> u64 {
    const MB: u64 = 1_000_000;
    let mut unit = MB;
    while bytes / unit >= 100 {
        unit = unit.saturating_mul(10);
    }
    bytes.div_ceil(unit).saturating_mul(unit)
}

/// The configuration `text` with one more contract, at the end of its list.
///
/// # Errors
/// It cannot be put in, or is no contract there: in words, with the next step.
pub fn with_contract(text: &str, contract: &str) -> Result<String, String> {
    let before = config::parse(FILE, text).map_err(|problems| problems.to_string())?;
    let new = insert(text, contract)
        .ok_or("its place in this file is not clear: add the lines by hand")?;
    let after = config::parse(FILE, &new).map_err(|problems| problems.to_string())?;
    if after.contracts.len() != before.contracts.len() + 1 {
        return Err("its place in this file is not clear: add the lines by hand".to_owned());
    }
    Ok(new)
}

fn insert(text: &str, contract: &str) -> Option<String> {
    let (nodes, _) = documents(FILE, text);
    let entries: &[(Node, Node)] = match nodes.first().map(|node| &node.kind) {
        Some(Kind::Map(entries)) => entries,
        Some(Kind::Empty) | None => &[],
        Some(_) => return None,
    };
    let found = entries
        .iter()
        .find(|(key, _)| key.kind == Kind::Scalar("contracts".to_owned()));
    let Some((key, list)) = found else {
        let ends = text.trim_end().len();
        // Behind all comments, but for a document that says where it ends.
        let at = match entries.last() {
            Some((_, value)) if text[..ends].ends_with("...") => end_of_line(text, value.span.end),
            Some(_) | None => text.len(),
        };
        let (head, tail) = text.split_at(at);
        let line = if head.is_empty() || head.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        return Some(format!(
            "{head}{line}contracts:\n  - {contract}\n{}",
            tail.trim_start_matches('\n')
        ));
    };
    let Kind::List(items) = &list.kind else {
        return None;
    };
    let Some(last) = items.last() else {
        let colon = key.span.end + text[key.span.end..].find(':')? + 1;
        let behind = text[colon..].trim_start_matches(' ').strip_prefix("[]")?;
        return Some(format!("{}\n  - {contract}{behind}", &text[..colon]));
    };
    if text[list.span.start..].starts_with('[') {
        let close = list.span.start + closing(&text[list.span.start..])?;
        let (head, tail) = text.split_at(close);
        return Some(format!("{head}, {contract}{tail}"));
    }
    let line = text[..last.span.start].rfind('\n').map_or(0, |at| at + 1);
    let indent: String = text[line..].chars().take_while(|at| *at == ' ').collect();
    text[line + indent.len()..].starts_with('-').then_some(())?;
    let (head, tail) = text.split_at(end_of_line(text, last.span.end));
    Some(format!("{head}\n{indent}- {contract}{tail}"))
}

/// Where the list that begins here ends; brackets inside of quotes would mislead it, which reading the result shows.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' if depth == 1 => return Some(at),
            b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

/// The end of the line on which something ends.
fn end_of_line(text: &str, end: usize) -> usize {
    let end = text[..end].trim_end().len();
    text[end..].find('\n').map_or(text.len(), |at| end + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{SECOND, Stamp};

    fn evidence(session: &str, to: &[&str]) -> Evidence {
        Evidence {
            sessions: vec![session.to_owned()],
            destinations: to.iter().map(|to| (*to).to_owned()).collect(),
            bytes: 123_456_789,
            last: Stamp(60 * SECOND),
            ..Evidence::default()
        }
    }

    #[track_caller]
    fn check(session: &str, to: &[&str], expected: &str) {
        let shown = match Proposal::of(&evidence(session, to)) {
            Ok(proposal) => proposal.render("x", "it@h.example", None),
            Err(why) => why.split(',').next().unwrap_or_default().to_owned(),
        };
        assert_eq!(shown, expected);
        if shown.starts_with('{') {
            let config = with_contract("", &shown).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(config::parse(FILE, &config).unwrap().contracts.len(), 1);
        }
    }

    #[test]
    fn what_was_seen_becomes_a_contract() {
        check(
            "unit:restic.service (/usr/bin/restic, backup)",
            &["10.20.0.9:8000 (backup.example)", "vfat on sdb1"],
            "{ name: x, who: { unit: restic.service, exe: /usr/bin/restic, user: backup }, to: [10.20.0.9:8000], \
             at-most: 140 MB per 1d, owner: it@h.example }",
        );
        check(
            "tree:/opt/a b/sync (/opt/a b/sync, 1001)",
            &["[2001:db8::1]:443", "2001:db8::2"],
            "{ name: x, who: { exe: \"/opt/a b/sync\", user: \"1001\" }, to: [\"[2001:db8::1]:443\", \"2001:db8::2\"], \
             at-most: 140 MB per 1d, owner: it@h.example }",
        );
        check(
            "tree:/usr/sbin/cron (/opt/sync, root)",
            &["203.0.113.9:443"],
            "{ name: x, who: { exe: /opt/sync, user: root }, to: [203.0.113.9:443], at-most: 140 MB per 1d, owner: it@h.example }",
        );
        check(
            "unit:a.service (/tmp/*, a)",
            &["203.0.113.9:443"],
            "'unit:a.service (/tmp/*",
        );
        check("unknown", &["203.0.113.9:443"], "nobody knows who sent it");
        check(
            "login:a (/x/y, a)",
            &["vfat on sdb1"],
            "it did not go to another host",
        );
    }

    #[test]
    fn it_is_put_at_the_end_of_the_list() {
        let contract = "{ name: new, who: { unit: a.service }, to: 10.0.0.1, owner: it }";
        let old = "{ name: old, who: { unit: b.service }, to: 10.0.0.2, owner: it }";
        for (text, expected) in [
            ("site: a", format!("site: a\ncontracts:\n  - {contract}\n")),
            ("# c\n", format!("# c\ncontracts:\n  - {contract}\n")),
            (
                &format!("contracts:\n- {old}   # why\n# end\nsite: a\n"),
                format!("contracts:\n- {old}   # why\n- {contract}\n# end\nsite: a\n"),
            ),
            (
                "contracts:\n    - name: old\n      who: { unit: b.service }\n      to: 10.0.0.2\n      owner: it\n\nsite: a\n",
                format!(
                    "contracts:\n    - name: old\n      who: {{ unit: b.service }}\n      to: 10.0.0.2\n      owner: it\n    - {contract}\n\nsite: a\n"
                ),
            ),
            (
                "contracts: []  # none\nsite: a\n",
                format!("contracts:\n  - {contract}  # none\nsite: a\n"),
            ),
            (
                &format!("contracts: [{old}]\n"),
                format!("contracts: [{old}, {contract}]\n"),
            ),
        ] {
            assert_eq!(
                with_contract(text, contract).as_deref(),
                Ok(&*expected),
                "{text}"
            );
        }
        let flow = with_contract("{ site: a }", contract).unwrap_err();
        assert!(flow.contains("by hand") || flow.contains("error"), "{flow}");
    }
}
