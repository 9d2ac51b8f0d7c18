//! `unattributed-bytes`: bytes on the wire that no socket of this host says it sent.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::UnattributedBytes,
    subject: Subject::Wire,
    how: How::Add(|seen| seen.amounts.unattributed_bytes),
    title: "bytes on the wire that no socket of this host says it sent",
    doc: "Payload that was queued to leave by an interface, less what sockets of this host say they sent to the same \
          address: forwarded and bridged traffic, virtual machines, the kernel itself, and whatever a sensor missed. A \
          container's own sends are not among it. Told once seconds have passed in which a socket could still say so.",
    example: "unattributed-bytes: 100 MB in 10m",
};

#[cfg(test)]
#[test]
fn it_counts_only_that() {
    super::check(&DEFINITION, |amounts| amounts.unattributed_bytes = 7, 7);
}
