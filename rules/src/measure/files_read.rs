//! `files-read`: distinct files read of a store.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::FilesRead,
    subject: Subject::Read,
    how: How::Add(|seen| seen.amounts.files_read),
    title: "distinct files read of a store",
    doc: "Distinct files of a store with at least one byte read, per session and day; stat and listing do not count.",
    example: "files-read: 5000 in 1h",
};

#[cfg(test)]
#[test]
fn it_counts_only_that() {
    super::check(&DEFINITION, |amounts| amounts.files_read = 7, 7);
}
