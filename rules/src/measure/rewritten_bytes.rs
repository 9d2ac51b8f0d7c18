//! `rewritten-bytes`: bytes on the wire to another address than the socket's.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::RewrittenBytes,
    subject: Subject::Wire,
    how: How::Add(|seen| seen.amounts.rewritten_bytes),
    title: "bytes on the wire to another address than the socket's",
    doc: "Payload that left for another address than the one its socket is connected to: rewritten on the way (DNAT), or \
          wrapped for a tunnel. Scope and destination are those of the wire.",
    example: "rewritten-bytes: 10 MB in 10m",
};

#[cfg(test)]
#[test]
fn it_counts_only_that() {
    super::check(&DEFINITION, |amounts| amounts.rewritten_bytes = 7, 7);
}
