//! `served-bytes`: bytes sent on connections that the other side opened.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::ServedBytes,
    subject: Subject::Send,
    how: How::Add(|seen| seen.amounts.served_bytes),
    title: "bytes sent on connections that the other side opened",
    doc: "Payload sent on connections that the other side opened, by sessions that hold store data or serve a store.",
    example: "served-bytes: 200 MB in 10m",
};

#[cfg(test)]
#[test]
fn it_counts_only_that() {
    super::check(&DEFINITION, |amounts| amounts.served_bytes = 7, 7);
}
