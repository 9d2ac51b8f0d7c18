//! Whether a rule counts what was seen.

use globset::GlobMatcher;

use crate::names::{NameId, Names};
use crate::observation::Observation;
use crate::rule::Where;

/// A rule's `where`, with names as numbers.
#[derive(Debug, Clone)]
pub struct Select {
    written: Where,
    stores: Vec<NameId>,
    sensors: Vec<NameId>,
    scopes: u8,
}

impl Select {
    /// The selection that a rule's author wrote.
    #[must_use]
    pub fn new(written: &Where, names: &mut Names) -> Self {
        Self {
            stores: written
                .store
                .iter()
                .map(|store| names.intern(store))
                .collect(),
            sensors: written
                .sensor
                .iter()
                .map(|sensor| names.intern(sensor))
                .collect(),
            scopes: written
                .scope
                .iter()
                .fold(0, |mask, scope| mask | 1 << *scope as u8),
            written: written.clone(),
        }
    }

    /// Whether it counts. Cheap tests first: most rules part by scope.
    #[must_use]
    pub fn matches(&self, seen: &Observation, names: &Names) -> bool {
        let Where {
            session,
            exe,
            user,
            destination,
            gap,
            serves,
            below,
            reader,
            app_protocol,
            ae_title,
            ae_named,
            first,
            new_destination,
            ..
        } = &self.written;
        (self.scopes == 0
            || seen
                .scope
                .is_some_and(|scope| self.scopes & 1 << scope as u8 != 0))
            && (self.stores.is_empty() || self.stores.contains(&seen.store))
            && (self.sensors.is_empty() || self.sensors.contains(&seen.sensor))
            && (gap.is_empty() || seen.gap.is_some_and(|kind| gap.contains(&kind)))
            && serves.is_none_or(|serves| serves == seen.serves)
            && below.is_none_or(|below| below == seen.below)
            && reader.is_none_or(|reader| reader == seen.reader)
            && (app_protocol.is_empty()
                || seen.protocol.is_some_and(|of| app_protocol.contains(&of)))
            && (ae_named.is_none() || *ae_named == seen.ae_named)
            && (first.is_empty() || seen.first.is_some_and(|of| first.contains(&of)))
            && new_destination.is_none_or(|new| new == seen.new_destination)
            && any(ae_title, seen.ae_title, names)
            && any(session, seen.session, names)
            && any(exe, seen.exe, names)
            && any(user, seen.user, names)
            && (destination.is_empty()
                || seen
                    .remote
                    .is_some_and(|remote| destination.iter().any(|target| target.holds(remote))))
    }

    /// The same text for the same selection: state belongs to it across reloads and restarts.
    #[must_use]
    pub fn signature(written: &Where) -> String {
        let globs = |globs: &[GlobMatcher]| {
            globs
                .iter()
                .map(|glob| glob.glob().glob().to_owned())
                .collect::<Vec<_>>()
        };
        let Where {
            scope,
            store,
            session,
            exe,
            user,
            destination,
            gap,
            sensor,
            serves,
            below,
            reader,
            app_protocol,
            ae_title,
            ae_named,
            first,
            new_destination,
            on_store_host,
        } = written;
        // Absent where nothing is said: what was counted before there was such a word stays counted.
        let below = below.map_or(String::new(), |below| format!(" below={below}"));
        let reader = reader.map_or(String::new(), |reader| format!(" reader={reader}"));
        let new = match (&first[..], new_destination) {
            ([], None) => String::new(),
            _ => format!(" {first:?} {new_destination:?}"),
        };
        let medical = match (&app_protocol[..], &ae_title[..], ae_named) {
            ([], [], None) => String::new(),
            _ => format!(" {app_protocol:?} {:?} {ae_named:?}", globs(ae_title)),
        };
        format!(
            "{scope:?} {store:?} {:?} {:?} {:?} {destination:?} {gap:?} {sensor:?} {serves:?} {on_store_host}{below}{reader}{medical}{new}",
            globs(session),
            globs(exe),
            globs(user)
        )
    }
}

fn any(globs: &[GlobMatcher], name: NameId, names: &Names) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob.is_match(&**names.text(name)))
}
