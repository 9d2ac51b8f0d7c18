//! `sent-bytes`: bytes that left over sockets.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::SentBytes,
    subject: Subject::Send,
    how: How::Add(|seen| seen.amounts.sent_bytes),
    title: "bytes that left over sockets",
    doc: "Transport payload that left this host, whoever sent it: each TCP sequence byte once, no headers.",
    example: "sent-bytes: 1 GB in 10m",
};

#[cfg(test)]
#[test]
fn it_counts_only_that() {
    super::check(&DEFINITION, |amounts| amounts.sent_bytes = 7, 7);
}
