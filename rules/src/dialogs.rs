//! Which medical protocol a flow speaks, and under which titles, as packets told.

use std::net::SocketAddr;

use crate::config::{Contract, canonical};
use crate::event::{Dicom, Flow, Name, Opener, Stamp};
use crate::map::{Map, map};
use crate::rule::AppProtocol;

/// Ends that are remembered; at the limit the one of those that call goes of which nothing was heard for longest: what this host
/// calls itself nobody else can push out.
const ENDS_LIMIT: usize = 4_096;
/// Pairs of titles of one end; at the limit the oldest goes, and while it would be in use no contract with titles holds.
const TITLES_LIMIT: usize = 16;
/// An end of which nothing was heard for so long is forgotten, nanoseconds: 30 d.
const LIFE: i64 = 30 * crate::units::DAY;
/// Titles heard within this long of the last ones are all in use, nanoseconds: 1 h.
const IN_USE: i64 = 3_600 * crate::event::SECOND;

/// What is known of flows, by their other end.
#[derive(Debug)]
pub struct Dialogs {
    ends: Map<End, Dialog>,
}

/// The other end, as seen from here: a service, or whoever called one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct End {
    /// With the service's port.
    remote: SocketAddr,
    called: bool,
}

/// What is spoken with an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    /// The protocol.
    pub protocol: AppProtocol,
    titles: Vec<Titles>,
    /// When titles in use had to go.
    overflowed: Option<Stamp>,
    last: Stamp,
}

/// Titles of an association.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Titles {
    ours: Name,
    theirs: Name,
    last: Stamp,
}

impl Dialogs {
    /// Nothing heard yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { ends: map(seed) }
    }

    /// An association was heard.
    pub fn associated(&mut self, dicom: &Dicom, at: Stamp) {
        let Some(dialog) = self.heard(&dicom.flow, AppProtocol::Dicom, at) else {
            return;
        };
        let (ours, theirs) = match dicom.flow.opener {
            Opener::Local | Opener::Unknown => (&dicom.calling, &dicom.called),
            Opener::Remote => (&dicom.called, &dicom.calling),
        };
        if !ours.is_empty() && !theirs.is_empty() {
            dialog.hear(ours, theirs, at);
        }
    }

    /// A flow speaks this; what is known of its end.
    pub fn heard(&mut self, flow: &Flow, protocol: AppProtocol, at: Stamp) -> Option<&mut Dialog> {
        let end = End::of(flow, flow.opener != Opener::Remote);
        if self.ends.len() >= ENDS_LIMIT && !self.ends.contains_key(&end) {
            self.make_room(at)?;
        }
        let new = Dialog {
            protocol,
            titles: Vec::new(),
            overflowed: None,
            last: at,
        };
        let dialog = self.ends.get_or_insert(end, new);
        (dialog.protocol, dialog.last) = (protocol, at);
        Some(dialog)
    }

    fn make_room(&mut self, at: Stamp) -> Option<()> {
        let mut oldest = None;
        self.ends.retain(|end, dialog| {
            let is_older = oldest.is_none_or(|oldest| (dialog.last, *end) < oldest);
            if !end.called && is_older {
                oldest = Some((dialog.last, *end));
            }
            at.since(dialog.last) < LIFE
        });
        if self.ends.len() >= ENDS_LIMIT {
            self.ends.remove(&oldest?.1);
        }
        Some(())
    }

    /// What is spoken on a flow.
    #[must_use]
    pub fn of(&self, flow: &Flow, at: Stamp) -> Option<&Dialog> {
        if self.ends.is_empty() {
            return None;
        }
        let find = |called| self.ends.get(&End::of(flow, called));
        let found = match flow.opener {
            Opener::Local => find(true),
            Opener::Remote => find(false),
            Opener::Unknown => find(true).or_else(|| find(false)),
        };
        found.filter(|dialog| at.since(dialog.last) < LIFE)
    }
}

impl End {
    fn of(flow: &Flow, called: bool) -> Self {
        let port = if called { flow.remote } else { flow.local }.port();
        Self {
            remote: SocketAddr::new(canonical(flow.remote.ip()), port),
            called,
        }
    }
}

impl Dialog {
    fn hear(&mut self, ours: &Name, theirs: &Name, at: Stamp) {
        self.titles
            .retain(|of| of.ours != *ours || of.theirs != *theirs);
        if self.titles.len() >= TITLES_LIMIT {
            let oldest = self.titles.remove(0);
            if at.since(oldest.last) < IN_USE {
                self.overflowed = Some(at);
            }
        }
        self.titles.push(Titles {
            ours: ours.clone(),
            theirs: theirs.clone(),
            last: at,
        });
    }

    /// The title of the other end that was heard last.
    #[must_use]
    pub fn title(&self) -> Option<&Name> {
        self.titles.last().map(|titles| &titles.theirs)
    }

    /// Whether all titles in use are the contract's. A title is what a program says of itself: it can only narrow what
    /// a contract is for.
    fn fits(&self, contract: &Contract) -> bool {
        let Some(last) = self.titles.last().map(|titles| titles.last) else {
            return false;
        };
        if self.overflowed.is_some_and(|at| last.since(at) < IN_USE) {
            return false;
        }
        let is_used = |of: &&Titles| last.since(of.last) < IN_USE;
        self.titles.iter().filter(is_used).all(|of| {
            contract
                .who
                .ae_title
                .as_ref()
                .is_none_or(|ours| *ours == of.ours)
                && (contract.to_ae.is_empty() || contract.to_ae.contains(&of.theirs))
        })
    }
}

/// Whether a contract is for flows with these titles; one that names none is for any.
#[must_use]
pub fn fits(contract: &Contract, dialog: Option<&Dialog>) -> bool {
    let names_none = contract.who.ae_title.is_none() && contract.to_ae.is_empty();
    names_none || dialog.is_some_and(|dialog| dialog.fits(contract))
}
