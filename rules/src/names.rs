//! Names as small numbers: sessions, programs, users, stores and interfaces are compared millions of times.

use crate::event::Name;
use crate::map::{Map, map};

/// A name's number. Equal numbers are equal names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(pub u32);

/// The empty name.
pub const NOBODY: NameId = NameId(0);
/// What names become once the table is full: resolution is lost, totals are not (I9).
pub const OTHER: NameId = NameId(1);

/// Names kept at the most. A program path is an attacker's to choose, so this must end.
pub const NAMES_LIMIT: usize = 65_536;

/// All names, by number and by text.
#[derive(Debug)]
pub struct Names {
    texts: Vec<Name>,
    numbers: Map<Name, NameId>,
    merged: u64,
}

impl Names {
    /// A table with the empty name and `other`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut names = Self {
            texts: Vec::new(),
            numbers: map(seed),
            merged: 0,
        };
        names.intern(&Name::from(""));
        names.intern(&Name::from("other"));
        names
    }

    /// The number of `name`; `OTHER` for a new one in a full table.
    pub fn intern(&mut self, name: &Name) -> NameId {
        if let Some(id) = self.numbers.get(name) {
            return *id;
        }
        if self.texts.len() >= NAMES_LIMIT {
            self.merged += 1;
            return OTHER;
        }
        let id = NameId(u32::try_from(self.texts.len()).unwrap_or(OTHER.0));
        self.texts.push(name.clone());
        self.numbers.insert(name.clone(), id);
        id
    }

    /// The number of `name`, if it has one.
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<NameId> {
        self.numbers.get(name).copied()
    }

    /// The text of a number.
    #[must_use]
    pub fn text(&self, id: NameId) -> &Name {
        self.texts
            .get(id.0 as usize)
            .unwrap_or(&self.texts[OTHER.0 as usize])
    }

    /// Entries, and names that became `other`.
    #[must_use]
    pub fn size(&self) -> (usize, u64) {
        (self.texts.len(), self.merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_merges_and_counts() {
        let mut names = Names::new(1);
        for number in 0..NAMES_LIMIT + 5 {
            names.intern(&Name::from(format!("/tmp/{number}")));
        }
        assert_eq!(names.size(), (NAMES_LIMIT, 7));
        assert_eq!(names.intern(&Name::from("/tmp/late")), OTHER);
        assert_eq!(&**names.text(OTHER), "other");
        assert_eq!(&**names.text(NameId(2)), "/tmp/0");
    }
}
