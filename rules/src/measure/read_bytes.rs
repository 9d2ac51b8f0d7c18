//! `read-bytes`: bytes read of a store.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::ReadBytes,
    subject: Subject::Read,
    how: How::Add(|seen| seen.amounts.read_bytes),
    title: "bytes read of a store",
    doc: "Bytes that were read of a store's files, each read counted.",
    example: "read-bytes: 10 GB in 1h",
};

#[cfg(test)]
#[test]
fn it_counts_only_that() {
    super::check(&DEFINITION, |amounts| amounts.read_bytes = 7, 7);
}
