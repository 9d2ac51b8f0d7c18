//! `rate`: a steady rate with a burst, of sent bytes.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::Rate,
    subject: Subject::Send,
    how: How::Rate(|seen| seen.amounts.sent_bytes),
    title: "a steady rate with a burst, of sent bytes",
    doc: "Sent bytes against a bucket that holds the burst and refills at the rate (GCRA): a short peak passes, \
          a steady stream over the rate fires once the burst is used up.",
    example: "rate: 5 MB/s burst 1 GB",
};

#[cfg(test)]
#[test]
fn it_counts_sent_bytes() {
    super::check(&DEFINITION, |amounts| amounts.sent_bytes = 7, 7);
}
