//! What medical systems ask of each other.

use std::hash::{Hash, Hasher};

use super::*;
use crate::event::{Dicom, Flow};
use crate::rule::{AppProtocol, First};

impl Engine {
    pub(super) fn associated(&mut self, dicom: &Dicom, output: &mut Output) {
        self.dialogs.associated(dicom, self.now);
        self.first_peer(dicom, output);
        if dicom.stores > 0 {
            let mut seen = self.asked(&dicom.flow, AppProtocol::Dicom);
            seen.amounts.dicom_stores = dicom.stores;
            self.count(&seen, output);
        }
        // What another host is asked to send does not leave this one.
        let to_us = dicom.flow.opener == Opener::Remote;
        for (title, moves) in dicom.moves.iter().filter(|_| to_us) {
            let mut seen = self.asked(&dicom.flow, AppProtocol::Dicom);
            seen.ae_title = self.title_name(title);
            seen.ae_named = self.is_named(title);
            seen.why = Some(asks_to_send(&seen, title, &dicom.calling));
            seen.amounts.dicom_moves = *moves;
            self.count(&seen, output);
            let numbers = self.numbers_of(title);
            self.first(First::AeTitle, numbers, |_| title.clone(), &seen, output);
        }
    }

    fn first_peer(&mut self, dicom: &Dicom, output: &mut Output) {
        let title = match dicom.flow.opener {
            Opener::Local | Opener::Unknown => &dicom.called,
            Opener::Remote => &dicom.calling,
        };
        if title.is_empty() {
            return;
        }
        let mut seen = self.asked(&dicom.flow, AppProtocol::Dicom);
        seen.ae_title = self.title_name(title);
        let peer = dicom.flow.remote.ip();
        seen.why = Some(format!("{title} ({peer}) speaks with this host").into());
        let numbers = self.numbers_of(title);
        self.first(First::AePeer, numbers, |_| title.clone(), &seen, output);
    }

    /// Also of titles that are too many to have a number of their own.
    fn numbers_of(&self, title: &Name) -> (u64, u64) {
        let mut hasher = self.hasher();
        title.hash(&mut hasher);
        (hasher.finish(), 0)
    }

    pub(super) fn messages(&mut self, flow: &Flow, messages: u64, output: &mut Output) {
        self.dialogs.heard(flow, AppProtocol::Hl7, self.now);
        let mut seen = self.asked(flow, AppProtocol::Hl7);
        seen.amounts.hl7_messages = messages;
        self.count(&seen, output);
    }

    fn asked(&mut self, flow: &Flow, protocol: AppProtocol) -> Observation {
        let mut seen = self.beside_sockets(Subject::Medical, Sender::Unknown, flow.remote);
        seen.protocol = Some(protocol);
        let dialog = self.dialogs.of(flow, self.now);
        if let Some(title) = dialog.and_then(|dialog| dialog.title()).cloned() {
            seen.ae_title = self.title_name(&title);
        }
        seen
    }

    /// Whether a contract names a title; `None` where none names any.
    fn is_named(&self, title: &Name) -> Option<bool> {
        let today = self.today();
        let is_over = |until: jiff::civil::Date| today.is_some_and(|today| until < today);
        let contracts = self.config.contracts.iter();
        let contracts = contracts.filter(|contract| !contract.until.is_some_and(is_over));
        let mut titles = contracts.flat_map(|contract| &contract.to_ae).peekable();
        titles.peek()?;
        Some(titles.any(|named| named == title))
    }
}

fn asks_to_send(seen: &Observation, title: &str, calling: &str) -> Name {
    let asker = match (seen.remote, calling) {
        (Some(remote), "") => remote.ip().to_string(),
        (Some(remote), calling) => format!("{calling} ({})", remote.ip()),
        (None, calling) => calling.to_owned(),
    };
    format!("{asker} asks to send objects to '{title}'").into()
}
